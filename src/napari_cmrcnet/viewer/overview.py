"""Where on the slide the canvas looks, and how large it shows it."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import napari
    from napari.layers import Image
    from numpy.typing import NDArray

UM_AT_10X = 1.0  # of a pixel, as scanners have it


def small_picture(layer: "Image", side: int) -> "NDArray[np.uint8]":
    """Return a slide's layer as a picture, uint8 (h, w, 3), at least ``side`` pixels on its longer side if it has them.

    It is made of the coarsest level, which napari has read to show the layer.
    """
    level: Any = layer.data[-1]
    step = max(1, max(level.shape[:2]) // (2 * side))
    return np.ascontiguousarray(np.asarray(level)[::step, ::step])


def seen_part(viewer: "napari.viewer.Viewer", layer: "Image") -> tuple[float, float, float, float]:
    """Return left, top, width and height of what a cell of the canvas shows, in shares of a layer's picture."""
    grid, camera, canvas = viewer.canvas.grid, viewer.scene.camera, np.asarray(viewer.canvas.size, float)
    size = canvas / (grid.shape if grid.enabled else (1, 1)) / camera.zoom
    low, high = layer.extent.world
    corner, shares = (np.asarray(camera.center[-2:]) - size / 2 - low) / (high - low), size / (high - low)
    return float(corner[1]), float(corner[0]), float(shares[1]), float(shares[0])


def look_there(viewer: "napari.viewer.Viewer", layer: "Image", x: float, y: float) -> None:
    """Move the canvas to a place on a layer's picture, in shares of its width and height; the zoom stays."""
    low, high = layer.extent.world
    viewer.scene.camera.center = tuple((low + (high - low) * (y, x)).tolist())


def scale_text(viewer: "napari.viewer.Viewer", in_um: bool) -> str:
    """Return the size of a pixel of the canvas and the magnification that goes with it; nothing where it is unknown."""
    um = 1 / viewer.scene.camera.zoom
    return f"{um:.3g} µm/px · {10 * UM_AT_10X / um:.3g}×" if in_um else ""
