"""The Predict panel: what is chosen is described and checked, predicted beside the window, and remembered."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from qtpy.QtWidgets import QFileDialog, QMainWindow

from dialogs import SaveDialog, pick
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.viewer.preview import PREVIEW
from napari_cmrcnet.viewer.registry import layers_of, session_of
from napari_cmrcnet.viewer.slide_layer import slide_layer
from napari_cmrcnet.widgets.predict import CHANGED, PredictPanel
from test_visium_hd import make_hd
from test_xenium import make_xenium, write_image

pytestmark = pytest.mark.qt


@pytest.fixture
def section(tmp_path: Path, write_section: Callable[..., Any]) -> tuple[Path, Path]:
    return write_section(tmp_path / "data", "C", 3, side=16)


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def panel(qtbot: Any, viewer: ViewerModel) -> PredictPanel:
    return shown(qtbot, viewer)


def shown(qtbot: Any, viewer: ViewerModel) -> PredictPanel:
    panel = PredictPanel(viewer)
    qtbot.addWidget(panel)
    panel.resize(380, 700)
    panel.show()
    return panel


def settled(qtbot: Any, panel: PredictPanel) -> None:
    """Wait until the panel has looked at all that is chosen."""
    qtbot.waitUntil(
        lambda: (
            panel.inspection is not None and panel.inspection.request == panel.form.request() and not panel.jobs.busy
        ),
        timeout=60_000,
    )


@pytest.fixture
def chosen(
    qtbot: Any, panel: PredictPanel, section: tuple[Path, Path], untrained_checkpoint: Checkpoint
) -> PredictPanel:
    panel.form.choose(*section)
    panel.form.checkpoint.set_path(untrained_checkpoint.path)
    panel.form.mpp.setValue(0.5)
    panel.form.k.setValue(6)
    panel.form.patient.setText("P9")
    panel.form.patient.editingFinished.emit()
    settled(qtbot, panel)
    return panel


def test_an_empty_panel_says_what_to_choose(panel: PredictPanel) -> None:
    assert panel.hint.text() == (
        "Choose a slide and the spots (or a grid) and a checkpoint to predict."
        " You need a trained model: get one, or train your own."
    )
    assert not panel.run.isEnabled()


def test_what_is_chosen_is_described_and_checked_and_predicted(
    qtbot: Any, chosen: PredictPanel, viewer: ViewerModel
) -> None:
    assert chosen.form.slide.line.startswith("tiled TIFF, 512 × 512 pixels")
    assert "256 spots, 24 genes measured" in chosen.form.spots.line
    assert "bank of 72 spots and 24 genes" in chosen.form.checkpoint.line
    assert "lie on tissue" in chosen.checks.text()
    assert chosen.hint.isHidden()
    assert chosen.run.isEnabled()
    chosen.run.click()
    session = session_of(viewer)
    qtbot.waitUntil(lambda: session.prediction is not None, timeout=60_000)
    assert session.prediction is not None
    assert session.prediction.provenance.k == 6
    assert session.prediction.provenance.patient == "P9"
    assert session.slide is not None
    qtbot.waitUntil(lambda: session.scores is not None, timeout=60_000)
    assert [layer.name for layer in viewer.layers][-1].endswith("predicted, log-norm.")


def test_the_case_that_is_open_is_named_and_can_be_predicted_again(
    qtbot: Any, chosen: PredictPanel, viewer: ViewerModel, section: tuple[Path, Path], untrained_checkpoint: Checkpoint
) -> None:
    chosen.run.click()
    qtbot.waitUntil(lambda: session_of(viewer).prediction is not None, timeout=60_000)
    other = ViewerModel()
    session_of(other).look_at(session_of(viewer).prediction)
    panel = shown(qtbot, other)
    settled(qtbot, panel)
    assert (panel.form.slide.path, panel.form.spots.path) == section
    assert (panel.form.patient.text(), panel.form.mpp.value()) == ("P9", 0.5)
    assert panel.form.checkpoint.path == untrained_checkpoint.path
    assert panel.run.isEnabled()


def test_the_choices_follow_the_case_that_is_open_until_a_slide_is_chosen(
    qtbot: Any, viewer: ViewerModel, known: dict[str, Any], section: tuple[Path, Path]
) -> None:
    panel, session = shown(qtbot, viewer), session_of(viewer)
    slides = {name: Path(known[name].case.provenance.slide) for name in known}
    first, second, *_ = [name for name in known if known[name].case.prediction is not None]
    for name in (first, second):
        session.look_at(known[name].case)
        assert panel.form.slide.path == slides[name]
        assert "another" not in panel.run.text()
    panel.form.choose(*section)
    session.look_at(known[first].case)
    assert panel.form.slide.path == section[0]
    assert panel.run.text().startswith("Predict another slide")  # another patient's, it may be


def test_the_number_of_neighbours_may_be_left_to_the_checkpoint(qtbot: Any, chosen: PredictPanel) -> None:
    chosen.form.k.setValue(0)
    assert chosen.form.k.text() == "set by the checkpoint"
    assert chosen.form.request().k is None
    settled(qtbot, chosen)
    assert "k is 50 of 72 bank spots" in chosen.checks.text()


def test_a_bad_choice_is_told_under_it_and_mended(
    qtbot: Any, chosen: PredictPanel, tmp_path: Path, untrained_checkpoint: Checkpoint
) -> None:
    damaged = tmp_path / "damaged.cmrcnet"
    shutil.copytree(untrained_checkpoint.path, damaged)  # type: ignore[arg-type]
    (damaged / "card.json").write_text("{")
    chosen.form.checkpoint.set_path(damaged)
    settled(qtbot, chosen)
    assert "card.json is damaged" in chosen.form.checkpoint.line
    assert not chosen.run.isEnabled()
    chosen.form.checkpoint.set_path(untrained_checkpoint.path)
    settled(qtbot, chosen)
    assert chosen.run.isEnabled()


def test_an_unknown_pixel_size_is_asked_for_in_the_panel_s_words(qtbot: Any, chosen: PredictPanel) -> None:
    chosen.form.mpp.setValue(0)
    settled(qtbot, chosen)
    assert "pixel size" in chosen.form.spots.line
    assert "under More settings" in chosen.form.spots.line
    assert "--" not in chosen.form.spots.line


def test_a_checkpoint_that_changes_after_the_look_is_one_message(
    qtbot: Any, chosen: PredictPanel, tmp_path: Path, viewer: ViewerModel, untrained_checkpoint: Checkpoint
) -> None:
    mine = tmp_path / "mine.cmrcnet"
    shutil.copytree(untrained_checkpoint.path, mine)  # type: ignore[arg-type]
    chosen.form.checkpoint.set_path(mine)
    settled(qtbot, chosen)
    (mine / "model.safetensors").write_bytes(b"changed")
    chosen.run.click()
    qtbot.waitUntil(lambda: not chosen.jobs.busy, timeout=60_000)
    assert "model.safetensors was changed or damaged" in chosen.jobs.text
    assert session_of(viewer).prediction is None
    assert chosen.run.isEnabled()


def test_a_slide_that_changes_after_the_look_is_looked_at_again(
    qtbot: Any, chosen: PredictPanel, viewer: ViewerModel
) -> None:
    slide = chosen.form.slide.path
    assert slide is not None
    before = chosen.inspection
    pixels = tifffile.imread(slide)
    tifffile.imwrite(slide, pixels[:, ::-1], photometric="rgb", tile=(128, 128), compression="deflate")
    chosen.run.click()
    qtbot.waitUntil(lambda: not chosen.jobs.busy and chosen.inspection is not before, timeout=60_000)
    assert chosen.jobs.text == CHANGED
    session = session_of(viewer)
    assert session.prediction is None
    chosen.run.click()
    qtbot.waitUntil(lambda: session.prediction is not None, timeout=60_000)

    slide.write_bytes(slide.read_bytes()[:3000])
    before = chosen.inspection
    chosen.run.click()
    qtbot.waitUntil(lambda: not chosen.jobs.busy and chosen.inspection is not before, timeout=60_000)
    assert "C.tif is cut short" in chosen.form.slide.line
    assert not chosen.run.isEnabled()


def test_two_runs_at_once_are_one(qtbot: Any, chosen: PredictPanel, viewer: ViewerModel) -> None:
    told: list[Any] = []
    session_of(viewer).case_changed.connect(lambda: told.append(True))
    chosen.predict()
    chosen.predict()
    assert "Predicting is still running" in chosen.jobs.text
    qtbot.waitUntil(lambda: not chosen.jobs.busy, timeout=60_000)
    assert len(told) == 1


def test_cancel_leaves_what_was_there(qtbot: Any, chosen: PredictPanel, viewer: ViewerModel) -> None:
    chosen.predict()
    chosen.jobs.cancel()
    qtbot.waitUntil(lambda: not chosen.jobs.busy, timeout=60_000)
    assert session_of(viewer).prediction is None
    assert chosen.run.isEnabled()


def test_a_grid_is_previewed_and_its_pitch_matters(qtbot: Any, chosen: PredictPanel, viewer: ViewerModel) -> None:
    chosen.form.from_grid.setChecked(True)
    chosen.form.pitch.setValue(50)
    settled(qtbot, chosen)
    assert "nothing measured" in chosen.form.spots.line
    coarse = len(viewer.layers[PREVIEW].data)
    chosen.form.pitch.setValue(25)
    settled(qtbot, chosen)
    assert len(viewer.layers[PREVIEW].data) > 3 * coarse
    assert [layer.scale.tolist() for layer in viewer.layers] == [[0.5, 0.5]] * 2
    chosen.form.from_file.setChecked(True)
    assert PREVIEW not in viewer.layers
    assert not chosen.form.pitch.isEnabled()


@pytest.fixture
def two_sections(section: tuple[Path, Path], tmp_path: Path) -> Path:
    """An h5ad file with the spots of two sections, which a column of obs tells apart."""
    spots = anndata.read_h5ad(section[1])
    rows, columns = np.divmod(np.arange(spots.n_obs), 16)
    spots.obs["array_row"], spots.obs["array_col"], spots.obs["sample"] = rows, columns, "left"
    other = spots[: spots.n_obs // 2].copy()
    other.obs["sample"] = "right"
    joined = anndata.concat([spots, other], index_unique="-")
    joined.write_h5ad(tmp_path / "two.h5ad")
    return tmp_path / "two.h5ad"


def test_of_a_file_with_several_sections_one_is_chosen(
    qtbot: Any, chosen: PredictPanel, viewer: ViewerModel, section: tuple[Path, Path], two_sections: Path
) -> None:
    assert chosen.form.library.isHidden()  # a file of one section asks nothing
    chosen.form.spots.set_path(two_sections)
    settled(qtbot, chosen)
    assert not chosen.form.library.isHidden()
    assert [chosen.form.library.box.itemText(i) for i in range(3)] == ["Choose the section…", "left", "right"]
    assert chosen.form.library.name == ""
    assert "holds several sections (sample left, right)" in chosen.form.spots.line
    assert chosen.form.spots.line.endswith("or choose one (Section, under the file).")
    assert not chosen.run.isEnabled()

    for name, spots in (("right", 128), ("left", 256)):
        chosen.form.library.box.setCurrentText(name)
        settled(qtbot, chosen)
        assert f"{spots} spots, 24 genes measured" in chosen.form.spots.line
        assert chosen.form.library.name == name
        assert not chosen.form.library.isHidden()
    chosen.run.click()
    session = session_of(viewer)
    qtbot.waitUntil(lambda: session.prediction is not None, timeout=60_000)
    assert session.prediction is not None
    assert session.prediction.provenance.library == "left"

    chosen.form.spots.set_path(section[1])
    settled(qtbot, chosen)
    assert chosen.form.library.isHidden()
    assert "256 spots" in chosen.form.spots.line
    chosen.form.from_grid.setChecked(True)
    settled(qtbot, chosen)
    assert chosen.inspection is not None
    assert chosen.inspection.ready


def test_a_grid_asks_for_no_section(qtbot: Any, chosen: PredictPanel, two_sections: Path) -> None:
    chosen.form.spots.set_path(two_sections)
    settled(qtbot, chosen)
    chosen.form.library.box.setCurrentText("left")
    chosen.form.from_grid.setChecked(True)
    settled(qtbot, chosen)
    assert chosen.form.library.isHidden()
    assert chosen.inspection is not None
    assert chosen.inspection.ready
    chosen.form.from_file.setChecked(True)  # asked again
    settled(qtbot, chosen)
    assert not chosen.form.library.isHidden()


def test_browse_takes_a_file_or_a_folder_for_slide_and_spots(
    panel: PredictPanel, section: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, folder = section[1], section[1].parent
    asked: list[str] = []

    def file_dialog(_parent: object, title: str, _start: str, kinds: str) -> tuple[str, str]:
        asked.append(f"{title}: {kinds}")
        return str(file), ""

    monkeypatch.setattr(QFileDialog, "getOpenFileName", file_dialog)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
    for row in (panel.form.slide, panel.form.spots):
        pick(row.browse, "Folder…")
        assert row.path == folder
        pick(row.browse, "File…")
        assert row.path == file
    assert [said.partition(" (")[0] for said in asked] == ["Choose the slide: Slides", "Choose the spots: Spots"]
    panel.form.checkpoint.browse.click()
    assert panel.form.checkpoint.path == folder

    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "")  # cancelled
    pick(panel.form.slide.browse, "Folder…")
    assert panel.form.slide.path == file


def test_the_folder_of_a_space_ranger_output_is_read_as_its_files_are(
    qtbot: Any, panel: PredictPanel, section: tuple[Path, Path], real_data: Path
) -> None:
    panel.form.slide.set_path(section[0])
    panel.form.mpp.setValue(0.5)
    outs = real_data / "spaceranger" / "outs"
    for path in (outs, outs / "spatial", outs / "spatial" / "scalefactors_json.json"):
        panel.form.spots.set_path(path)
        settled(qtbot, panel)
        assert "2,898 spots outside" in panel.form.spots.line  # they do not lie on this small slide


def test_the_slide_that_is_open_is_taken(
    qtbot: Any, panel: PredictPanel, viewer: ViewerModel, section: tuple[Path, Path], open_small: Callable[..., Any]
) -> None:
    opened = open_small(*section)
    levels, settings, _ = slide_layer(opened.slide, 0.5)
    viewer.add_image(levels, **settings)
    assert panel.form.slide.path == section[0].absolute()
    panel.form.slide.set_path(None)
    panel.form.layer_button.click()
    assert panel.form.slide.path == section[0].absolute()


def test_the_last_choices_are_remembered(qtbot: Any, chosen: PredictPanel, section: tuple[Path, Path]) -> None:
    again = shown(qtbot, ViewerModel())
    assert (again.form.slide.path, again.form.spots.path) == section
    assert again.form.checkpoint.path == chosen.form.checkpoint.path
    assert again.form.k.value() == 6
    settled(qtbot, again)


def test_every_setting_is_remembered_beside_the_others(qtbot: Any, chosen: PredictPanel) -> None:
    chosen.form.pitch.setValue(55)
    chosen.form.from_grid.setChecked(True)
    chosen.form.device.setCurrentText("CPU")  # the last one that is changed
    for _ in range(2):  # what is remembered outlives being recalled
        again = shown(qtbot, ViewerModel())
        assert (again.form.k.value(), again.form.pitch.value(), again.form.device.currentText()) == (6, 55, "CPU")
        assert again.form.from_grid.isChecked()
        settled(qtbot, again)
    settled(qtbot, chosen)


def test_settings_that_are_damaged_are_those_of_a_new_user(qtbot: Any) -> None:
    folder = Path(os.environ["CMRCNET_CONFIG"])
    folder.mkdir()
    (folder / "panels.ini").write_text("[General]\nk=4, 5\npitch_um=wide\ngrid=sometimes\n", "utf-8")
    panel = shown(qtbot, ViewerModel())
    form = panel.form
    assert (form.k.value(), form.pitch.value(), form.from_grid.isChecked()) == (0, 100, False)


def test_a_panel_closed_during_the_run_loses_nothing(
    qtbot: Any, viewer: ViewerModel, section: tuple[Path, Path], untrained_checkpoint: Checkpoint
) -> None:
    window = QMainWindow()
    qtbot.addWidget(window)
    panel = PredictPanel(viewer)
    window.setCentralWidget(panel)
    window.show()
    panel.form.choose(*section)
    panel.form.checkpoint.set_path(untrained_checkpoint.path)
    panel.form.mpp.setValue(0.5)
    settled(qtbot, panel)
    panel.predict()
    window.takeCentralWidget().deleteLater()
    session = session_of(viewer)
    qtbot.waitUntil(lambda: session.prediction is not None, timeout=60_000)


def test_a_grid_lies_on_a_slide_that_was_opened_with_another_pixel_size(
    qtbot: Any, chosen: PredictPanel, viewer: ViewerModel, section: tuple[Path, Path], open_small: Callable[..., Any]
) -> None:
    levels, settings, _ = slide_layer(open_small(*section).slide, 0.25)
    slide = viewer.add_image(levels, **settings)
    chosen.form.from_grid.setChecked(True)
    settled(qtbot, chosen)
    preview = viewer.layers[PREVIEW]
    assert preview.scale.tolist() == slide.scale.tolist() == [0.25, 0.25]
    assert len(viewer.layers) == 2


def test_a_last_choice_that_may_not_be_looked_at_is_not_recalled(
    qtbot: Any, chosen: PredictPanel, section: tuple[Path, Path], forbidden: Callable[[Path], None]
) -> None:
    forbidden(section[1])
    again = shown(qtbot, ViewerModel())
    assert again.form.slide.path == section[0]
    assert again.form.spots.path is None


def test_the_number_of_warnings_stands_at_the_button_and_stays_with_the_prediction(
    qtbot: Any, chosen: PredictPanel, viewer: ViewerModel
) -> None:
    before = sum(not check.ok for check in chosen.inspection.checks) if chosen.inspection is not None else 0
    assert chosen.run.text() == ("Predict" if not before else f"Predict ({before} warnings)")
    chosen.form.mpp.setValue(1.5)
    settled(qtbot, chosen)
    assert chosen.inspection is not None
    warnings = tuple(check.text for check in chosen.inspection.checks if not check.ok)
    assert len(warnings) > before
    assert chosen.run.text() == f"Predict ({count_text(len(warnings), 'warning')})"
    chosen.run.click()
    session = session_of(viewer)
    qtbot.waitUntil(lambda: session.prediction is not None, timeout=60_000)
    assert layers_of(viewer).warnings == warnings


def test_a_synthetic_checkpoint_on_real_tissue_is_asked_about(
    qtbot: Any,
    chosen: PredictPanel,
    viewer: ViewerModel,
    untrained_checkpoint: Checkpoint,
    tmp_path: Path,
    save_dialog: SaveDialog,
) -> None:
    card = replace(untrained_checkpoint.card, synthetic=True)
    chosen.form.checkpoint.set_path(
        Checkpoint(card, untrained_checkpoint.model, untrained_checkpoint.bank)
        .save(tmp_path / "synthetic.cmrcnet")
        .path
    )
    settled(qtbot, chosen)
    save_dialog.replace = False
    chosen.run.click()
    assert "trained on synthetic sections" in save_dialog.questions[0]
    assert not chosen.jobs.busy
    save_dialog.replace = True
    chosen.run.click()
    session = session_of(viewer)
    qtbot.waitUntil(lambda: session.prediction is not None, timeout=60_000)
    assert len(save_dialog.questions) == 2
    assert any("trained on synthetic sections" in text for text in layers_of(viewer).warnings)


def test_of_cells_and_bins_the_panel_asks_how_to_pool_and_which(
    qtbot: Any, panel: PredictPanel, section: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = make_xenium(tmp_path / "xenium")
    panel.form.choose(*section)
    panel.form.mpp.setValue(0.5)
    settled(qtbot, panel)
    assert panel.form.pool.isHidden()  # spots are what models are trained on
    panel.form.choose(write_image(folder / "S1_he_image.ome.tif"), folder)
    settled(qtbot, panel)
    assert not panel.form.pool.isHidden()
    assert panel.form.library.isHidden()
    box = panel.form.pool.box
    assert [box.itemText(i) for i in range(box.count())] == [
        "squares of about 55 µm (default)",
        "circles of 55 µm, 100 µm apart, as Visium",
        "squares of 100 µm",
        "none: a value for each cell",
    ]
    assert panel.form.request().pool == ""
    for place, words in ((3, "4 cells"), (2, "squares of 100 µm")):
        box.setCurrentIndex(place)
        settled(qtbot, panel)
        assert panel.form.request().pool == ("no", "100")[3 - place]
        assert panel.inspection is not None
        assert panel.inspection.section is not None
        notes = " ".join(panel.inspection.section.notes)
        assert (words in notes) == (place == 2)
        assert not panel.form.pool.isHidden()
    panel.form.choose_spots(make_hd(tmp_path / "hd" / "outs"))
    settled(qtbot, panel)
    assert panel.form.request().pool == ""
    texts = [panel.form.library.box.itemText(i) for i in range(panel.form.library.box.count())]
    assert texts == ["bins of 16 µm (default)", "bins of 2 µm", "bins of 8 µm", "segmented cells"]
