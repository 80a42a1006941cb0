"""Rows of the Predict panel: a path to choose, with a line under it that says what it is; and the list of checks."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QLineEdit, QPushButton, QVBoxLayout, QWidget

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import is_there
from napari_cmrcnet.widgets.messages import in_panel_words
from napari_cmrcnet.widgets.remember import recall, remember

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.preflight import Check

GREEN, AMBER = "#2e9e5b", "#c77700"  # each readable on napari's light and dark ground
PANEL_WIDTH = 370  # in pixels: what scrolls down must not be cut off at its side
KEPT = "choice/"  # of the keys under which paths are remembered


class PathRow(QWidget):
    """A path: typed, dropped, or chosen in a dialog. What was chosen last is remembered.

    Parameters
    ----------
    what : str
        What is asked for, as the dialog's title says it and as it is remembered.
    kind : "file" or "folder"
        What the dialog offers.
    files : str
        The dialog's filter.
    tip : str
        Tool tip: a full sentence.
    """

    changed = Signal()

    def __init__(self, what: str, kind: Literal["file", "folder"], files: str, tip: str) -> None:
        super().__init__()
        self._what, self._kind, self._files = what, kind, files
        self.edit = QLineEdit()
        self.edit.setPlaceholderText(f"Choose the {what} …")
        self.edit.setToolTip(tip)
        self.edit.setClearButtonEnabled(True)
        self.edit.editingFinished.connect(self._on_edited)
        self.browse = QPushButton("Browse…")
        self.browse.setToolTip(f"Opens a dialog to choose the {what}.")
        self.browse.clicked.connect(self._on_browse)
        self._line = QLabel()
        self._line.setTextFormat(Qt.TextFormat.PlainText)
        self._line.setWordWrap(True)
        self._line.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._line.hide()
        row = QHBoxLayout()
        row.addWidget(self.edit, 1)
        row.addWidget(self.browse)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(row)
        layout.addWidget(self._line)
        self._last = ""

    @property
    def path(self) -> Path | None:
        """What is chosen, None while nothing is."""
        text = self.edit.text().strip().removeprefix("file://")
        return Path(text).expanduser() if text else None

    @property
    def line(self) -> str:
        """What the line under the path says."""
        return self._line.text() if not self._line.isHidden() else ""

    def set_path(self, path: Path | str | None) -> None:
        """Choose a path."""
        self.edit.setText("" if path is None else str(path))
        self._on_edited()

    def recall(self) -> None:
        """Choose what was chosen last, if it is still there."""
        path = recall(KEPT + self._what, "")
        if path and is_there(path):
            self.set_path(path)

    def describe(self, text: str, problem: UserError | None) -> None:
        """Say what it is, or why it cannot be used; hidden while there is nothing to say."""
        self._line.setText(text if problem is None else f"⚠ {in_panel_words(problem)}")
        self._line.setVisible(problem is not None or bool(text))

    def ask(self) -> str:
        """Show the dialog and return the path, an empty text if it was cancelled."""
        start = str(self.path or recall(KEPT + self._what, ""))
        if self._kind == "folder":
            return str(QFileDialog.getExistingDirectory(self, f"Choose the {self._what}", start))
        return str(QFileDialog.getOpenFileName(self, f"Choose the {self._what}", start, self._files)[0])

    def _on_browse(self) -> None:
        if path := self.ask():
            self.set_path(path)

    def _on_edited(self) -> None:
        text = self.edit.text().strip()
        if text == self._last:
            return
        self._last = text
        self._line.hide()
        if text and is_there(text):
            remember({KEPT + self._what: text})
        self.changed.emit()


class CheckList(QLabel):
    """Green and amber lines: what fits, and what to know before the run."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.texts: tuple[str, ...] = ()
        self.hide()

    def show_checks(self, checks: "Iterable[Check]") -> None:
        """Show a line for each check, amber ones first."""
        from html import escape

        ordered = sorted(checks, key=lambda check: check.ok)
        self.texts = tuple(check.text for check in ordered)
        rows = [
            f'<tr><td style="color:{GREEN if check.ok else AMBER}; padding-right:6px">{"✔" if check.ok else "▲"}</td>'
            f"<td>{escape(check.text)}</td></tr>"
            for check in ordered
        ]
        self.setText(f"<table>{''.join(rows)}</table>")
        self.setVisible(bool(rows))
