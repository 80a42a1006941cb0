"""Rings around the selected spots, in every view: seen on every colour map and on the histology."""

from typing import TYPE_CHECKING

import numpy as np

from napari_cmrcnet.viewer.boundary import KEY, layer_placement, to_napari
from napari_cmrcnet.viewer.display_settings import View

if TYPE_CHECKING:
    import napari
    from napari.layers import Points

    from napari_cmrcnet.viewer.session import Session

LARGER = 1.8  # diameter of a ring, in spots
WIDTHS = (0.3, 0.1)  # of the dark ring, which the white one covers by half, in diameters
LEAST_PX, FEW = 14, 10  # on the screen; where more spots are selected, small rings would hide each other


class SelectionRings:
    """Adds a layer of rings to the group of each view, from the first selection on.

    A ring is a white one around a dark one: on any colour, one of both stands out.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where to draw.
    session : Session
        Whose spots are selected.
    """

    def __init__(self, viewer: "napari.viewer.Viewer", session: "Session") -> None:
        self.viewer, self.session = viewer, session
        self._layers: dict[View, Points] = {}

    @property
    def lacking(self) -> bool:
        """Whether there are none yet, and spots are selected."""
        return not self._layers and self.session.selected.size > 0

    def of(self, view: View) -> "list[Points]":
        """Return the layer of a view's group; none before anything was selected."""
        if not self._layers and not self.session.selected.size:
            return []
        if view not in self._layers or self._layers[view] not in self.viewer.layers:
            self._layers[view] = self._add()
        return [self._layers[view]]

    def _add(self) -> "Points":
        case = self.session.case
        assert case is not None
        layer = self.viewer.add_points(
            np.empty((0, 2)),
            blending="translucent_no_depth",
            name="selected spots",
            metadata={KEY: {"copy": True}},
            **layer_placement(case.provenance.mpp or None),
        )
        self._draw(layer)
        layer.locked, layer.editable = True, False
        return layer

    def draw(self) -> None:
        """Ring the spots that are selected now."""
        for layer in self._layers.values():
            self._draw(layer)

    def _draw(self, layer: "Points") -> None:
        case, spots = self.session.case, self.session.selected
        if case is None:
            return
        rows, dark = to_napari(case.xy[spots]), np.arange(2 * len(spots)) < len(spots)
        layer.data = np.concatenate([rows, rows])
        layer.selected_data, layer.editable = set(), False
        if not len(spots):
            return  # napari takes no colours of none
        layer.size = LARGER * case.spot_diameter * max(1.0, self.session.display.spot_size)
        layer.face_color = "transparent"
        layer.border_color = np.where(dark[:, None], (0.0, 0.0, 0.0, 1.0), (1.0, 1.0, 1.0, 1.0))
        layer.border_width = np.where(dark, *WIDTHS)
        layer.canvas_size_limits = (LEAST_PX if len(spots) <= FEW else 1, 10000)

    def show_in(self, views: tuple[View, ...]) -> None:
        """Let the rings in these views be seen."""
        for view, layer in self._layers.items():
            layer.visible = view in views

    def clear(self) -> None:
        """Remove all."""
        for layer in self._layers.values():
            if layer in self.viewer.layers:
                self.viewer.layers.remove(layer)
        self._layers = {}
