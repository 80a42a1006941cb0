"""Every panel is in napari's menus, and what the keys do is in its command palette."""

from typing import Any

import pytest
from napari._app_model import get_app_model
from napari.plugins._npe2 import _register_manifest_actions, _safe_register_qt_actions
from npe2 import PluginManager
from qtpy.QtWidgets import QDockWidget, QTabBar

from napari_cmrcnet.viewer.registry import session_of
from napari_cmrcnet.widgets.dock_panel import DockPanel, open_panel
from napari_cmrcnet.widgets.open_files import open_panels

pytestmark = pytest.mark.qt

MENUS = {
    "napari/file/io_utilities": {"cases", "export"},
    "napari/layers/annotate": {"regions"},
    "napari/layers/measure": {"predict", "plots", "threshold", "compare", "cohort", "review"},
    "napari/layers/visualize": {"genes", "view", "evidence"},
    "napari/plugins/napari-cmrcnet": {
        "cases",
        "predict",
        "genes",
        "view",
        "evidence",
        "regions",
        "plots",
        "threshold",
        "compare",
        "cohort",
        "review",
        "export",
    },
}


def with_menus(viewer: Any) -> Any:
    """Let a window have the plugin's menus: napari registers plugins once a process."""
    if "napari-cmrcnet.predict" not in get_app_model().commands:
        manifest = PluginManager.instance().get_manifest("napari-cmrcnet")
        _register_manifest_actions(manifest)
        _safe_register_qt_actions(manifest)
    return viewer


@pytest.fixture
def viewer(napari_window: Any) -> Any:
    return with_menus(napari_window)


def test_the_menus_list_the_panels(viewer: Any) -> None:
    menus = get_app_model().menus
    for menu, panels in MENUS.items():
        ours = {
            item.command.id.removeprefix("napari-cmrcnet.")
            for item in menus.get_menu(menu)
            if hasattr(item, "command") and item.command.id.startswith("napari-cmrcnet.")
        }
        assert ours == panels, menu


def test_the_keys_are_commands_of_the_palette(viewer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session, done = session_of(viewer), []
    monkeypatch.setattr(type(session), "flip", lambda _self: done.append("flip"))
    monkeypatch.setattr(type(session), "swipe", lambda _self: done.append("swipe"))
    monkeypatch.setattr(type(session), "step", lambda _self, by: done.append(by))
    commands = get_app_model().commands
    for name in ("flip", "swipe", "next_gene", "previous_gene"):
        commands.execute_command(f"napari-cmrcnet.{name}")
    assert done == ["flip", "swipe", 1, -1]


def docks(viewer: Any) -> dict[str, QDockWidget]:
    """Return the docks of our panels, by the titles of their tabs."""
    window = viewer.__wrapped__.window._qt_window
    return {panel.parent().windowTitle(): panel.parent() for panel in window.findChildren(DockPanel)}


def tabs(viewer: Any) -> set[str]:
    """Return the titles of the tabs of the only dock with tabs."""
    bars = [bar for bar in viewer.__wrapped__.window._qt_window.findChildren(QTabBar) if bar.count()]
    (bar,) = [bar for bar in bars if bar.parent() is viewer.__wrapped__.window._qt_window]
    return {bar.tabText(index) for index in range(bar.count())}


def in_front(viewer: Any, title: str) -> bool:
    """Whether a panel is where it is seen; Qt keeps those that are behind visible, outside of the window."""
    return bool(docks(viewer)[title].geometry().right() > 0 and docks(viewer)[title].isVisible())


def test_panels_are_tabs_of_one_dock_however_they_are_opened(viewer: Any, qtbot: Any) -> None:
    """By the menu, by a file, by a script; what is open already comes to the front, and never twice."""
    menu = get_app_model().commands.execute_command
    viewer.window.show()
    viewer.window.resize(1280, 800)
    menu("napari-cmrcnet.cases")
    open_panels(viewer)
    menu("napari-cmrcnet.predict")
    viewer.window.add_plugin_dock_widget("napari-cmrcnet", "Export")
    everything = {"Cases", "View", "Genes", "Predict", "Export"}
    qtbot.waitUntil(lambda: tabs(viewer) == everything)
    qtbot.waitUntil(lambda: in_front(viewer, "Export"))
    for title in ("View", "Cases", "Predict", "Genes"):  # the first two opened by us, the others by the menu
        menu(f"napari-cmrcnet.{title.lower()}")
        qtbot.waitUntil(lambda title=title: in_front(viewer, title))
        qtbot.waitUntil(lambda: len(viewer.window.dock_widgets) == len(everything))
        assert tabs(viewer) == everything
    for title in ("Evidence", "Regions", "Plots"):
        open_panel(viewer, title)
    (bar,) = [bar for bar in docks(viewer)["View"].parent().findChildren(QTabBar) if bar.count() == 8]
    bar.window().resize(1280, 800)
    qtbot.waitUntil(lambda: bar.tabRect(7).right() < bar.width())  # each is reached by one click, without arrows
    everything |= {"Evidence", "Regions", "Plots"}
    docks(viewer)["Plots"].setFloating(True)  # napari makes another bar for it
    assert {dock.titleBarWidget().title.text() for dock in docks(viewer).values()} == everything
    docks(viewer)["Plots"].setFloating(False)
    panel = open_panel(viewer, "Predict")
    assert panel is docks(viewer)["Predict"].widget()
    qtbot.waitUntil(lambda: in_front(viewer, "Predict"))
    menu("napari-cmrcnet.predict")  # as all of napari's: from the front it goes
    qtbot.waitUntil(lambda: not docks(viewer)["Predict"].isVisible())
    open_panel(viewer, "Predict")
    qtbot.waitUntil(lambda: in_front(viewer, "Predict"))
