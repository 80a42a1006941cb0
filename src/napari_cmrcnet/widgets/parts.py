"""The small parts that panels are built of."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from qtpy.QtCore import QObject, Qt, QTimer
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QBoxLayout,
    QComboBox,
    QDoubleSpinBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLayout,
    QPushButton,
    QScrollArea,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

WidgetT = TypeVar("WidgetT", bound=QWidget)


def label(text: str = "", *, selectable: bool = False, centred: bool = False) -> QLabel:
    """Return a line of plain text that wraps: names in it may look like HTML.

    Parameters
    ----------
    text : str
        What it says at first.
    selectable : bool
        Whether the text can be copied.
    centred : bool
        Whether it stands alone in the middle, as what an empty panel says.
    """
    made = QLabel(text)
    made.setTextFormat(Qt.TextFormat.PlainText)
    made.setWordWrap(True)
    if selectable:
        made.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    if centred:
        made.setAlignment(Qt.AlignmentFlag.AlignCenter)
        made.setMargin(24)
    return made


def button(text: str, tip: str, clicked: Callable[..., object] | None = None) -> QPushButton:
    """Return a button with its tool tip, and what it does."""
    made = QPushButton(text)
    made.setToolTip(tip)
    if clicked is not None:
        made.clicked.connect(clicked)
    return made


def choice(tip: str, texts: Iterable[str] = (), *, long: bool = False) -> QComboBox:
    """Return a box to choose one of some texts; `long` ones must not widen the window."""
    made = QComboBox()
    made.setToolTip(tip)
    made.addItems(list(texts))
    if long:
        made.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    return made


def timer(parent: QObject, milliseconds: int, act: Callable[[], object]) -> QTimer:
    """Return a timer that acts once, so long after it was started last."""
    made = QTimer(parent)
    made.setSingleShot(True)
    made.setInterval(milliseconds)
    made.timeout.connect(act)
    return made


def scrolled(inside: QWidget) -> QScrollArea:
    """Put a widget that is longer than its dock where it is scrolled up and down, and never sideways."""
    scroll = QScrollArea()
    scroll.setWidgetResizable(True)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # it follows the control that has the keyboard
    scroll.setWidget(inside)
    return scroll


def tipped(widget: WidgetT, tip: str) -> WidgetT:
    """Return a widget with its tool tip."""
    widget.setToolTip(tip)
    return widget


def number(
    tip: str, low: float, high: float, *, step: float = 1, decimals: int = 0, suffix: str = "", unset: str = ""
) -> Any:
    """Return a box for a number, a whole one if it has no decimals; `unset` is what its lowest value stands for."""
    made = tipped(QDoubleSpinBox() if decimals else QSpinBox(), tip)
    if decimals:
        made.setDecimals(decimals)
    made.setRange(low, high)
    made.setSingleStep(step)
    made.setSuffix(suffix)
    made.setSpecialValueText(unset)
    return made


def shortcut(keys: Any, parent: QWidget, act: Callable[[], object], *, alone: bool = False) -> None:
    """Let keys do something while a widget, or one inside it unless it is `alone`, has the keyboard."""
    made = QShortcut(QKeySequence(keys), parent)
    made.setContext(Qt.ShortcutContext.WidgetShortcut if alone else Qt.ShortcutContext.WidgetWithChildrenShortcut)
    made.activated.connect(act)


def fill(layout: QBoxLayout, *parts: QWidget | QLayout | tuple[QWidget, int] | None) -> QBoxLayout:
    """Put parts into a row or column and return it; a pair is a widget that grows so much, None room that grows."""
    for part in parts:
        if part is None:
            layout.addStretch(1)
        elif isinstance(part, QLayout):
            layout.addLayout(part)
        else:
            layout.addWidget(*part) if isinstance(part, tuple) else layout.addWidget(part)
    return layout


def in_row(*parts: QWidget | QLayout | tuple[QWidget, int] | None) -> QBoxLayout:
    """Return parts in a row, see `fill`."""
    return fill(QHBoxLayout(), *parts)


def stack(inside: QWidget, *parts: QWidget | QLayout | tuple[QWidget, int] | None, bare: bool = True) -> QBoxLayout:
    """Fill a widget with parts from top to bottom, see `fill`; `bare` leaves no margin around them."""
    layout = QVBoxLayout(inside)
    if bare:
        layout.setContentsMargins(0, 0, 0, 0)
    return fill(layout, *parts)
