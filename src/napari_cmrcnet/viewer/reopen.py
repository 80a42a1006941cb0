"""A saved prediction, opened again with its slide, and what to ask for where one has moved."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import is_there
from napari_cmrcnet.common.progress import Job, Progress

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.prediction import Prediction
    from napari_cmrcnet.slides.slide import Slide


@dataclass(frozen=True, eq=False)
class Opened:
    """A prediction with its slide.

    Parameters
    ----------
    prediction : Prediction
        With its bank, where that was found.
    slide : Slide or None
        Open; None where it is not at hand.
    missing : str
        Why the slide is not at hand, a sentence; ``""`` where it is, or where none is known.
    """

    prediction: "Prediction"
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


def make_ready(prediction: "Prediction") -> None:
    """Compute once, in a worker, what the first gene and the list of genes would else wait for.

    It is the bank, the genes in common, the normalisation, the means of all genes and the texts that are searched.
    """
    _ = prediction.bank
    genes = prediction.measured_genes
    if genes and prediction.measured_set:
        prediction.measured(genes[:1])
    prediction.predicted_means()
    prediction.measured_means()
    prediction.names.prepare_search()


def slide_of(prediction: "Prediction", path: Path) -> "Slide":
    """Open a prediction's slide, which may have moved; the prediction remembers where it is now.

    Raises
    ------
    UserError
        If it cannot be opened, or most spots lie outside it, so that it is another one.
    """
    from napari_cmrcnet.slides.slide import open_slide

    slide = open_slide(path)
    height, width = slide.shape
    inside = ((prediction.xy >= 0) & (prediction.xy < [width, height])).all(axis=1)
    if len(prediction) and np.mean(inside) < 0.5:
        slide.close()
        raise UserError(
            f"{path} is not the slide of {prediction.name}: {int((~inside).sum())} of {len(prediction)} spots lie "
            "outside it; choose the slide that was predicted."
        )
    prediction.provenance = replace(prediction.provenance, slide=str(path.resolve()))
    return slide
