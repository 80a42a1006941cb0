"""The scores of one prediction: a row a gene, and the mean over HEG, HVG and the marker genes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress, finish
from napari_cmrcnet.evaluation.metrics import (
    Bootstrap,
    dense,
    gene_sets,
    interval,
    mean_pcc,
    pcc,
    rmse,
    spearman,
    undefined,
)

if TYPE_CHECKING:
    import pandas as pd

    from napari_cmrcnet.retrieval.prediction import Prediction
    from napari_cmrcnet.sections.panels import Panel

SETS = ("HEG", "HVG", "markers")
_BLOCK = 256  # genes at a time: memory does not grow with their number


@dataclass(frozen=True)
class SetScore:
    """The mean PCC of a set of genes.

    Parameters
    ----------
    pcc : float or None
        Mean over the genes that have one; None if none has.
    low, high : float or None
        95 % bootstrap interval of that mean over the section's spots.
    n : int
        Genes counted in the mean.
    undefined : int
        Genes of the set whose PCC is undefined.
    """

    pcc: float | None
    low: float | None
    high: float | None
    n: int
    undefined: int

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the fields by name, as ``summary.json`` has them."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of one section.

    Parameters
    ----------
    section : str
        Its name.
    table : DataFrame
        A row a gene: ``pcc``, ``low``, ``high`` (95 % bootstrap interval), ``spearman``, ``rmse``,
        ``measured_mean``, ``measured_variance``, ``undefined`` (the reason, or ""), and whether it is in ``HEG``,
        ``HVG`` and ``markers``.
    sets : mapping of str to SetScore
        ``HEG``, ``HVG``, ``markers``.
    replicates : mapping of str to float64 (resamples,)
        The mean PCC of each set in each bootstrap resample.
    missing_markers : tuple of str
        Genes of the panel that were not measured or not in the bank.
    panel : str
        The panel's name, "" if there is none.
    spots : int
        Spots of the section.
    provenance : mapping
        What was run on what, from the prediction.
    """

    section: str
    table: "pd.DataFrame"
    sets: Mapping[str, SetScore]
    replicates: Mapping[str, NDArray[np.float64]]
    missing_markers: tuple[str, ...]
    panel: str
    spots: int
    provenance: Mapping[str, Any] = field(default_factory=dict)


def score(
    prediction: "Prediction", panel: "Panel | None" = None, seed: int = 0, *, nan_as_zero: bool = False
) -> Scores:
    """Score a prediction against the section's measured expression; `score_job` run to its end."""
    return finish(score_job(prediction, panel, seed, nan_as_zero=nan_as_zero))


def score_job(
    prediction: "Prediction",
    panel: "Panel | None" = None,
    seed: int = 0,
    *,
    nan_as_zero: bool = False,
) -> Job[Scores]:
    """Score a prediction against the section's measured expression, over the genes that bank and section have.

    Parameters
    ----------
    prediction : Prediction
        Of a section with counts.
    panel : Panel, optional
        The marker genes; those of the prediction if not given.
    seed : int
        Of the bootstrap.
    nan_as_zero : bool
        Count undefined PCC as 0 in the means of sets, as published tables do.

    Raises
    ------
    UserError
        If the section has no counts or no gene in common with the bank.
    """
    genes = scored_genes(prediction)
    panel = panel or prediction.panel
    blocks = [genes[start : start + _BLOCK] for start in range(0, len(genes), _BLOCK)]
    mean, variance = _moments(prediction, blocks)
    sets = gene_sets(mean, variance, genes, panel.genes if panel else ())
    # Sections of one size would draw the same spots from the seed alone; their resamples must be independent.
    bootstrap = Bootstrap(prediction.spots.n_obs, (seed, crc32(prediction.name.encode())))
    parts, replicates = [], []
    for done, block in enumerate(blocks):
        yield Progress(f"Scoring {prediction.name}", done * _BLOCK, len(genes), "genes")
        measured, predicted = dense(prediction.measured(block)), dense(prediction.expression(block))
        resampled = bootstrap.pcc(measured, predicted)
        parts.append(_rows(block, measured, predicted, resampled))
        replicates.append({name: resampled[:, np.isin(block, sets[name])] for name in SETS})
    yield Progress(f"Scoring {prediction.name}", len(genes), len(genes), "genes")
    table = _table(parts, genes, mean, variance, sets)
    values = {name: table.pcc[table[name]] for name in SETS}
    joined = {name: np.hstack([one[name] for one in replicates]) for name in SETS}
    means = {name: _set_replicates(joined[name], values[name].to_numpy(), nan_as_zero) for name in SETS}
    return Scores(
        section=prediction.name,
        table=table,
        sets={name: _set_score(values[name], means[name], nan_as_zero) for name in SETS},
        replicates=means,
        missing_markers=tuple(gene for gene in panel.genes if gene not in set(genes)) if panel else (),
        panel=panel.name if panel else "",
        spots=prediction.spots.n_obs,
        provenance=prediction.provenance.to_dict(),
    )


