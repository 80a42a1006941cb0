"""The report of one prediction as one HTML file, to be read, printed and passed on."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import write_content
from napari_cmrcnet.common.progress import Job, Progress, in_thread
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.evaluation.document import Heading, Part, Picture, Table, Text, drawn, html_page
from napari_cmrcnet.evaluation.figures import Ground, gene_map, ground_of
from napari_cmrcnet.evaluation.gene_correlation import correlate_job
from napari_cmrcnet.evaluation.gene_trust import most_trusted
from napari_cmrcnet.evaluation.headline import section_of
from napari_cmrcnet.evaluation.localise import agreement, high, otsu
from napari_cmrcnet.evaluation.maps_figure import gene_maps
from napari_cmrcnet.evaluation.plots_correlation import CorrelationPlot
from napari_cmrcnet.evaluation.plots_moments import MomentPlot
from napari_cmrcnet.evaluation.plots_panel import MOST, PanelPlot
from napari_cmrcnet.evaluation.plots_sets import set_boxplot
from napari_cmrcnet.evaluation.region_scores import annotations, groups, region_table
from napari_cmrcnet.evaluation.report_parts import (
    TRUST_BY,
    by_pcc,
    closing_parts,
    confidence_parts,
    gene_table,
    opening_parts,
    origin_parts,
    score_parts,
    section_parts,
)
from napari_cmrcnet.evaluation.score_notes import score_notes
from napari_cmrcnet.evaluation.scores import Scores, interval_job, pcc_job
from napari_cmrcnet.evaluation.set_scores import SETS
from napari_cmrcnet.evaluation.shown import Kind, Shown, gene_shown
from napari_cmrcnet.retrieval.leaks import warnings_of
from napari_cmrcnet.retrieval.likeness import LIKE

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.prediction import Prediction
    from napari_cmrcnet.sections.panels import Panel
    from napari_cmrcnet.sections.regions import Region

BEST = 4  # maps of the best predicted genes: a row, which finds room below those of the markers
MAPS_MM, MAPS_DPI, COLUMNS = 240.0, 147, 4  # of small maps: on a page of 180 mm their text has 6 points
PAGE_PX = 982  # that they fill
FEWEST = 3  # markers of which the correlations are drawn: fewer are no pattern, and the most expressed genes are taken
LISTED = 50  # best predicted genes in the table, beside those of the sets


def write_html_report(
    prediction: "Prediction",
    path: str | os.PathLike[str],
    *,
    shown: Shown | None = None,
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
    shown : Shown, optional
        What the large map shows, and what is scored in regions; the `most_trusted` marker if not given.
    scores : Scores, optional
        Of the prediction, with intervals; computed if not given.
    panel : Panel, optional
        Markers; those of the prediction if not given.
    regions : sequence of Region
        Outlines in which what is shown is scored.
    slide : path, optional
        Where the slide is, if not where it was.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    panel = panel or prediction.panel
    if prediction.measured_genes and scores is None:
        scores = yield from pcc_job(prediction, panel)
    sets = mapped(prediction, scores, panel)
    listed = [] if scores is None else _listed(scores, [gene for genes in sets.values() for gene in genes])
    if scores is not None and not scores.replicates:
        scores = yield from interval_job(prediction, scores, genes=listed)
    if shown is None:
        shown = gene_shown(prediction, most_trusted(prediction, next(iter(sets.values()))), scores)
    parts = list(_head(prediction, scores))
    if scores is not None:
        parts += [*score_parts([scores]), *section_parts(scores)]
        parts.append(drawn(set_boxplot({section_of(prediction): scores.table}), "Box plots of PCC by gene set"))
    parts.append(Heading("Maps"))
    yield Progress("Reading the slide", 0, 0)
    ground = ground_of(prediction, slide)
    drawing = Progress("Drawing maps", 0, 0)
    parts.append((yield from in_thread(partial(_map, ground, shown), drawing)))
    for name, genes in sets.items():
        parts.append((yield from in_thread(partial(small_maps, prediction, ground, name, genes), drawing)))
    if scores is not None:
        parts += [*_gene_table(scores, listed), *(yield from _gene_plots(prediction, scores))]
    parts += [
        *_region_table(prediction, regions, shown),
        *_agreement_table(prediction, regions, shown),
        *confidence_parts(prediction),
        *origin_parts(prediction),
        *closing_parts([prediction]),
    ]
    return write_content(path, html_page(f"Predicted expression of {prediction.name}", parts))


def mapped(prediction: "Prediction", scores: Scores | None, panel: "Panel | None") -> dict[str, list[str]]:
    """Return the genes that get a small map, by what they are: markers, and the best predicted or most expressed."""
    columns = prediction.names.known(panel.genes if panel is not None else ())
    markers = [prediction.genes[column] for column in columns][:MOST]
    best = [] if scores is None else [str(gene) for gene in by_pcc(scores).index[:BEST]]
    if not best and not markers:
        top = np.argsort(-prediction.predicted_means, kind="stable")[:BEST]
        return {"most expressed genes": [prediction.genes[row] for row in top]}
    sets = {panel.name if panel is not None else "": markers, "best predicted genes": best}
    return {name: genes for name, genes in sets.items() if genes}


def _map(ground: Ground, shown: Shown) -> Picture:
    low, high = shown.scale
    caption = f"{shown.name}. {shown.said} Colours: {shown.full_unit} from {low:.2f} to {high:.2f}."
    return drawn(gene_map(ground, shown), f"Maps of {shown.name} over the slide", caption, kind="jpeg")


def small_maps(prediction: "Prediction", ground: Ground, name: str, genes: Sequence[str]) -> Picture:
    """Return maps of several genes as one picture, their scores below it as text."""
    maps = gene_maps(prediction, genes, intervals=True)
    section = section_of(prediction)
    figure = PanelPlot.printed(section, maps, ground, name, width_mm=MAPS_MM, columns=COLUMNS, dpi=MAPS_DPI)
    said = "; ".join(f"{gene.name}: {gene.score.replace('   ', ', ')}" for gene in maps)
    return replace(drawn(figure, f"Maps of {name}", said, kind="jpeg", dpi=MAPS_DPI), width=PAGE_PX)


def _head(prediction: "Prediction", scores: Scores | None) -> Iterator[Part]:
    about = prediction.provenance
    n, known = len(prediction.genes), len(prediction.measured_genes)
    measured = ", all measured" if known == n else f", {known:,} of them measured" if known else ", not measured"
    checkpoint = f" by {Path(about.checkpoint).name}" if about.checkpoint else ""
    said = [
        f"Patient {about.patient}." if about.patient else "",
        f"{count_text(len(prediction), 'spot')}, {count_text(n, 'gene')}{measured}.",
        f"Predicted from the H&E image{checkpoint}: each value is the {about.average}.",
        about.likeness.reason if about.likeness and about.likeness.verdict == LIKE else "",  # else it is a warning
        about.date,
    ]
    warnings = [*warnings_of([prediction]), *score_notes([scores] if scores is not None else []), *about.notes]
    yield from opening_parts(f"Predicted expression of {prediction.name}", warnings, " ".join(filter(None, said)))


def _listed(scores: Scores, mapped: Sequence[str]) -> list[str]:
    """Return the genes of the table, the best predicted first."""
    best = by_pcc(scores).index
    of_sets = scores.table.index[scores.table[list(SETS)].any(axis=1)]
    wanted = {*mapped, *best[:LISTED], *of_sets}
    return [gene for gene in [*best, *scores.table.index.difference(best, sort=False)] if gene in wanted]


def _gene_table(scores: Scores, listed: Sequence[str]) -> Iterator[Part]:
    yield Heading("Genes")
    which = f"The {count_text(len(listed), 'gene')} of the sets, of the maps, and the {LISTED} best predicted"
    yield Text(f"{which}, of {len(scores.table):,}. Means are over the spots that count in the PCC. {TRUST_BY}")
    yield gene_table(scores.table.loc[list(listed)])


def _gene_plots(prediction: "Prediction", scores: Scores) -> Job[list[Part]]:
    """Draw mean and variance of every gene, and the correlations of the markers: the paper's figures 3 and 4."""
    section, table = section_of(prediction), scores.table

    def moments() -> Picture:
        return drawn(
            MomentPlot.printed(section, table),
            "Predicted against measured mean and variance of each gene",
            f"Mean and variance of each of {count_text(len(table), 'gene')} over the spots. Where variances lie below "
            "the line, the prediction is smoother than the measurement: each value is a mean of many training spots.",
        )

    def heatmaps() -> Picture:
        return drawn(
            CorrelationPlot.printed(section, found, title),
            "Heatmaps of the correlations of genes",
            "Pearson correlation over the spots of each gene with each, in measured and in predicted expression. Both "
            "have the genes in the same order, from a clustering of the measured correlations.",
        )

    parts: list[Part] = [Heading("Mean and variance of genes")]
    parts.append((yield from in_thread(moments, Progress("Drawing mean and variance", 0, 0))))
    name, title = ("markers", scores.panel) if table["markers"].sum() >= FEWEST else ("HEG", "HEG")
    parts.append(Heading("Correlation of genes"))
    try:
        found = yield from correlate_job(prediction, list(table.index[table[name]]), title)
    except UserError as reason:
        return [*parts, Text(str(reason))]
    return [*parts, (yield from in_thread(heatmaps, Progress("Drawing correlations", 0, 0)))]


