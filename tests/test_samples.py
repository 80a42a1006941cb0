"""File > Open Sample, as napari calls it: the section that comes with the software, and public ones."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from napari_cmrcnet.catalogue import public_data
from napari_cmrcnet.catalogue.public_data import PUBLIC_SECTIONS, PublicFile, PublicSection
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.sample import sample_folder
from napari_cmrcnet.evaluation.gene_trust import most_trusted
from napari_cmrcnet.retrieval.case import Case
from napari_cmrcnet.viewer.registry import session_of
from napari_cmrcnet.widgets import dialogs

pytestmark = [pytest.mark.qt("pyqt6"), pytest.mark.usefixtures("undrawn")]

PLUGIN = "napari-cmrcnet"
SLOW = 120_000  # ms: the machine may be busy
TITLE = "CMU-1 small region"


@pytest.fixture
def viewer(napari_window: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    monkeypatch.setenv("CMRCNET_CACHE", str(tmp_path / "cache"))
    yield napari_window
    slide = session_of(napari_window).slide
    session_of(napari_window).look_at(None)
    if slide is not None:
        slide.close()


def test_the_synthetic_sample_shows_its_slide_at_once_then_what_was_measured_and_then_its_prediction(
    viewer: Any, qtbot: Any
) -> None:
    session, predicted = session_of(viewer), []
    session.case_changed.connect(lambda: predicted.append(session.prediction is not None))
    (layer,) = viewer.open_sample(PLUGIN, "synthetic")
    assert layer.name == "S4"
    qtbot.waitUntil(lambda: session.prediction is not None, timeout=SLOW)
    assert predicted == [False, True]
    assert session.shown is not None
    markers = session.prediction.panel.genes
    assert session.shown.name == most_trusted(session.prediction, markers)  # from the first picture on
    qtbot.waitUntil(lambda: session.scores is not None and bool(session.scores.replicates), timeout=SLOW)
    assert "S4" not in [shown.name for shown in viewer.layers]  # each view has the slide now
    views = {layer.metadata["cmrcnet"].get("view") for layer in viewer.layers}
    assert {"measured", "predicted"} <= views


def test_the_sample_s_prediction_does_not_replace_what_was_opened_meanwhile(viewer: Any, qtbot: Any) -> None:
    session = session_of(viewer)
    viewer.open_sample(PLUGIN, "synthetic")
    qtbot.waitUntil(lambda: session.case is not None, timeout=SLOW)
    other = Case.of(session.case.spots, "another")
    session.look_at(other)
    qtbot.waitUntil(lambda: not any("Predicting" in str(name) for name in viewer.window.dock_widgets), timeout=SLOW)
    assert session.case is other


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> PublicSection:
    """The small public slide; the sample's slide stands for it, and nothing is downloaded."""
    content = (sample_folder() / "S4.tif").read_bytes()
    file = PublicFile("slide.tif", ("https://example.org/slide.tif",), hashlib.sha256(content).hexdigest())
    section = PublicSection("small", TITLE, "nobody, CC0", (file,), measured=False)

    def deliver(wanted: PublicSection) -> Job[None]:
        yield Progress("Downloading", 0, 1, "MB")
        wanted.folder.mkdir(parents=True, exist_ok=True)
        wanted.slide.write_bytes(content)

    def asked(*_: object) -> Job[dict[PublicFile, int]]:
        yield Progress("Asking", 0, 0)
        return {file: 1_900_000}

    monkeypatch.setitem(PUBLIC_SECTIONS, TITLE, section)
    monkeypatch.setattr(public_data, "to_receive", asked)
    monkeypatch.setattr(public_data, "download", deliver)
    return section


def test_a_public_slide_is_asked_about_downloaded_and_put_into_the_predict_panel(
    viewer: Any, qtbot: Any, public: PublicSection, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(dialogs, "ask", lambda _, _title, question: asked.append(question) or True)
    viewer.open_sample(PLUGIN, "cmu")
    qtbot.waitUntil(lambda: "slide" in [layer.name for layer in viewer.layers], timeout=SLOW)
    assert TITLE not in [layer.name for layer in viewer.layers]
    assert "is 1.9 MB to download" in asked[0]
    (panel,) = (dock for title, dock in viewer.window.dock_widgets.items() if str(title).startswith("Predict"))
    assert panel.form.slide.path == public.slide
    qtbot.waitUntil(lambda: bool(panel.form.slide.line), timeout=SLOW)
    qtbot.waitUntil(lambda: not panel.jobs.busy, timeout=SLOW)


def test_no_is_no(viewer: Any, qtbot: Any, public: PublicSection, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(dialogs, "ask", lambda _, _title, question: bool(asked.append(question)))
    viewer.open_sample(PLUGIN, "cmu")
    qtbot.waitUntil(lambda: bool(asked) and not viewer.layers, timeout=SLOW)
    assert public.missing
