"""Means over folds and seeds with their intervals, and paired differences between methods."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cmrcnet.common.metrics import mean_pcc
from napari_cmrcnet.evaluation.resampling import interval

Array = NDArray[np.float64]
RESAMPLES = 2000
ESTIMATED = [
    "mean", "low", "high", "difference", "difference_low", "difference_high", "genes", "undefined", "sections", "seeds",
    "section_sd", "section_min", "section_max",
]  # fmt: skip


def estimate(
    scores: Mapping[str, Sequence[pd.DataFrame]],
    folds: Sequence[str],
    reference: str,
    *,
    resamples: int = RESAMPLES,
    nan_as_zero: bool = False,
) -> pd.DataFrame:
    """Return the mean of each method with a paired bootstrap over folds and genes.

    A resample draws as many folds as there are, and as many genes as there are in all sections, with replacement. A
    gene is drawn for all sections at once: what makes it easy or hard to predict is mostly common to them, so that
    the sections do not multiply the genes. All methods see the same folds and genes. The mean of a section is over the
    genes that have a PCC and then over the seeds, the mean of a resample over its sections.

    Differences are over the genes that have a PCC in every seed of both methods: a method that leaves out hard genes,
    by predicting a constant, gains nothing by it. So a difference may be another than that of the two means.

    Parameters
    ----------
    scores : mapping of str to sequence of DataFrame
        By method, for each test section, the PCC: one row per seed, one column per gene; NaN where undefined. Sections
        are in the same order for all methods, and a section has the same genes for all.
    folds : sequence of str
        The fold of each test section.
    reference : str
        The method that the others are compared with; need not be there.
    resamples : int
        How many.
    nan_as_zero : bool
        Count undefined PCC as 0, as published tables do, instead of leaving them out.

    Returns
    -------
    DataFrame
        One row per method; NaN where not defined. ``mean``, ``low`` and ``high``: over genes, seeds and test sections,
        with the 95 % interval. ``difference``, ``difference_low`` and ``difference_high``: this mean minus
        the reference's, with the interval of the paired difference. ``genes`` and ``undefined``: how many PCC are
        defined, and are not, over all ``sections`` and ``seeds``. ``section_sd``, ``section_min`` and ``section_max``:
        standard deviation (n - 1) and range of the sections' own means over genes and seeds, of two sections or more:
        how far sections differ, which the interval does not tell.
    """
    genes = list(dict.fromkeys(gene for sections in scores.values() for one in sections for gene in one))
    drawn = _Drawn(folds, len(genes), resamples)
    filled = {
        name: np.stack([(one.fillna(0.0) if nan_as_zero else one).reindex(columns=genes) for one in sections])
        for name, sections in scores.items()
    }  # (sections, seeds, genes), NaN also where a section does not have a gene
    rows = {}
    for name, ours in filled.items():
        difference = np.nan, np.nan, np.nan
        if name != reference and reference in filled:
            theirs = filled[reference]
            lacking = np.isnan(ours).any(axis=1, keepdims=True) | np.isnan(theirs).any(axis=1, keepdims=True)
            ours_of_both, theirs_of_both = np.where(lacking, np.nan, ours), np.where(lacking, np.nan, theirs)
            low, high = _bounds(drawn.means(ours_of_both) - drawn.means(theirs_of_both))
            difference = (_mean(ours_of_both) - _mean(theirs_of_both), low, high)
        undefined = sum(int(one.isna().sum().sum()) for one in scores[name])
        n_genes = sum(one.size for one in scores[name]) - undefined
        rows[name] = (
            _mean(ours), *_bounds(drawn.means(ours)), *difference, n_genes, undefined,
            len(ours), ours.shape[1], *_spread(_section_means(ours)),
        )  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index", columns=ESTIMATED)


def _mean(pcc: Array) -> float:
    return mean_pcc(_section_means(pcc))


def _section_means(pcc: Array) -> Array:
    """Return the mean of each test section over genes and then seeds, NaN where none is defined."""
    return np.array([mean_pcc(np.array([mean_pcc(row) for row in section])) for section in pcc])


def _spread(means: Array) -> tuple[float, float, float]:
    """Return standard deviation, least and largest of the sections' means."""
    known = means[~np.isnan(means)]
    if len(known) < 2:
        return np.nan, np.nan, np.nan
    return known.std(ddof=1), known.min(), known.max()


class _Drawn:
    """How often the fold of each section, and each gene, is drawn in each resample."""

    def __init__(self, folds: Sequence[str], n: int, resamples: int) -> None:
        rng = np.random.default_rng(0)
        fold_of, each = pd.factorize(np.array(folds))
        drawn = rng.integers(0, len(each), (len(each), resamples))
        self.sections = np.array([(drawn == fold).sum(axis=0) for fold in fold_of], np.float64)
        self.genes = rng.multinomial(n, np.full(n, 1 / n), resamples).astype(float) if n else np.empty((resamples, 0))

    def means(self, pcc: Array) -> Array:
        """Return the mean of a method's PCC (sections, seeds, genes) in each resample, float64 (resamples,)."""
        means = np.array([_weighted(self.genes, section) for section in pcc])
        known = ~np.isnan(means)
        total, count = (self.sections * np.where(known, means, 0.0)).sum(axis=0), (self.sections * known).sum(axis=0)
        mean: Array = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
        return mean


def _weighted(times: Array, pcc: Array) -> Array:
    """Return the mean over seeds of the mean over drawn genes, NaN where none is defined, (rows,)."""
    known = ~np.isnan(pcc)
    total, count = times @ np.where(known, pcc, 0.0).T, times @ known.T.astype(np.float64)
    means = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    seeds = (~np.isnan(means)).sum(axis=1)
    mean: Array = np.divide(np.nansum(means, axis=1), seeds, out=np.full(len(means), np.nan), where=seeds > 0)
    return mean


def _bounds(replicates: Array) -> tuple[float, float]:
    low, high = interval(replicates[:, None])
    return low[0], high[0]
