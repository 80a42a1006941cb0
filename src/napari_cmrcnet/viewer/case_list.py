"""The cases of a window: which of them is shown, what was drawn and noted over it, and what is not saved yet."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import is_there
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.retrieval.project import Project, ProjectCase, write_project
from napari_cmrcnet.sections.geojson import as_geojson
from napari_cmrcnet.viewer.view_record import record_of

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.sections.regions import Region
    from napari_cmrcnet.slides.slide import Slide
    from napari_cmrcnet.viewer.reopen import Opened
    from napari_cmrcnet.viewer.session import Session


class CaseList:
    """A project beside the session, whose case it follows.

    Parameters
    ----------
    session : Session
        What is looked at.

    Attributes
    ----------
    project : Project
        The cases; none at first.
    alone : ProjectCase or None
        The entry of which only the slide was opened last, as it has no expression.
    openings : list
        What may still replace the case that is shown, in the order in which it was asked for.
    changed : Signal
        Emitted after another project, case, note or place in it.
    """

    changed = Signal()

    def __init__(self, session: "Session") -> None:
        self.session = session
        self.project = Project()
        self.alone: ProjectCase | None = None
        self._stored = self.project  # as its file has it
        self._noted: tuple[Any, ...] = ()
        self._saved_regions: tuple[Region, ...] = ()
        self._of = session.case
        self.openings: list[Any] = []
        self._given_up: tuple[Any, ...] = ()
        session.leaving.connect(self.keep)
        session.arrived.connect(self._on_arrived)
        session.scores_changed.connect(self.keep)

    @property
    def row(self) -> int | None:
        """The row of the case that is shown, or of the slide that is without one; None where it is none of the list."""
        case = self.session.case
        return self.project.row_of(self.alone if case is None else ProjectCase.of(case))

    @property
    def shown(self) -> ProjectCase | None:
        """The entry of the case that is shown."""
        row = self.row
        return None if row is None else self.project.cases[row]

    @property
    def unsaved(self) -> str:
        """What would be lost of the case that is shown, in words; "" for nothing."""
        case = self.session.case
        if case is None:
            return ""
        about, kept = case.provenance, self.row is not None and self._stored is self.project
        # The sample until it is one of the list, and what another tool's file holds.
        made_again = (about.synthetic and self.row is None) or bool(about.external)
        parts = ["prediction"] if case.prediction is not None and case.path is None and not made_again else []
        parts += ["regions"] if not kept and self.session.regions != self._saved_regions else []
        parts += ["notes"] if not kept and (entry := self.shown) is not None and entry.notes else []
        return " and ".join(parts)

    def open(self, project: Project) -> None:
        """Take another list of cases."""
        given_up = self.given_up
        self.project = project
        self._stored = project if project.path is not None else Project()
        self._noted = ()
        if given_up:  # its notes were in the list before
            self.discard()
        self.changed.emit()

    def add_shown(self) -> None:
        """Put the case that is shown into the list, if it is not there."""
        case = self.session.case
        if case is not None and self.row is None:
            self._take(self.project.with_case(ProjectCase.of(case)))
            self._noted = ()
            self.keep()

    def remove(self, row: int) -> None:
        """Take a case off the list; its files stay."""
        self._take(self.project.without(row))

    def set_notes(self, text: str) -> None:
        """Note something about the case that is shown."""
        row, entry = self.row, self.shown
        if row is not None and entry is not None and entry.notes != text:
            self._take(self.project.with_case(replace(entry, notes=text), row))

    def set_pcc(self, row: int, pcc: float) -> None:
        """Note the mean PCC of the markers of a case."""
        self._take(self.project.with_case(replace(self.project.cases[row], pcc=pcc), row))

    def keep(self) -> None:
        """Put into the list what is remembered of the case that is shown, where that has changed."""
        session, row = self.session, self.row
        if row is None or session.case is None:
            return
        shown = None if session.shown is None else (session.shown.kind, session.shown.name)
        noted = session.case, session.case.path, session.regions, session.ticked, session.display, shown, session.scores
        if noted == self._noted:
            return
        self._noted, entry = noted, self.project.cases[row]
        markers = None if session.scores is None else session.scores.sets["markers"].pcc
        known = ProjectCase.of(session.case)
        kept = replace(
            known,
            name=entry.name,
            patient=known.patient or entry.patient,
            slide=known.slide or entry.slide,
            pcc=entry.pcc if markers is None else markers,
            notes=entry.notes,
            view=record_of(session),
        )
        self._take(self.project.with_case(kept, row))

    def save(self, path: Path | None = None) -> None:
        """Write the list to a file, or to its own; nothing where it has none, or is there as it is.

        Raises
        ------
        UserError
            If it cannot be written.
        """
        if path is not None:
            self.project = replace(self.project, path=path)
        self.keep()
        if self.project.path is not None and self._stored is not self.project:
            write_project(self.project)
            self._stored = self.project
            if self.row is not None:
                self._saved_regions = self.session.regions
            self.changed.emit()

    def note_saved(self) -> None:
        """Note that the prediction that is shown was saved, with its regions."""
        self._saved_regions = self.session.regions
        self.keep()
        self.changed.emit()

    def discard(self) -> None:
        """Give up what is not saved of the case that is shown, once another is: then it does not come back.

        Until then it stays, as the other may not come: a prediction can fail or be cancelled.
        """
        self._given_up = self._made

    def take_back(self) -> None:
        """Give nothing up any more: what it was given up for has ended, and did not come."""
        self._given_up = ()

    @property
    def given_up(self) -> bool:
        """Whether all that was made over the case that is shown was given up."""
        return self._given_up == self._made

    @property
    def _made(self) -> "tuple[Case | None, tuple[Region, ...], str]":
        entry = self.shown
        return self.session.case, self.session.regions, "" if entry is None else entry.notes

    def _take(self, project: Project) -> None:
        self.project = project
        self.changed.emit()

    def _give_up(self) -> None:
        if not self._given_up:
            return
        case, regions, _ = self._given_up
        self._given_up = ()
        if self._of is None or case is not self._of:
            return
        row, given_up = (
            self.project.row_of(ProjectCase.of(case)),
            self.session.region_memory.give_up(case, regions, self._saved_regions),
        )
        if given_up and row is not None and self.project.path is None:
            entry = self.project.cases[row]
            view = {**entry.view, "regions": as_geojson(self._saved_regions)}
            self._take(self.project.with_case(replace(entry, notes="", view=view), row))

    def _on_arrived(self) -> None:
        case = self.session.case
        if case is None or not case.is_of_section(self._of):
            self._give_up()
            self._saved_regions = self.session.regions
        self._of = case
        self.changed.emit()


def open_case(entry: ProjectCase) -> "Job[Opened | None]":
    """Open a case of a list as it was left; None where it has no spots and no prediction, and only its slide is there.

    Raises
    ------
    UserError
        If its prediction or its spots cannot be read. A slide that has moved is no error.
    """
    yield Progress(f"Opening {entry.name}", 0, 0)
    from napari_cmrcnet.viewer.reopen import open_measured, open_prediction, slide_of

    if entry.prediction:
        opened = yield from open_prediction(Path(entry.prediction))
    elif entry.spots:
        opened = yield from open_measured(Path(entry.spots), entry.library)
        about = opened.case.provenance
        opened.case.provenance = replace(about, section=entry.name, patient=entry.patient or about.patient)
    elif entry.slide:
        return None
    else:
        raise UserError(f"{entry.name} names no slide, spots or prediction; remove this case from the list.")
    if (opened.slide is None or opened.slide.scale != 1) and entry.slide and is_there(entry.slide):
        slide: Slide = slide_of(opened.case, Path(entry.slide))
        opened = replace(opened, slide=slide, missing="")
    if entry.view:
        opened.case.view = dict(entry.view)
    return opened
