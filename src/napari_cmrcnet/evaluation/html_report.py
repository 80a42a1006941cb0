"""The report of one prediction as one HTML file, to be read, printed and passed on."""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cmrcnet.common.files import write_content
from napari_cmrcnet.common.progress import Job, Progress, in_thread
from napari_cmrcnet.evaluation.figures import Ground
from napari_cmrcnet.evaluation.gene_figure import RESEARCH_USE, Drawn, draw_gene, drawn_gene, ground_of
from napari_cmrcnet.evaluation.headline import COVERS, section_of
from napari_cmrcnet.evaluation.html_gene_plots import gene_plots
from napari_cmrcnet.evaluation.html_origin import closing_parts, confidence_parts, origin_parts
from napari_cmrcnet.evaluation.html_page import element, page, picture, table
from napari_cmrcnet.evaluation.panel_figure import gene_maps, panel_figure
from napari_cmrcnet.evaluation.plot_style import UNIT
from napari_cmrcnet.evaluation.plots_panel import MOST
from napari_cmrcnet.evaluation.plots_sets import pcc_by_set, set_boxplot
from napari_cmrcnet.evaluation.region_scores import groups, region_table
from napari_cmrcnet.evaluation.report_text import PARTIAL
from napari_cmrcnet.evaluation.score_notes import score_notes, sets_in_words
from napari_cmrcnet.evaluation.scores import Scores, counted_spots, score_job
from napari_cmrcnet.evaluation.set_scores import SETS
from napari_cmrcnet.retrieval.leaks import warnings_of
from napari_cmrcnet.sections.score_filter import MIN_SPOTS, spots_in_words

if TYPE_CHECKING:
    import pandas as pd

    from napari_cmrcnet.retrieval.prediction import Prediction
    from napari_cmrcnet.sections.panels import Panel
    from napari_cmrcnet.sections.regions import Region

BEST = 6  # maps of the best predicted genes
MAPS_MM, MAPS_DPI, COLUMNS = 320.0, 110, 4  # of small maps: about as wide as the page
LISTED = 50  # best predicted genes in the table, beside those of the sets
_SET_NAMES = {"HEG": "highly expressed (HEG)", "HVG": "highly variable (HVG)", "markers": "markers"}


