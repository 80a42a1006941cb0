"""The figure of two or three genes as colours on one map, measured beside predicted."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.text import figure_text
from napari_cmrcnet.evaluation.blend import INKS, RGB, blend, blend_legend
from napari_cmrcnet.evaluation.figures import Ground, draw_map, draw_scale_bar, frame
from napari_cmrcnet.evaluation.gene_figure import ground_of
from napari_cmrcnet.evaluation.headline import section_of
from napari_cmrcnet.evaluation.panel_figure import caption_of, checked_width, gene_maps
from napari_cmrcnet.evaluation.picture_file import draw_picture
from napari_cmrcnet.evaluation.plots_panel import GeneMaps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from napari_cmrcnet.retrieval.case import Case

_WIDTH_MM = 180.0  # two columns of most journals


def write_blend_figure(
    case: "Case",
    path: str | os.PathLike[str],
    genes: Sequence[str],
    *,
    slide: str | os.PathLike[str] = "",
    width_mm: float | None = None,
) -> Job[Path]:
    """Write two or three genes as colours on one map, see `blend`: the slide, measured and predicted.

    Parameters
    ----------
    case : Case
        Where the values are from.
    path : path
        Ends in ``.png``, ``.svg`` or ``.pdf``.
    genes : sequence of str
        Symbols or Ensembl ids.
    slide : path, optional
        Where the slide is, if not where it was.
    width_mm : float, optional
        Of the figure; 180 if not given.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    UserError
        If they are not two or three genes of the case; or as `write_panel_figure`.
    """
    width = checked_width(width_mm) or _WIDTH_MM
    maps = gene_maps(case, genes, intervals=True)
    if len(maps) < len(genes) or len(maps) not in INKS:
        raise UserError(f"{', '.join(genes)} are not two or three genes of {case.name}; name others.")
    yield Progress("Reading the slide", 0, 2)
    draw = partial(_draw, maps, ground_of(case, slide), section_of(case), caption_of(case), width / 25.4)
    return (yield from draw_picture(draw, path, Progress("Drawing", 1, 2)))


def _draw(genes: Sequence[GeneMaps], ground: Ground, section: str, caption: str, width: float) -> "Figure":
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    limits = [gene.scale for gene in genes]
    kinds = [kind for kind in ("measured", "predicted") if any(kind in gene.maps for gene in genes)]
    panels = ["H&E", *kinds] if ground.image is not None else kinds
    left, right, top, bottom = frame(ground)
    height = width / len(panels) * (bottom - top) / (right - left)
    said = fill(caption, round(23 * width))
    figure = Figure((width, height + 0.5 + 0.16 * len(genes) + 0.13 * said.count("\n")), 300, layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, kind in zip(axes, panels, strict=True):
        values = [gene.maps.get(kind) for gene in genes]
        draw_map(axis, ground, kind, None if kind == "H&E" else blend(values, limits), limits[0])
        axis.set_title(kind, fontsize=8)
    if ground.mpp is not None:
        draw_scale_bar(axes[0], left, right, top, bottom, ground.mpp, 7)
    inks, lines = INKS[len(genes)], blend_legend([gene.name for gene in genes], limits)
    handles = [
        Patch(color=RGB[ink], label=figure_text("   ".join(filter(None, [line, gene.score]))))
        for ink, line, gene in zip(inks, lines, genes, strict=True)
    ]
    title = {"title": figure_text(section), "title_fontsize": 8, "alignment": "left"}
    figure.legend(handles=handles, loc="outside upper left", fontsize=7, frameon=False, **title)
    figure.supxlabel(said, x=0.01, ha="left", fontsize=6, color="0.25", parse_math=False)
    return figure
