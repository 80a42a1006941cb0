"""Slide files from outside: checked before a decoder sees them.

A header may promise what no memory holds: a TIFF tile of 2^30 × 2^30 pixels in a file of 163 bytes ends the process
inside OpenSlide, and a JPEG tile of 2 KB whose header says 20,000² pixels expands to 1.2 GB. So sizes are read here,
from headers alone, and compared with what a slide can be and with the size of the file.
"""

import logging
import math
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_cmrcnet.common.errors import UserError, undamaged
from napari_cmrcnet.common.text import size_text
from napari_cmrcnet.slides.source import Level

MAX_PIXELS = 2**40  # of a level: a 1,000,000 × 1,000,000 slide
MAX_TILE_PIXELS = 2**26  # 8192 × 8192, 200 MB decoded
MAX_PAGES = 1000  # levels, focal planes, label and macro images
SIZES = ("imagewidth", "imagelength", "imagedepth", "tilewidth", "tilelength", "tiledepth", "samplesperpixel")
MAX_EXPANSION = 10_000  # decoded bytes for one in the file: a blank slide reaches 400 as JPEG, 1,000 as Deflate
ALWAYS_BELIEVED = 2**24  # pixels that take no time to read

# Without a handler, tifffile's remarks on a damaged file go to the terminal, beside our one sentence.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def open_tiff(path: Path) -> tifffile.TiffFile:
    """Open a TIFF file whose sizes are believable and whose tiles all lie within the file.

    Parameters
    ----------
    path : Path
        A file that begins as a TIFF or BigTIFF.

    Returns
    -------
    tifffile.TiffFile
        The open file, to be closed by the caller.

    Raises
    ------
    UserError
        If it is damaged, cut short, or claims sizes that no slide has.
    """
    with undamaged(path):  # tifffile raises whatever the damaged part meets
        tiff = tifffile.TiffFile(path)
        try:
            for page in _pages(path, tiff):
                _check_page(path, page)
        except BaseException:
            tiff.close()
            raise
    return tiff


def _pages(path: Path, tiff: tifffile.TiffFile) -> Iterator[Any]:
    count = 0
    for page in tiff.pages:
        for part in (page, *(page.pages or ())):
            count += 1
            if count > MAX_PAGES:
                raise UserError(f"{path} has more than {MAX_PAGES} images; save each slide as a file of its own.")
            yield part.aspage()


def _check_page(path: Path, page: Any) -> None:
    if unclear := next((size for size in SIZES if not isinstance(getattr(page, size), int)), None):
        raise ValueError(f"its {unclear} is not one number")
    width, height = page.imagewidth, page.imagelength
    if not (0 < width * height * max(page.imagedepth, 1) <= MAX_PIXELS and page.samplesperpixel <= 16):
        raise UserError(f"{path} claims {width} × {height} pixels, which no slide has; it is damaged.")
    if page.is_tiled:
        check_tile(path, page.tilewidth, page.tilelength * max(page.tiledepth, 1))
    unit = "tiles" if page.is_tiled else "strips"
    offsets = np.asarray(page.dataoffsets, dtype=np.float64)
    if len(offsets) < (needed := _segments(page)):
        raise UserError(
            f"{path} claims {width} × {height} pixels, but lists only {len(offsets):,} of the {needed:,} {unit} that "
            "these take; it is damaged: copy or download it again."
        )
    ends = offsets + np.asarray(page.databytecounts, dtype=np.float64)
    beyond = int(np.count_nonzero(ends > page.parent.filehandle.size))
    if beyond or len(offsets) != len(page.databytecounts):
        raise UserError(
            f"{path} is cut short: {beyond} of {len(offsets)} {unit} lie beyond its end; copy or download it again."
        )


def check_tile(path: Path, width: int, height: int) -> None:
    """Refuse tiles that no memory holds, or that have no pixels.

    Raises
    ------
    UserError
        If they are larger than `MAX_TILE_PIXELS`, or empty.
    """
    if not 0 < width * height <= MAX_TILE_PIXELS:
        raise UserError(
            f"{path} has tiles of {width} × {height} pixels; at most {MAX_TILE_PIXELS} pixels a tile are read: the "
            "file is damaged, or must be saved again with tiles of 256 to 1024 pixels."
        )


def check_expansion(path: Path, levels: Iterable[Level], files: Iterable[Path]) -> None:
    """Refuse a slide that stores so little for its size in pixels that its tiles cannot be a slide's.

    Parameters
    ----------
    path : Path
        The slide.
    levels : iterable of Level
        What it claims to hold.
    files : iterable of Path
        Where they are; no more of them are looked at than it takes.

    Raises
    ------
    UserError
        If a level is too large for them.
    """
    largest = max(levels, key=lambda level: level.width * level.height)
    needed = 3 * largest.width * largest.height / MAX_EXPANSION
    if needed <= 3 * ALWAYS_BELIEVED / MAX_EXPANSION:
        return
    stored = 0
    for file in files:
        stored += file.stat().st_size
        if stored >= needed:
            return
    raise UserError(
        f"{path} claims {largest.width} × {largest.height} pixels in {size_text(stored)}, which no slide takes; it is "
        "damaged: copy or download it again."
    )


def _segments(page: Any) -> int:
    """Return how many tiles or strips the pixels of a page take (TIFF 6.0, sections 8 and 15)."""
    if page.parent.is_ndpi:  # one JPEG stream, which tifffile cuts into its restart intervals
        return 1
    return math.prod(page.chunked)


def jpeg_size(data: bytes) -> tuple[int, int, int, int]:
    """Read the size that a JPEG stream claims, without decoding it.

    Parameters
    ----------
    data : bytes
        The stream from its start-of-image marker; ITU T.81, annex B.

    Returns
    -------
    width, height, components, scan : int
        The size in pixels, the number of colour components, and the offset at which the first scan begins.

    Raises
    ------
    ValueError
        If the stream has no frame header before its first scan.
    """
    size = None
    position = 2
    if data[:2] != b"\xff\xd8":
        raise ValueError("it does not begin as a JPEG")
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and position + 10 <= len(data):
            height, width, components = struct.unpack(">HHB", data[position + 5 : position + 10])
            size = width, height, components
        if marker == 0xDA:
            if size is None:
                break
            return *size, position
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    raise ValueError("its JPEG header is damaged")


def jpeg2000_size(data: bytes) -> tuple[int, int, int]:
    """Read width, height and components that a JPEG 2000 codestream claims; ITU T.800, annex A.5.1.

    Raises
    ------
    ValueError
        If it does not begin with a size marker.
    """
    if data[:4] != b"\xff\x4f\xff\x51" or len(data) < 42:
        raise ValueError("it does not begin as a JPEG 2000 codestream")
    x1, y1, x0, y0 = struct.unpack(">4I", data[8:24])
    return x1 - x0, y1 - y0, int.from_bytes(data[40:42], "big")


def png_size(data: bytes) -> tuple[int, int]:
    """Read width and height that a PNG file claims in its first chunk.

    Raises
    ------
    ValueError
        If it does not begin with that chunk.
    """
    if data[12:16] != b"IHDR" or len(data) < 24:
        raise ValueError("it has no PNG header")
    width, height = struct.unpack(">2I", data[16:24])
    return width, height
