"""Clicks on the canvas that select a spot."""

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cmrcnet.viewer.boundary import from_napari

if TYPE_CHECKING:
    from napari_cmrcnet.viewer.layers import SectionLayers
    from napari_cmrcnet.viewer.session import Session

CLICK_PX = 5  # a press that moves further on the screen is a drag
IDLE_MODES = ("", "pan_zoom", "Mode.PAN_ZOOM")


def hear_clicks(layers: "SectionLayers") -> None:
    """Let a click on a spot select it; a drag pans as ever. The viewer keeps the layers alive by this callback."""

    def on_press(viewer: Any, event: Any) -> Any:
        start = np.asarray(event.pos, float)
        yield
        moved = False
        while event.type == "mouse_move":
            moved = moved or float(np.abs(np.asarray(event.pos, float) - start).max()) > CLICK_PX
            yield
        session, active = layers.session, viewer.layers.selection.active
        busy = active is not None and str(getattr(active, "mode", "")) not in IDLE_MODES
        if not moved and session.case is not None and not busy:
            spot = _spot_at(session, event.position)
            session.select([] if spot is None else [spot])

    layers.viewer.mouse_drag_callbacks.append(on_press)


def _spot_at(session: "Session", position: Any) -> int | None:
    """Return the row of the spot at a position in the world, (row, column) in µm, or None beside all spots.

    The gaps of an array count too: the nearest spot is taken within its diameter.
    """
    case = session.case
    if case is None:
        return None
    mpp = case.provenance.mpp or 1.0
    xy = from_napari(np.asarray([position[-2:]], float) / mpp)
    distances = np.square(case.xy - xy).sum(axis=1)
    nearest = int(np.argmin(distances))
    reach = case.spot_diameter * max(1.0, session.display.spot_size)
    return nearest if distances[nearest] <= reach**2 else None
