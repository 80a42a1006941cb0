"""The figure of several genes as a file: a map each, or two or three as colours on one map."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.text import figure_text, some_of
from napari_cmrcnet.evaluation.blend import INKS, RGB, blend, blend_legend
from napari_cmrcnet.evaluation.figures import Ground, draw_maps
from napari_cmrcnet.evaluation.gene_figure import ground_of
from napari_cmrcnet.evaluation.headline import section_of
from napari_cmrcnet.evaluation.panel_figure import caption_of, draw_panel, gene_maps
from napari_cmrcnet.evaluation.picture_file import draw_picture, kind_of
from napari_cmrcnet.evaluation.plots_panel import kinds_of
from napari_cmrcnet.evaluation.shown import Shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.sections.panels import Panel

_WIDTH_MM = 180.0  # two columns of most journals
WIDTHS_MM = (60.0, 400.0)  # that a figure can have


def write_maps_figure(
    case: "Case",
    path: str | os.PathLike[str],
    panel: "Panel",
    *,
    blend: bool = False,
    slide: str | os.PathLike[str] = "",
    width_mm: float | None = None,
) -> Job[Path]:
    """Write the maps of a panel's genes, as `panel_figure` has them, or two or three genes as colours on one map.

    Parameters
    ----------
    case : Case
        Where the values are from.
    path : path
        Ends in ``.png``, ``.svg`` or ``.pdf``.
    panel : Panel
        Its genes, of which the first `MOST` that are known are drawn.
    blend : bool
        Whether they are colours on one map, see `blend`: the slide, measured and predicted.
    slide : path, optional
        Where the slide is, if not where it was.
    width_mm : float, optional
        Of the figure, between `WIDTHS_MM`; 180 if not given, and 90 for up to two genes that are not colours.

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
    draw = (_draw_blend if blend else draw_panel)(case, ground_of(case, slide), panel, width_mm)
    return (yield from draw_picture(draw, path, Progress("Drawing", 1, 2)))


def _draw_blend(case: "Case", ground: Ground, panel: "Panel", width_mm: float | None) -> "partial[Figure]":
    different = len(set(case.names.columns(panel.genes, case.name)))
    if different not in INKS:
        raise UserError(f"A blend has two or three different genes, not {different} ({some_of(panel.genes)}).")
    maps = gene_maps(case, panel.genes, intervals=True)
    return partial(_draw, maps, ground, section_of(case), caption_of(case), (width_mm or _WIDTH_MM) / 25.4)


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
