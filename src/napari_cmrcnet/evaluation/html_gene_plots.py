"""The pictures of an HTML report that are of all genes, or of how they go together: the paper's figures 3 and 4."""

from typing import TYPE_CHECKING

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress, in_thread
from napari_cmrcnet.evaluation.document import Heading, Part, Picture, Text, drawn
from napari_cmrcnet.evaluation.gene_correlation import correlate_job
from napari_cmrcnet.evaluation.headline import section_of
from napari_cmrcnet.evaluation.plots_correlation import CorrelationPlot
from napari_cmrcnet.evaluation.plots_moments import MomentPlot

if TYPE_CHECKING:
    from napari_cmrcnet.evaluation.scores import Scores
    from napari_cmrcnet.retrieval.prediction import Prediction

FEWEST = 3  # markers: fewer are no pattern, and the most expressed genes are taken


def gene_plots(prediction: "Prediction", scores: "Scores | None") -> Job[list[Part]]:
    """Draw mean and variance of every gene, and the correlations of the markers, predicted beside measured.

    Parameters
    ----------
    prediction : Prediction
        Of a measured section.
    scores : Scores or None
        Of the prediction; without them there is nothing to compare with.
    """
    if scores is None:
        return []
    from matplotlib.figure import Figure

    def moments() -> Picture:
        plot = MomentPlot(Figure(dpi=130))
        plot.show(scores.table)
        plot.for_print(section_of(prediction))
        return drawn(
            plot.figure,
            "Predicted against measured mean and variance of each gene",
            f"Mean and variance of each of {len(scores.table):,} genes over the spots. Where variances lie below the "
            "line, the prediction is smoother than the measurement: each value is a mean of many training spots.",
        )

    parts: list[Part] = [
        Heading("Mean and variance of genes"),
        (yield from in_thread(moments, Progress("Drawing mean and variance", 0, 0))),
        Heading("Correlation of genes"),
    ]
    name = "markers" if scores.table["markers"].sum() >= FEWEST else "HEG"
    title = scores.panel if name == "markers" else "HEG"
    try:
        result = yield from correlate_job(
            prediction, [str(gene) for gene in scores.table.index[scores.table[name]]], title
        )
    except UserError as reason:
        return [*parts, Text(str(reason))]
    caption = (
        "Pearson correlation over the spots of each gene with each, in measured and in predicted expression; the "
        "genes are in one order, of a clustering of the measured correlations."
    )

    def heatmaps() -> Picture:
        plot = CorrelationPlot(Figure(dpi=130))
        plot.show(result, title)
        plot.for_print(section_of(prediction))
        return drawn(plot.figure, "Heatmaps of the correlations of genes", caption)

    return [*parts, (yield from in_thread(heatmaps, Progress("Drawing correlations", 0, 0)))]
