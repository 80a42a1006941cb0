"""The figure of a panel: maps of its genes on a section, measured over predicted, on the screen and as a file."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

from napari_cmrcnet.common.text import count_text, printable
from napari_cmrcnet.evaluation.figures import Ground
from napari_cmrcnet.evaluation.gene_figure import RESEARCH_USE
from napari_cmrcnet.evaluation.headline import COVERS, section_of
from napari_cmrcnet.evaluation.plots_panel import MOST, PanelPlot
from napari_cmrcnet.evaluation.resampling import interval, section_bootstrap
from napari_cmrcnet.evaluation.shown import Shown, gene_shown, panel_genes
from napari_cmrcnet.retrieval.leaks import warnings_of
from napari_cmrcnet.retrieval.trust import trust_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.sections.panels import Panel


def gene_maps(case: "Case", genes: Sequence[str], *, intervals: bool = False) -> tuple[Shown, ...]:
    """Return the first `MOST` of some genes, measured, predicted or both, with their correlation.

    Parameters
    ----------
    case : Case
        Whose values are shown.
    genes : sequence of str
        Symbols or Ensembl ids; those that it does not have are left out.
    intervals : bool
        Whether correlations have their 95 % interval, which takes 10 ms a gene and more for large sections.
    """
    maps = tuple(gene_shown(case, case.genes[column], None) for column in case.names.known(genes)[:MOST])
    scored, prediction = [one for one in maps if not np.isnan(one.pcc)], case.prediction
    if prediction is None or not (intervals and scored):
        return maps
    counted = case.counted_spots()
    measured = np.stack([one.values("measured")[counted] for one in scored], axis=1)
    predicted = np.stack([one.values("predicted")[counted] for one in scored], axis=1)
    bounds = np.stack(interval(section_bootstrap(case.name, case.xy[counted]).pcc(measured, predicted)), axis=1)
    known = {}
    for one, (low, high) in zip(scored, bounds.tolist(), strict=True):
        trust = trust_of(prediction, one.name, one.pcc, low, flat=one.flat)
        known[one.name] = replace(one, low=low, high=high, trust=trust)
    return tuple(known.get(one.name, one) for one in maps)


def panel_figure(
    genes: Sequence[Shown],
    ground: Ground,
    section: str,
    *,
    heading: str = "",
    caption: str = "",
    width_mm: float | None = None,
    columns: int = MOST,
    dpi: int = 300,
) -> "Figure":
    """Draw maps of several genes for print, with a letter each: text of 7 and 8 points.

    Parameters
    ----------
    genes : sequence of Shown
        What to draw.
    ground : Ground
        Where the spots lie, and the slide.
    section : str
        Which section it is of, as `section_of` says it.
    heading : str
        Above all genes, such as the panel's name.
    caption : str
        In lines below the section.
    width_mm : float, optional
        Of the figure; 180 if not given, and 90 for up to two genes.
    columns : int
        Genes beside each other at most.
    dpi : int
        At which it will be saved.
    """
    from matplotlib.figure import Figure

    plot = PanelPlot(Figure(dpi=dpi))
    plot.show(genes, ground, heading)
    plot.width_mm, plot.most_columns = width_mm, columns
    plot.caption = tuple(wrap(printable(caption), round(17 * plot.print_size()[0])))
    plot.for_print(section)
    return plot.figure


def draw_panel(case: "Case", ground: Ground, panel: "Panel", width_mm: float | None = None) -> "partial[Figure]":
    """Return what draws a panel's figure, with its values, so that it can be called in a thread.

    Raises
    ------
    UserError
        If the case has none of the genes.
    """
    genes = gene_maps(case, panel_genes(case, panel), intervals=True)
    return partial(
        panel_figure,
        genes,
        ground,
        section_of(case),
        heading=heading(panel.name, len(genes), len(panel.genes)),
        caption=caption_of(case),
        width_mm=width_mm,
    )


def caption_of(case: "Case") -> str:
    """Return what a reader who has only maps of several genes must know."""
    said = []
    if case.prediction is not None and case.spots.X is not None:
        n = count_text(int(case.counted_spots().sum()), case.unit, len(case))
        said = [f"n = {n}.", f"An interval covers {COVERS}."]
    return " ".join([*said, *([] if case.prediction is None else warnings_of([case.prediction])), RESEARCH_USE])


def heading(name: str, shown: int, of: int) -> str:
    """Return a panel's name, and how many of its genes are shown if not all."""
    return name if shown == of else f"{name}, {count_text(shown, 'gene', of)}"
