"""Every panel is in napari's menus, and what the keys do is in its command palette."""

from collections.abc import Callable
from typing import Any

import pytest
from napari._app_model import get_app_model
from napari.plugins._npe2 import _register_manifest_actions, _safe_register_qt_actions
from npe2 import PluginManager

from napari_cmrcnet.viewer.registry import session_of

pytestmark = pytest.mark.qt

MENUS = {
    "napari/file/io_utilities": {"cases", "export"},
    "napari/layers/annotate": {"regions"},
    "napari/layers/measure": {"predict", "plots", "threshold", "compare", "review"},
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
        "review",
        "export",
    },
}


@pytest.fixture
def viewer(make_napari_viewer_proxy: Callable[..., Any]) -> Any:
    PluginManager.instance().discover()  # a test may have put another plugin manager in place
    viewer = make_napari_viewer_proxy()
    if "napari-cmrcnet.predict" not in get_app_model().commands:  # napari registers plugins once a process
        manifest = PluginManager.instance().get_manifest("napari-cmrcnet")
        _register_manifest_actions(manifest)
        _safe_register_qt_actions(manifest)
    return viewer


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
    monkeypatch.setattr(type(session), "step", lambda _self, by: done.append(by))
    commands = get_app_model().commands
    for name in ("flip", "next_gene", "previous_gene"):
        commands.execute_command(f"napari-cmrcnet.{name}")
    assert done == ["flip", 1, -1]
