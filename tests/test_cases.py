"""The Cases panel in a real window: cases are paged through, kept by themselves, and nothing unsaved is lost."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication
from shapely.geometry import box

from dialogs import SaveDialog
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.evaluation.case_summary import summary_job
from napari_cmrcnet.evaluation.cohort import cohort_table
from napari_cmrcnet.evaluation.scores import score
from napari_cmrcnet.evaluation.shown import gene_shown
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.retrieval.project import Project, ProjectCase, read_project, write_project
from napari_cmrcnet.sections.regions import Region
from napari_cmrcnet.viewer.beside import Beside
from napari_cmrcnet.viewer.case_list import CaseList
from napari_cmrcnet.viewer.cells import LINE, fit_section
from napari_cmrcnet.viewer.coloring import expression_limits
from napari_cmrcnet.viewer.layers import _spot_at
from napari_cmrcnet.viewer.session import Session
from napari_cmrcnet.viewer.slide_layer import slide_path
from napari_cmrcnet.viewer.view_record import record_of
from napari_cmrcnet.widgets import cohort as cohort_module
from napari_cmrcnet.widgets import dialogs, keeper
from napari_cmrcnet.widgets.case_pages import show_row
from napari_cmrcnet.widgets.cases import CasesPanel
from napari_cmrcnet.widgets.dock_panel import find_panel
from napari_cmrcnet.widgets.jobs import JobBar
from napari_cmrcnet.widgets.open_files import get_reader, show_case
from napari_cmrcnet.widgets.plot_canvas import style_of
from one_prediction import Known

pytestmark = pytest.mark.qt

DRAWN = Region("edge", "Tumour", box(0, 0, 90, 90))
SLOW = 60_000  # ms: the machine may be busy


@pytest.fixture
def project(known: dict[str, Known], tmp_path: Path) -> Path:
    """A project of prediction C, section C as measured, slide D alone, and prediction D, which has no measurements."""
    for name, each in known.items():
        each.prediction.save(tmp_path / f"{name}.h5ad")
        each.prediction.path = None  # as others of this session have it
    c, d = (ProjectCase.made(each.prediction.provenance, tmp_path / f"{name}.h5ad") for name, each in known.items())
    measured = replace(c, name="C as measured", prediction="", model="")
    alone = ProjectCase("slide alone", slide=d.slide, patient="P9")
    path = tmp_path / "study.cmrproj"
    write_project(Project((replace(c, measured=True), measured, alone, d), path))
    return path


@pytest.fixture
def panel(napari_window: Any, qtbot: Any) -> Iterator[CasesPanel]:
    napari_window.window.resize(1280, 800)
    _, panel = napari_window.window.add_plugin_dock_widget("napari-cmrcnet", "Cases")
    yield panel
    wait(qtbot, lambda: not panel.session.scoring and not panel.jobs.busy)  # a job holds the window
    panel.session.look_at(None)


def wait(qtbot: Any, condition: Callable[[], bool]) -> None:
    qtbot.waitUntil(condition, timeout=SLOW)


def opened(panel: CasesPanel, qtbot: Any, path: Path) -> None:
    panel.open(path)
    wait(qtbot, lambda: panel.cases.row == 0)
    wait(qtbot, lambda: panel.session.scores is not None)


@pytest.mark.qt("pyside6")
@pytest.mark.usefixtures("undrawn", "no_pictures")
def test_all_predictions_of_the_list_make_one_report(
    panel: CasesPanel, project: Path, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not panel.report.isEnabled()
    opened(panel, qtbot, project)
    wait(qtbot, lambda: not panel.jobs.busy)
    out = tmp_path / "all.html"
    monkeypatch.setattr(dialogs, "ask_where_to_save", lambda *_: out)
    panel.report.click()
    wait(qtbot, lambda: not panel.jobs.busy)
    assert panel.jobs.text == f"Saved {out}."
    assert "Predicted expression of 2 sections" in out.read_text("utf-8")
    out = tmp_path / "all.pdf"
    panel.report.click()
    wait(qtbot, lambda: not panel.jobs.busy)
    assert panel.jobs.text == f"Saved {out}."
    content = out.read_bytes()
    assert content.startswith(b"%PDF")
    assert content.count(b"/Type /Page\n") >= 3


@pytest.mark.qt("pyqt6")
def test_cases_are_paged_through_and_come_back_as_they_were_left(
    panel: CasesPanel, project: Path, qtbot: Any, known: dict[str, Known]
) -> None:
    opened(panel, qtbot, project)
    session, table = panel.session, panel.table
    texts = [table.item(0, column).text() for column in range(4)]
    assert texts[:2] == ["C\npatient P3", "untrained"]
    assert texts[3] == "yes"
    wait(qtbot, lambda: not table.item(3, 0).icon().isNull())  # thumbnails, read beside the window
    pcc = score(Prediction.load(panel.cases.project.cases[0].prediction)).sets["markers"].pcc
    wait(qtbot, lambda: table.item(0, 2).text() == f"{pcc:.2f}")
    session.set_regions([DRAWN])
    session.show("GENE8")
    session.ticked = ("GENE4",)
    session.set_display(limits=(0.5, 2.0))
    panel.notes.setPlainText("look again")
    viewer = panel.viewer
    keys = {str(key): act for key, act in viewer.__wrapped__.keymap.items()}
    keys["PageDown"](viewer.__wrapped__)
    wait(qtbot, lambda: panel.cases.row == 1)
    assert session.prediction is None
    assert session.regions == (DRAWN,)  # the same section
    assert session.shown is not None
    assert session.shown.name == "GENE8"  # one gene is followed through cases that were never looked at
    panel.next.click()
    wait(qtbot, lambda: session.case is None)
    wait(qtbot, lambda: any(slide_path(layer) for layer in viewer.layers))
    d = known["D"].section.slide.path
    assert {slide_path(layer) for layer in viewer.layers} - {None} == {d}  # nothing of another patient stays
    assert session.regions == ()
    panel.notes.setPlainText("no spots yet")
    keys["PageDown"](viewer.__wrapped__)
    wait(qtbot, lambda: panel.cases.row == 3)
    assert session.case is not None
    assert not any(slide_path(layer) for layer in viewer.layers)
    assert panel.cases.project.cases[2].notes == "no spots yet"
    assert session.regions == ()
    assert panel.notes.toPlainText() == ""
    show_row(viewer, 0)
    wait(qtbot, lambda: panel.cases.row == 0)
    assert panel.notes.toPlainText() == "look again"
    keeper.may_leave(viewer)
    again = read_project(project).cases[0]
    assert (again.notes, again.view["ticked"], again.view["limits"]) == ("look again", ["GENE4"], [0.5, 2.0])
    assert again.pcc == pytest.approx(pcc)


@pytest.mark.qt("pyside6")
@pytest.mark.usefixtures("undrawn")
def test_regions_over_a_slide_alone_do_not_lie_over_the_next_one(
    panel: CasesPanel, known: dict[str, Known], qtbot: Any
) -> None:
    slides = [str(each.section.slide.path) for each in known.values()]
    panel.cases.open(Project(tuple(ProjectCase(slide, slide=slide) for slide in slides)))
    session, viewer = panel.session, panel.viewer

    def shows(row: int) -> bool:
        return [str(slide_path(layer)) for layer in viewer.layers if slide_path(layer)] == [slides[row]]

    panel.next.click()
    wait(qtbot, lambda: shows(0))
    session.set_regions([DRAWN])
    panel.next.click()
    wait(qtbot, lambda: shows(1))
    assert session.regions == ()
    session.undo_regions()
    assert session.regions == ()
    panel.previous.click()
    wait(qtbot, lambda: shows(0))
    assert session.regions == (DRAWN,)
    viewer.layers.clear()
    show_row(viewer, 0)
    wait(qtbot, lambda: shows(0))
    gone = ProjectCase("gone", slide="/nowhere/x.tif")
    panel.cases.open(Project((panel.cases.project.cases[0], gone)))
    panel.next.click()
    wait(qtbot, lambda: any("not at /nowhere/x.tif" in bar.text for bar in panel.window().findChildren(JobBar)))
    assert shows(0)


@pytest.mark.qt("pyside6")
def test_the_sample_is_unsaved_once_it_is_in_the_list(known: dict[str, Known], monkeypatch: pytest.MonkeyPatch) -> None:
    """Made again it can be, but not by the list, which would open it as it was measured."""
    prediction, session = known["C"].prediction, Session()
    monkeypatch.setattr(prediction, "provenance", replace(prediction.provenance, synthetic=True))
    monkeypatch.setattr(prediction, "path", None)
    cases = CaseList(session)
    session.look_at(prediction)
    assert cases.unsaved == ""
    cases.add_shown()
    assert cases.unsaved == "prediction"


@pytest.mark.qt("pyqt6")
@pytest.mark.usefixtures("undrawn")
def test_no_case_is_marked_while_another_section_is_shown(panel: CasesPanel, known: dict[str, Known]) -> None:
    panel.session.look_at(known["C"].prediction)
    panel.add.click()
    assert panel.table.currentRow() == 0
    panel.session.look_at(known["D"].prediction)
    assert panel.table.currentRow() == -1
    assert not panel.table.selectedItems()


@pytest.mark.qt("pyside6")
@pytest.mark.usefixtures("undrawn")
def test_what_is_not_saved_is_asked_about(
    panel: CasesPanel, known: dict[str, Known], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save_dialog: SaveDialog
) -> None:
    asked, answers = [], ["cancel", "discard", "save", "save"]
    monkeypatch.setattr(dialogs, "ask_to_save", lambda _parent, *words: (asked.append(words), answers.pop(0))[1])
    prediction = Prediction.load(_saved(known["C"], tmp_path))
    show_case(panel.viewer, prediction, known["C"].section.slide)
    assert keeper.may_leave(panel.viewer)
    assert not asked  # nothing was drawn
    panel.session.set_regions([DRAWN])
    assert not keeper.may_leave(panel.viewer)
    assert panel.session.regions == (DRAWN,)
    assert keeper.may_leave(panel.viewer)  # given up
    assert panel.session.regions == (DRAWN,)  # until another case is shown, which may not come
    assert "regions" not in Prediction.load(tmp_path / "C.h5ad").view
    show_case(panel.viewer, known["D"].prediction, known["D"].section.slide)
    show_case(panel.viewer, prediction, known["C"].section.slide)
    assert panel.session.regions == ()  # they do not come back
    panel.session.set_regions([DRAWN])
    assert keeper.may_leave(panel.viewer)  # into its own file
    assert Prediction.load(tmp_path / "C.h5ad").view["regions"]["features"][0]["properties"]["name"] == "edge"
    prediction.path = None
    save_dialog.answer = tmp_path / "new.h5ad"
    assert keeper.may_leave(panel.viewer)
    assert (tmp_path / "new.h5ad").exists()
    assert asked == [("C", "regions")] * 3 + [("C", "prediction")]


@pytest.mark.qt("pyside6")
@pytest.mark.usefixtures("undrawn")
def test_panels_of_a_case_open_after_its_picture(panel: CasesPanel, known: dict[str, Known], qtbot: Any) -> None:
    """In a turn of the event loop of their own: the window answers in between."""
    show_case(panel.viewer, known["C"].prediction, known["C"].section.slide)
    assert find_panel(panel.viewer, "Genes") is None
    wait(qtbot, lambda: find_panel(panel.viewer, "Genes") is not None)


@pytest.mark.usefixtures("undrawn")
def test_the_window_is_not_closed_with_something_unsaved(
    panel: CasesPanel, known: dict[str, Known], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    answers = ["cancel", "discard"]
    monkeypatch.setattr(dialogs, "ask_to_save", lambda *_: answers.pop(0))
    show_case(panel.viewer, Prediction.load(_saved(known["C"], tmp_path)), known["C"].section.slide)
    wait(qtbot, lambda: panel.session.scores is not None and bool(panel.session.scores.replicates))
    panel.session.set_regions([DRAWN])
    window = panel.window()
    assert not window.close()
    assert window.isVisible()
    assert keeper.may_leave(panel.viewer)
    assert answers == []


CLOSE = """
import sys
import napari
from napari._qt import qt_main_window
from qtpy import API_NAME
from qtpy.QtWidgets import QApplication
from shapely.geometry import box
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.sections.regions import Region
from napari_cmrcnet.viewer.registry import layers_of
from napari_cmrcnet.widgets import dialogs
from napari_cmrcnet.widgets.keeper import keep_watch

