"""Sequencing depth: how much of a section's expression, and of a score, comes from how many counts a spot has."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_cmrcnet.common.metrics import pair, unit
from napari_cmrcnet.sections.totals import least_counts

Array = NDArray[np.float64]

DEEP_COUNTS = 10
"""Times the counts that a spot must have to count, below which a median spot is shallow: 1,000 for a whole
transcriptome, where one count of a spot is already written as 2.4, more than the mean of nearly every gene."""
SHALLOW_SHARE = 0.10
"""Share of variance explained by depth from which a section is shallow: twice what it is in four sections of breast
tumour with a median of 8,500 to 10,000 counts a spot (0.05 to 0.06); a section with 300 has 0.14."""

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
        Counts of each spot over all its genes; NaN where they are not known.

    Returns
    -------
    float64 (g,)
        NaN where `pcc` is, where the fit leaves nothing of either side, and for fewer than five spots: with three
        terms fitted, what is left of four lies on a line; or where totals are.
    """
    truth, guess = pair(measured, predicted)
    if len(truth) < 5 or np.isnan(totals).any():
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


def depth_r2(measured: ArrayLike, totals: ArrayLike) -> Array:
    """Return what share of each gene's variance depth explains: R² of least squares on (1, L, L²), adjusted.

    Parameters
    ----------
    measured : (n, g)
        Measured, log-normalised expression.
    totals : (n,)
        Counts of each spot over all its genes; NaN where they are not known.

    Returns
    -------
    float64 (g,)
        About 0 where depth explains nothing (adjusted for the two terms, and so at times below), NaN for a constant
        gene, where there are no more spots than terms, and where totals are.
    """
    scaled = unit(np.asarray(measured, np.float64))
    if np.isnan(totals).any():
        return np.full(scaled.shape[1], np.nan)
    depth = depth_terms(totals)
    n, terms = depth.shape
    if n <= terms:
        return np.full(scaled.shape[1], np.nan)
    explained = depth.T @ scaled
    left = 1 - np.einsum("ij,ij->j", explained, explained)
    return np.where(scaled.any(axis=0), 1 - left * (n - 1) / (n - terms), np.nan)


@dataclass(frozen=True)
class Depth:
    """How deeply a section was sequenced.

    Parameters
    ----------
    median_total : float
        Median of the counts of the spots that are scored; NaN where there are no counts.
    share : float
        Of the variance of log-normalised expression, summed over the genes that have a score, the share that the log
        total and its square explain (`depth_r2`).
    n_genes : int
        How many genes the totals were taken over.
    """

    median_total: float
    share: float
    n_genes: int

    @property
    def shallow(self) -> bool:
        """Whether so little was read that depth shapes all expression."""
        enough = DEEP_COUNTS * least_counts(self.n_genes)
        return self.median_total < enough or self.share > SHALLOW_SHARE

    def __str__(self) -> str:
        if np.isnan(self.median_total):
            return "no counts: the values were normalised already"
        share = (
            "" if np.isnan(self.share) else f"; depth explains {100 * self.share:.0f} % of the variance of expression"
        )
        return f"median of {self.median_total:,.0f} counts per spot{share}"


def depth_terms(totals: ArrayLike) -> Array:
    """Return an orthonormal basis of (1, L, L²), L = log(1 + total), over spots with those totals, (n, up to 3).

    Terms that those before them already make up are left out: there is one term where all totals are equal.
    """
    logs = np.log1p(np.asarray(totals, np.float64))
    scaled = (logs - logs.mean()) / (np.ptp(logs) or 1.0)  # the same space, and its square is told from it
    terms, triangle = np.linalg.qr(np.column_stack([np.ones_like(scaled), scaled, scaled**2]))
    independent = np.abs(np.diag(triangle)) > 1e-9 * np.sqrt(len(logs))
    return np.ascontiguousarray(terms[:, independent])
