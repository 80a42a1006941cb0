"""The HTML report is one file that is complete, loads nothing, runs nothing, and shows every name as text."""

import io
import os
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
from PIL import Image

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.evaluation import html_report
from napari_cmrcnet.evaluation.document import Table, Text, html_page
from napari_cmrcnet.evaluation.html_cohort import write_cohort_report
from napari_cmrcnet.evaluation.html_report import write_html_report
from napari_cmrcnet.evaluation.localise import agreement, otsu
from napari_cmrcnet.evaluation.report_parts import section_parts
from napari_cmrcnet.evaluation.scores import score
from napari_cmrcnet.evaluation.shown import Shown, gene_shown
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.sections.panels import Panel

EVIL = "<script>alert('x')</script>"
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """What a browser would make of a page: elements, their texts, tables and pictures."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.rows: list[list[str]] = []
        self.feed(path.read_text("utf-8"))
        self.close()
        assert not self.open, "elements are left open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        where = self.open[-1] if self.open else ""
        self.texts.append((where, data))
        if where in ("td", "th"):
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(text for where, text in self.texts if where != "style")

    @property
    def headings(self) -> list[str]:
        return [text for where, text in self.texts if where == "h2"]

    @property
    def pictures(self) -> list[Image.Image]:
        sources = [str(attributes["src"]) for tag, attributes in self.elements if tag == "img"]
        assert all(source.startswith("data:image/") for source in sources)
        return [Image.open(io.BytesIO(b64decode(source.partition("base64,")[2]))) for source in sources]


@pytest.fixture(scope="module")
def prediction(
    untrained_checkpoint: Checkpoint,
    tmp_path_factory: pytest.TempPathFactory,
    write_section: Callable[..., Any],
    open_small: Callable[..., Any],
) -> Prediction:
    """Of its 24 genes, GENE0 was not measured and GENE1 is called a script."""
    section = open_small(*write_section(tmp_path_factory.mktemp("data"), "C", 3), name="C <b>", patient="P3")
    plain = finish(predict(section, untrained_checkpoint, PredictConfig(k=6, device="cpu")))
    assert plain.bank is not None
    names = {"GENE1": EVIL}
    spots = plain.spots[:, 1:].copy()
    spots.var_names = [names.get(gene, gene) for gene in spots.var_names]
    bank = replace(plain.bank, genes=tuple(names.get(gene, gene) for gene in plain.bank.genes))
    provenance = replace(plain.provenance, panel=Panel("M & co", (EVIL, "GENE3", "NOT_THERE")))
    return Prediction(spots, plain.neighbours, plain.similarity, plain.confidence(), provenance, bank=bank)


@pytest.fixture(autouse=True)
def few_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html_report, "BEST", 1)


def drawn(prediction: Prediction, gene: str) -> Shown:
    return replace(gene_shown(prediction, gene, None), pcc=0.5, low=0.4, high=0.6, undefined="")


@pytest.fixture(scope="module")
def report(prediction: Prediction, tmp_path_factory: pytest.TempPathFactory) -> Page:
    from shapely.geometry import box

    from napari_cmrcnet.sections.regions import Region

    path = tmp_path_factory.mktemp("report") / "R.html"
    region = Region("<i>edge</i>", "Tumour & stroma", box(0, 0, 100, 100))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(html_report, "BEST", 1)
        finish(write_html_report(prediction, path, shown=drawn(prediction, "GENE5"), regions=[region]))
    return Page(path)


def test_all_is_in_it(report: Page, prediction: Prediction) -> None:
    assert report.headings == [
        "Scores by gene set", "Maps", "Genes", "Mean and variance of genes", "Correlation of genes", "GENE5 in regions",
        "Where GENE5 is high", "Confidence", "How the prediction was made", "Versions",
    ]  # fmt: skip
    assert ("div", "For research use only: a prediction is not a measurement and not a diagnosis.") in report.texts
    assert "The patient" not in report.text
    assert ["spots not predicted", "none"] in report.rows
    assert "epoch chosen by" not in report.text  # none was
    assert "Not measured, or not in the checkpoint: NOT_THERE" in report.text
    assert "untrained.cmrcnet" in report.text
    assert prediction.provenance.warnings
    for warning in prediction.provenance.warnings:
        assert report.texts.count(("div", warning)) == report.text.count(warning) == 1
    assert ["section", "C <b>"] in report.rows
    assert "Patient P3. " in report.text  # at its head
    assert any(row[0] == "torch" for row in report.rows)


def test_pictures_are_whole_and_the_shown_gene_comes_first(report: Page) -> None:
    captions = [text for where, text in report.texts if where == "figcaption"]
    assert captions[1].startswith(f"{EVIL}: PCC ")
    assert "; GENE3: PCC " in captions[1]
    assert " (95 % " in captions[2]  # best predicted genes
    assert captions[0].startswith("GENE5. PCC 0.50 (95 % bootstrap interval over spots 0.40 to 0.60)")
    assert len(report.pictures) == len(captions) + 1
    for picture in report.pictures:
        picture.load()
        assert picture.width > 300


def test_scores_are_those_of_the_prediction(report: Page, prediction: Prediction) -> None:
    scores = score(prediction)
    heg = next(row for row in report.rows if row[3:4] == ["HEG"])
    assert heg[4] == f"{scores.sets['HEG'].pcc:.3f}"
    row = next(row for row in report.rows if row[0] == "GENE3")
    assert row[3] == f"{scores.table.at['GENE3', 'pcc']:.3f}"
    assert row[4] == f"{scores.table.at['GENE3', 'low']:.3f} to {scores.table.at['GENE3', 'high']:.3f}"
    assert "markers" in row[1]
    assert row[2] == "36"  # spots where it was found
    assert row[5] == f"{scores.table.at['GENE3', 'partial_pcc']:.3f}"
    assert heg[6:8] == [f"{scores.sets['HEG'].partial_pcc:.3f}", f"{scores.sets['HEG'].spearman:.3f}"]
    assert heg[1] == "36"
    assert "Sequencing depth: median of" in report.text
    assert "among all genes both predicted and measured" in report.text
    assert "not another section or patient" in report.text


def test_regions_have_their_rows(report: Page) -> None:
    edge = next(row for row in report.rows if row[0] == "<i>edge</i>")
    assert edge[1:3] == ["Tumour & stroma", "9"]
    assert edge[-1] == "fewer than 10 spots"


def test_where_the_shown_gene_is_high_is_compared_with_what_is_known(report: Page, prediction: Prediction) -> None:
    rows = [row for row in report.rows if len(row) == 7 and row[0].startswith("predicted above")]
    assert [row[2].partition(" above")[0] for row in rows] == [
        "measured",
        "regions: Tumour & stroma",
        "regions: <i>edge</i>",
    ]
    shown = gene_shown(prediction, "GENE5", None)
    known = shown.values("measured") > otsu(shown.reliable("measured"))
    found = agreement(shown.values("predicted"), otsu(shown.values("predicted")), known, shown.counted)
    assert rows[0][1] == str(found.inside)
    assert rows[0][3:] == [str(found.known), str(found.both), f"{found.dice:.3f}", f"{found.auc:.3f}"]


def test_names_are_text_and_nothing_is_loaded_or_run(report: Page) -> None:
    assert any(row[0] == EVIL for row in report.rows)
    tags = {tag for tag, _ in report.elements}
    assert not tags & {"script", "b", "i", "link", "iframe", "object", "form"}
    for tag, attributes in report.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "href"], tag
    (rules,) = (a["content"] for _, a in report.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert rules == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    (style,) = (text for where, text in report.texts if where == "style")
    assert "url(" not in style
    assert "@import" not in style


def test_scores_at_hand_are_not_computed_again(
    prediction: Prediction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = score(prediction)
    monkeypatch.setattr(html_report, "pcc_job", None)
    monkeypatch.setattr(html_report, "interval_job", None)
    finish(write_html_report(prediction, tmp_path / "R.html", scores=scores))
    assert "Scores by gene set" in Page(tmp_path / "R.html").headings


def test_spatial_structure_is_left_out_where_a_side_has_none(prediction: Prediction) -> None:
    """As that of two spots, or of a prediction that is the same everywhere."""
    scores = score(prediction)
    said = "".join(part.text for part in section_parts(scores) if isinstance(part, Text))
    assert "Moran's I" in said
    scores.table["predicted_morans_i"] = np.nan
    assert "Moran" not in "".join(part.text for part in section_parts(scores) if isinstance(part, Text))


def test_without_measurements_there_are_maps_and_confidence(
    prediction: Prediction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = Prediction(
        anndata.AnnData(obs=prediction.spots.obs, obsm=prediction.spots.obsm, uns=prediction.spots.uns),
        prediction.neighbours,
        prediction.similarity,
        prediction.confidence(),
        replace(prediction.provenance, panel=None),
        bank=prediction.bank,
    )
    finish(write_html_report(bare, tmp_path / "R.html"))
    page = Page(tmp_path / "R.html")
    assert page.headings == ["Maps", "Confidence", "How the prediction was made", "Versions"]
    assert len(page.pictures) == 2  # one large, and the most expressed genes small
    assert "Predicted only: it was not measured." in page.text
    assert "PCC" not in page.text


def test_a_cancelled_report_leaves_the_old_one(prediction: Prediction, tmp_path: Path) -> None:
    (tmp_path / "R.html").write_text("before")
    job = write_html_report(prediction, tmp_path / "R.html")
    while next(job).step != "Drawing maps":
        pass
    job.close()
    assert [path.name for path in tmp_path.iterdir()] == ["R.html"]
    assert (tmp_path / "R.html").read_text() == "before"


def named(prediction: Prediction, name: str, patient: str, *, measured: bool = True) -> Prediction:
    spots = prediction.spots.copy()
    if not measured:
        spots = anndata.AnnData(obs=spots.obs, obsm=spots.obsm, uns=spots.uns)
    about = replace(prediction.provenance, section=name, patient=patient)
    arrays = prediction.neighbours, prediction.similarity, prediction.confidence()
    return Prediction(spots, *arrays, about, bank=prediction.bank)


def test_a_report_of_several_sections_has_them_beside_each_other(prediction: Prediction, tmp_path: Path) -> None:
    """The one that was not measured has maps, a verdict, and no scores."""
    several = [named(prediction, "A", "P1"), named(prediction, "B", "P1"), named(prediction, "U", "", measured=False)]
    finish(write_cohort_report(several, tmp_path / "R.html"))
    page = Page(tmp_path / "R.html")
    assert page.headings[:2] == ["Sections", "Scores by gene set"]
    assert page.headings[2] == "M & co by section"
    assert page.text.count("Trust follows the PCC found here, or the expected PCC where a gene has none.") == 1
    assert any("A, B, U; 1 patient; " in text and "patient not known: U." in text for _, text in page.texts)
    assert [head.split(",")[0] for head in page.headings if "how" not in head.lower()][3:] == [
        "A",
        "B",
        "U",
        "Versions",
    ]
    scores = score(several[0])
    rows = {row[0]: row for row in page.rows if len(row) == 7}
    assert rows["A"][1:3] == ["P1", "36"]
    assert rows["U"][1:3] == ["–", "36"]
    of_sets = {(row[0].split(",")[0], row[3]): row for row in page.rows if len(row) == 10}
    assert of_sets["A", "HEG"][4] == f"{scores.sets['HEG'].pcc:.3f}"
    assert ("mean of all", "HEG") in of_sets
    assert "U" not in {name for name, _ in of_sets}
    of_gene = [row for row in page.rows if row[0] == "GENE3" and len(row) == 9 and "section" not in row]
    assert [row[1] for row in of_gene] == ["A", "B", "U", "patient P1"]
    assert of_gene[0][-1] == f"{scores.table.at['GENE3', 'pcc']:.3f}"
    assert of_gene[2][-2:] == ["–", "–"]
    assert of_gene[0][4] == f"{several[0].gene('GENE3').mean():.3f}"
    assert len(page.pictures) == 1 + 2 + 2 + 1  # box plots; markers and best of A and B; markers of U
    with pytest.raises(UserError, match="Several cases are of a section named A"):
        finish(write_cohort_report([several[0], several[0]], tmp_path / "R.html"))


@pytest.mark.parametrize("width", [1000, 794])  # a small window; A4 at 96 dots an inch
def test_no_table_is_cut_off_in_a_small_window_or_on_paper(tmp_path: Path, width: int) -> None:
    pytest.importorskip("PySide6.QtWebEngineWidgets")
    row = ["AC0012345.3", "HEG, HVG, markers", 1234, 0.5, "-0.412 to -0.612", *[0.5] * 5, "do not use"]
    header = ["gene", "sets", "spots found", "PCC", "95 % interval", "partial PCC", "Spearman", "RMSE"]
    table = Table([*header, "mean measured", "mean predicted", "trust"], [row])
    (tmp_path / "page.html").write_text(html_page("page", [table]), "utf-8")
    script = (
        "import sys; from PySide6.QtWidgets import QApplication; from PySide6.QtCore import QTimer, QUrl\n"
        "from PySide6.QtWebEngineWidgets import QWebEngineView\n"
        "app = QApplication([]); view = QWebEngineView(); view.resize(int(sys.argv[2]), 600); page = view.page()\n"
        "show = lambda found: (print('width', int(found)), app.quit())\n"
        "wide = 'document.documentElement.scrollWidth'\n"
        "view.loadFinished.connect(lambda _: page.runJavaScript(wide, 0, show))\n"
        "view.show(); view.load(QUrl.fromLocalFile(sys.argv[1])); QTimer.singleShot(300000, app.quit); app.exec()\n"
    )
    settings = {"QT_QPA_PLATFORM": "offscreen", "QTWEBENGINE_CHROMIUM_FLAGS": "--no-sandbox --disable-gpu"}
    command = [sys.executable, "-c", script, str(tmp_path / "page.html"), str(width)]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)
    assert f"width {width}" in done.stdout
