"""The Shapes layer of regions: drawn from them, and read back as the user edits it. Free of Qt.

A row of the layer is a region, with its holes and islands (see `region_outline`). A region keeps its exact geometry
until its own shape is edited.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_cmrcnet.sections.regions import RGB, Region, class_colour, with_names
from napari_cmrcnet.viewer.boundary import layer_placement
from napari_cmrcnet.viewer.region_outline import Outline, area, edited, outline

if TYPE_CHECKING:
    import napari
    from napari.layers import Shapes

REGIONS = "Regions"
"""The name of the layer."""

CORNERS = 4000  # drawn in all, and at most 500 a region: napari takes a millisecond each without its compiled parts


@dataclass(frozen=True, eq=False)
class _Row:
    """A region as the layer shows it: (row, column) of its outline, and the kind of shape."""

    region: Region
    data: Outline
    shape_type: str


class RegionLayer:
    """Keeps the layer and the regions in step.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where the layer is, or will be.

    Notes
    -----
    Signals, without arguments: ``edited`` after the user has added, changed or removed shapes, or the layer;
    ``selected`` after the user has selected other shapes.
    """

    edited = Signal()
    selected = Signal()

    def __init__(self, viewer: "napari.viewer.Viewer") -> None:
        self.viewer = viewer
        self._rows: list[_Row] = []
        self._drawing = False
        self._attached: Shapes | None = None
        viewer.layers.events.inserted.connect(self._on_layers)
        viewer.layers.events.removed.connect(self._on_layers)
        self._attach()

    @property
    def layer(self) -> "Shapes | None":
        """The layer, None where there is none."""
        shapes = (layer for layer in self.viewer.layers if layer.name == REGIONS and hasattr(layer, "shape_type"))
        return next(shapes, None)

    @property
    def selection(self) -> tuple[int, ...]:
        """Which regions are selected in the layer."""
        layer = self.layer
        return () if layer is None else tuple(sorted(layer.selected_data))

    def select(self, indices: Iterable[int]) -> None:
        """Select regions in the layer."""
        layer = self.layer
        if layer is not None:
            self._quietly(lambda: setattr(layer, "selected_data", set(indices)))

    def read(self) -> tuple[Region, ...]:
        """Return the regions as the layer has them now, each with a name."""
        layer = self.layer
        if layer is None:
            self._rows = []
            return ()
        shapes = list(zip(layer.data, layer.shape_type, strict=True))
        features = layer.features
        names, classes = (_column(features, column, len(shapes)) for column in ("name", "classification"))
        known = {row.data.tobytes(): row for row in self._rows}
        rows: list[_Row] = []
        for index, (data, shape_type) in enumerate(shapes):
            corners = np.asarray(data, np.float64)
            row = known.pop(corners.tobytes(), None)
            if row is None and len(shapes) == len(self._rows):
                row = _edited(self._rows[index], corners, str(shape_type))
            if row is None:  # drawn or pasted; a pasted one has the name of the one copied
                row = _Row(Region("", "", area(corners, str(shape_type))), corners, str(shape_type))
                names[index] = "" if names[index] in names[:index] else names[index]
            rows.append(row)
        colours = self._colours()
        regions = with_names(
            _called(row.region, name, kind, colours) for row, name, kind in zip(rows, names, classes, strict=True)
        )
        self._rows = [replace(row, region=region) for row, region in zip(rows, regions, strict=True)]
        return regions

    def draw(self, regions: Sequence[Region], mpp: float | None = None, width: float = 10.0) -> None:
        """Show regions; what is as it should be is left alone, with the selection and the tool in use.

        Parameters
        ----------
        regions : sequence of Region
            All of them.
        mpp : float or None
            µm per full-resolution pixel; None takes the scale of the slide in the viewer.
        width : float
            Of the lines, in full-resolution pixels.
        """
        layer = self.layer
        if layer is None and not regions:
            self._rows = []
            return
        known = {id(row.region.geometry): row for row in self._rows}
        most = int(np.clip(CORNERS / max(len(regions), 1), 24, 500))
        rows = []
        for region in regions:
            row = known.get(id(region.geometry)) or _Row(region, outline(region.geometry, most), "polygon")
            rows.append(replace(row, region=region))
        self._quietly(lambda: self._draw(layer or self._add(mpp), rows, mpp, width))

    def start_drawing(self, classification: str, mpp: float | None, width: float) -> None:
        """Make the layer if there is none, and take the tool for polygons; what is drawn gets a class."""
        layer = self.layer
        if layer is None:
            self._quietly(lambda: self._add(mpp))
            layer = self.layer
            assert layer is not None
        layer.visible = layer.editable = True
        layer.selected_data = set()
        layer.feature_defaults = {"name": [""], "classification": [classification]}
        colour = self._colours().get(classification) or class_colour(classification)
        layer.current_edge_color = "#{:02x}{:02x}{:02x}".format(*colour)
        layer.current_face_color = "transparent"
        layer.current_edge_width = width
        self.viewer.layers.selection.active = layer
        layer.mode = "add_polygon"

    def _colours(self) -> dict[str, RGB | None]:
        """Return the colours that classes have, which a file may have given them."""
        return {row.region.classification: row.region.colour for row in self._rows}

    def _add(self, mpp: float | None) -> "Shapes":
        return self.viewer.add_shapes(
            name=REGIONS,
            ndim=2,
            features={"name": np.empty(0, object), "classification": np.empty(0, object)},
            opacity=1.0,
            **self._placement(mpp),
        )

    def _placement(self, mpp: float | None) -> dict[str, Any]:
        slides = [layer for layer in self.viewer.layers if getattr(layer, "rgb", False) and layer.ndim == 2]
        if mpp is None and slides:
            return {name: getattr(slides[0], name) for name in ("scale", "units", "axis_labels")}
        return layer_placement(mpp)

    def _draw(self, layer: "Shapes", rows: list[_Row], mpp: float | None, width: float) -> None:
        if mpp is not None:
            for name, value in layer_placement(mpp).items():
                if not np.array_equal(getattr(layer, name), value):
                    setattr(layer, name, value)
        self._draw_outlines(layer, rows)
        if not rows:
            return
        names = [row.region.name for row in rows]
        classes = [row.region.classification for row in rows]
        colours = np.array([(*row.region.shown_colour, 255) for row in rows]) / 255
        features = layer.features
        if _column(features, "name", len(rows)) != names or _column(features, "classification", len(rows)) != classes:
            layer.features = {"name": np.array(names, object), "classification": np.array(classes, object)}
        if not np.allclose(layer.edge_color, colours, atol=1e-3):
            layer.edge_color = colours
        if np.any(layer.face_color):
            layer.face_color = "transparent"
        if set(layer.edge_width) != {width}:
            layer.edge_width = width
        text = {"array": colours, "default": colours[-1]}
        layer.text = {"string": "{name}", "size": 10, "anchor": "center", "color": text}

    def _draw_outlines(self, layer: "Shapes", rows: list[_Row]) -> None:
        """Remove and add only what differs: napari is slow to add a shape."""
        here = [np.asarray(data, np.float64).tobytes() for data in layer.data]
        wanted = [row.data.tobytes() for row in rows]
        needed = set(wanted)
        kept = [data for data in here if data in needed]
        if kept != wanted[: len(kept)]:  # another order
            kept, needed = [], set()
        gone = {index for index, data in enumerate(here) if data not in needed}
        if gone:
            layer.selected_data = gone
            layer.remove_selected()
        new = rows[len(kept) :]
        if new:
            layer.add([row.data for row in new], shape_type=[row.shape_type for row in new])
        # as napari keeps them, to be known again
        shown = [np.asarray(data, np.float64) for data in layer.data]
        self._rows = [replace(row, data=data) for row, data in zip(rows, shown, strict=True)]

    def _quietly(self, act: Any) -> None:
        """Do something to the layer that is not the user's doing."""
        before, self._drawing = self._drawing, True
        try:
            act()
        finally:
            self._drawing = before

    def _attach(self) -> None:
        layer = self.layer
        if layer is not None and layer != self._attached:
            layer.events.data.connect(self._on_data)
            layer.events.features.connect(self._on_data)
            layer.events.highlight.connect(self._on_highlight)
        self._attached = layer
        self._selection = self.selection

    def _on_layers(self, _event: Any) -> None:
        before = self._attached
        self._attach()
        if not self._drawing and before != self._attached:
            self.edited.emit()

    def _on_data(self, event: Any) -> None:
        action = str(getattr(event, "action", ""))
        if not self._drawing and not action.endswith("ing"):  # napari tells a change before and after it is made
            self.edited.emit()

    def _on_highlight(self, _event: Any) -> None:
        before, self._selection = self._selection, self.selection
        if not self._drawing and self._selection != before:
            self.selected.emit()


def _edited(row: _Row, data: Outline, shape_type: str) -> _Row:
    """Return a region after its shape has been edited."""
    if shape_type != row.shape_type:
        return _Row(replace(row.region, geometry=area(data, shape_type)), data, shape_type)
    geometry, data = edited(row.region.geometry, row.data, data, shape_type)
    return _Row(replace(row.region, geometry=geometry), data, shape_type)


def _called(region: Region, name: str, classification: str, colours: Mapping[str, RGB | None]) -> Region:
    if classification == region.classification and region.name:
        return replace(region, name=name)
    return replace(region, name=name, classification=classification, colour=colours.get(classification))


def _column(features: Any, name: str, n: int) -> list[str]:
    """Return a column of a layer's features as texts, ``""`` where there is none."""
    values = features[name].tolist() if name in features else [""] * n
    return [value.strip() if isinstance(value, str) else "" for value in values]
