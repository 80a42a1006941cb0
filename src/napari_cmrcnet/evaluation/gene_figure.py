"""The figure of one gene, or of a panel's score, that goes into a talk or a paper: maps and a caption that says all."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.evaluation.figures import COLOURS, Ground, colour_limits, gene_map
from napari_cmrcnet.evaluation.leaks import leak
from napari_cmrcnet.evaluation.metrics import pcc_in_words
from napari_cmrcnet.evaluation.picture_file import save_figure
from napari_cmrcnet.evaluation.pictures import ground_of
from napari_cmrcnet.evaluation.plot_style import UNIT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from napari_cmrcnet.retrieval.prediction import Prediction

RESEARCH_USE = "For research use only: a prediction is not a measurement and not a diagnosis."


@dataclass(frozen=True, eq=False)
class Drawn:
    """What a figure is of, and its colours.

    Parameters
    ----------
    name : str
        The gene's symbol or the panel's name.
    predicted : float32 (n,)
        A value a spot.
    measured : float32 (n,) or None
        None where it was not measured.
    pcc, low, high : float
        Their correlation and its 95 % interval; NaN where it is undefined or not known.
    unit : str
        Of the values.
    limits : (float, float), optional
        Of the colours; the 1st to the 99th percentile over measured and predicted if not given.
    colours : str
        Name of the colour map.
    """

    name: str
    predicted: NDArray[np.float32]
    measured: NDArray[np.float32] | None
    pcc: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    unit: str = UNIT
    limits: tuple[float, float] | None = None
    colours: str = COLOURS

    @property
    def scale(self) -> tuple[float, float]:
        """The limits of the colours."""
        values = [np.asarray(part, np.float64) for part in (self.measured, self.predicted) if part is not None]
        return self.limits or colour_limits(*values)


def write_gene_figure(
    prediction: "Prediction", path: str | os.PathLike[str], drawn: Drawn, *, slide: str | os.PathLike[str] = ""
) -> Job[Path]:
    """Write histology, measured and predicted expression with colour bar, scale bar and caption.

    Without measurements it is histology and predicted expression.

    Parameters
    ----------
    prediction : Prediction
        Where the values are from.
    path : path
        Ends in ``.png``, ``.svg`` or ``.pdf``.
    drawn : Drawn
        What to draw.
    slide : path, optional
        Where the slide is, if not where it was.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    UserError
        If the path has another ending, or cannot be written.
    """
    yield Progress("Reading the slide", 0, 3)
    ground = ground_of(prediction, slide)
    yield Progress("Drawing", 1, 3)
    figure = draw_gene(prediction, ground, drawn, caption=caption(prediction, drawn))
    yield Progress("Drawing", 2, 3)
    return save_figure(figure, path, dpi=200)


def draw_gene(prediction: "Prediction", ground: Ground, drawn: Drawn, *, caption: str = "") -> "Figure":
    """Return the figure of a gene; see `gene_map`."""
    return gene_map(
        ground,
        None if drawn.measured is None else np.asarray(drawn.measured, np.float64),
        np.asarray(drawn.predicted, np.float64),
        drawn.name,
        drawn.pcc,
        subtitle=prediction.name + (", synthetic" if prediction.provenance.synthetic else ""),
        unit=drawn.unit,
        limits=drawn.scale,
        colours=drawn.colours,
        caption=caption,
    )


def caption(prediction: "Prediction", drawn: Drawn) -> str:
    """Return what a reader who has only the figure must know."""
    about = prediction.provenance
    what = "Predicted" if drawn.measured is None else "Measured and predicted"
    low, high = drawn.scale
    of = f"{drawn.name} in section {prediction.name}, n = {len(prediction):,} spots"
    checkpoint = f", checkpoint {Path(about.checkpoint).name}" if about.checkpoint else ""
    said = [
        f"{of}. {what} {drawn.unit}, colours from {low:.2f} to {high:.2f}.",
        f"Predicted from the H&E image: {about.average}{checkpoint}.",
    ]
    if drawn.measured is not None:
        said.append(f"{pcc_in_words(drawn.pcc, drawn.low, drawn.high)}.")
        said.append(leak(about.section, about.patient, about.trained_on, about.trained_on_patients, about.validated_on))
    if about.synthetic:
        said.append("The tissue is synthetic.")
    return " ".join(filter(None, [*said, RESEARCH_USE]))
