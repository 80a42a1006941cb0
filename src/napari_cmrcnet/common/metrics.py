"""How well predicted follows measured expression, gene by gene and over sets of genes."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

T = TypeVar("T")
Array = NDArray[np.float64]

TOP = 50  # genes in HEG and HVG, as in the paper

FEW_SPOTS = "fewer than 3 spots"
CONSTANT_MEASURED = "constant measured"
CONSTANT_PREDICTED = "constant predicted"


def pcc_in_words(pcc: float, low: float = np.nan, high: float = np.nan) -> str:
    """Return a PCC as figures write it, with its interval where there is one."""
    if np.isnan(pcc):
        return "PCC undefined"
    bounds = "" if np.isnan(low) else f" (95 % bootstrap interval over spots {low:z.2f} to {high:z.2f})"
    return f"PCC {pcc:z.2f}{bounds}"


def undefined(measured: ArrayLike, predicted: ArrayLike) -> list[str]:
    """Say for each gene why its correlation is undefined, ``""`` where it is defined.

    A gene that is merely rare has a correlation, and no score: see `score_filter.unscored`.

    Parameters
    ----------
    measured, predicted : (n, g)
        Expression of g genes at n spots.

    Returns
    -------
    list of str
        One of ``"fewer than 3 spots"``, ``"constant measured"``, ``"constant predicted"`` and ``""`` a gene.
    """
    truth, guess = pair(measured, predicted)
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
    truth, guess = pair(measured, predicted)
    products = np.clip(np.einsum("ij,ij->j", unit(truth), unit(guess)), -1.0, 1.0)
    return np.where(np.array(undefined(truth, guess)) == "", products, np.nan)


def spearman(measured: ArrayLike, predicted: ArrayLike) -> Array:
    """Return Spearman's rank correlation of each gene (ties get their mean rank), NaN as in `pcc`.

    Values are ranked as float32, in which expression is kept.
    """
    import pandas as pd

    truth, guess = pair(measured, predicted)
    return pcc(*(pd.DataFrame(values.astype(np.float32)).rank().to_numpy() for values in (truth, guess)))


def rmse(measured: ArrayLike, predicted: ArrayLike) -> Array:
    """Return the root mean squared error of each gene, in units of log-normalised expression."""
    truth, guess = pair(measured, predicted)
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


def highest(values: ArrayLike, genes: Sequence[T], n: int = TOP) -> tuple[T, ...]:
    """Return the n genes of the highest value, best first; equal ones in the order given.

    Parameters
    ----------
    values : (g,)
        Of each gene's measured, log-normalised expression over the test section's spots: the mean for HEG, the
        variance for HVG.
    genes : sequence
        Their names, or places.
    n : int
        How many; all if there are fewer.
    """
    return tuple(genes[index] for index in np.argsort(-np.asarray(values), kind="stable")[:n])


def mean_z(values: ArrayLike, signs: ArrayLike | None = None) -> NDArray[np.float32]:
    """Return the score of a set of genes: the mean over genes of their z-scores over the spots.

    Parameters
    ----------
    values : (n, g)
        Expression of g genes at n spots. A constant gene says nothing about where the set is expressed and is left
        out.
    signs : (g,), optional
        1 for a gene that counts for the score, −1 for one that counts against it; all 1 if not given.

    Returns
    -------
    float32 (n,)
        Zeros if every gene is constant.
    """
    array = np.asarray(values, np.float64)
    varies = ~_constant(array)
    varying = array[:, varies]
    if not varying.size:
        return np.zeros(len(array), np.float32)
    z = unit(varying) * np.sqrt(len(array))  # a column of length one has the population SD 1/√n
    if signs is not None:
        z *= np.asarray(signs, np.float64)[varies]
    score: NDArray[np.float32] = z.mean(axis=1).astype(np.float32)
    return score


def morans_i(values: ArrayLike, neighbours: Any) -> Array:
    """Return Moran's I of each column: how alike spots next to each other are, from about 0 (not at all) to 1.

    I = n / Σw · Σ w_ij z_i z_j / Σ z_i², z the values less their mean (Moran, Biometrika 37:17, 1950). All neighbours
    weigh the same, 1; without any structure the mean of I is -1 / (n - 1).

    Parameters
    ----------
    values : (n, g)
        One value per spot and gene.
    neighbours : sparse matrix (n, n)
        Ones where the column's spot is a neighbour of the row's, as `spots_around` gives them: the nearest ones on
        the lattice, six of a hexagonal array, eight of a square one.

    Returns
    -------
    float64 (g,)
        NaN for a constant column, and where no spot has a neighbour.
    """
    array = np.asarray(values, np.float64)
    weight = float(neighbours.sum())
    if not weight:
        return np.full(array.shape[1], np.nan)
    z = unit(array)
    alike = np.einsum("ij,ij->j", z, neighbours @ z)
    return np.where(_constant(array), np.nan, len(array) / weight * alike)


def gene_sets(
    mean: ArrayLike,
    variance: ArrayLike,
    genes: Sequence[str],
    markers: Sequence[str],
    variable: Collection[str] | None = None,
) -> Mapping[str, tuple[str, ...]]:
    """Return the genes of HEG, HVG and the markers among `genes`.

    Parameters
    ----------
    mean, variance : (g,)
        Of each gene's measured, log-normalised expression over the test section's spots.
    genes : sequence of str
        Their names.
    markers : sequence of str
        Marker genes; those among `genes` are taken.
    variable : collection of str, optional
        The union of each training section's 1,000 highly variable genes, among which the paper ranks ("top 50 HEGs
        among HVGs"; its public code ranks that list by the test section's sums and variances). Without it HEG and
        HVG are ranked among all genes.
    """
    rows = [row for row, gene in enumerate(genes) if variable is None or gene in variable]
    ranked = [genes[row] for row in rows]
    known = set(genes)
    return {
        "HEG": highest(np.asarray(mean)[rows], ranked),
        "HVG": highest(np.asarray(variance)[rows], ranked),
        "markers": tuple(gene for gene in markers if gene in known),
    }


def pair(measured: ArrayLike, predicted: ArrayLike) -> tuple[Array, Array]:
    """Return both as float64 (n, g); raises ValueError if they differ in shape."""
    truth, guess = np.asarray(measured, np.float64), np.asarray(predicted, np.float64)
    if truth.shape != guess.shape or truth.ndim != 2:
        raise ValueError(f"measured {truth.shape} and predicted {guess.shape} must be the same (spots, genes)")
    return truth, guess


def unit(values: Array) -> Array:
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
