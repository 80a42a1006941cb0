"""The layers of a session: histology, and spots coloured by a gene, in cells side by side or overlaid.

A view has a group of layers: its own copy of the histology (the copies share the slide's tile cache), its spots, and a
copy of the regions where there are any. napari's grid puts each group into a cell and leaves out groups that are
hidden, so that going from side by side to overlaid changes what is visible and moves nothing. The layers are locked: a
group that lacks one would shift all cells.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cmrcnet.evaluation.headline import in_lines
from napari_cmrcnet.retrieval.leaks import counted
from napari_cmrcnet.viewer.boundary import from_napari
from napari_cmrcnet.viewer.colour_bar import KEY
from napari_cmrcnet.viewer.look import VIEWS, Look, View
from napari_cmrcnet.viewer.region_layer import REGIONS, RegionLayer
from napari_cmrcnet.viewer.region_mirrors import RegionMirrors
from napari_cmrcnet.viewer.slide_layer import slide_layer, slide_path
from napari_cmrcnet.viewer.spot_layer import colour, show_legends, spot_settings, symbols

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Points

    from napari_cmrcnet.viewer.session import Session

CLICK_PX = 5  # a press that moves further on the screen is a drag


class SectionLayers:
    """Draws a session into a viewer, and hears its clicks.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where to draw.
    session : Session
        What to draw.
    """

    def __init__(self, viewer: "napari.viewer.Viewer", session: "Session") -> None:
        self.viewer = viewer
        self.session = session
        self.points: dict[View, Points] = {}
        self.slides: dict[View, Image] = {}
        self.regions = RegionLayer(viewer)
        self.mirrors = RegionMirrors(viewer)
        self._drawing = False
        self._fit_next = False
        self._drawn: dict[View, tuple[Any, ...]] = {}  # what each layer shows, so that nothing is uploaded twice
        session.prediction_changed.connect(self._on_prediction)
        session.shown_changed.connect(self.draw)
        session.look_changed.connect(self._on_look)
        session.selection_changed.connect(self._draw_selection)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.mouse_drag_callbacks.append(self._on_press)
        for key, act in (("f", session.flip), ("Up", lambda: session.step(-1)), ("Down", lambda: session.step(1))):
            viewer.bind_key(key, _quietly(act), overwrite=True)

    @property
    def shown_views(self) -> tuple[View, ...]:
        """The views that are to be seen, in the order of the cells; those that need measurements only with them."""
        look, shown = self.session.look, self.session.shown
        measured = shown is not None and shown.measured is not None
        wanted = look.views if look.layout == "side by side" else (look.front,)
        views = tuple(view for view in VIEWS if view in wanted and (measured or view in ("predicted", "confidence")))
        return views or ("predicted",)

    def draw(self) -> None:
        """Bring the visible layers up to date: groups, cells, colours and title."""
        if self.session.prediction is None or self.session.shown is None or self._drawing:
            return
        self._drawing = True
        try:
            views = self.shown_views
            changed = [view for view in views if self._lacks(view)]
            for view in changed:
                self._add(view)
            self._colour(views)
            if changed or views != self._visible():
                self._arrange(views)
            self.viewer.canvas.overlays.text.text = self.title
        finally:
            self._drawing = False

    @property
    def title(self) -> str:
        """What stands over the picture: what is shown, and how many warnings the View panel lists."""
        shown, warnings = self.session.shown, len(self.session.warnings)
        lines = [in_lines(shown.title)] if shown is not None else []
        return "\n".join([*lines, *([f"{counted(warnings)}: see View"] if warnings else [])])

    def fit(self) -> None:
        """Zoom to the spots of the whole section."""
        self.viewer.fit_to_view(layers=list(self.points.values())[:1], margin=0.1)

    def read_regions(self) -> None:
        """Take regions as they are drawn now; where none have ever been drawn, those of the session stay."""
        if self.regions.layer is None and not self.regions.known:
            return
        regions = self.regions.read()
        if regions != self.session.regions:
            self.session.set_regions(regions)

    def _on_prediction(self) -> None:
        for layer in [*self.points.values(), *self.slides.values()]:
            if layer in self.viewer.layers:
                self.viewer.layers.remove(layer)
        self.points.clear()
        self.slides.clear()
        self._drawn.clear()
        self.mirrors.clear()
        overlays = self.viewer.canvas.overlays
        here = self.session.prediction is not None
        overlays.text.visible = here
        if not here:
            self.viewer.canvas.grid.enabled = False
            return
        self._take_over_slide()
        overlays.text.position, overlays.text.font_size, overlays.text.box = "top_center", 10, True
        overlays.scale_bar.position, overlays.scale_bar.box = "bottom_left", True
        overlays.scale_bar.visible = overlays.scale_bar.gridded = True
        self._fit_next = True

    def _take_over_slide(self) -> None:
        """Remove the layer by which the user has opened the same slide: each view has the histology already."""
        slide = self.session.slide
        for layer in list(self.viewer.layers):
            if slide is not None and slide_path(layer) == slide.path.absolute():
                self.viewer.layers.remove(layer)

    def _lacks(self, view: View) -> bool:
        return view not in self.points or (self.session.slide is not None and view not in self.slides)

    def _add(self, view: View) -> None:
        prediction, slide = self.session.prediction, self.session.slide
        assert prediction is not None
        if slide is not None and view not in self.slides:
            levels, settings, _ = slide_layer(slide, prediction.provenance.mpp or None)
            self.slides[view] = self.viewer.add_image(levels, **settings | {"name": "H&E", "metadata": {KEY: {}}})
            self.slides[view].locked = True
        if view in self.points:
            return
        layer = self.viewer.add_points(**spot_settings(prediction, view, self.session.look))
        layer.locked = True
        layer.editable = False  # spots are data: they are neither moved nor deleted
        show_legends(layer)
        layer.selected_data = set(self.session.selected.tolist())
        self.points[view] = layer
        self._drawn.pop(view, None)

    def _colour(self, views: tuple[View, ...]) -> None:
        prediction, shown, look = self.session.prediction, self.session.shown, self.session.look
        assert prediction is not None
        assert shown is not None
        for view in views:
            drawn = (shown, look.percentiles, look.limits, look.from_zero, look.confidence, look.colormap)
            if self._drawn.get(view) != drawn:
                colour(self.points[view], view, shown, prediction, look)
                self._drawn[view] = drawn

    def _arrange(self, views: tuple[View, ...]) -> None:
        """Put each view's layers together at the bottom of the list, and show those of the given views."""
        groups = {view: self._group(view, views[0]) for view in VIEWS if view in self.points}
        wanted = [layer for group in groups.values() for layer in group]
        for index, layer in enumerate(wanted):
            here = self.viewer.layers.index(layer)
            if here != index:
                self.viewer.layers.move(here, index)
        regions = self.mirrors.source
        for view, group in groups.items():
            for layer in group:
                if layer != regions:  # that one is the user's to hide
                    layer.visible = view in views and (
                        layer in self._ours(view) or (regions is not None and regions.visible)
                    )
        stride = len(next(iter(groups.values())))
        side_by_side = self.session.look.layout == "side by side" and len(views) > 1
        self._set_grid(stride, len(views) if side_by_side else 1)
        front = self.points[views[-1]]
        if not any(layer for layer in self.viewer.layers.selection if layer not in wanted):
            self.viewer.layers.selection.active = front

    def _set_grid(self, stride: int, cells: int) -> None:
        """Divide the canvas into cells: two beside each other, three or four in a square."""
        grid = self.viewer.canvas.grid
        before = grid.shape[0] * grid.shape[1] if grid.enabled else 1
        shape = (1, cells) if cells < 3 else (2, 2)
        if (grid.stride, grid.shape, grid.enabled) != (stride, shape, cells > 1):
            grid.stride, grid.shape, grid.enabled = stride, shape, cells > 1
        if self._fit_next:
            self._fit_next = False
            self.fit()
        elif cells != before:  # what was in the cell stays in it, about
            self.viewer.scene.camera.zoom *= (before / cells) ** 0.5

    def _group(self, view: View, first: View) -> list[Any]:
        slide = [self.slides[view]] if view in self.slides else []
        return [*slide, self.points[view], *self.mirrors.of(view, first)]

    def _ours(self, view: View) -> list[Any]:
        return [layer for layer in (self.slides.get(view), self.points[view]) if layer is not None]

    def _visible(self) -> tuple[View, ...]:
        return tuple(view for view in VIEWS if view in self.points and self.points[view].visible)

    def _on_look(self, new: Look, old: Look) -> None:
        for layer in self.points.values():
            if new.opacity != old.opacity:
                layer.opacity = new.opacity
            if new.spot_size != old.spot_size:
                layer.size = layer.size * (new.spot_size / old.spot_size)
            if new.mark_unlike != old.mark_unlike:
                assert self.session.prediction is not None
                layer.symbol = symbols(self.session.prediction, new)
        self.draw()

    def _draw_selection(self) -> None:
        for layer in self.points.values():
            layer.selected_data = set(self.session.selected.tolist())

    def _on_removed(self, event: Any) -> None:
        """Forget a layer that was unlocked and deleted; it comes back when its view is asked for again."""
        for kept in (self.points, self.slides):
            for view in [view for view, layer in kept.items() if layer is event.value or layer == event.value]:
                del kept[view]
                self._drawn.pop(view, None)
        if event.value.name == REGIONS:
            self._rearrange()

    def _on_inserted(self, _event: Any) -> None:
        """Keep our groups at the bottom, where the grid counts from, when the user adds a layer."""
        self._rearrange()

    def _rearrange(self) -> None:
        if self._drawing or not self.points:
            return
        self._drawing = True
        try:
            self._arrange(self._visible() or self.shown_views)
        finally:
            self._drawing = False

    def _on_press(self, viewer: Any, event: Any) -> Any:
        """Select the spot under a click; a drag pans as ever."""
        start = np.asarray(event.pos, float)
        yield
        moved = False
        while event.type == "mouse_move":
            moved = moved or float(np.abs(np.asarray(event.pos, float) - start).max()) > CLICK_PX
            yield
        prediction = self.session.prediction
        active = viewer.layers.selection.active
        if moved or prediction is None or (active is not None and str(getattr(active, "mode", "")) not in IDLE_MODES):
            return
        spot = self.spot_at(event.position)
        self.session.select([] if spot is None else [spot])

    def spot_at(self, position: Any) -> int | None:
        """Return the row of the spot at a position in the world, (row, column) in µm, or None beside all spots.

        The gaps of an array count too: the nearest spot is taken within its diameter.
        """
        prediction = self.session.prediction
        if prediction is None:
            return None
        mpp = prediction.provenance.mpp or 1.0
        xy = from_napari(np.asarray([position[-2:]], float) / mpp)
        distances = np.square(prediction.xy - xy).sum(axis=1)
        nearest = int(np.argmin(distances))
        (library,) = prediction.spots.uns["spatial"].values()
        reach = float(library["scalefactors"]["spot_diameter_fullres"]) * max(1.0, self.session.look.spot_size)
        return nearest if distances[nearest] <= reach**2 else None


IDLE_MODES = ("", "pan_zoom", "Mode.PAN_ZOOM")


def _quietly(act: Any) -> Any:
    """Return a key binding that does something with the session; napari hands it the viewer."""

    def bound(_viewer: Any) -> None:
        act()

    return bound
