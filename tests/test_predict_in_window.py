"""The Predict panel in a real window: a second section is shown wholly in place of the first, or not at all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from shapely.geometry import box

from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.sections.regions import Region
from napari_cmrcnet.viewer import view_groups as drawing
from napari_cmrcnet.viewer.preview import PREVIEW
from napari_cmrcnet.viewer.region_layer import REGIONS
from napari_cmrcnet.viewer.registry import layers_of, session_of
from one_prediction import check, check_panels, seen

pytestmark = [pytest.mark.qt("pyside6"), pytest.mark.usefixtures("undrawn")]

SLOW = 60_000  # ms: the machine may be busy


class Window:
    """A window with the panels, as a user drives it."""

    def __init__(self, viewer: Any, qtbot: Any) -> None:
        self.viewer, self.qtbot, self.session = viewer, qtbot, session_of(viewer)
        self.panels = {
            name: viewer.window.add_plugin_dock_widget("napari-cmrcnet", name, tabify=True)[1]
            for name in ("Genes", "View", "Regions", "Export", "Predict")
        }
        self.panel = self.panels["Predict"]

    def settle(self) -> None:
        """Wait until the panel has looked at what is chosen, and nothing is scored any more."""
        panel = self.panel
        self.qtbot.waitUntil(
            lambda: panel.inspection is not None and panel.inspection.request == panel.form.request(), timeout=SLOW
        )
        self.qtbot.waitUntil(lambda: not panel.jobs.busy and not self.session.scoring, timeout=SLOW)

    def predict(self) -> None:
        """Press Predict, and wait for how it ends."""
        self.settle()
        assert self.panel.run.isEnabled()
        self.panel.run.click()
        self.qtbot.waitUntil(lambda: self.panel.jobs.busy, timeout=SLOW)
        self.settle()

    def check(self, section: str) -> None:
        """Assert that all that is seen is of this section."""
        assert self.session.prediction is not None
        assert self.session.prediction.name == section
        check(self.viewer)
        check_panels(self.viewer, self.panels)


@pytest.fixture
def window(
    napari_window: Any,
    qtbot: Any,
    tmp_path: Path,
    write_section: Callable[..., Any],
    untrained_checkpoint: Checkpoint,
) -> Window:
    """A window in which the measured section C was predicted, with a region, and a grid previewed over it."""
    window = Window(napari_window, qtbot)
    panel, session = window.panel, window.session
    panel.form.choose(*write_section(tmp_path, "C", 3, side=16))
    panel.form.checkpoint.set_path(untrained_checkpoint.path)
    panel.form.mpp.setValue(0.5)
    panel.form.k.setValue(6)
    panel.form.pitch.setValue(50)
    panel.form.patient.setText("P3")
    panel.form.patient.editingFinished.emit()
    window.predict()
    window.check("C")
    assert window.viewer.canvas.grid.enabled  # measured and predicted are side by side
    session.set_regions([Region("C left", "Tumour", box(0, 0, 90, 90))])
    panel.form.from_grid.setChecked(True)
    window.settle()
    assert PREVIEW in window.viewer.layers
    check(window.viewer, previewed=len(panel.inspection.section.xy))
    panel.form.slide.set_path(write_section(tmp_path, "D", 3, side=16)[0])
    assert PREVIEW not in window.viewer.layers
    assert panel.form.patient.text() == ""  # that of C is not D's
    assert panel.form.mpp.value() == 0
    panel.form.mpp.setValue(0.5)
    window.settle()
    assert "the window shows C" in panel.jobs.text
    window.check("C")
    return window


def fail_once(monkeypatch: pytest.MonkeyPatch, step: str) -> list[str]:
    """Let a step of drawing fail, but no second time; return the steps that have."""
    original, failed = getattr(drawing, step), []

    def fails(*arguments: Any, **settings: Any) -> Any:
        if not failed:
            failed.append(step)
            raise TypeError("cannot unpack non-iterable NoneType object")
        return original(*arguments, **settings)

    monkeypatch.setattr(drawing, step, fails)
    return failed


def test_the_first_stands_wholly_until_the_other_is_shown_wholly(
    window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = layers_of(window.viewer)
    layers.slides["measured"].visible = layers.points["predicted"].visible = False
    shown, before = window.session.shown, seen(window.viewer)
    assert before == {("spots", "measured"), ("slide", "predicted"), REGIONS}
    for step in ("add_histology", "colour", "set_cells"):
        failed = fail_once(monkeypatch, step)
        window.predict()
        assert failed == [step]
        assert "D could not be shown" in window.panel.jobs.text
        assert "C is shown as before" in window.panel.jobs.text
        assert window.session.shown is shown
        window.check("C")
        assert seen(window.viewer) == before
    window.predict()
    window.check("D")
    assert REGIONS not in window.viewer.layers
    assert PREVIEW not in window.viewer.layers
    assert "patient" not in window.viewer.canvas.overlays.text.text
    window.session.look_at(None)
