"""Pictures made smaller by area averaging, and larger by linear interpolation.

Both are one sparse matrix an axis: row i of it holds the shares of the input pixels in output pixel i.
"""

from typing import TYPE_CHECKING

import numpy as np

from napari_cmrcnet.slides.source import Pixels

if TYPE_CHECKING:
    from scipy import sparse

AT_ONCE = 2**22  # numbers that are made floating-point at a time: four times as large as pixels


def axis_weights(n_in: int, n_out: int, step: float) -> "sparse.csr_array":
    """Return the shares of input pixels in output pixels along one axis.

    Parameters
    ----------
    n_in, n_out : int
        Pixels along the axis before and after.
    step : float
        Input pixels to an output pixel: output pixel i covers the interval [i·step, (i + 1)·step), where input pixel j
        covers [j, j + 1).

    Returns
    -------
    CSR float32 (n_out, n_in)
        Rows sum to 1. With a step of 1 or more, the exact share of each input pixel in the interval (a box filter);
        below 1, linear interpolation between pixel centres, the last pixels repeated beyond the ends.
    """
    from scipy import sparse  # imported late: it takes a tenth of a second, and a slide is often only looked at

    begin = np.arange(n_out)[:, None] * step
    if step >= 1:
        pixels = np.floor(begin) + np.arange(np.ceil(step) + 1)
        weights = np.minimum(begin + step, pixels + 1) - np.maximum(begin, pixels)
    else:
        centre = np.clip(begin + step / 2, 0.5, n_in - 0.5)
        pixels = np.floor(centre - 0.5) + np.arange(2)
        weights = 1 - np.abs(centre - (pixels + 0.5))
    weights = np.where(pixels < n_in, weights.clip(0), 0)
    weights /= weights.sum(axis=1, keepdims=True)
    rows, places = np.nonzero(weights)
    shares = weights[rows, places].astype(np.float32), (rows, pixels[rows, places].astype(np.int32))
    return sparse.csr_array(shares, shape=(n_out, n_in))


def resample(pixels: Pixels, vertical: "sparse.csr_array", horizontal: "sparse.csr_array") -> Pixels:
    """Resample a picture, uint8 (h, w, 3), by its weights along y and x; return uint8 rounded to the nearest."""
    height, width = vertical.shape[0], horizontal.shape[0]
    flat = pixels.reshape(len(pixels), -1)
    pieces = np.array_split(flat, -(-flat.size // AT_ONCE), axis=1)
    rows = np.concatenate([vertical @ piece for piece in pieces], axis=1).reshape(height, -1, 3)
    turned = horizontal @ rows.transpose(1, 0, 2).reshape(rows.shape[1], -1)
    turned += np.float32(0.5)
    return np.ascontiguousarray(turned.reshape(width, height, 3).transpose(1, 0, 2), dtype=np.uint8)
