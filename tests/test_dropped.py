"""What is dropped on a real window: what cannot be opened is told once, and what has moved is asked for."""

import shutil
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
import tifffile
from qtpy.QtCore import QMimeData, QPointF, Qt, QThreadPool, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QApplication, QFileDialog, QMessageBox

from bad_input import CASES, Input
from dialogs import pick
from napari_cmrcnet.common.progress import Progress, finish
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.evaluation import scores
from napari_cmrcnet.evaluation.scores import pcc_job
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.viewer.gene_list import Column
from napari_cmrcnet.viewer.preview import PREVIEW
from napari_cmrcnet.viewer.region_layer import REGIONS
from napari_cmrcnet.viewer.registry import layers_of, session_of
from napari_cmrcnet.widgets import dialogs
from napari_cmrcnet.widgets.dock_panel import find_panel
from napari_cmrcnet.widgets.jobs import JobBar
from test_spatialdata_store import xenium as make_store
from test_xenium import make_xenium, write_image

pytestmark = [pytest.mark.qt("pyqt6"), pytest.mark.usefixtures("undrawn")]

SLOW = 120_000  # ms: the machine may be busy
SQUARE = '{"type": "Polygon", "coordinates": [[[10, 10], [150, 10], [150, 150], [10, 150], [10, 10]]]}'


@pytest.fixture
def viewer(napari_window: Any, qtbot: Any) -> Iterator[Any]:
    yield napari_window
    qtbot.waitUntil(lambda: not any(bar.busy for bar in bars()), timeout=SLOW)
    assert QThreadPool.globalInstance().waitForDone(SLOW)  # a worker's thread holds the window a little longer
    slide = session_of(napari_window).slide
    session_of(napari_window).look_at(None)
    if slide is not None:
        slide.close()


@pytest.fixture
def drop(viewer: Any) -> Callable[[Path], None]:
    """Open a file as napari does when it is dropped and our reader was chosen."""
    return lambda path: viewer.open(str(path), plugin="napari-cmrcnet")


@pytest.fixture
def good(tmp_path: Path, write_section: Callable[..., Any], untrained_checkpoint: Checkpoint) -> Input:
    slide, spots = write_section(tmp_path / "good", "C", 3)
    assert untrained_checkpoint.path is not None
    checkpoint = shutil.copytree(untrained_checkpoint.path, tmp_path / "M.cmrcnet")
    return Input(slide, spots, Path(checkpoint))


@pytest.fixture
def saved(good: Input, open_small: Callable[..., Any]) -> Path:
    """A prediction of section C."""
    section = open_small(good.slide, good.spots)
    prediction = finish(predict(section, Checkpoint.load(good.checkpoint), PredictConfig(k=6, device="cpu")))
    path = good.slide.with_name("C_predicted.h5ad")
    prediction.save(path)
    return path


def bars() -> list[JobBar]:
    """Return what shows the jobs of the window; napari knows only one dock of a name."""
    return [widget for widget in QApplication.allWidgets() if isinstance(widget, JobBar)]


def slides(viewer: Any) -> list[Any]:
    """Return the layers that were dropped.

    The preview of a grid, and its own slide if that was removed, come when the Predict panel has looked at the slide.
    """
    dropped = [layer for layer in viewer.layers if layer.name != PREVIEW]
    return [layer for layer in dropped if not layer.metadata["cmrcnet"].get("preview")]


def warnings() -> list[str]:
    """Return what they say is wrong."""
    return [bar.text for bar in bars() if bar.text.startswith("⚠")]


def test_a_slide_that_cannot_be_opened(
    drop: Callable[[Path], None], told: list[str], viewer: Any, good: Input, tmp_path: Path
) -> None:
    for name in ("empty slide", "text for a slide", "truncated slide", "impossible tile"):
        told.clear()
        folder = tmp_path / name
        folder.mkdir()
        bad = CASES[name].make(good, folder).slide
        drop(bad)
        (message,) = told
        assert str(bad) in message, name
        assert "--" not in message
        assert not viewer.layers
    drop(good.slide)
    assert [layer.name for layer in slides(viewer)] == ["C"]


