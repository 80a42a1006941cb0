"""The figure of a panel: maps of its genes on a section, measured over predicted, on the screen and as a file."""

from collections.abc import Mapping, Sequence
from functools import partial
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.text import printable
from napari_cmrcnet.evaluation.colour_limits import hardly_varies
from napari_cmrcnet.evaluation.figures import Ground
from napari_cmrcnet.evaluation.gene_figure import RESEARCH_USE
from napari_cmrcnet.evaluation.headline import COVERS, score_line, section_of
from napari_cmrcnet.evaluation.plots_panel import MOST, GeneMaps, PanelPlot
from napari_cmrcnet.evaluation.resampling import interval, section_bootstrap
from napari_cmrcnet.retrieval.leaks import warnings_of
from napari_cmrcnet.retrieval.trust import trust_of
from napari_cmrcnet.sections.score_filter import one_pcc, spots_in_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.sections.panels import Panel

Float32 = NDArray[np.float32]
Interval = tuple[float, float]

NO_INTERVAL = (float("nan"), float("nan"))


def gene_maps(case: "Case", genes: Sequence[str], *, intervals: bool = False) -> tuple[GeneMaps, ...]:
    """Return the maps of the first `MOST` of some genes: measured, predicted or both, with their correlation.

    Parameters
    ----------
    case : Case
        Whose values are shown.
    genes : sequence of str
        Symbols or Ensembl ids; those that it does not have are left out.
    intervals : bool
        Whether correlations have their 95 % interval, which takes 10 ms a gene and more for large sections.
    """
    symbols = [case.genes[column] for column in case.names.known(genes)][:MOST]
    known = [gene for gene in symbols if gene in case.measured_set]
    values = {
        "measured": _by_gene(known, case.measured(known) if known else None),
        "predicted": _by_gene(symbols, case.prediction.expression(symbols) if case.prediction and symbols else None),
    }
    counted = case.counted_spots()
    bounds = _bounds(case, known, values, counted) if intervals and case.prediction is not None else {}
    return tuple(_maps(case, gene, values, counted, bounds.get(gene, NO_INTERVAL)) for gene in symbols)


def _bounds(
    case: "Case", genes: Sequence[str], values: Mapping[str, Mapping[str, Float32]], counted: NDArray[np.bool_]
) -> dict[str, Interval]:
    """Return the interval of each gene's correlation: those of all genes' scores, for a few of them."""
    if not genes or not counted.any():
        return {}
    both = (np.stack([values[kind][gene][counted] for gene in genes], axis=1) for kind in ("measured", "predicted"))
    low, high = interval(section_bootstrap(case.name, case.xy[counted]).pcc(*both))
    return dict(zip(genes, zip(low.tolist(), high.tolist(), strict=True), strict=True))


def _by_gene(genes: Sequence[str], values: Float32 | None) -> dict[str, Float32]:
    return {} if values is None else dict(zip(genes, np.asarray(values).T, strict=True))


def _maps(
    case: "Case",
    gene: str,
    values: Mapping[str, Mapping[str, Float32]],
    counted: NDArray[np.bool_],
    bounds: Interval,
) -> GeneMaps:
    maps = {kind: of[gene] for kind, of in values.items() if gene in of}
    measured, guess = maps.get("measured"), maps.get("predicted")
    if case.prediction is None or guess is None:
        return GeneMaps(gene, maps)
    pcc, reason = one_pcc(measured, guess, counted)
    flat = hardly_varies(guess)
    low, high = NO_INTERVAL if np.isnan(pcc) else bounds
    trust = trust_of(case.prediction, gene, pcc, low, flat=flat).word
    score = score_line(measured is not None, pcc, low, high, undefined=reason, flat=flat, trust=trust)
    return GeneMaps(gene, maps, score)


def panel_figure(
    genes: Sequence[GeneMaps],
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
    genes = gene_maps(case, panel.genes, intervals=True)
    if not genes:
        raise UserError(f"{case.name} has none of the genes of the panel “{panel.name}”; choose another panel.")
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
        n = spots_in_words(int(case.counted_spots().sum()), len(case), case.unit)
        said = [f"n = {n}.", f"An interval covers {COVERS}."]
    return " ".join([*said, *([] if case.prediction is None else warnings_of([case.prediction])), RESEARCH_USE])


def heading(name: str, shown: int, of: int) -> str:
    """Return a panel's name, and how many of its genes are shown if not all."""
    return name if shown == of else f"{name}, {shown} of {of} genes"
