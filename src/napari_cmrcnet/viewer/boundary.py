"""The one place where the core's (x, y) becomes napari's (row, column), and pixels get their size in µm."""

from typing import Any

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.float64]

KEY = "cmrcnet"  # of our entry in a layer's metadata


def to_napari(xy: npt.ArrayLike) -> Positions:
    """Return (x, y) in full-resolution pixels, (n, 2), as napari's (row, column)."""
    return np.ascontiguousarray(np.asarray(xy, np.float64)[:, ::-1])


def from_napari(data: npt.ArrayLike) -> Positions:
    """Return napari's (row, column) in full-resolution pixels, (n, 2), as (x, y)."""
    return np.ascontiguousarray(np.asarray(data, np.float64)[:, ::-1])


def placement_of(layer: Any) -> dict[str, Any]:
    """Return the scale, units and axis labels of a layer, for one that is to lie on it."""
    return {name: getattr(layer, name) for name in ("scale", "units", "axis_labels")}


def layer_placement(mpp: float | None) -> dict[str, Any]:
    """Return the scale, units and axis labels that every layer of ours has.

    napari drops the scale bar's unit where layers disagree, so all take them from here.

    Parameters
    ----------
    mpp : float or None
        µm per full-resolution pixel; None leaves the layer in pixels.
    """
    scale, unit = (1.0, "pixel") if mpp is None else (mpp, "um")
    return {"scale": (scale, scale), "units": (unit, unit), "axis_labels": ("y", "x")}
