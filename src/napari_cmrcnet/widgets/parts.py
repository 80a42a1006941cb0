"""The small parts that panels are built of."""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, TypeVar

from qtpy.QtCore import QAbstractItemModel, QObject, Qt, QTimer
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QAbstractItemView,
    QBoxLayout,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QFrame,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLayout,
    QPushButton,
    QScrollArea,
    QSpinBox,
    QTableView,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

Part: TypeAlias = QWidget | QLayout | tuple[QWidget, int] | None
"""Of a row or column: a pair is a widget that grows so much, None is room that grows."""

WidgetT = TypeVar("WidgetT", bound=QWidget)
LayoutT = TypeVar("LayoutT", bound=QLayout)


def label(text: str = "", *, selectable: bool = False, centred: bool = False, rich: bool = False) -> QLabel:
    """Return a line of text that wraps, plain unless it is said: names in it may look like HTML.

    Parameters
    ----------
    text : str
        What it says at first.
    selectable : bool
        Whether the text can be copied.
    centred : bool
        Whether it stands alone in the middle, as what an empty panel says.
    rich : bool
        Whether it is HTML.
    """
    made = QLabel(text)
    made.setTextFormat(Qt.TextFormat.RichText if rich else Qt.TextFormat.PlainText)
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


def fill(layout: QBoxLayout, *parts: Part) -> QBoxLayout:
    """Put parts into a row or column, and return it."""
    for part in parts:
        if part is None:
            layout.addStretch(1)
        elif isinstance(part, QLayout):
            layout.addLayout(part)
        else:
            layout.addWidget(*part) if isinstance(part, tuple) else layout.addWidget(part)
    return layout


def in_row(*parts: Part) -> QBoxLayout:
    """Return parts in a row, see `fill`."""
    return fill(QHBoxLayout(), *parts)


def form_of(*rows: tuple[str, QWidget | QLayout] | QWidget, inside: QWidget | None = None) -> QFormLayout:
    """Return a form, of an inside widget if one is given: a name and its control a row, or one control across."""
    form = QFormLayout(inside)
    for row in rows:
        form.addRow(*row) if isinstance(row, tuple) else form.addRow(row)
    return form


def bare(layout: LayoutT) -> LayoutT:
    """Return a layout without margins."""
    layout.setContentsMargins(0, 0, 0, 0)
    return layout


def stack(inside: QWidget, *parts: Part, margins: bool = False) -> QBoxLayout:
    """Fill a widget with parts from top to bottom, see `fill`."""
    layout = fill(QVBoxLayout(inside), *parts)
    return layout if margins else bare(layout)


def boxed(title: str, *parts: Part) -> QGroupBox:
    """Put parts one below the other into a box with a title, see `fill`."""
    box = QGroupBox(title)
    stack(box, *parts, margins=True)
    return box


def scrolled_parts(*parts: Part) -> QScrollArea:
    """Put parts one below the other where they are scrolled, see `fill`."""
    inside = QWidget()
    stack(inside, *parts, margins=True)
    return scrolled(inside)


def table_of(model: QAbstractItemModel, *, several: bool = False) -> QTableView:
    """Return a table whose rows are selected, one at a time or several; a click on a title sorts."""
    made = QTableView()
    made.setModel(model)
    made.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    mode = QAbstractItemView.SelectionMode
    made.setSelectionMode(mode.ExtendedSelection if several else mode.SingleSelection)
    made.setWordWrap(False)
    made.setTextElideMode(Qt.TextElideMode.ElideMiddle)  # long names differ at their ends
    made.verticalHeader().hide()
    made.verticalHeader().setDefaultSectionSize(made.fontMetrics().height() + 8)
    made.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
    made.setSortingEnabled(True)
    return made


def fill_choice(box: QComboBox, entries: Iterable[tuple[str, str]], chosen: str | None) -> None:
    """Offer other entries, text and data of each; the chosen one stays, if it is among them."""
    with signals_blocked(box):
        box.clear()
        for text, data in entries:
            box.addItem(text, data)
        box.setCurrentIndex(max(0, box.findData(chosen)))
