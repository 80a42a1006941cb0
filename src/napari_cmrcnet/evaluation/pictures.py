"""Which pictures a report has, and their files."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import is_there
from napari_cmrcnet.evaluation.figures import Ground, gene_map
from napari_cmrcnet.evaluation.metrics import dense
from napari_cmrcnet.evaluation.picture_file import file_name, save_figure
from napari_cmrcnet.evaluation.plots_sets import pcc_by_set, set_boxplot
from napari_cmrcnet.evaluation.plots_spots import scatter
from napari_cmrcnet.evaluation.scores import Scores

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.prediction import Prediction

_BEST = 4  # maps of the best predicted genes
_MARKERS = 12  # at most, of a large panel
_THUMBNAIL_PX = 1600


def draw_section(prediction: "Prediction", scored: Scores, out: Path) -> Iterator[Path]:
    """Draw a section's maps and its scatter plot.

    Maps are of the best predicted genes and of the markers.

    Yields
    ------
    Path
        Each file when it is written.
    """
    table = scored.table[scored.table.pcc.notna()].sort_values("pcc", ascending=False, kind="stable")
    best = list(table.index[:_BEST])
    markers = list(scored.table.index[scored.table.markers])[:_MARKERS]
    genes = list(dict.fromkeys(best + markers))
    measured, predicted = dense(prediction.measured(genes)), dense(prediction.expression(genes))
    ground = ground_of(prediction)
    name = file_name(scored.section)
    subtitle = f"{scored.section}" + (", synthetic" if prediction.provenance.synthetic else "")
    for column, gene in enumerate(genes):
        figure = gene_map(
            ground, measured[:, column], predicted[:, column], gene, scored.table.pcc[gene], subtitle=subtitle
        )
        yield save_figure(figure, out / f"{name}_map_{file_name(gene)}.png")
    shown = list(dict.fromkeys(best[:3] + markers[:3])) or genes[:6]
    if shown:
        columns = [genes.index(gene) for gene in shown]
        pcc = list(scored.table.pcc[shown])
        yield save_figure(
            scatter(shown, measured[:, columns], predicted[:, columns], pcc, subtitle), out / f"{name}_scatter.png"
        )


def draw_sets(scores: Sequence[Scores], out: Path) -> list[Path]:
    """Draw the box plot of all sections, as PNG and SVG."""
    figure = set_boxplot({scored.section: pcc_by_set(scored) for scored in scores})
    return [save_figure(figure, out / f"pcc_by_gene_set.{kind}") for kind in ("png", "svg")]


def ground_of(prediction: "Prediction", slide: str | os.PathLike[str] = "") -> Ground:
    """Return where a prediction's spots lie, with its slide if that is still there, or where ``slide`` says."""
    (library,) = prediction.spots.uns["spatial"].values()
    diameter = float(library["scalefactors"]["spot_diameter_fullres"])
    image, downsample = _thumbnail(str(slide) or prediction.provenance.slide)
    return Ground(prediction.xy, diameter, prediction.provenance.mpp or None, image, downsample)


def _thumbnail(path: str) -> tuple[NDArray[np.uint8] | None, float]:
    """Return the slide, reduced, and by how much; None where it has moved or cannot be read any more."""
    from napari_cmrcnet.sections.slide import open_slide

    if not path or not is_there(path):
        return None, 1.0
    try:
        with open_slide(path) as slide:
            image = slide.thumbnail(_THUMBNAIL_PX)
            return image, slide.shape[1] / image.shape[1]
    except UserError:
        return None, 1.0
