"""The Plots panel: five plots that follow gene, selection, scores and theme, through the panel's own controls."""

import subprocess
import sys
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent, QWheelEvent
from qtpy.QtWidgets import QApplication

from dialogs import SaveDialog
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.evaluation.scores import Scores, score
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.sections.panels import Panel
from napari_cmrcnet.viewer.registry import session_of
from napari_cmrcnet.widgets.plot_canvas import style_of
from napari_cmrcnet.widgets.plots import PlotsPanel
from one_prediction import Known

pytestmark = pytest.mark.qt

SPOTS, SETS, MOMENTS, CORRELATION, MAPS = range(5)
WAIT = 60_000  # ms: the machine may be busy


@pytest.fixture(scope="module")
def scores(predicted: Prediction) -> Scores:
    return score(predicted)


class Window:
    """The panel of a viewer, in a window of its own."""

    def __init__(self, viewer: Any, qtbot: Any) -> None:
        self.viewer, self.qtbot, self.session = viewer, qtbot, session_of(viewer)
        self.panel = PlotsPanel(viewer)
        qtbot.addWidget(self.panel)
        self.panel.resize(380, 760)
        self.panel.show()
        self.settle()

    def settle(self) -> None:
        """Wait until the plot that is seen is drawn as it is now."""
        for _ in range(3):
            self.qtbot.wait(60)

    def choose(self, which: int) -> Any:
        """Choose a plot in the list, and return its canvas; None where words stand in its place."""
        self.panel.which.setCurrentIndex(which)
        self.settle()
        return self.panel.canvases.get(self.panel.view)

    def correlated(self) -> Any:
        """Return the canvas of the correlations once they are computed; None where words stand in its place."""
        self.qtbot.waitUntil(lambda: not self.panel.jobs.busy, timeout=WAIT)
        self.settle()
        return self.panel.canvases.get(self.panel.view)

    def place(self, canvas: Any, x: float, y: float, axis: int = 0) -> QPoint:
        """Return where data coordinates are on the canvas, in Qt's pixels."""
        across, up = canvas.plot.axes[axis].transData.transform((x, y)) / canvas.canvas.devicePixelRatioF()
        return QPoint(round(across), round(canvas.canvas.height() - up))

    def click(self, canvas: Any, x: float, y: float, axis: int = 0, shift: bool = False) -> None:
        modifier = Qt.KeyboardModifier.ShiftModifier if shift else Qt.KeyboardModifier.NoModifier
        place = self.place(canvas, x, y, axis)
        self.qtbot.mouseClick(canvas.canvas, Qt.MouseButton.LeftButton, modifier, place)
        self.settle()

    def drag(self, canvas: Any, corners: list[tuple[float, float]]) -> None:
        """Draw a lasso through corners in data coordinates."""
        places = [self.place(canvas, *corner) for corner in corners]
        self.qtbot.mousePress(canvas.canvas, Qt.MouseButton.LeftButton, pos=places[0])
        for place in places[1:]:
            move(canvas.canvas, place, Qt.MouseButton.LeftButton)
        self.qtbot.mouseRelease(canvas.canvas, Qt.MouseButton.LeftButton, pos=places[-1])
        self.settle()


