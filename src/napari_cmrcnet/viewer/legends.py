"""Title, names and colour bars of the views: smaller where the canvas, or a view's cell of it, is small."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import napari

SMALL_PX = (420, 260)  # height and width of a cell below which texts are small
TEXT, SMALL_TEXT = 9, 7
BAR_PX = (50, 140)  # least and most height of a colour bar: else a quarter of its cell


class Legends:
    """Gives legends the size that goes with the canvas.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Whose canvas it is.
    points : mapping of str to Points
        The layers of the views.
    """

    def __init__(self, viewer: "napari.viewer.Viewer", points: "Mapping[Any, Any]") -> None:
        self.viewer, self.points = viewer, points
        self._shared = self._blended = False

    def share_bar(self, shared: bool) -> None:
        """Let measured and predicted, which have one scale, have one colour bar; else each has its own."""
        self._shared = shared
        self.show_bars(self._blended)

    def show_bars(self, blended: bool) -> None:
        """Show the colour bars of measured and predicted; not where they show several genes, named with their inks."""
        self._blended = blended
        for view, hidden in (("measured", self._shared or blended), ("predicted", blended)):
            if view in self.points:
                self.points[view].face_colorbar.visible = not hidden

    def fit(self) -> None:
        """Fit them to the canvas as it is now."""
        canvas = self.viewer.canvas
        rows, columns = canvas.grid.shape if canvas.grid.enabled else (1, 1)
        height, width = canvas.size[0] / rows, canvas.size[1] / columns
        size = SMALL_TEXT if height < SMALL_PX[0] or width < SMALL_PX[1] else TEXT
        for layer in self.points.values():
            layer.name_overlay.font_size = layer.face_colorbar.font_size = size
            layer.face_colorbar.size = (16, int(np.clip(height / 4, *BAR_PX)))
        canvas.overlays.scale_bar.font_size = size
        canvas.overlays.text.font_size = size + 1
