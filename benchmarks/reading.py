"""Reading 4,000 patches of a slide: in the order of its tiles, beside `openslide.read_region` and tifffile with zarr.

usage: python -m benchmarks.reading [--small]

A grid of patches of 224 full-resolution pixels, 100 a row, that overlap a little, as spots do. All ways have two
threads and give the same pixels, which is checked before they are timed: every pixel with --small, else every fourth of
every fourth row. zarr, the slowest, reads the first tenth of the patches. The second slide is section C5 of her2st,
where CMRCNET_REAL_DATA is set.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import tifffile
import zarr

from benchmarks.harness import Row, Way, at_least, extra_memory, identical, interleave, main
from benchmarks.slides import TILE, Pixels, jpeg_slide
from napari_cmrcnet.slides.patches import PatchSpec, read_patches
from napari_cmrcnet.slides.slide import open_slide

SIDE = 224
THREADS = 2
COLUMNS = 100
OF_ZARR = 10  # it reads one patch in so many

Keep = Callable[[Any, Pixels], None]
"""Takes rows of the corners, and their patches."""


def rows(small: bool) -> Iterator[Row]:
    """Return the rows of the table."""
    side, n, rounds, step = (2500, 200, 1, 1) if small else (20_000, 4000, 2, 4)
    slides = {f"a {side:,}² JPEG pyramid": jpeg_slide(side)}
    if real := os.environ.get("CMRCNET_REAL_DATA"):
        slides["C5 of her2st (JPEG)"] = Path(real) / "her2st" / "C5.tif"
    for name, path in slides.items():
        yield from _against_the_others(f"{n:,} patches of {name}", path, _corners(path, n), rounds, step)
    if not real:
        print("reading C5 is skipped: CMRCNET_REAL_DATA is not set")
    yield _memory(jpeg_slide(side), n)


def _corners(path: Path, n: int) -> np.ndarray:
    """Return top-left corners (x, y), row by row; the grid is as wide as the slide and has that pitch both ways."""
    with open_slide(path) as slide:
        height, width = slide.shape
    columns = min(COLUMNS, n // 10)
    rows = n // columns
    pitch = min((width - SIDE) / (columns - 1), (height - SIDE) / (rows - 1))
    x, y = np.meshgrid(np.arange(columns) * pitch, np.arange(rows) * pitch)
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(int)


def _against_the_others(what: str, path: Path, corners: np.ndarray, rounds: int, step: int) -> Iterator[Row]:
    few = corners[: len(corners) // OF_ZARR]
    ours = _kept(_planned, path, corners, step)
    identical(ours, _kept(_by_openslide, path, corners, step))
    identical(ours[: len(few)], _kept(_by_zarr, path, few, step))
    del ours
    ways: dict[str, Way] = {
        "ours": lambda _: _planned(path, corners, _drop),
        "openslide.read_region": lambda _: _by_openslide(path, corners, _drop),
        "tifffile + zarr": lambda _: _by_zarr(path, few, _drop),
        "decoding alone": lambda _: _decode(path, corners),
    }
    taken = interleave(ways, rounds, same=None, warm_up=False)
    about = {"sizes": {"patches": len(corners), "threads": THREADS}}
    cpu = f"by CPU seconds × {taken.ratio('openslide.read_region', 'ours', by='cpu'):.3g}"
    yield taken.faster(what, "ours", than="openslide.read_region", goal=at_least(4.5), note=cpu, **about)
    times = {name: taken.ways[name] for name in ("ours", "tifffile + zarr")}
    ratio = OF_ZARR * taken.ratio("tifffile + zarr", "ours")
    note = f"zarr timed on the first {len(few)} patches, the ratio scaled by {OF_ZARR}"
    yield Row(what, "tifffile + zarr", ratio, times=times, note=note, **about)
    yield taken.slower(what, "ours", than="decoding alone", by="cpu", note="CPU seconds", **about)


def _kept(read: Callable[[Path, np.ndarray, Keep], None], path: Path, corners: np.ndarray, step: int) -> Pixels:
    """Return every so many pixels of what a way reads, in the order of the corners."""
    kept = np.empty((len(corners), -(-SIDE // step), -(-SIDE // step), 3), np.uint8)

    def keep(rows: Any, pixels: Pixels) -> None:
        kept[rows] = pixels[..., ::step, ::step, :]

    read(path, corners, keep)
    return kept


def _drop(rows: Any, pixels: Pixels) -> None:
    """Do nothing with what was read."""


def _planned(path: Path, corners: np.ndarray, keep: Keep) -> None:
    with open_slide(path) as slide:
        for batch in read_patches(slide, corners + SIDE / 2, PatchSpec(SIDE, 0.5), 0.5, threads=THREADS):
            keep(batch.rows, batch.pixels)


def _by_openslide(path: Path, corners: np.ndarray, keep: Keep) -> None:
    with openslide.OpenSlide(path) as slide:

        def read(x: int, y: int) -> Pixels:
            return np.asarray(slide.read_region((x, y), 0, (SIDE, SIDE)).convert("RGB"))

        _in_threads(read, corners, keep)


def _by_zarr(path: Path, corners: np.ndarray, keep: Keep) -> None:
    with tifffile.TiffFile(path) as tiff, tiff.aszarr(level=0) as store:
        array = zarr.open(store, mode="r")
        _in_threads(lambda x, y: array[y : y + SIDE, x : x + SIDE], corners, keep)


def _decode(path: Path, corners: np.ndarray) -> None:
    """Decode each tile that a patch touches."""
    far = SIDE - 1
    with open_slide(path) as slide:
        height, width = slide.tile_sizes[0]
        tiles = {
            (y // height, x // width)
            for left, top in corners.tolist()
            for y in (top, top + far)
            for x in (left, left + far)
        }
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda tile: slide.source.read_tile(0, *tile).size, sorted(tiles)))


def _in_threads(read: Callable[[int, int], Pixels], corners: np.ndarray, keep: Keep) -> None:
    """Read patch by patch, a row of the grid at a time in each thread."""

    def read_row(numbers: np.ndarray) -> None:
        for i in numbers:
            keep(i, read(int(corners[i, 0]), int(corners[i, 1])))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(read_row, np.array_split(np.arange(len(corners)), max(1, len(corners) // COLUMNS))))


def _memory(path: Path, n: int) -> Row:
    corners = _corners(path, n)
    with open_slide(path) as slide:
        row = 3 * TILE * TILE * -(-slide.shape[1] // TILE) / 1e6
    taken = extra_memory(_reading, path, corners)
    batches = 3 * 64 * 3 * SIDE * SIDE / 1e6
    note = f"three batches of 64 patches are {batches:.3g} MB, a row of the slide's tiles {row:.3g} MB"
    return Row(f"memory, reading {n:,} patches of a {slide.shape[1]:,}² slide", "", taken, "MB", note=note)


def _reading(path: Path, corners: np.ndarray) -> Callable[[], object]:
    slide = open_slide(path)

    def read() -> None:
        for _ in read_patches(slide, corners + SIDE / 2, PatchSpec(SIDE, 0.5), 0.5, threads=THREADS):
            pass

    return read


if __name__ == "__main__":
    main(rows)
