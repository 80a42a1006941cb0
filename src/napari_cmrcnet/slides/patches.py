"""Patches cut at spots, at the model's pixel size, each tile of the slide decoded about once.

Neighbouring spots share tiles: on a dense grid each tile is touched five times. The spots are therefore visited in
the order of the tile rows, and the tiles of the two or so rows that a patch spans, and of one more for what is read
ahead, are kept. On a very wide slide this is done in vertical bands, as wide as these rows fit into `CACHE_BYTES`.
"""

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.slides.resample import axis_weights, resample
from napari_cmrcnet.slides.slide import Slide, TileError
from napari_cmrcnet.slides.source import Pixels
from napari_cmrcnet.slides.tile_reader import CACHE_BYTES, WHITE, TileReader

if TYPE_CHECKING:
    from napari_cmrcnet.sections.section import Section

Rows = NDArray[np.int64]

MOST_PX, MPP = 4096, (0.01, 100.0)  # of a patch


@dataclass(frozen=True, slots=True)
class PatchSpec:
    """What a patch is: a square of ``patch_px`` pixels at ``model_mpp``.

    Parameters
    ----------
    patch_px : int
        Pixels on a side of a patch.
    model_mpp : float
        µm per pixel of a patch; 224 pixels at 0.5 are 112 µm, as in HEST's patches (Jaume et al., NeurIPS 2024), which
        the paper's public code reads.

    Raises
    ------
    UserError
        If there are no such patches.
    """

    patch_px: int = 224
    model_mpp: float = 0.5

    def __post_init__(self) -> None:
        if not 1 <= self.patch_px <= MOST_PX or not MPP[0] <= self.model_mpp <= MPP[1]:
            raise UserError(
                f"Patches of {self.patch_px} px at {self.model_mpp} µm are impossible; give 1 to {MOST_PX} px at "
                f"{MPP[0]:g} to {MPP[1]:g} µm per pixel."
            )

    def side_px(self, mpp: float) -> float:
        """Return the side of a patch in full-resolution pixels of a slide whose pixels are ``mpp`` µm wide."""
        return self.patch_px * self.model_mpp / mpp


@dataclass(frozen=True, slots=True)
class PatchBatch:
    """Some patches, in the order in which they are best read.

    Parameters
    ----------
    rows : ndarray of int64 (b,)
        Which spots these are: rows of ``xy``.
    pixels : ndarray of uint8 (b, patch_px, patch_px, 3)
        RGB.
    unreadable : ndarray of int64
        Those of ``rows`` that touch a damaged tile; their pixels are white.
    """

    rows: Rows
    pixels: Pixels
    unreadable: Rows