def scored_genes(prediction: "Prediction") -> list[str]:
    """Return the genes that are both predicted and measured, in the bank's order.

    Raises
    ------
    UserError
        If nothing was measured, or there is no gene in common.
    """
    if prediction.spots.X is None:
        raise UserError(
            f"Section {prediction.name} has no measured counts to score its prediction against; "
            "predict it again with the spots that have them (--spots)."
        )
    genes = list(prediction.measured_genes)
    if not genes:
        raise UserError(
            f"Section {prediction.name} has no measured gene in common with the checkpoint's "
            f"{len(prediction.genes)}; check that both use gene symbols of one species."
        )
    return genes


def combine(scores: Sequence[Scores], name: str) -> SetScore:
    """Return the mean of a set's score over sections; resample r of one goes with resample r of the others.

    Sections without a single defined PCC are left out; ``n`` and ``undefined`` are sums over sections.
    """
    used = [one for one in scores if one.sets[name].pcc is not None]
    n = sum(one.sets[name].n for one in scores)
    missing = sum(one.sets[name].undefined for one in scores)
    if not used:
        return SetScore(None, None, None, n, missing)
    mean = float(np.mean([one.sets[name].pcc for one in used]))
    return SetScore(mean, *_bounds(np.mean([one.replicates[name] for one in used], axis=0)), n, missing)


def _moments(prediction: "Prediction", blocks: list[list[str]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    means, variances = [], []
    for block in blocks:
        measured = dense(prediction.measured(block))
        means.append(measured.mean(axis=0))
        variances.append(measured.var(axis=0))
    return np.concatenate(means), np.concatenate(variances)


def _rows(
    genes: list[str], measured: NDArray[np.float64], predicted: NDArray[np.float64], resampled: NDArray[np.float64]
) -> "pd.DataFrame":
    import pandas as pd

    values = pcc(measured, predicted)
    low, high = interval(np.where(np.isnan(values), np.nan, resampled))
    columns = {
        "pcc": values,
        "low": low,
        "high": high,
        "spearman": spearman(measured, predicted),
        "rmse": rmse(measured, predicted),
        "undefined": undefined(measured, predicted),
    }
    return pd.DataFrame(columns, index=pd.Index(genes, name="gene"))


def _table(
    parts: "list[pd.DataFrame]",
    genes: list[str],
    mean: NDArray[np.float64],
    variance: NDArray[np.float64],
    sets: Mapping[str, tuple[str, ...]],
) -> "pd.DataFrame":
    import pandas as pd

    table = pd.concat(parts).loc[genes]
    table.insert(5, "measured_mean", mean)
    table.insert(6, "measured_variance", variance)
    for name in SETS:
        table[name] = table.index.isin(sets[name])
    return table


def _set_replicates(
    columns: NDArray[np.float64], values: NDArray[np.float64], nan_as_zero: bool
) -> NDArray[np.float64]:
    """Return the set's mean in each resample, over the genes whose PCC is defined in the whole section."""
    filled = np.nan_to_num(columns) if nan_as_zero else columns[:, ~np.isnan(values)]
    # A rare gene can be constant in a resample; there it is left out of the mean, as it is from the section's.
    counted = (~np.isnan(filled)).sum(axis=1)
    return np.where(counted > 0, np.nansum(filled, axis=1) / np.maximum(counted, 1), np.nan)


def _set_score(values: "pd.Series[float]", means: NDArray[np.float64], nan_as_zero: bool) -> SetScore:
    n_undefined = int(values.isna().sum())
    n = len(values) if nan_as_zero else len(values) - n_undefined
    if not n:
        return SetScore(None, None, None, 0, n_undefined)
    return SetScore(mean_pcc(values.to_numpy(), nan_as_zero), *_bounds(means), n, n_undefined)


def _bounds(means: NDArray[np.float64]) -> tuple[float | None, float | None]:
    low, high = interval(means[:, None])
    return (None, None) if np.isnan(low[0]) else (float(low[0]), float(high[0]))
