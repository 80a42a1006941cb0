"""Which spots and genes count in a score: those with enough counts to say something."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_cmrcnet.common.metrics import pcc, undefined
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.sections.totals import least_counts

NOT_MEASURED, NOT_PREDICTED = "not measured", "not predicted"

MIN_SPOTS = 10
"""Spots at which a gene must be found to have a score."""


def detected_spots(counts: Any) -> NDArray[np.int64]:
    """Return at how many spots each gene was found: the rows above 0 of counts, or of log-normalised expression.

    Parameters
    ----------
    counts : array or sparse matrix (n, g)
        A gene found at fewer than `MIN_SPOTS` has no score: a few spots say nothing about where it is expressed.
    """
    return np.asarray((counts > 0).sum(axis=0), np.int64).ravel()


def too_rare(found: int, n: int) -> str:
    """Say why a gene that was found at so many of n spots has no score, ``""`` if it was found at enough."""
    if n < MIN_SPOTS:
        return f"fewer than {MIN_SPOTS} spots"
    return "" if found >= MIN_SPOTS else f"found at {count_text(found, 'spot', n)}"


def unscored(measured: ArrayLike, predicted: ArrayLike) -> list[str]:
    """Say for each gene why it has no score, ``""`` where it has one: `undefined`, and genes that are `too_rare`.

    Parameters
    ----------
    measured, predicted : (n, g)
        Log-normalised expression of g genes at the n spots that count.
    """
    reasons, n = undefined(measured, predicted), len(np.asarray(measured))
    if n < 3:
        return reasons
    found = detected_spots(np.asarray(measured))
    return [too_rare(int(spots), n) or reason for spots, reason in zip(found, reasons, strict=True)]


def one_pcc(
    measured: ArrayLike | None, predicted: ArrayLike | None, counted: NDArray[np.bool_], *, gene: bool = True
) -> tuple[float, str]:
    """Return the correlation of one gene, or of the score of a panel, or NaN and why there is none.

    Parameters
    ----------
    measured, predicted : (n,)
        One value per spot; None where it was not measured, or not predicted.
    counted : bool (n,)
        The spots that count, see `Case.counted_spots`.
    gene : bool
        Whether it is log-normalised expression of a gene, which must be found at enough spots.
    """
    if measured is None or predicted is None:
        return float("nan"), NOT_MEASURED if measured is None else NOT_PREDICTED
    pair = np.asarray(measured)[counted, None], np.asarray(predicted)[counted, None]
    if reason := (unscored if gene else undefined)(*pair)[0]:
        return float("nan"), reason
    return float(pcc(*pair)[0]), ""


def scored_spots(totals: ArrayLike, n_genes: int, min_umi: int | None = None) -> NDArray[np.bool_]:
    """Return which spots count in a score, bool (n,): those with enough counts to say what is expressed.

    Normalised to 10,000, the single counts of a nearly empty spot become the highest values of the section; two such
    spots can halve a gene's correlation.

    Parameters
    ----------
    totals : (n,)
        Counts of each spot over all its genes.
    n_genes : int
        How many genes the totals were taken over.
    min_umi : int, optional
        Spots with fewer counts are left out. If not given 100 for whole transcriptomes, and 10 for panels of fewer
        than 1,000 genes, whose spots hold that much less.
    """
    return np.asarray(np.asarray(totals) >= least_counts(n_genes, min_umi), bool)
