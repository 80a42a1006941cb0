"""The figure of a panel: maps of its genes on a section, measured over predicted, on the screen and as a file."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.text import printable
from napari_cmrcnet.evaluation.colour_limits import hardly_varies
from napari_cmrcnet.evaluation.figures import Ground
from napari_cmrcnet.evaluation.gene_figure import RESEARCH_USE, ground_of
from napari_cmrcnet.evaluation.headline import score_line, section_of
from napari_cmrcnet.evaluation.picture_file import draw_picture
from napari_cmrcnet.evaluation.plots_panel import MOST, GeneMaps, PanelPlot
from napari_cmrcnet.evaluation.scores import counted_spots
from napari_cmrcnet.retrieval.leaks import warnings_of
from napari_cmrcnet.sections.score_filter import one_pcc, spots_in_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from napari_cmrcnet.retrieval.prediction import Prediction
    from napari_cmrcnet.sections.panels import Panel


def gene_maps(prediction: "Prediction", genes: Sequence[str]) -> tuple[GeneMaps, ...]:
    """Return the maps of the first `MOST` of some genes, measured where they were, with their correlation.

    Parameters
    ----------
    prediction : Prediction
        Whose values are shown.
    genes : sequence of str
        Symbols or Ensembl ids; those that it does not have are left out.
    """
    columns = [column for gene in genes if (column := prediction.names.column(gene)) is not None]
    symbols = [prediction.genes[column] for column in dict.fromkeys(columns)][:MOST]
    if not symbols:
        return ()
    predicted = prediction.expression(symbols)
    known = [gene for gene in symbols if gene in prediction.measured_set]
    truth = prediction.measured(known) if known else None
    measured = {} if truth is None else dict(zip(known, np.asarray(truth).T, strict=True))
    counted = counted_spots(prediction)
    made = []
    for gene, guess in zip(symbols, predicted.T, strict=True):
        pcc, reason = one_pcc(measured.get(gene), guess, counted)
        expected, _ = prediction.expected_of(gene)
        score = score_line(gene in measured, pcc, undefined=reason, flat=hardly_varies(guess), expected=expected)
        maps = {"measured": measured[gene]} if gene in measured else {}
        made.append(GeneMaps(gene, {**maps, "predicted": guess}, score))
    return tuple(made)


def panel_figure(
    genes: Sequence[GeneMaps], ground: Ground, section: str, *, heading: str = "", caption: str = ""
) -> "Figure":
    """Draw maps of several genes for print: at most 180 mm wide, text of 7 and 8 points.

    Parameters
    ----------
    genes : sequence of GeneMaps
        What to draw.
    ground : Ground
        Where the spots lie, and the slide.
    section : str
        Which section it is of, as `section_of` says it.
    heading : str
        Above all genes, such as the panel's name.
    caption : str
        In lines below the section.
    """
    from matplotlib.figure import Figure

    plot = PanelPlot(Figure(dpi=300))
    plot.show(genes, ground, heading)
    plot.caption = tuple(wrap(printable(caption), round(17 * plot.print_size()[0])))
    plot.for_print(section)
    return plot.figure


def write_panel_figure(
    prediction: "Prediction", path: str | os.PathLike[str], panel: "Panel", *, slide: str | os.PathLike[str] = ""
) -> Job[Path]:
    """Write the maps of a panel's genes.

    Parameters
    ----------
    prediction : Prediction
        Where the values are from.
    path : path
        Ends in ``.png``, ``.svg`` or ``.pdf``.
    panel : Panel
        Its genes, of which the first `MOST` that are known are drawn.
    slide : path, optional
        Where the slide is, if not where it was.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    UserError
        If the prediction has none of the genes, the path has another ending, or cannot be written.
    """
    yield Progress("Reading the slide", 0, 2)
    draw = draw_panel(prediction, ground_of(prediction, slide), panel)
    return (yield from draw_picture(draw, path, Progress("Drawing", 1, 2)))


def draw_panel(prediction: "Prediction", ground: Ground, panel: "Panel") -> "partial[Figure]":
    """Return what draws a panel's figure, with its values, so that it can be called in a thread.

    Raises
    ------
    UserError
        If the prediction has none of the genes.
    """
    genes = gene_maps(prediction, panel.genes)
    if not genes:
        raise UserError(f"The prediction has none of the genes of the panel {panel.name}; choose another panel.")
    n = len(prediction)
    said = [f"n = {spots_in_words(int(counted_spots(prediction).sum()), n)}."] if prediction.spots.X is not None else []
    caption = " ".join([*said, *warnings_of([prediction]), RESEARCH_USE])
    return partial(
        panel_figure,
        genes,
        ground,
        section_of(prediction),
        heading=heading(panel.name, len(genes), len(panel.genes)),
        caption=caption,
    )


def heading(name: str, shown: int, of: int) -> str:
    """Return a panel's name, and how many of its genes are shown if not all."""
    return name if shown == of else f"{name}, {shown} of {of} genes"