def test_a_slide_is_chosen_in_the_predict_panel(
    drop: Callable[[Path], None], viewer: Any, good: Input, tmp_path: Path
) -> None:
    """One click predicts it, where a model was chosen before; spots of another slide are not kept."""
    drop(good.slide)
    panel = viewer.window.dock_widgets["Predict (napari-cmrcnet)"]
    assert panel.isVisible()
    assert (panel.form.slide.path, panel.form.request().spots, panel.form.from_grid.isChecked()) == (
        good.slide,
        None,
        True,
    )
    panel.form.choose_spots(good.spots)
    drop(good.slide)  # the same once more
    assert panel.form.request().spots == good.spots
    other = Path(shutil.copy(good.slide, tmp_path / "other.tif"))
    drop(other)
    assert (panel.form.slide.path, panel.form.request().spots) == (other, None)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("truncated spots", "s.h5ad is damaged or cut short"),
        ("spots that read another file", "stores /layers/stolen in other files"),
    ],
)
def test_a_table_that_is_no_prediction(
    qtbot: Any, drop: Callable[[Path], None], told: list[str], viewer: Any, good: Input, saved: Path, tmp_path: Path,
    name: str, words: str,
) -> None:  # fmt: skip
    bad = CASES[name].make(good, tmp_path).spots
    assert bad is not None
    drop(bad)
    qtbot.waitUntil(lambda: bool(warnings()), timeout=SLOW)
    (message,) = warnings()
    assert words in message
    assert told == []
    drop(saved)
    qtbot.waitUntil(lambda: session_of(viewer).prediction is not None, timeout=SLOW)


@pytest.fixture
def let_go(viewer: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], list[str]]:
    """Drop a file as a mouse does; return the readers among which napari asks, the one that it proposes first.

    In napari's dialog that one is taken, and its choice remembered.
    """
    from napari._qt.dialogs.qt_reader_dialog import QtReaderDialog

    asked: list[str] = []

    def enter(dialog: Any) -> int:
        buttons = dialog.reader_btn_group.buttons()
        dialog.persist_checkbox.setChecked(True)
        asked[:] = sorted((button.text() for button in buttons), key=lambda text: text != dialog._get_plugin_choice())
        return int(dialog.DialogCode.Accepted)

    monkeypatch.setattr(QtReaderDialog, "exec_", enter)

    def drop(path: Path) -> list[str]:
        asked.clear()
        files = QMimeData()
        files.setUrls([QUrl.fromLocalFile(str(path))])
        left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        event = QDropEvent(QPointF(20, 20), Qt.DropAction.CopyAction, files, left, none)
        viewer.__wrapped__.window._qt_viewer.dropEvent(event)
        return list(asked)

    return drop


READERS = ["CMRCNet", "napari builtins"]


def test_slides_are_dropped_and_napari_asks_once_for_each_ending(
    let_go: Callable[[Path], list[str]], viewer: Any, tmp_path: Path
) -> None:
    """napari reads these endings itself, as one array, and has no way for a plugin to be preferred unasked.

    Its dialog proposes our reader.
    """
    pixels = np.random.default_rng(0).integers(60, 200, (600, 800, 3), np.uint8)
    settings = {"photometric": "rgb", "tile": (256, 256), "metadata": None, "resolutionunit": 3}
    names = ("image.btf", "image.qptiff", "image.SVS", "image.tif")
    for name in names:
        with tifffile.TiffWriter(tmp_path / name) as tiff:
            tiff.write(pixels, resolution=(20_000, 20_000), **settings)
            tiff.write(pixels[::2, ::2], resolution=(10_000, 10_000), subfiletype=1, **settings)
    for name, readers in product(names, (READERS, [])):
        assert let_go(tmp_path / name) == readers
        (layer,) = slides(viewer)
        assert layer.multiscale
        assert [level.shape for level in layer.data] == [(600, 800, 3), (300, 400, 3)]
        assert layer.scale.tolist() == [0.5, 0.5]
        assert str(layer.units[0]) == "micrometer"
        viewer.layers.clear()


def test_a_folder_of_dicom_files_is_dropped_whatever_its_first_file_is(
    let_go: Callable[[Path], list[str]], viewer: Any, tmp_path: Path, real_data: Path
) -> None:
    folder = tmp_path / "dicom"
    shutil.copytree(real_data / "slides" / "CMU-1-Small-Region-dicom", folder)
    (folder / "0_checksum.json").write_text("{}")
    assert let_go(folder) == READERS
    (layer,) = slides(viewer)
    assert layer.multiscale
    assert layer.scale.tolist() == pytest.approx([0.499, 0.499])


