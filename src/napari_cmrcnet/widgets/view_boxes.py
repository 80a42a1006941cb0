"""Boxes of the View panel: colours and their limits, the classes of spots, and how cells or bins are pooled."""

from html import escape
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import (
    QCheckBox,
    QGroupBox,
    QLabel,
    QRadioButton,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_cmrcnet.sections.pooling import NONE
from napari_cmrcnet.viewer.coloring import expression_limits
from napari_cmrcnet.viewer.display_settings import COLORMAPS, DisplaySettings
from napari_cmrcnet.viewer.registry import session_of
from napari_cmrcnet.viewer.reopen import open_pooled
from napari_cmrcnet.viewer.session import Session
from napari_cmrcnet.viewer.view_record import record_of
from napari_cmrcnet.widgets.choosers import NamedChoice, offer_pools
from napari_cmrcnet.widgets.dock_panel import while_there
from napari_cmrcnet.widgets.jobs import run_for_case
from napari_cmrcnet.widgets.parts import bare, choice, fill_choice, form_of, in_row, label, number, tipped

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.sections.classes import Classes


class ColourBox(QGroupBox):
    """Changes the colours of a session; the panel tells it of settings that were changed elsewhere.

    Parameters
    ----------
    session : Session
        Of the window.
    """

    def __init__(self, session: "Session") -> None:
        super().__init__("Colours of measured and predicted")
        self.session = session
        self._build()
        self.colormap.currentTextChanged.connect(lambda text: session.set_display(colormap=text))
        self.by_hand.toggled.connect(self._on_kind)
        self.low.valueChanged.connect(self._on_bounds)
        self.high.valueChanged.connect(self._on_bounds)
        self.from_zero.toggled.connect(lambda on: session.set_display(from_zero=on))

    def _build(self) -> None:
        self.colormap = choice("All colour maps are perceptually uniform: equal steps look equal.", COLORMAPS)
        tip = "The range follows each gene: these percentiles of measured and predicted together, at least 0.5 apart."
        self.by_percentile = tipped(QRadioButton("automatic"), tip)
        tip = "The range stays the same for all genes, so that genes can be compared."
        self.by_hand = tipped(QRadioButton("fixed"), tip)
        self.low = number("Values at or below this get the lowest colour.", 0, 1, decimals=1)
        self.high = number("Values at or above this get the highest colour.", 0, 1, decimals=1)
        for spin in (self.low, self.high):
            spin.setKeyboardTracking(False)
        self.from_zero = tipped(
            QCheckBox("Start at 0"),
            "Starts the colour scale at 0, so that colours show how much a gene is expressed, not only where it is "
            "higher. Has no effect on the score of a gene panel.",
        )
        form_of(
            ("Colour map", self.colormap),
            ("Colour range", in_row(self.by_percentile, self.by_hand, None)),
            ("From", in_row(self.low, QLabel("to"), self.high)),
            ("", self.from_zero),
            inside=self,
        )

    def _on_kind(self, by_hand: bool) -> None:
        shown, display = self.session.shown, self.session.display
        if by_hand:
            low, high = expression_limits(shown, display) if shown is not None else (0.0, 1.0)
            self.session.set_display(limits=(round(low, 2), max(round(high, 2), round(low, 2) + 0.01)))
        else:
            self.session.set_display(limits=None)

    def _on_bounds(self) -> None:
        low, high = self.low.value(), self.high.value()
        if low < high:
            self.session.set_display(
                **{"percentiles" if self.session.display.limits is None else "limits": (low, high)}
            )
        else:
            self.show_display(self.session.display)

    def show_display(self, display: DisplaySettings) -> None:
        """Bring every control in line with the settings."""
        by_hand = display.limits is not None
        for button, on in ((self.by_hand, by_hand), (self.by_percentile, not by_hand)):
            with signals_blocked(button):
                button.setChecked(on)
        low, high = display.limits or display.percentiles
        for spin, value in ((self.low, low), (self.high, high)):
            with signals_blocked(spin):
                spin.setDecimals(2 if by_hand else 1)
                spin.setRange(-1000 if by_hand else 0, 1000 if by_hand else 100)
                spin.setSingleStep(0.1 if by_hand else 1)
                spin.setSuffix("" if by_hand else " %")
                spin.setValue(value)
        self.from_zero.setEnabled(not by_hand)
        with signals_blocked(self.from_zero), signals_blocked(self.colormap):
            self.from_zero.setChecked(display.from_zero)
            self.colormap.setCurrentText(display.colormap)


LINES = 15  # classes up to which each has a line of the legend


class ClassBox(QWidget):
    """Chooses a column of classes of the session's case; hidden where it has none.

    Parameters
    ----------
    session : Session
        What it changes.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self._legend_of: Classes | None = None
        tip = "The column of the spots file that holds clusters, annotations or cell types."
        self.column = choice(tip, long=True)
        self.column.currentTextChanged.connect(lambda text: session.set_display(classes=text))
        self.legend = label(rich=True)
        bare(form_of(("Classes from", self.column), self.legend, inside=self))

    def refresh(self) -> None:
        """Offer the columns of the case, and say what the colours of the chosen one mean."""
        case, classes = self.session.case, self.session.classes
        self.setVisible(classes is not None)
        if case is None or classes is None or classes is self._legend_of:
            return
        self._legend_of = classes
        fill_choice(self.column, [(name, name) for name in case.classes], classes.column)
        entries = (
            f'<span style="color: rgb{colour}">■</span> {escape(name)} ({n:,})'
            for colour, name, n in zip(classes.colours, classes.names, classes.counts, strict=True)
        )
        self.legend.setText(("<br>" if len(classes.names) <= LINES else " &nbsp; ").join(entries))


class PoolBox(NamedChoice):
    """Chooses to what spots cells or bins are pooled; hidden where the window shows none that were measured.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Whose section it is.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__("Pooled to", "Sums the counts of cells or small bins into spots, as for a prediction.")
        self.viewer = viewer
        self.changed.connect(self._pool)

    def refresh(self) -> None:
        """Say how the section that is shown is pooled, and offer the other ways."""
        case = session_of(self.viewer).case
        with QSignalBlocker(self):
            offer_pools(self, "" if case is None else case.poolable)
            self.choose(NONE if case is None or case.unpooled is None else case.provenance.pool)

    def _pool(self) -> None:
        session = session_of(self.viewer)
        case, slide = session.case, session.slide
        if case is None:
            return

        def done(pooled: "Case") -> None:
            pooled.view = record_of(session)
            session.look_at(pooled, slide)

        job = open_pooled(case.unpooled or case, self.name)
        run_for_case(self.viewer, job, done, f"Pooling {case.name}", while_there(self.refresh))
