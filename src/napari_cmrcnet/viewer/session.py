"""Session: what is looked at. Panels and layers are drawn from it and change it; it knows neither napari nor Qt."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.evaluation.shown import Shown, gene_shown, panel_shown, with_scores
from napari_cmrcnet.retrieval.project import regions_of
from napari_cmrcnet.sections.panels import PANELS, Panel
from napari_cmrcnet.sections.regions import with_names
from napari_cmrcnet.viewer.display_settings import DisplaySettings, View
from napari_cmrcnet.viewer.region_memory import RegionMemory, place_of
from napari_cmrcnet.viewer.view_record import carried_on, first_shown, ticked_of, views_of
from napari_cmrcnet.viewer.whole_change import tell_of_case, wholly

if TYPE_CHECKING:
    from napari_cmrcnet.evaluation.scores import Scores
    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.retrieval.prediction import Prediction
    from napari_cmrcnet.sections.classes import Classes
    from napari_cmrcnet.sections.regions import Region
    from napari_cmrcnet.slides.slide import Slide


class Session:
    """A case, which is a section that is measured, predicted or both; what of it is shown, and how.

    Attributes
    ----------
    case : Case or None
        What is looked at.
    slide : Slide or None
        The histology under it, open; None where it is not at hand.
    scores : Scores or None
        PCC of every gene with intervals; None until they are computed, or where nothing was measured.
    scoring : bool
        Whether they, or their intervals, are being computed.
    shown : Shown or None
        The gene or panel score that the views show.
    display : DisplaySettings
        How it is drawn.
    eyes : mapping of (str, str) to bool
        What the user has opened (True) or closed against the display settings, by view and kind of layer.
    selected : int64 array
        Rows of the selected spots, ascending.
    panels : mapping of str to Panel
        The paper's panels, and those that the user made or loaded in this session, by name.
    regions : tuple of Region
        Outlines drawn or imported, over this section; others' are kept until theirs is shown again.
    ticked : tuple of str
        Genes that are ticked in the list: they are chosen together for a panel or a picture.
    listed : sequence of str
        Genes in the order in which a list shows them: what `step` walks through.
    qupath_whole : bool
        Whether QuPath shows the whole image of a slide of which only a part was scanned (see `region_origin`).
    open_slide : str
        The slide over which regions are drawn while there is no case, ``""`` where none is open.

    Notes
    -----
    Signals, each emitted once after a change; none has arguments but what is said here. After ``case_changed``
    all may be another:

    ``leaving``, before another case is shown: what is not yet in the session, such as regions that were just
    drawn, is to be put there; ``arrived``, once it is shown wholly: what is done then is not undone;
    ``case_changed``; ``scores_changed``; ``scoring_changed``; ``shown_changed``; ``display_changed(new, old)``;
    ``selection_changed``; ``panels_changed``; ``regions_changed``; ``ticked_changed``.
    """

    leaving = Signal()
    arrived = Signal()
    case_changed = Signal()
    scores_changed = Signal()
    scoring_changed = Signal()
    shown_changed = Signal()
    display_changed = Signal(DisplaySettings, DisplaySettings)
    selection_changed = Signal()
    panels_changed = Signal()
    regions_changed = Signal()
    ticked_changed = Signal()

    def __init__(self) -> None:
        self.case: Case | None = None
        self.slide: Slide | None = None
        self.scores: Scores | None = None
        self.scoring = False
        self.shown: Shown | None = None
        self.display = DisplaySettings()
        self.eyes: Mapping[tuple[str, str], bool] = {}
        self.selected: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self.panels: dict[str, Panel] = {panel.name: panel for panel in PANELS.values()}
        self.regions: tuple[Region, ...] = ()
        self.ticked: tuple[str, ...] = ()
        self.listed: Sequence[str] = ()
        self.qupath_whole = False
        self.open_slide = ""
        self.region_memory = RegionMemory()

    @property
    def prediction(self) -> "Prediction | None":
        """The case where it is predicted, None where it is only measured."""
        return None if self.case is None else self.case.prediction

    @property
    def classes(self) -> "Classes | None":
        """The classes of spots that are shown where they are asked for; None where the case has none."""
        known = {} if self.case is None else self.case.classes
        return known.get(self.display.classes, next(iter(known.values()), None))

    @property
    def views(self) -> tuple[View, ...]:
        """The views of which there is something to see, in the order of `VIEWS`."""
        return () if self.shown is None else views_of(self.shown, self.case, self.classes is not None)

    @property
    def shown_views(self) -> tuple[View, ...]:
        """Those of the views that are to be seen, in the order of the cells."""
        return self.display.seen_of(self.views)

    def look_at(
        self, case: "Case | None", slide: "Slide | None" = None, scores: "Scores | None" = None, alone: str = ""
    ) -> None:
        """Look at another case, wholly, with the gene, colours and limits that it remembers; or at a slide ``alone``.

        One of the section that is shown already, as where that is now predicted, goes on with the gene that was chosen.
        A new one has measured and predicted side by side. The regions are those of its section, as they were left
        in this session, else as it remembers them. A slide that is open already stays, with what was read of it.

        Raises
        ------
        UserError
            If it cannot be shown; what was shown before still is, wholly.
        """
        self.leaving.emit()
        before, old, display = self.case, self.display, self.display
        open_slide = alone or self.open_slide
        another, remembered = case is not before or open_slide != self.open_slide, {} if case is None else case.view
        goes_on = another and case is not None and case.is_of_section(before)
        old_place = place_of(before, self.open_slide)
        place = old_place if goes_on else place_of(case, open_slide)
        slide = self.slide if slide is not None and slide.is_same(self.slide) else slide
        panels = dict(self.panels)
        if another and case is not None and case.panel is not None:
            panels[case.panel.name] = case.panel
        if remembered:
            display = DisplaySettings.from_dict(remembered)
        elif another and case is not None:
            display = display.side_by_side()
        known = regions_of(remembered) if another else ()
        remembered = remembered or (carried_on(self, case) if goes_on else {})
        with wholly(self, "" if case is None else case.name):
            shown = first_shown(case, panels, scores, remembered) if case is not None else None
            regions = self.region_memory.change(self.regions, old_place, place, known)
            self.__dict__.update(
                case=case,
                slide=slide,
                scores=scores,
                scoring=self.scoring and not another,
                shown=None,
                display=display,
                eyes={} if another else self.eyes,
                selected=np.empty(0, np.int64),
                panels=panels,
                regions=regions,
                ticked=ticked_of(remembered, self.ticked),
                listed=() if case is None else case.all_names.symbols,
                open_slide=open_slide,
            )
            tell_of_case(self, shown, old)
        self.arrived.emit()

    def knows(self, gene: str) -> bool:
        """Whether the case has a gene, by symbol or Ensembl id."""
        return self.case is not None and self.case.all_names.column(gene) is not None

    def set_scoring(self, under_way: bool) -> None:
        """Note whether the scores are being computed, as they no longer are after Cancel."""
        if under_way != self.scoring:
            self.scoring = under_way
            self.scoring_changed.emit()

    def set_scores(self, scores: "Scores") -> None:
        """Take the scores of the prediction; the shown gene gets its interval."""
        self.scores = scores
        self.scores_changed.emit()
        if self.shown is not None and self.shown.kind == "gene":
            self.shown = with_scores(self._asked(), self.shown, scores)
            self.shown_changed.emit()

    def show(self, gene: str) -> None:
        """Show a gene, by symbol or Ensembl id.

        Raises
        ------
        UserError
            If the case does not have it, or needs a checkpoint for it that has moved; or if it cannot be drawn,
            and what was shown before still is.
        """
        self._set_shown(gene_shown(self._asked(), gene, self.scores))

    def show_panel(self, panel: "Panel") -> None:
        """Show the score of a panel, as `panel_shown` has it.

        Raises
        ------
        UserError
            If the case has none of its genes; or as `show`.
        """
        self._set_shown(panel_shown(self._asked(), panel))

    def hide(self, spots: "npt.NDArray[np.bool_] | None") -> None:
        """Draw some spots no more, bool (n,), until another gene is shown; all again with None."""
        if self.shown is not None:
            self._set_shown(replace(self.shown, hidden=spots))

    def step(self, by: int) -> None:
        """Show the gene that is so many places further down the list, up to its ends."""
        if self.shown is not None and self.listed:
            try:
                place = self.listed.index(self.shown.name) + by
            except ValueError:  # the list is filtered, or a panel's score is shown
                place = 0
            self.show(self.listed[min(max(place, 0), len(self.listed) - 1)])

    def set_display(self, **changes: Any) -> None:
        """Change how expression is drawn; the arguments are fields of `DisplaySettings`."""
        before = self.display
        display = replace(before, **changes)
        if display != before:
            with wholly(self, "This change"):
                self.display = display
                self.display_changed.emit(display, before)

    set_look = set_display  # its name in the case scripts of open issues

    def flip(self) -> None:
        """Swap predicted and measured in front; overlaid, if it was side by side."""
        other: View = "measured" if self.display.front == "predicted" else "predicted"
        if {"measured", "predicted"} <= set(self.views):
            self.set_display(layout="overlaid", front=other)

    def swipe(self) -> None:
        """Show measured left of a line and predicted right of it; side by side, if it was so."""
        if {"measured", "predicted"} <= set(self.views):
            self.set_display(layout="side by side" if self.display.layout == "swipe" else "swipe")

    def select(self, spots: Iterable[int]) -> None:
        """Select spots by their rows."""
        chosen = np.unique(np.fromiter(spots, np.int64))
        if not np.array_equal(chosen, self.selected):
            self.selected = chosen
            self.selection_changed.emit()

    def add_panel(self, panel: "Panel") -> None:
        """Add a panel, or replace the one of its name; where its score is shown, it is shown again."""
        self.panels[panel.name] = panel
        self.panels_changed.emit()
        case, shown = self.case, self.shown
        if case is not None and shown is not None and (shown.kind, shown.name) == ("panel", panel.name):
            known = any(map(self.knows, panel.genes))
            again = panel_shown(case, panel) if known else first_shown(case, self.panels, self.scores, {})
            if again is not None:
                self._set_shown(again)

    def tick(self, genes: Iterable[str]) -> None:
        """Take the genes that are ticked in the list."""
        self.ticked = tuple(genes)
        self.ticked_changed.emit()

    def set_regions(self, regions: "Iterable[Region]") -> None:
        """Take the outlines that were drawn or imported; those without a name get one."""
        named = with_names(regions)
        if named != self.regions:
            self.region_memory.note(self.regions)
            self.regions = named
            self.regions_changed.emit()

    def undo_regions(self, forth: bool = False) -> None:
        """Go back to the regions before the last change; or forth to those after it."""
        if (regions := self.region_memory.step(self.regions, forth)) is not None:
            self.regions = regions
            self.regions_changed.emit()

    def _asked(self) -> "Case":
        if self.case is None:
            raise UserError("Nothing is open yet; open a section, press Predict, or open a saved prediction.")
        return self.case

    def _set_shown(self, shown: Shown) -> None:
        with wholly(self, shown.name):
            self.shown = shown
            self.shown_changed.emit()
