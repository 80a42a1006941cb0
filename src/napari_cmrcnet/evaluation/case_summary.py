"""What a list of cases shows of one that is not open: a small picture of its slide, and the mean PCC of its markers."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.evaluation.shown import gene_shown

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_cmrcnet.retrieval.project import ProjectCase

PIXELS = 96  # of the longer side of a thumbnail

Summary = tuple["npt.NDArray[np.uint8] | None", float | None]


def summary_job(entry: "ProjectCase") -> Job[Summary]:
    """Return a thumbnail, uint8 (h, w, 3), and the mean PCC of the markers that have one; None where there is none.

    A file that cannot be read has neither: why is said when the case is opened.
    """
    yield Progress(f"Looking at {entry.name}", 0, 0)
    return _thumbnail(entry), entry.pcc if entry.pcc is not None else _marker_pcc(entry)


def _thumbnail(entry: "ProjectCase") -> "npt.NDArray[np.uint8] | None":
    from napari_cmrcnet.slides.slide import open_slide

    try:
        if entry.slide:
            with open_slide(entry.slide) as slide:
                return slide.thumbnail(PIXELS)
    except UserError:
        pass
    return None


def _marker_pcc(entry: "ProjectCase") -> float | None:
    from napari_cmrcnet.retrieval.prediction import Prediction

    if not entry.prediction or not entry.measured:
        return None
    try:
        prediction = Prediction.load(Path(entry.prediction))
        markers = prediction.panel.genes if prediction.panel is not None else ()
        measured = [gene for gene in markers if gene in prediction.measured_set]
        found = [gene_shown(prediction, gene, None).pcc for gene in measured]
    except UserError:
        return None
    return float(np.nanmean(found)) if np.isfinite(found).any() else None