def move(widget: Any, place: QPoint, buttons: Any = Qt.MouseButton.NoButton) -> None:
    """Move the mouse; QTest's own moves have no buttons pressed."""
    where, none = QPointF(place), Qt.MouseButton.NoButton
    everywhere = QPointF(widget.mapToGlobal(place))
    event = QMouseEvent(QEvent.Type.MouseMove, where, everywhere, none, buttons, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(widget, event)


@pytest.fixture
def window(qtbot: Any) -> Window:
    return Window(ViewerModel(), qtbot)


@pytest.fixture
def filled(window: Window, predicted: Prediction, scores: Scores) -> Window:
    window.session.look_at(predicted)
    window.session.set_scores(scores)
    window.settle()
    return window


@pytest.mark.qt("pyside6")
def test_every_plot_names_section_and_patient(filled: Window, known: dict[str, Known], scores: Scores) -> None:
    texts = {which: filled.choose(which).plot.figure.texts for which in range(5)}
    assert all("C, patient P3" in [text.get_text() for text in found] for found in texts.values())
    other = copy(known["C"].prediction)
    other.provenance = replace(other.provenance, patient="P$4")
    filled.session.look_at(other)
    filled.session.set_scores(scores)
    for which in range(5):
        named = [text for text in filled.choose(which).plot.figure.texts if "patient" in text.get_text()]
        assert [text.get_text() for text in named] == ["C, patient P$4"]
        assert named[0].get_color() == filled.panel.canvases[filled.panel.view].plot.style.foreground


@pytest.mark.qt("pyside6")
def test_empty_states_say_what_to_do(window: Window, predicted: Prediction, tmp_path: Path) -> None:
    for which in range(4):
        assert window.choose(which) is None
        assert "Press Predict" in window.panel.empty.text()
        assert window.panel.empty.isVisible()
        assert not window.panel.save_button.isEnabled()
    window.session.look_at(predicted)
    for which in (SETS, MOMENTS):
        window.session.set_scoring(True)
        assert window.choose(which) is None
        assert "still being computed" in window.panel.empty.text()
        window.session.set_scoring(False)  # by Cancel
        assert "Press Compute scores" in window.panel.empty.text()
    spots = predicted.spots.copy()
    spots.X = None
    bare = Prediction(
        spots, predicted.neighbours, predicted.similarity, predicted.confidence(), predicted.provenance,
        bank=predicted.bank,
    )  # fmt: skip
    window.session.look_at(bare)
    for which in range(4):
        window.choose(which)
        assert "no measured expression" in window.panel.empty.text()
        assert not any(canvas.isVisible() for canvas in window.panel.canvases.values())


@pytest.mark.qt("pyside6")
def test_the_spots_follow_the_gene(filled: Window, predicted: Prediction) -> None:
    canvas = filled.choose(SPOTS)
    assert canvas.isVisible()
    filled.session.show("GENE7")
    np.testing.assert_array_equal(canvas.plot.y, predicted.gene("GENE7"))
    np.testing.assert_array_equal(canvas.plot.x, predicted.measured(["GENE7"])[:, 0])  # type: ignore[index]
    title = canvas.plot.axis.get_title()
    assert "GENE7" in title
    assert f"PCC {filled.session.shown.pcc:.2f} (95 % " in title  # type: ignore[union-attr]


@pytest.mark.qt("pyside6")
def test_only_the_plot_that_is_seen_is_updated(filled: Window) -> None:
    spots = filled.choose(SPOTS)
    filled.choose(SETS)
    before = spots.plot.axis.get_title()
    filled.session.show("GENE7")
    assert spots.plot.axis.get_title() == before
    filled.choose(SPOTS)
    assert "GENE7" in spots.plot.axis.get_title()


def test_a_panel_behind_another_does_nothing_and_catches_up(filled: Window) -> None:
    spots = filled.choose(SPOTS)
    filled.panel.hide()
    before = spots.plot.axis.get_title()
    filled.session.show("GENE9")
    assert spots.plot.axis.get_title() == before
    filled.panel.show()
    assert "GENE9" in spots.plot.axis.get_title()


def test_clicking_a_dot_selects_its_spot_and_shift_adds(filled: Window) -> None:
    canvas = filled.choose(SPOTS)
    plot = canvas.plot
    first = int(np.argmax(plot.x))
    second = int(np.argmin(plot.x))
    filled.click(canvas, plot.x[first], plot.y[first])
    (chosen,) = filled.session.selected
    assert plot.x[chosen] == pytest.approx(plot.x[first], abs=0.1)
    filled.click(canvas, plot.x[second], plot.y[second], shift=True)
    assert len(filled.session.selected) == 2
    assert "2 of 36 spots selected" in [text.get_text() for text in plot.axis.texts]
    left, right = plot.axis.get_xlim()
    filled.click(canvas, left + 0.98 * (right - left), left + 0.05 * (right - left))
    assert not len(filled.session.selected)


def test_a_lasso_selects_the_spots_within(filled: Window) -> None:
    canvas = filled.choose(SPOTS)
    plot = canvas.plot
    low, high = plot.axis.get_xlim()
    middle = float(np.median(plot.x))
    filled.drag(canvas, [(middle, low), (high, low), (high, high), (middle, high), (middle, low)])
    right = np.flatnonzero(plot.x > middle)
    assert set(right[1:]) <= set(filled.session.selected) | set(np.flatnonzero(np.abs(plot.x - middle) < 0.05))
    assert (plot.x[filled.session.selected] > middle - 0.05).all()
    assert len(filled.session.selected) > 10


@pytest.mark.qt("pyside6")
def test_a_selection_made_elsewhere_is_marked(filled: Window) -> None:
    canvas = filled.choose(SPOTS)
    filled.session.select([3, 5])
    marked = canvas.plot.axis.lines[2]
    np.testing.assert_array_equal(marked.get_xdata(), canvas.plot.x[[3, 5]])


def test_a_click_on_a_gene_in_the_boxes_shows_it(filled: Window) -> None:
    canvas = filled.choose(SETS)
    plot = canvas.plot
    filled.session.show(str(plot.genes[0]))
    other = int(np.flatnonzero(plot.genes != plot.genes[0])[0])
    filled.click(canvas, plot.x[other], plot.y[other])
    shown = filled.session.shown
    assert shown is not None
    assert shown.pcc == pytest.approx(plot.y[other], abs=0.05)
    assert shown.name != plot.genes[0]


def test_mean_and_variance_show_the_gene_under_the_mouse(filled: Window, scores: Scores) -> None:
    canvas = filled.choose(MOMENTS)
    filled.session.show("GENE1")
    row = scores.table.loc["GENE8"]
    filled.click(canvas, row.measured_variance, row.predicted_variance, axis=1)
    assert filled.session.shown is not None
    assert filled.session.shown.name == "GENE8"
    at = canvas.plot.axes[0].transData.transform((row.measured_mean, row.predicted_mean))
    assert filled.panel.view.tip(canvas.plot, canvas.plot.axes[0], tuple(at)) == "GENE8"


@pytest.mark.qt("pyside6")
def test_heatmaps_of_the_predictions_own_panel_come_first(filled: Window) -> None:
    filled.choose(CORRELATION)
    canvas = filled.correlated()
    assert filled.panel.correlation.choice.currentText() == "two genes"
    assert len(canvas.plot.result.genes) == 2
    # Matplotlib has heard of the height that Qt gave it when the plot asked for less.
    assert canvas.height() == canvas.canvas.height() < 320
    assert canvas.plot.figure.bbox.height == pytest.approx(canvas.height() * canvas.canvas.devicePixelRatioF())
    filled.panel.correlation.choice.setCurrentText("HEG")
    filled.panel.correlation.choice.activated.emit(1)
    filled.correlated()
    assert len(canvas.plot.result.genes) == 10  # the variable genes of the training sections
    filled.click(canvas, 3, 5)
    assert filled.session.shown is not None
    assert filled.session.shown.name == canvas.plot.result.genes[5]


@pytest.mark.qt("pyside6")
def test_a_panel_without_genes_here_says_so_and_a_new_one_is_offered(filled: Window) -> None:
    filled.choose(CORRELATION)
    choice = filled.panel.correlation.choice
    choice.setCurrentText("PSC")
    choice.activated.emit(choice.currentIndex())
    filled.correlated()
    assert "choose other genes" in filled.panel.empty.text()
    filled.session.add_panel(Panel("mine", ("GENE1", "GENE2", "GENE5")))
    assert choice.currentText() == "PSC"
    choice.setCurrentText("mine")
    choice.activated.emit(choice.currentIndex())
    filled.correlated()
    assert not filled.panel.empty.isVisible()
    assert sorted(filled.panel.canvases[filled.panel.view].plot.result.genes) == ["GENE1", "GENE2", "GENE5"]


@pytest.mark.qt("pyside6")
def test_many_genes_are_correlated_beside_the_window_and_can_be_cancelled(
    filled: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_cmrcnet.widgets import plot_gene_sets

    whole, waiting = plot_gene_sets.correlate_job, [True]

    def slow(*arguments: Any) -> Job[Any]:
        while waiting:
            yield Progress("Correlating", 0, 1, "genes")
        return (yield from whole(*arguments))

    monkeypatch.setattr(plot_gene_sets, "correlate_job", slow)
    filled.session.add_panel(Panel("many", tuple(f"GENE{index}" for index in range(12))))
    choice = filled.panel.correlation.choice
    choice.setCurrentText("many")
    filled.choose(CORRELATION)
    assert filled.panel.jobs.busy
    assert "Correlating the genes of many" in filled.panel.empty.text()
    filled.panel.jobs.cancel()
    filled.qtbot.waitUntil(lambda: not filled.panel.jobs.busy, timeout=WAIT)
    filled.qtbot.waitUntil(lambda: "choose the genes again" in filled.panel.empty.text(), timeout=WAIT)
    waiting.clear()
    choice.activated.emit(choice.currentIndex())
    filled.qtbot.waitUntil(lambda: not filled.panel.empty.isVisible(), timeout=WAIT)
    assert len(filled.panel.canvases[filled.panel.view].plot.result.genes) == 12


@pytest.mark.qt("pyside6")
def test_maps_of_a_panel_and_a_click_shows_the_gene(filled: Window, predicted: Prediction) -> None:
    filled.session.add_panel(Panel("mine", ("GENE1", "GENE2", "GENE5", "GENE7")))
    canvas = filled.choose(MAPS)
    choice = filled.panel.view.choice
    assert choice.currentText() == "two genes"  # the prediction's own
    choice.setCurrentText("mine")
    choice.activated.emit(choice.currentIndex())
    filled.settle()
    plot = canvas.plot
    assert [gene.name for gene in plot.genes] == ["GENE1", "GENE2", "GENE5", "GENE7"]
    np.testing.assert_array_equal(plot.genes[3].maps["predicted"], predicted.gene("GENE7"))
    filled.session.show("GENE1")
    axes = plot.axes
    (place,) = [number for number, axis in enumerate(axes) if plot.tip(axis, (0, 0)) == "GENE7, predicted"]
    filled.click(canvas, *predicted.xy.mean(axis=0), axis=place)
    assert filled.session.shown is not None
    assert filled.session.shown.name == "GENE7"
    assert plot.axes is axes  # nothing was drawn again but the title's colour
    accent = [axis for axis in axes if axis.get_title() and axis.title.get_color() == plot.style.accent]
    assert [plot.tip(axis, (0, 0)) for axis in accent] == ["GENE7, measured"]
    assert filled.panel.view.tip(plot, axes[place], (0, 0)) == "GENE7, predicted"
    filled.session.set_display(colormap="magma")
    filled.settle()
    assert plot.axes is not axes
    choice.setCurrentText("PSC")
    choice.activated.emit(choice.currentIndex())
    assert "none of the genes of PSC" in filled.panel.empty.text()


@pytest.mark.qt("pyside6")
def test_all_plots_take_the_theme(filled: Window) -> None:
    for theme in ("light", "dark"):
        filled.viewer.theme = theme
        style = style_of(filled.viewer)
        assert filled.panel.canvases[filled.panel.view].plot.style == style  # the one that is seen, at once
        for which in range(5):
            canvas = filled.choose(which)
            assert canvas.plot.style == style
            filled.settle()
            image = canvas.canvas.grab().toImage()
            assert image.pixelColor(2, 2).name() == style.background


@pytest.mark.qt("pyside6")
def test_each_plot_is_saved_on_white(filled: Window, tmp_path: Path, save_dialog: SaveDialog) -> None:
    from matplotlib.image import imread

    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    for which, ending in [*((which, "png") for which in range(5)), (4, "svg"), (4, "pdf")]:
        canvas = filled.choose(which)
        save_dialog.answer = tmp_path / "pictures" / f"{which + 1}.{ending}"
        filled.qtbot.mouseClick(filled.panel.save_button, Qt.MouseButton.LeftButton)
        saved = tmp_path / "pictures" / f"{which + 1}.{ending}"
        assert saved.read_bytes().startswith(starts[ending])
        assert f"Saved {saved}" in filled.panel.jobs.text
        assert canvas.plot.style == style_of(filled.viewer)  # the window's own is as it was
    asked = save_dialog.proposed
    assert asked[0].name == f"C_{filled.session.shown.name}_predicted_against_measured.png"  # type: ignore[union-attr]
    assert save_dialog.proposed[-1].name == "C_two_genes_maps_of_a_panel.png"
    assert asked[1].parent == tmp_path / "pictures"  # where the last one went
    for which in range(5):
        assert (imread(tmp_path / "pictures" / f"{which + 1}.png")[0, 0, :3] == 1).all()


def test_a_picture_that_cannot_be_saved_is_one_sentence(
    filled: Window, tmp_path: Path, save_dialog: SaveDialog
) -> None:
    (tmp_path / "file").write_text("")
    save_dialog.answer = tmp_path / "file" / "plot.png"
    filled.panel.save_picture()
    assert "could not be written" in filled.panel.jobs.text
    save_dialog.answer = None
    filled.panel.jobs.message("")
    filled.panel.save_picture()
    assert not filled.panel.jobs.text


@pytest.mark.qt("pyside6")
@pytest.mark.parametrize("width", [380, 900])
def test_the_panel_fits_and_plots_keep_a_height(filled: Window, width: int) -> None:
    filled.panel.resize(width, 500)
    for which in range(5):
        canvas = filled.choose(which)
        assert filled.panel.minimumSizeHint().width() <= 380
        assert canvas.canvas.height() >= 270
        assert canvas.canvas.width() <= filled.panel.width()
        assert filled.panel.save_button.geometry().right() < filled.panel.width()


def test_the_wheel_is_left_to_the_panel(filled: Window) -> None:
    canvas = filled.choose(MOMENTS)
    place, still = QPointF(50, 50), Qt.ScrollPhase.NoScrollPhase
    none, modifiers = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier
    event = QWheelEvent(
        place, canvas.canvas.mapToGlobal(place), QPoint(), QPoint(0, -240), none, modifiers, still, False
    )
    QApplication.sendEvent(canvas.canvas, event)
    assert not event.isAccepted()  # so Qt gives it to what is around the canvas: the panel, which scrolls


def test_docked_in_napari_and_closed_again(
    napari_window: Any, qtbot: Any, predicted: Prediction, scores: Scores
) -> None:
    viewer = napari_window
    viewer.window.resize(1280, 800)
    panel, session = PlotsPanel(viewer), session_of(viewer)
    viewer.window.add_dock_widget(panel, name="Plots", area="right")
    session.look_at(predicted, scores=scores)
    qtbot.waitUntil(lambda: panel.view in panel.canvases, timeout=WAIT)
    panel.canvases[panel.view].canvas.draw()
    assert panel.width() <= 420
    viewer.window.remove_dock_widget(panel)
    qtbot.wait(100)
    session.show("GENE5")
    session.select([1])
    session.look_at(predicted, scores=scores)
    viewer.theme = "light"
    qtbot.wait(100)
    session.look_at(None)


@pytest.mark.qt("pyside6")
def test_importing_the_panel_does_not_import_matplotlib() -> None:
    code = "import sys, napari_cmrcnet.widgets.plots; print(*{m.split('.')[0] for m in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"matplotlib", "torch", "scanpy", "timm"} & set(loaded)
