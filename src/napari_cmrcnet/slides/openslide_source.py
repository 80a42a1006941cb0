"""Slides in the scanners' own formats, through OpenSlide: SVS, NDPI, MRXS, SCN, BIF, VMS, Philips, CZI, DICOM."""

import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import openslide

from napari_cmrcnet.common.errors import UserError, undamaged
from napari_cmrcnet.slides.checks import check_tile
from napari_cmrcnet.slides.colours import over_white
from napari_cmrcnet.slides.source import (
    Bounds,
    Pixels,
    PixelTag,
    Source,
    judge_mpp,
    levels_of,
    number_in,
)

FORMATS = {
    "aperio": "Aperio SVS",
    "dicom": "DICOM",
    "generic-tiff": "tiled TIFF",
    "hamamatsu": "Hamamatsu NDPI or VMS",
    "leica": "Leica SCN",
    "mirax": "MIRAX MRXS",
    "philips": "Philips TIFF",
    "sakura": "Sakura SVSLIDE",
    "trestle": "Trestle TIFF",
    "ventana": "Ventana BIF",
    "zeiss": "Zeiss CZI",
}
TAGS = {"aperio": "Aperio tag", "dicom": "DICOM PixelSpacing", "generic-tiff": "TIFF resolution tag"}
BLOCK = 512  # side of what is read at once where the format does not tell its tiles


def vendor(path: Path) -> str | None:
    """Return OpenSlide's name for the format of a file, None where it knows none."""
    with undamaged(path, openslide.OpenSlideError):
        name: str | None = openslide.OpenSlide.detect_format(path)
    return name


class OpenSlideSource(Source):
    """A slide that OpenSlide reads, block by block.

    Coordinates are those of the whole image as OpenSlide gives it, with the empty borders that MRXS and NDPI keep
    around the scanned part (its ``bounds`` properties); what was not scanned is transparent there and white here.

    Parameters
    ----------
    path : Path
        The file to open; for DICOM any instance of the slide.
    note : str
        What should be known of it, in a sentence.

    Raises
    ------
    UserError
        If OpenSlide cannot open it.
    """

    def __init__(self, path: Path, note: str = "") -> None:
        self.path = path
        self.notes = (note,) if note else ()
        self._handle = self._open()
        self._reopening = threading.Lock()
        properties = self._handle.properties
        sizes = self._handle.level_dimensions
        name = properties["openslide.vendor"]
        self._downsamples = self._handle.level_downsamples  # OpenSlide's own, which its positions are divided by
        self.levels = levels_of(sizes)
        tiles = []
        for level in range(len(sizes)):
            width, height = (properties.get(f"openslide.level[{level}].tile-{side}") for side in ("width", "height"))
            if width and height:  # OpenSlide ends the process where there is no memory for one
                check_tile(path, int(width), int(height))
            tiles.append((_block(height), _block(width)))
        self.tile_sizes = tuple(tiles)
        self.format = FORMATS.get(name, name)
        x, y = (number_in(properties.get(f"openslide.mpp-{axis}")) for axis in "xy")
        claims = [(TAGS.get(name, f"{self.format} tag"), x, y)] if x and y else []
        self.tag: PixelTag = judge_mpp(claims)
        self.bounds = _bounds(properties, sizes[0])

    def read_tile(self, level: int, row: int, column: int) -> Pixels:
        """Decode one block, uint8 (height, width, 3), over white."""
        try:
            return self._read(self._handle, level, row, column)
        except openslide.OpenSlideError:
            # An error spoils a handle for good, and may come from the tile of another thread: ask a fresh one.
            with self._reopening:
                self._handle = self._open()
                try:
                    return self._read(self._handle, level, row, column)
                except openslide.OpenSlideError:
                    with suppress(UserError):
                        self._handle = self._open()
                    raise

    def icc_profile(self) -> bytes:
        """Return the ICC profile as the file has it."""
        try:
            profile = self._handle.color_profile
        except (openslide.OpenSlideError, OSError):  # it is damaged: the pixels are sound all the same
            return b""
        return b"" if profile is None else bytes(profile.tobytes())

    def close(self) -> None:
        """Close the slide."""
        self._handle.close()

    def _open(self) -> openslide.OpenSlide:
        with undamaged(self.path, openslide.OpenSlideError, OSError):
            return openslide.OpenSlide(self.path)

    def _read(self, handle: openslide.OpenSlide, level: int, row: int, column: int) -> Pixels:
        height, width = self.tile_sizes[level]
        x, y = column * width, row * height
        size = (min(width, self.levels[level].width - x), min(height, self.levels[level].height - y))
        downsample = self._downsamples[level]
        region = handle.read_region((round(x * downsample), round(y * downsample)), level, size)
        rgba = np.asarray(region)
        if rgba[..., 3].min() == 255:
            return np.array(region.convert("RGB"))  # half the time of copying three of four channels
        return over_white(rgba[..., :3], rgba[..., 3:])


def _block(tile: str | None) -> int:
    """Return the side to read at once: the tile's where that is of a useful size."""
    return int(tile) if tile is not None and 128 <= int(tile) <= 1024 else BLOCK


def _bounds(properties: Mapping[str, str], size: tuple[int, int]) -> Bounds | None:
    """Return the part of the image that was scanned, None where that is all or not told."""
    numbers = [number_in(properties.get(f"openslide.bounds-{name}")) for name in ("x", "y", "width", "height")]
    x, y, width, height = (None if number is None else int(number) for number in numbers)
    if x is None or y is None or width is None or height is None or (x, y, width, height) == (0, 0, *size):
        return None
    return Bounds(x, y, width, height)
