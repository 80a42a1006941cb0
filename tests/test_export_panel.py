"""The Export panel: says what a file is for, writes it beside the window, and other programs read it."""

import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from PIL import Image

from dialogs import SaveDialog
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.evaluation.document import Heading, Picture, Table, Text, html_page
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.sections.panels import Panel
from napari_cmrcnet.viewer.region_layer import REGIONS
from napari_cmrcnet.viewer.registry import session_of
from napari_cmrcnet.viewer.session import Session
from napari_cmrcnet.widgets import report_pdf
from napari_cmrcnet.widgets.export import ExportPanel
from napari_cmrcnet.widgets.export_formats import FORMATS

pytestmark = pytest.mark.qt


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def session(
    viewer: ViewerModel,
    untrained_checkpoint: Checkpoint,
    tmp_path: Path,
    write_section: Callable[..., Any],
    open_small: Callable[..., Any],
) -> Session:
    """Shows GENE5 of section C."""
    section = open_small(*write_section(tmp_path / "data", "C", 3), name="C", patient="P3")
    session = session_of(viewer)
    session.look_at(finish(predict(section, untrained_checkpoint, PredictConfig(k=6, device="cpu"))), section.slide)
    session.show("GENE5")
    return session


@pytest.fixture
def panel(qtbot: Any, viewer: ViewerModel) -> ExportPanel:
    return shown(qtbot, viewer)


def shown(qtbot: Any, viewer: ViewerModel) -> ExportPanel:
    panel = ExportPanel(viewer)
    qtbot.addWidget(panel)
    panel.resize(380, 500)
    panel.show()
    return panel


def export_as(qtbot: Any, panel: ExportPanel, kind: str, path: Path, genes: str | None = None) -> Path:
    panel.choose(kind, genes)
    panel.export_to(path)
    qtbot.waitUntil(lambda: not panel.jobs.busy, timeout=60_000)
    assert panel.jobs.text == f"Saved {path}."
    return path


def test_an_empty_panel_says_what_to_do(panel: ExportPanel, session: Session) -> None:
    session.look_at(None)
    assert panel.empty.isVisible()
    assert panel.empty.text().startswith("There is nothing to export yet. Press Predict")
    assert not panel.button.isVisible()
    assert not panel.form.isVisible()


def test_a_prediction_can_be_exported_as_soon_as_it_is_there(qtbot: Any, viewer: ViewerModel, session: Session) -> None:
    panel = shown(qtbot, viewer)
    assert panel.button.isVisible()
    assert not panel.empty.isVisible()


def test_formats_say_what_they_are_for_and_nothing_is_cut_off(qtbot: Any, panel: ExportPanel, session: Session) -> None:
    for kind, each in FORMATS.items():
        panel.choose(kind)
        assert panel.purpose.isVisible()
        assert panel.purpose.text().startswith(each.purpose)
        assert panel.genes.isVisible() == each.genes
    assert panel.minimumSizeHint().width() <= 380
    panel.choose("csv")  # shows all controls
    panel.resize(panel.minimumSizeHint())
    texts = (panel.format, panel.genes, panel.purpose, panel.button)
    qtbot.waitUntil(lambda: all(w.mapTo(panel, w.rect().topRight()).x() < panel.width() for w in texts))


def test_a_table(qtbot: Any, panel: ExportPanel, session: Session, tmp_path: Path) -> None:
    table = pd.read_csv(export_as(qtbot, panel, "csv", tmp_path / "T.csv"))
    assert session.shown is not None
    np.testing.assert_array_equal(table["GENE5 predicted"].astype(np.float32), session.shown.predicted)
    assert [name for name in table if name.endswith("predicted")] == ["GENE5 predicted"]


