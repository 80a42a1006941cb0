"""The Threshold panel: where the shown gene or signature is high, how large that is, and how it agrees."""

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QLabel,
    QListWidget,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.evaluation.localise import example_threshold, otsu
from napari_cmrcnet.evaluation.plots_threshold import HistogramPlot
from napari_cmrcnet.viewer.coloring import expression_limits
from napari_cmrcnet.viewer.compare import kinds_of
from napari_cmrcnet.viewer.threshold import Above, sources, spots_of
from napari_cmrcnet.widgets.dock_panel import DockPanel
from napari_cmrcnet.widgets.messages import in_panel_words, told
from napari_cmrcnet.widgets.parts import button, choice, fill_choice, form_of, in_row, label, number, scrolled, stack
from napari_cmrcnet.widgets.plot_canvas import style_of

if TYPE_CHECKING:
    import napari

    from napari_cmrcnet.evaluation.shown import Kind, Shown

EMPTY = (
    "There is nothing to look at yet. Open a section with its counts, press Predict in the Predict panel, or open a "
    "saved prediction. Then choose a gene, or show the score of a panel, in the Genes panel."
)
_HISTOGRAM_PX = 190
_CLASSES_PX = 110


class ThresholdPanel(DockPanel):
    """Sets a threshold on the shown gene or panel score: by Otsu's method, by number, or in the histogram."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:
        super().__init__(napari_viewer)
        self._of: tuple[Any, Kind] | None = None  # the values that the threshold is of
        self._dragged: str | None = None
        self._build()
        self._connect()
        self.refresh()

    def _build(self) -> None:
        from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
        from matplotlib.figure import Figure

        self.title, self.count, self.agreement, self.message, self.empty = (label() for _ in range(5))
        self.canvas = FigureCanvasQTAgg(Figure())
        self.canvas.setFixedHeight(_HISTOGRAM_PX)
        self.canvas.setToolTip(
            "The number of spots with each value. Drag the thick line to set the threshold, a broken line to set a "
            "limit of the colours."
        )
        self.plot = HistogramPlot(self.canvas.figure, style_of(self.viewer))
        self.kind = choice("The values that the threshold is on.")
        tip = "Spots with a higher value are above the threshold."
        self.value = number(tip, -1000, 1000, step=0.05, decimals=3)
        self.value.setKeyboardTracking(False)
        tip = "Sets the threshold that divides the spots into the two most different groups."
        self.otsu = button("Otsu", tip, self._on_otsu)
        self.hide_others = QCheckBox("Show only the spots above it")
        self.hide_others.setToolTip("Hides the other spots in all views, until another gene is shown.")
        tip = "Adds the outline of these spots to the regions, to save for QuPath or to score in."
        self.regions = button("Make regions", tip, self._on_regions)
        self.select = button("Select spots", "Selects these spots in all views and plots.", self._on_select)
        self.source = choice(
            "What is known about the spots: classes in the spots' file, regions, or the measured gene."
        )
        self.classes = QListWidget()
        self.classes.setSelectionMode(QAbstractItemView.SelectionMode.MultiSelection)
        self.classes.setMaximumHeight(_CLASSES_PX)
        self.classes.setToolTip("The classes to compare with, taken together.")
        tip = "Sets the threshold that tells the spots of these classes or regions from the others best."
        self.example = button("Threshold from these", tip, self._on_example)
        row = in_row((self.kind, 1), QLabel(">"), (self.value, 1), self.otsu)
        buttons, form = in_row(self.regions, self.select), form_of(("Compare with", self.source))
        self.inside = QWidget()
        above = (self.title, self.canvas, row, self.count, self.hide_others, buttons)
        stack(self.inside, *above, form, self.classes, self.example, self.agreement, None)
        stack(self, scrolled(self.inside), self.empty, self.message, margins=True)

    def _connect(self) -> None:
        self.kind.activated.connect(lambda _: self.refresh())
        self.value.valueChanged.connect(self._on_value)
        self.hide_others.toggled.connect(lambda _: self._hide())
        self.source.activated.connect(lambda _: self._list_classes())
        self.classes.itemSelectionChanged.connect(self._compare)
        for name, act in (("press", self._on_press), ("release", self._on_release)):
            self.canvas.mpl_connect(f"button_{name}_event", act)
        self.canvas.mpl_connect("motion_notify_event", self._on_move)
        session = self.session
        self.follow(self.refresh, session.case_changed, session.shown_changed, session.display_changed)
        self.follow(self._list_sources, session.regions_changed)
        self.follow(self._on_theme, self.viewer.events.theme)

    @property
    def above(self) -> Above | None:
        """The spots above the threshold, None where nothing is shown."""
        shown = self.session.shown
        return None if shown is None or self._of is None else Above(shown, self._of[1], self.value.value())

    def show_now(self) -> None:
        """Take what is shown; of other values, the threshold is Otsu's."""
        shown = self.session.shown
        self.inside.setVisible(shown is not None)
        self.empty.setText(EMPTY if shown is None else "")
        self.empty.setVisible(shown is None)
        if shown is None:
            self._of = None
            return
        with signals_blocked(self.hide_others):
            self.hide_others.setChecked(shown.hidden is not None)
        kinds = kinds_of(self.session)
        fill_choice(self.kind, [(kind, kind) for kind in kinds], self.kind.currentText())
        kind: Kind = self.kind.currentData()
        values = shown.values(kind)
        if self._of is None or self._of[0] is not values:
            self._of = (values, kind)
            self.title.setText(f"{shown.name}, {shown.unit}")
            self.plot.show({each: shown.values(each) for each in kinds}, shown.unit)
            self._on_otsu()
            self._list_sources()
        self._draw_limits(shown)

    def _draw_limits(self, shown: "Shown") -> None:
        if self._dragged is None:
            for name, value in zip(("low", "high"), expression_limits(shown, self.session.display), strict=True):
                self.plot.move(name, value)
        self.canvas.draw_idle()

    def _on_otsu(self) -> None:
        shown = self.session.shown
        assert self._of is not None
        assert shown is not None
        try:
            self._set(otsu(shown.reliable(self._of[1])))
            self.message.setText("")
        except UserError as error:
            self._set(float(np.nanmax(self._of[0], initial=0.0)))
            self.message.setText(in_panel_words(error))

    def _on_example(self) -> None:
        above, chosen = self.above, [item.text() for item in self.classes.selectedItems()]
        if above is None:
            return
        example = spots_of(self.session, above.kind, self.source.currentText(), chosen)
        with told(self.message.setText):
            if example is None:
                raise UserError("Choose one or more classes or regions above first.")
            self._set(example_threshold(above.values, example))
            self.message.setText("")

    def _set(self, threshold: float) -> None:
        with signals_blocked(self.value):
            self.value.setValue(threshold)
        self._on_value()

    def _on_value(self) -> None:
        """Say what is above the threshold, and hide what is not if that is asked for."""
        above = self.above
        if above is None:
            return
        self.plot.move("threshold", self.value.value())
        self.canvas.draw_idle()
        self.count.setText(above.in_words(self.session))
        self._compare()
        if self.hide_others.isChecked() and self._dragged is None:
            self._hide()

    def _hide(self) -> None:
        above = self.above
        if above is not None:
            self.session.hide(~above.spots if self.hide_others.isChecked() else None)

    def _on_regions(self) -> None:
        above = self.above
        if above is None:
            return
        with told(self.message.setText):
            self.layers.read_regions()  # the Regions panel, which reads what is drawn, may not be open
            pieces = above.make_regions(self.session)
            of = f" ({pieces} pieces)" if pieces > 1 else ""
            self.message.setText(f"The outline{of} is in the Regions panel and over the section.")

    def _on_select(self) -> None:
        above = self.above
        if above is not None:
            self.session.select(np.flatnonzero(above.spots))

    def _list_sources(self) -> None:
        if self._of is None:
            return
        names = list(sources(self.session, self._of[1]))
        fill_choice(self.source, [(name, name) for name in names], self.source.currentText())
        for widget in (self.source, self.classes):
            widget.setEnabled(bool(names))
        self._list_classes()

    def _list_classes(self) -> None:
        chosen = [item.text() for item in self.classes.selectedItems()]
        known = {} if self._of is None else sources(self.session, self._of[1])
        names = list(known.get(self.source.currentText(), ()))
        with signals_blocked(self.classes):
            self.classes.clear()
            self.classes.addItems(names)
            for row, name in enumerate(names):
                self.classes.item(row).setSelected(name in chosen or len(names) == 1)
        self._compare()

    def _compare(self) -> None:
        above = self.above
        chosen = [item.text() for item in self.classes.selectedItems()]
        said = "" if above is None else above.compared(self.session, self.source.currentText(), chosen)
        self.agreement.setText(said or "Choose one or more classes above to see how the spots agree with them.")

    def _on_press(self, event: Any) -> None:
        if event.button == 1 and event.inaxes is not None:
            self._dragged = self.plot.line_at(event.x) or "threshold"
            self._on_move(event)

    def _on_move(self, event: Any) -> None:
        if event.inaxes is None or event.xdata is None:
            return
        if self._dragged is None:
            over = self.plot.line_at(event.x) is not None
            self.canvas.setCursor(Qt.CursorShape.SplitHCursor if over else Qt.CursorShape.ArrowCursor)
        elif self._dragged == "threshold":
            self._set(float(event.xdata))
        else:
            self.plot.move(self._dragged, float(event.xdata))
            self.canvas.draw_idle()

    def _on_release(self, _event: Any) -> None:
        """Let all views follow, once, when the mouse is let go."""
        dragged, self._dragged = self._dragged, None
        if dragged in ("low", "high"):
            low, high = self.plot.at["low"], self.plot.at["high"]
            if low < high:
                self.session.set_display(limits=(round(low, 3), round(high, 3)))
            self.refresh()
        elif dragged is not None and self.hide_others.isChecked():
            self._hide()

    def _on_theme(self) -> None:
        """Draw the histogram again, in the colours of the theme."""
        self.canvas.figure.clear()
        self.plot = HistogramPlot(self.canvas.figure, style_of(self.viewer))
        if (shown := self.session.shown) is not None:
            self.plot.show({kind: shown.values(kind) for kind in kinds_of(self.session)}, shown.unit)
            self.plot.move("threshold", self.value.value())
            self._draw_limits(shown)
