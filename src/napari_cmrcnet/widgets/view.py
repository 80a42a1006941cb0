"""The View panel: what is shown beside what, on which colours, how large and how opaque."""

from html import escape
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QGroupBox,
    QRadioButton,
)
from superqt import QLabeledDoubleSlider
from superqt.utils import signals_blocked

from napari_cmrcnet.viewer.coloring import PREDICT_FIRST
from napari_cmrcnet.viewer.display_settings import CONFIDENCES, VIEWS, WINDOW_UM, DisplaySettings, Layout
from napari_cmrcnet.widgets.choosers import PANEL_WIDTH
from napari_cmrcnet.widgets.dialogs import SLIDE, offer_kinds
from napari_cmrcnet.widgets.dock_panel import DockPanel, layer_list_wanted, show_layer_list
from napari_cmrcnet.widgets.messages import HOW_TO_BEGIN
from napari_cmrcnet.widgets.open_files import find_checkpoint, find_slide
from napari_cmrcnet.widgets.parts import (
    boxed,
    button,
    choice,
    form_of,
    in_row,
    label,
    number,
    scrolled_parts,
    stack,
    tipped,
)
from napari_cmrcnet.widgets.remember import recall, remember
from napari_cmrcnet.widgets.view_boxes import ClassBox, ColourBox, PoolBox
from napari_cmrcnet.widgets.warning_line import WarningLine

if TYPE_CHECKING:
    import napari

REMEMBERED = ("colormap", "from_zero", "opacity", "spot_size", "mark_out_of_distribution")
LAYOUT_TEXTS: dict[Layout, tuple[str, str]] = {
    "side by side": ("Side by side", "Shows the ticked views next to each other. They zoom and move together."),
    "overlaid": ("One at a time", "Shows one view on the whole canvas. Press F to flip predicted and measured."),
    "swipe": (
        "Swipe",
        "Shows measured left of a line and predicted right of it. Drag the line. On the canvas, press W.",
    ),
}
VIEW_TIPS = {
    "measured": "What was measured at each spot.",
    "predicted": "What the model predicts from the image.",
    "difference": "Predicted minus measured: red where the prediction is too high, blue where it is too low.",
    "local PCC": "How well predicted follows measured around each spot. Green: they agree; purple: they are opposite.",
    "confidence": "How far each spot's value can be trusted.",
    "classes": "Clusters, annotations or cell types of the spots, where the file holds some.",
}


