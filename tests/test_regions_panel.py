"""The Regions panel follows what is drawn, imported, named and removed, and the gene that is shown."""

import csv
import io
from collections.abc import Callable, Iterator
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtGui import QShortcut
from qtpy.QtWidgets import QApplication, QFileDialog
from shapely.geometry import box

from dialogs import SaveDialog
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.sections.geojson import read_geojson, write_geojson
from napari_cmrcnet.sections.regions import Region
from napari_cmrcnet.slides.slide import open_slide
from napari_cmrcnet.viewer.boundary import to_napari
from napari_cmrcnet.viewer.region_layer import REGIONS
from napari_cmrcnet.viewer.registry import layers_of
from napari_cmrcnet.viewer.session import Session
from napari_cmrcnet.viewer.slide_layer import slide_layer
from napari_cmrcnet.widgets.regions import RegionsPanel
from scanner_slides import write_scn

pytestmark = pytest.mark.qt

LEFT, RIGHT = box(0, 0, 96, 192), box(96, 0, 192, 96)  # 18 and 9 of the 36 spots, 32 pixels apart


@pytest.fixture(scope="module")
def prediction(
    untrained_checkpoint: Checkpoint,
    tmp_path_factory: pytest.TempPathFactory,
    write_section: Callable[..., Any],
    open_small: Callable[..., Any],
) -> Prediction:
    section = open_small(*write_section(tmp_path_factory.mktemp("regions"), "C", 3), name="C")
    return finish(predict(section, untrained_checkpoint, PredictConfig(k=6, device="cpu")))


@pytest.fixture
def panel(qtbot: Any) -> Iterator[RegionsPanel]:
    viewer = ViewerModel()
    layers = layers_of(viewer)
    panel = RegionsPanel(viewer)
    qtbot.addWidget(panel)
    panel.resize(380, 700)
    panel.show()
    yield panel
    layers.session.look_at(None)


@pytest.fixture
def session(panel: RegionsPanel, prediction: Prediction) -> Session:
    panel.session.look_at(prediction)
    return panel.session


def regions() -> list[Region]:
    return [Region("left", "Tumour", LEFT), Region("right", "Stroma", RIGHT)]


def cells(panel: RegionsPanel) -> list[list[str]]:
    model = panel.model
    return [
        [model.data(model.index(row, column)) for column in range(model.columnCount())]
        for row in range(model.rowCount())
    ]


def click(panel: RegionsPanel, qtbot: Any, row: int, modifier: Any = Qt.KeyboardModifier.NoModifier) -> None:
    place = panel.table.visualRect(panel.model.index(row, 0)).center()
    qtbot.mouseClick(panel.table.viewport(), Qt.MouseButton.LeftButton, modifier, place)


def test_says_what_to_do_first(panel: RegionsPanel, prediction: Prediction) -> None:
    assert panel.empty.isVisible()
    assert "Press Draw region" in panel.empty.text()
    assert not panel.table.isVisible()
    assert panel.draw.isEnabled()
    assert not any(each.isEnabled() for each in (panel.remove, panel.files.save, panel.files.copy))
    panel.session.set_regions(regions())
    assert "2 regions drawn. Open a section, or predict one" in panel.empty.text()
    panel.session.look_at(prediction)
    assert panel.table.isVisible()
    assert not panel.empty.isVisible()


def test_the_table_follows_the_gene(panel: RegionsPanel, session: Session) -> None:
    session.set_regions(regions())
    rows = cells(panel)
    assert [row[0] for row in rows] == ["left", "right", "all", "all", "all spots", "outside"]
    assert [row[1] for row in rows] == ["Tumour", "Stroma", "Tumour", "Stroma", "", ""]
    assert [row[2] for row in rows] == ["18", "9", "18", "9", "36", "9"]
    for gene in ("GENE5", "GENE7"):
        session.show(gene)
        shown = session.shown
        assert shown is not None
        assert shown.measured is not None
        inside = regions()[0].contains(session.prediction.xy)  # type: ignore[union-attr]
        assert cells(panel)[0][3:5] == [f"{v[inside].mean():.2f}" for v in (shown.predicted, shown.measured)]
        assert cells(panel)[4][5] == f"{shown.pcc:.2f}"
        assert panel.title.text().startswith(f"{gene} in 2 regions")
    session.show_panel(session.prediction.panel)  # type: ignore[union-attr, arg-type]
    assert panel.title.text().startswith("two genes in 2 regions, mean z")


