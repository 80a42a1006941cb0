"""The layers of a session: histology, and spots coloured by a gene, in cells side by side or overlaid.

A view has a group of layers: its own copy of the histology (the copies share the slide's tile cache), its spots, and a
copy of the regions where there are any. napari's grid puts each group into a cell and leaves out groups that are
hidden, so that going from side by side to overlaid changes what is visible and moves nothing. The layers are locked: a
group that lacks one would shift all cells.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cmrcnet.evaluation.headline import in_lines
from napari_cmrcnet.retrieval.leaks import counted
from napari_cmrcnet.viewer.beside import Beside
from napari_cmrcnet.viewer.case_list import CaseList
from napari_cmrcnet.viewer.cells import fit_section, set_cells
from napari_cmrcnet.viewer.clicks import SpotClicks
from napari_cmrcnet.viewer.coloring import blended
from napari_cmrcnet.viewer.colour_bar import KEY
from napari_cmrcnet.viewer.display_settings import VIEWS, DisplaySettings, View
from napari_cmrcnet.viewer.legends import Legends
from napari_cmrcnet.viewer.other_slides import OtherSlides
from napari_cmrcnet.viewer.preview import remove_preview
from napari_cmrcnet.viewer.region_layer import REGIONS, RegionLayer
from napari_cmrcnet.viewer.region_mirrors import RegionMirrors
from napari_cmrcnet.viewer.region_outline import line_width
from napari_cmrcnet.viewer.slide_layer import slide_layer
from napari_cmrcnet.viewer.spot_layer import (
    add_spots,
    colour,
    colour_classes,
    pinned_genes,
    show_legends,
    symbols,
)
from napari_cmrcnet.viewer.swipe import Swipe

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Points

    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.slides.slide import Slide
    from napari_cmrcnet.viewer.session import Session
    from napari_cmrcnet.viewer.shown import Shown

REGIONS_EYE = ("", "regions")  # of the drawn regions, among the session's eyes


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
        self._others, self._legends = OtherSlides(viewer, session), Legends(viewer, self.points)
        self.beside = Beside(viewer, session)
        self._slide: tuple[Any, Any] = (None, None)  # of which slide, and with which µm per pixel, the histology is
        self._drawing = False
        self._fitted: Any = None  # the camera after the last fit: None before it
        self._arranged: tuple[View, ...] = ()  # the views that were put into cells
        self._layout = session.display.layout  # in which they were
        self._pinned: tuple[Any, Any, tuple[Shown, ...]] = (None, (), ())  # of which case, and which genes are ticked
        self._drawn: dict[View, tuple[Any, ...]] = {}  # what each layer shows, so that nothing is uploaded twice
        self.regions.undo_asked.connect(self.undo_regions)
        session.leaving.connect(self._on_leaving)
        session.arrived.connect(self._others.put_aside)
        self.cases = CaseList(session)  # hears of a change after the regions were read
        session.case_changed.connect(self._on_case)
        session.shown_changed.connect(self.draw)
        session.display_changed.connect(self._on_display)
        session.selection_changed.connect(self._draw_selection)
        session.ticked_changed.connect(self.draw)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.canvas.events.size.connect(self._on_resized)
        self.swipe = Swipe(viewer, self)
        self.clicks = SpotClicks(viewer, self.session, self)
        keys = {"f": session.flip, "w": session.swipe, "Up": lambda: session.step(-1), "Down": lambda: session.step(1)}
        for key, act in keys.items():
            viewer.bind_key(key, _quietly(act), overwrite=True)

    @property
    def shown_views(self) -> tuple[View, ...]:
        """The views that are to be seen, in the order of the cells: of those of which there is something to see."""
        display, there = self.session.display, self.session.views
        of_layout = {"side by side": display.views, "overlaid": (display.front,), "swipe": ("measured", "predicted")}
        wanted = of_layout[display.layout]
        views = tuple(view for view in there if view in wanted)
        return views or tuple(view for view in ("predicted", *there) if view in there)[:1]

    def draw(self) -> None:
        """Bring the visible layers up to date: groups, cells, colours and title."""
        if self.session.case is None or self.session.shown is None or self._drawing:
            return
        with self._by_us():
            views = self.shown_views
            if self._arranged and views != self._arranged:  # what was opened beside other views is closed
                self.session.eyes = {eye: False for eye, is_open in self.session.eyes.items() if not is_open}
            opened = {view for (view, _), is_open in self.session.eyes.items() if is_open}
            changed = [view for view in VIEWS if view in opened.union(views) and self._lacks(view)]
            for view in changed:
                self._add(view)
            self._remove(self.slides, [view for view in self.slides if view not in self.points])
            if changed or views != self._arranged or self.session.display.layout != self._layout:
                self._arrange(views)
            self._colour()
            self.viewer.canvas.overlays.text.text = self.title

    @property
    def title(self) -> str:
        """What stands over the picture: what is shown, and how many warnings the View panel lists."""
        shown, warnings = self.session.shown, len(self.session.warnings)
        titles = [title for title in (shown.title if shown is not None else "", self.beside.title) if title]
        lines = [in_lines(title, 60 * len(titles)) for title in titles]  # those of two cases leave room for both
        if shown is not None and (genes := blended(self._pinned[2], self.session.display)):
            lines = [f"{shown.section}   {', '.join(gene.name for gene in genes)} as colours"]
        return "\n".join([*lines, *([f"{counted(warnings)}: see View"] if warnings else [])])

    def fit(self) -> None:
        """Zoom to the spots of the whole section."""
        if self.points:
            fit_section(self.viewer, *self._section())
            self._fitted = self._camera()

    def _camera(self) -> Any:
        camera = self.viewer.scene.camera
        return (*camera.center, camera.zoom)

    def _section(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return centre and size of all spots, in the scene's unit."""
        layer = next(iter(self.points.values()))
        extents = np.stack([one.extent.world for one in (layer, *self.beside.seen)])
        low, high = extents[:, 0].min(axis=0), extents[:, 1].max(axis=0)
        size = high - low + layer.size.max() * layer.scale
        return tuple(((low + high) / 2).tolist()), tuple(size.tolist())

    def show_beside(self, case: "Case | None", slide: "Slide | None" = None) -> None:
        """Show a second case beside the first one, or none, as `Beside` says."""
        with self._by_us():
            self.viewer.canvas.grid.enabled = False  # as in `_on_case`
            if case is None:
                self.beside.close()
            else:
                self.beside.open(case, slide)
            self._arranged = ()
        self.draw()
        self.fit()

    def read_regions(self) -> None:
        """Take regions as they are drawn now; where none have ever been drawn, those of the session stay."""
        if self.regions.layer is None and not self.regions.known:
            return
        regions = self.regions.read()
        if regions != self.session.regions:
            self.session.set_regions(regions)

    def undo_regions(self, forth: bool = False) -> None:
        """Take the last change of the regions back, or make it again; not while one is being drawn."""
        if not self.regions.creating:
            self.read_regions()
            self.session.undo_regions(forth)
            with self._by_us():
                self.draw_regions()

    def _on_leaving(self) -> None:
        """Note what is of the case that is shown: its regions, and whether they are hidden."""
        self.read_regions()
        layer = self.regions.layer
        self.session.eyes = {**self.session.eyes, REGIONS_EYE: layer is None or bool(layer.visible)}

    def _on_case(self) -> None:
        """Remove all that was drawn of another case; what there is of this one is drawn when it is shown.

        The histology stays where it is the same: to read and upload it takes longer than all else.
        """
        case = self.session.case
        slide = (self.session.slide, None if case is None else case.provenance.mpp)
        with self._by_us():
            self.viewer.canvas.grid.enabled = False  # napari takes no layers away while a cell of theirs is drawn
            remove_preview(self.viewer)
            self.beside.close()
            self._remove(self.points, list(self.points))
            self._remove(self.slides, list(self.slides) if slide != self._slide else [])
            for kept in (self._drawn, self.mirrors):
                kept.clear()
            self._slide = slide
            self._pinned = (None, (), ())
            self._arranged = ()
            self.draw_regions()
        overlays = self.viewer.canvas.overlays
        overlays.text.visible = self.session.case is not None
        overlays.text.text = ""
        if self.session.case is None:
            return
        overlays.text.position, overlays.text.box = "top_center", True
        overlays.scale_bar.position, overlays.scale_bar.box = "bottom_left", True
        overlays.scale_bar.visible = overlays.scale_bar.gridded = True
        self._fitted = None

    def _remove(self, layers: dict[View, Any], views: list[View]) -> None:
        """Remove layers of these views."""
        for view in views:
            layer = layers.pop(view)
            if layer in self.viewer.layers:
                self.viewer.layers.remove(layer)

    def draw_regions(self) -> None:
        """Show the regions of this section in place of another's; those that are drawn already stay as they are."""
        if (self.regions.layer is not None or self.session.regions) and self.regions.read() != self.session.regions:
            self.regions.clear()
            case = self.session.case
            mpp = case.provenance.mpp or None if case is not None else None
            self.regions.draw(self.session.regions, mpp, line_width(case))
            if self.regions.layer is not None:
                self.regions.layer.visible = self.session.eyes.get(REGIONS_EYE, True)

    @contextmanager
    def _by_us(self) -> Iterator[None]:
        """Let nothing that is done meanwhile be taken for the user's doing."""
        self._drawing = True
        try:
            yield
        finally:
            self._drawing = False

    def _lacks(self, view: View) -> bool:
        no_slide = self.session.slide is not None and view not in self.slides
        return view not in self.points or no_slide or self.beside.lacks(view)

    def _add(self, view: View) -> None:
        case, slide = self.session.case, self.session.slide
        assert case is not None
        if self.beside.lacks(view):
            self.beside.add(view)
            self._drawn.pop(view, None)
        if slide is not None and view not in self.slides:
            levels, settings, _ = slide_layer(slide, case.provenance.mpp or None)
            self.slides[view] = self.viewer.add_image(levels, **settings | {"name": "H&E", "metadata": {KEY: {}}})
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
        layer.selected_data = set(self.session.selected.tolist())
        self._drawn.pop(view, None)

    def _colour(self) -> None:
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
            if (layer.visible or view in self._arranged) and self._drawn.get(view) != drawn:
                if view == "classes":
                    colour_classes(layer, self.session.classes)
                else:
                    colour(layer, view, shown, case, display, pinned, self.beside.common_limits(view, shown, display))
                self.beside.colour(view, layer, shown, display, bool(blended(pinned, display)))
                self._drawn[view] = drawn
        self._legends.show_bars(bool(blended(pinned, display)))

    def _arrange(self, views: tuple[View, ...]) -> None:
        """Put each view's layers together at the bottom of the list, and show those of the given views."""
        groups = {view: self._group(view, views[0]) for view in VIEWS if view in self.points}
        wanted = [layer for group in groups.values() for layer in group]
        for index, layer in enumerate(wanted):
            here = self.viewer.layers.index(layer)
            if here != index:
                self.viewer.layers.move(here, index)
        first = views[:1] if self.session.display.layout == "swipe" else views  # one slide below both views' spots
        for (view, kind), layer in self._by_eye().items():
            layer.visible = self.session.eyes.get((view, kind), view in (views if kind == "spots" else first))
        self.mirrors.show_in(first)
        self.beside.show_in(views[-1:] if first != views else views)
        self._arranged, self._layout = views, self.session.display.layout
        self.swipe.cut()
        self._fill_cells()
        front = self.points[views[-1]]
        if not any(layer for layer in self.viewer.layers.selection if layer not in wanted):
            self.viewer.layers.selection.active = front

    def _fill_cells(self) -> None:
        """Give each view of which something is seen a cell of the canvas.

        A whole section is seen whole afterwards; where the user has zoomed, what was in a cell stays in it, about.
        """
        stride = len(self._group(next(view for view in VIEWS if view in self.points), self._arranged[0]))
        seen = [view for view in self._arranged if any(layer.visible for layer in self._ours(view))]
        several = self.session.display.layout == "side by side" and len(seen) > 1
        untouched = self._fitted is None or self._fitted == self._camera()
        larger = set_cells(self.viewer, stride, len(seen) if several else 1, self._section()[1])
        self._legends.fit()
        self._legends.share_bar({"measured", "predicted"} <= set(seen))
        if untouched:
            self.fit()
        else:
            self.viewer.scene.camera.zoom *= larger

    def _group(self, view: View, first: View) -> list[Any]:
        slide = [self.slides[view]] if view in self.slides else []
        return [*slide, self.points[view], *self.beside.of(view), *self.mirrors.of(view, first)]

    def _ours(self, view: View) -> list[Any]:
        return [layer for layer in (self.slides.get(view), self.points[view]) if layer is not None]

    def _by_eye(self) -> dict[tuple[str, str], Any]:
        """Return our layers, called as in `Session.eyes`."""
        kinds = {"spots": self.points, "slide": self.slides}
        return {(view, kind): layer for kind, layers in kinds.items() for view, layer in layers.items()}

    def _on_display(self, new: DisplaySettings, old: DisplaySettings) -> None:
        drawn_as = ("opacity", "spot_size", "mark_out_of_distribution")
        if any(getattr(new, name) != getattr(old, name) for name in drawn_as):
            self.beside.clear()
        for layer in self.points.values():
            if new.opacity != old.opacity:
                layer.opacity = new.opacity
            if new.spot_size != old.spot_size:
                layer.size = layer.size * (new.spot_size / old.spot_size)
            if new.mark_out_of_distribution != old.mark_out_of_distribution:
                assert self.session.case is not None
                layer.symbol = symbols(self.session.case, new)
        self.draw()

    def _draw_selection(self) -> None:
        for layer in self.points.values():
            layer.selected_data = set(self.session.selected.tolist())

    def _on_resized(self, _event: Any) -> None:
        """Arrange the cells as they fit the canvas now; a section that is seen whole stays so."""
        self._legends.fit()
        if not self._drawing and self._arranged and self.points.keys() >= set(self._arranged):
            with self._by_us():
                self._fill_cells()

    def _on_removed(self, event: Any) -> None:
        """Forget a layer that was unlocked and deleted; it comes back when its view is asked for again."""
        if not self._drawing:
            eyes, gone = self.session.eyes, [eye for eye, layer in self._by_eye().items() if layer == event.value]
            self.session.eyes = {eye: eyes[eye] for eye in eyes if eye not in gone}
        for kept in (self.points, self.slides):
            for view in [view for view, layer in kept.items() if layer is event.value or layer == event.value]:
                del kept[view]
                self._drawn.pop(view, None)
        if event.value.name == REGIONS:
            self._rearrange()

    def _on_inserted(self, event: Any) -> None:
        """Keep our groups at the bottom, where the grid counts from; no other slide lies over the one that is shown."""
        if not self._drawing:
            self._others.opened(event.value)
        self._rearrange()

    def _on_eye(self, event: Any) -> None:
        """Show what is up to date where the user opens the eye of a layer; one that is closed stays closed."""
        layer = event.source
        if self._drawing or self.session.shown is None:
            return
        changed = {eye: bool(layer.visible) for eye, one in self._by_eye().items() if one == layer}
        self.session.eyes = {**self.session.eyes, **changed}
        with self._by_us():
            self._colour()
            if self._arranged:
                self._fill_cells()

    def _rearrange(self) -> None:
        views = tuple(view for view in self.shown_views if view in self.points)
        if self._drawing or not views:
            return
        with self._by_us():
            self._arrange(views)
            self._colour()


def _quietly(act: Any) -> Any:
    """Return a key binding that does something with the session; napari hands it the viewer."""

    def bound(_viewer: Any) -> None:
        act()

    return bound
