"""Means over folds and seeds with their intervals, and paired differences between methods."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.evaluation.metrics import interval

Array = NDArray[np.float64]
RESAMPLES = 2000
Values = Sequence[Sequence[Array]]
"""PCC by fold and test section, (seeds, genes); NaN where undefined."""


@dataclass(frozen=True)
class Estimate:
    """The score of a method, and how it differs from the reference. None: not defined.

    Parameters
    ----------
    mean, low, high : float or None
        Mean over genes, seeds and test sections, and its 95 % interval.
    difference, difference_low, difference_high : float or None
        This method's mean minus the reference's, with the interval of the paired difference; None for the reference.
    genes, undefined : int
        PCC that are defined, and that are not, over all sections and seeds.
    sections, seeds : int
        Over which the mean is.
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


def estimate(
    values: Mapping[str, Values],
    reference: str,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    nan_as_zero: bool = False,
) -> dict[str, Estimate]:
    """Return the mean of each method with a paired bootstrap over folds and genes.

    A resample draws as many folds as there are, with replacement, and for each section of a drawn fold as many of
    its genes as there are; all methods see the same folds and genes. The mean of a section is over the genes that
    have a PCC and then over the seeds, the mean of a resample over its sections.

    Parameters
    ----------
    values : mapping of str to Values
        By method; folds, sections and genes in the same order for all.
    reference : str
        The method that the others are compared with; need not be there.
    seed : int
        Of the bootstrap.
    resamples : int
        How many.
    nan_as_zero : bool
        Count undefined PCC as 0, as published tables do, instead of leaving them out.
    """
    if not values:
        return {}
    filled = {
        name: [[np.nan_to_num(pcc) if nan_as_zero else pcc for pcc in fold] for fold in folds]
        for name, folds in values.items()
    }
    replicates = _replicates(filled, seed, resamples)
    means = {name: _mean(folds) for name, folds in filled.items()}
    result = {}
    for name, folds in values.items():
        difference: tuple[float | None, float | None, float | None] = (None, None, None)
        if name != reference and reference in means:
            low, high = _bounds(replicates[name] - replicates[reference])
            difference = (_number(means[name] - means[reference]), low, high)
        arrays = [pcc for fold in folds for pcc in fold]
        undefined = sum(int(np.isnan(pcc).sum()) for pcc in arrays)
        genes = sum(pcc.size for pcc in arrays) - undefined
        seeds = max((len(pcc) for pcc in arrays), default=0)
        result[name] = Estimate(
            _number(means[name]), *_bounds(replicates[name]), *difference, genes, undefined, len(arrays), seeds
        )
    return result


def _mean(folds: Values) -> float:
    sections = [_nanmean(np.array([_nanmean(row) for row in pcc])) for fold in folds for pcc in fold]
    return _nanmean(np.array(sections))


def _nanmean(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _replicates(values: Mapping[str, Values], seed: int, resamples: int) -> dict[str, Array]:
    """Return the mean of each method in each resample, float64 (resamples,)."""
    rng = np.random.default_rng(seed)
    some = next(iter(values.values()))
    sums = {name: np.zeros((resamples, 2)) for name in values}  # of section means, and how many
    for drawn in rng.integers(0, len(some), (len(some), resamples)):  # a slot of the resample: which fold it has
        for index in range(len(some)):
            rows = np.flatnonzero(drawn == index)
            for section in range(len(some[index])):
                n = some[index][section].shape[1]
                times = rng.multinomial(n, np.full(n, 1 / n), len(rows)).astype(np.float64) if n else np.empty((0, 0))
                for name, folds in values.items():
                    means = _weighted(times, folds[index][section]) if n else np.full(len(rows), np.nan)
                    known = ~np.isnan(means)
                    sums[name][rows[known]] += np.column_stack([means[known], np.ones(int(known.sum()))])
    return {
        name: np.divide(total, count, out=np.full(resamples, np.nan), where=count > 0)
        for name, (total, count) in ((name, both.T) for name, both in sums.items())
    }


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