def test_few_spots_are_warned_of(panel: RegionsPanel, session: Session) -> None:
    session.set_regions([Region("all of it", "", box(0, 0, 192, 192))])
    assert not panel.warning.isVisible()
    session.set_regions(regions())
    assert panel.warning.isVisible()
    assert "fewer than 30 spots: the PCC is uncertain" in panel.warning.text()
    assert "left, right, Tumour, Stroma" in panel.warning.text()


def test_drawing_and_editing_on_the_canvas(panel: RegionsPanel, session: Session, qtbot: Any) -> None:
    panel.form.kind.setCurrentText("Necrosis")
    qtbot.mouseClick(panel.draw, Qt.MouseButton.LeftButton)
    layer = panel.region_layer.layer
    assert layer is not None
    assert layer.mode == "add_polygon"
    assert panel.draw.isChecked()
    layer.add(to_napari([[0, 0], [96, 0], [96, 192], [0, 192]]), shape_type="polygon")
    qtbot.waitUntil(lambda: len(session.regions) == 1)
    assert (session.regions[0].name, session.regions[0].classification) == ("Necrosis 1", "Necrosis")
    assert cells(panel)[0][:3] == ["Necrosis 1", "Necrosis", "18"]
    layer.data = [np.array(layer.data[0]) * [1.0, 0.4]]  # as dragging does
    qtbot.waitUntil(lambda: cells(panel)[0][2] == "6")
    qtbot.mouseClick(panel.draw, Qt.MouseButton.LeftButton)
    assert layer.mode == "pan_zoom"
    layer.mode = "add_polygon"
    assert panel.draw.isChecked()


def test_a_row_selects_its_region_and_spots(panel: RegionsPanel, session: Session, qtbot: Any) -> None:
    session.set_regions([*regions(), Region("more", "Stroma", box(0, 0, 32, 32))])
    xy = session.prediction.xy  # type: ignore[union-attr]
    click(panel, qtbot, 1)
    np.testing.assert_array_equal(session.selected, np.flatnonzero(regions()[1].contains(xy)))
    assert panel.region_layer.selection == (1,)
    assert panel.form.name.text() == "right"
    assert panel.form.classification == "Stroma"
    click(panel, qtbot, 4)  # all Stroma
    assert len(session.selected) == 9 + 1
    assert panel.region_layer.selection == (1, 2)
    assert not panel.form.name.isEnabled()
    assert panel.form.classification == "Stroma"
    click(panel, qtbot, 0, Qt.KeyboardModifier.ControlModifier)
    assert len(session.selected) == 18 + 9
    assert panel.form.classification == ""
    session.set_regions([*regions(), Region("more", "Stroma", box(0, 0, 1, 1)), Region("new", "Other", RIGHT)])
    assert [cells(panel)[row][:2] for row in sorted(panel._rows())] == [["left", "Tumour"], ["all", "Stroma"]]
    assert len(session.selected) == 18 + 9  # follows the edit


def test_selecting_on_the_canvas_leaves_the_spots_alone(panel: RegionsPanel, session: Session) -> None:
    session.set_regions(regions())
    session.select([3])
    assert panel.region_layer.layer is not None
    panel.region_layer.layer.selected_data = {0}
    assert panel.form.name.text() == "left"
    assert [cells(panel)[row][0] for row in panel._rows()] == ["left"]
    assert session.selected.tolist() == [3]