def test_the_genes_of_a_choice(qtbot: Any, panel: ExportPanel, session: Session, tmp_path: Path) -> None:
    session.add_panel(Panel("mine", ("GENE2", "GENE9", "NOT_THERE")))
    assert panel.genes.findText("Panel mine (2 of 3)") > 0
    table = anndata.read_h5ad(export_as(qtbot, panel, "h5ad", tmp_path / "T.h5ad", "mine"))
    assert list(table.var_names) == ["GENE2", "GENE9"]
    table = anndata.read_h5ad(export_as(qtbot, panel, "h5ad", tmp_path / "T.h5ad", "all"))
    assert table.n_vars == 24
    table = anndata.read_h5ad(export_as(qtbot, panel, "h5ad", tmp_path / "T.h5ad", "sets"))
    assert {"GENE3", "GENE4"} <= set(table.var_names)
    session.show_panel(session.panels["mine"])
    assert panel.genes.itemText(0) == "Genes of the shown panel (mine)"
    table = anndata.read_h5ad(export_as(qtbot, panel, "h5ad", tmp_path / "T.h5ad", "shown"))
    assert list(table.var_names) == ["GENE2", "GENE9"]


def test_detections_for_qupath(qtbot: Any, panel: ExportPanel, session: Session, tmp_path: Path) -> None:
    content = json.loads(export_as(qtbot, panel, "geojson", tmp_path / "T.geojson").read_text("utf-8"))
    assert len(content["features"]) == 36
    assert "GENE5 measured" in content["features"][0]["properties"]["measurements"]


@pytest.mark.qt("pyside6")
@pytest.mark.parametrize("ending", ["pdf", "png"])
def test_maps_of_a_panel_are_as_wide_as_chosen(
    qtbot: Any, panel: ExportPanel, session: Session, tmp_path: Path, ending: str
) -> None:
    from PIL import Image

    session.add_panel(Panel("mine", ("GENE2", "GENE9", "GENE4")))
    panel.choose("maps", "mine")
    assert panel.width_mm.isVisible()
    panel.width_mm.setValue(120)
    path = export_as(qtbot, panel, "maps", tmp_path / f"T.{ending}", "mine")
    if ending == "png":
        with Image.open(path) as image:
            assert image.width == pytest.approx(120 / 25.4 * 300, abs=2)
    else:
        assert path.read_bytes().startswith(b"%PDF")
    panel.choose("csv")
    assert not panel.width_mm.isVisible()


@pytest.mark.qt("pyside6")
def test_a_report_has_pages(qtbot: Any, panel: ExportPanel, session: Session, tmp_path: Path) -> None:
    path = export_as(qtbot, panel, "report", tmp_path / "R.pdf")
    content = path.read_bytes()
    assert content.startswith(b"%PDF")
    assert 2 <= content.count(b"/Type /Page\n") <= 20
    assert content.count(b"/Subtype /Image") >= 3  # of the maps