class ViewPanel(DockPanel):
    """Changes how the session is drawn, and follows it."""

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:
        super().__init__(napari_viewer)
        self._build()
        self.setMinimumWidth(PANEL_WIDTH)
        self._connect()
        if self.session.case is None or not self.session.case.view:  # else it remembers its own
            display = self.session.display
            kept = {key: recall(f"display/{key}", getattr(display, key)) for key in REMEMBERED}
            checked = DisplaySettings.from_dict(display.to_dict() | kept)
            self.session.set_display(**{key: getattr(checked, key) for key in REMEMBERED})
        self.follow(self._show_display, self.session.display_changed)
        changes = (self.session.case_changed, self.session.shown_changed, self.layers.beside.changed)
        self.follow(self._show_shown, *changes)
        self._show_display(self.session.display, self.session.display)
        self._show_shown()

    def _build(self) -> None:
        self.title = label(rich=True, selectable=True)
        self.find_slide = button("Find slide…", "Asks where the slide is: it was not found.")
        tip = "Asks where the checkpoint is: it has moved. Without it, only the stored genes can be shown."
        self.find_checkpoint = button("Find checkpoint…", tip, lambda: find_checkpoint(self, self.viewer))
        self.warnings, self.pool, self.colours = WarningLine(), PoolBox(self.viewer), ColourBox(self.session)
        above = (self.title, self.warnings, self.find_slide, self.find_checkpoint, self.pool)
        stack(self, scrolled_parts(*above, self._layout_box(), self.colours, self._spots_box(), None))

    def _layout_box(self) -> QGroupBox:
        self.layouts: dict[Layout, QRadioButton] = {
            layout: tipped(QRadioButton(text), tip) for layout, (text, tip) in LAYOUT_TEXTS.items()
        }
        self.ticks: dict[str, QCheckBox] = {view: tipped(QCheckBox(view), VIEW_TIPS[view]) for view in VIEWS}
        self.fronts: dict[str, QRadioButton] = {view: tipped(QRadioButton(view), VIEW_TIPS[view]) for view in VIEWS}
        self._front_group = QButtonGroup(self)
        for front in self.fronts.values():
            self._front_group.addButton(front)
        self.window_um = number(
            "Radius of the window around a spot in which the local PCC is computed. Small windows hold few spots, and "
            "their PCC can be far from 0 by chance.",
            *WINDOW_UM,
            step=100,
            suffix=" µm",
        )
        self.window_um.setKeyboardTracking(False)
        self.confidence = choice(
            "Of the training spots behind a value: their mean or best similarity, the standard deviation of the "
            "gene among them (spread), or the number of sections they come from.",
            CONFIDENCES,
        )
        form = form_of(("Local PCC within", self.window_um), ("Confidence as", self.confidence))
        self.classes = ClassBox(self.session)
        tip = "Switches between predicted and measured in the same place. On the canvas, press F."
        self.flip = button("Flip predicted and measured (F)", tip, self.session.flip)
        self.fit = button("Whole section", "Zooms out to the whole section.", self.layers.groups.fit)
        tip = "Shows them beside the section. Without them, the section has more room."
        self.layer_list = tipped(QCheckBox("napari's layer list and controls"), tip)
        self.layer_list.setChecked(layer_list_wanted())
        views = [each for view in VIEWS for each in (self.ticks[view], self.fronts[view])]
        below = (form, self.classes, in_row(self.flip, self.fit), self.layer_list)
        return boxed("Views", in_row(*self.layouts.values(), None), *views, *below)

    def _spots_box(self) -> QGroupBox:
        box = QGroupBox("Spots")
        self.opacity = _slider("Lower values show more of the tissue under the spots.", 0, 1)
        self.size = _slider("Drawn diameter relative to the true one: 1 is true to scale.", 0.2, 3)
        self.out_of_distribution = tipped(
            QCheckBox("Ring spots unlike the training tissue (unreliable)"),
            "Draws a spot as a ring if even its best match is less similar than that of 99 % of the training "
            "spots. Its value is unreliable.",
        )
        form_of(("Opacity", self.opacity), ("Size", self.size), self.out_of_distribution, inside=box)
        return box

    def _connect(self) -> None:
        session, viewer = self.session, self.viewer
        offer_kinds(self.find_slide, SLIDE, lambda kind: find_slide(self, viewer, kind))
        for layout, radio in self.layouts.items():
            radio.clicked.connect(lambda _on, layout=layout: session.set_display(layout=layout))
        for view, tick in self.ticks.items():
            tick.clicked.connect(lambda _on, view=view: self._on_tick(view))
        for view, front in self.fronts.items():
            front.clicked.connect(lambda _on, view=view: session.set_display(front=view))
        self.window_um.valueChanged.connect(lambda value: session.set_display(window_um=float(value)))
        self.confidence.currentTextChanged.connect(lambda text: session.set_display(confidence=text))
        self.layer_list.toggled.connect(lambda on: show_layer_list(self, on))
        self.opacity.valueChanged.connect(lambda value: session.set_display(opacity=round(value, 2)))
        self.size.valueChanged.connect(lambda value: session.set_display(spot_size=round(value, 2)))
        self.out_of_distribution.toggled.connect(lambda on: session.set_display(mark_out_of_distribution=on))

    def _on_tick(self, view: str) -> None:
        chosen = tuple(name for name in VIEWS if self.ticks[name].isChecked())
        if chosen:
            self.session.set_display(views=chosen)
        else:  # one view must be left
            self.ticks[view].setChecked(True)

    def _show_display(self, display: DisplaySettings, _old: DisplaySettings) -> None:
        self.layouts[display.layout].setChecked(True)
        self._show_views()
        self.colours.show_display(display)
        with signals_blocked(self.window_um):
            self.window_um.setValue(round(display.window_um))
        with signals_blocked(self.confidence):
            self.confidence.setCurrentText(display.confidence)
        for slider, value in ((self.opacity, display.opacity), (self.size, display.spot_size)):
            with signals_blocked(slider):
                slider.setValue(value)
        with signals_blocked(self.out_of_distribution):
            self.out_of_distribution.setChecked(display.mark_out_of_distribution)
        remember({f"display/{key}": getattr(display, key) for key in REMEMBERED})

    def _show_shown(self) -> None:
        shown, case, prediction = self.session.shown, self.session.case, self.session.prediction
        slide = self.session.slide
        self.find_slide.setVisible(case is not None and (slide is None or slide.scale != 1))
        saved = prediction is not None and prediction.path is not None and not prediction.provenance.external
        self.find_checkpoint.setVisible(saved and prediction is not None and prediction.bank is None)
        self.warnings.show_warnings(self.layers.warnings)
        self.pool.refresh()
        if shown is None or case is None:
            self.title.setText(f"There is nothing to look at yet. {HOW_TO_BEGIN}")
            return
        out_of_distribution = case.out_of_distribution()
        title = shown.title.replace("   ", " · ")  # a label makes one space of several
        lines = [f"<b>{escape(title, quote=False)}</b>"]
        if out_of_distribution is not None and (n := np.count_nonzero(out_of_distribution)):
            lines.append(f"{n:,} spot{('s are' if n > 1 else ' is')} unlike the training tissue.")
        if case.provenance.synthetic:
            lines.append("Synthetic: not real tissue.")
        if slide is not None and slide.scale != 1:
            lines.append(f"Over a small picture of the slide ({escape(slide.path.name)}).")
        self.title.setText("<br>".join(lines))
        self.title.setToolTip(shown.tip)
        there = self.session.views
        for view in VIEWS:
            for each in (self.ticks[view], self.fronts[view]):
                each.setEnabled(view in there)
                needs_one = prediction is None and view in ("predicted", "difference", "local PCC", "confidence")
                each.setToolTip(PREDICT_FIRST if needs_one else VIEW_TIPS[view])
        for both in (self.flip, self.layouts["swipe"]):
            both.setEnabled({"measured", "predicted"} <= set(there))
        for control in (self.confidence, self.out_of_distribution):
            control.setEnabled(prediction is not None)
        self._show_views()

    def _show_views(self) -> None:
        """Tick the views that are asked for; of those of which there is something to see, one is in front."""
        display, there = self.session.display, self.session.views
        front = display.front if display.front in there or not there else there[0]
        for view in VIEWS:
            with signals_blocked(self.ticks[view]), signals_blocked(self.fronts[view]):
                self.ticks[view].setChecked(view in display.views)
                self.fronts[view].setChecked(view == front)
            self.ticks[view].setVisible(display.layout == "side by side")
            self.fronts[view].setVisible(display.layout == "overlaid")
        self.classes.refresh()


def _slider(tip: str, low: float, high: float) -> QLabeledDoubleSlider:
    made = tipped(QLabeledDoubleSlider(Qt.Orientation.Horizontal), tip)
    made.setRange(low, high)
    made.setDecimals(2)
    return made
