"""Which values a view shows, and in which colours."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.evaluation.blend import INKS, blend, blend_legend
from napari_cmrcnet.evaluation.colour_limits import Limits, colour_limits, difference_limits
from napari_cmrcnet.viewer.display_settings import Confidence, DisplaySettings, View

if TYPE_CHECKING:
    from napari_cmrcnet.evaluation.shown import Shown
    from napari_cmrcnet.retrieval.case import Case

Float32 = npt.NDArray[np.float32]

DIVERGING: dict[View, str] = {"difference": "coolwarm", "local PCC": "PRGn"}  # even in lightness to both sides
PREDICT_FIRST = "Predict first: this section is only measured."
STEPS = 1024  # of a colormap: four for each colour that a screen can tell apart
CONFIDENCE_UNITS: dict[Confidence, str] = {
    "mean similarity": "mean cosine similarity",
    "best similarity": "best cosine similarity",
    "spread": "SD over the neighbours",
    "sections": "sections among the neighbours",
}


def values(view: View, shown: "Shown", case: "Case", display: DisplaySettings) -> Float32:
    """Return what a view shows, float32 (n,); NaN where a spot has no local PCC.

    Raises
    ------
    UserError
        If it needs measurements or a prediction and there are none, the spread of a panel is asked for, or the spread
        of a gene whose checkpoint is not where it was.
    """
    measured, predicted = shown.measured, shown.predicted
    if view == "confidence":
        return _confidence(shown, case, display.confidence)
    if view == "local PCC" and measured is not None and predicted is not None:
        return _local_pcc(measured, predicted, case, display.window_um)
    if view == "measured" and measured is not None:
        return measured
    if view == "predicted" and predicted is not None:
        return predicted
    if predicted is None:
        raise UserError(PREDICT_FIRST)
    if measured is None:
        raise UserError(f"{shown.name} was not measured here.")
    return predicted - measured


def _confidence(shown: "Shown", case: "Case", what: Confidence) -> Float32:
    if case.prediction is None:
        raise UserError(PREDICT_FIRST)
    if what == "spread" and shown.kind == "panel":
        raise UserError("The spread is known for single genes only; choose another confidence for a gene panel.")
    table = case.confidence(shown.name if what == "spread" else None)
    return table[what.replace(" ", "_")].to_numpy(np.float32)


def _local_pcc(measured: Float32, predicted: Float32, case: "Case", radius_um: float) -> Float32:
    from napari_cmrcnet.evaluation.local_pcc import local_pcc

    if not case.provenance.mpp:
        raise UserError("The pixel size is not known; give it in the Predict panel.")
    return local_pcc(measured, predicted, case.windows(radius_um), case.counted_spots())


def limits(view: View, shown_values: Float32, shown: "Shown", display: DisplaySettings) -> Limits:
    """Return the colour limits of a view, never NaN and never equal, after `evaluation.colour_limits`.

    Measured and predicted have the same. The difference is symmetric about 0. Confidence goes from the lowest to the
    highest value; the spread, which has the unit of expression, has its least span too.

    Parameters
    ----------
    view : str
        Of `VIEWS`.
    shown_values : float32 (n,)
        As `values` gives them.
    shown : Shown
        What is shown.
    display : DisplaySettings
        Percentiles or limits, and whether from 0.
    """
    if view in ("measured", "predicted"):
        return expression_limits(shown, display)
    if view == "difference":
        return difference_limits(shown_values, shown.unit)
    if view == "local PCC":
        return -1.0, 1.0
    if display.confidence == "spread":
        return colour_limits(shown_values, percentiles=(0, 100))
    low, high = (float(np.min(shown_values)), float(np.max(shown_values))) if shown_values.size else (0.0, 1.0)
    return (low, high) if high > low else (low, low + 1.0)


def expression_limits(shown: "Shown", display: DisplaySettings) -> Limits:
    """Return the limits of measured and predicted: those set by hand, or those that follow from the values."""
    if display.limits is not None:
        return display.limits
    both = [part for part in (shown.measured, shown.predicted) if part is not None]
    return colour_limits(*both, unit=shown.unit, percentiles=display.percentiles, from_zero=display.from_zero)


def colormap(view: View, display: DisplaySettings) -> str:
    """Return the name of a view's colormap."""
    return DIVERGING.get(view, display.colormap)


def colours(shown_values: Float32, between: Limits, colormap: Any) -> Float32:
    """Return the colour of each value, RGBA float32 (n, 4); NaN has none, and is transparent.

    They are looked up in a table: ten times as fast as interpolating each, and the same on a screen, which has 256
    steps of red, green and blue.

    Parameters
    ----------
    shown_values : float32 (n,)
        As `values` gives them.
    between : (float, float)
        The values of the colormap's ends; what lies beyond has the colours of the ends.
    colormap : napari.utils.Colormap
        A continuous one.
    """
    table = np.asarray(colormap.map(np.linspace(0, 1, STEPS)), np.float32)
    known = np.isfinite(shown_values)
    place = np.interp(np.where(known, shown_values, between[0]), between, (0, STEPS - 1))
    rgba = table[np.rint(place).astype(np.intp)]
    rgba[~known, 3] = 0.0
    return rgba


def blended(pinned: "Sequence[Shown]", display: DisplaySettings) -> "Sequence[Shown]":
    """Return the genes that measured and predicted show together; none where they show one."""
    return pinned if display.blend and len(pinned) in INKS else ()


def blend_colours(view: View, genes: "Sequence[Shown]", display: DisplaySettings) -> tuple[Float32, str]:
    """Return the colour of each spot where genes are shown together, RGBA float32 (n, 4), and what the layer is called.

    Parameters
    ----------
    view : "measured" or "predicted"
        Whose values.
    genes : sequence of Shown
        As `blended` gives them; those that are not known in this view print nothing.
    display : DisplaySettings
        Percentiles, and whether from 0. Limits by hand are one gene's, and are not for these.
    """
    of = [gene.measured if view == "measured" else gene.predicted for gene in genes]
    between = [expression_limits(gene, replace(display, limits=None)) for gene in genes]
    lines = blend_legend([gene.name for gene in genes], between)
    said = [line if one is not None else f"{line} (not {view})" for line, one in zip(lines, of, strict=True)]
    if all(one is None for one in of):
        return np.zeros((len(genes[0]), 4), np.float32), "\n".join([view, *said])
    rgb = blend(of, between)
    return np.column_stack([rgb, np.ones(len(rgb), np.float32)]), "\n".join([view, *said])


def label(view: View, shown: "Shown", display: DisplaySettings) -> str:
    """Return what a layer is called: gene, view and unit, as its colour bar must say."""
    if view == "local PCC":
        return f"{shown.name} PCC within {display.window_um:g} µm"
    if view == "confidence":
        what = CONFIDENCE_UNITS[display.confidence]
        return f"{shown.name}: {what}" if display.confidence == "spread" else what
    return f"{shown.name} {view}, {shown.unit}"
