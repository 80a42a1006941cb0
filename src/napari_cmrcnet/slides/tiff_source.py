"""TIFF slides, read tile by tile: pyramids of pages or SubIFDs, OME-TIFF, tiles or strips."""

import threading
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
import tifffile

from napari_cmrcnet.common.errors import undamaged
from napari_cmrcnet.slides import orientation
from napari_cmrcnet.slides.checks import jpeg2000_size, jpeg_size
from napari_cmrcnet.slides.codecs import decode_picture, is_picture
from napari_cmrcnet.slides.colours import BLACK_IS_ZERO, RGB, WHITE_IS_ZERO, YCBCR, is_grey, to_rgb
from napari_cmrcnet.slides.planes import (
    BRIGHTFIELD,
    Plane,
    UnsupportedError,
    check_bright,
    check_colours,
    chosen_pages,
    level_planes,
    page_planes,
)
from napari_cmrcnet.slides.source import (
    Pixels,
    PixelTag,
    Source,
    TileError,
    judge_mpp,
    levels_of,
    number_in,
)
from napari_cmrcnet.slides.tiff_mpp import mpp_claims, ome_pixels
from napari_cmrcnet.slides.tile_reader import TileReader

JPEG = (7, 33007)
JPEG2000 = (33003, 33004, 33005, 34712)
# With none, LZW, Deflate, PackBits, LZMA, Zstandard; pictures are in `codecs`.
COMPRESSIONS = (1, 5, 8, 32946, 50013, 32773, 34925, 50000, *JPEG, *JPEG2000)
GREY = (
    "The slide is grey, not in colour: models are trained on the colours of H&E, and predictions from grey mean little."
)
ICC_PROFILE = 34675  # TIFF's tag
MAX_STRIP_PIXELS = 2**30  # 3 GB decoded
PROBES, PROBE_PX = 3, 16  # places on each side, and their size, at which a page is compared with the level above
ALIKE = 12.0  # of 255: what resampling and compression change in the mean of such a place; a label differs by far more


class TiffSource(Source):
    """A TIFF file as a pyramid of tiles (a strip is a tile as wide as the image).

    Parameters
    ----------
    path : Path
        The file.
    tiff : tifffile.TiffFile
        The same, opened and checked by `checks.open_tiff`; closed by `close`.

    Raises
    ------
    UnsupportedError
        If the file has no pyramid of 8- or 16-bit grey or RGB pixels in a compression that is read here.
    """

    def __init__(self, path: Path, tiff: tifffile.TiffFile) -> None:
        self.path = path
        self._tiff = tiff
        self._lock = threading.Lock()
        with undamaged(path):  # tifffile raises whatever the damaged part meets
            series = max(tiff.series, key=lambda each: each.keyframe.imagewidth * each.keyframe.imagelength)
            key = series.keyframe
            ome = ome_pixels(tiff.pages[0].description, key.imagewidth, key.imagelength)
            check_colours(ome)
            pyramid, note = _pyramid(tiff, series)
            for key in {planes[0].key for planes in pyramid}:
                key.init_decode()  # moves in the file, so not beside a thread that reads a tile
            tag = judge_mpp(mpp_claims(ome, series.keyframe))
        self.format = _format(tiff, pyramid[0][0].key)
        self.tag: PixelTag = tag
        self.orientation = orientation.known(series.keyframe.tags.valueof(orientation.TAG))
        self._shift = _significant_bits(ome, pyramid[0][0].key) - 8
        self._take(pyramid)
        self.notes = tuple(filter(None, (note, GREY if len(pyramid[0]) == 1 and is_grey(pyramid[0][0].key) else "")))
        if _colours_unsaid(pyramid[0]):
            check_bright(self)
        if not (tiff.is_svs or tiff.is_ome):  # these say which pages are levels
            self._leave_out_other_pictures()

    def _take(self, pyramid: list[list[Plane]]) -> None:
        self._planes = pyramid
        self.levels = levels_of([(planes[0].key.imagewidth, planes[0].key.imagelength) for planes in pyramid])
        self.tile_sizes: tuple[tuple[int, int], ...] = tuple(_tile_size(planes[0].key) for planes in pyramid)

    def _leave_out_other_pictures(self) -> None:
        """Keep as levels only pages that are marked so, or that show what the level above them does: no label."""
        kept = [0]
        for level in range(1, len(self.levels)):
            key = self._planes[level][0].key
            if key.is_reduced or key.is_subifd or self._same_picture(kept[-1], level):
                kept.append(level)
        if len(kept) < len(self.levels):
            self._take([self._planes[level] for level in kept])

    def _same_picture(self, above: int, level: int) -> bool:
        reader, size = TileReader(self), self.levels[level]
        shrink = size.downsample / self.levels[above].downsample
        side = min(PROBE_PX, size.width, size.height)
        apart = []
        for down, across in np.ndindex(PROBES, PROBES):
            x, y = (size.width - side) * across // (PROBES - 1), (size.height - side) * down // (PROBES - 1)
            place = (round(x * shrink), round(y * shrink), round(side * shrink), round(side * shrink))
            try:
                one, other = reader.read(above, *place), reader.read(level, x, y, side, side)
            except TileError:  # of damaged tiles nothing is known
                continue
            apart.append(np.abs(one.mean(axis=(0, 1)) - other.mean(axis=(0, 1))).max())
        return not apart or bool(np.median(apart) < ALIKE)

    @property
    def complete(self) -> bool:
        """Whether all tiles are there, and JPEG: in an SVS, OpenSlide knows what fills gaps, and its other codecs."""
        planes = [plane for planes in self._planes for plane in planes]
        return all(plane.key.compression in JPEG and all(plane.page.databytecounts) for plane in planes)

    def read_tile(self, level: int, row: int, column: int) -> Pixels:
        """Decode one tile, uint8 (height, width, 3); a tile without data, as scanners leave in the glass, is white."""
        height, width = self.tile_sizes[level]
        size = self.levels[level]
        index = row * -(-size.width // width) + column
        height, width = min(height, size.height - row * height), min(width, size.width - column * width)
        planes = [self._decode(plane, plane.offset + index) for plane in self._planes[level]]
        if any(plane is None for plane in planes):
            return np.full((height, width, 3), 255, np.uint8)
        samples = planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)
        key, samples = self._planes[level][0].key, samples[:height, :width]
        alpha = key.extrasamples[0] if key.extrasamples else 0
        return to_rgb(samples, self._shift, white_is_zero=key.photometric == WHITE_IS_ZERO, alpha=alpha)

    def icc_profile(self) -> bytes:
        """Return the ICC profile as the file has it."""
        with self._lock:
            profile = self._planes[0][0].key.tags.valueof(ICC_PROFILE)
        return profile if isinstance(profile, bytes) else b""

    def close(self) -> None:
        """Close the file."""
        self._tiff.close()

    def _decode(self, plane: Plane, index: int) -> Any:
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
        if is_picture(plane.key.compression):
            return decode_picture(data, plane.key, _tile_size(plane.key))
        tables = plane.page.jpegtables
        segment, _, shape = plane.key.decode(data, index, jpegtables=tables)
        return segment.reshape(shape)[0, : segment.shape[1]]