asked, confirmed, answers = [], [], ["cancel", "discard"]
dialogs.ask_to_save = lambda _parent, *words: (asked.append(words), answers.pop(0))[1]

class Confirm:  # napari's own question
    def __init__(self, *_, **__): confirmed.append(1)
    def exec_(self): return qt_main_window.QDialog.DialogCode.Accepted

qt_main_window.ConfirmCloseDialog = Confirm
viewer = napari.Viewer()
session = layers_of(viewer).session
session.look_at(Prediction.load(sys.argv[1]))
keep_watch(viewer)
session.set_regions([Region("edge", "", box(0, 0, 90, 90))])
window = viewer.window._qt_window
QApplication.processEvents()
window.close(quit_app=True, confirm_need=True)  # File > Exit, Ctrl+Q
print(API_NAME, asked, len(confirmed), window.isVisible(), len(session.regions))
window._quit_app = False  # else the test ends here
window.windowHandle().close()  # the button of the window
while window.isVisible():
    QApplication.processEvents()
print(asked, len(confirmed))
sys.stdout.flush()
import os
os._exit(0)
"""


@pytest.mark.qt("pyside6")  # it starts a window of each itself
@pytest.mark.parametrize("api", ["pyqt6", "pyside6"])
def test_quit_and_the_button_of_the_window_ask_once(known: dict[str, Known], tmp_path: Path, api: str) -> None:
    pytest.importorskip({"pyqt6": "PyQt6", "pyside6": "PySide6"}[api])
    command = [sys.executable, "-c", CLOSE, str(_saved(known["C"], tmp_path))]
    env = os.environ | {"QT_API": api, "CMRCNET_CONFIG": str(tmp_path), "NAPARI_CONFIG": str(tmp_path / "napari.yaml")}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    said = [line.lower() for line in done.stdout.splitlines()]
    assert said == [f"{api} [('c', 'regions')] 1 true 1", "[('c', 'regions'), ('c', 'regions')] 1"], done.stderr


@pytest.mark.qt("pyside6")
@pytest.mark.usefixtures("undrawn")
def test_a_folder_is_a_list_that_is_saved_on_request(
    panel: CasesPanel, known: dict[str, Known], tmp_path: Path, qtbot: Any, save_dialog: SaveDialog
) -> None:
    _saved(known["C"], tmp_path)
    opened(panel, qtbot, tmp_path)
    assert "not saved yet" in panel.status.text()
    panel.session.set_regions([DRAWN])
    assert panel.cases.unsaved == "regions"
    save_dialog.answer = tmp_path / "mine"
    panel.save.click()
    assert panel.cases.unsaved == ""
    assert read_project(tmp_path / "mine.cmrproj").cases[0].prediction == str(tmp_path / "C.h5ad")
    panel.remove.click()
    assert panel.table.rowCount() == 0
    panel.add.click()
    assert panel.table.item(0, 0).text() == "C\npatient P3"
    assert get_reader("a.CMRPROJ") is not None
    assert get_reader(["a.cmrproj", "b.cmrproj"]) is None  # a stack is none of ours


@pytest.mark.qt("pyside6")
def test_the_summary_is_that_of_the_scores(known: dict[str, Known], tmp_path: Path) -> None:
    path = _saved(known["C"], tmp_path)
    entry = replace(ProjectCase.made(known["C"].prediction.provenance, path), measured=True)
    pixels, pcc = finish(summary_job(entry))
    assert pcc == pytest.approx(score(known["C"].prediction).sets["markers"].pcc, abs=1e-5)
    assert pixels is not None
    np.testing.assert_allclose(pixels.shape, (96, 96, 3))
    gone = replace(entry, slide="/gone.tif", prediction="/gone.h5ad")
    assert finish(summary_job(gone)) == (None, None)


CHILD = """
import sys, time
from pathlib import Path
from napari.components import ViewerModel
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QMainWindow
from shapely.geometry import box
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.retrieval.project import read_project
from napari_cmrcnet.sections.regions import Region
from napari_cmrcnet.viewer.registry import layers_of
from napari_cmrcnet.widgets.keeper import Keeper

