"""The score of one gene, or of a panel's score, over the spots that count: what a window and a region show."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_cmrcnet.evaluation.counted import unscored
from napari_cmrcnet.evaluation.depth import partial_pcc
from napari_cmrcnet.evaluation.metrics import pcc, spearman, undefined

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class OneScore:
    """How well one gene, or the score of a panel, is predicted.

    Parameters
    ----------
    pcc, spearman, partial_pcc : float
        Pearson's and Spearman's correlation, and the partial one given depth; NaN where there is none.
    undefined : str
        Why there is no score, ``""`` where there is one.
    spots : int
        Spots that count.
    """

    pcc: float
    spearman: float
    partial_pcc: float
    undefined: str
    spots: int


def one_score(
    measured: ArrayLike | None,
    predicted: ArrayLike,
    counted: NDArray[np.bool_],
    totals: NDArray[np.float64] | None = None,
    *,
    gene: bool = True,
) -> OneScore:
    """Score one gene or panel over the spots that count.

    Parameters
    ----------
    measured, predicted : (n,)
        A value a spot; measured None where it was not.
    counted : bool (n,)
        The spots that count, see `scores.counted_spots`.
    totals : float64 (n,), optional
        Counts of each spot; without them there is no partial correlation.
    gene : bool
        Whether it is log-normalised expression of a gene, which must be found at enough spots.
    """
    none = float("nan")
    correlation, reason = one_pcc(measured, predicted, counted, gene=gene)
    if reason or measured is None:
        return OneScore(none, none, none, reason, int(counted.sum()))
    pair = np.asarray(measured)[counted, None], np.asarray(predicted)[counted, None]
    partial = none if totals is None else float(partial_pcc(*pair, totals[counted])[0])
    return OneScore(correlation, float(spearman(*pair)[0]), partial, "", len(pair[0]))


def one_pcc(
    measured: ArrayLike | None, predicted: ArrayLike, counted: NDArray[np.bool_], *, gene: bool = True
) -> tuple[float, str]:
    """Return Pearson's correlation as `one_score`, or NaN and why there is none."""
    if measured is None:
        return float("nan"), NOT_MEASURED
    pair = np.asarray(measured)[counted, None], np.asarray(predicted)[counted, None]
    if reason := (unscored if gene else undefined)(*pair)[0]:
        return float("nan"), reason
    return float(pcc(*pair)[0]), ""