def _check_segment(data: bytes, key: Any) -> None:
    """Refuse a compressed tile that claims to be larger than tiles of this page are, or that is cut short."""
    if key.compression in JPEG:
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


def _tile_size(key: Any) -> tuple[int, int]:
    if key.is_tiled:
        return key.tilelength, key.tilewidth
    return min(key.rowsperstrip, key.imagelength), key.imagewidth


def _significant_bits(ome: Element | None, key: Any) -> int:
    """Return how many bits of a sample say something: OME-XML tells of 12 in 16, as many cameras have."""
    stated = number_in(None if ome is None else ome.get("SignificantBits"))
    return int(stated) if stated and 8 <= stated <= key.bitspersample else key.bitspersample


def _colours_unsaid(planes: list[Plane]) -> bool:
    """Tell whether there are three channels, of which the file itself does not say that they are red, green, blue."""
    return is_grey(planes[0].key) and (len(planes) == 3 or planes[0].key.samplesperpixel == 3)


def _pyramid(tiff: tifffile.TiffFile, series: Any) -> tuple[list[list[Plane]], str]:
    """Find the levels of an image, and of each the pages with its colours; and say what else there is."""
    pages, note = chosen_pages(series)
    pyramid = [level_planes(level, pages) for level in series.levels]
    if len(pyramid) == 1 and len(series.pages) == 1:
        pyramid += _unmarked_levels(tiff, pyramid[0][0].key)
    for planes in pyramid:
        _check_supported(planes)
    return pyramid, note


def _unmarked_levels(tiff: tifffile.TiffFile, full: Any) -> list[list[Plane]]:
    """Return pages that may be smaller copies of the full one, in files which do not mark them as reduced."""
    levels = []
    width, height = full.imagewidth, full.imagelength
    for page in tiff.pages:
        page = page.aspage()
        shrink = full.imagewidth / page.imagewidth
        same_shape = abs(full.imagelength / shrink - page.imagelength) <= 1
        smaller = page.imagewidth < width and page.imagelength < height and page.is_tiled == full.is_tiled
        if same_shape and smaller and page.samplesperpixel == full.samplesperpixel and page.dtype == full.dtype:
            levels.append(page_planes(page, page))
            width, height = page.imagewidth, page.imagelength
    return levels


def _check_supported(planes: list[Plane]) -> None:
    key = planes[0].key
    if not key.is_tiled and key.imagewidth * _tile_size(key)[0] > MAX_STRIP_PIXELS:
        raise UnsupportedError("it is one strip of more than 2^30 pixels, which cannot be read in parts")
    samples = len(planes) if len(planes) > 1 else key.samplesperpixel
    if key.dtype not in (np.uint8, np.uint16) or key.bitspersample not in (8, 16):
        raise UnsupportedError(f"its pixels are {key.bitspersample}-bit {key.dtype}, not 8- or 16-bit whole numbers")
    if key.compression not in COMPRESSIONS and not is_picture(key.compression):
        raise UnsupportedError(
            f"its compression ({getattr(key.compression, 'name', key.compression)}) is not read here", elsewhere=True
        )
    if is_grey(key) and samples == 4:
        raise UnsupportedError("it has 4 channels, as fluorescence has, not one image in colour", BRIGHTFIELD)
    coded_colour = key.compression in (*JPEG, *JPEG2000) or is_picture(key.compression)
    kinds = (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, YCBCR) if coded_colour else (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB)
    if key.photometric not in kinds or key.imagedepth != 1 or samples > 4:
        kind = getattr(key.photometric, "name", key.photometric)
        raise UnsupportedError(f"its colours are {samples} samples of {kind}, not RGB or grey", elsewhere=True)


def _format(tiff: tifffile.TiffFile, key: Any) -> str:
    if tiff.is_ome:
        return "OME-TIFF"
    if tiff.is_svs:
        return "Aperio SVS"
    return "tiled TIFF" if key.is_tiled else "TIFF"
