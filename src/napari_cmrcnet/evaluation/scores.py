"""The scores of one prediction: one row per gene, and the mean over HEG, HVG and the marker genes."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.metrics import dense, gene_sets, morans_i, pcc, rmse, spearman
from napari_cmrcnet.common.progress import Job, Progress, to_the_end
from napari_cmrcnet.evaluation.gene_trust import trust_words
from napari_cmrcnet.evaluation.resampling import interval, section_bootstrap
from napari_cmrcnet.evaluation.set_scores import SETS, Definition, SetScore, set_replicates, set_score
from napari_cmrcnet.retrieval.expected import with_expected
from napari_cmrcnet.sections.depth import Depth, depth_r2, partial_pcc
from napari_cmrcnet.sections.nearby_spots import REACH, around
from napari_cmrcnet.sections.pixel_size import spots_lattice
from napari_cmrcnet.sections.score_filter import detected_spots, unscored
from napari_cmrcnet.sections.totals import least_counts, total_genes

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.prediction import Prediction
    from napari_cmrcnet.sections.panels import Panel

_BLOCK = 320_000  # values of measured or predicted expression at a time: they fit the processor's cache
_LATER = ("low", "high", "spearman", "partial_pcc", "measured_morans_i", "predicted_morans_i")  # by `interval_job`


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of one section.

    Parameters
    ----------
    section : str
        Its name.
    table : DataFrame
        One row per gene, over the spots that count: ``pcc``, ``low``, ``high`` (95 % bootstrap interval), ``spearman``,
        ``partial_pcc`` (given depth, see `partial_pcc`), ``rmse``, ``spots_found`` (where the gene was measured above
        0), ``measured_mean``, ``measured_variance``, ``predicted_mean``, ``predicted_variance``, ``depth_r2``,
        ``measured_morans_i``, ``predicted_morans_i``, ``undefined`` (why there is no score, or ""), whether it is
        in ``HEG``, ``HVG`` and ``markers``, where the checkpoint knows them ``expected_pcc`` and
        ``expected_partial_pcc``, and ``trust`` (by the PCC found here, and by
        the expected PCC where a gene has none, see `trust_of`; "" while the intervals are not known).
    sets : mapping of str to SetScore
        ``HEG``, ``HVG``, ``markers``.
    replicates : mapping of str to float64 (resamples,)
        The mean PCC of each set in each bootstrap resample; empty while there are no intervals.
    markers : tuple of str
        Genes of the panel that are scored, in the panel's order.
    missing_markers : tuple of str
        Genes of the panel that were not measured or not in the bank.
    panel : str
        The panel's name, "" if there is none.
    definition : {"paper", "all"}
        Among which genes HEG and HVG were ranked.
    scored : bool (n,)
        The spots that count, see `Case.counted_spots`.
    min_umi : int
        Counts that a spot must have to count.
    depth : Depth
        How deeply the section was sequenced.
    """

    section: str
    table: pd.DataFrame
    sets: Mapping[str, SetScore]
    replicates: Mapping[str, NDArray[np.float64]]
    markers: tuple[str, ...]
    missing_markers: tuple[str, ...]
    panel: str
    definition: Definition
    scored: NDArray[np.bool_]
    min_umi: int
    depth: Depth

    @property
    def spots(self) -> int:
        """Spots that count."""
        return int(self.scored.sum())


