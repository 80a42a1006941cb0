"""The Shapes layer of regions: drawn from them, and read back as the user edits it. Free of Qt.

A row of the layer is a region, with its holes and islands (see `region_outline`). A region keeps its exact geometry
until its own shape is edited.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_cmrcnet.sections.regions import RGB, Region, class_colour
from napari_cmrcnet.viewer.boundary import layer_placement, placement_of
from napari_cmrcnet.viewer.region_outline import Outline, Row, column, outline, read_rows

if TYPE_CHECKING:
    import napari
    from napari.layers import Shapes

REGIONS = "Regions"
"""The name of the layer."""

CORNERS = 4000  # drawn in all, and at most 500 a region: napari takes a millisecond each without its compiled parts


class RegionLayer:
    """Keeps the layer and the regions in step.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where the layer is, or will be.

    Attributes
    ----------
    creating : bool
        Whether the user is drawing a shape that is not closed yet.

    Notes
    -----
    Signals, without arguments: ``edited`` after the user has added, changed or removed shapes, or the layer;
    ``drawn`` after shapes or their colours have changed, by whomever, and ``eye_changed`` after the layer's eye has;
    ``selected`` after the user has selected other shapes; ``tool_changed`` after another tool was taken. And
    ``undo_asked(forth)`` where the user takes a change back by Ctrl+Z, or makes it again by Ctrl+Shift+Z.
    """

    edited = Signal()
    drawn = Signal()
    eye_changed = Signal()
    selected = Signal()
    tool_changed = Signal()
    undo_asked = Signal(bool)

    def __init__(self, viewer: "napari.viewer.Viewer") -> None:
        self.viewer = viewer
        self._rows: list[Row] = []
        self._drawing = False  # by us
        self.creating = False
        self._labels: tuple[list[str], bytes] | None = None
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

    @property
    def drawing(self) -> bool:
        """Whether the tool for polygons is in use."""
        return self.layer is not None and str(self.layer.mode) == "add_polygon"

    @property
    def known(self) -> bool:
        """Whether regions were drawn or read before."""
        return bool(self._rows)

    def read(self) -> tuple[Region, ...]:
        """Return the regions as the layer has them now, each with a name."""
        layer = self.layer
        self._rows = [] if layer is None else read_rows(layer, self._rows, self._colours())
        return tuple(row.region for row in self._rows)

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
            row = known.get(id(region.geometry)) or Row(region, outline(region.geometry, most), "polygon")
            rows.append(replace(row, region=region))
        with self.drawn.paused(lambda told, _: told):  # and told once
            self._quietly(lambda: self._draw(layer or self._add(mpp), rows, mpp, width))

    def clear(self) -> None:
        """Remove the layer, and forget its regions."""
        layer = self.layer
        if layer is not None:
            self._quietly(lambda: self.viewer.layers.remove(layer))
            self.tool_changed.emit()
        self._rows = []

    def start_drawing(self, classification: str, mpp: float | None, width: float) -> None:
        """Make the layer if there is none, and take the tool for polygons; what is drawn gets a class."""
        layer = self.layer
        if layer is None:
            self._quietly(lambda: self._add(mpp))
            layer = self.layer
            assert layer is not None
        layer.visible = layer.editable = True
        layer.selected_data = set()
        layer.current_face_color = "transparent"
        layer.current_edge_width = width
        self.set_next(classification)
        self.viewer.layers.selection.active = layer
        layer.mode = "add_polygon"

    def stop_drawing(self) -> None:
        """Take the tool for moving about."""
        if self.drawing:
            self.layer.mode = "pan_zoom"  # type: ignore[union-attr]

    def set_next(self, classification: str) -> None:
        """Let the regions drawn from now on be of a class."""
        layer = self.layer
        if layer is None:
            return
        colour = self._colours().get(classification) or class_colour(classification)
        layer.feature_defaults = {"name": [""], "classification": [classification]}
        layer.current_edge_color = "#{:02x}{:02x}{:02x}".format(*colour)

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
            return placement_of(slides[0])
        return layer_placement(mpp)

    def _draw(self, layer: "Shapes", rows: list[Row], mpp: float | None, width: float) -> None:
        if mpp is not None:
            for name, value in layer_placement(mpp).items():
                if not np.array_equal(getattr(layer, name), value):
                    setattr(layer, name, value)
        colours = np.array([(*row.region.shown_colour, 255) for row in rows]).reshape(-1, 4) / 255
        self._draw_outlines(layer, rows, colours, width)
        if not rows:
            return
        names = [row.region.name for row in rows]
        classes = [row.region.classification for row in rows]
        features = layer.features
        if column(features, "name", len(rows)) != names or column(features, "classification", len(rows)) != classes:
            layer.features = {"name": np.array(names, object), "classification": np.array(classes, object)}
        if not np.allclose(layer.edge_color, colours, atol=1e-3):
            layer.edge_color = colours
        if np.any(layer.face_color):
            layer.face_color = "transparent"
        if set(layer.edge_width) != {width}:
            layer.edge_width = width
        labels = (names, colours.tobytes())
        if labels != self._labels:
            self._labels = labels
            layer.text = labels_in(colours)

    def _draw_outlines(self, layer: "Shapes", rows: list[Row], colours: Outline, width: float) -> None:
        """Draw the outlines again from the first that differs."""
        here = [np.asarray(data, np.float64).tobytes() for data in layer.data]
        wanted = [row.data.tobytes() for row in rows]
        # napari counts a corner too many in what was drawn by hand, until it is added again (napari issue 9352)
        again = not self.creating and any(row.fresh for row in rows)
        if here != wanted or again:
            if self.creating:
                layer.mode = "pan_zoom"  # ends what is being drawn, which napari would look for in vain
            selected = set(layer.selected_data) if len(layer.data) == len(rows) else set()
            alike = [one == two and not row.fresh for one, two, row in zip(here, wanted, rows, strict=False)]
            first = [*alike, False].index(False)
            layer.remove(list(range(first, len(layer.data))))
            if rows[first:]:
                layer.add(
                    [row.data for row in rows[first:]],
                    shape_type=[row.shape_type for row in rows[first:]],
                    edge_width=width,
                    edge_color=colours[first:],
                    face_color="transparent",
                )
            layer.selected_data = selected
            self._labels = None
            rows = [replace(row, fresh=False) for row in rows]
        shown = [np.asarray(data, np.float64) for data in layer.data]  # as napari keeps them, to be known again
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
            layer.events.edge_color.connect(lambda _event: self.drawn.emit())
            layer.events.visible.connect(lambda _event: self.eye_changed.emit())
            layer.events.highlight.connect(self._on_highlight)
            layer.events.mode.connect(lambda _event: self.tool_changed.emit())
            layer.bind_key("Control-Z", lambda _: self.undo_asked.emit(False), overwrite=True)
            layer.bind_key("Control-Shift-Z", lambda _: self.undo_asked.emit(True), overwrite=True)
            self.creating, self._labels = False, None
        self._attached = layer
        self._selection = self.selection

    def _on_layers(self, _event: Any) -> None:
        before = self._attached
        self._attach()
        if not self._drawing and before != self._attached:
            self.edited.emit()
            self.tool_changed.emit()

    def _on_data(self, event: Any) -> None:
        action = str(getattr(event, "action", ""))
        if action in ("adding", "added"):  # drawn by hand, the first comes with the first corner
            self.creating = action == "adding"
        if action.endswith("ing"):  # napari tells a change before and after it is made
            return
        self.drawn.emit()
        if not self._drawing:
            self.edited.emit()

    def _on_highlight(self, _event: Any) -> None:
        before, self._selection = self._selection, self.selection
        if not self._drawing and self._selection != before:
            self.selected.emit()


def labels_in(colours: Outline) -> dict[str, Any]:
    """Return what napari takes for the names of regions, each dark in its colour, (regions, 4), at their corners."""
    dark = colours * (0.3, 0.3, 0.3, 1)
    return {"string": "{name}", "size": 13, "anchor": "upper_left", "color": {"array": dark, "default": dark[-1]}}
