"""Means over folds and seeds with their intervals, and paired differences between methods."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.metrics import mean_pcc
from napari_cmrcnet.evaluation.resampling import interval

Array = NDArray[np.float64]
RESAMPLES = 2000
Values = Sequence[Sequence[Array]]
"""PCC by fold and test section, (seeds, genes); NaN where undefined."""
Names = Sequence[Sequence[Sequence[str]]]
"""The names of these genes, by fold and test section."""


@dataclass(frozen=True)
class Estimate:
    """The score of a method, and how it differs from the reference. None: not defined.

    Parameters
    ----------
    mean, low, high : float or None
        Mean over genes, seeds and test sections, and its 95 % interval.
    difference, difference_low, difference_high : float or None
        This method's mean minus the reference's over the genes that both have, with the interval of the paired
        difference; None for the reference.
    genes, undefined : int
        PCC that are defined, and that are not, over all sections and seeds.
    sections, seeds : int
        Over which the mean is.
    section_sd, section_min, section_max : float or None
        Standard deviation (n - 1) and range of the sections' own means over genes and seeds: how far sections differ,
        which the interval does not tell. None for a single section.
    """

    mean: float | None
    low: float | None
    high: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    genes: int
    undefined: int
    sections: int
    seeds: int
    section_sd: float | None = None
    section_min: float | None = None
    section_max: float | None = None


def estimate(
    values: Mapping[str, Values],
    genes: Names,
    reference: str,
    *,
    resamples: int = RESAMPLES,
    nan_as_zero: bool = False,
) -> dict[str, Estimate]:
    """Return the mean of each method with a paired bootstrap over folds and genes.

    A resample draws as many folds as there are, and as many genes as there are in all sections, with replacement. A
    gene is drawn for all sections at once: what makes it easy or hard to predict is mostly common to them, so that
    the sections do not multiply the genes. All methods see the same folds and genes. The mean of a section is over the
    genes that have a PCC and then over the seeds, the mean of a resample over its sections.

    Differences are over the genes that have a PCC in every seed of both methods: a method that leaves out hard genes,
    by predicting a constant, gains nothing by it. So a difference may be another than that of the two means.

    Parameters
    ----------
    values : mapping of str to Values
        By method; folds, sections and genes in the same order for all.
    genes : Names
        What the genes are called.
    reference : str
        The method that the others are compared with; need not be there.
    resamples : int
        How many.
    nan_as_zero : bool
        Count undefined PCC as 0, as published tables do, instead of leaving them out.
    """
    drawn = _Drawn(genes, resamples)
    filled = {
        name: [[np.nan_to_num(pcc) if nan_as_zero else pcc for pcc in fold] for fold in folds]
        for name, folds in values.items()
    }
    result = {}
    for name, folds in filled.items():
        difference: tuple[float | None, float | None, float | None] = (None, None, None)
        if name != reference and reference in filled:
            ours, theirs = _shared(folds, filled[reference])
            low, high = _bounds(drawn.means(ours) - drawn.means(theirs))
            difference = (_number(_mean(ours) - _mean(theirs)), low, high)
        arrays = [pcc for fold in values[name] for pcc in fold]
        undefined = sum(int(np.isnan(pcc).sum()) for pcc in arrays)
        n_genes = sum(pcc.size for pcc in arrays) - undefined
        seeds = max((len(pcc) for pcc in arrays), default=0)
        result[name] = Estimate(
            _number(_mean(folds)), *_bounds(drawn.means(folds)), *difference, n_genes, undefined, len(arrays), seeds,
            *_spread(_section_means(folds)),
        )  # fmt: skip
    return result


def _shared(ours: Values, theirs: Values) -> tuple[Values, Values]:
    """Return the PCC of two methods without the genes for which one of them has none in some seed."""
    pairs = [list(zip(*folds, strict=True)) for folds in zip(ours, theirs, strict=True)]
    lacking = [[np.isnan(np.vstack(pair)).any(axis=0) for pair in fold] for fold in pairs]

    def without(folds: Values) -> Values:
        return [
            [np.where(lack, np.nan, pcc) for pcc, lack in zip(fold, lacks, strict=True)]
            for fold, lacks in zip(folds, lacking, strict=True)
        ]

    return without(ours), without(theirs)


def _mean(folds: Values) -> float:
    return mean_pcc(_section_means(folds))


def _section_means(folds: Values) -> Array:
    """Return the mean of each test section over genes and then seeds, NaN where none is defined."""
    return np.array([mean_pcc(np.array([mean_pcc(row) for row in pcc])) for fold in folds for pcc in fold])


def _spread(means: Array) -> tuple[float | None, float | None, float | None]:
    """Return standard deviation, least and largest of the sections' means."""
    known = means[~np.isnan(means)]
    if len(known) < 2:
        return None, None, None
    return float(known.std(ddof=1)), float(known.min()), float(known.max())


class _Drawn:
    """How often each fold and gene is drawn in each resample."""

    def __init__(self, genes: Names, resamples: int) -> None:
        rng = np.random.default_rng(0)
        folds = rng.integers(0, len(genes), (len(genes), resamples))
        self.folds = np.array([(folds == fold).sum(axis=0) for fold in range(len(genes))], np.float64)
        places = {gene: place for place, gene in enumerate(dict.fromkeys(chain.from_iterable(chain(*genes))))}
        n = len(places)
        times = rng.multinomial(n, np.full(n, 1 / n), resamples).astype(np.float64) if n else np.empty((resamples, 0))
        self.genes = [[times[:, [places[gene] for gene in section]] for section in fold] for fold in genes]

    def means(self, folds: Values) -> Array:
        """Return the mean of a method in each resample, float64 (resamples,)."""
        total, count = np.zeros((2, self.folds.shape[1]))
        for drawn, genes, fold in zip(self.folds, self.genes, folds, strict=True):
            for times, pcc in zip(genes, fold, strict=True):
                means = _weighted(times, pcc)
                known = ~np.isnan(means)
                total += drawn * np.where(known, means, 0.0)
                count += drawn * known
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


def _bounds(replicates: Array) -> tuple[float | None, float | None]:
    low, high = interval(replicates[:, None])
    return _number(low[0]), _number(high[0])


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