app, viewer, window = QApplication([]), ViewerModel(), QMainWindow()
layers = layers_of(viewer)
layers.session.look_at(Prediction.load(sys.argv[2]))
layers.cases.open(read_project(sys.argv[1]))
Keeper(viewer, window)

def draw():
    regions = layers.session.regions
    layers.session.set_regions([*regions, Region(str(len(regions)), "", box(0, 0, 9, 9))])
    print(time.time(), flush=True)

timer = QTimer()
timer.timeout.connect(draw)
timer.start(200)
app.exec()
"""


@pytest.mark.qt("pyside6")
def test_killed_at_any_moment_at_most_ten_seconds_are_lost(known: dict[str, Known], tmp_path: Path) -> None:
    prediction = _saved(known["C"], tmp_path)
    path = tmp_path / "p.cmrproj"
    write_project(Project((ProjectCase.made(known["C"].prediction.provenance, prediction),), path))
    command = [sys.executable, "-c", CHILD, str(path), str(prediction)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            drawn = [float(child.stdout.readline()) for _ in range(6)]
            while drawn[-1] < drawn[5] + 11:
                drawn.append(float(child.stdout.readline()))
        finally:
            child.kill()
        killed = time.time()
    features = json.loads(path.read_text())["cases"][0]["view"]["regions"]["features"]
    assert len(features) >= sum(moment < killed - 10 for moment in drawn) > 5


def _saved(known: Known, folder: Path) -> Path:
    """Save a prediction, as if by another session."""
    path = folder / "C.h5ad"
    known.prediction.save(path)
    known.prediction.path = None
    QApplication.processEvents()
    return path


@pytest.mark.qt("pyside6")
@pytest.mark.usefixtures("undrawn")
def test_the_cohort_table_of_the_list_is_that_of_the_core_and_opens_cases(
    panel: CasesPanel, project: Path, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(panel, qtbot, project)
    panel.session.show("GENE8")
    panel.session.set_regions([DRAWN])
    panel.cohort.click()
    cohort = find_panel(panel.viewer, "Cohort")
    assert cohort.compute.text() == "Compute GENE8"
    cohort.compute.click()
    wait(qtbot, lambda: not cohort.jobs.busy)
    cases = panel.cases.project.cases
    both = [Prediction.load(case.prediction) for case in cases if case.prediction]
    both[0].view = record_of(panel.session)
    wanted = cohort_table(both, ["GENE8"])
    table = cohort.table
    assert list(cohort.model.table)[1:3] == ["pcc", "trust"]
    shares = list(cohort.model.table).index("measured_share_above")
    right = cohort.view.columnViewportPosition(shares) + cohort.view.columnWidth(shares)
    assert right <= cohort.view.viewport().width()  # seen without scrolling
    found = table[(table["section"] != "C as measured") & (table["level"] == "section")].reset_index(drop=True)
    same = ["section", "source", "class", "spots", "predicted_mean", "measured_mean", "pcc"]
    pd.testing.assert_frame_equal(found[same], wanted[wanted["level"] == "section"][same].reset_index(drop=True))
    measured = table[(table["section"] == "C as measured") & (table["source"] == "")].iloc[0]
    assert np.isnan(measured["predicted_mean"])
    assert measured["measured_mean"] == pytest.approx(found["measured_mean"][0])
    assert "Otsu's over all sections (predicted " in cohort.about.text()
    monkeypatch.setattr("napari_cmrcnet.evaluation.cohort._threshold", lambda *_: np.nan)  # as where all are alike
    monkeypatch.setattr(cohort_module, "_WIDEST", 88)
    cohort.compute.click()
    wait(qtbot, lambda: not cohort.jobs.busy)
    assert "nan" not in cohort.about.text()
    cohort.view.sortByColumn(0, Qt.SortOrder.DescendingOrder)
    names = [cohort.model.index(row, 0).data() for row in range(cohort.model.rowCount())]
    assert names == sorted(names, reverse=True)
    assert "Patient P3, 2 sections" in names
    assert cohort_module._row_name("", "synthetic 4", 1) == "Patient synthetic 4"  # a longer name is cut
    of_patient, line = names.index("Patient P3, 2 sections"), cohort.view.fontMetrics().lineSpacing()
    assert cohort.view.columnWidth(0) == 88
    assert cohort.view.rowHeight(of_patient) >= 2 * line  # it is wrapped, not cut
    row = names.index(next(name for name in names if name.startswith("D")))
    cohort.view.clicked.emit(cohort.model.index(row, 0))
    wait(qtbot, lambda: panel.session.case is not None and panel.session.case.name == "D")
    assert cohort.canvas.plot.axes[0].get_xticklabels()[0].get_text() == "C\npatient P3"
    cohort.viewer.theme = "light"
    assert cohort.canvas.plot.style == style_of(cohort.viewer)
    assert cohort.canvas.plot.axes[0].get_xticklabels()[0].get_text() == "C\npatient P3"
    cohort.of.setCurrentText("By regions")
    cohort.of.activated.emit(1)
    assert {cohort.model.index(row, 1).data() for row in range(cohort.model.rowCount())} == {"Tumour", "edge"}
    for name in ("cohort.csv", "cohort.png"):
        monkeypatch.setattr(cohort_module, "ask_where_to_save", lambda *_, name=name: tmp_path / name)
        cohort.save.click()
        assert (tmp_path / name).stat().st_size > 100
    assert len(pd.read_csv(tmp_path / "cohort.csv")) == len(table)
    wait(qtbot, lambda: not panel.session.scoring)


@pytest.mark.qt("pyside6")
@pytest.mark.usefixtures("undrawn")
def test_a_second_case_lies_beside_the_first_on_its_own_slide_and_the_same_scale(
    panel: CasesPanel, project: Path, qtbot: Any, known: dict[str, Known], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(panel, qtbot, project)
    session, layers = panel.session, panel.layers
    session.show("GENE8")
    monkeypatch.setattr(dialogs, "choose_one", lambda *words: words[-1][-1])
    assert panel.beside.text() == "Open beside…"
    panel.beside.click()
    wait(qtbot, lambda: layers.beside.case is not None)
    panel.viewer.canvas.size = (500, 2000)
    assert panel.beside.text() == "Close beside"
    assert layers.beside.case.name == "D"
    (*slides, spots, names) = (kind["predicted"] for kind in layers.beside.kinds if kind)
    assert len(slides) == 1
    first = layers.points["predicted"]
    assert spots.extent.world[0][1] > first.extent.world[1][1]  # to the right of all of it
    assert slides[0].extent.world[0][1] > layers.slides["predicted"].extent.world[1][1]
    np.testing.assert_allclose(spots.scale, first.scale)
    assert spots.face_contrast_limits == first.face_contrast_limits
    one, two = (expression_limits(gene_shown(case, "GENE8", None), session.display)
                for case in (session.case, layers.beside.case))  # fmt: skip
    assert one != two
    assert first.face_contrast_limits == (min(one[0], two[0]), max(one[1], two[1]))
    assert first.name.endswith("one scale for both")
    wanted = known["D"].prediction.gene("GENE8")
    np.testing.assert_allclose(spots.features["predicted"], wanted, rtol=1e-6)
    assert spots.name.startswith("D: GENE8 predicted")
    assert [str(text).partition("\n")[0] for text in names.text.values] == ["C", "D", ""]
    right = slides[0].extent.world[1][1]
    assert names.extent.world[1][1] >= right - 1  # what is fitted to the canvas has room for the second name
    camera = panel.viewer.scene.camera
    panel.viewer.canvas.size = (2000, 500)  # a high window has more room below the first case
    assert slides[0].extent.world[0][0] > layers.slides["predicted"].extent.world[1][0]
    assert spots.extent.world[0][0] > names.extent.world[1][0] > first.extent.world[1][0]  # each name over its section
    panel.viewer.canvas.size = (500, 2000)
    assert spots.extent.world[0][1] > first.extent.world[1][1]
    layers.groups.fit()
    with_names = camera.center[-2]
    with monkeypatch.context() as patch:
        patch.setattr(Beside, "above", 0.0)
        layers.groups.fit()
        assert with_names < camera.center[-2]  # the sections lie lower, for the names over them
    assert {line[:1] for line in layers.title.splitlines()} >= {"C", "D"}
    second = layers.beside.case
    second.provenance = replace(second.provenance, warnings=("The stain is far.",))
    session.show("GENE4")
    assert "D: The stain is far." in layers.warnings
    assert layers.title.splitlines()[-1] == f"{count_text(len(layers.warnings), 'warning')}: see View"
    assert spots.name.startswith("D: GENE4")
    session.set_display(spot_size=1.5)
    (*_, spots, _) = (kind["predicted"] for kind in layers.beside.kinds if kind)
    assert float(spots.size[0]) == pytest.approx(known["D"].prediction.spot_diameter * 1.5)
    right = spots.data_to_world(spots.data[0])
    assert _spot_at(session, right) is None  # no spot of the first case is meant there
    count = len(panel.viewer.layers)
    panel.beside.click()
    assert layers.beside.case is None
    assert len(panel.viewer.layers) < count
    assert layers.points["predicted"].name == "GENE4 predicted, log-norm."
    panel.beside.click()
    wait(qtbot, lambda: layers.beside.case is not None)
    show_row(panel.viewer, 1)
    wait(qtbot, lambda: panel.cases.row == 1)
    assert layers.beside.case is None  # it was beside another


def test_the_title_does_not_lie_over_the_names_of_two_cases() -> None:
    """In a canvas of 1280 x 800 with two rows of cells, and a title of five lines."""
    text, grid = SimpleNamespace(font_size=8.0, text="\n" * 4), SimpleNamespace(enabled=True, shape=(2, 1))
    canvas = SimpleNamespace(size=(750.0, 873.0), grid=grid, overlays=SimpleNamespace(text=text))
    camera = SimpleNamespace(center=(0.0, 0.0), zoom=1.0)
    fit_section(SimpleNamespace(canvas=canvas, scene=SimpleNamespace(camera=camera)), (3.0, 5.0), (6.0, 10.0), 50.0)
    top = 750 / 2 / 2 + (0 - camera.center[0]) * camera.zoom
    assert top - 50 >= 5 * LINE * text.font_size
