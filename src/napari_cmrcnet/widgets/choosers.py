"""Rows of the Predict panel: a path to choose, with a line under it that says what it is; and the list of checks."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QLineEdit, QWidget

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import is_there
from napari_cmrcnet.common.spaceranger_files import CELLS, DEFAULT_BIN
from napari_cmrcnet.widgets.dialogs import choose_path, offer_kinds
from napari_cmrcnet.widgets.messages import in_panel_words
from napari_cmrcnet.widgets.parts import bare, button, choice, fill, fill_choice, in_row, label, stack
from napari_cmrcnet.widgets.remember import recall, remember

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.preflight import Check

GREEN, AMBER = "#2e9e5b", "#c77700"  # each readable on napari's light and dark ground
PANEL_WIDTH = 390  # in pixels: what scrolls down must not be cut off at its side
KEPT = "choice/"  # of the keys under which paths are remembered


POOLS = {"visium": "circles of 55 µm, 100 µm apart, as Visium", "100": "squares of 100 µm"}
"""What cells and bins may be pooled to beside the default, see `sections.pooling.pool_for`."""


class PathRow(QWidget):
    """A path: typed, dropped, or chosen in a dialog. What was chosen last is remembered.

    Parameters
    ----------
    what : str
        What is asked for, as the dialog's title says it and as it is remembered.
    kinds : sequence of str
        What it may be, as `dialogs.choose_path` takes it: each has a dialog. Of several, Browse asks which.
    tip : str
        Tool tip: a full sentence.
    """

    changed = Signal()

    def __init__(self, what: str, kinds: Sequence[str], tip: str) -> None:
        super().__init__()
        self._what = what
        self.edit = QLineEdit()
        self.edit.setPlaceholderText(f"Choose the {what}…")
        self.edit.setToolTip(tip)
        self.edit.setClearButtonEnabled(True)
        self.edit.editingFinished.connect(self._on_edited)
        self.browse = button("Browse…", f"Opens a dialog to choose the {what}.")
        offer_kinds(self.browse, kinds, self._on_browse)
        self._line = label(selectable=True)
        self._line.hide()
        stack(self, in_row((self.edit, 1), self.browse), self._line).setSpacing(2)
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

    def _on_browse(self, kind: str) -> None:
        start = str(self.path or recall(KEPT + self._what, ""))
        path = choose_path(self, f"Choose the {self._what}", kind, start)
        if path is not None:
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


class NamedChoice(QWidget):
    """What to read of a file, or how; hidden where there is nothing to choose.

    Parameters
    ----------
    title, tip : str
        What is chosen, and what to know of it.
    """

    changed = Signal()

    def __init__(self, title: str, tip: str) -> None:
        super().__init__()
        self.box = choice(tip, long=True)
        self.box.currentIndexChanged.connect(self.changed)
        label = QLabel(title)
        label.setBuddy(self.box)
        bare(fill(QHBoxLayout(self), label, (self.box, 1)))
        self.hide()

    @property
    def name(self) -> str:
        """What is chosen, ``""`` while nothing is."""
        return self.box.currentData() or ""

    def choose(self, name: str) -> None:
        """Choose a name, if it is offered."""
        self.box.setCurrentIndex(max(0, self.box.findData(name)))

    def offer(self, default: str, texts: Mapping[str, str]) -> None:
        """Offer some names in words, after what ``""`` stands for; what is chosen stays so if it is among them."""
        fill_choice(self.box, [(default, ""), *((text, name) for name, text in texts.items())], self.name)
        self.setVisible(len(texts) > 1)


def offer_libraries(box: NamedChoice, names: Sequence[str]) -> None:
    """Offer the sections of a file that holds several, or the bins and cells of Visium HD, of which one is default."""
    texts = {name: _in_words(name) for name in names if name != DEFAULT_BIN or len(names) == 1}
    default = DEFAULT_BIN in names and len(names) > 1
    box.offer(f"{_in_words(DEFAULT_BIN)} (default)" if default else "Choose the section…", texts)
    box.setVisible(len(names) > 1)


def offer_pools(box: NamedChoice, unit: str) -> None:
    """Offer what cells or bins are pooled to; nothing for spots."""
    texts = {**POOLS, "no": f"none: a value for each {unit}"} if unit else {}
    box.offer("squares of about 55 µm (default)", texts)


def _in_words(name: str) -> str:
    size = re.fullmatch(r"square_(\d+)um", name)
    return f"bins of {int(size[1])} µm" if size else "segmented cells" if name == CELLS else name


def check_lines(checks: "Iterable[Check]") -> str:
    """Return a line for each check as HTML, amber ones first: what to know before the run, and green what fits."""
    rows = [
        f'<tr><td style="color:{GREEN if check.ok else AMBER}; padding-right:6px">{"✔" if check.ok else "▲"}</td>'
        f"<td>{escape(check.text)}</td></tr>"
        for check in sorted(checks, key=lambda check: check.ok)
    ]
    return f"<table>{''.join(rows)}</table>"
