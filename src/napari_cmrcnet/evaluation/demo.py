"""The sample, predicted and scored: what a new user sees first."""

from pathlib import Path
from typing import TYPE_CHECKING

from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.sample import sample_folder
from napari_cmrcnet.sections.sheet import SheetRow, read_sheet

if TYPE_CHECKING:
    from napari_cmrcnet.evaluation.report import Report
    from napari_cmrcnet.retrieval.prediction import Prediction
    from napari_cmrcnet.sections.section import Section


def sample_parts() -> tuple[SheetRow, Path]:
    """Return the section that comes with the software, which no prediction has seen, and the checkpoint for it."""
    (row,) = read_sheet(sample_folder() / "sections.csv")
    return row, sample_folder() / "sample.cmrcnet"


def predict_sample() -> "Job[tuple[Section, Prediction]]":
    """Predict the sample's section with the sample's checkpoint.

    Returns
    -------
    section : Section
        Its slide is open.
    prediction : Prediction
        Of it.
    """
    yield Progress("Loading the sample", 0, 0)
    # torch comes with them: a window that only asks where the sample is must not wait for it.
    from napari_cmrcnet.retrieval.checkpoint import Checkpoint
    from napari_cmrcnet.retrieval.predict import predict

    row, path = sample_parts()
    checkpoint = Checkpoint.load(path)
    section = row.open()
    try:
        return section, (yield from predict(section, checkpoint))
    except BaseException:
        section.slide.close()
        raise


def demo(out: Path) -> "Job[Report]":
    """Predict the sample's section with the sample's checkpoint and score the prediction.

    Parameters
    ----------
    out : Path
        The folder for the prediction, the scores and the pictures.
    """
    from napari_cmrcnet.evaluation.report import evaluate

    section, prediction = yield from predict_sample()
    section.slide.close()
    prediction.save(out / f"{section.name}_predicted.h5ad")
    return (yield from evaluate([prediction], out))
