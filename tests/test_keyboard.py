"""The main job by keys alone, in a real window: open, predict, walk through genes, flip, threshold, save."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QFileDialog, QWidget

from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.viewer.registry import session_of
from napari_cmrcnet.widgets import dialogs
from napari_cmrcnet.widgets.dock_panel import DockPanel
from test_menus import with_menus

pytestmark = [pytest.mark.qt, pytest.mark.usefixtures("undrawn")]

Key = Qt.Key
SLOW = 60_000  # ms: the machine may be busy
MOST_TABS = 25  # from the first control of a panel to any other


class Keyboard:
    """Presses keys where the window has the keyboard, and nothing else."""

    def __init__(self, viewer: Any, qtbot: Any) -> None:
        self.viewer, self.qtbot = viewer, qtbot
        self.session = session_of(viewer)

    @property
    def window(self) -> Any:
        """Qt's window, not kept: it would outlive the test."""
        return self.viewer.__wrapped__.window._qt_window

    @property
    def place(self) -> QWidget:
        """What has the keyboard."""
        return self.window.focusWidget() or self.window

    def press(self, *keys: Any) -> None:
        for key in keys:
            QTest.keyClick(self.place, key)
            QApplication.processEvents()

    def wait(self, condition: Callable[[], bool]) -> None:
        self.qtbot.waitUntil(condition, timeout=SLOW)

    def panel(self, name: str) -> Any:
        """Go to a panel by napari's command palette."""
        QTest.keyClick(self.place, Key.Key_P, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
        QTest.keyClicks(self.place, f"{name} CMRCNet")
        listed = self.window._command_palette._list
        while listed.command_at(listed._selected_index).title != f"{name} (CMRCNet)":  # as one who reads the list
            self.press(Key.Key_Down)
        self.press(Key.Key_Return)
        self.wait(lambda: self.at(name) is not None)
        return self.at(name)

    def at(self, name: str) -> Any:
        """Return the panel that has the keyboard, None if it is not of this name."""
        panel: Any = self.place
        while panel is not None and not isinstance(panel, DockPanel):
            panel = panel.parent()
        return panel if panel is not None and panel.parent().windowTitle() == name else None

    def go_to(self, control: QWidget) -> None:
        """Press Tab until a control has the keyboard."""
        for _ in range(MOST_TABS):
            if self.place is control:
                return
            self.press(Key.Key_Tab)
        raise AssertionError(f"Tab does not reach {control}")


@pytest.fixture
def keys(napari_window: Any, qtbot: Any) -> Iterator[Keyboard]:
    viewer = with_menus(napari_window)
    viewer.window.resize(1280, 800)
    viewer.window.activate()
    keyboard = Keyboard(viewer, qtbot)
    qtbot.waitUntil(keyboard.window.isActiveWindow)
    yield keyboard
    slide = keyboard.session.slide
    keyboard.session.look_at(None)
    if slide is not None:
        slide.close()


def test_the_main_job_by_keys_alone(
    keys: Keyboard,
    tmp_path: Path,
    write_section: Callable[..., Any],
    untrained_checkpoint: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
    save_dialog: Any,
) -> None:
    session = keys.session
    _, spots = write_section(tmp_path, "C", 3)
    assert untrained_checkpoint.path is not None
    checkpoint = shutil.copytree(untrained_checkpoint.path, tmp_path / "M.cmrcnet")
    monkeypatch.setattr(dialogs, "ask", lambda *_: True)
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_, **__: ([str(spots)], ""))  # the system's dialog
    QTest.keyClick(keys.place, Key.Key_O, Qt.KeyboardModifier.ControlModifier)
    keys.wait(lambda: session.shown is not None)

    predict = keys.panel("Predict")
    keys.go_to(predict.form.checkpoint.edit)
    QTest.keyClicks(keys.place, str(checkpoint))
    keys.go_to(predict.form.more.toggleButton())
    keys.press(Key.Key_Space)
    keys.go_to(predict.form.mpp)
    QTest.keyClicks(keys.place, "0.5")
    keys.press(Key.Key_Tab)
    keys.wait(predict.run.isEnabled)
    keys.go_to(predict.run)
    keys.press(Key.Key_Space)
    keys.wait(lambda: session.prediction is not None and session.scores is not None)

    assert keys.at("Predict") is not None  # though its button could not be pressed meanwhile
    keys.panel("Cases")  # its keys are bound to the picture, too
    keys.press(Key.Key_Escape)
    first = session.shown.name
    keys.press(Key.Key_Down)
    assert session.shown.name != first
    keys.press(Key.Key_Up)
    assert session.shown.name == first
    fronts = []
    for _ in range(2):
        keys.press(Key.Key_F)
        fronts.append(session.display.front)
    assert sorted(fronts) == ["measured", "predicted"]

    genes = keys.panel("Genes")
    keys.press(Key.Key_Escape)
    assert keys.at("Genes") is None
    keys.panel("Genes")
    QTest.keyClicks(keys.place, "GENE7")
    keys.press(Key.Key_Return)
    keys.wait(lambda: session.shown.name == "GENE7")
    keys.go_to(genes.table)
    keys.press(Key.Key_Space)
    assert session.ticked == ("GENE7",)

    threshold = keys.panel("Threshold")
    keys.go_to(threshold.hide_others)
    keys.press(Key.Key_Space)
    keys.wait(lambda: session.shown.hidden is not None)

    export = keys.panel("Export")
    keys.go_to(export.format)
    QTest.keyClicks(keys.place, "Annotated table")
    assert export.kind == "h5ad"
    save_dialog.answer = tmp_path / "out.h5ad"
    keys.go_to(export.button)
    keys.press(Key.Key_Space)
    keys.wait(lambda: not export.jobs.busy and save_dialog.answer.exists())
    assert "predicted" in anndata.read_h5ad(save_dialog.answer).layers
