"""Clicks on the canvas that select a spot."""

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cmrcnet.viewer.boundary import from_napari

if TYPE_CHECKING:
    import napari

    from napari_cmrcnet.viewer.session import Session

CLICK_PX = 5  # a press that moves further on the screen is a drag
IDLE_MODES = ("", "pan_zoom", "Mode.PAN_ZOOM")


class SpotClicks:
    """Selects the spot that is clicked.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Whose clicks are heard.
    session : Session
        Whose spots they are of.
    keeps : object
        What the viewer keeps alive by its callback.
    """

    def __init__(self, viewer: "napari.viewer.Viewer", session: "Session", keeps: object) -> None:
        self.session, self._keeps = session, keeps
        viewer.mouse_drag_callbacks.append(self._on_press)

    def _on_press(self, viewer: Any, event: Any) -> Any:
        """Select the spot under a click; a drag pans as ever."""
        start = np.asarray(event.pos, float)
        yield
        moved = False
        while event.type == "mouse_move":
            moved = moved or float(np.abs(np.asarray(event.pos, float) - start).max()) > CLICK_PX
            yield
        case = self.session.case
        active = viewer.layers.selection.active
        if moved or case is None or (active is not None and str(getattr(active, "mode", "")) not in IDLE_MODES):
            return
        spot = self.spot_at(event.position)
        self.session.select([] if spot is None else [spot])

    def spot_at(self, position: Any) -> int | None:
        """Return the row of the spot at a position in the world, (row, column) in µm, or None beside all spots.

        The gaps of an array count too: the nearest spot is taken within its diameter.
        """
        case = self.session.case
        if case is None:
            return None
        mpp = case.provenance.mpp or 1.0
        xy = from_napari(np.asarray([position[-2:]], float) / mpp)
        distances = np.square(case.xy - xy).sum(axis=1)
        nearest = int(np.argmin(distances))
        reach = case.spot_diameter * max(1.0, self.session.display.spot_size)
        return nearest if distances[nearest] <= reach**2 else None
