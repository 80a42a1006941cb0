"""Swiping between measured and predicted: what is seen on which side of the line, and what moves it."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication

from napari_cmrcnet.viewer import spot_layer
from napari_cmrcnet.viewer.registry import layers_of, session_of
from napari_cmrcnet.widgets.dock_panel import canvas_of, main_window, show_on_canvas
from napari_cmrcnet.widgets.swipe import SwipeLine
from one_prediction import Known, look_at

pytestmark = pytest.mark.qt

RED, BLUE = (1, 0, 0, 1), (0, 0, 1, 1)


@pytest.mark.parametrize(
    ("most_points", "near"),
    [
        pytest.param(50_000, 0.03, marks=pytest.mark.qt("pyqt6")),
        pytest.param(0, 0.08, marks=pytest.mark.qt("pyside6")),
    ],
)
def test_measured_is_left_of_the_line_and_predicted_right_of_it(
    napari_window: Any,
    qtbot: Any,
    known: dict[str, Known],
    monkeypatch: pytest.MonkeyPatch,
    most_points: int,
    near: float,
) -> None:
    monkeypatch.setattr(spot_layer, "MOST_POINTS", most_points)  # with 0 all are a picture, cut between spots
    viewer = napari_window
    viewer.window.resize(1000, 700)
    look_at(viewer, known["C"])
    show_on_canvas(viewer, SwipeLine)
    show_on_canvas(viewer, SwipeLine)
    canvas = canvas_of(main_window(viewer))
    (line,) = canvas.findChildren(SwipeLine)
    session, layers = session_of(viewer), layers_of(viewer)
    assert line.isHidden()
    session.set_display(spot_size=2.0, opacity=1.0)  # so that they touch

    qtbot.keyClick(canvas, Qt.Key.Key_W)
    assert session.display.layout == "swipe"
    assert line.isVisible()
    names = [layers.points[view].name_overlay.visible for view in ("measured", "predicted")]
    assert names == [False, True]  # not over each other, nor across the line
    assert not viewer.canvas.grid.enabled
    assert [layer.visible for layer in layers.slides.values()] == [True, False]  # one below the spots of both
    for view, colour in (("measured", RED), ("predicted", BLUE)):
        layers.points[view].face_color = np.tile(colour, (len(known["C"].prediction), 1))
    assert edges(viewer) == pytest.approx([0.5, 0.5], abs=near)

    start, way = QPoint(line.width() // 2, 20), QPoint(round(0.1 * canvas.width()), 0)
    qtbot.mousePress(line, Qt.MouseButton.LeftButton, pos=start)
    qtbot.mouseMove(line, start + way)
    qtbot.mouseRelease(line, Qt.MouseButton.LeftButton, pos=start)
    assert edges(viewer) == pytest.approx([0.6, 0.6], abs=near)
    qtbot.keyClick(line, Qt.Key.Key_Left)
    assert line.at == pytest.approx(0.58, abs=0.01)
    viewer.scene.camera.zoom *= 1.5  # the line keeps its place on the tissue
    assert line.at == pytest.approx(0.62, abs=0.02)
    assert edges(viewer) == pytest.approx([0.62, 0.62], abs=near)

    qtbot.keyClick(line, Qt.Key.Key_W)  # which the line leaves to the canvas
    assert session.display.layout == "side by side"
    assert line.isHidden()
    assert not any(layer.experimental_clipping_planes for layer in layers.points.values())


def edges(viewer: Any) -> list[float]:
    """Return how far red spots go to the right and blue ones to the left, in shares of the canvas's width."""
    QApplication.processEvents()
    picture: npt.NDArray[np.int_] = viewer.screenshot(canvas_only=True, flash=False).astype(int)
    red, blue = (
        np.flatnonzero(((picture[..., one] - picture[..., other] > 180) & (picture[..., 1] < 60)).any(axis=0))
        for one, other in ((0, 2), (2, 0))
    )
    return [red.max() / picture.shape[1], blue.min() / picture.shape[1]]
