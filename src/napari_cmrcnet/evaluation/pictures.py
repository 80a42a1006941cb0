"""Which pictures a report has, and their files."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cmrcnet.common.metrics import dense
from napari_cmrcnet.common.progress import Job, Progress, in_turn
from napari_cmrcnet.evaluation.figures import gene_map
from napari_cmrcnet.evaluation.gene_figure import ground_of
from napari_cmrcnet.evaluation.headline import section_of
from napari_cmrcnet.evaluation.panel_figure import draw_panel
from napari_cmrcnet.evaluation.picture_file import draw_picture, file_names
from napari_cmrcnet.evaluation.plots_panel import MOST
from napari_cmrcnet.evaluation.plots_sets import set_boxplot
from napari_cmrcnet.evaluation.plots_spots import scatter
from napari_cmrcnet.evaluation.report_parts import by_pcc
from napari_cmrcnet.evaluation.scores import Scores
from napari_cmrcnet.evaluation.shown import gene_shown
from napari_cmrcnet.retrieval.leaks import warnings_of
from napari_cmrcnet.sections.panels import Panel
from napari_cmrcnet.sections.score_filter import spots_in_words

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.prediction import Prediction

_BEST = 4  # maps of the best predicted genes
_MARKERS = MOST  # at most, of a large panel


def draw_section(prediction: "Prediction", scored: Scores, out: Path, name: str, progress: Progress) -> Job[list[Path]]:
    """Draw a section's maps and its scatter plot, and the markers in one figure, as PNG and PDF.

    Maps are of the best predicted genes and of the markers; under each stands what must be known of the prediction.

    Parameters
    ----------
    prediction : Prediction
        Of a measured section.
    scored : Scores
        Its scores.
    out : Path
        The folder.
    name : str
        What the names of the files begin with.
    progress : Progress
        Yielded while they are drawn.
    """
    best = list(by_pcc(scored).index[:_BEST])
    markers = list(scored.markers[:_MARKERS])
    genes = list(dict.fromkeys(best + markers))
    yield progress
    ground, warnings, files = ground_of(prediction), " ".join(warnings_of([prediction])), []
    for gene, file in zip(genes, file_names(genes), strict=True):
        figure = partial(gene_map, ground, gene_shown(prediction, gene, scored), caption=warnings)
        files.append((yield from draw_picture(figure, out / f"{name}_map_{file}.png", progress)))
    shown = list(dict.fromkeys(best[:3] + markers[:3])) or genes[:6]
    if shown:
        measured, predicted = dense(prediction.measured(shown)), dense(prediction.expression(shown))
        title = f"{section_of(prediction)}, n = {spots_in_words(scored.spots, len(scored.scored), prediction.unit)}"
        figure = partial(scatter, shown, measured, predicted, list(scored.table.pcc[shown]), title)
        files.append((yield from draw_picture(figure, out / f"{name}_scatter.png", progress)))
    if markers:
        panel = Panel(scored.panel, tuple(markers))
        for kind in ("png", "pdf"):
            figure = draw_panel(prediction, ground, panel)
            files.append((yield from draw_picture(figure, out / f"{name}_markers.{kind}", progress)))
    return files


def draw_sets(
    predictions: "Sequence[Prediction]", scores: Sequence[Scores], out: Path, progress: Progress
) -> Job[list[Path]]:
    """Draw the box plot of all sections, as PNG and SVG."""
    sections = map(section_of, predictions)
    figure = partial(set_boxplot, {name: scored.table for name, scored in zip(sections, scores, strict=True)})
    files = [out / f"pcc_by_gene_set.{kind}" for kind in ("png", "svg")]
    return (yield from in_turn(draw_picture(figure, file, progress) for file in files))