def write_html_report(
    prediction: "Prediction",
    path: str | os.PathLike[str],
    *,
    shown: Drawn | None = None,
    scores: Scores | None = None,
    panel: "Panel | None" = None,
    regions: "Sequence[Region]" = (),
    slide: str | os.PathLike[str] = "",
) -> Job[Path]:
    """Write the report of a prediction as one HTML file.

    It has what makes the scores better, or less real, than they look; the scores of gene sets; a large map of the shown
    gene, and small ones of the markers and the best predicted genes; a table of genes; the means and variances of all,
    and how markers go together; regions; confidence; and what was run on what. Without measurements there are no
    scores. Pictures are in the file; it loads nothing and runs nothing. `html_cohort` has the report of several.

    Parameters
    ----------
    prediction : Prediction
        What to report on.
    path : path
        The .html file.
    shown : Drawn, optional
        What the large map shows, and what is scored in regions; the first marker if not given.
    scores : Scores, optional
        Of the prediction, with intervals; computed if not given.
    panel : Panel, optional
        Markers; those of the prediction if not given.
    regions : sequence of Region
        Outlines in which what is shown is scored.
    slide : path, optional
        Where the slide is, if not where it was.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    panel = panel or prediction.panel
    if prediction.measured_genes and (scores is None or not scores.replicates):
        scores = yield from score_job(prediction, panel)
    sets = mapped(prediction, scores, panel)
    if shown is None:
        shown = drawn_gene(prediction, scores, next(iter(sets.values()))[0])
    parts = [*_head(prediction, scores), *_set_table(scores, section_of(prediction)), element("h2", "Maps")]
    yield Progress("Reading the slide", 0, 0)
    ground = ground_of(prediction, slide)
    drawing = Progress("Drawing maps", 0, 0)
    parts.append((yield from in_thread(partial(_map, prediction, ground, shown), drawing)))
    for name, genes in sets.items():
        parts.append((yield from in_thread(partial(small_maps, prediction, ground, name, genes), drawing)))
    about_genes = yield from gene_plots(prediction, scores)
    parts += [
        *_gene_table(scores, [gene for genes in sets.values() for gene in genes]),
        *about_genes,
        *_region_table(prediction, regions, shown),
        *confidence_parts(prediction),
        *origin_parts(prediction),
        *closing_parts([prediction]),
    ]
    return write_content(path, page(f"Predicted expression of {prediction.name}", parts))


def mapped(prediction: "Prediction", scores: Scores | None, panel: "Panel | None") -> dict[str, list[str]]:
    """Return the genes that get a small map, by what they are: markers, and the best predicted or most expressed."""
    columns = [prediction.names.column(gene) for gene in (panel.genes if panel is not None else ())]
    markers = [prediction.genes[column] for column in columns if column is not None][:MOST]
    best = [] if scores is None else [str(gene) for gene in _by_pcc(scores).index[:BEST]]
    if not best and not markers:
        top = np.argsort(-prediction.predicted_means(), kind="stable")[:BEST]
        return {"most expressed genes": [prediction.genes[row] for row in top]}
    sets = {panel.name if panel is not None else "": markers, "best predicted genes": best}
    return {name: genes for name, genes in sets.items() if genes}


def _by_pcc(scores: Scores) -> "pd.DataFrame":
    return scores.table[scores.table.pcc.notna()].sort_values("pcc", ascending=False, kind="stable")


def _map(prediction: "Prediction", ground: Ground, drawn: Drawn) -> str:
    low, high = drawn.scale
    caption = f"{drawn.name}. {drawn.said} Colours: {drawn.unit} from {low:.2f} to {high:.2f}."
    figure = draw_gene(prediction, ground, drawn)
    return picture(figure, f"Maps of {drawn.name} over the slide", caption, kind="jpeg")


def small_maps(prediction: "Prediction", ground: Ground, name: str, genes: Sequence[str]) -> str:
    """Return maps of several genes as one picture, their scores below it as text."""
    maps = gene_maps(prediction, genes, intervals=True)
    figure = panel_figure(maps, ground, section_of(prediction), heading=name, width_mm=MAPS_MM, columns=COLUMNS)
    said = "; ".join(f"{gene.name}: {gene.score.replace('   ', ', ')}" for gene in maps)
    return picture(figure, f"Maps of {name}", said, kind="jpeg", dpi=MAPS_DPI)


def _head(prediction: "Prediction", scores: Scores | None) -> Iterator[str]:
    about = prediction.provenance
    yield element("div", RESEARCH_USE, "banner")
    yield element("h1", f"Predicted expression of {prediction.name}")
    n, known = len(prediction.genes), len(prediction.measured_genes)
    measured = ", all measured" if known == n else f", {known:,} of them measured" if known else ", not measured"
    checkpoint = f" by {Path(about.checkpoint).name}" if about.checkpoint else ""
    said = [
        f"{len(prediction):,} spots, {n:,} genes{measured}.",
        f"Predicted from the H&E image{checkpoint}: each value is the {about.average}.",
        about.date,
    ]
    yield element("p", " ".join(said), "quiet")
    for warning in (*warnings_of([prediction]), *score_notes([scores] if scores is not None else []), *about.notes):
        yield element("div", warning, "note")


def _set_table(scores: Scores | None, section: str) -> Iterator[str]:
    if scores is None:
        return
    yield element("h2", "Scores by gene set")
    rows = []
    for name in SETS:
        one = scores.sets[name]
        bounds = "" if one.low is None or one.high is None else f"{one.low:.3f} to {one.high:.3f}"
        rows.append([_SET_NAMES[name], one.pcc, bounds, one.partial_pcc, one.spearman, one.n, one.undefined])
    yield table(["set", "mean PCC", "95 % interval", "partial PCC", "Spearman", "genes", "no score"], rows)
    yield element(
        "p",
        "PCC: Pearson correlation of predicted and measured expression of a gene over "
        f"{spots_in_words(scores.spots, len(scores.scored))} of the section ({scores.depth}); the interval is a "
        f"bootstrap over blocks of neighbouring spots: {COVERS}. {PARTIAL} {sets_in_words([scores])} A gene that was "
        f"found at fewer than {MIN_SPOTS} of the spots, or is constant, has no score; such genes are left out of the "
        "mean."
        + (f" Markers: {scores.panel}." if scores.panel else "")
        + (f" Not measured or not predicted: {', '.join(scores.missing_markers)}." if scores.missing_markers else ""),
        "quiet",
    )
    yield picture(set_boxplot({section: pcc_by_set(scores)}), "Box plots of PCC by gene set")


def _gene_table(scores: Scores | None, mapped: Sequence[str]) -> Iterator[str]:
    if scores is None:
        return
    best = _by_pcc(scores)
    ordered = [*best.index, *scores.table.index.difference(best.index, sort=False)]
    wanted = {
        *mapped,
        *best.index[:LISTED],
        *(gene for name in SETS for gene in scores.table.index[scores.table[name]]),
    }
    listed = scores.table.loc[[gene for gene in ordered if gene in wanted]]
    yield element("h2", "Genes")
    which = f"The {len(listed):,} genes of the sets, of the maps, and the {LISTED} best predicted"
    yield element("p", f"{which}, of {len(scores.table):,}.", "quiet")
    yield table(
        [
            "gene",
            "sets",
            "spots found",
            "PCC",
            "95 % interval",
            "partial PCC",
            "Spearman",
            "RMSE",
            "mean measured",
            "mean predicted",
            "trust",
        ],
        [_gene_row(str(gene), row) for gene, row in zip(listed.index, listed.to_dict("records"), strict=True)],
    )


def _gene_row(gene: str, row: dict[Any, Any]) -> list[Any]:
    sets = ", ".join(name for name in SETS if row[name])
    bounds = row["undefined"] or ("" if np.isnan(row["low"]) else f"{row['low']:.3f} to {row['high']:.3f}")
    numbers = [row[name] for name in ("partial_pcc", "spearman", "rmse", "measured_mean", "predicted_mean")]
    return [gene, sets, row["spots_found"], row["pcc"], bounds, *numbers, row["trust"]]


def _region_table(prediction: "Prediction", regions: "Sequence[Region]", shown: Drawn | None) -> Iterator[str]:
    if not regions or shown is None:
        return
    rows = region_table(
        groups(prediction.xy, regions),
        shown.predicted,
        shown.measured,
        counted_spots(prediction),
        gene=shown.unit == UNIT,
    )
    yield element("h2", f"{shown.name} in regions")
    yield table(
        ["region", "class", "spots", "mean predicted", "mean measured", "PCC", "note"],
        [[row.name, row.classification, row.n, row.predicted, row.measured, row.pcc, row.note] for row in rows],
    )
