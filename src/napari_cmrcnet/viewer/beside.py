"""A second case beside or below the one that is shown: on its own slide, at the same scale and in the same colours."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from psygnal import Signal

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.evaluation.headline import section_words
from napari_cmrcnet.evaluation.shown import Shown, gene_shown, panel_shown
from napari_cmrcnet.viewer.boundary import KEY, layer_placement
from napari_cmrcnet.viewer.by_view import ByView
from napari_cmrcnet.viewer.cells import LINE, largest_zoom
from napari_cmrcnet.viewer.coloring import limits, values
from napari_cmrcnet.viewer.display_settings import DisplaySettings, View
from napari_cmrcnet.viewer.slide_layer import add_histology
from napari_cmrcnet.viewer.spot_layer import add_spots, colour, hide_spots

if TYPE_CHECKING:
    import napari

    from napari_cmrcnet.evaluation.colour_limits import Limits
    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.slides.slide import Slide
    from napari_cmrcnet.viewer.session import Session

GAP, GAP_BELOW = 0.04, 0.26  # between the two, of the wider one's width: below the first, a name stands between them
ROOM = 0.5  # that each has at least, of the wider one's width: its name needs some
NAME, NAME_SIZE = "white", 10  # with a black halo: read on black, on glass and on stain

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in the scene's unit."""


class _Places(NamedTuple):
    """Where the second case lies, in the scene's unit, (row, column): its shift, the names, and the size of both."""

    shift: tuple[float, float]
    names: list[tuple[float, float]]
    size: tuple[float, float]


