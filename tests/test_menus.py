"""Every panel is in napari's menus, and what the keys do is in its command palette."""

from collections.abc import Callable
from typing import Any

import pytest
from app_model import Application
from npe2 import PluginManager

from napari_cmrcnet.viewer.registry import session_of

pytestmark = pytest.mark.qt

MENUS = {
    "napari/file/io_utilities": {"export"},
    "napari/layers/annotate": {"regions"},
    "napari/layers/measure": {"predict", "plots"},
    "napari/layers/visualize": {"genes", "view", "evidence"},
    "napari/plugins/napari-cmrcnet": {"predict", "genes", "view", "evidence", "regions", "plots", "export"},
}


@pytest.fixture
def viewer(make_napari_viewer_proxy: Callable[..., Any]) -> Any:
    PluginManager.instance().discover()  # a test may have put another plugin manager in place
    return make_napari_viewer_proxy()


def test_the_menus_list_the_panels(viewer: Any) -> None:
    menus = Application.get_app("napari").menus
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
    commands = Application.get_app("napari").commands
    for name in ("flip", "next_gene", "previous_gene"):
        commands.execute_command(f"napari-cmrcnet.{name}")
    assert done == ["flip", 1, -1]
