"""What is asked in a dialog: where a file is now, where to save one, whether to download or to predict."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from qtpy.QtWidgets import QFileDialog, QInputDialog, QMenu, QMessageBox, QPushButton, QWidget

from napari_cmrcnet.common.errors import Setting, UserError
from napari_cmrcnet.common.files import is_there
from napari_cmrcnet.common.suffixes import SLIDES, dialog_filter
from napari_cmrcnet.widgets.remember import recall, remember

FOLDER = "folder"
_LAST = "last_folder"  # under which that of the last dialog is remembered
SLIDE = (dialog_filter("Slides", SLIDES), FOLDER)
"""What a slide may be: a file, or the folder of a DICOM or OME-Zarr slide."""

QUESTIONS: dict[Setting, str] = {
    "library": "Which section do you want to open?",
    "layer": "Which matrix is the prediction?",
    "scale": "What are the values?",
    "kind": "What does the file hold?",
}
SCALES = {
    "log": "log-normalised: shown as they are",
    "normalised": "normalised, without a logarithm: log(1 + x) is shown",
    "counts": "counts: normalised to 10,000 per spot, log(1 + x) is shown",
}


def choose_path(parent: QWidget | None, title: str, kind: str, start: str = "") -> Path | None:
    """Let the user choose a file or folder that is there; None if the dialog is cancelled.

    Parameters
    ----------
    parent : QWidget, optional
        The panel.
    title : str
        Of the dialog.
    kind : str
        `FOLDER`, or the kinds of files, as `dialog_filter` gives them.
    start : str
        Where the dialog begins; where the last one ended if it is not given.
    """
    start = start or recall(_LAST, str(Path.home()))
    if kind == FOLDER:
        path = QFileDialog.getExistingDirectory(parent, title, start)
    else:
        path, _ = QFileDialog.getOpenFileName(parent, title, start, kind)
    if path:
        remember({_LAST: str(Path(path).parent)})
    return Path(path) if path else None


def offer_kinds(button: QPushButton, kinds: Sequence[str], choose: Callable[[str], None]) -> None:
    """Let a button choose a path: at once where there is one kind, else through a menu, File… and Folder….

    Parameters
    ----------
    button : QPushButton
        What is pressed.
    kinds : sequence of str
        As `choose_path` takes them.
    choose : callable
        Called with one of them.
    """
    if len(kinds) == 1:
        button.clicked.connect(lambda: choose(kinds[0]))
        return
    menu = QMenu(button)
    for kind in kinds:
        menu.addAction(_in_words(kind)).triggered.connect(lambda *_, kind=kind: choose(kind))
    button.setMenu(menu)


def _in_words(kind: str) -> str:
    return "F&older…" if kind == FOLDER else "&File…"


def ask_for_slide(parent: QWidget | None, section: str, reason: str) -> Path | None:
    """Say why a slide is not shown and ask where it is now; None to go on without it."""
    box = QMessageBox(parent)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle("Where is the slide?")
    box.setText(f"{reason}\n\nChoose the slide now? Without it, the spots are shown on an empty background.")
    buttons = {kind: box.addButton(_in_words(kind), QMessageBox.ButtonRole.AcceptRole) for kind in SLIDE}
    box.addButton("Open without the slide", QMessageBox.ButtonRole.RejectRole)
    box.exec()
    kind = next((kind for kind, button in buttons.items() if button is box.clickedButton()), None)
    return None if kind is None else choose_path(parent, f"The slide of {section}", kind)


def ask_where_to_save(parent: QWidget | None, title: str, proposed: str | Path, kinds: str) -> Path | None:
    """Ask for the name of a file; None if the user thinks better of it.

    A name without one of the endings gets that of the chosen kind. The dialog, which asks before a file is replaced,
    has then asked about another name, so that it is asked here.

    Parameters
    ----------
    parent : QWidget, optional
        The panel.
    title : str
        Of the dialog.
    proposed : str or Path
        A name, with its folder if it is not where the last dialog ended.
    kinds : str
        As of QFileDialog, each with one ending first: ``PNG picture (*.png);;SVG drawing (*.svg)``.
    """
    start = Path(recall(_LAST, str(Path.home()))) / proposed
    name, kind = QFileDialog.getSaveFileName(parent, title, str(start), kinds)
    if not name:
        return None
    path = Path(name)
    if not name.lower().endswith(tuple(_endings(kinds))):
        path = Path(name + _endings(kind or kinds)[0])
        question = f"{path.name} already exists. Replace it?"
        if is_there(path) and not ask(parent, title, question):
            return None
    remember({_LAST: str(path.parent)})
    return path


def _endings(kinds: str) -> list[str]:
    return re.findall(r"\*(\.[\w.]+)", kinds)


def ask(parent: QWidget | None, title: str, question: str) -> bool:
    """Ask a question that is answered with yes or no."""
    return QMessageBox.question(parent, title, question) == QMessageBox.StandardButton.Yes


def ask_to_save(parent: QWidget | None, section: str, what: str) -> Literal["save", "discard", "cancel"]:
    """Say what of a section is not saved, before it is replaced or the window is closed, and ask what to do."""
    said = f"{section}: the {what} {'are' if ' and ' in what or what != 'prediction' else 'is'} not saved."
    buttons = QMessageBox.StandardButton
    offered = buttons.Save | buttons.Discard | buttons.Cancel
    answer = QMessageBox.question(parent, "Save?", said, offered, buttons.Save)
    return "save" if answer == buttons.Save else "discard" if answer == buttons.Discard else "cancel"


def choose_one(parent: QWidget | None, title: str, question: str, lines: list[str]) -> str | None:
    """Let the user choose one of some lines; None if the dialog is cancelled."""
    line, chosen = QInputDialog.getItem(parent, title, question, lines, editable=False)
    return line if chosen else None


def choose_for(path: Path, error: UserError) -> str | None:
    """Let the user choose what a file does not say, of the choices of an error; None if the dialog is cancelled."""
    words = {SCALES.get(choice, choice): choice for choice in error.choices}
    line = choose_one(None, path.name, f"{error}\n\n{QUESTIONS[error.setting]}", list(words))
    return None if line is None else words[line]
