"""Pictures made smaller by area averaging, and larger by linear interpolation.

Both are one small matrix an axis: row i of it holds the shares of the input pixels in output pixel i.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.slides.source import Pixels

BLOCK = 16  # rows of a weight matrix multiplied at once; beyond a few neighbours they are zero


def axis_weights(n_in: int, n_out: int, step: float, start: float = 0.0) -> NDArray[np.float32]:
    """Return the shares of input pixels in output pixels along one axis.

    Parameters
    ----------
    n_in, n_out : int
        Pixels along the axis before and after.
    step : float
        Input pixels to an output pixel: output pixel i covers the interval [start + i·step, start + (i + 1)·step),
        where input pixel j covers [j, j + 1).
    start : float
        Where the first output pixel begins.

    Returns
    -------
    ndarray of float32 (n_out, n_in)
        Rows sum to 1. With a step of 1 or more, the exact share of each input pixel in the interval (a box filter);
        below 1, linear interpolation between pixel centres, the last pixels repeated beyond the ends.
    """
    pixels = np.arange(n_in)
    begin = start + np.arange(n_out)[:, None] * step
    if step >= 1:
        weights = np.clip(np.minimum(begin + step, pixels + 1) - np.maximum(begin, pixels), 0, None)
    else:
        centre = np.clip(begin + step / 2, 0.5, n_in - 0.5)
        weights = np.clip(1 - np.abs(centre - (pixels + 0.5)), 0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Part:
    """Some output pixels along an axis, the input pixels that they are made from, and the weights of these."""

    output: slice
    input: slice
    weights: NDArray[np.float32]


def axis_parts(n_in: int, n_out: int, most: int) -> Iterator[Part]:
    """Divide an axis that is made shorter into parts of at most ``most`` output pixels, with weights of their own.

    All weights of a long axis at once would be gigabytes, nearly all of them zero.
    """
    step = n_in / n_out
    for first in range(0, n_out, most):
        last = min(first + most, n_out)
        start, stop = int(first * step), min(n_in, int(np.ceil(last * step)))
        weights = axis_weights(stop - start, last - first, step, first * step - start)
        yield Part(slice(first, last), slice(start, stop), weights)


class Resampler:
    """Resamples pictures of one size, in one thread: its buffers are used again for each.

    Fresh arrays of a megabyte for every patch would cost more than the arithmetic, in page faults.

    Parameters
    ----------
    vertical, horizontal : ndarray of float32 (n_out, n_in)
        Weights along y and x from `axis_weights`.
    """

    def __init__(self, vertical: NDArray[np.float32], horizontal: NDArray[np.float32]) -> None:
        (height, height_in), (width, width_in) = vertical.shape, horizontal.shape
        self._vertical, self._horizontal = _blocks(vertical), _blocks(horizontal)
        self._pixels = np.empty((height_in, width_in, 3), np.float32)
        self._rows = np.empty((height, width_in, 3), np.float32)
        self._turned_rows = np.empty((width_in, height, 3), np.float32)
        self._turned = np.empty((width, height, 3), np.float32)

    def __call__(self, pixels: Pixels) -> Pixels:
        """Return uint8 (height, width, 3) from uint8 (h, w, 3), rounded to the nearest."""
        np.copyto(self._pixels, pixels)
        _first_axis(self._vertical, self._pixels, self._rows)
        np.copyto(self._turned_rows, self._rows.transpose(1, 0, 2))
        _first_axis(self._horizontal, self._turned_rows, self._turned)
        self._turned += np.float32(0.5)
        return np.ascontiguousarray(self._turned.transpose(1, 0, 2), dtype=np.uint8)


def _blocks(weights: NDArray[np.float32]) -> list[Part]:
    """Divide a weight matrix into blocks of rows, without the columns in which they are zero."""
    blocks = []
    for first in range(0, len(weights), BLOCK):
        part = weights[first : first + BLOCK]
        used = np.flatnonzero(part.any(axis=0))
        columns = slice(int(used[0]), int(used[-1]) + 1)
        blocks.append(Part(slice(first, first + len(part)), columns, np.ascontiguousarray(part[:, columns])))
    return blocks


def _first_axis(blocks: list[Part], pixels: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Multiply the first axis of (n_in, m, 3) by the weights, into (n_out, m, 3)."""
    source, target = pixels.reshape(len(pixels), -1), out.reshape(len(out), -1)
    for block in blocks:
        np.matmul(block.weights, source[block.input], out=target[block.output])
