"""How sure a score is: resamples of a section's spots, and the intervals that follow from them."""

from collections.abc import Sequence
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_cmrcnet.common.metrics import pair, unit
from napari_cmrcnet.sections.nearby_spots import compact_blocks

Array = NDArray[np.float64]

RESAMPLES = 1000
LEVEL = 0.95

_ROUNDING = 1e-6  # a variance below it, of values of variance 1 in float32, is rounding


def spatial_blocks(xy: ArrayLike) -> list[NDArray[np.int64]]:
    """Divide a section's spots, centres (n, 2), into about √n compact blocks of about √n spots, for `Bootstrap`."""
    return compact_blocks(xy, max(1, round(float(np.sqrt(len(np.asarray(xy)))))))


class Bootstrap:
    """Resamples of a section's spots, drawn with replacement in blocks of neighbours.

    Spots next to each other are alike: drawn one by one, as if each told something of its own, they would give
    intervals that are much too narrow. Blocks keep together what neighbours share (block bootstrap: Hall, Stochastic
    Processes and their Applications 20:231, 1985). Every gene sees the same resamples, so a set's mean can be taken
    within each of them.

    Parameters
    ----------
    blocks : sequence of integer arrays
        Rows of the spots of each block; every spot is in one. `spatial_blocks` makes them.
    seed : int or sequence of int
        Start of the random numbers: the same seed gives the same intervals.
    resamples : int
        How many.
    """

    def __init__(
        self, blocks: Sequence[NDArray[np.int64]], seed: int | Sequence[int] = 0, resamples: int = RESAMPLES
    ) -> None:
        rng, n = np.random.default_rng(seed), len(blocks)
        block = np.empty(sum(map(len, blocks)), np.intp)  # of each spot
        for number, rows in enumerate(blocks):
            block[rows] = number
        # How often each spot was drawn; more than 255 times is beyond chance.
        self.times = np.zeros((resamples, len(block)), np.uint8)
        for row in self.times:
            row[:] = np.bincount(rng.integers(0, n, n), minlength=n)[block]

    def pcc(self, measured: ArrayLike, predicted: ArrayLike) -> NDArray[np.float32]:
        """Return each gene's correlation in each resample.

        The weighted moments of all genes and resamples are one matrix product, in float32: its rounding, about
        1e-6, is far below what the resamples differ by.

        Parameters
        ----------
        measured, predicted : (n, g)
            Expression; give genes in blocks, the result has 1,000 rows.

        Returns
        -------
        float32 (resamples, g)
            NaN where a gene is constant in the resample.
        """
        truth, guess = pair(measured, predicted)
        a, b = ((unit(values) * np.sqrt(len(values))).astype(np.float32) for values in (truth, guess))
        powers = np.hstack([a, b, a * a, b * b, a * b])
        result = np.empty((len(self.times), a.shape[1]), np.float32)
        for start in range(0, len(self.times), 128):  # weights as float32: 128 rows at a time, not 1,000
            weights = self.times[start : start + 128].astype(np.float32)
            weights /= weights.sum(axis=1, keepdims=True)  # blocks are not all of one size
            mean_a, mean_b, square_a, square_b, product = np.split(weights @ powers, 5, axis=1)
            var_a, var_b = square_a - mean_a**2, square_b - mean_b**2
            defined = (var_a > _ROUNDING) & (var_b > _ROUNDING)
            scale = np.sqrt(np.where(defined, var_a * var_b, 1))
            result[start : start + 128] = np.where(defined, (product - mean_a * mean_b) / scale, np.nan)
        return result


def section_bootstrap(name: str, xy: ArrayLike, seed: int = 0) -> Bootstrap:
    """Return the resamples of the spots of a section, centres (n, 2), that count in its scores.

    Sections of one size would draw the same spots from the seed alone; by name, their resamples are independent.
    """
    return Bootstrap(spatial_blocks(xy), (seed, crc32(name.encode())))


def interval(replicates: NDArray[np.floating[Any]]) -> tuple[Array, Array]:
    """Return the lower and upper bounds of each column, between which 95 % lie.

    NaN where the resamples are degenerate: more of them are undefined than an interval leaves out, so that it would
    hold only given that the gene was drawn, or all are alike.
    """
    ordered = np.sort(replicates, axis=0)  # NaN last
    defined = np.isfinite(replicates).sum(axis=0)
    last = np.maximum(defined - 1, 0)
    bounds = []
    for quantile in ((1 - LEVEL) / 2, (1 + LEVEL) / 2):
        place = last * quantile
        below = np.floor(place).astype(np.intp)
        two = np.take_along_axis(ordered, np.stack([below, np.minimum(below + 1, last)]), axis=0).astype(np.float64)
        bounds.append(two[0] + (place - below) * (two[1] - two[0]))
    low, high = bounds
    sound = (len(replicates) - defined <= (1 - LEVEL) * len(replicates)) & (high - low > _ROUNDING)
    return np.where(sound, low, np.nan), np.where(sound, high, np.nan)
