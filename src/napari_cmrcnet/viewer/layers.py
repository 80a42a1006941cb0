"""The layers of a session: histology, and spots coloured by a gene, in cells side by side or overlaid."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.evaluation.headline import in_lines
from napari_cmrcnet.retrieval.leaks import warnings_of
from napari_cmrcnet.viewer.boundary import from_napari
from napari_cmrcnet.viewer.case_list import CaseList
from napari_cmrcnet.viewer.display_settings import DisplaySettings
from napari_cmrcnet.viewer.preview import remove_preview
from napari_cmrcnet.viewer.region_layer import REGIONS, RegionLayer
from napari_cmrcnet.viewer.slide_layer import hide_opened, put_aside
from napari_cmrcnet.viewer.spot_layer import symbols
from napari_cmrcnet.viewer.view_groups import ViewGroups

if TYPE_CHECKING:
    import napari

    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.slides.slide import Slide
    from napari_cmrcnet.viewer.session import Session

REGIONS_EYE = ("", "regions")  # of the drawn regions, among the session's eyes
CLICK_PX = 5  # a press that moves further on the screen is a drag
IDLE_MODES = ("", "pan_zoom", "Mode.PAN_ZOOM")


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
        self.regions = RegionLayer(viewer)
        self.groups = ViewGroups(viewer, session, self.regions, self._on_eye)
        self.points, self.slides = self.groups.points, self.groups.slides
        self.beside = self.groups.beside
        self._drawing = False
        self.regions.undo_asked.connect(self.undo_regions)
        session.leaving.connect(self._on_leaving)
        session.arrived.connect(self._on_arrived)
        self.cases = CaseList(session)  # hears of a change after the regions were read
        session.case_changed.connect(self._on_case)
        session.shown_changed.connect(self.draw)
        session.display_changed.connect(self._on_display)
        session.selection_changed.connect(self._draw_selection)
        session.ticked_changed.connect(self.draw)
        session.regions_changed.connect(self._draw_regions)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.canvas.events.size.connect(self._on_resized)
        viewer.mouse_drag_callbacks.append(self._on_press)  # by which the viewer keeps the layers alive

    def draw(self) -> None:
        """Bring the visible layers up to date: groups, cells, colours and title."""
        if self.session.case is None or self.session.shown is None or self._drawing:
            return
        with self._by_us():
            views, arranged = self.session.shown_views, self.groups.arranged
            if arranged and views != arranged:  # what was opened beside other views is closed
                self.session.eyes = {eye: False for eye, is_open in self.session.eyes.items() if not is_open}
            self.groups.bring(views, {view for (view, _), is_open in self.session.eyes.items() if is_open})
            # napari's box for a title is a little narrower than its letters: the spaces make it wider
            self.viewer.canvas.overlays.text.text = "\n".join(f"  {line}  " for line in self.title.splitlines())

    @property
    def title(self) -> str:
        """What stands over the picture: what is shown, and how many warnings the View panel lists."""
        shown, warnings = self.session.shown, len(self.warnings)
        titles = [title for title in (shown.title if shown is not None else "", self.beside.title) if title]
        lines = [in_lines(title, 60 + 40 * len(titles[1:])) for title in titles]  # of two cases, wider
        if shown is not None and (genes := self.groups.blended):
            lines = [f"{shown.section}   {', '.join(gene.name for gene in genes)} as colours"]
        return "\n".join([*lines, *([f"{count_text(warnings, 'warning')}: see View"] if warnings else [])])

    @property
    def warnings(self) -> tuple[str, ...]:
        """What must be known of the prediction, or of both where two are beside each other."""
        both = (None if case is None else case.prediction for case in (self.session.case, self.beside.case))
        return warnings_of([prediction for prediction in both if prediction is not None])

    def show_beside(self, case: "Case | None", slide: "Slide | None" = None) -> None:
        """Show a second case beside the first one, or none, as `Beside` says."""
        with self._by_us():
            self.viewer.canvas.grid.enabled = False  # as in `_on_case`
            if case is None:
                self.beside.close()
            else:
                self.beside.open(case, slide)
            self.groups.arranged = ()
        self.draw()
        self.groups.fit()

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

    def start_drawing(self, classification: str) -> None:
        """Let the user draw regions of a class."""
        self.regions.start_drawing(classification, *self._region_lines)

    def _on_leaving(self) -> None:
        """Note what is of the case that is shown: its regions, and whether they are hidden."""
        self.read_regions()
        layer = self.regions.layer
        self.session.eyes = {**self.session.eyes, REGIONS_EYE: layer is None or bool(layer.visible)}

    def _on_arrived(self) -> None:
        put_aside(self.viewer, self.session)

    def _on_case(self) -> None:
        """Remove all that was drawn of another case; what there is of this one is drawn when it is shown."""
        with self._by_us():
            self.viewer.canvas.grid.enabled = False  # napari takes no layers away while a cell of theirs is drawn
            remove_preview(self.viewer)
            self.groups.clear()
            drawn = self.regions.read()
            if not drawn or drawn != self.session.regions:  # of another section, whose pixels may be of another size
                self.regions.clear()
            self._draw_regions()
            if drawn != self.session.regions and self.regions.layer is not None:
                self.regions.layer.visible = self.session.eyes.get(REGIONS_EYE, True)
        overlays = self.viewer.canvas.overlays
        overlays.text.visible = self.session.case is not None
        overlays.text.text = ""
        if self.session.case is None:
            return
        overlays.text.position, overlays.text.box = "top_center", True
        overlays.scale_bar.position, overlays.scale_bar.box = "bottom_left", True
        overlays.scale_bar.visible = overlays.scale_bar.gridded = True

    def _draw_regions(self) -> None:
        self.regions.draw(self.session.regions, *self._region_lines)

    @property
    def _region_lines(self) -> tuple[float | None, float]:
        """µm per full-resolution pixel, and the width in pixels of the lines of regions: a fifth of a spot."""
        case = self.session.case
        return (None, 10.0) if case is None else (case.provenance.mpp or None, 0.2 * case.spot_diameter)

    @contextmanager
    def _by_us(self) -> Iterator[None]:
        """Let nothing that is done meanwhile be taken for the user's doing."""
        self._drawing = True
        try:
            yield
        finally:
            self._drawing = False

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
        self.groups.draw_rings()
        self.draw()

    def _on_press(self, viewer: Any, event: Any) -> Iterator[None]:
        """Let a click on a spot select it; a drag pans as ever."""
        start = np.asarray(event.pos, float)
        yield
        moved = False
        while event.type == "mouse_move":
            moved = moved or float(np.abs(np.asarray(event.pos, float) - start).max()) > CLICK_PX
            yield
        active = viewer.layers.selection.active
        busy = active is not None and str(getattr(active, "mode", "")) not in IDLE_MODES
        if not moved and self.session.case is not None and not busy:
            spot = _spot_at(self.session, event.position)
            self.session.select([] if spot is None else [spot])

    def _draw_selection(self) -> None:
        if self.session.selected.size and not self.groups.rings:
            self._rearrange()
        self.groups.draw_rings()

    def _on_resized(self, _event: Any) -> None:
        """Arrange the cells as they fit the canvas now; a section that is seen whole stays so."""
        if not self._drawing and self.groups.arranged and self.points.keys() >= set(self.groups.arranged):
            with self._by_us():
                self.groups.fill_cells()

    def _on_removed(self, event: Any) -> None:
        if not self._drawing:
            eyes, gone = self.session.eyes, [eye for eye, layer in self.groups.by_eye().items() if layer == event.value]
            self.session.eyes = {eye: eyes[eye] for eye in eyes if eye not in gone}
        self.groups.forget(event.value)
        if event.value.name == REGIONS:
            self._rearrange()

    def _on_inserted(self, event: Any) -> None:
        """Keep our groups at the bottom, where the grid counts from; no other slide lies over the one that is shown."""
        if not self._drawing:
            hide_opened(self.viewer, self.session, event.value)
        self._rearrange()

    def _on_eye(self, event: Any) -> None:
        """Show what is up to date where the user opens the eye of a layer; one that is closed stays closed."""
        layer = event.source
        if self._drawing or self.session.shown is None:
            return
        changed = {eye: bool(layer.visible) for eye, one in self.groups.by_eye().items() if one == layer}
        self.session.eyes = {**self.session.eyes, **changed}
        with self._by_us():
            self.groups.colour()
            if self.groups.arranged:
                self.groups.fill_cells()

    def _rearrange(self) -> None:
        views = tuple(view for view in self.session.shown_views if view in self.points)
        if self._drawing or not views:
            return
        with self._by_us():
            self.groups.arrange(views)
            self.groups.colour()


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
