"""Maps that go into a talk or a paper: of a gene or a panel's score, of several genes, or two or three on one map."""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.text import count_text, figure_text, some_of
from napari_cmrcnet.evaluation.blend import INKS, RGB, blend, blend_legend
from napari_cmrcnet.evaluation.figures import Ground, draw_maps, gene_map, ground_of
from napari_cmrcnet.evaluation.headline import COVERS, RESEARCH_USE, section_of
from napari_cmrcnet.evaluation.picture_file import draw_picture, kind_of
from napari_cmrcnet.evaluation.plots_panel import MOST, PRINT_MM, PanelPlot, kinds_of
from napari_cmrcnet.evaluation.resampling import interval, section_bootstrap
from napari_cmrcnet.evaluation.shown import Shown, gene_shown, panel_genes
from napari_cmrcnet.retrieval.leaks import warnings_of
from napari_cmrcnet.retrieval.trust import trust_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.sections.panels import Panel

WIDTHS_MM = (60.0, 400.0)  # that a figure can have


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


def write_maps_figure(
    case: "Case",
    path: str | os.PathLike[str],
    what: "Shown | Panel",
    *,
    blend: bool = False,
    slide: str | os.PathLike[str] = "",
    width_mm: float | None = None,
) -> Job[Path]:
    """Write maps with colour bar, scale bar and caption. What was not measured, or is not predicted, is left out.

    Parameters
    ----------
    case : Case
        Where the values are from.
    path : path
        Ends in ``.png``, ``.svg`` or ``.pdf``.
    what : Shown or Panel
        A gene, or the score of a panel, see `gene_map`; or a panel's genes, of which the first `MOST` that are known
        are drawn, see `PanelPlot`.
    blend : bool
        Whether a panel's two or three genes are colours on one map, see `blend`: the slide, measured and predicted.
    slide : path, optional
        Where the slide is, if not where it was.
    width_mm : float, optional
        Of the figure of a panel's genes, between `WIDTHS_MM`; 180 if not given, and 90 for up to two genes that are not
        colours.

    Raises
    ------
    UserError
        If the case has none of the genes, or not all of two or three that are colours, the width is none that a figure
        can have, or the path has another ending, or cannot be written.
    """
    if width_mm is not None and not WIDTHS_MM[0] <= width_mm <= WIDTHS_MM[1]:
        least, most = WIDTHS_MM
        raise UserError(f"The figure cannot be {width_mm:g} mm wide; give {least:g} to {most:g} mm (--width-mm).")
    kind_of(Path(path))  # before the slide is read
    yield Progress("Reading the slide", 0, 2)
    ground = ground_of(case, slide)
    if isinstance(what, Shown):
        draw = partial(gene_map, ground, what, caption=caption(case, what), dpi=200)
    else:
        draw = (_draw_blend if blend else draw_panel)(case, ground, what, width_mm)
    return (yield from draw_picture(draw, path, Progress("Drawing", 1, 2)))


def caption(case: "Case", shown: Shown) -> str:
    """Return what a reader who has only the figure must know."""
    about, prediction = case.provenance, case.prediction
    both = "Measured and predicted"
    what = "Predicted" if shown.measured is None else "Measured" if shown.predicted is None else both
    low, high = shown.scale
    of = f"{shown.name} in section {section_of(case)}, n = {count_text(len(case), case.unit)}"
    checkpoint = f", checkpoint {Path(about.checkpoint).name}" if about.checkpoint else ""
    said = [f"{of}. {what} {shown.full_unit}, colours from {low:.2f} to {high:.2f}."]
    if prediction is None:
        return " ".join(said)
    said.append(f"Predicted from the H&E image: {about.average}{checkpoint}.")
    said.append(shown.said)
    said += warnings_of([prediction])
    return " ".join(filter(None, [*said, RESEARCH_USE]))


def draw_panel(case: "Case", ground: Ground, panel: "Panel", width_mm: float | None = None) -> "partial[Figure]":
    """Return what draws a panel's figure, with its values, so that it can be called in a thread.

    Raises
    ------
    UserError
        If the case has none of the genes.
    """
    genes = gene_maps(case, panel_genes(case, panel), intervals=True)
    said = heading(panel.name, len(genes), len(panel.genes))
    return partial(
        PanelPlot.printed, section_of(case), genes, ground, said, caption=_caption(case), width_mm=width_mm, dpi=300
    )


def _caption(case: "Case") -> str:
    """Return what a reader who has only maps of several genes must know."""
    said = []
    if case.prediction is not None and case.spots.X is not None:
        n = count_text(int(case.counted_spots().sum()), case.unit, len(case))
        said = [f"n = {n}.", f"An interval covers {COVERS}."]
    return " ".join([*said, *([] if case.prediction is None else warnings_of([case.prediction])), RESEARCH_USE])


def heading(name: str, shown: int, of: int) -> str:
    """Return a panel's name, and how many of its genes are shown if not all."""
    return name if shown == of else f"{name}, {count_text(shown, 'gene', of)}"


def _draw_blend(case: "Case", ground: Ground, panel: "Panel", width_mm: float | None) -> "partial[Figure]":
    different = len(set(case.names.columns(panel.genes, case.name)))
    if different not in INKS:
        raise UserError(f"A blend has two or three different genes, not {different} ({some_of(panel.genes)}).")
    maps = gene_maps(case, panel.genes, intervals=True)
    return partial(_draw, maps, ground, section_of(case), _caption(case), (width_mm or PRINT_MM) / 25.4)


def _draw(genes: Sequence[Shown], ground: Ground, section: str, caption: str, width: float) -> "Figure":
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    limits = [gene.scale for gene in genes]
    maps = {kind: blend([gene.maps.get(kind) for gene in genes], limits) for kind in kinds_of(genes)}
    height = width / (len(maps) + (ground.image is not None)) * ground.ratio
    said = fill(caption, round(23 * width))
    figure = Figure((width, height + 0.5 + 0.16 * len(genes) + 0.13 * said.count("\n")), 300, layout="constrained")
    draw_maps(figure, ground, maps, limits[0], points=(8, 7))
    inks, lines = INKS[len(genes)], blend_legend([gene.name for gene in genes], limits)
    handles = [
        Patch(color=RGB[ink], label=figure_text(line if gene.predicted is None else f"{line}   {gene.score}"))
        for ink, line, gene in zip(inks, lines, genes, strict=True)
    ]
    title = {"title": figure_text(section), "title_fontsize": 8, "alignment": "left"}
    figure.legend(handles=handles, loc="outside upper left", fontsize=7, frameon=False, **title)
    figure.supxlabel(said, x=0.01, ha="left", fontsize=6, color="0.25", parse_math=False)
    return figure
