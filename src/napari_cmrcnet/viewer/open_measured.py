"""A measured section, opened to be looked at: its spots, and the slide that lies beside them."""

from pathlib import Path
from typing import TYPE_CHECKING

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.suffixes import slide_name
from napari_cmrcnet.viewer.reopen import Opened, make_ready

FITS = 0.95  # share of the spots on a picture that is theirs

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.slides.slide import Slide


def open_measured(path: Path, library: str = "") -> Job[Opened]:
    """Open spots that were measured, with their slide where it lies beside them.

    Parameters
    ----------
    path : Path
        What `open_spots` reads.
    library : str
        Which section of a file that holds several.

    Raises
    ------
    UserError
        If the spots cannot be read. A slide that is not found, or cannot be opened, is no error.
    """
    yield Progress(f"Reading {path.name}", 0, 0)
    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.sections.beside import section_name
    from napari_cmrcnet.sections.spots import open_spots

    spots = open_spots(path, library=library, normalised=True)
    yield Progress("Looking for the slide", 0, 0)
    slide, missing = _slide_beside(path, spots)
    whole = slide if slide is not None and slide.scale == 1 else None
    case = Case.of(spots, section_name(path) if whole is None else slide_name(whole.path), whole)
    yield Progress("Reading the genes", 0, 0)
    make_ready(case)
    return Opened(case, slide, missing)


def open_pooled(case: "Case", wanted: str) -> "Job[Case]":
    """Pool the cells or bins of a measured section to spots, see `Case.pooled`."""
    yield Progress(f"Pooling the {case.poolable}s of {case.name}", 0, 0)
    pooled = case.pooled(wanted)
    yield Progress("Reading the genes", 0, 0)
    make_ready(pooled)
    return pooled


def _slide_beside(path: Path, spots: "AnnData") -> "tuple[Slide | None, str]":
    """Open the slide beside spots; return it, or why there is none."""
    from napari_cmrcnet.sections.beside import slides_beside
    from napari_cmrcnet.sections.section import fit_to_slide
    from napari_cmrcnet.slides.slide import open_slide

    reasons = []
    for found in slides_beside(path, spots):
        try:
            slide = open_slide(found)
        except UserError as reason:
            reasons.append(str(reason))
            continue
        try:
            fit_to_slide(spots, slide)
        except UserError as reason:
            slide.close()
            reasons.append(str(reason))
        else:
            return slide, ""
    if (picture := _picture_beside(path, spots)) is not None:
        return picture, ""
    return None, reasons[0] if reasons else f"No slide was found beside {path}."


def _picture_beside(path: Path, spots: "AnnData") -> "Slide | None":
    """Open a small picture of the tissue that the spots lie on: enough to look at where the slide is not at hand."""
    from napari_cmrcnet.sections.beside import pictures_beside
    from napari_cmrcnet.slides.slide import open_slide

    for found, scale in pictures_beside(path, spots):
        try:
            picture = open_slide(found)
        except UserError:
            continue
        height, width = picture.shape
        xy = spots.obsm["spatial"] / scale
        if ((xy >= 0) & (xy < [width, height])).all(axis=1).mean() > FITS:
            picture.scale = scale
            return picture
        picture.close()
    return None
