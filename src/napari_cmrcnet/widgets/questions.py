"""What is asked in a dialog: where a file is now, whether to download."""

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget


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


def ask_for_checkpoint(parent: QWidget | None, section: str, was: str) -> Path | None:
    """Ask where a checkpoint is now; None to go on without it."""
    path = QFileDialog.getExistingDirectory(parent, f"The checkpoint of {section}, which was at {was}")
    return Path(path) if path else None


def ask_to_download(parent: QWidget | None, question: str) -> bool:
    """Ask whether to download something of the size that the question says."""
    return QMessageBox.question(parent, "Download?", question) == QMessageBox.StandardButton.Yes
