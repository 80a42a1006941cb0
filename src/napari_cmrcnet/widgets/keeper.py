"""Nothing that the user has made is lost: kept every few seconds, and asked about before it is replaced or closed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, QTimer

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job
from napari_cmrcnet.common.suffixes import PROJECTS
from napari_cmrcnet.evaluation.picture_file import file_name
from napari_cmrcnet.viewer.registry import layers_of
from napari_cmrcnet.viewer.view_record import record_of
from napari_cmrcnet.widgets import dialogs
from napari_cmrcnet.widgets.dock_panel import main_window
from napari_cmrcnet.widgets.jobs import close_unseen, run_in_window
from napari_cmrcnet.widgets.messages import told

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.retrieval.prediction import Prediction

T = TypeVar("T")

KEEP_MS = 5000  # between looks at what has changed: with the writing, less than the 10 s that may be lost
PROJECT_FILE = f"Cases (*{PROJECTS[0]})"
_NAME = "napari-cmrcnet keeper"


class Keeper(QObject):
    """Keeps a window's cases, and asks before the window is closed with something unsaved.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        The window.
    parent : QWidget
        Its main window.
    """

    def __init__(self, viewer: Any, parent: Any) -> None:
        super().__init__(parent)
        self.setObjectName(_NAME)
        self._viewer = viewer
        self._failed, self._answered = "", False
        self._timer = QTimer(self)
        self._timer.setInterval(KEEP_MS)
        self._timer.timeout.connect(self.keep)
        self._timer.start()
        parent.installEventFilter(self)

    def keep(self) -> None:
        """Write what has changed; why it cannot be written is said once."""
        layers = layers_of(self._viewer)
        try:
            if not layers.regions.creating:
                layers.read_regions()
            layers.cases.save()
            self._failed = ""
        except UserError as error:
            if str(error) != self._failed:
                self._failed = str(error)
                _say(str(error))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Ask before the window is closed, once. A script that closes it has taken its layers away first.

        napari has a question of its own, whether the window is to be closed: it may be answered with no, so that one
        goes on keeping what is drawn; and it is left out where ours was answered.
        """
        if not isalive(self):
            return False
        if event.type() in (QEvent.Type.Show, QEvent.Type.Hide):
            (self._timer.start if event.type() == QEvent.Type.Show else self._timer.stop)()
        if event.type() != QEvent.Type.Close or self._answered or not len(self._viewer.layers):
            return False
        asked = bool(unsaved(self._viewer))
        if not may_leave(self._viewer):
            event.ignore()
            return True
        self._answered = asked
        if asked and event.spontaneous():
            event.ignore()
            QTimer.singleShot(0, watched.close)
            return True
        return False


def keep_watch(viewer: Any) -> None:
    """Let a window have its keeper, once."""
    window = main_window(viewer)
    if window is not None and window.findChild(QObject, _NAME) is None:
        Keeper(viewer, window)


def unsaved(viewer: Any) -> str:
    """Keep what has a place, and return in words what has none: what would be lost of the case that is shown."""
    layers, window = layers_of(viewer), main_window(viewer)
    if window is None or not window.isVisible() or layers.session.case is None:
        return ""
    with told(_say):
        layers.read_regions()
        layers.cases.save()
    return str(layers.cases.unsaved)


def may_leave(viewer: Any, again: bool = False) -> bool:
    """Keep what has a place, and ask about the rest. Say whether the case that is shown may be replaced.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        The window.
    again : bool
        It was asked before, when the work began of which the result is here: what was given up then is not asked about
        again, only what was made since.
    """
    layers, what = layers_of(viewer), unsaved(viewer)
    case = layers.session.case
    if not what or case is None or (again and layers.cases.given_up):
        return True
    answer = dialogs.ask_to_save(main_window(viewer), case.name, what)
    if layers.session.case is not case:  # a prediction ended while it was asked: the answer was not about that
        return may_leave(viewer, again)
    if answer == "save":
        return save_case(viewer)
    if answer == "discard":
        layers.cases.discard()
    return answer == "discard"


@dataclass(eq=False)
class Opening:
    """What was asked for in place of the case that is shown: how to show it, and the thing itself once it is here."""

    show: Callable[[Any], None]
    is_here: bool = False
    found: Any = None


def run_to_replace(viewer: Any, job: Job[T], done: Callable[[T], None], title: str) -> None:
    """Run a job, as `run_in_window`, whose result replaces the case that is shown.

    Of several the one that was asked for last does; one before it only where all after it have failed: until then it
    waits.
    """
    cases, mine = layers_of(viewer).cases, Opening(done)
    cases.openings.append(mine)

    def here(result: T) -> None:
        mine.is_here, mine.found = True, result
        if mine in cases.openings:
            _show_last(viewer)
        else:  # one after it is shown by now
            close_unseen(result)

    def ended() -> None:
        if mine in cases.openings and not mine.is_here:
            cases.openings.remove(mine)
            if main_window(viewer) is not None:  # else it was closed meanwhile
                with told(_say):
                    _show_last(viewer)
        if not cases.openings:
            cases.take_back()

    run_in_window(viewer, job, here, title, ended)


def _show_last(viewer: Any) -> None:
    """Show what was asked for last, once it is here, unless what was made meanwhile is to stay; close all before it."""
    cases = layers_of(viewer).cases
    if cases.openings and cases.openings[-1].is_here:
        *others, last = cases.openings
        cases.openings = []
        comes = may_leave(viewer, again=True)
        for each in others if comes else (*others, last):
            close_unseen(each.found)
        if comes:
            last.show(last.found)


def save_case(viewer: Any) -> bool:
    """Save the prediction that is shown with its regions, or what was drawn over a measured section as a list of cases.

    It is asked where, if it has no file yet. Return whether it was saved.
    """
    layers = layers_of(viewer)
    cases, session = layers.cases, layers.session
    case, prediction = session.case, session.prediction
    assert case is not None
    with told(_say):
        if prediction is not None and "notes" not in cases.unsaved:
            prediction.view = record_of(session)
            if not save_prediction(viewer, prediction):
                return False
            cases.note_saved()
        else:
            place = cases.project.path or ask_for_project(_place_for(viewer, case))
            if place is None:
                return False
            cases.add_shown()
            cases.save(place)
        return True
    return False


def save_prediction(viewer: Any, prediction: "Prediction", title: str = "Save the prediction") -> bool:
    """Save a prediction in its file; where it has none, ask for one. Return whether it was saved.

    Raises
    ------
    UserError
        If it cannot be written there.
    """
    proposed = f"{_place_for(viewer, prediction)}_predicted.h5ad"
    path = prediction.path or dialogs.ask_where_to_save(None, title, proposed, "Predictions (*.h5ad)")
    if path is not None:
        prediction.provenance.check_output(path)
        prediction.save(path)
    return path is not None


def ask_for_project(name: str | Path) -> Path | None:
    """Ask where a list of cases is to be kept."""
    return dialogs.ask_where_to_save(None, "Save the list of cases", f"{name}{PROJECTS[0]}", PROJECT_FILE)


def _place_for(viewer: Any, case: "Case") -> Path:
    """Return the name, without an ending, to propose for what is kept of a case: beside the list, if that is kept."""
    place = layers_of(viewer).cases.project.path
    return (Path() if place is None else place.absolute().parent) / file_name(case.name)


def _say(text: str) -> None:
    from napari.utils.notifications import show_error

    show_error(text)
