"""How well predicted follows measured expression, gene by gene and over sets of genes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_cmrcnet.sections.around import compact_blocks

Array = NDArray[np.float64]

TOP = 50  # genes in HEG and HVG, as in the paper
RESAMPLES = 1000

FEW_SPOTS = "fewer than 3 spots"
CONSTANT_MEASURED = "constant measured"
CONSTANT_PREDICTED = "constant predicted"

_ROUNDING = 1e-6  # a variance below it, of values of variance 1 in float32, is rounding


def pcc_in_words(pcc: float, low: float = np.nan, high: float = np.nan) -> str:
    """Return a PCC as figures write it, with its interval where there is one."""
    if np.isnan(pcc):
        return "PCC undefined"
    bounds = "" if np.isnan(low) else f" (95 % bootstrap interval over spots {low:z.2f} to {high:z.2f})"
    return f"PCC {pcc:z.2f}{bounds}"


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
    reasons = np.where(_constant(truth), CONSTANT_MEASURED, np.where(_constant(guess), CONSTANT_PREDICTED, ""))
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
    products = np.clip(np.einsum("ij,ij->j", _unit(truth), _unit(guess)), -1.0, 1.0)
    return np.where(np.array(undefined(truth, guess)) == "", products, np.nan)


def spearman(measured: ArrayLike, predicted: ArrayLike) -> Array:
    """Return Spearman's rank correlation of each gene (ties get their mean rank), NaN as in `pcc`.

    Values are ranked as float32, in which expression is kept.
    """
    truth, guess = _pair(measured, predicted)
    return pcc(_ranks(truth), _ranks(guess))


def _ranks(values: Array) -> Array:
    """Return the rank of each value in its column from 0, the mean rank where several are equal."""
    n = len(values)
    floats = np.ascontiguousarray(values.T, np.float32) + np.float32(0)  # -0 equals 0, but has other bits
    bits = floats.view(np.int32)
    ordered = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64)  # integers in the order of the floats
    # Sorting value and row packed into one integer is five times as fast as an argsort.
    keys = np.sort((ordered << 32) | np.arange(n), axis=1)
    sorted_values, rows = keys >> 32, keys & 0xFFFFFFFF
    first = np.ones(keys.shape, bool)
    first[:, 1:] = sorted_values[:, 1:] != sorted_values[:, :-1]
    starts = np.flatnonzero(first)
    equal = np.diff(starts, append=first.size)
    ranks = np.empty(keys.shape)
    np.put_along_axis(ranks, rows, np.repeat(starts % n + (equal - 1) / 2, equal).reshape(keys.shape), axis=1)
    return ranks.T


def rmse(measured: ArrayLike, predicted: ArrayLike) -> Array:
    """Return the root mean squared error of each gene, in units of log-normalised expression."""
    truth, guess = _pair(measured, predicted)
    error = truth - guess
    root: Array = np.sqrt(np.einsum("ij,ij->j", error, error) / max(1, len(error)))
    return root


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
    varying = array[:, ~_constant(array)]
    if not varying.size:
        return np.zeros(len(array), np.float32)
    z = _unit(varying) * np.sqrt(len(array))  # a column of length one has the population SD 1/√n
    score: NDArray[np.float32] = z.mean(axis=1).astype(np.float32)
    return score


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
        truth, guess = _pair(measured, predicted)
        a, b = ((_unit(values) * np.sqrt(len(values))).astype(np.float32) for values in (truth, guess))
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


def interval(replicates: NDArray[np.floating[Any]], level: float = 0.95) -> tuple[Array, Array]:
    """Return the lower and upper percentile bounds of each column, NaN where a column is all NaN."""
    ordered = np.sort(replicates, axis=0)  # NaN last
    last = np.maximum(np.isfinite(replicates).sum(axis=0) - 1, 0)
    bounds = []
    for quantile in ((1 - level) / 2, (1 + level) / 2):
        place = last * quantile
        below = np.floor(place).astype(np.intp)
        pair = np.take_along_axis(ordered, np.stack([below, np.minimum(below + 1, last)]), axis=0).astype(np.float64)
        bounds.append(pair[0] + (place - below) * (pair[1] - pair[0]))
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
    """Return columns centred and of length one; scaled before squaring, so that tiny ones do not underflow.

    Constant columns are zero.
    """
    centred: Array = values - values.mean(axis=0)
    centred[:, _constant(values)] = 0.0  # the mean of equal values need not be one of them
    largest = np.maximum(centred.max(axis=0, initial=0.0), -centred.min(axis=0, initial=0.0))
    centred /= np.where(largest > 0, largest, 1.0)
    length = np.sqrt(np.einsum("ij,ij->j", centred, centred))
    centred /= np.where(length > 0, length, 1.0)
    return centred


def _constant(values: Array) -> NDArray[np.bool_]:
    constant: NDArray[np.bool_] = values.max(axis=0, initial=-np.inf) == values.min(axis=0, initial=np.inf)
    return constant


def dense(values: Any) -> Array:
    """Return a sparse or dense matrix as float64."""
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values, dtype=np.float64)