def test_a_prediction_is_dropped_by_a_name_in_capitals(
    qtbot: Any, let_go: Callable[[Path], list[str]], viewer: Any, saved: Path
) -> None:
    assert let_go(saved.rename(saved.with_name("C.H5AD"))) == []
    qtbot.waitUntil(lambda: session_of(viewer).prediction is not None, timeout=SLOW)


def predict_panels(viewer: Any) -> list[Any]:
    return [dock for title, dock in viewer.window.dock_widgets.items() if str(title).startswith("Predict")]


def test_spots_without_counts_are_chosen_in_the_predict_panel(
    qtbot: Any, let_go: Callable[[Path], list[str]], viewer: Any, told: list[str], good: Input, tmp_path: Path
) -> None:
    assert good.spots is not None
    table = anndata.read_h5ad(good.spots)
    spots = tmp_path / "S4.H5AD"
    anndata.AnnData(obs=table.obs, obsm=dict(table.obsm)).write_h5ad(spots)
    assert let_go(spots) == []
    qtbot.waitUntil(lambda: bool(predict_panels(viewer)), timeout=SLOW)
    (panel,) = predict_panels(viewer)
    assert panel.isVisible()
    assert panel.form.spots.path == spots
    assert panel.form.from_file.isChecked()
    assert panel.hint.text().startswith("Choose a slide and a checkpoint to predict.")
    assert told == []
    assert warnings() == []


def test_a_measured_section_is_dropped_and_seen_at_once(
    qtbot: Any, let_go: Callable[[Path], list[str]], viewer: Any, told: list[str], good: Input, saved: Path
) -> None:
    session = session_of(viewer)
    _, predict_panel = viewer.window.add_plugin_dock_widget("napari-cmrcnet", "Predict")
    predict_panel.form.choose(good.slide.with_name("another.tif"), None)
    assert good.spots is not None
    assert let_go(good.spots) == []
    qtbot.waitUntil(lambda: session.shown is not None, timeout=SLOW)
    assert session.prediction is None
    assert session.slide is not None
    assert session.slide.path == good.slide
    assert session.shown.title.startswith(f"C   {session.shown.name}, measured only")
    assert list(layers_of(viewer).points) == ["measured"]
    _, genes = viewer.window.add_plugin_dock_widget("napari-cmrcnet", "Genes")
    assert len(genes.model.genes) == 24
    assert genes.table.isColumnHidden(Column.PCC)
    assert not genes.table.isColumnHidden(Column.MEASURED)
    assert predict_panel.form.slide.path == good.slide
    assert predict_panel.form.spots.path == good.spots
    assert predict_panel.form.from_file.isChecked()
    session.show("GENE9")
    let_go(saved)  # what is predicted of it later
    qtbot.waitUntil(lambda: session.prediction is not None, timeout=SLOW)
    assert session.shown.name == "GENE9"
    assert told == []
    assert warnings() == []