class Beside:
    """Draws a second case into the groups of the views, see `layers`.

    It has no region, no click and no hover: what is done in the window is done to the first case.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where to draw.
    session : Session
        Of the first case.

    Attributes
    ----------
    case : Case or None
        The second case; None where there is none.
    kinds : tuple of ByView
        Its layers of each kind, from the bottom: slide, spots, and the names of both cases.
    changed : Signal
        Emitted after it was opened or closed.
    """

    changed = Signal()

    def __init__(self, viewer: "napari.viewer.Viewer", session: "Session") -> None:
        self.viewer, self.session = viewer, session
        self.case: Case | None = None
        self._slide: Slide | None = None
        self.kinds = self._slides, self._spots, self._names = ByView(viewer), ByView(viewer), ByView(viewer)
        self._below = False  # where it lies
        self._of: Shown | None = None  # what the first case shows
        self._shown: Shown | str = ""  # what this one does, or why it shows nothing

    def open(self, case: "Case", slide: "Slide | None") -> None:
        """Take a second case; `SectionLayers.draw` draws it.

        Raises
        ------
        UserError
            If the two cannot have one scale, as the size of a pixel is known of one alone.
        """
        first = self.session.case
        assert first is not None
        if bool(first.provenance.mpp) != bool(case.provenance.mpp):
            unknown = case if first.provenance.mpp else first
            raise UserError(f"The pixel size of {unknown.name} is not known, so the two cannot be shown at one scale.")
        self.close()
        self.case, self._slide = case, slide
        self.changed.emit()

    def close(self) -> None:
        """Take the second case away."""
        self.clear()
        if self.case is not None:
            self.case = self._slide = self._of = None
            self.changed.emit()

    def clear(self) -> None:
        """Remove the layers; they come back when they are asked for."""
        for layers in self.kinds:
            layers.remove()

    def lacks(self, view: View) -> bool:
        """Whether a view is still to be added."""
        wanted = self.kinds if self._slide is not None else self.kinds[1:]
        return self.case is not None and any(view not in layers for layers in wanted)

    def add(self, view: View) -> None:
        """Add the layers of a view, if there is a second case: slide, spots, and the names of both cases."""
        first, case = self.session.case, self.case
        if case is None or first is None or not self.lacks(view):
            return
        mpp, places = case.provenance.mpp or None, self._places(self._below)
        for layers in self.kinds:
            layers.remove([view])
        if self._slide is not None:
            self._slides[view] = add_histology(self.viewer, self._slide, mpp)
        bounds = None if self._slide is None else self._slide.bounds
        self._spots[view] = add_spots(self.viewer, case, view, self.session.display, bounds)
        for layers in (self._slides, self._spots):
            if view in layers:
                _move(layers[view], *places.shift)
        self._names[view] = self._add_names(first, case, mpp, places.names)
        for layers in self.kinds:
            if view in layers:
                layers[view].locked, layers[view].editable = True, False

    def place(self, cells: int) -> None:
        """Let the second case lie to the right of the first or below it, as both are seen larger in so many cells."""
        if not self._names:
            return
        one, two = (largest_zoom(self.viewer, cells, self._places(below).size, self.above) for below in (False, True))
        if (two > one) == self._below:
            return
        before, self._below = self._places(self._below), two > one
        now = self._places(self._below)
        for layer in (*self._slides.values(), *self._spots.values()):
            _move(layer, *np.subtract(now.shift, before.shift))
        for names in self._names.values():
            names.data = np.array(now.names) / names.scale

    def _places(self, below: bool) -> "_Places":
        first, case = self.session.case, self.case
        assert first is not None
        assert case is not None
        one, two = _box(first, self.session.slide), _box(case, self._slide)
        wide = max(one[2] - one[0], two[2] - two[0])
        room = [max(box[2] - box[0], ROOM * wide) for box in (one, two)]  # a name is wider than a biopsy
        top, left = (one[3] + GAP_BELOW * wide, one[0]) if below else (one[1], one[0] + room[0] + GAP * wide)
        corners = ((one[1], one[0]), (top, left), (top, left + room[1]))  # the last, to be seen, too
        return _Places(
            (top - two[1], left - two[0]),
            [(y - GAP * wide, x) for y, x in corners],
            (max(one[3], top + two[3] - two[1]) - one[1], max(room[0] + one[0], left + room[1]) - one[0]),
        )

    def _add_names(self, first: "Case", case: "Case", mpp: float | None, places: list[tuple[float, float]]) -> Any:
        return self.viewer.add_points(
            np.array(places) / (mpp or 1.0),
            size=0.01,
            face_color="transparent",
            border_color="transparent",
            text={"string": [_name(first), _name(case), ""], "color": NAME, "size": NAME_SIZE, "anchor": "upper_left"},
            name="names of the cases",
            metadata={KEY: {}},
            **layer_placement(mpp),
        )

    def common_limits(self, view: View, shown: Shown, display: DisplaySettings) -> "Limits | None":
        """Return the narrowest colour limits that hold those of both cases in a view; None where one has none."""
        known = None if self.case is None or view == "classes" else self._showing(shown)
        if known is None or isinstance(known, str):
            return None
        try:
            both = [
                limits(view, values(view, of, case, display), of, display)
                for of, case in ((shown, self.session.case), (known, self.case))
                if case is not None
            ]
        except UserError:
            return None
        return min(low for low, _ in both), max(high for _, high in both)

    def colour(self, view: View, like: Any, shown: Shown, display: DisplaySettings, blended: bool) -> None:
        """Give the spots of a view the gene that the first case shows, in the colours of that one's layer."""
        if self.case is None or view not in self._spots:
            return
        layer, known = self._spots[view], self._showing(shown)
        if view == "classes" or (blended and view in ("measured", "predicted")):
            known = "classes, and genes as colours, are not shown for the second case"
        if isinstance(known, str):
            hide_spots(layer, f"{self.case.name}: {known}")
            return
        colour(layer, view, known, self.case, display, between=like.face_contrast_limits)
        layer.name = f"{self.case.name}: {layer.name}"
        like.name += "\none scale for both"

    def _showing(self, shown: Shown) -> Shown | str:
        assert self.case is not None
        if self._of is not shown:
            self._of = shown
            try:
                if shown.kind == "panel":
                    self._shown = panel_shown(self.case, self.session.panels[shown.name])
                else:
                    self._shown = gene_shown(self.case, shown.name, None)
            except UserError as reason:
                self._shown = str(reason)
        return self._shown

    @property
    def title(self) -> str:
        """What the second case shows, and how well; ``""`` where there is none."""
        if self.case is None or self.session.shown is None:
            return ""
        known = self._showing(self.session.shown)
        return known if isinstance(known, str) else known.title

    @property
    def above(self) -> float:
        """Height of the names over the sections, in the canvas's pixels: the title is kept clear of them."""
        cases = [case for case in (self.session.case, self.case) if case is not None and self.case is not None]
        return LINE * NAME_SIZE * max((_name(case).count("\n") + 1 for case in cases), default=0)

    @property
    def seen(self) -> list[Any]:
        """The layers that are to be seen wholly: spots and names."""
        return [*self._spots.values(), *self._names.values()]


def _name(case: "Case") -> str:
    """Return what stands over a section, in two lines as a section may be narrow; the title says the rest."""
    return section_words(case.name, case.provenance.patient).replace(", ", "\n", 1)


def _move(layer: Any, down: float, right: float) -> None:
    layer.affine = np.array([[1, 0, down], [0, 1, right], [0, 0, 1]]) @ layer.affine.affine_matrix[-3:, -3:]


def _box(case: "Case", slide: "Slide | None") -> Box:
    """Return what a case covers with its slide, in the scene's unit."""
    mpp = case.provenance.mpp or 1.0
    low, high = case.xy.min(axis=0) - case.spot_diameter, case.xy.max(axis=0) + case.spot_diameter
    if slide is not None:
        height, width = (side * slide.scale for side in slide.shape)
        low, high = np.minimum(low, 0), np.maximum(high, (width, height))
    return (*(low * mpp).tolist(), *(high * mpp).tolist())
