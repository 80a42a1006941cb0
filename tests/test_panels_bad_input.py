"""Bad input through the panels: one message in their own words, and the window is usable as before."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tifffile
from napari.components import ViewerModel

from bad_input import CASES, Input, fits
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.viewer.preview import PREVIEW
from napari_cmrcnet.viewer.reader import read_slide
from napari_cmrcnet.viewer.registry import session_of
from napari_cmrcnet.widgets.export import ExportPanel
from napari_cmrcnet.widgets.export_formats import FORMATS
from napari_cmrcnet.widgets.messages import CONTROLS
from napari_cmrcnet.widgets.predict import PredictPanel

pytestmark = pytest.mark.qt("pyside6")  # what is said, not what Qt does

MPP, K = 0.5, 6
# A look before the run decodes no tile that its overview does without, and does not read a checkpoint whole.
ONLY_IN_THE_RUN = ("corrupt tile", "lying tiles", "changed model", "changed bank")
SLOW = 60_000  # ms: the machine may be busy


@pytest.fixture
def good(tmp_path: Path, write_section: Callable[..., Any], untrained_checkpoint: Checkpoint) -> Input:
    """A section on a TIFF with JPEG tiles, as scanners write them."""
    slide, spots = write_section(tmp_path / "good", "C", 3, side=16)
    tifffile.imwrite(slide, tifffile.imread(slide), tile=(64, 64), photometric="rgb", compression="jpeg")
    assert untrained_checkpoint.path is not None
    return Input(slide, spots, untrained_checkpoint.path)


@pytest.fixture
def panel(qtbot: Any) -> Iterator[PredictPanel]:
    panel = PredictPanel(ViewerModel())
    qtbot.addWidget(panel)
    panel.show()
    yield panel
    for slide in (session_of(panel.viewer).slide, panel.inspection and panel.inspection.slide):
        if slide is not None:
            slide.close()


def choose(qtbot: Any, panel: PredictPanel, given: Input, mpp: float, k: int) -> None:
    """Choose in the panel, and wait until it has looked at it all."""
    panel.form.choose(given.slide, given.spots)
    panel.form.checkpoint.set_path(given.checkpoint)
    panel.form.mpp.setValue(mpp)
    panel.form.k.setValue(k)
    qtbot.waitUntil(
        lambda: (
            panel.inspection is not None and panel.inspection.request == panel.form.request() and not panel.jobs.busy
        ),
        timeout=SLOW,
    )


def run(qtbot: Any, panel: PredictPanel) -> None:
    panel.run.click()
    qtbot.waitUntil(lambda: not panel.jobs.busy, timeout=SLOW)


def messages(panel: PredictPanel) -> list[str]:
    """Return what the panel says is wrong, wherever it says it."""
    said = [
        panel.form.slide.line,
        panel.form.spots.line,
        panel.form.checkpoint.line,
        panel.jobs.text,
    ]
    return [text for text in said if text.startswith("⚠") or "▲" in text]


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_message_and_the_panel_goes_on(
    qtbot: Any, panel: PredictPanel, good: Input, tmp_path: Path, name: str
) -> None:
    case = CASES[name]
    bad = case.make(good, tmp_path)
    choose(qtbot, panel, bad, case.settings.get("mpp", MPP), int(case.settings.get("k", K)))
    assert bool(messages(panel)) != (name in ONLY_IN_THE_RUN)
    if name in ONLY_IN_THE_RUN:
        run(qtbot, panel)
    assert session_of(panel.viewer).prediction is None
    (message,) = messages(panel)
    assert fits(case, message), message
    assert CONTROLS.get(case.setting, "") in message
    assert "--" not in message

    choose(qtbot, panel, good, MPP, K)
    run(qtbot, panel)
    assert messages(panel) == []
    assert session_of(panel.viewer).prediction is not None


@pytest.fixture
def export(qtbot: Any, panel: PredictPanel, good: Input) -> ExportPanel:
    """The Export panel, with a prediction that the Predict panel has made."""
    choose(qtbot, panel, good, MPP, K)
    run(qtbot, panel)
    shown = ExportPanel(panel.viewer)
    qtbot.addWidget(shown)
    shown.show()
    return shown


def export_to(qtbot: Any, panel: ExportPanel, kind: str, path: Path) -> str:
    """Export, and return what the panel says."""
    panel.choose(kind)
    panel.export_to(path)
    qtbot.waitUntil(lambda: not panel.jobs.busy, timeout=SLOW)
    return panel.jobs.text


@pytest.mark.parametrize("kind", ["csv", "h5ad", "geojson", "prediction", "png"])
def test_a_full_disk_is_one_message_and_leaves_nothing(
    qtbot: Any, export: ExportPanel, tmp_path: Path, full_disk: Callable[[int], Any], kind: str
) -> None:
    export_to(qtbot, export, "csv", tmp_path / "first.csv")  # what is remembered is written now
    out = tmp_path / "out"
    out.mkdir()
    path = out / f"C{FORMATS[kind].ending}"
    with full_disk(500):
        said = export_to(qtbot, export, kind, path)
    assert said.startswith(f"⚠ {path} could not be written")
    assert "free some space or choose another place" in said
    assert list(out.iterdir()) == []
    assert export_to(qtbot, export, kind, path) == f"Saved {path}."


@pytest.mark.parametrize("kind", ["h5ad", "prediction"])
def test_an_export_never_overwrites_what_was_predicted(qtbot: Any, export: ExportPanel, good: Input, kind: str) -> None:
    assert good.spots is not None
    content = good.spots.read_bytes()
    said = export_to(qtbot, export, kind, good.spots)
    assert said == f"⚠ {good.spots} would overwrite the spots that C was predicted from; choose another name."
    inside = good.checkpoint / "C.h5ad"
    assert "would overwrite the checkpoint" in export_to(qtbot, export, kind, inside)
    assert not inside.exists()
    assert good.spots.read_bytes() == content
    path = good.spots.with_name("other.h5ad")
    assert export_to(qtbot, export, kind, path) == f"Saved {path}."


def test_layers_deleted_during_a_run_come_back_with_its_result(qtbot: Any, panel: PredictPanel, good: Input) -> None:
    ((levels, settings, _),) = read_slide(str(good.slide))
    panel.viewer.add_image(levels, **settings)
    choose(qtbot, panel, Input(good.slide, None, good.checkpoint), MPP, K)
    assert {layer.name for layer in panel.viewer.layers} == {"C", PREVIEW}
    panel.run.click()
    panel.viewer.layers.clear()
    qtbot.waitUntil(lambda: not panel.jobs.busy, timeout=SLOW)
    assert messages(panel) == []
    assert panel.viewer.layers[0].name == "H&E"
