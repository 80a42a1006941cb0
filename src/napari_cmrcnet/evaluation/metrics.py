"""How well predicted follows measured expression, gene by gene and over sets of genes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

TOP = 50  # genes in HEG and HVG, as in the paper
RESAMPLES = 1000

FEW_SPOTS = "fewer than 3 spots"
CONSTANT_MEASURED = "constant measured"
CONSTANT_PREDICTED = "constant predicted"


def undefined(measured: ArrayLike, predicted: ArrayLike) -> list[str]:
    """Say for each gene why its correlation is undefined, ``""`` where it is defined.

    Parameters
    ----------
    measured, predicted : (n, g)
        Expression of g genes at n spots.

    Returns
    -------
    list of str
        One of ``"fewer than 3 spots"``, ``"constant measured"``, ``"constant predicted"`` and ``""`` a gene.
    """
    truth, guess = _pair(measured, predicted)
    if len(truth) < 3:
        return [FEW_SPOTS] * truth.shape[1]
    constant_truth, constant_guess = ((values == values[0]).all(axis=0) for values in (truth, guess))
    reasons = np.where(constant_truth, CONSTANT_MEASURED, np.where(constant_guess, CONSTANT_PREDICTED, ""))
    return [str(reason) for reason in reasons]


def pcc(measured: ArrayLike, predicted: ArrayLike) -> Array:
    """Return the Pearson correlation of each gene over the spots, NaN where it is `undefined`.

    Parameters
    ----------
    measured, predicted : (n, g)
        Expression of g genes at n spots.

    Returns
    -------
    float64 (g,)
    """
    truth, guess = _pair(measured, predicted)
    bad = np.array([bool(reason) for reason in undefined(truth, guess)], dtype=bool)
    result = np.full(truth.shape[1], np.nan)
    a, b = (_unit(values[:, ~bad]) for values in (truth, guess))
    result[~bad] = np.clip((a * b).sum(axis=0), -1.0, 1.0)
    return result


def spearman(measured: ArrayLike, predicted: ArrayLike) -> Array:
    """Return Spearman's rank correlation of each gene (ties get their mean rank), NaN as in `pcc`."""
    from scipy.stats import rankdata

    truth, guess = _pair(measured, predicted)
    return pcc(rankdata(truth, axis=0), rankdata(guess, axis=0))


def rmse(measured: ArrayLike, predicted: ArrayLike) -> Array:
    """Return the root mean squared error of each gene, in units of log-normalised expression."""
    truth, guess = _pair(measured, predicted)
    error: Array = np.sqrt(((truth - guess) ** 2).mean(axis=0))
    return error


def mean_pcc(values: ArrayLike, nan_as_zero: bool = False) -> float:
    """Return the mean over genes, NaN if there is nothing to average.

    Parameters
    ----------
    values : (g,)
        Correlations, NaN where undefined.
    nan_as_zero : bool
        Count undefined ones as 0, as published tables do, instead of leaving them out.
    """
    array = np.asarray(values, dtype=np.float64)
    array = np.nan_to_num(array, nan=0.0) if nan_as_zero else array[~np.isnan(array)]
    return float(array.mean()) if array.size else float("nan")


def heg(mean: ArrayLike, genes: Sequence[str], n: int = TOP) -> tuple[str, ...]:
    """Return the n genes that are expressed most, best first; equal ones in the order given.

    Parameters
    ----------
    mean : (g,)
        Each gene's mean measured expression, log-normalised, over the test section's spots.
    genes : sequence of str
        Their names.
    n : int
        How many; all if there are fewer.
    """
    return tuple(genes[index] for index in np.argsort(-np.asarray(mean), kind="stable")[:n])


def hvg(variance: ArrayLike, genes: Sequence[str], n: int = TOP) -> tuple[str, ...]:
    """Return the n genes whose measured expression varies most, as `heg` does by the mean."""
    return heg(variance, genes, n)


