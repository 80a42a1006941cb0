"""The mean scores of sets of genes, in a section and over several."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.metrics import mean_pcc
from napari_cmrcnet.evaluation.resampling import interval

if TYPE_CHECKING:
    import pandas as pd

    from napari_cmrcnet.evaluation.scores import Scores

Definition = Literal["paper", "all"]
"""Among which genes HEG and HVG are ranked."""

SETS = ("HEG", "HVG", "markers")
AMONG: dict[Definition, str] = {
    "paper": "among the training sections' highly variable genes (the union of each section's 1,000), as in the paper",
    "all": "among all genes both predicted and measured",
}
"""What the definitions mean, in words."""


@dataclass(frozen=True)
class SetScore:
    """The mean scores of a set of genes.

    Parameters
    ----------
    pcc : float or None
        Mean over the genes that have one; None if none has.
    low, high : float or None
        95 % bootstrap interval of that mean over blocks of the section's spots (`Bootstrap`).
    n : int
        Genes counted in the mean.
    undefined : int
        Genes of the set without a score: constant, or found at too few spots.
    partial_pcc, spearman : float or None
        The same mean of the partial correlation given depth, and of Spearman's; None while they are not known.
    """

    pcc: float | None
    low: float | None
    high: float | None
    n: int
    undefined: int
    partial_pcc: float | None = None
    spearman: float | None = None


def set_score(rows: "pd.DataFrame", means: NDArray[np.float64] | None = None, nan_as_zero: bool = False) -> SetScore:
    """Return the mean scores of a set.

    Parameters
    ----------
    rows : DataFrame
        The set's genes, of `Scores.table`.
    means : float64 (resamples,), optional
        The mean PCC in each resample.
    nan_as_zero : bool
        Count undefined scores as 0.
    """
    n_undefined = int(rows.pcc.isna().sum())
    n = len(rows) if nan_as_zero else len(rows) - n_undefined
    if not n:
        return SetScore(None, None, None, 0, n_undefined)

    def mean(column: str) -> float | None:
        known = rows[column].notna().any()
        return mean_pcc(rows[column].to_numpy(), nan_as_zero) if known else None

    return SetScore(
        mean_pcc(rows.pcc.to_numpy(), nan_as_zero),
        *_bounds(means),
        n,
        n_undefined,
        mean("partial_pcc"),
        mean("spearman"),
    )


def set_replicates(columns: NDArray[np.float32], values: NDArray[np.float64], nan_as_zero: bool) -> NDArray[np.float64]:
    """Return the set's mean in each resample, over the genes whose PCC is defined in the whole section."""
    columns = columns.astype(np.float64)
    columns[:, np.isnan(values)] = np.nan
    filled = np.nan_to_num(columns) if nan_as_zero else columns[:, ~np.isnan(values)]
    # A rare gene can be constant in a resample; there it is left out of the mean, as it is from the section's.
    counted = (~np.isnan(filled)).sum(axis=1)
    return np.where(counted > 0, np.nansum(filled, axis=1) / np.maximum(counted, 1), np.nan)


def combine(scores: "Sequence[Scores]", name: str) -> SetScore:
    """Return the mean of a set's scores over sections.

    Sections without a single defined PCC are left out; ``n`` and ``undefined`` are sums over sections.

    Parameters
    ----------
    scores : sequence of Scores
        Of each section, with intervals; resample r of one section goes with resample r of the others.
    name : str
        The set.
    """
    import pandas as pd

    used = [one for one in scores if one.sets[name].pcc is not None]
    rows = pd.DataFrame([asdict(one.sets[name]) for one in used], columns=["pcc", "partial_pcc", "spearman"])
    found = set_score(rows, np.mean([one.replicates[name] for one in used], axis=0) if used else None)
    sets = [one.sets[name] for one in scores]
    return replace(found, n=sum(one.n for one in sets), undefined=sum(one.undefined for one in sets))


def between(scores: Sequence[SetScore]) -> dict[str, float] | None:
    """Return how a set's mean PCC differs between sections, None for fewer than two that have one.

    An interval over one section's spots does not cover it. ``sd`` is the standard deviation (n - 1), ``low`` and
    ``high`` are the least and the greatest, of so many ``sections``.
    """
    values = [one.pcc for one in scores if one.pcc is not None]
    if len(values) < 2:
        return None
    sd = float(np.std(values, ddof=1))
    return {"sd": sd, "low": min(values), "high": max(values), "sections": len(values)}


def _bounds(means: NDArray[np.float64] | None) -> tuple[float | None, float | None]:
    if means is None:
        return None, None
    low, high = interval(means[:, None])
    return (None, None) if np.isnan(low[0]) else (float(low[0]), float(high[0]))
