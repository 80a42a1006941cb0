"""Layers of one kind, one in the group of each view."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from napari_cmrcnet.viewer.display_settings import VIEWS, View

if TYPE_CHECKING:
    import napari


class ByView(dict[View, Any]):
    """Layers of one kind, by the view in whose group they are.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where they are.
    """

    def __init__(self, viewer: "napari.viewer.Viewer") -> None:
        super().__init__()
        self.viewer = viewer

    def remove(self, views: Iterable[View] = VIEWS) -> None:
        """Remove the layers of some views, or all."""
        for view in views:
            layer = self.pop(view, None)
            if layer is not None and layer in self.viewer.layers:
                self.viewer.layers.remove(layer)

    def forget(self, layer: Any) -> None:
        """Forget a layer that was removed from the viewer."""
        for view in [view for view, one in self.items() if one == layer]:
            del self[view]

    def show_in(self, views: Iterable[View]) -> None:
        """Let the layers of these views be seen, and no others."""
        for view, layer in self.items():
            layer.visible = view in views
