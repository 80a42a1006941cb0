"""The scores of one prediction: a row a gene, and the mean over HEG, HVG and the marker genes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress, finish
from napari_cmrcnet.evaluation.metrics import dense, gene_sets, mean_pcc, pcc, rmse, spearman, undefined
from napari_cmrcnet.evaluation.resampling import Bootstrap, interval, spatial_blocks

if TYPE_CHECKING:
    import pandas as pd

    from napari_cmrcnet.retrieval.prediction import Prediction
    from napari_cmrcnet.sections.panels import Panel

SETS = ("HEG", "HVG", "markers")
_BLOCK = 320_000  # values of measured or predicted expression at a time: they fit the processor's cache


@dataclass(frozen=True)
class SetScore:
    """The mean PCC of a set of genes.

    Parameters
    ----------
    pcc : float or None
        Mean over the genes that have one; None if none has.
    low, high : float or None
        95 % bootstrap interval of that mean over blocks of the section's spots (`Bootstrap`).
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
        ``measured_mean``, ``measured_variance``, ``predicted_mean``, ``predicted_variance``, ``undefined`` (the
        reason, or ""), and whether it is in ``HEG``, ``HVG`` and ``markers``.
    sets : mapping of str to SetScore
        ``HEG``, ``HVG``, ``markers``.
    replicates : mapping of str to float64 (resamples,)
        The mean PCC of each set in each bootstrap resample; empty while there are no intervals.
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

    It is `pcc_job` and then `interval_job`, which takes about three times as long.

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
    scores = yield from pcc_job(prediction, panel, nan_as_zero=nan_as_zero)
    return (yield from interval_job(prediction, scores, seed, nan_as_zero=nan_as_zero))


def pcc_job(prediction: "Prediction", panel: "Panel | None" = None, *, nan_as_zero: bool = False) -> Job[Scores]:
    """Score a prediction without intervals and Spearman's correlation, as `score_job`: they are NaN in the table."""
    import pandas as pd

    genes = scored_genes(prediction)
    panel = panel or prediction.panel
    markers = _by_symbol(prediction, panel.genes) if panel else ()
    parts = []
    for done, block in _blocks(genes, prediction.spots.n_obs):
        yield Progress(f"Scoring {prediction.name}", done, len(genes), "genes")
        parts.append(_rows(block, *_expression(prediction, block)))
    yield Progress(f"Scoring {prediction.name}", len(genes), len(genes), "genes")
    table = pd.concat(parts)
    sets = gene_sets(table.measured_mean, table.measured_variance, genes, markers)
    for name in SETS:
        table[name] = table.index.isin(sets[name])
    return Scores(
        section=prediction.name,
        table=table,
        sets={name: _set_score(table.pcc[table[name]], None, nan_as_zero) for name in SETS},
        replicates={},
        missing_markers=tuple(gene for gene in markers if gene not in set(genes)),
        panel=panel.name if panel else "",
        spots=prediction.spots.n_obs,
        provenance=prediction.provenance.to_dict(),
    )


def _by_symbol(prediction: "Prediction", genes: Sequence[str]) -> tuple[str, ...]:
    """Return genes, which may be Ensembl ids, by the prediction's symbols; as they are where it has them not."""
    columns = {gene: prediction.names.column(gene) for gene in genes}
    return tuple(gene if column is None else prediction.genes[column] for gene, column in columns.items())


def interval_job(prediction: "Prediction", scores: Scores, seed: int = 0, *, nan_as_zero: bool = False) -> Job[Scores]:
    """Add to what `pcc_job` returned the intervals of genes and sets, and Spearman's correlation."""
    table, n = scores.table, prediction.spots.n_obs
    genes, correlations = list(table.index), table["pcc"].to_numpy()
    # Sections of one size would draw the same spots from the seed alone; their resamples must be independent.
    bootstrap = Bootstrap(spatial_blocks(prediction.xy), (seed, crc32(prediction.name.encode())))
    rows = np.full((len(genes), 3), np.nan)
    of_sets: dict[str, list[NDArray[np.float32]]] = {name: [] for name in SETS}
    for done, block in _blocks(genes, n):
        yield Progress(f"Intervals of {prediction.name}", done, len(genes), "genes")
        here = slice(done, done + len(block))
        measured, predicted = _expression(prediction, block)
        resampled = bootstrap.pcc(measured, predicted)
        low, high = interval(np.where(np.isnan(correlations[here]), np.nan, resampled))
        rows[here] = np.column_stack([low, high, spearman(measured, predicted)])
        for name, columns in of_sets.items():
            columns.append(resampled[:, table[name].to_numpy()[here]])
    yield Progress(f"Intervals of {prediction.name}", len(genes), len(genes), "genes")
    values = {name: table.pcc[table[name]] for name in SETS}
    means = {
        name: _set_replicates(np.hstack(columns), values[name].to_numpy(), nan_as_zero)
        for name, columns in of_sets.items()
    }
    return replace(
        scores,
        table=table.assign(low=rows[:, 0], high=rows[:, 1], spearman=rows[:, 2]),
        sets={name: _set_score(values[name], means[name], nan_as_zero) for name in SETS},
        replicates=means,
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
            "predict it again with the spots that have them.",
            setting="spots",
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


def _blocks(genes: list[str], n: int) -> Iterator[tuple[int, list[str]]]:
    """Yield genes in blocks, each with its start: memory does not grow with their number."""
    step = min(256, max(16, _BLOCK // max(1, n)))
    for start in range(0, len(genes), step):
        yield start, genes[start : start + step]


def _expression(prediction: "Prediction", genes: list[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return dense(prediction.measured(genes)), dense(prediction.expression(genes))


def _rows(genes: list[str], measured: NDArray[np.float64], predicted: NDArray[np.float64]) -> "pd.DataFrame":
    import pandas as pd

    columns = {
        "pcc": pcc(measured, predicted),
        "low": np.nan,
        "high": np.nan,
        "spearman": np.nan,
        "rmse": rmse(measured, predicted),
        "measured_mean": measured.mean(axis=0),
        "measured_variance": measured.var(axis=0),
        "predicted_mean": predicted.mean(axis=0),
        "predicted_variance": predicted.var(axis=0),
        "undefined": undefined(measured, predicted),
    }
    return pd.DataFrame(columns, index=pd.Index(genes, name="gene"))


def _set_replicates(
    columns: NDArray[np.float32], values: NDArray[np.float64], nan_as_zero: bool
) -> NDArray[np.float64]:
    """Return the set's mean in each resample, over the genes whose PCC is defined in the whole section."""
    columns = columns.astype(np.float64)
    filled = np.nan_to_num(columns) if nan_as_zero else columns[:, ~np.isnan(values)]
    # A rare gene can be constant in a resample; there it is left out of the mean, as it is from the section's.
    counted = (~np.isnan(filled)).sum(axis=1)
    return np.where(counted > 0, np.nansum(filled, axis=1) / np.maximum(counted, 1), np.nan)


def _set_score(values: "pd.Series[float]", means: NDArray[np.float64] | None, nan_as_zero: bool) -> SetScore:
    n_undefined = int(values.isna().sum())
    n = len(values) if nan_as_zero else len(values) - n_undefined
    if not n:
        return SetScore(None, None, None, 0, n_undefined)
    return SetScore(mean_pcc(values.to_numpy(), nan_as_zero), *_bounds(means), n, n_undefined)


def _bounds(means: NDArray[np.float64] | None) -> tuple[float | None, float | None]:
    if means is None:
        return None, None
    low, high = interval(means[:, None])
    return (None, None) if np.isnan(low[0]) else (float(low[0]), float(high[0]))