def score_job(
    prediction: "Prediction",
    panel: "Panel | None" = None,
    seed: int = 0,
    *,
    sets: Definition = "paper",
    min_umi: int | None = None,
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
    sets : {"paper", "all"}
        Among which genes HEG and HVG are ranked: the training sections' highly variable ones, or all. A prediction
        that does not know the former is ranked among all.
    min_umi : int, optional
        Spots with fewer counts do not count; see `score_filter.scored_spots`.
    nan_as_zero : bool
        Count undefined PCC as 0 in the means of sets, as published tables do.

    Raises
    ------
    UserError
        If the section has no counts or no gene in common with the bank.
    """
    scores = yield from pcc_job(prediction, panel, sets=sets, min_umi=min_umi, nan_as_zero=nan_as_zero)
    return (yield from interval_job(prediction, scores, seed, nan_as_zero=nan_as_zero))


score = to_the_end(score_job)


def pcc_job(
    prediction: "Prediction",
    panel: "Panel | None" = None,
    *,
    sets: Definition = "paper",
    min_umi: int | None = None,
    nan_as_zero: bool = False,
) -> Job[Scores]:
    """Score a prediction as `score_job`, without what `interval_job` adds, which is NaN in the table."""
    genes = scored_genes(prediction)
    panel = panel or prediction.panel
    markers = prediction.names.with_these(panel).genes if panel else ()
    scored = prediction.counted_spots(min_umi)
    least = least_counts(total_genes(prediction.spots), min_umi)
    if not scored.any():
        raise UserError(
            f"No spot of section {prediction.name} has the {least} counts that are needed to score a spot; it "
            "cannot be scored."
        )
    totals = _totals(prediction)[scored]
    parts = []
    for done, block, measured, predicted in blocks(prediction, genes, scored):
        yield Progress(f"Scoring {prediction.name}", done, len(genes), "genes")
        parts.append(_rows(block, measured, predicted, totals))
    yield Progress(f"Scoring {prediction.name}", len(genes), len(genes), "genes")
    table = pd.concat(parts)
    definition: Definition = sets if prediction.variable_genes else "all"
    among = prediction.variable_genes if definition == "paper" else None
    of_sets = gene_sets(table.measured_mean, table.measured_variance, genes, markers, among)
    for name in SETS:
        table[name] = table.index.isin(of_sets[name])
    if prediction.expected is not None:
        table = with_expected(table, prediction.expected[prediction.names.columns(genes, "The prediction")])
    table["trust"] = ""
    deep = table[table.pcc.notna() & table.depth_r2.notna()]
    share = float(np.average(deep.depth_r2, weights=deep.measured_variance)) if len(deep) else np.nan
    return Scores(
        section=prediction.name,
        table=table,
        sets={name: set_score(table[table[name]], None, nan_as_zero) for name in SETS},
        replicates={},
        markers=tuple(gene for gene in markers if gene in table.index),
        missing_markers=tuple(gene for gene in markers if gene not in table.index),
        panel=panel.name if panel else "",
        definition=definition,
        scored=scored,
        min_umi=least,
        depth=Depth(float(np.median(totals)), share, total_genes(prediction.spots)),
    )


def _totals(prediction: "Prediction") -> NDArray[np.float64]:
    """Return the counts of each spot, NaN where the file has values that were normalised already."""
    return np.full(len(prediction), np.nan) if prediction.totals is None else prediction.totals


def interval_job(
    prediction: "Prediction",
    scores: Scores,
    seed: int = 0,
    *,
    genes: Collection[str] | None = None,
    nan_as_zero: bool = False,
) -> Job[Scores]:
    """Add to what `pcc_job` returned intervals, Spearman's and the partial correlation, Moran's I, and the trust.

    They are of all genes, or of some and of those of the sets: the others keep NaN and "".
    """
    table, scored = scores.table, scores.scored
    wanted = np.ones(len(table), bool) if genes is None else table.index.isin(genes) | table[list(SETS)].any(axis=1)
    of_genes = table[wanted]
    correlations = of_genes["pcc"].to_numpy()
    totals, xy = _totals(prediction)[scored], prediction.xy[scored]
    neighbours = around(xy, REACH * spots_lattice(prediction.spots).pitch)
    bootstrap = section_bootstrap(prediction.name, xy, seed)
    rows = np.full((len(of_genes), len(_LATER)), np.nan)
    of_sets: dict[str, list[NDArray[np.float32]]] = {name: [] for name in SETS}
    for done, block, measured, predicted in blocks(prediction, list(of_genes.index), scored):
        yield Progress(f"Intervals of {prediction.name}", done, len(of_genes), "genes")
        here = slice(done, done + len(block))
        resampled = bootstrap.pcc(measured, predicted)
        low, high = interval(np.where(np.isnan(correlations[here]), np.nan, resampled))
        others = np.column_stack([spearman(measured, predicted), partial_pcc(measured, predicted, totals)])
        others[np.isnan(correlations[here])] = np.nan  # a gene has all scores or none
        structure = morans_i(measured, neighbours), morans_i(predicted, neighbours)
        rows[here] = np.column_stack([low, high, others, *structure])
        for name, columns in of_sets.items():
            columns.append(resampled[:, of_genes[name].to_numpy()[here]])
    yield Progress(f"Intervals of {prediction.name}", len(of_genes), len(of_genes), "genes")
    table = table.copy()
    table.loc[wanted, list(_LATER)] = rows
    table.loc[wanted, "trust"] = trust_words(prediction, table[wanted])
    members = {name: table[table[name]] for name in SETS}
    means = {
        name: set_replicates(np.hstack(columns), members[name].pcc.to_numpy(), nan_as_zero)
        for name, columns in of_sets.items()
    }
    return replace(
        scores,
        table=table,
        sets={name: set_score(members[name], means[name], nan_as_zero) for name in SETS},
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


def blocks(
    prediction: "Prediction", genes: list[str], scored: NDArray[np.bool_]
) -> Iterator[tuple[int, list[str], NDArray[np.float64], NDArray[np.float64]]]:
    """Yield genes in blocks, each with its start, measured and predicted: memory does not grow with their number."""
    step = min(256, max(16, _BLOCK // max(1, len(scored))))
    of_spots = slice(None) if scored.all() else scored
    for start in range(0, len(genes), step):
        block = genes[start : start + step]
        yield start, block, dense(prediction.measured(block))[of_spots], dense(prediction.expression(block))[of_spots]


def _rows(
    genes: list[str], measured: NDArray[np.float64], predicted: NDArray[np.float64], totals: NDArray[np.float64]
) -> pd.DataFrame:
    reasons = np.array(unscored(measured, predicted), object)
    columns = {
        "pcc": np.where(reasons == "", pcc(measured, predicted), np.nan),
        **dict.fromkeys(("low", "high", "spearman", "partial_pcc"), np.nan),
        "rmse": rmse(measured, predicted),
        "spots_found": detected_spots(measured),
        "measured_mean": measured.mean(axis=0),
        "measured_variance": measured.var(axis=0),
        "predicted_mean": predicted.mean(axis=0),
        "predicted_variance": predicted.var(axis=0),
        "depth_r2": depth_r2(measured, totals),
        **dict.fromkeys(("measured_morans_i", "predicted_morans_i"), np.nan),
        "undefined": reasons,
    }
    return pd.DataFrame(columns, index=pd.Index(genes, name="gene"))
