"""The layers of the views, and the cells of the canvas that they lie in.

A view has a group of layers: its own copy of the histology (the copies share the slide's tile cache), its spots, and a
copy of the regions and rings around the selected spots, where there are any. napari's grid puts each group into a cell
and leaves out groups that are hidden, so that going from side by side to overlaid changes what is visible and moves
nothing. The layers are locked: a group that lacks one would shift all cells.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_cmrcnet.viewer.beside import Beside
from napari_cmrcnet.viewer.by_view import ByView
from napari_cmrcnet.viewer.cells import camera_of, fit_legends, fit_section, section_of, set_cells
from napari_cmrcnet.viewer.coloring import blended
from napari_cmrcnet.viewer.display_settings import VIEWS, View
from napari_cmrcnet.viewer.region_copies import add_copy, fill_copy
from napari_cmrcnet.viewer.region_layer import RegionLayer
from napari_cmrcnet.viewer.selection_rings import add_rings, draw_rings
from napari_cmrcnet.viewer.slide_layer import add_histology
from napari_cmrcnet.viewer.spot_layer import (
    MOST_POINTS,
    add_spots,
    colour,
    colour_classes,
    cut_spots,
    pinned_genes,
    show_legends,
    symbols,
)

if TYPE_CHECKING:
    import napari

    from napari_cmrcnet.evaluation.shown import Shown
    from napari_cmrcnet.viewer.session import Session


class ViewGroups:
    """Adds, colours and arranges the layers of a session's views.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where they are.
    session : Session
        What they show.
    regions : RegionLayer
        The layer of regions, which lies in the group of the first view.
    on_eye : callable
        Called with napari's event where the eye of a layer is opened or closed.

    Attributes
    ----------
    points, slides, copies, rings : ByView
        Spots and histology of each view, and where there are any, copies of the regions and rings round selected spots.
    arranged : tuple of str
        The views that were put into cells.
    line : float or None
        Where measured ends and predicted begins in the layout swipe, in the scene's unit; None in others.
    line_changed : Signal
        Emitted after the line was moved, came or went.
    """

    line_changed = Signal()

    def __init__(
        self, viewer: "napari.viewer.Viewer", session: "Session", regions: RegionLayer, on_eye: Callable[[Any], None]
    ) -> None:
        self.viewer, self.session, self.regions, self._on_eye = viewer, session, regions, on_eye
        self.slides, self.points, self.copies, self.rings = (ByView(viewer) for _ in range(4))
        self.beside = Beside(viewer, session)
        self._kinds = (self.slides, self.points, *self.beside.kinds, self.copies, self.rings)  # from the bottom
        self.arranged: tuple[View, ...] = ()
        self.line: float | None = None
        self._layout = session.display.layout  # in which they were
        self._slide: tuple[Any, Any] = (None, None)  # of which slide, and with which µm per pixel, the histology is
        self._spots: np.typing.NDArray[np.float64] | None = None  # places and diameter; None of a picture of very many
        self._fitted: Any = None  # the camera after the last fit: None before it
        self._pinned: tuple[Any, Any, tuple[Shown, ...]] = (None, (), ())  # of which case, and which genes are ticked
        self._drawn: dict[View, tuple[Any, ...]] = {}  # what each layer shows, so that nothing is uploaded twice
        regions.drawn.connect(self._fill_copies)
        regions.eye_changed.connect(self._show_copies)

    @property
    def blended(self) -> "Sequence[Shown]":
        """The genes that measured and predicted show together; none where they show one."""
        return blended(self._pinned[2], self.session.display)

    def clear(self) -> None:
        """Remove the layers of another case: at once, as napari goes through all of Python's objects after each.

        Histology and measured spots stay where they are the same: it takes long until new ones are drawn.
        """
        case, before = self.session.case, self._spots
        slide = (self.session.slide, None if case is None else case.provenance.mpp)
        self._spots = None if case is None or len(case) > MOST_POINTS else np.append(case.xy, case.spot_diameter)
        same = before is not None and self._spots is not None and np.array_equal(before, self._spots)
        slides = list(self.slides) if slide != self._slide else []
        points = [view for view in self.points if view != "measured" or slide != self._slide or not same]
        with self.viewer.layers.batched_update() if slides or points else nullcontext():
            self.beside.close()
            self.points.remove(points)
            self.slides.remove(slides)
            self.copies.remove()
            self.rings.remove()
        for layer in self.points.values():
            assert case is not None
            layer.symbol = symbols(case, self.session.display)
        self._drawn.clear()
        self._slide, self._pinned, self.arranged, self._fitted = slide, (None, (), ()), (), None

    def bring(self, views: tuple[View, ...], opened: set[str]) -> None:
        """Let there be the layers of these views and of those that the user has opened, arranged and up to date."""
        lacking = [view for view in VIEWS if view in opened.union(views) and self._lacks(view)]
        for view in lacking:
            self.add(view)
        self.slides.remove(self.slides.keys() - self.points.keys())
        if lacking or views != self.arranged or self.session.display.layout != self._layout:
            self.arrange(views)
        self.colour()

    def forget(self, layer: Any) -> None:
        """Forget a layer that was unlocked and deleted; it comes back when its view is asked for again."""
        for kind in self._kinds:
            kind.forget(layer)
        self._drawn = {view: drawn for view, drawn in self._drawn.items() if view in self.points}

    def fit(self) -> None:
        """Zoom to the spots of the whole section."""
        if self.points:
            fit_section(self.viewer, *self._section(), self.beside.above)
            self._fitted = camera_of(self.viewer)

    def _section(self) -> tuple[tuple[float, float], tuple[float, float]]:
        return section_of(next(iter(self.points.values())), self.beside.seen)

    def _lacks(self, view: View) -> bool:
        no_slide = self.session.slide is not None and view not in self.slides
        return view not in self.points or no_slide or self.beside.lacks(view)

    def add(self, view: View) -> None:
        """Add the layers of a view that are not there, at the end of the list."""
        case, slide = self.session.case, self.session.slide
        assert case is not None
        if self.beside.lacks(view):
            self.beside.add(view)
            self._drawn.pop(view, None)
        if slide is not None and view not in self.slides:
            self.slides[view] = add_histology(self.viewer, slide, case.provenance.mpp or None)
            self.slides[view].locked = True
            self.slides[view].events.visible.connect(self._on_eye)
        if view in self.points:
            return
        bounds = None if slide is None else slide.bounds
        layer = self.points[view] = add_spots(self.viewer, case, view, self.session.display, bounds)
        layer.locked = True
        layer.editable = False  # spots are data: they are neither moved nor deleted
        layer.events.visible.connect(self._on_eye)
        show_legends(layer)
        self._drawn.pop(view, None)

    def draw_rings(self) -> None:
        """Let the rings be where and as large as they are now."""
        case = self.session.case
        for layer in self.rings.values():
            assert case is not None
            draw_rings(layer, case, self.session.selected, self.session.display)

    def _fill_copies(self) -> None:
        for copy in self.copies.values():
            fill_copy(copy, self.regions.layer)

    def _show_copies(self) -> None:
        """Let the copies of the regions be seen while the layer that regions are drawn in is."""
        source = self.regions.layer
        self.copies.show_in(self._with_slide if source is not None and source.visible else ())

    def colour(self) -> None:
        """Bring all that can be seen up to date."""
        case, shown, display = self.session.case, self.session.shown, self.session.display
        assert case is not None
        assert shown is not None
        limits = (display.percentiles, display.limits, display.from_zero)
        if self._pinned[:2] != (case, self.session.ticked):
            self._pinned = case, self.session.ticked, pinned_genes(case, self.session.ticked)
        pinned = self._pinned[2]
        how = (limits, display.window_um, display.confidence, display.colormap, display.blend)
        of_gene = (shown, how, pinned, self.beside.case)
        for view, layer in self.points.items():
            drawn = (self.session.classes,) if view == "classes" else of_gene
            if (layer.visible or view in self.arranged) and self._drawn.get(view) != drawn:
                if view == "classes":
                    colour_classes(layer, self.session.classes)
                else:
                    colour(layer, view, shown, case, display, pinned, self.beside.common_limits(view, shown, display))
                self.beside.colour(view, layer, shown, display, bool(self.blended))
                self._drawn[view] = drawn
        self._show_bars()

    def arrange(self, views: tuple[View, ...]) -> None:
        """Put each view's layers together at the bottom of the list, and show those of the given views."""
        self.arranged, self._layout = views, self.session.display.layout
        self._bring_copies_and_rings()
        wanted = [layer for view in VIEWS if view in self.points for layer in self._group(view)]
        for index, layer in enumerate(wanted):
            here = self.viewer.layers.index(layer)
            if here != index:
                self.viewer.layers.move(here, index)
        for (view, kind), layer in self.by_eye().items():
            seen = views if kind == "spots" else self._with_slide
            layer.visible = self.session.eyes.get((view, kind), view in seen)
        if "measured" in self.points:  # in one cell, its name would lie over the other's; the line says which is where
            self.points["measured"].name_overlay.visible = not self._swiped
        self._show_copies()
        for layers in (*self.beside.kinds, self.rings):
            layers.show_in(views if self._with_slide == views else views[-1:])
        self.fill_cells()
        self.move_line(float(self.viewer.scene.camera.center[-1]) if self.line is None else self.line)
        if not any(layer for layer in self.viewer.layers.selection if layer not in wanted):
            self.viewer.layers.selection.active = self.points[views[-1]]

    def move_line(self, x: float) -> None:
        """Cut the spots of both views along a line in the layout swipe; in others, all are whole."""
        self.line = x if self._swiped else None
        for view, layer in self.points.items():
            cut_spots(layer, view, self.line if view in self.arranged else None)
        self.line_changed.emit()

    def fill_cells(self) -> None:
        """Give each view of which something is seen a cell of the canvas.

        A whole section is seen whole afterwards; where the user has zoomed, what was in a cell stays in it, about.
        """
        stride = len(self._group(next(view for view in VIEWS if view in self.points)))
        seen = self._seen
        several = self.session.display.layout == "side by side" and len(seen) > 1
        untouched = self._fitted is None or self._fitted == camera_of(self.viewer)
        cells = len(seen) if several else 1
        self.beside.place(cells)
        larger = set_cells(self.viewer, stride, cells, self._section()[1], self.beside.above)
        fit_legends(self.viewer, self.points.values(), self.beside.case is not None)
        self._show_bars()
        if untouched:
            self.fit()
        else:
            self.viewer.scene.camera.zoom *= larger

    @property
    def _seen(self) -> list[View]:
        seen = {view for (view, _), layer in self.by_eye().items() if layer.visible}
        return [view for view in self.arranged if view in self.points and view in seen]

    def _show_bars(self) -> None:
        """Show the colour bars of measured and predicted.

        Side by side they have one scale, and one bar. Several genes at once have none: their inks are named.
        """
        shared, blended = {"measured", "predicted"} <= set(self._seen), bool(self.blended)
        for view in self.points.keys() & {"measured", "predicted"}:
            self.points[view].face_colorbar.visible = not (blended or (shared and view == "measured"))

    @property
    def _swiped(self) -> bool:
        return self.session.display.layout == "swipe" and len(self.arranged) > 1

    @property
    def _with_slide(self) -> tuple[View, ...]:
        """The views whose histology and regions are seen: in the layout swipe, one's lie below the spots of both."""
        return self.arranged[:1] if self.session.display.layout == "swipe" else self.arranged

    def _bring_copies_and_rings(self) -> None:
        case, source = self.session.case, self.regions.layer
        assert case is not None
        self.copies.remove(VIEWS if source is None else self.arranged[:1])
        for view in self.points:
            if source is not None and view != self.arranged[0] and view not in self.copies:
                self.copies[view] = add_copy(self.viewer, source)
            if (self.rings or self.session.selected.size) and view not in self.rings:
                self.rings[view] = add_rings(self.viewer, case, self.session.selected, self.session.display)

    def _group(self, view: View) -> list[Any]:
        """Return the layers of a view's group, from the bottom."""
        drawn_in = self.regions.layer if view == self.arranged[0] else None
        regions = self.copies if drawn_in is None else {view: drawn_in}
        kinds = (regions if kind is self.copies else kind for kind in self._kinds)
        return [layers[view] for layers in kinds if view in layers]

    def by_eye(self) -> dict[tuple[str, str], Any]:
        """Return our layers, called as in `Session.eyes`."""
        kinds = {"spots": self.points, "slide": self.slides}
        return {(view, kind): layer for kind, layers in kinds.items() for view, layer in layers.items()}
