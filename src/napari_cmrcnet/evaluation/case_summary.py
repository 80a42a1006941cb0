"""What a list of cases shows of one that is not open: a small picture of its slide, and the mean PCC of its markers."""

from contextlib import suppress
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
    picture, pcc = None, entry.pcc
    if entry.slide:
        from napari_cmrcnet.slides.slide import open_slide

        with suppress(UserError), open_slide(entry.slide) as slide:
            picture = slide.thumbnail(PIXELS)
    if pcc is None and entry.prediction and entry.measured:
        from napari_cmrcnet.retrieval.prediction import Prediction

        with suppress(UserError):
            prediction = Prediction.load(Path(entry.prediction))
            markers = prediction.panel.genes if prediction.panel is not None else ()
            found = [gene_shown(prediction, gene, None).pcc for gene in markers if gene in prediction.measured_set]
            pcc = float(np.nanmean(found)) if np.isfinite(found).any() else None
    return picture, pcc