def test_what_another_tool_predicted_is_dropped_on_its_measured_section(
    qtbot: Any, let_go: Callable[[Path], list[str]], viewer: Any, told: list[str], good: Input, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The window asks what its numbers are, which a table does not say."""
    asked: list[tuple[str, list[str]]] = []

    def answer(_parent: Any, _title: str, question: str, lines: list[str]) -> str:
        asked.append((question, lines))
        return lines[1]

    monkeypatch.setattr(dialogs, "choose_one", answer)
    assert good.spots is not None
    counts = anndata.read_h5ad(good.spots)
    table = tmp_path / "other_tool.csv"
    counts.to_df().mul(3.5).to_csv(table)
    session = session_of(viewer)
    assert let_go(good.spots) == []
    qtbot.waitUntil(lambda: session.shown is not None, timeout=SLOW)
    slide, gene = session.slide, session.shown.name
    assert let_go(table) in (READERS, ["CMRCNet"], [])
    qtbot.waitUntil(lambda: session.prediction is not None, timeout=SLOW)
    ((question, lines),) = asked
    assert "too large for logarithms" in question
    assert "--" not in question
    assert lines[1].startswith("normalised, without a logarithm")
    assert session.slide is slide
    assert session.shown.name == gene
    assert layers_of(viewer).session.shown_views == ("measured", "predicted")
    qtbot.waitUntil(lambda: session.scores is not None and bool(session.scores.replicates), timeout=SLOW)
    _, genes = viewer.window.add_plugin_dock_widget("napari-cmrcnet", "Genes")
    assert not genes.table.isColumnHidden(Column.PCC)
    assert "checkpoint" not in genes.note.text()  # another tool's prediction has none
    _, evidence = viewer.window.add_plugin_dock_widget("napari-cmrcnet", "Evidence")
    session.select([3])
    qtbot.waitUntil(lambda: "another tool predicted" in evidence.empty.text(), timeout=20_000)
    assert told == []
    assert warnings() == []


def test_spots_without_their_slide_are_shown_and_ask_for_it(
    qtbot: Any, let_go: Callable[[Path], list[str]], viewer: Any, good: Input, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answers(monkeypatch, yes=False)
    session = session_of(viewer)
    good.slide.unlink()
    assert let_go(good.spots) == []
    qtbot.waitUntil(lambda: session.shown is not None and bool(asked), timeout=SLOW)
    assert asked[0].startswith(f"No slide was found beside {good.spots}.")
    assert session.slide is None


def test_an_output_is_dropped_and_shown_over_its_small_picture(
    qtbot: Any, let_go: Callable[[Path], list[str]], viewer: Any, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answers(monkeypatch, yes=False)
    session = session_of(viewer)
    assert let_go(real_data / "spaceranger" / "outs") == READERS
    qtbot.waitUntil(lambda: session.shown is not None, timeout=SLOW)
    assert len(session.case) == 2898
    assert asked == []
    _, view = viewer.window.add_plugin_dock_widget("napari-cmrcnet", "View")
    assert "small picture of the slide (tissue_lowres_image.png)" in view.title.text()
    assert not view.find_slide.isHidden()
    _, panel = viewer.window.add_plugin_dock_widget("napari-cmrcnet", "Predict")
    assert panel.form.slide.path is None


def xenium_folder(path: Path) -> Path:
    folder = make_xenium(path / "xenium")
    write_image(folder / "S1_he_image.ome.tif")
    return folder


@pytest.mark.parametrize("make", [xenium_folder, lambda path: make_store(path / "S1.zarr")])
def test_cells_are_dropped_as_a_folder_and_seen_on_their_image(
    qtbot: Any, let_go: Callable[[Path], list[str]], viewer: Any, told: list[str], tmp_path: Path,
    make: Callable[[Path], Path],
) -> None:  # fmt: skip
    """An output of Xenium with its H&E image, and the same as a SpatialData store."""
    session = session_of(viewer)
    assert let_go(make(tmp_path)) == READERS
    qtbot.waitUntil(lambda: session.shown is not None, timeout=SLOW)
    assert len(session.case) == 4
    assert session.case.genes == ("EPCAM", "CD3E", "ERBB2")
    assert session.slide is not None
    assert session.slide.scale == 1
    assert layers_of(viewer).session.shown_views == ("measured",)
    session.show("CD3E")
    assert session.shown.measured is not None
    assert (session.shown.measured > 0).tolist() == [False, True, True, False]
    assert session.shown.title.endswith("n = 4 cells")
    cells, slide = session.case, session.slide
    _, panel = viewer.window.add_plugin_dock_widget("napari-cmrcnet", "View")
    predict_panel = find_panel(viewer, "Predict")  # opened beside them, for what is done next
    panel.pool.choose("100")
    qtbot.waitUntil(lambda: session.case is not cells, timeout=SLOW)
    pooled = session.case.spots
    assert len(pooled) < 4
    assert pooled.obs["n_cells"].sum() == 4
    np.testing.assert_array_equal(pooled.X.sum(axis=0), cells.spots.X.sum(axis=0))
    assert "4 cells were pooled" in session.case.provenance.notes[-1]
    assert session.shown.name == "CD3E"
    assert session.shown.title.endswith(f"n = {count_text(len(pooled), 'spot')}")
    assert session.slide is slide
    assert (panel.pool.name, predict_panel.form.pool.name) == ("100", "100")
    panel.pool.choose("no")
    qtbot.waitUntil(lambda: session.case is cells, timeout=SLOW)
    assert (panel.pool.name, session.shown.name) == ("no", "CD3E")
    assert told == []
    assert warnings() == []


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["filtered_feature_bc_matrix.h5"], "has no spot positions beside it"),
        (["spatial/tissue_positions.csv"], "but no count matrix"),
        (
            ["web_summary.html", "spatial/tissue_hires_image.png"],
            "parts of an output of Space Ranger (spatial/, web",
        ),
    ],
)
def test_of_a_part_of_an_output_is_said_what_is_missing(
    qtbot: Any, let_go: Callable[[Path], list[str]], viewer: Any, tmp_path: Path, names: list[str], words: str
) -> None:
    for name in names:
        (tmp_path / "outs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "outs" / name).touch()
    let_go(tmp_path / "outs")
    qtbot.waitUntil(lambda: bool(warnings()), timeout=SLOW)
    (message,) = warnings()
    assert words in message
    assert str(tmp_path / "outs") in message
    assert session_of(viewer).case is None


def answers(monkeypatch: pytest.MonkeyPatch, yes: bool, file: str = "", folder: str = "") -> list[str]:
    """Answer the dialogs; return what they ask."""
    asked: list[str] = []

    def clicked(box: QMessageBox) -> Any:
        role = QMessageBox.ButtonRole.AcceptRole if yes else QMessageBox.ButtonRole.RejectRole
        return next(button for button in box.buttons() if box.buttonRole(button) == role)

    monkeypatch.setattr(QMessageBox, "exec", lambda box: asked.append(box.text()))
    monkeypatch.setattr(QMessageBox, "clickedButton", clicked)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (file, ""))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: folder)
    return asked


def test_a_prediction_whose_slide_has_moved_asks_where_it_is(
    qtbot: Any, drop: Callable[[Path], None], viewer: Any, good: Input, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = good.slide.rename(good.slide.with_name("elsewhere.tif"))
    asked = answers(monkeypatch, yes=True, file=str(moved))
    session = session_of(viewer)
    drop(saved)
    qtbot.waitUntil(lambda: session.slide is not None, timeout=SLOW)
    assert asked[0].startswith(f"The slide of C is no longer at {good.slide}.")
    assert session.slide is not None
    assert session.slide.path == moved
    assert {"H&E", "H&E [1]"} <= {layer.name for layer in viewer.layers}
    assert warnings() == []


def test_without_its_slide_a_prediction_opens_all_the_same_and_says_what_to_do(
    qtbot: Any,
    drop: Callable[[Path], None],
    viewer: Any,
    told: list[str],
    good: Input,
    saved: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moved = good.slide.rename(good.slide.with_name("elsewhere.tif"))
    answers(monkeypatch, yes=False)
    session = session_of(viewer)
    drop(saved)
    qtbot.waitUntil(lambda: session.shown is not None, timeout=SLOW)
    assert session.slide is None
    assert told == ["C is shown without its slide. To choose the slide, press Find slide… in the View panel."]
    _, view = viewer.window.add_plugin_dock_widget("napari-cmrcnet", "View")
    session.show("GENE4")

    answers(monkeypatch, yes=True, file=str(saved))  # no slide at all
    pick(view.find_slide, "File…")
    qtbot.waitUntil(lambda: bool(warnings()), timeout=SLOW)
    (message,) = warnings()
    assert "C_predicted.h5ad is not a slide but" in message
    assert session.slide is None

    answers(monkeypatch, yes=True, file=str(moved))
    pick(view.find_slide, "File…")
    qtbot.waitUntil(lambda: session.slide is not None, timeout=SLOW)
    assert session.shown is not None
    assert session.shown.name == "GENE4"


def test_a_checkpoint_that_has_moved_is_found(
    qtbot: Any, drop: Callable[[Path], None], viewer: Any, good: Input, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved.parent / "deep" / "down"
    folder.mkdir(parents=True)
    moved = Path(shutil.move(good.checkpoint, folder / "moved.cmrcnet"))
    session = session_of(viewer)
    drop(saved)
    qtbot.waitUntil(lambda: session.shown is not None, timeout=SLOW)
    assert session.prediction is not None
    assert session.prediction.bank is None
    _, view = viewer.window.add_plugin_dock_widget("napari-cmrcnet", "View")
    session.show("GENE4")

    answers(monkeypatch, yes=True, folder="")  # cancelled: all stays as it was
    view.find_checkpoint.click()
    assert session.prediction.bank is None

    answers(monkeypatch, yes=True, folder=str(moved))
    view.find_checkpoint.click()
    qtbot.waitUntil(lambda: session.prediction.bank is not None, timeout=SLOW)  # type: ignore[union-attr]
    assert session.shown is not None
    assert session.shown.name == "GENE4"
    assert view.find_checkpoint.isHidden()


def test_a_checkpoint_is_found_though_the_slide_is_damaged(
    qtbot: Any, drop: Callable[[Path], None], viewer: Any, good: Input, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good.slide.write_bytes(b"")
    (saved.parent / "deep").mkdir()
    checkpoint = Path(shutil.move(good.checkpoint, saved.parent / "deep" / "moved.cmrcnet"))
    answers(monkeypatch, yes=False)
    session = session_of(viewer)
    drop(saved)
    qtbot.waitUntil(lambda: session.shown is not None, timeout=SLOW)
    _, view = viewer.window.add_plugin_dock_widget("napari-cmrcnet", "View")
    answers(monkeypatch, yes=True, folder=str(checkpoint))
    view.find_checkpoint.click()
    qtbot.waitUntil(lambda: bool(warnings()) or session.prediction.bank is not None, timeout=SLOW)  # type: ignore[union-attr]
    assert warnings() == []
    assert session.slide is None


def test_regions_of_qupath_are_added_to_the_section(
    qtbot: Any, drop: Callable[[Path], None], told: list[str], viewer: Any, saved: Path, tmp_path: Path
) -> None:
    regions = tmp_path / "C.geojson"
    regions.write_text(SQUARE)
    drop(regions)
    assert told == [f"{regions} contains regions, but no section is open; open its slide or a prediction first."]
    session = session_of(viewer)
    drop(saved)
    qtbot.waitUntil(lambda: session.shown is not None, timeout=SLOW)
    for n in (1, 2):  # those there are stay
        drop(regions)
        qtbot.waitUntil(lambda n=n: len(session.regions) == n, timeout=SLOW)
        assert len(viewer.layers[REGIONS].data) == n
    _, panel = viewer.window.add_plugin_dock_widget("napari-cmrcnet", "Regions")
    assert "Added 1 region from C.geojson" in panel.jobs.text
    assert int(panel.model.data(panel.model.index(0, 2))) > 10  # spots

    regions.write_text("{")
    drop(regions)
    qtbot.waitUntil(lambda: not panel.jobs.busy, timeout=SLOW)
    assert panel.jobs.text.startswith(f"⚠ {regions} is not GeoJSON")
    assert len(session.regions) == 2


def test_what_was_opened_while_a_checkpoint_was_looked_for_stays(
    qtbot: Any, drop: Callable[[Path], None], viewer: Any, good: Input, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = Path(shutil.move(good.checkpoint, saved.parent / "moved.cmrcnet"))
    session = session_of(viewer)
    drop(saved)
    qtbot.waitUntil(lambda: session.shown is not None, timeout=SLOW)
    _, view = viewer.window.add_plugin_dock_widget("napari-cmrcnet", "View")
    answers(monkeypatch, yes=True, folder=str(moved))
    view.find_checkpoint.click()
    other = Prediction.load(saved)
    session.look_at(other)
    qtbot.waitUntil(lambda: not any(bar.busy for bar in bars()), timeout=SLOW)
    assert warnings() == []
    assert session.prediction is other


def test_scoring_that_was_cancelled_can_be_started_again(
    qtbot: Any, drop: Callable[[Path], None], viewer: Any, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = [True]

    def slowly(prediction: Prediction) -> Any:
        while waiting:
            yield Progress("Scoring", 0, 1)
            time.sleep(0.01)
        return (yield from pcc_job(prediction))

    monkeypatch.setattr(scores, "pcc_job", slowly)
    session = session_of(viewer)
    drop(saved)
    qtbot.waitUntil(lambda: session.scoring, timeout=SLOW)
    _, genes = viewer.window.add_plugin_dock_widget("napari-cmrcnet", "Genes")
    assert "being computed" in genes.note.text()
    (bar,) = (bar for bar in bars() if bar.busy)
    bar.cancel()
    qtbot.waitUntil(lambda: not session.scoring, timeout=SLOW)
    assert genes.note.text() == "The PCC of all genes are not computed."
    waiting.clear()
    genes.compute.click()
    qtbot.waitUntil(lambda: session.scores is not None and bool(session.scores.replicates), timeout=SLOW)
    assert genes.note.isHidden()
