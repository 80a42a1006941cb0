"""What is asked in a dialog: where a file is now, where to save one, whether to download or to predict."""

import re
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

from napari_cmrcnet.common.files import is_there


def ask_for_slide(parent: QWidget | None, section: str, reason: str) -> Path | None:
    """Say why a slide is not shown and ask where it is now; None to go on without it."""
    answer = QMessageBox.question(
        parent,
        "Where is the slide?",
        f"{reason}\n\nDo you want to say where it is now? Without it the spots are shown on an empty ground.",
    )
    if answer != QMessageBox.StandardButton.Yes:
        return None
    return choose_slide(parent, section)


def choose_slide(parent: QWidget | None, section: str) -> Path | None:
    """Let the user choose the file of a slide; None if the dialog is cancelled."""
    path, _ = QFileDialog.getOpenFileName(parent, f"The slide of {section}")
    return Path(path) if path else None


def ask_where_to_save(parent: QWidget | None, title: str, proposed: Path, kinds: str) -> Path | None:
    """Ask for the name of a file; None if the user thinks better of it.

    A name without one of the endings gets that of the chosen kind. The dialog, which asks before a file is replaced,
    has then asked about another name, so that it is asked here.

    Parameters
    ----------
    parent : QWidget, optional
        The panel.
    title : str
        Of the dialog.
    proposed : Path
        The folder and a name.
    kinds : str
        As of QFileDialog, each with one ending first: ``PNG picture (*.png);;SVG drawing (*.svg)``.
    """
    name, kind = QFileDialog.getSaveFileName(parent, title, str(proposed), kinds)
    if not name:
        return None
    if name.lower().endswith(tuple(_endings(kinds))):
        return Path(name)
    path = Path(name + _endings(kind or kinds)[0])
    question = f"{path.name} is there already. Do you want to replace it?"
    if is_there(path) and QMessageBox.question(parent, title, question) != QMessageBox.StandardButton.Yes:
        return None
    return path


def _endings(kinds: str) -> list[str]:
    return re.findall(r"\*(\.[\w.]+)", kinds)


def ask_for_checkpoint(parent: QWidget | None, section: str, was: str) -> Path | None:
    """Ask where a checkpoint is now; None to go on without it."""
    path = QFileDialog.getExistingDirectory(parent, f"The checkpoint of {section}, which was at {was}")
    return Path(path) if path else None


def ask_to_download(parent: QWidget | None, question: str) -> bool:
    """Ask whether to download something of the size that the question says."""
    return QMessageBox.question(parent, "Download?", question) == QMessageBox.StandardButton.Yes


def ask_to_predict(parent: QWidget | None, doubt: str) -> bool:
    """Say why a prediction is surely not what the user wants, and ask whether to run it all the same."""
    question = f"{doubt}\n\nDo you want to predict all the same?"
    return QMessageBox.question(parent, "Predict all the same?", question) == QMessageBox.StandardButton.Yes
