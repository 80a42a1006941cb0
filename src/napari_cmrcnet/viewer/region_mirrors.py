"""Copies of the regions for the cells of the canvas that the layer they are drawn in is not in."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from napari_cmrcnet.viewer.boundary import KEY, placement_of
from napari_cmrcnet.viewer.display_settings import View
from napari_cmrcnet.viewer.region_layer import REGIONS, labels_in, regions_layer

if TYPE_CHECKING:
    import napari
    from napari.layers import Shapes


class RegionMirrors:
    """Shows the regions in every cell: drawn in one, copied into the others whenever they change.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where the layer of regions is looked for, by its name.
    """

    def __init__(self, viewer: "napari.viewer.Viewer") -> None:
        self.viewer = viewer
        self._copies: dict[View, Shapes] = {}
        self._views: Sequence[View] = ()
        self._source: Shapes | None = None

    @property
    def source(self) -> "Shapes | None":
        """The layer that regions are drawn in, None where there is none."""
        found = regions_layer(self.viewer)
        if found != self._source:
            self._source = found
            if found is not None:
                for event in (found.events.data, found.events.edge_color, found.events.features):
                    event.connect(self._copy)
                found.events.visible.connect(self._follow_eye)
        return found

    def of(self, view: View, first: View) -> "list[Shapes]":
        """Return the layer of regions in a view's group: itself in the first view's, a copy in the others'."""
        source = self.source
        if source is None:
            self.clear()
            return []
        if view == first:
            self._remove(view)
            return [source]
        if view not in self._copies or self._copies[view] not in self.viewer.layers:
            self._copies[view] = self.viewer.add_shapes(
                name=f"{REGIONS} (copy)",
                **placement_of(source),
                metadata={KEY: {"copy": True}},
                opacity=1.0,
            )
            self._copies[view].locked = True
            self._fill(self._copies[view])
        return [self._copies[view]]

    def show_in(self, views: "Sequence[View]") -> None:
        """Let the copies in these views be seen, while the layer that regions are drawn in is."""
        self._views = views
        self._follow_eye()

    def _follow_eye(self, _event: Any = None) -> None:
        for view, copy in self._copies.items():
            copy.visible = view in self._views and self._source is not None and bool(self._source.visible)

    def clear(self) -> None:
        """Remove all copies."""
        for view in list(self._copies):
            self._remove(view)

    def _remove(self, view: View) -> None:
        copy = self._copies.pop(view, None)
        if copy is not None and copy in self.viewer.layers:
            self.viewer.layers.remove(copy)

    def _copy(self, event: Any = None) -> None:
        action = str(getattr(event, "action", ""))
        if action.endswith("ing"):  # napari tells a change before it is made and after it
            return
        for copy in self._copies.values():
            self._fill(copy)

    def _fill(self, copy: "Shapes") -> None:
        source = self._source
        if source is None:
            return
        copy.editable = True
        copy.selected_data = set(range(len(copy.data)))
        copy.remove_selected()
        if len(source.data):
            copy.add(
                source.data,
                shape_type=source.shape_type,
                edge_width=source.edge_width,
                edge_color=source.edge_color,
                face_color=source.face_color,
            )
            if "name" in source.features:
                copy.features = source.features
                copy.text = labels_in(source.edge_color)
        copy.editable = False
