"""The small parts that panels are built of."""

from collections.abc import Callable, Iterable

from qtpy.QtCore import QObject, Qt, QTimer
from qtpy.QtWidgets import QComboBox, QFrame, QLabel, QPushButton, QScrollArea, QWidget


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
