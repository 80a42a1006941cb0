"""Copies of the regions for the cells of the canvas that the layer they are drawn in is not in."""

from typing import TYPE_CHECKING

from napari_cmrcnet.viewer.boundary import KEY, placement_of
from napari_cmrcnet.viewer.region_layer import REGIONS, labels_in

if TYPE_CHECKING:
    import napari
    from napari.layers import Shapes


def add_copy(viewer: "napari.viewer.Viewer", source: "Shapes") -> "Shapes":
    """Add a layer that shows what the layer of regions does."""
    copy = viewer.add_shapes(
        name=f"{REGIONS} (copy)",
        **placement_of(source),
        metadata={KEY: {"copy": True}},
        opacity=1.0,
    )
    copy.locked = True
    fill_copy(copy, source)
    return copy


def fill_copy(copy: "Shapes", source: "Shapes | None") -> None:
    """Let a copy show what the layer of regions does now, if it is there."""
    if source is None:
        return
    copy.remove(list(range(len(copy.data))))
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