def test_naming_and_classing(panel: RegionsPanel, session: Session, qtbot: Any) -> None:
    session.set_regions([Region("left", "Tumour", LEFT, (9, 8, 7)), Region("right", "Stroma", RIGHT)])
    click(panel, qtbot, 1)
    panel.form.name.clear()
    qtbot.keyClicks(panel.form.name, "  the   rim ")
    session.show("GENE5")  # leaves alone what is being typed
    qtbot.keyClick(panel.form.name, Qt.Key.Key_Return)
    assert session.regions[1].name == "the rim"
    line = panel.form.kind.lineEdit()
    line.clear()
    qtbot.keyClicks(line, "Tumour")
    qtbot.keyClick(line, Qt.Key.Key_Return)
    assert (session.regions[1].classification, session.regions[1].colour) == ("Tumour", (9, 8, 7))
    assert panel.region_layer.layer is not None
    assert list(panel.region_layer.layer.features["classification"]) == ["Tumour", "Tumour"]
    assert cells(panel)[2][:3] == ["all", "Tumour", "27"]
    line.clear()
    qtbot.keyClicks(line, "Gland")
    qtbot.keyClick(line, Qt.Key.Key_Return)
    assert "Gland" in [panel.form.kind.itemText(i) for i in range(panel.form.kind.count())]


def test_classes_are_not_changed_by_walking_through_the_form(panel: RegionsPanel, session: Session, qtbot: Any) -> None:
    session.set_regions(regions())
    click(panel, qtbot, 0)
    click(panel, qtbot, 1, Qt.KeyboardModifier.ControlModifier)
    panel.form.kind.lineEdit().setFocus()
    qtbot.keyClick(panel.form.kind.lineEdit(), Qt.Key.Key_Return)
    panel.form.kind.lineEdit().editingFinished.emit()
    assert [region.classification for region in session.regions] == ["Tumour", "Stroma"]
    panel.form.kind.setCurrentText("Other")
    panel.form.kind.activated.emit(0)
    assert [region.classification for region in session.regions] == ["Other", "Other"]


def test_removing(panel: RegionsPanel, session: Session, qtbot: Any) -> None:
    session.set_regions([*regions(), Region("third", "", LEFT)])
    click(panel, qtbot, 1)
    qtbot.mouseClick(panel.remove, Qt.MouseButton.LeftButton)
    assert [region.name for region in session.regions] == ["left", "third"]
    assert not panel.remove.isEnabled()
    layer = panel.region_layer.layer
    assert layer is not None
    assert len(layer.data) == 2
    layer.selected_data = {0}
    layer.remove_selected()  # with the Delete key
    qtbot.waitUntil(lambda: [region.name for region in session.regions] == ["third"])


def test_changes_on_the_canvas_are_taken_back(panel: RegionsPanel, session: Session) -> None:
    session.set_regions(regions())
    layer = panel.region_layer.layer
    assert layer is not None
    before, undo = session.regions, {str(keys): act for keys, act in layer.keymap.items()}
    layer.selected_data = {0}
    layer.remove_selected()
    undo["Ctrl+Z"](layer)
    assert session.regions == before
    assert len(layer.data) == len(before)
    undo["Ctrl+Shift+Z"](layer)
    assert session.regions == before[1:]
    undo_key = next(each for each in panel.findChildren(QShortcut) if each.key().toString() == "Ctrl+Z")
    undo_key.activated.emit()
    assert session.regions == before


def test_the_panel_outlives_its_layer(panel: RegionsPanel, session: Session, qtbot: Any) -> None:
    session.set_regions(regions())
    viewer = panel.region_layer.viewer
    click(panel, qtbot, 0)
    viewer.layers.remove(panel.region_layer.layer)
    qtbot.waitUntil(lambda: session.regions == ())
    assert panel.empty.isVisible()
    qtbot.mouseClick(panel.draw, Qt.MouseButton.LeftButton)
    viewer.layers[REGIONS].add(to_napari([[0, 0], [96, 0], [96, 192], [0, 192]]), shape_type="polygon")
    qtbot.waitUntil(lambda: len(session.regions) == 1)


def test_sorting_keeps_classes_below_regions(panel: RegionsPanel, session: Session) -> None:
    session.set_regions([*regions(), Region("A", "Stroma", box(0, 0, 1, 1))])
    spots, measured = 2, 4
    panel.table.sortByColumn(spots, Qt.SortOrder.DescendingOrder)
    assert [row[0] for row in cells(panel)] == ["left", "right", "A", "all", "all", "all spots", "outside"]
    assert [row[1] for row in cells(panel)][3:5] == ["Tumour", "Stroma"]
    panel.table.sortByColumn(spots, Qt.SortOrder.AscendingOrder)
    assert [row[2] for row in cells(panel)] == ["0", "9", "18", "9", "18", "36", "9"]
    for order in (Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder):
        panel.table.sortByColumn(measured, order)
        assert cells(panel)[2][measured] == "–"  # what is undefined comes last


