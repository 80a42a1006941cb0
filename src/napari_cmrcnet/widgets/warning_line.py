"""The line under a title that says how many warnings a prediction has, and lists them when it is clicked."""

from collections.abc import Sequence
from html import escape

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.widgets.choosers import AMBER


class WarningLine(QLabel):
    """How many warnings there are; a click lists them or folds them away, the tool tip has them always.

    Attributes
    ----------
    texts : tuple of str
        The warnings; the line is hidden where there are none.
    listed : bool
        Whether they are listed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
        self.linkActivated.connect(self._on_click)
        self.texts: tuple[str, ...] = ()
        self.listed = False
        self.hide()

    def show_warnings(self, texts: Sequence[str]) -> None:
        """Show these warnings; those of another prediction are folded away."""
        if tuple(texts) != self.texts:
            self.texts, self.listed = tuple(texts), False
        self._draw()

    def _on_click(self, _link: str) -> None:
        self.listed = not self.listed
        self._draw()

    def _draw(self) -> None:
        line = f'<a href="list" style="color:{AMBER}">▲ {count_text(len(self.texts), "warning")}</a>'
        items = [f"• {escape(text)}" for text in self.texts]
        self.setText("<br>".join([line, *(items if self.listed else [])]))
        self.setToolTip("\n".join(f"• {text}" for text in self.texts))
        self.setVisible(bool(self.texts))
