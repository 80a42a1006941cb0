"""The figure of one gene, or of a panel's score, that goes into a talk or a paper: maps and a caption that says all."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import is_there
from napari_cmrcnet.common.metrics import pcc_in_words
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.evaluation.colour_limits import Limits, colour_limits, hardly_varies
from napari_cmrcnet.evaluation.figures import COLOURS, Ground, gene_map
from napari_cmrcnet.evaluation.headline import HARDLY_VARIES, score_line, section_of
from napari_cmrcnet.evaluation.picture_file import draw_picture
from napari_cmrcnet.evaluation.plot_style import UNIT
from napari_cmrcnet.retrieval.leaks import warnings_of
from napari_cmrcnet.retrieval.trust import NOTHING, Trust, trust_of
from napari_cmrcnet.sections.score_filter import spots_in_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from napari_cmrcnet.evaluation.scores import Scores
    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.retrieval.prediction import Prediction
    from napari_cmrcnet.slides.slide import Slide

_FRAME_PX, _MOST_PX = 880, 1600
"""Longer side, in pixels, of the part of the slide that is drawn (570 to 880 wide), and at most of the whole slide."""
RESEARCH_USE = "For research use only: a prediction is not a measurement and not a diagnosis."


@dataclass(frozen=True, eq=False)
class Drawn:
    """What a figure is of, and its colours.

    Parameters
    ----------
    name : str
        The gene's symbol or the panel's name.
    predicted, measured : float32 (n,) or None
        A value a spot; None where it is not predicted, or was not measured. One of them is there.
    pcc, low, high : float
        Their correlation and its 95 % interval; NaN where it is undefined or not known.
    undefined : str
        Why it is undefined, if that is known.
    unit : str
        Of the values.
    limits : (float, float), optional
        Of the colours; those of `colour_limits` if not given.
    colours : str
        Name of the colour map.
    flat : bool, optional
        Whether the prediction hardly varies; found from a gene's values if not given.
    spots : int, optional
        Spots that count in the score; all if not given.
    trust : Trust
        How far the prediction can be trusted; nothing is known of a panel.
    """

    name: str
    predicted: NDArray[np.float32] | None
    measured: NDArray[np.float32] | None
    pcc: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    undefined: str = ""
    unit: str = UNIT
    limits: Limits | None = None
    colours: str = COLOURS
    flat: bool | None = None
    spots: int | None = None
    trust: Trust = NOTHING

    @property
    def scale(self) -> Limits:
        """The limits of the colours."""
        values = [part for part in (self.measured, self.predicted) if part is not None]
        return self.limits or colour_limits(*values, unit=self.unit)

    @property
    def hardly_varies(self) -> bool:
        """Whether the prediction hardly varies."""
        if self.flat is not None or self.predicted is None:
            return bool(self.flat)
        return hardly_varies(self.predicted)

    @property
    def said(self) -> str:
        """Of the score, in sentences."""
        if self.predicted is None:
            return ""
        if self.measured is None:
            said = "Predicted only: it was not measured."
        else:
            said = f"{pcc_in_words(self.pcc, self.low, self.high)}{f' ({self.undefined})' if self.undefined else ''}"
            said += f", {self.n}: those with enough counts." if self.n != f"n = {len(self.predicted):,} spots" else "."
        said = f"{said} The {HARDLY_VARIES}." if self.hardly_varies else said
        return " ".join(filter(None, [said, self.trust.said]))

    @property
    def n(self) -> str:
        """How many spots the score is over, ``"n = 179 of 181 spots"``."""
        values = self.measured if self.predicted is None else self.predicted
        total = 0 if values is None else len(values)
        return f"n = {spots_in_words(total if self.spots is None else self.spots, total)}"

    @property
    def score(self) -> str:
        """PCC with its interval, or why there is none."""
        return score_line(
            self.measured is not None,
            self.pcc,
            self.low,
            self.high,
            undefined=self.undefined,
            flat=self.hardly_varies,
            trust=self.trust.word,
            predicted=self.predicted is not None,
        )


def write_gene_figure(
    case: "Case", path: str | os.PathLike[str], drawn: Drawn, *, slide: str | os.PathLike[str] = ""
) -> Job[Path]:
    """Write histology, measured and predicted expression with colour bar, scale bar and caption.

    What was not measured, or is not predicted, is left out.

    Parameters
    ----------
    case : Case
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
    yield Progress("Reading the slide", 0, 2)
    ground = ground_of(case, slide)
    figure = partial(draw_gene, case, ground, drawn, caption=caption(case, drawn))
    return (yield from draw_picture(figure, path, Progress("Drawing", 1, 2), dpi=200))