def mean_z(values: ArrayLike) -> NDArray[np.float32]:
    """Return the score of a set of genes: the mean over genes of their z-scores over the spots.

    Parameters
    ----------
    values : (n, g)
        Expression of g genes at n spots. A constant gene says nothing about where the set is expressed and is left
        out.

    Returns
    -------
    float32 (n,)
        Zeros if every gene is constant.
    """
    array = np.asarray(values, np.float64)
    varies = (array != array[:1]).any(axis=0)
    if not varies.any():
        return np.zeros(len(array), np.float32)
    z = _unit(array[:, varies]) * np.sqrt(len(array))  # a column of length one has the population SD 1/√n
    return z.mean(axis=1).astype(np.float32)


class Bootstrap:
    """Resamples of a section's spots, drawn with replacement.

    Every gene sees the same resamples, so a set's mean can be taken within each of them.

    Parameters
    ----------
    n : int
        Spots.
    seed : int or sequence of int
        Start of the random numbers: the same seed gives the same intervals.
    resamples : int
        How many.
    """

    def __init__(self, n: int, seed: int | Sequence[int] = 0, resamples: int = RESAMPLES) -> None:
        rng = np.random.default_rng(seed)
        # How often each spot was drawn; more than 255 times is beyond chance.
        self.times = np.zeros((resamples, n), np.uint8)
        for row in self.times:
            row[:] = np.bincount(rng.integers(0, n, n), minlength=n)

    def pcc(self, measured: ArrayLike, predicted: ArrayLike) -> Array:
        """Return each gene's correlation in each resample.

        The weighted moments of all genes and resamples are five matrix products.

        Parameters
        ----------
        measured, predicted : (n, g)
            Expression; give genes in blocks, the result has 1,000 rows.

        Returns
        -------
        float64 (resamples, g)
            NaN where a gene is constant in the resample.
        """
        truth, guess = _pair(measured, predicted)
        a, b = truth - truth.mean(axis=0), guess - guess.mean(axis=0)
        floor = [1e-12 * (values**2).mean(axis=0) for values in (a, b)]  # below it is rounding, not variance
        result = np.empty((len(self.times), a.shape[1]))
        for start in range(0, len(self.times), 128):  # weights as float64: 128 rows at a time, not 1,000
            weights = self.times[start : start + 128] / len(a)
            mean_a, mean_b = weights @ a, weights @ b
            var_a, var_b = weights @ a**2 - mean_a**2, weights @ b**2 - mean_b**2
            defined = (var_a > floor[0]) & (var_b > floor[1])
            covariance = weights @ (a * b) - mean_a * mean_b
            scale = np.sqrt(np.where(defined, var_a * var_b, 1.0))
            result[start : start + 128] = np.where(defined, covariance / scale, np.nan)
        return result


def interval(replicates: Array, level: float = 0.95) -> tuple[Array, Array]:
    """Return the lower and upper percentile bounds of each column, NaN where a column is all NaN."""
    bounds = np.full((2, replicates.shape[1]), np.nan)
    some = ~np.isnan(replicates).all(axis=0)
    if some.any():
        bounds[:, some] = np.nanquantile(replicates[:, some], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return bounds[0], bounds[1]


def gene_sets(
    mean: ArrayLike, variance: ArrayLike, genes: Sequence[str], markers: Sequence[str]
) -> Mapping[str, tuple[str, ...]]:
    """Return the genes of HEG, HVG and the markers among `genes`."""
    known = set(genes)
    return {
        "HEG": heg(mean, genes),
        "HVG": hvg(variance, genes),
        "markers": tuple(gene for gene in markers if gene in known),
    }


def _pair(measured: ArrayLike, predicted: ArrayLike) -> tuple[Array, Array]:
    truth, guess = np.asarray(measured, np.float64), np.asarray(predicted, np.float64)
    if truth.shape != guess.shape or truth.ndim != 2:
        raise ValueError(f"measured {truth.shape} and predicted {guess.shape} must be the same (spots, genes)")
    return truth, guess


def _unit(values: Array) -> Array:
    """Return columns centred and of length one; scaled before squaring, so that tiny ones do not underflow."""
    centred = values - values.mean(axis=0)
    centred /= np.abs(centred).max(axis=0, initial=0.0)
    unit: Array = centred / np.sqrt((centred**2).sum(axis=0))
    return unit


def dense(values: Any) -> Array:
    """Return a sparse or dense matrix as float64."""
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values, dtype=np.float64)
