"""The sections that a value comes from: their colours, and a bar of their shares."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import QRectF, QSize
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPalette
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_cmrcnet.widgets.parts import label, stack

if TYPE_CHECKING:
    import pandas as pd

# Told apart by colour-blind eyes, and seen on light ground and dark (M. Okabe and K. Ito, 2008, without its yellow).
HUES = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#d55e00", "#0072b2")
OTHER = "#6e6e6e"
BAR_HEIGHT = 16


def section_colours(sections: Sequence[str]) -> dict[str, str]:
    """Give the first sections a colour each; the others share one."""
    return {name: HUES[place] if place < len(HUES) else OTHER for place, name in enumerate(sections)}


class SharesWidget(QWidget):
    """A bar of how much of a value comes from each section, with the numbers under it."""

    def __init__(self) -> None:
        super().__init__()
        self.title, self.bar, self.legend = label(), _Bar(), label(rich=True)
        stack(self, self.title, self.bar, self.legend).setSpacing(3)

    def show_sections(self, by_section: "pd.DataFrame", colours: Mapping[str, str]) -> None:
        """Show the shares of sections, as `Evidence.by_section` has them; of a value of 0, their numbers of spots."""
        names = [str(name) for name in by_section.index]
        of_zero = bool(by_section["share"].isna().any())
        spots = by_section["spots"] / by_section["spots"].sum()
        shares = (spots if of_zero else by_section["share"]).tolist()
        self.title.setText("The value is 0. Spots by section" if of_zero else "Contribution by section")
        lines = [
            _line(name, patient, count, None if of_zero else share, colours.get(name, OTHER))
            for name, patient, count, share in zip(
                names, by_section["patient"], by_section["spots"], shares, strict=True
            )
        ]
        every = "<br>".join(lines)
        if len(lines) > len(HUES) + 1:
            lines[len(HUES) :] = [f"and {len(lines) - len(HUES)} more sections"]
        self.legend.setText("<br>".join(lines))
        for widget in (self.legend, self.bar):
            widget.setToolTip(every)
        self.bar.show_parts([(share, colours.get(name, OTHER)) for name, share in zip(names, shares, strict=True)])


def _line(name: str, patient: str, count: int, share: float | None, colour: str) -> str:
    who = f" (patient {escape(patient)})" if patient else ""
    spots = f"{count} spot{'s' if count != 1 else ''}"
    numbers = spots if share is None else f"<b>{100 * share:.0f} %</b>, {spots}"
    return f'<span style="color:{colour}">■</span> {escape(name)}{who}: {numbers}'


class _Bar(QWidget):
    """Parts of a whole, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[tuple[float, str]] = []
        self.setFixedHeight(BAR_HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_parts(self, parts: list[tuple[float, str]]) -> None:
        self._parts = parts
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        return QSize(120, BAR_HEIGHT)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802, ARG002 - Qt's name
        """Draw the parts with a gap of a pixel between them, in a frame of the text's colour."""
        painter = QPainter(self)
        left = 0.0
        for share, colour in self._parts:
            width = share * self.width()
            painter.fillRect(QRectF(left, 0, max(0.0, width - 1), self.height()), QColor(colour))
            left += width
        frame = self.palette().color(QPalette.ColorRole.WindowText)
        frame.setAlphaF(0.4)
        painter.setPen(frame)
        painter.drawRect(0, 0, self.width() - 1, self.height() - 1)
        painter.end()
