"""The figure of one gene, or of a panel's score, that goes into a talk or a paper: maps and a caption that says all."""

import os
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import is_there
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.evaluation.figures import Ground, gene_map
from napari_cmrcnet.evaluation.headline import section_of
from napari_cmrcnet.evaluation.picture_file import draw_picture
from napari_cmrcnet.evaluation.shown import Shown
from napari_cmrcnet.retrieval.leaks import warnings_of

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.slides.slide import Slide

_FRAME_PX, _MOST_PX = 880, 1600
"""Longer side, in pixels, of the part of the slide that is drawn (570 to 880 wide), and at most of the whole slide."""
RESEARCH_USE = "For research use only: a prediction is not a measurement and not a diagnosis."


def write_gene_figure(
    case: "Case", path: str | os.PathLike[str], shown: Shown, *, slide: str | os.PathLike[str] = ""
) -> Job[Path]:
    """Write histology, measured and predicted expression with colour bar, scale bar and caption.

    What was not measured, or is not predicted, is left out.

    Parameters
    ----------
    case : Case
        Where the values are from.
    path : path
        Ends in ``.png``, ``.svg`` or ``.pdf``.
    shown : Shown
        What to draw.
    slide : path, optional
        Where the slide is, if not where it was.

    Raises
    ------
    UserError
        If the path has another ending, or cannot be written.
    """
    yield Progress("Reading the slide", 0, 2)
    ground = ground_of(case, slide)
    figure = partial(gene_map, ground, shown, caption=caption(case, shown))
    return (yield from draw_picture(figure, path, Progress("Drawing", 1, 2), dpi=200))


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


def ground_of(case: "Case", slide: str | os.PathLike[str] = "") -> Ground:
    """Return where a case's spots lie, with its slide if that can still be read, or where ``slide`` says."""
    from napari_cmrcnet.slides.slide import open_slide

    path = str(slide) or case.provenance.slide
    if path and is_there(path):
        with suppress(UserError), open_slide(path) as opened:
            return ground_on(case, opened)
    return ground_on(case, None)


def ground_on(case: "Case", slide: "Slide | None") -> Ground:
    """Return where a case's spots lie, with a slide that is open, reduced, or none."""
    ground = Ground(case.xy, case.spot_diameter, case.provenance.mpp or None)
    if slide is None:
        return ground
    part = max(np.ptp(case.xy / slide.scale, axis=0).max(), 1.0)
    image = slide.thumbnail(int(min(_FRAME_PX * max(slide.shape) / part, _MOST_PX)))
    return replace(ground, image=image, downsample=slide.scale * slide.shape[1] / image.shape[1])
