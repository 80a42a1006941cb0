"""The line under a title that says how many warnings a prediction has, and lists them when it is clicked."""

from collections.abc import Sequence

from qtpy.QtCore import Qt
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
            f"QPushButton {{ color: {AMBER}; background: transparent; text-align: left; text-decoration: underline; "
            f"border: 1px solid transparent; padding: 0 4px }} QPushButton:focus {{ border: 1px dotted {AMBER} }}"
        )
        self.count.setCursor(Qt.CursorShape.PointingHandCursor)  # with the underline, all that says it can be clicked
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
