"""Measured on the left of a line across the section, predicted on the right of it."""

from typing import TYPE_CHECKING

from psygnal import Signal

if TYPE_CHECKING:
    import napari

    from napari_cmrcnet.viewer.view_groups import ViewGroups


class Swipe:
    """Cuts the spots of both views along the line by napari's clipping planes: no spot is coloured again.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Whose canvas it is.
    groups : ViewGroups
        Whose spots are cut.

    Attributes
    ----------
    x : float or None
        Where the line is, in the scene's unit; None where there is none.
    changed : Signal
        Emitted after the spots were cut, or are whole again.
    """

    changed = Signal()

    def __init__(self, viewer: "napari.viewer.Viewer", groups: "ViewGroups") -> None:
        self.viewer, self.groups = viewer, groups
        self.x: float | None = None

    @property
    def at(self) -> float:
        """Where the line is on the canvas, in shares of its width; at an edge where it would be out of sight."""
        camera, x = self.viewer.scene.camera, self.x or 0.0
        return min(max(0.5 + (x - camera.center[-1]) * camera.zoom / self.viewer.canvas.size[1], 0.0), 1.0)

    def move(self, at: float) -> None:
        """Move the line, in shares of the canvas's width."""
        camera = self.viewer.scene.camera
        self.x = float(camera.center[-1] + (min(max(at, 0.0), 1.0) - 0.5) * self.viewer.canvas.size[1] / camera.zoom)
        self.cut()

    def cut(self) -> None:
        """Cut the spots along the line, which begins in the middle; they are whole where none is asked for."""
        views = self.groups.session.shown_views
        if self.groups.session.display.layout != "swipe" or len(views) < 2:
            self.x = None
        elif self.x is None:
            self.x = float(self.viewer.scene.camera.center[-1])
        for view, layer in self.groups.points.items():
            planes = []
            if self.x is not None and view in views:
                normal = (0.0, 0.0, -1.0 if view == "measured" else 1.0)
                planes = [{"position": (0.0, 0.0, self.x), "normal": normal, "enabled": True}]
            if planes or layer.experimental_clipping_planes:
                layer.experimental_clipping_planes = planes
        self.changed.emit()
