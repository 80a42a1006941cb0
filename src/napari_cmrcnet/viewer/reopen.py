"""A saved prediction or a measured section, opened to be looked at: with its slide, or why that is not at hand."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import is_there
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.suffixes import slide_name
from napari_cmrcnet.common.text import count_text

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.slides.slide import Slide


@dataclass(frozen=True, eq=False)
class Opened:
    """A case with its slide.

    Parameters
    ----------
    case : Case
        A prediction with its bank, where that was found; or a measured section.
    slide : Slide or None
        Open; None where it is not at hand.
    missing : str
        Why the slide is not at hand, a sentence; ``""`` where it is, or where none is known.
    """

    case: "Case"
    slide: "Slide | None"
    missing: str = ""

    def close(self) -> None:
        """Close the slide of a case that is not shown after all."""
        if self.slide is not None:
            self.slide.close()


def open_prediction(path: Path, slide: Path | None = None, checkpoint: Path | None = None) -> Job[Opened]:
    """Open a saved prediction.

    Parameters
    ----------
    path : Path
        What `Prediction.save` wrote.
    slide, checkpoint : Path, optional
        Where they are now, if not where they were.

    Raises
    ------
    UserError
        If the file is no prediction, or what is given does not belong to it. A slide that was not given and is not
        there, or cannot be opened, is no error: the prediction can be looked at without it.
    """
    from napari_cmrcnet.retrieval.prediction import Prediction

    yield Progress(f"Reading {path.name}", 0, 0)
    prediction = Prediction.load(path, checkpoint)
    yield Progress("Reading the bank", 0, 0)
    make_ready(prediction)
    yield Progress("Opening the slide", 0, 0)
    if slide is not None:
        return Opened(prediction, slide_of(prediction, slide))
    was = prediction.provenance.slide
    if not was:
        return Opened(prediction, None)
    if not is_there(was):
        return Opened(prediction, None, f"The slide of {prediction.name} is no longer at {was}.")
    try:
        return Opened(prediction, slide_of(prediction, Path(was)))
    except UserError as reason:
        return Opened(prediction, None, str(reason))


def make_ready(case: "Case") -> None:
    """Compute once, in a worker, what the first gene and the list of genes would else wait for.

    It is the bank, the genes in common, the normalisation, the means of all genes, the texts that are searched and
    the classes of the spots.
    """
    if case.prediction is not None:
        _ = case.prediction.predicted_means
    genes = case.measured_genes
    if genes and case.measured_set:
        case.measured(genes[:1])
    case.measured_means()
    if case.prediction is None:
        _ = case.measured_sets
    case.names.prepare_search()
    _ = case.classes


def slide_of(case: "Case", path: Path) -> "Slide":
    """Open a case's slide, which may have moved; the case remembers where it is now.

    Raises
    ------
    UserError
        If it cannot be opened, or most spots lie outside it, so that it is another one.
    """
    from napari_cmrcnet.sections.section import on_slide

    with _opened(path) as slide:
        outside = int((~on_slide(case.xy, slide)).sum())
        if outside > 0.5 * len(case):
            raise UserError(
                f"{path} is not the slide of {case.name}: {count_text(outside, 'spot', len(case))} lie "
                "outside it; choose the slide that they were measured or predicted on."
            )
    about = case.provenance
    if not about.mpp and slide.mpp:
        about = replace(about, mpp=slide.mpp, mpp_source=f"the slide's {slide.mpp_source}")
    case.provenance = replace(about, slide=str(path.resolve()))
    return slide


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
    """Open the slide beside spots; return it, or why there is none.

    Where it is not at hand, a small picture of the tissue that the spots lie on is enough to look at.
    """
    from napari_cmrcnet.sections.beside import pictures_beside, slides_beside
    from napari_cmrcnet.sections.section import FITS, fit_to_slide, on_slide

    reasons = []
    for found in slides_beside(path, spots):
        try:
            with _opened(found) as slide:
                fit_to_slide(spots, slide)
                return slide, ""
        except UserError as reason:
            reasons.append(str(reason))
    for found, scale in pictures_beside(path, spots):
        with suppress(UserError), _opened(found) as picture:
            if on_slide(spots.obsm["spatial"] / scale, picture).mean() > FITS:
                picture.scale = scale
                return picture, ""
            picture.close()
    return None, reasons[0] if reasons else f"No slide was found beside {path}."


@contextmanager
def _opened(path: Path) -> "Iterator[Slide]":
    """Open a slide that is to stay open, but where what is done with it at first fails."""
    from napari_cmrcnet.slides.slide import open_slide

    slide = open_slide(path)
    try:
        yield slide
    except BaseException:
        slide.close()
        raise
