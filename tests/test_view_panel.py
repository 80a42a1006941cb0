"""The View panel changes how the session is drawn, and follows it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt

from dialogs import pick
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.viewer.registry import layers_of, session_of
from napari_cmrcnet.viewer.session import Session
from napari_cmrcnet.widgets.remember import recall
from napari_cmrcnet.widgets.view import ViewPanel

pytestmark = pytest.mark.qt


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def panel(qtbot: Any, viewer: ViewerModel) -> ViewPanel:
    panel = ViewPanel(viewer)
    qtbot.addWidget(panel)
    panel.show()
    return panel


@pytest.fixture
def session(
    viewer: ViewerModel,
    untrained_checkpoint: Checkpoint,
    tmp_path: Path,
    write_section: Callable[..., Any],
    open_small: Callable[..., Any],
) -> Session:
    section = open_small(*write_section(tmp_path / "data", "C", 3), name="C", patient="P3")
    session = session_of(viewer)
    session.look_at(finish(predict(section, untrained_checkpoint, PredictConfig(k=6, device="cpu"))), section.slide)
    return session


def test_an_empty_panel_says_what_to_do(panel: ViewPanel) -> None:
    assert "Press Predict in the Predict panel" in panel.title.text()
    assert panel.find_slide.isHidden()
    assert panel.find_checkpoint.isHidden()


def test_names_are_not_read_as_html(panel: ViewPanel, session: Session) -> None:
    assert session.shown is not None
    session.shown = replace(session.shown, name="<u>x</u>", section="a|b<script>")
    session.shown_changed.emit()
    assert "<u>" not in panel.title.text()
    assert "a|b&lt;script&gt; · &lt;u&gt;x&lt;/u&gt;" in panel.title.text()


def test_controls_change_the_look(panel: ViewPanel, session: Session) -> None:
    assert session.shown is not None
    assert session.shown.title.replace("   ", " · ") == panel.title.text().partition("</b>")[0].removeprefix("<b>")
    panel.ticks["difference"].click()
    assert session.display.views == ("measured", "predicted", "difference")
    panel.colours.colormap.setCurrentText("magma")
    panel.opacity.setValue(0.5)
    panel.size.setValue(1.5)
    assert (session.display.colormap, session.display.opacity, session.display.spot_size) == ("magma", 0.5, 1.5)
    panel.layouts["overlaid"].click()
    panel.fronts["measured"].click()
    assert (session.display.layout, session.display.front) == ("overlaid", "measured")
    panel.flip.click()
    assert session.display.front == "predicted"
    assert panel.fronts["predicted"].isChecked()


def test_one_view_is_always_left(panel: ViewPanel, session: Session) -> None:
    panel.ticks["measured"].click()
    panel.ticks["predicted"].click()
    assert session.display.views == ("predicted",)
    assert panel.ticks["predicted"].isChecked()


def test_limits_by_hand_start_where_the_percentiles_were_and_stay(
    viewer: ViewerModel, panel: ViewPanel, session: Session
) -> None:
    panel.colours.by_hand.click()
    limits = session.display.limits
    assert limits is not None
    assert limits[0] < limits[1]
    panel.colours.high.setValue(9.5)
    session.show("GENE9")
    assert session.display.limits == (limits[0], 9.5)
    panel.colours.low.setValue(20)  # above the upper one: refused, and put back
    assert session.display.limits == (limits[0], 9.5)
    assert panel.colours.low.value() == limits[0]
    assert not panel.colours.from_zero.isEnabled()
    panel.colours.by_percentile.click()
    assert session.display.limits is None
    panel.colours.from_zero.click()
    assert session.display.from_zero
    assert layers_of(viewer).points["predicted"].face_contrast_limits[0] == 0
    assert recall("display/from_zero", False) is True
    assert (panel.colours.low.value(), panel.colours.high.value()) == (1, 99)
    panel.colours.high.setValue(95)
    assert session.display.percentiles == (1, 95)


def test_the_panel_follows_the_session(panel: ViewPanel, session: Session) -> None:
    session.set_display(layout="overlaid", front="confidence", confidence="spread", mark_out_of_distribution=False)
    assert panel.layouts["overlaid"].isChecked()
    assert panel.fronts["confidence"].isChecked()
    assert panel.confidence.currentText() == "spread"
    assert not panel.out_of_distribution.isChecked()


def test_a_moved_slide_can_be_found(
    qtbot: Any, panel: ViewPanel, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    prediction = session.prediction
    assert prediction is not None
    slide = Path(prediction.provenance.slide)
    session.look_at(prediction, None)
    assert not panel.find_slide.isHidden()
    monkeypatch.setattr("napari_cmrcnet.widgets.dialogs.choose_path", lambda *_: slide)
    pick(panel.find_slide, "File…")
    qtbot.waitUntil(lambda: session.slide is not None)
    assert panel.find_slide.isHidden()
    assert session.slide is not None
    session.slide.close()


def test_colours_and_sizes_are_remembered(qtbot: Any, panel: ViewPanel, session: Session) -> None:
    session.set_display(colormap="plasma", opacity=0.3)
    again = session_of(ViewerModel())
    assert (again.display.colormap, again.display.opacity) == ("viridis", 0.9)
    other = ViewerModel()
    second = ViewPanel(other)
    qtbot.addWidget(second)
    assert (session_of(other).display.colormap, session_of(other).display.opacity) == ("plasma", 0.3)


def test_the_warnings_of_a_prediction_are_a_line_that_lists_them(panel: ViewPanel, session: Session) -> None:
    prediction = session.prediction
    assert prediction is not None
    prediction.provenance = replace(prediction.provenance, warnings=("Pixels are <large>.", "The stain is far."))
    session.look_at(prediction, session.slide)
    assert panel.warnings.count.text() == "▲ 2 warnings"
    assert panel.warnings.count.cursor().shape() == Qt.CursorShape.PointingHandCursor  # looks like text, not a button
    assert panel.warnings.listed.isHidden()
    assert panel.warnings.toolTip() == "• Pixels are <large>.\n• The stain is far."
    panel.warnings.count.click()
    assert not panel.warnings.listed.isHidden()
    assert panel.warnings.listed.text() == panel.warnings.toolTip()  # names in it are not read as HTML
    prediction.provenance = replace(prediction.provenance, warnings=())
    session.look_at(prediction, session.slide)
    assert panel.warnings.isHidden()