class _Cutter:
    """Cuts patches of one geometry from one slide."""

    def __init__(self, slide: Slide, xy: ArrayLike, patch_px: int, side: float) -> None:
        self.slide = slide
        self.patch_px = patch_px
        self.level = slide.level_for(side / patch_px)
        scale = slide.levels[self.level].downsample
        side /= scale
        step = side / patch_px
        self.window = int(np.ceil(side - 1e-6))
        centres = np.asarray(xy, dtype=np.float64).reshape(-1, 2) / scale
        if not np.isfinite(centres).all():
            raise UserError(f"Some spots on {slide.path} have no position; remove them or give their coordinates.")
        self.corners = np.floor(centres - side / 2 + 0.5).astype(np.int64)  # (x, y) in pixels of the level
        exact = abs(side - patch_px) < 1e-6
        self.weights = None if exact else axis_weights(self.window, patch_px, step)
        tile_height, tile_width = slide.tile_sizes[self.level]
        touched_rows, touched_columns = ((self.window + tile - 2) // tile + 1 for tile in (tile_height, tile_width))
        column_bytes = 3 * tile_height * tile_width * (touched_rows + 1)
        fitting = max(1, CACHE_BYTES // column_bytes - touched_columns)
        self.band = min(fitting, -(-slide.levels[self.level].width // tile_width))  # in tile columns
        self.reader = TileReader(slide.source, column_bytes * (self.band + touched_columns))

    def order(self) -> Rows:
        """Return the rows in the order of their tiles: band of tile columns, tile row, x."""
        tile_height, tile_width = self.slide.tile_sizes[self.level]
        x, y = self.corners[:, 0], self.corners[:, 1]
        return np.lexsort((x, y // tile_height, x // tile_width // self.band)).astype(np.int64)

    def cut(self, rows: Rows, out: Pixels) -> list[int]:
        """Read patches into ``out`` and return the rows that could not be read."""
        window = np.empty((self.window, self.window, 3), np.uint8)
        unreadable = []
        for index, row in enumerate(rows.tolist()):
            x, y = self.corners[row].tolist()
            target = out[index] if self.weights is None else window
            try:
                self.reader.read(self.level, x, y, self.window, self.window, out=target)
                if self.weights is not None:
                    out[index] = resample(window, self.weights, self.weights)
            except TileError:
                out[index] = WHITE
                unreadable.append(row)
        return unreadable


def read_patches(
    slide: Slide, xy: ArrayLike, spec: PatchSpec, mpp: float, batch_size: int = 64, threads: int = 2
) -> Generator[PatchBatch]:
    """Read the patches of all spots, the next batch while the caller works on this one.

    A patch is the square of side s = ``spec.side_px(mpp)`` around the spot. Positions are continuous: pixel i covers
    [i, i + 1). The square is read from the smallest pyramid level that has at least the detail asked for; its top-left
    corner, (x - s/2, y - s/2) in pixels of that level, is rounded to a whole pixel (half up), at most half a patch
    pixel off. It is area averaged where it shrinks and interpolated linearly where it grows; where its size is
    ``patch_px`` already, the pixels are the slide's own. Outside the slide it is white.

    Parameters
    ----------
    slide : Slide
        The slide. The tiles of about three of its tile rows are kept, at most 192 MiB, beside a few batches.
    xy : array (n, 2)
        Spot centres (x, y) in full-resolution pixels.
    spec : PatchSpec
        Size of the patches.
    mpp : float
        µm per full-resolution pixel of the slide.
    batch_size : int
        Patches in a batch.
    threads : int
        Threads that decode and resample.

    Yields
    ------
    PatchBatch
        Every row once, in an order that visits each tile once. A damaged tile does not end the reading.

    Raises
    ------
    UserError
        If a position is not a number; at the end, if the slide was changed meanwhile.
    """
    cutter = _Cutter(slide, xy, spec.patch_px, spec.side_px(mpp))
    order = cutter.order()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="patches")
    ahead: deque[tuple[Rows, Pixels, list[Future[list[int]]]]] = deque()
    try:
        for first in range(0, len(order), batch_size):
            rows = order[first : first + batch_size]
            pixels = np.empty((len(rows), spec.patch_px, spec.patch_px, 3), np.uint8)
            # Each thread has its own stretch of the batch, so that two seldom wait for the same tile.
            parts = np.array_split(np.arange(len(rows)), threads)
            futures = [
                pool.submit(cutter.cut, rows[part], pixels[part[0] : part[-1] + 1]) for part in parts if len(part)
            ]
            ahead.append((rows, pixels, futures))
            if len(ahead) > 1:
                yield _finished(*ahead.popleft())
        while ahead:
            yield _finished(*ahead.popleft())
        slide.check_unchanged()
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(rows: Rows, pixels: Pixels, futures: list[Future[list[int]]]) -> PatchBatch:
    unreadable = [row for future in futures for row in future.result()]
    return PatchBatch(rows, pixels, np.asarray(unreadable, dtype=np.int64))


def unreadable_error(section: "Section", rows: Sequence[int]) -> UserError:
    """Say which patches of a section could not be read, by the rows of their spots; the first five are named."""
    names = section.spots.obs_names[sorted(rows)].tolist()
    listed = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return UserError(
        f"{len(names)} of {len(section.xy)} patches of {section.slide.path} could not be read, because tiles of the "
        f"slide are damaged: spots {listed}; copy or download the slide again."
    )
