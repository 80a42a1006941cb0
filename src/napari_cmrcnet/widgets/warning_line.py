"""The line under a title that says how many warnings a prediction has, and lists them when it is clicked."""

from collections.abc import Sequence

from qtpy.QtWidgets import QWidget

from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.widgets.choosers import AMBER
from napari_cmrcnet.widgets.parts import button, label, stack


class WarningLine(QWidget):
    """How many warnings there are; a click lists them or folds them away, the tool tip has them always."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.listed = button("", ""), label(selectable=True)
        self.count.setCheckable(True)
        self.count.setStyleSheet(
            f"QPushButton {{ color: {AMBER}; background: transparent; border: none; text-align: left }} "
            "QPushButton:focus, QPushButton:hover { text-decoration: underline }"
        )
        self.count.toggled.connect(self.listed.setVisible)
        stack(self, self.count, self.listed)
        self.listed.hide()
        self.hide()

    def show_warnings(self, texts: Sequence[str]) -> None:
        """Show these warnings; those of another prediction are folded away."""
        listed = "\n".join(f"• {text}" for text in texts)
        if listed != self.listed.text():
            self.count.setChecked(False)
        self.count.setText(f"▲ {count_text(len(texts), 'warning')}")
        self.setToolTip(listed)
        self.listed.setText(listed)
        self.setVisible(bool(texts))
