"""Slides to read in the benchmarks: pyramids of a picture that looks like noisy tissue, made once and kept in /tmp.

The picture repeats itself seamlessly every 2,048 pixels, so that its few tiles are encoded once. Readers do not know
that, and decode each tile where it stands.
"""

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

Pixels = NDArray[np.uint8]
FOLDER = Path(tempfile.gettempdir()) / "cmrcnet-benchmarks"
PERIOD = 2048
TILE = 256
LEVELS = 3
MPP = 0.5


def jpeg_slide(side: int) -> Path:
    """Return a slide of ``side``² pixels whose tiles are JPEG, of quality 75 and with half the resolution in colour."""
    return _kept(f"jpeg_{side}.tif", lambda path: _write(path, side))


def gigantic_slide(side: int) -> Path:
    """Return a JPEG slide whose equal tiles are the same bytes on disk: a few megabytes, however large it is."""
    return _kept(f"gigantic_{side}.tif", lambda path: _write_once(path, side))


def _kept(name: str, write: Callable[[Path], None]) -> Path:
    path = FOLDER / name
    if not path.exists():
        FOLDER.mkdir(exist_ok=True)
        unfinished = path.with_name(f"{os.getpid()}_{name}")
        write(unfinished)
        unfinished.replace(path)
    return path


@cache
def _tissue() -> Pixels:
    """Return a picture, uint8 (PERIOD, PERIOD, 3): stroma in waves, grains, nuclei, and the noise of a camera."""
    rng = np.random.default_rng(0)

    def smooth(noise: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
        blurred: NDArray[np.float32] = ndimage.gaussian_filter(noise, sigma, mode="wrap")
        return blurred / blurred.std()

    size = PERIOD, PERIOD
    waves = smooth(rng.standard_normal(size, np.float32), 40)
    grain = smooth(rng.standard_normal(size, np.float32), 1.2)
    nuclei = np.clip(smooth((rng.random(size) < 0.0015).astype(np.float32), 4) / 3, 0, 1)
    noise = rng.standard_normal((*size, 3), np.float32)
    colour, by_wave, by_grain, by_nuclei = ([200, 140, 185], [14, 22, 12], [9, 11, 8], [-90, -70, -40])
    layers = [np.float32(colour), 4 * noise]
    layers += [
        part[..., None] * np.float32(by) for part, by in ((waves, by_wave), (grain, by_grain), (nuclei, by_nuclei))
    ]
    return np.clip(sum(layers), 0, 255).astype(np.uint8)


def _levels() -> list[Pixels]:
    levels = [_tissue()]
    for _ in range(LEVELS - 1):
        quads = levels[-1].reshape(len(levels[-1]) // 2, 2, -1, 2, 3)
        levels.append(quads.mean((1, 3)).round().astype(np.uint8))
    return levels


def _encoded(picture: Pixels) -> list[list[bytes]]:
    """Return the tiles of one period of a picture, by row and column."""

    def encode(tile: Pixels) -> bytes:
        return bytes(imagecodecs.jpeg8_encode(tile, level=75, subsampling="420"))

    starts = range(0, len(picture), TILE)
    return [[encode(np.ascontiguousarray(picture[y : y + TILE, x : x + TILE])) for x in starts] for y in starts]


def _places(side: int) -> Iterator[tuple[int, int]]:
    return itertools.product(range(-(-side // TILE)), repeat=2)


def _options(level: int) -> dict[str, object]:
    return {
        "tile": (TILE, TILE),
        "dtype": np.uint8,
        "subfiletype": int(level > 0),
        "resolution": (1e4 / MPP / 2**level,) * 2,
        "resolutionunit": "CENTIMETER",
        "metadata": None,
        "compression": "jpeg",
        "photometric": "ycbcr",
        "subsampling": (2, 2),
    }


def _write(path: Path, side: int) -> None:
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for level, picture in enumerate(_levels()):
            tiles, size = _encoded(picture), side >> level
            data = (tiles[row % len(tiles)][column % len(tiles)] for row, column in _places(size))
            writer.write(data, shape=(size, size, 3), **_options(level))


def _write_once(path: Path, side: int) -> None:
    """Write the tiles behind levels that are empty at first, then where each tile is."""
    pictures = [_encoded(picture) for picture in _levels()]
    sizes = [side >> level for level in range(LEVELS)]
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for level, size in enumerate(sizes):
            nothing = (b"" for _ in _places(size))
            writer.write(nothing, shape=(size, size, 3), **_options(level))
    with open(path, "ab") as stream:
        where = []
        for tiles in pictures:
            where.append([[(stream.tell(), len(tile), stream.write(tile))[:2] for tile in row] for row in tiles])
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        for page, places, size in zip(tiff.pages, where, sizes, strict=True):
            n = len(places)
            offsets, counts = zip(*(places[row % n][column % n] for row, column in _places(size)), strict=True)
            page.tags["TileOffsets"].overwrite(offsets)
            page.tags["TileByteCounts"].overwrite(counts)