def draw_gene(case: "Case", ground: Ground, drawn: Drawn, *, caption: str = "") -> "Figure":
    """Return the figure of a gene; see `gene_map`."""
    return gene_map(
        ground,
        None if drawn.measured is None else np.asarray(drawn.measured, np.float64),
        None if drawn.predicted is None else np.asarray(drawn.predicted, np.float64),
        drawn.name,
        drawn.score,
        subtitle=section_of(case) + (f", {drawn.n}" if drawn.measured is not None else ""),
        unit=drawn.unit,
        limits=drawn.scale,
        colours=drawn.colours,
        caption=caption,
    )


def caption(case: "Case", drawn: Drawn) -> str:
    """Return what a reader who has only the figure must know."""
    about, prediction = case.provenance, case.prediction
    both = "Measured and predicted"
    what = "Predicted" if drawn.measured is None else "Measured" if drawn.predicted is None else both
    low, high = drawn.scale
    of = f"{drawn.name} in section {section_of(case)}, n = {len(case):,} {case.unit}s"
    checkpoint = f", checkpoint {Path(about.checkpoint).name}" if about.checkpoint else ""
    said = [f"{of}. {what} {drawn.unit}, colours from {low:.2f} to {high:.2f}."]
    if prediction is None:
        return " ".join(said)
    said.append(f"Predicted from the H&E image: {about.average}{checkpoint}.")
    said.append(drawn.said)
    said += warnings_of([prediction])
    return " ".join(filter(None, [*said, RESEARCH_USE]))


def drawn_gene(prediction: "Prediction", scores: "Scores | None", gene: str) -> Drawn:
    """Return what a figure of a gene shows: its values, and its score where there is one."""
    predicted = prediction.gene(gene)
    flat = hardly_varies(predicted)
    if scores is None or gene not in scores.table.index:
        return Drawn(gene, predicted, None, flat=flat, trust=trust_of(prediction, gene, flat=flat))
    table = scores.table.loc[[gene]]
    pcc, low, high = table[["pcc", "low", "high"]].to_numpy(np.float64)[0]
    measured = np.asarray(prediction.measured([gene]))[:, 0]
    trust = trust_of(prediction, gene, pcc, low, flat=flat)
    undefined = str(table["undefined"].iloc[0])
    return Drawn(gene, predicted, measured, pcc, low, high, undefined, flat=flat, spots=scores.spots, trust=trust)


def ground_of(case: "Case", slide: str | os.PathLike[str] = "") -> Ground:
    """Return where a case's spots lie, with its slide if that is still there, or where ``slide`` says."""
    image, downsample = _thumbnail(str(slide) or case.provenance.slide, case.xy)
    return Ground(case.xy, case.spot_diameter, case.provenance.mpp or None, image, downsample)


def ground_on(case: "Case", slide: "Slide | None") -> Ground:
    """Return where a case's spots lie, with a slide that is open, or none."""
    image, downsample = (None, 1.0) if slide is None else _reduced(slide, case.xy / slide.scale)
    return Ground(case.xy, case.spot_diameter, case.provenance.mpp or None, image, downsample)


def _thumbnail(path: str, xy: NDArray[np.float64]) -> tuple[NDArray[np.uint8] | None, float]:
    """Return the slide, reduced, and by how much; None where it has moved or cannot be read any more."""
    from napari_cmrcnet.slides.slide import open_slide

    if not path or not is_there(path):
        return None, 1.0
    try:
        with open_slide(path) as slide:
            return _reduced(slide, xy)
    except UserError:
        return None, 1.0


def _reduced(slide: "Slide", xy: NDArray[np.float64]) -> tuple[NDArray[np.uint8], float]:
    side = _FRAME_PX * max(slide.shape) / max(np.ptp(xy, axis=0).max(), 1.0)
    image = slide.thumbnail(int(min(side, _MOST_PX)))
    return image, slide.scale * slide.shape[1] / image.shape[1]