@pytest.mark.qt("pyside6")
def test_pictures_as_wide_as_a_page_are_not_cut_off(
    qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands on a page begins at its margin, as a browser's page that is printed does."""
    made = []

    class Kept(report_pdf.QTextDocument):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    monkeypatch.setattr(report_pdf, "QTextDocument", Kept)
    (tmp_path / "T.html").write_text(html_page("T", [Text("one"), Picture("data:,", "none", "two", 900)]))
    report_pdf.print_pdf(tmp_path / "T.html", tmp_path / "T.pdf")
    block = made[0].begin()
    while block.isValid():
        assert block.blockFormat().leftMargin() == made[0].documentMargin() == 0
        block = block.next()


@pytest.mark.qt("pyside6")
def test_no_heading_of_a_pdf_stands_alone_at_the_foot_of_a_page(qtbot: Any, tmp_path: Path) -> None:
    from PySide6.QtPdf import QPdfDocument

    table = Table(("gene", "PCC"), [(f"G{row}", 0.5) for row in range(4)])
    heads = set()
    for above in range(24, 40):  # at some of them only the heading would fit
        parts = [*[Text("A line.")] * above, Heading("Genes"), table, Text("The end.")]
        (tmp_path / "T.html").write_text(html_page("T", parts))
        report_pdf.print_pdf(tmp_path / "T.html", tmp_path / "T.pdf")
        document = QPdfDocument()
        document.load(str(tmp_path / "T.pdf"))
        pages = [document.getAllText(page).text() for page in range(document.pageCount())]
        (heading,) = [page for page, text in enumerate(pages) if "Genes" in text]
        assert "PCC" in pages[heading]
        assert "The end." in pages[-1]
        heads.add(heading)
    assert heads == {0, 1}


@pytest.mark.qt("pyside6")
def test_no_column_of_a_wide_table_is_cut_off_in_a_pdf(
    qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_cmrcnet.widgets import report_pdf

    widths = []

    class Measured(report_pdf.QTextDocument):
        def print_(self, writer: Any) -> None:
            widths.append((self.size().width(), writer.width()))

    monkeypatch.setattr(report_pdf, "QTextDocument", Measured)
    (tmp_path / "T.html").write_text(
        '<table style="font-size: 14px"><tr>' + "<td>expression</td>" * 15 + "</tr></table>"
    )
    report_pdf.print_pdf(tmp_path / "T.html", tmp_path / "T.pdf")
    ((table, page),) = widths
    assert 0.8 * page < table <= page


@pytest.mark.qt("pyside6")
@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_a_figure_has_the_colours_of_the_window(
    qtbot: Any, panel: ExportPanel, session: Session, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_cmrcnet.evaluation import maps_figure

    seen = []
    draw = maps_figure.gene_map
    monkeypatch.setattr(maps_figure, "gene_map", lambda *args, **more: seen.append(args[1]) or draw(*args, **more))
    session.set_display(limits=(0.5, 2.5), colormap="magma")
    path = export_as(qtbot, panel, kind, tmp_path / f"F.{kind}")
    assert path.stat().st_size > 10_000
    if kind == "png":
        with Image.open(path) as picture:
            assert picture.width > 1500
    assert (seen[0].limits, seen[0].colours, seen[0].name) == ((0.5, 2.5), "magma", "GENE5")
    assert seen[0].full_unit == "log-normalised expression"


@pytest.mark.qt("pyside6")
def test_a_report(
    qtbot: Any, panel: ExportPanel, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_cmrcnet.evaluation import html_report

    monkeypatch.setattr(html_report, "BEST", 0)
    texts: list[str] = []
    parser = HTMLParser()
    parser.handle_data = texts.append  # type: ignore[method-assign]
    parser.feed(export_as(qtbot, panel, "html", tmp_path / "R.html").read_text("utf-8"))
    assert "Predicted expression of C" in texts
    assert any(text.startswith("GENE5. PCC") for text in texts)


def test_a_saved_prediction_opens_as_it_was(qtbot: Any, panel: ExportPanel, session: Session, tmp_path: Path) -> None:
    session.set_display(colormap="magma")
    again = Prediction.load(export_as(qtbot, panel, "prediction", tmp_path / "S.h5ad"))
    reopened = Session()
    reopened.look_at(again)
    assert reopened.shown is not None
    assert reopened.shown.name == "GENE5"
    assert reopened.display.colormap == "magma"


def test_the_file_gets_the_ending_of_its_format(
    qtbot: Any, panel: ExportPanel, session: Session, tmp_path: Path, save_dialog: SaveDialog
) -> None:
    panel.choose("csv")
    save_dialog.answer = tmp_path / "GENE5.v2"
    panel.button.click()
    qtbot.waitUntil(lambda: not panel.jobs.busy, timeout=60_000)
    assert (tmp_path / "GENE5.v2.csv").is_file()


def test_a_file_that_the_dialog_has_not_asked_about_is_not_replaced(
    qtbot: Any, panel: ExportPanel, session: Session, tmp_path: Path, save_dialog: SaveDialog
) -> None:
    (tmp_path / "mine.csv").write_text("keep")
    panel.choose("csv")
    save_dialog.answer = tmp_path / "mine"
    panel.button.click()
    assert not panel.jobs.busy
    assert save_dialog.questions == ["mine.csv already exists. Replace it?"]
    assert (tmp_path / "mine.csv").read_text() == "keep"
    save_dialog.replace = True
    panel.button.click()
    qtbot.waitUntil(lambda: not panel.jobs.busy, timeout=60_000)
    assert (tmp_path / "mine.csv").read_text() != "keep"


def test_names_say_what_is_in_the_file_and_the_folder_is_remembered(
    qtbot: Any, viewer: ViewerModel, panel: ExportPanel, session: Session, tmp_path: Path, save_dialog: SaveDialog
) -> None:
    session.show("GENE7")
    (tmp_path / "out").mkdir()
    save_dialog.answer = tmp_path / "out" / "T.geojson"
    panel.choose("geojson")
    panel.button.click()
    qtbot.waitUntil(lambda: not panel.jobs.busy, timeout=60_000)
    save_dialog.answer = None
    for kind, genes in (("csv", "shown"), ("h5ad", "all"), ("png", None), ("html", None), ("prediction", None)):
        panel.choose(kind, genes)
        panel.button.click()
    starts = save_dialog.proposed[1:]
    assert [start.name for start in starts] == [
        "C_GENE7.csv", "C_all_genes.h5ad", "C_GENE7.png", "C_report.html", "C_predicted.h5ad",
    ]  # fmt: skip
    assert {start.parent for start in starts} == {tmp_path / "out"}
    assert shown(qtbot, viewer).kind == "geojson"


def test_cancel_leaves_nothing(
    qtbot: Any, panel: ExportPanel, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    began, go_on = threading.Event(), threading.Event()
    expression = Prediction.expression

    def slow(self: Prediction, *args: Any) -> Any:
        began.set()
        go_on.wait(20)
        return expression(self, *args)

    monkeypatch.setattr(Prediction, "expression", slow)
    panel.choose("csv", "all")
    panel.export_to(tmp_path / "T.csv")
    qtbot.waitUntil(began.is_set)
    assert not panel.button.isEnabled()
    panel.jobs.cancel()
    go_on.set()
    qtbot.waitUntil(lambda: not panel.jobs.busy, timeout=60_000)
    assert not list(tmp_path.glob("*T.csv*"))
    assert panel.button.isEnabled()


def test_what_cannot_be_written_is_said_once(qtbot: Any, panel: ExportPanel, session: Session, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    panel.choose("csv")
    panel.export_to(tmp_path / "file" / "T.csv")
    qtbot.waitUntil(lambda: not panel.jobs.busy, timeout=60_000)
    assert "could not be written" in panel.jobs.text


def test_a_missing_package_is_said_before_the_export(
    panel: ExportPanel, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_cmrcnet.widgets import export_formats

    monkeypatch.setattr(export_formats, "find_spec", lambda _name: None)
    panel.choose("spatialdata")
    assert 'pip install "napari-cmrcnet[spatialdata]"' in panel.purpose.text()


def test_without_measurements(qtbot: Any, viewer: ViewerModel, session: Session, tmp_path: Path) -> None:
    before = session.prediction
    assert before is not None
    bare = Prediction(
        anndata.AnnData(obs=before.spots.obs, obsm=before.spots.obsm, uns=before.spots.uns),
        before.neighbours,
        before.similarity,
        before.confidence(),
        replace(before.provenance),
        bank=before.bank,
    )
    session.look_at(bare, session.slide)
    panel = shown(qtbot, viewer)
    for kind in ("csv", "png"):
        assert export_as(qtbot, panel, kind, tmp_path / f"T.{kind}").stat().st_size > 1000


@pytest.mark.qt("pyside6")
def test_a_report_has_the_regions_as_they_are_drawn_now(
    qtbot: Any, viewer: ViewerModel, panel: ExportPanel, session: Session, tmp_path: Path
) -> None:
    """No Regions panel is open, which would hear of them."""
    corners = np.array([[0, 0], [0, 96], [192, 96], [192, 0]], float)
    viewer.add_shapes([corners], shape_type="polygon", name=REGIONS, scale=(0.5, 0.5), units=("um", "um"))
    assert "Region 1" in export_as(qtbot, panel, "html", tmp_path / "R.html").read_text("utf-8")
    assert len(session.regions) == 1