def test_import_adds_and_save_gives_back(
    panel: RegionsPanel,
    session: Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    save_dialog: SaveDialog,
    qtbot: Any,
) -> None:
    holed = LEFT.difference(box(20, 20, 70, 70))
    write_geojson(tmp_path / "q.geojson", [Region("", "Tumor: Positive", holed, (1, 2, 3))])
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "q.geojson"), ""))
    session.set_regions(regions())
    qtbot.mouseClick(panel.files.load, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not panel.jobs.busy)
    assert [region.name for region in session.regions] == ["left", "right", "Tumor: Positive 1"]
    assert "Added 1 region from q.geojson" in panel.jobs.text
    assert cells(panel)[2][2] == str(holed_spots(session, holed))
    save_dialog.answer = tmp_path / "out"
    qtbot.mouseClick(panel.files.save, Qt.MouseButton.LeftButton)
    again = read_geojson(tmp_path / "out.geojson")
    assert [region.name for region in again] == ["left", "right", "Tumor: Positive 1"]
    assert again[2].geometry.equals(holed)
    (tmp_path / "bad.geojson").write_text("{")
    panel.files.import_geojson(tmp_path / "bad.geojson")
    qtbot.waitUntil(lambda: not panel.jobs.busy)
    assert "bad.geojson is not GeoJSON" in panel.jobs.text
    assert len(session.regions) == 3


def test_qupath_counts_positions_from_the_scanned_part(
    panel: RegionsPanel, tmp_path: Path, save_dialog: SaveDialog, qtbot: Any
) -> None:
    assert not panel.files.whole.isVisible()
    write_geojson(tmp_path / "q.geojson", [Region("a", "Tumour", box(100, 100, 400, 300))])
    with open_slide(write_scn(tmp_path / "slide.scn", corner=(64, 32))) as slide:
        levels, settings, _ = slide_layer(slide, slide.mpp)
        panel.region_layer.viewer.add_image(levels, **settings)
        for whole, moved in ((False, (64, 32)), (True, (0, 0))):
            panel.session.set_regions(())
            panel.files.whole.setChecked(whole)
            panel.files.import_geojson(tmp_path / "q.geojson")
            qtbot.waitUntil(lambda: not panel.jobs.busy)
            assert panel.files.whole.isVisible()
            assert ("(64, 32)" in panel.jobs.text) != whole
            assert panel.session.regions[0].geometry.bounds[:2] == (100 + moved[0], 100 + moved[1])
            save_dialog.answer = tmp_path / f"{whole}.geojson"
            qtbot.mouseClick(panel.files.save, Qt.MouseButton.LeftButton)
            assert ("counted from the corner of the scanned part" in panel.jobs.text) != whole
            (again,) = read_geojson(tmp_path / f"{whole}.geojson")
            assert again.geometry.equals(box(100, 100, 400, 300))


def test_regions_read_while_another_section_is_opened_are_not_added(
    panel: RegionsPanel, session: Session, prediction: Prediction, tmp_path: Path, qtbot: Any
) -> None:
    write_geojson(tmp_path / "q.geojson", regions())
    panel.files.import_geojson(tmp_path / "q.geojson")
    session.look_at(copy(prediction))
    qtbot.waitUntil(lambda: not panel.jobs.busy)
    assert session.regions == ()
    assert "another section has been opened" in panel.jobs.text


def holed_spots(session: Session, geometry: Any) -> int:
    return int(Region("", "", geometry).contains(session.prediction.xy).sum())  # type: ignore[union-attr]


def test_the_table_for_a_spreadsheet(
    panel: RegionsPanel, session: Session, tmp_path: Path, save_dialog: SaveDialog, qtbot: Any
) -> None:
    session.set_regions([Region("=1+1", "", LEFT)])
    session.show("GENE5")
    qtbot.mouseClick(panel.files.copy, Qt.MouseButton.LeftButton)
    rows = list(csv.DictReader(io.StringIO(QApplication.clipboard().text()), delimiter="\t"))
    assert [row["region"] for row in rows] == ["'=1+1", "all spots", "outside all regions"]
    assert {(row["section"], row["gene"]) for row in rows} == {("C", "GENE5")}
    save_dialog.answer = tmp_path / "table.csv"
    qtbot.mouseClick(panel.files.save_table, Qt.MouseButton.LeftButton)
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as stream:
        assert list(csv.DictReader(stream)) == rows
    (tmp_path / "file").write_text("")
    save_dialog.answer = tmp_path / "file" / "table.csv"
    qtbot.mouseClick(panel.files.save_table, Qt.MouseButton.LeftButton)
    assert "could not be written" in panel.jobs.text