def _agreement_table(prediction: "Prediction", regions: "Sequence[Region]", shown: Shown) -> Iterator[Part]:
    """Yield how the spots at which what is shown is high agree with classes, regions, and what was measured."""
    kinds = [kind for kind in get_args(Kind) if kind in shown.maps]
    try:
        thresholds = {kind: otsu(shown.reliable(kind)) for kind in kinds}
    except UserError:  # the same at all spots
        return
    drawn_from = [high(shown.name, kind) for kind in kinds]  # outlines of these spots agree with themselves
    others = [region for region in regions if region.classification not in drawn_from]
    known = annotations(prediction, others)
    classes = {f"{source}: {name}": spots for source, of in known.items() for name, spots in of.items()}
    same = {
        f"measured above {at:.2f}": shown.values(kind) > at for kind, at in thresholds.items() if kind == "measured"
    }
    rows = []
    for kind, threshold in thresholds.items():
        for name, spots in (classes if kind == "measured" else {**same, **classes}).items():
            found = agreement(shown.values(kind), threshold, spots, shown.counted)
            above = f"{kind} above {threshold:.2f}"
            rows.append([above, found.inside, name, found.known, found.both, found.dice, found.auc])
    if rows:
        yield Heading(f"Where {shown.name} is high")
        yield Table(["spots", "n", "compared with", "n", "both", "Dice", "AUC"], rows)
        yield Text(
            "Spots above Otsu's threshold. Dice: twice the spots that are both, over the sum of both numbers. AUC: the "
            "probability that a spot of the class has a higher value than one that is not; it does not depend on the "
            "threshold, and 0.5 is chance."
        )


def _region_table(prediction: "Prediction", regions: "Sequence[Region]", shown: Shown) -> Iterator[Part]:
    if not regions:
        return
    columns = ["region", "class", "spots", "predicted", "measured", "pcc", "note"]
    rows = region_table(groups(prediction.xy, regions), shown)[columns]
    yield Heading(f"{shown.name} in regions")
    header = ["region", "class", "spots", "mean predicted", "mean measured", "PCC", "note"]
    yield Table(header, rows.to_numpy(object).tolist())
