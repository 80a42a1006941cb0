"""Sequencing depth: how much of a section's expression, and of a score, comes from how many counts a spot has."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_cmrcnet.evaluation.metrics import pair, unit

Array = NDArray[np.float64]

_NOTHING_LEFT = 1e-6  # of a column of length one: the rounding of expression, which is kept as float32


def partial_pcc(measured: ArrayLike, predicted: ArrayLike, totals: ArrayLike) -> Array:
    """Return the correlation that is left once sequencing depth is taken out of both sides, NaN where undefined.

    A spot's total count is written all over its log-normalised expression: where few counts were read, more genes
    are 0. A prediction that only guessed the totals would correlate with many genes. So both sides are first fitted
    to the total by least squares on (1, L, L²), L = log(1 + total), gene by gene, and what the fits leave is
    correlated (partial correlation given L and L²).

    Parameters
    ----------
    measured, predicted : (n, g)
        Expression of g genes at n spots.
    totals : (n,)
        Counts of each spot over all its genes.

    Returns
    -------
    float64 (g,)
        NaN where `pcc` is, where the fit leaves nothing of either side, and for fewer than five spots: with three
        terms fitted, what is left of four lies on a line.
    """
    truth, guess = pair(measured, predicted)
    if len(truth) < 5:
        return np.full(truth.shape[1], np.nan)
    depth = depth_terms(totals)
    defined, rests = np.ones(truth.shape[1], bool), []
    for values in (truth, guess):
        scaled = unit(values)
        rest = scaled - depth @ (depth.T @ scaled)
        length = np.sqrt(np.einsum("ij,ij->j", rest, rest))
        defined &= length > _NOTHING_LEFT
        rests.append(rest / np.where(length > 0, length, 1.0))
    products = np.clip(np.einsum("ij,ij->j", *rests), -1.0, 1.0)
    return np.where(defined, products, np.nan)


def depth_terms(totals: ArrayLike) -> Array:
    """Return an orthonormal basis of (1, L, L²), L = log(1 + total), over spots with those totals, (n, up to 3).

    Terms that those before them already make up are left out: there is one term where all totals are equal.
    """
    logs = np.log1p(np.asarray(totals, np.float64))
    scaled = (logs - logs.mean()) / (np.ptp(logs) or 1.0)  # the same space, and its square is told from it
    terms, triangle = np.linalg.qr(np.column_stack([np.ones_like(scaled), scaled, scaled**2]))
    independent = np.abs(np.diag(triangle)) > 1e-9 * np.sqrt(len(logs))
    return np.ascontiguousarray(terms[:, independent])