def test_regions_of_another_section_are_put_away_and_come_back_with_it(
    panel: RegionsPanel,
    session: Session,
    prediction: Prediction,
    untrained_checkpoint: Checkpoint,
    tmp_path: Path,
    write_section: Callable[..., Any],
    open_small: Callable[..., Any],
) -> None:
    session.set_regions(regions())
    section = open_small(*write_section(tmp_path, "D", 4), name="D")
    session.look_at(finish(predict(section, untrained_checkpoint, PredictConfig(k=6, device="cpu"))))
    assert cells(panel) == []
    assert panel.empty.isVisible()
    assert REGIONS not in panel.region_layer.viewer.layers
    session.look_at(prediction)
    assert cells(panel)[0][:3] == ["left", "Tumour", "18"]
    assert len(panel.region_layer.viewer.layers[REGIONS].data) == 2


def test_a_panel_opened_again_finds_the_regions(panel: RegionsPanel, session: Session, qtbot: Any) -> None:
    exact = LEFT.buffer(10.123456789)
    viewer = panel.region_layer.viewer
    first = RegionsPanel(viewer)
    session.set_regions([Region("left", "Tumour", exact), Region("right", "", RIGHT)])
    panel.region_layer.edited.disconnect()
    first.deleteLater()
    qtbot.waitUntil(lambda: not isalive(first))
    viewer.layers[REGIONS].add(to_napari([[0, 0], [96, 0], [96, 192], [0, 192]]), shape_type="polygon")
    session.show("GENE7")  # the closed panel hears of it no more
    assert len(session.regions) == 2
    again = RegionsPanel(viewer)
    qtbot.addWidget(again)
    assert [region.name for region in session.regions] == ["left", "right", "Region 1"]
    assert session.regions[0].geometry is exact
    assert again.model.rowCount() == 3 + 1 + 2


@pytest.mark.qt("pyqt6")
def test_in_a_real_window(napari_window: Any, prediction: Prediction, qtbot: Any) -> None:
    viewer = napari_window
    viewer.window.resize(1280, 800)
    panel = RegionsPanel(viewer)
    viewer.window.add_dock_widget(panel, area="right", name="Regions")
    session = panel.session
    session.look_at(prediction)
    qtbot.mouseClick(panel.draw, Qt.MouseButton.LeftButton)
    layer = viewer.layers[REGIONS]
    assert layer.mode == "add_polygon"
    layer.add(to_napari([[0, 0], [96, 0], [96, 192], [0, 192]]), shape_type="polygon")
    qtbot.waitUntil(lambda: len(session.regions) == 1)
    session.set_regions([*session.regions, Region("ring", "Tumour", LEFT.difference(box(20, 20, 70, 70)))])
    click(panel, qtbot, 1)
    assert session.selected.size == holed_spots(session, session.regions[1].geometry)
    copies = [each for each in viewer.layers if each.name.startswith(f"{REGIONS} (copy)")]
    assert copies
    assert all(len(copy.data) == 2 and not np.any(np.asarray(copy.face_color)[:, 3]) for copy in copies)
    assert [copy.text.values.tolist() for copy in copies] == [["Region 1", "ring"]] * len(copies)
    panel.form.renamed.emit("core")
    assert [copy.text.values.tolist() for copy in copies] == [["Region 1", "core"]] * len(copies)
    np.testing.assert_allclose(copies[0].text.color.array, layer.text.color.array)
    for theme in ("light", "dark"):
        viewer.theme = theme
        QApplication.processEvents()
        assert not panel.grab().isNull()
    viewer.layers.remove(layer)
    qtbot.waitUntil(lambda: session.regions == ())
    session.look_at(None)
