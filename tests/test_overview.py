"""The small picture of the slide in a corner of the canvas: its frame follows the camera, and a click moves it."""

from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication

from napari_cmrcnet.viewer.registry import layers_of, session_of
from napari_cmrcnet.widgets.dock_panel import show_on_canvas
from napari_cmrcnet.widgets.overview import Overview
from one_prediction import Known, look_at

pytestmark = pytest.mark.qt


def test_the_frame_is_what_the_canvas_shows_and_a_click_moves_it(
    napari_window: Any, qtbot: Any, known: dict[str, Known]
) -> None:
    viewer = napari_window
    viewer.window.resize(1280, 800)
    look_at(viewer, known["C"])
    show_on_canvas(viewer, Overview)
    show_on_canvas(viewer, Overview)
    (overview,) = [widget for widget in QApplication.allWidgets() if isinstance(widget, Overview)]
    layers, camera = layers_of(viewer), viewer.scene.camera
    layers.groups.fit()
    slide = layers.slides["measured"]
    assert not overview.zoomed_in
    assert overview.text == f"{1 / camera.zoom:.3g} µm/px · {10 * camera.zoom:.3g}×"

    camera.zoom *= 6
    assert overview.zoomed_in
    low, high = slide.extent.world
    rows, columns = viewer.canvas.grid.shape
    height, width = viewer.canvas.size
    x, y, w, h = overview.part
    assert (w, h) == pytest.approx((width / columns / camera.zoom / (high - low)[1],
                                    height / rows / camera.zoom / (high - low)[0]))  # fmt: skip
    middle = (np.array(camera.center[-2:]) - low) / (high - low)
    assert (y + h / 2, x + w / 2) == pytest.approx(tuple(middle))

    picture = overview.grab().toImage()
    assert picture.pixelColor(2, overview.height() - 2).lightness() > 150  # behind the magnification
    sides = overview._picture.width(), overview._picture.height()
    click = QPoint(round(0.25 * sides[0]), round(0.75 * sides[1]))
    qtbot.mouseClick(overview, Qt.MouseButton.LeftButton, pos=click)
    at = (np.array(camera.center[-2:]) - low) / (high - low)
    assert at == pytest.approx([click.y() / sides[1], click.x() / sides[0]], abs=0.02)

    session_of(viewer).look_at(None)
    assert overview.isHidden()
