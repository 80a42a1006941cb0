"""TIFF slides, read tile by tile: pyramids of pages or SubIFDs, OME-TIFF, tiles or strips."""

import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from napari_cmrcnet.common.errors import UserError, is_out_of_memory
from napari_cmrcnet.sections.slide_checks import damaged, jpeg2000_size, jpeg_size
from napari_cmrcnet.sections.slide_lzw import decode_lzw, is_plain_lzw
from napari_cmrcnet.sections.slide_source import (
    Level,
    Pixels,
    PixelTag,
    TileError,
    judge_mpp,
    level_downsample,
    number_in,
)

JPEG = 7
JPEG2000 = (33003, 33005, 34712)
COMPRESSIONS = (1, 5, 8, 32946, 32773, 50000, JPEG, *JPEG2000)  # with none, LZW, Deflate, PackBits, Zstandard
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, YCBCR = 0, 1, 2, 6
ASSOCIATED_ALPHA, UNASSOCIATED_ALPHA = 1, 2
MAX_STRIP_PIXELS = 2**30  # 3 GB decoded
MICROMETRES = {"m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "in": 25_400.0}


class UnsupportedError(Exception):
    """The pixels of a TIFF file are of a kind that is not read here."""


@dataclass(frozen=True, slots=True)
class _Plane:
    """A page that holds one colour or all; ``key`` is the page of the same kind that knows how to decode it."""

    page: Any
    key: Any
    offset: int  # of its first tile, where a page holds the colours one after another


class TiffSource:
    """A TIFF file as a pyramid of tiles (a strip is a tile as wide as the image).

    Parameters
    ----------
    path : Path
        The file.
    tiff : tifffile.TiffFile
        The same, opened and checked by `slide_checks.open_tiff`; closed by `close`.

    Raises
    ------
    UnsupportedError
        If the file has no pyramid of 8- or 16-bit grey or RGB pixels in a compression that is read here.
    """

    def __init__(self, path: Path, tiff: tifffile.TiffFile) -> None:
        self._path = path
        self._tiff = tiff
        self._lock = threading.Lock()
        try:
            pyramid = _pyramid(tiff)
            for key in {planes[0].key for planes in pyramid}:
                key.init_decode()  # moves in the file, so not beside a thread that reads a tile
            tag = judge_mpp(_claims(tiff))
        except (UnsupportedError, UserError):
            raise
        except Exception as error:  # tifffile raises whatever the damaged part meets
            raise damaged(path, error) from error
        sizes = [(planes[0].key.imagewidth, planes[0].key.imagelength) for planes in pyramid]
        self._planes = pyramid
        self.levels = tuple(Level(*size, level_downsample(sizes[0], size)) for size in sizes)
        self.tile_sizes = tuple(_tile_size(planes[0].key) for planes in pyramid)
        self.format = _format(tiff, pyramid[0][0].key)
        self.tag: PixelTag = tag

    @property
    def complete(self) -> bool:
        """Whether all tiles are there, and JPEG: in an SVS, OpenSlide knows what fills gaps, and its other codecs."""
        planes = [plane for planes in self._planes for plane in planes]
        return all(plane.key.compression == JPEG and all(plane.page.databytecounts) for plane in planes)

    def read_tile(self, level: int, row: int, column: int) -> Pixels:
        """Decode one tile, uint8 (height, width, 3); a tile without data, as scanners leave in the glass, is white."""
        height, width = self.tile_sizes[level]
        size = self.levels[level]
        index = row * -(-size.width // width) + column
        height, width = min(height, size.height - row * height), min(width, size.width - column * width)
        try:
            planes = [self._decode(plane, plane.offset + index) for plane in self._planes[level]]
        except Exception as error:  # codecs raise whatever the damaged bytes meet
            if is_out_of_memory(error):
                raise  # a tile that is called damaged is shown white
            raise TileError(
                f"{self._path} has a damaged tile (level {level}, row {row}, column {column}: {error}); copy or "
                "download it again."
            ) from error
        if any(plane is None for plane in planes):
            return np.full((height, width, 3), 255, np.uint8)
        samples = planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)
        return _to_rgb(samples[:height, :width], self._planes[level][0].key)

    def close(self) -> None:
        """Close the file."""
        self._tiff.close()

    def _decode(self, plane: _Plane, index: int) -> Any:
        """Return the samples of a tile, (height, width, samples), or None where the file has none."""
        offset, count = plane.page.dataoffsets[index], plane.page.databytecounts[index]
        if count == 0:
            return None
        with self._lock:
            handle = self._tiff.filehandle
            handle.seek(offset)
            data = handle.read(count)
        if len(data) < count:
            raise ValueError("it lies beyond the end of the file")
        _check_segment(data, plane.key)
        if is_plain_lzw(plane.key):
            return decode_lzw(data, plane.key)
        tables = plane.page.jpegtables
        segment, _, shape = plane.key.decode(data, index, jpegtables=tables)
        return segment.reshape(shape)[0, : segment.shape[1]]


def _check_segment(data: bytes, key: Any) -> None:
    """Refuse a compressed tile that claims to be larger than tiles of this page are, or that is cut short."""
    if key.compression == JPEG:
        width, height, components, _ = jpeg_size(data)
        if b"\xff\xd9" not in data[-64:]:
            raise ValueError("its JPEG stream is cut short")
    elif key.compression in JPEG2000:
        width, height, components = jpeg2000_size(data)
    else:
        return  # the other decoders are given the size and stop there
    tile_height, tile_width = _tile_size(key)
    if width > tile_width or height > tile_height or components > key.samplesperpixel:
        raise ValueError(f"its header claims {width} × {height} pixels, the file {tile_width} × {tile_height}")


def _to_rgb(samples: Any, key: Any) -> Pixels:
    """Turn samples (height, width, 1 to 4) into opaque 8-bit RGB; transparent is white."""
    if samples.dtype == np.uint16:
        samples = (samples >> 8).astype(np.uint8)
    if key.photometric == WHITE_IS_ZERO:
        samples = 255 - samples
    colours = 1 if samples.shape[2] < 3 else 3
    alpha = samples[..., colours:] if samples.shape[2] > colours and _has_alpha(key) else None
    rgb = samples[..., :3] if colours == 3 else np.repeat(samples[..., :1], 3, axis=2)
    if alpha is None or alpha.min() == 255:
        return np.ascontiguousarray(rgb)
    return over_white(rgb, alpha, premultiplied=key.extrasamples[0] == ASSOCIATED_ALPHA)


def over_white(rgb: Any, alpha: Any, *, premultiplied: bool = False) -> Pixels:
    """Lay pixels with transparency, uint8 (h, w, 3) and (h, w, 1), over white."""
    opacity = alpha.astype(np.uint16)
    colour = rgb.astype(np.uint16) * (255 if premultiplied else opacity)
    return np.asarray(np.minimum((colour + (255 - opacity) * 255 + 127) // 255, 255), dtype=np.uint8)


def _has_alpha(key: Any) -> bool:
    return bool(key.extrasamples) and key.extrasamples[0] in (ASSOCIATED_ALPHA, UNASSOCIATED_ALPHA)


def _tile_size(key: Any) -> tuple[int, int]:
    if key.is_tiled:
        return key.tilelength, key.tilewidth
    return min(key.rowsperstrip, key.imagelength), key.imagewidth


def _pyramid(tiff: tifffile.TiffFile) -> list[list[_Plane]]:
    """Find the levels of the first image, and of each the pages with its colours."""
    series = tiff.series[0]
    pyramid = [_planes(level) for level in series.levels]
    if len(pyramid) == 1:
        pyramid += _unmarked_levels(tiff, pyramid[0][0].key)
    for planes in pyramid:
        _check_supported(planes)
    return pyramid


def _planes(series: Any) -> list[_Plane]:
    key = series.keyframe
    pages = [page for page in series.pages if page is not None]
    if len(pages) == 3 and key.samplesperpixel == 1:
        return [_Plane(page, key, 0) for page in pages]
    if len(pages) != 1:
        raise UnsupportedError(f"it has {len(series.pages)} planes of {series.axes}, not one RGB or grey image")
    return _page_planes(pages[0], key)


def _page_planes(page: Any, key: Any) -> list[_Plane]:
    colours = key.samplesperpixel if key.planarconfig == 2 else 1
    tiles = len(page.dataoffsets) // colours
    return [_Plane(page, key, colour * tiles) for colour in range(colours)]


def _unmarked_levels(tiff: tifffile.TiffFile, full: Any) -> list[list[_Plane]]:
    """Return pages that are smaller copies of the first one, in files which do not mark them as reduced."""
    levels = []
    width, height = full.imagewidth, full.imagelength
    for page in tiff.pages[1:]:
        page = page.aspage()
        shrink = full.imagewidth / page.imagewidth
        same_shape = abs(full.imagelength / shrink - page.imagelength) <= 1
        smaller = page.imagewidth < width and page.imagelength < height and page.is_tiled == full.is_tiled
        if same_shape and smaller and page.samplesperpixel == full.samplesperpixel and page.dtype == full.dtype:
            levels.append(_page_planes(page, page))
            width, height = page.imagewidth, page.imagelength
    return levels


def _check_supported(planes: list[_Plane]) -> None:
    key = planes[0].key
    if not key.is_tiled and key.imagewidth * _tile_size(key)[0] > MAX_STRIP_PIXELS:
        raise UnsupportedError("it is one strip of more than 2^30 pixels, which cannot be read in parts")
    samples = len(planes) if len(planes) > 1 else key.samplesperpixel
    if key.dtype not in (np.uint8, np.uint16) or key.bitspersample not in (8, 16):
        raise UnsupportedError(f"its pixels are {key.bitspersample}-bit {key.dtype}, not 8- or 16-bit whole numbers")
    if key.compression not in COMPRESSIONS:
        raise UnsupportedError(
            f"its compression ({getattr(key.compression, 'name', key.compression)}) is not read here"
        )
    coded_colour = key.compression in (JPEG, *JPEG2000)
    kinds = (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, YCBCR) if coded_colour else (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB)
    if key.photometric not in kinds or key.imagedepth != 1 or samples > 4:
        kind = getattr(key.photometric, "name", key.photometric)
        raise UnsupportedError(f"its colours are {samples} samples of {kind}, not RGB or grey")


def _format(tiff: tifffile.TiffFile, key: Any) -> str:
    if tiff.is_ome:
        return "OME-TIFF"
    if tiff.is_svs:
        return "Aperio SVS"
    return "tiled TIFF" if key.is_tiled else "TIFF"


def _claims(tiff: tifffile.TiffFile) -> list[tuple[str, float, float]]:
    """List what the tags say of the pixel size: OME-XML, an Aperio-like description, ImageJ's unit, TIFF resolution.

    What is not a number claims nothing: the pixels are sound all the same.
    """
    page = tiff.pages[0]
    claims = _ome_claims(page.description)
    if match := re.search(r"\|\s*MPP\s*=\s*([^|]+)", page.description):
        mpp = number_in(match[1])
        claims += [("Aperio tag", mpp, mpp)] if mpp else []
    x, y = (_rational(page, name) for name in ("XResolution", "YResolution"))
    if x and y and (unit := _imagej_unit(page.description)):
        claims.append(("ImageJ unit", unit / x, unit / y))
    elif x and y and (per_unit := {2: 25_400.0, 3: 10_000.0}.get(_plain_value(page, "ResolutionUnit", 2))):
        claims.append(("TIFF resolution tag", per_unit / x, per_unit / y))
    return claims


def _plain_value(page: Any, name: str, default: int) -> Any:
    """Return a tag's value, or 0 for one that is no number: damaged files have tags of odd types."""
    value = page.tags.valueof(name, default)
    return value if isinstance(value, int) else 0


def _rational(page: Any, name: str) -> float:
    """Return pixels per unit, 0 where the tag is not there or no fraction."""
    value = page.tags.valueof(name)
    if not (isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, int) and part > 0 for part in value)):
        return 0.0
    return float(value[0] / value[1])


def _imagej_unit(description: str) -> float | None:
    """Return how many µm the unit of an ImageJ file has, in which its resolution is given; None without one."""
    if not description.startswith("ImageJ="):
        return None
    match = re.search(r"^unit=(.+)$", description, re.MULTILINE)
    return MICROMETRES.get(match[1].strip().replace("\\u00B5", "µ").replace("micron", "um")) if match else None


def _ome_claims(xml: str) -> list[tuple[str, float, float]]:
    """Read PhysicalSizeX and Y of the first image of OME-XML, whose unit is µm unless it says another."""
    if not xml.rstrip("\0 \r\n").endswith("OME>"):
        return []
    try:
        pixels = next(each for each in ElementTree.fromstring(xml).iter() if each.tag.rpartition("}")[2] == "Pixels")
    except (ElementTree.ParseError, StopIteration, ValueError):
        return []
    sizes = []
    for axis in "XY":
        unit = MICROMETRES.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        size = number_in(pixels.get(f"PhysicalSize{axis}"))
        if unit is None or size is None:
            return []
        sizes.append(size * unit)
    return [("OME-XML PhysicalSizeX", sizes[0], sizes[1])]
