"""Get a model…: from nothing to a prediction in the window, and models that others packed."""

import json
from pathlib import Path
from typing import Any

import pytest
from napari.components import ViewerModel

from napari_cmrcnet.catalogue.packing import pack
from napari_cmrcnet.catalogue.recipe import entries, model_recipes
from napari_cmrcnet.catalogue.user_models import user_models
from napari_cmrcnet.common.files import sha256
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.common.sample import sample_folder
from napari_cmrcnet.viewer.registry import session_of
from napari_cmrcnet.widgets import dialogs
from napari_cmrcnet.widgets.get_model import BUILD, GO_ON, USE, GetModelDialog
from napari_cmrcnet.widgets.predict import PredictPanel
from published import publish_her2st
from web_site import Site

pytestmark = pytest.mark.qt
SECTIONS = {"A1": "A", "B1": "B"}


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CMRCNET_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def panel(qtbot: Any, models: Path) -> PredictPanel:
    panel = PredictPanel(ViewerModel())
    qtbot.addWidget(panel)
    panel.show()
    return panel


@pytest.fixture
def dialog(qtbot: Any, panel: PredictPanel) -> GetModelDialog:
    panel.form.get_model.click()
    found = panel.findChild(GetModelDialog)
    assert found is not None
    qtbot.waitUntil(found.isVisible)
    return found


def ended(qtbot: Any, dialog: GetModelDialog) -> None:
    qtbot.waitUntil(lambda: not dialog.jobs.busy, timeout=180_000)


@pytest.mark.qt("pyside6")
@pytest.mark.usefixtures("quick_encoder")
def test_from_nothing_to_a_prediction_in_the_window(
    qtbot: Any, site: Site, panel: PredictPanel, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(entries(), "her2st", publish_her2st(site, SECTIONS))
    assert "You need a trained model: get one, or train your own." in panel.hint.text()
    panel.form.get_model.click()
    dialog = panel.findChild(GetModelDialog)
    assert dialog is not None
    assert dialog._current == ("her2st", False)
    assert dialog.run.text() == BUILD
    assert "2 sections, 2 patients" in dialog.about.text()
    asked: list[str] = []
    monkeypatch.setattr(dialogs, "ask", lambda _, _title, question: asked.append(question) or True)
    dialog.run.click()
    assert not dialog.run.isEnabled()
    dialog.close()  # it goes on
    qtbot.waitUntil(lambda: bool(user_models()) and not dialog.jobs.busy, timeout=180_000)
    assert f"B to download. It is kept in {models / 'her2st.building'}" in asked[0]
    assert list(user_models()) == ["her2st"]
    assert panel.form.checkpoint.path == models / "her2st.cmrcnet"
    assert "Mean PCC with each patient left out in turn" in dialog.jobs.text
    assert dialog._current == ("her2st", True)
    data = models / "her2st.building" / "data"
    panel.form.choose(data / "ST-imgs" / "A1.jpg", data / "ST-cnts" / "A1.tsv.gz")
    panel.form.checkpoint.set_path("her2st")  # by its name, as it is offered
    qtbot.waitUntil(lambda: panel.run.isEnabled(), timeout=60_000)
    assert "You need" not in panel.hint.text()
    monkeypatch.setattr(dialogs, "ask", lambda *_: True)
    panel.run.click()
    session = session_of(panel.viewer)
    qtbot.waitUntil(lambda: session.prediction is not None, timeout=60_000)
    assert session.prediction is not None
    assert len(session.prediction) == 16


def test_cancelled_it_can_be_gone_on_with(
    qtbot: Any, site: Site, dialog: GetModelDialog, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(entries(), "her2st", publish_her2st(site, SECTIONS))
    dialog.recipes = model_recipes()
    answers = iter([False, True])
    monkeypatch.setattr(dialogs, "ask", lambda *_: next(answers))
    dialog.run.click()
    ended(qtbot, dialog)
    qtbot.wait(100)
    assert not models.exists()  # the user thought better of it
    site.pause = 2.0
    dialog.run.click()
    qtbot.waitUntil(lambda: "Downloading" in dialog.jobs._text.text(), timeout=60_000)
    dialog.jobs.cancel()
    ended(qtbot, dialog)
    assert dialog.jobs.text.startswith("Cancelled. What was downloaded and computed is kept")
    assert user_models() == {}
    dialog.refresh()
    assert dialog.run.text() == GO_ON


def test_a_model_of_a_laboratory(
    qtbot: Any, site: Site, panel: PredictPanel, dialog: GetModelDialog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "gut.cmrcnet.zip"
    finish(pack(sample_folder() / "sample.cmrcnet", file))
    one = {"name": "gut", "address": "gut.cmrcnet.zip", "sha256": sha256(file), "size": file.stat().st_size,
           "licence": "CC0", "about": "gut"}  # fmt: skip
    site.publish("gut.cmrcnet.zip", file.read_bytes())
    url, _ = site.publish("index.json", json.dumps({"cmrcnet_index": 1, "models": [one]}).encode())
    asked: list[list[str]] = []
    monkeypatch.setattr(dialogs, "choose_one", lambda *args: asked.append(args[-1]) or args[-1][0])
    dialog.add(url)
    qtbot.waitUntil(lambda: "gut" in user_models() and not dialog.jobs.busy, timeout=60_000)
    assert asked == [["gut: gut (CC0)"]]
    qtbot.waitUntil(lambda: dialog.run.text() == USE)
    dialog.run.click()
    assert panel.form.checkpoint.path == user_models()["gut"]
    assert not dialog.isVisible()


def test_what_cannot_be_added_is_said(qtbot: Any, dialog: GetModelDialog, site: Site) -> None:
    for address in (f"{site.address}/none.json", f"{site.address}/none.zip", "no address"):
        dialog.add(address)
        ended(qtbot, dialog)
        assert dialog.jobs.text.startswith("⚠")
    assert user_models() == {}


def test_an_entry_of_an_index_is_a_model_of_the_published_checksum_and_no_other_index(
    qtbot: Any, dialog: GetModelDialog, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = {"name": "gut", "address": "index.json", "sha256": "0" * 64, "size": 9, "licence": "CC0", "about": "gut"}
    url, _ = site.publish("index.json", json.dumps({"cmrcnet_index": 1, "models": [one]}).encode())
    answers = iter([0])  # it is asked once
    monkeypatch.setattr(dialogs, "choose_one", lambda *args: args[-1][next(answers)])
    dialog.add(url)
    qtbot.waitUntil(lambda: dialog.jobs.text.startswith("⚠"), timeout=60_000)
    assert "index.json" in dialog.jobs.text
    assert user_models() == {}
