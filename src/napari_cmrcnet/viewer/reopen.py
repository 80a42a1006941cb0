"""A saved prediction, opened again with its slide, and what to ask for where one has moved."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import is_there
from napari_cmrcnet.common.progress import Job, Progress

if TYPE_CHECKING:
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

    It is the bank, the genes in common, the normalisation, the means of all genes and the texts that are searched.
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


def slide_of(case: "Case", path: Path) -> "Slide":
    """Open a case's slide, which may have moved; the case remembers where it is now.

    Raises
    ------
    UserError
        If it cannot be opened, or most spots lie outside it, so that it is another one.
    """
    from napari_cmrcnet.slides.slide import open_slide

    slide = open_slide(path)
    height, width = slide.shape
    inside = ((case.xy >= 0) & (case.xy < [width, height])).all(axis=1)
    if len(case) and np.mean(inside) < 0.5:
        slide.close()
        raise UserError(
            f"{path} is not the slide of {case.name}: {int((~inside).sum())} of {len(case)} spots lie "
            "outside it; choose the slide that they were measured or predicted on."
        )
    about = case.provenance
    if not about.mpp and slide.mpp:
        about = replace(about, mpp=slide.mpp, mpp_source=f"the slide's {slide.mpp_source}")
    case.provenance = replace(about, slide=str(path.resolve()))
    return slide
