"""Nothing that the user has made is lost: kept every few seconds, and asked about before it is replaced or closed."""

from pathlib import Path
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, QTimer

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.suffixes import PROJECTS
from napari_cmrcnet.viewer.registry import layers_of
from napari_cmrcnet.viewer.view_record import record_of
from napari_cmrcnet.widgets import dialogs
from napari_cmrcnet.widgets.dock_panel import main_window
from napari_cmrcnet.widgets.remember import recall

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
                _say(error)

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
    try:
        layers.read_regions()
        layers.cases.save()
    except UserError as error:
        _say(error)
    return str(layers.cases.unsaved)


def may_leave(viewer: Any) -> bool:
    """Keep what has a place, and ask about the rest. Say whether the case that is shown may be replaced."""
    layers, what = layers_of(viewer), unsaved(viewer)
    case = layers.session.case
    if not what or case is None:
        return True
    answer = dialogs.ask_to_save(main_window(viewer), case.name, what)
    if answer == "save":
        return save_case(viewer)
    if answer == "discard":
        layers.cases.discard()
    return answer == "discard"


def save_case(viewer: Any) -> bool:
    """Save the prediction that is shown with its regions, or what was drawn over a measured section as a list of cases.

    It is asked where, if it has no file yet. Return whether it was saved.
    """
    from napari_cmrcnet.evaluation.picture_file import file_name

    layers = layers_of(viewer)
    cases, session = layers.cases, layers.session
    case, prediction, place = session.case, session.prediction, cases.project.path
    assert case is not None
    folder = place.parent if place is not None else Path(recall("export/folder", str(Path.home())))
    stem = folder / file_name(case.name)
    try:
        if prediction is not None and "notes" not in cases.unsaved:
            kinds = "Predictions (*.h5ad)"
            path = prediction.path or dialogs.ask_where_to_save(
                None, "Save the prediction", stem.with_name(f"{stem.name}_predicted.h5ad"), kinds
            )
            if path is None:
                return False
            prediction.provenance.check_output(path)
            prediction.view = record_of(session)
            prediction.save(path)
            cases.note_saved()
        else:
            place = place or ask_for_project(folder, stem.name)
            if place is None:
                return False
            cases.add_shown()
            cases.save(place)
    except UserError as error:
        _say(error)
        return False
    return True


def ask_for_project(folder: Path, name: str) -> Path | None:
    """Ask where a list of cases is to be kept."""
    proposed = folder / f"{name}{PROJECTS[0]}"
    return dialogs.ask_where_to_save(None, "Save the list of cases", proposed, PROJECT_FILE)


def _say(error: UserError) -> None:
    from napari.utils.notifications import show_error

    show_error(str(error))
