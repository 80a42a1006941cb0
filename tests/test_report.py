"""The report of predictions: complete, readable by programs and people, honest about what was scored."""

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import atomic_file
from napari_cmrcnet.common.metrics import pcc
from napari_cmrcnet.common.progress import Progress, finish
from napari_cmrcnet.evaluation.figures import gene_map
from napari_cmrcnet.evaluation.report import Report, evaluate
from napari_cmrcnet.retrieval.bank import Bank
from napari_cmrcnet.retrieval.leaks import leak, unknown_patient
from napari_cmrcnet.retrieval.predict import confidence_table
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.retrieval.provenance import Provenance
from napari_cmrcnet.sections.panels import Panel
from napari_cmrcnet.synthetic.simulate import write_slide

GENES = [*(f"G{index}" for index in range(66)), "NKX2-5", "=EVIL", "HLA/A"]


def make_prediction(
    folder: Path, name: str = "T1", seed: int = 0, genes: Sequence[str] = GENES, **about: object
) -> Prediction:
    """A prediction of 30 spots from a bank of 40: real classes, no network."""
    rng = np.random.default_rng(seed)
    slide = folder / f"{name}.tif"
    write_slide(slide, rng.integers(180, 250, (600, 700, 3), dtype=np.uint8))
    embeddings = rng.normal(size=(40, 8)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    levels = rng.gamma(2, size=(40, len(genes))).astype(np.float32)
    obs = {"section": "B", "patient": "PB", "array_row": -1, "array_col": -1, "x": 0.0, "y": 0.0}
    bank = Bank(
        embeddings,
        sparse.csc_matrix(levels),
        tuple(genes),
        ("",) * len(genes),
        pd.DataFrame([obs] * 40, index=[str(spot) for spot in range(40)]),
    )
    neighbours = rng.integers(0, 40, (30, 5)).astype(np.int32)
    counts = rng.poisson(np.exp(levels[neighbours].mean(axis=1)) * 5)
    counts[:, 4] = 0
    x, y = np.meshgrid(np.arange(60.0, 660, 100), np.arange(60.0, 560, 100))
    spots = AnnData(sparse.csr_matrix(counts.astype(np.int32)), var=pd.DataFrame(index=genes))
    spots.obsm["spatial"] = np.stack([x.ravel(), y.ravel()], axis=1)
    spots.uns["spatial"] = {name: {"scalefactors": {"spot_diameter_fullres": 55.0}}}
    spots.uns["cmrcnet"] = {"source": "test", "synthetic": False}
    provenance = Provenance(
        checkpoint="",
        checkpoint_digest="0" * 64,
        trained_on=("B",),
        trained_on_patients=("PB",),
        validated_on=(),
        section=name,
        patient="PT",
        slide=str(slide),
        spots=str(folder / f"{name}.h5ad"),
        k=5,
        min_umi=0,
        mpp=0.5,
        mpp_source="test",
        target_sum=1e4,
        panel=Panel("two markers", ("G1", "HLA/A", "NOT_THERE")),
    )
    similarity = np.ones((30, 5), np.float32)
    return Prediction(
        spots,
        neighbours,
        similarity,
        confidence_table(neighbours, similarity, bank, spots.obs_names),
        replace(provenance, **about),
        bank=bank,
        variable_genes=genes[::2],
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("report")
    return finish(evaluate([make_prediction(folder)], folder / "out"))


@pytest.fixture
def one_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_cmrcnet.evaluation.report._BEST", 1)
    monkeypatch.setattr("napari_cmrcnet.evaluation.report._MARKERS", 1)


def test_report_is_complete(report: Report) -> None:
    names = {path.name for path in report.files}
    assert {"scores.csv", "summary.json", "summary.md", "pcc_by_gene_set.png", "pcc_by_gene_set.svg"} <= names
    assert {"T1_map_G1.png", "T1_map_HLA_A.png", "T1_scatter.png"} <= names
    assert {"T1_markers.png", "T1_markers.pdf", "cohort.csv"} <= names
    assert names == {path.name for path in report.out.iterdir()}
    assert report.files[-1].name == "summary.json"
    assert not report.warnings


def test_summary_has_the_sets_and_what_was_run_on_what(report: Report) -> None:
    summary = json.loads((report.out / "summary.json").read_text("utf-8"))
    for name in ("HEG", "HVG", "markers"):
        assert set(summary[name]) == {"pcc", "low", "high", "n", "undefined", "partial_pcc", "spearman"}
        assert summary[name]["low"] <= summary[name]["pcc"] <= summary[name]["high"]
    assert summary["markers"]["n"] == 2
    assert summary["spots"] == 30
    (section,) = summary["sections"]
    assert section["missing_markers"] == ["NOT_THERE"]
    assert section["provenance"]["trained_on"] == ["B"]
    assert section["provenance"]["slide"] == str(report.out.parent / "T1.tif")


def test_table_has_a_row_a_gene_with_safe_names(report: Report, tmp_path: Path) -> None:
    prediction = make_prediction(tmp_path)
    with open(report.out / "scores.csv", newline="", encoding="utf-8") as stream:
        rows = {row["gene"]: row for row in csv.DictReader(stream)}
    assert len(rows) == len(GENES)
    assert "'=EVIL" in rows
    expected = pcc(prediction.measured(["G1"]), prediction.expression(["G1"]))[0]
    assert float(rows["G1"]["pcc"]) == pytest.approx(expected, abs=1e-5)
    assert rows["G4"]["undefined"] == "found at 0 of 30 spots"
    assert rows["G4"]["pcc"] == ""


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(("as_zero", "said"), [(True, "count as 0 in"), (False, "are left out of")])
def test_the_summary_says_what_becomes_of_undefined_pcc(tmp_path: Path, as_zero: bool, said: str) -> None:
    finish(evaluate([make_prediction(tmp_path)], tmp_path / "out", nan_as_zero=as_zero))
    assert f"such genes {said} the means" in (tmp_path / "out" / "summary.md").read_text("utf-8")


@pytest.mark.usefixtures("no_pictures")
def test_several_sections_are_averaged(tmp_path: Path) -> None:
    predictions = [make_prediction(tmp_path, "T1", 0), make_prediction(tmp_path, "T2", 1, patient="P2")]
    report = finish(evaluate(predictions, tmp_path / "out"))
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    assert summary["HEG"]["pcc"] == pytest.approx(np.mean([s["HEG"]["pcc"] for s in summary["sections"]]))
    assert summary["spots"] == 60
    assert report.sets["HEG"].n == sum(scored.sets["HEG"].n for scored in report.sections)
    text = (tmp_path / "out" / "summary.md").read_text("utf-8")
    assert "mean of all" in text
    assert "| T2 |" in text


@pytest.mark.usefixtures("no_pictures")
def test_how_sections_differ_is_said_where_there_are_several(tmp_path: Path) -> None:
    predictions = [make_prediction(tmp_path, f"T{i}", i, patient=f"P{i}") for i in (1, 2, 3)]
    finish(evaluate(predictions, tmp_path / "out"))
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    values = [section["HVG"]["pcc"] for section in summary["sections"]]
    spread = summary["between_sections"]["HVG"]
    assert spread == pytest.approx(
        {"sd": np.std(values, ddof=1), "low": min(values), "high": max(values), "sections": 3}
    )
    text = (tmp_path / "out" / "summary.md").read_text("utf-8")
    assert f"| HVG | 3 | {spread['sd']:.3f} | {spread['low']:.3f} | {spread['high']:.3f} |" in text
    finish(evaluate(predictions[:1], tmp_path / "one"))
    one = json.loads((tmp_path / "one" / "summary.json").read_text("utf-8"))
    assert one["between_sections"] == {"HEG": None, "HVG": None, "markers": None}
    for folder in ("out", "one"):
        assert "not another section or patient" in (tmp_path / folder / "summary.md").read_text("utf-8")
    assert "not another section or patient" in one["interval"]["covers"]


@pytest.mark.usefixtures("no_pictures")
def test_sets_are_the_papers_or_of_all_genes_and_it_is_said_which(tmp_path: Path) -> None:
    prediction = make_prediction(tmp_path)
    for asked, words in (("paper", "among the training sections' highly variable genes"), ("all", "among all genes")):
        report = finish(evaluate([prediction], tmp_path / asked, sets=asked))
        table = report.sections[0].table
        among = table.loc[GENES[::2] if asked == "paper" else GENES]
        assert set(table.index[table.HEG]) == set(among.measured_mean.nlargest(50).index)
        assert set(table.index[table.HVG]) == set(among.measured_variance.nlargest(50).index)
        text = (tmp_path / asked / "summary.md").read_text("utf-8")
        under_the_sets = text.split("| markers |")[1].split("\n\n")[1]
        assert under_the_sets.startswith("HEG and HVG: the 50 genes")
        assert words in under_the_sets
        assert "Trust follows the PCC found here" in text
        summary = json.loads((tmp_path / asked / "summary.json").read_text("utf-8"))
        assert [section["sets"] for section in summary["sections"]] == [asked]
    prediction.variable_genes = frozenset()
    report = finish(evaluate([prediction], tmp_path / "unknown"))
    assert report.sections[0].definition == "all"
    assert "does not say which genes vary" in report.warnings[0]


@pytest.mark.usefixtures("no_pictures")
def test_spots_with_hardly_a_count_are_left_out_of_scores(tmp_path: Path) -> None:
    prediction = make_prediction(tmp_path)
    counts = prediction.spots.X.toarray()
    counts[:2] = 0
    counts[:2, 1] = [1, 3]  # normalised to 10,000 these are the highest values of the section
    prediction.spots.X = sparse.csr_matrix(counts)
    report = finish(evaluate([prediction], tmp_path / "out"))
    kept = pcc(prediction.measured(["G1"])[2:], prediction.expression(["G1"])[2:])[0]
    assert report.sections[0].table.pcc["G1"] == pytest.approx(kept)
    assert "scores of T1, but not of its maps: 2 of 30 spots (fewer than 10 counts)" in report.warnings[0]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    assert (summary["spots"], summary["spots_scored"], summary["sections"][0]["min_umi_scored"]) == (30, 28, 10)
    assert "| T1 | 28 of 30 |" in (tmp_path / "out" / "summary.md").read_text("utf-8")
    every = finish(evaluate([prediction], tmp_path / "all", min_umi=0)).sections[0]
    assert every.spots == 30
    assert every.table.pcc["G1"] == pytest.approx(pcc(prediction.measured(["G1"]), prediction.expression(["G1"]))[0])
    with pytest.raises(UserError, match="No spot of section T1"):
        finish(evaluate([prediction], tmp_path / "none", min_umi=10**9))
    with pytest.raises(UserError, match="0 or more"):
        finish(evaluate([prediction], tmp_path / "none", min_umi=-1))


@pytest.mark.usefixtures("no_pictures")
def test_a_shallow_section_is_called_so(tmp_path: Path) -> None:
    prediction = make_prediction(tmp_path)
    assert not finish(evaluate([prediction], tmp_path / "deep")).warnings
    counts = np.random.default_rng(0).binomial(prediction.spots.X.toarray().astype(int), 0.02)
    shallow = make_prediction(tmp_path)
    shallow.spots.X = sparse.csr_matrix(counts)
    report = finish(evaluate([shallow], tmp_path / "out"))
    assert "sequenced so shallowly (median of" in " ".join(report.warnings)
    text = (tmp_path / "out" / "summary.md").read_text("utf-8")
    assert "Sequencing depth: median of" in text
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    totals = counts.sum(axis=1)
    assert summary["sections"][0]["depth"]["median_total"] == np.median(totals[totals >= 10])


@pytest.mark.usefixtures("no_pictures")
def test_warnings_are_said_once_wherever_scores_are(tmp_path: Path) -> None:
    """What the list before the run had in amber is kept by the file of the prediction and said by every report."""
    said = ("The stain is far from the training slides'.", "T1 is synthetic. Its scores say nothing about real tissue.")
    made = make_prediction(tmp_path, warnings=said)
    made.save(tmp_path / "p.h5ad")
    loaded = Prediction.load(tmp_path / "p.h5ad")
    assert loaded.provenance.warnings == said
    loaded.bank = made.bank
    report = finish(evaluate([loaded], tmp_path / "out"))
    assert report.warnings == said
    text = (tmp_path / "out" / "summary.md").read_text("utf-8")
    assert [text.count(one) for one in said] == [1, 1]
    assert json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))["warnings"] == list(said)


@pytest.mark.usefixtures("no_pictures")
def test_warnings_of_several_predictions_say_of_which(tmp_path: Path) -> None:
    made = [make_prediction(tmp_path, name=name, warnings=("Pixels are large.",)) for name in ("T1", "T2")]
    report = finish(evaluate(made, tmp_path / "out"))
    assert report.warnings == ("T1: Pixels are large.", "T2: Pixels are large.")


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"trained_on": ("B", "T1")}, "trained on a section named T1"),
        ({"validated_on": ("T1",)}, "was validated on T1"),
        ({"patient": "PB"}, "Serial sections"),
        ({"patient": ""}, "The patient of T1 is not known"),
        ({"patients": ("PB", "")}, "The patient of a training section is not known"),
        ({}, ""),
    ],
)
def test_a_leak_is_found(about: dict[str, Any], said: str) -> None:
    known = {"section": "T1", "patient": "PT", "trained_on": ("B",), "patients": ("PB",), "validated_on": ()}
    asked: dict[str, Any] = known | about
    found = leak(**asked)[1] or unknown_patient(asked["section"], asked["patient"], asked["patients"])
    assert said in found
    assert bool(said) == bool(found)


@pytest.mark.usefixtures("one_map")
def test_slide_that_is_gone_or_no_slide_any_more_leaves_maps_without_it(tmp_path: Path) -> None:
    prediction = make_prediction(tmp_path)
    (tmp_path / "T1.tif").unlink()
    finish(evaluate([prediction], tmp_path / "gone"))
    (tmp_path / "T1.tif").write_text("no slide")
    finish(evaluate([prediction], tmp_path / "other"))
    assert (tmp_path / "gone" / "T1_map_G1.png").is_file()
    assert (tmp_path / "other" / "T1_map_G1.png").is_file()


@pytest.mark.usefixtures("no_pictures")
def test_saved_prediction_without_its_checkpoint_scores_the_stored_genes_and_says_so(tmp_path: Path) -> None:
    prediction = make_prediction(tmp_path)
    whole = finish(evaluate([prediction], tmp_path / "whole"))
    prediction.save(tmp_path / "T1_predicted.h5ad")
    report = finish(evaluate([Prediction.load(tmp_path / "T1_predicted.h5ad")], tmp_path / "out"))
    assert report.sets["HEG"].pcc == pytest.approx(whole.sets["HEG"].pcc, rel=1e-5)
    assert any("was not found at" in warning for warning in report.warnings)


@pytest.mark.usefixtures("one_map")
def test_panel_given_replaces_the_predictions(tmp_path: Path) -> None:
    report = finish(evaluate([make_prediction(tmp_path)], tmp_path / "out", panel=Panel("mine", ("G7",))))
    assert report.sections[0].panel == "mine"
    assert report.sets["markers"].n == 1
    assert (tmp_path / "out" / "T1_map_G7.png").is_file()


@pytest.mark.usefixtures("no_pictures")
def test_no_panel_is_null(tmp_path: Path) -> None:
    finish(evaluate([make_prediction(tmp_path, panel=None)], tmp_path / "out"))
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    assert summary["markers"] == {
        **dict.fromkeys(("pcc", "low", "high", "partial_pcc", "spearman")),
        "n": 0,
        "undefined": 0,
    }


@pytest.mark.usefixtures("no_pictures")
def test_other_files_in_the_folder_stay_and_a_cancelled_report_is_not_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one(_prediction: Any, _scored: Any, out: Path, _name: str, progress: Progress) -> Any:
        yield progress
        with atomic_file(out / "picture.png") as temporary:
            yield progress
            Path(temporary).write_bytes(b"a picture")
        return [out / "picture.png"]

    monkeypatch.setattr("napari_cmrcnet.evaluation.report.draw_section", one)
    out = tmp_path / "out"
    finish(evaluate([make_prediction(tmp_path)], out))
    (out / "my notes.txt").write_text("keep")
    job = evaluate([make_prediction(tmp_path)], out)
    while next(job).step != "Drawing pictures":
        pass
    next(job)  # a picture is half written
    job.close()
    assert not (out / "summary.json").exists()
    assert not list(out.glob("*.part"))
    finish(evaluate([make_prediction(tmp_path)], out))
    assert (out / "my notes.txt").read_text() == "keep"
    assert (out / "summary.json").is_file()


@pytest.mark.usefixtures("one_map")
def test_same_report_twice_is_the_same_to_the_byte(tmp_path: Path) -> None:
    prediction = make_prediction(tmp_path)
    first, second = (finish(evaluate([prediction], tmp_path / name)) for name in "ab")
    for one, other in zip(first.files, second.files, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


@pytest.mark.usefixtures("no_pictures")
def test_nothing_is_written_for_what_cannot_be_scored(tmp_path: Path) -> None:
    unmeasured = make_prediction(tmp_path)
    unmeasured.spots.X = None
    twice = [make_prediction(tmp_path), make_prediction(tmp_path)]
    for predictions in ([], [unmeasured], twice):
        with pytest.raises(UserError):
            finish(evaluate(predictions, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("one_map")
def test_the_maps_of_a_report_say_the_warnings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    captions = []

    def drawn(*arguments: Any, caption: str) -> Any:
        captions.append(caption)
        return gene_map(*arguments, caption=caption)

    monkeypatch.setattr("napari_cmrcnet.evaluation.report.gene_map", drawn)
    finish(evaluate([make_prediction(tmp_path, warnings=("Pixels are large.", "The stain is far."))], tmp_path / "out"))
    assert set(captions) == {"Pixels are large. The stain is far."}


EVIL = ["$x$", "a|b<script>", "\x1b]0;x\x07", "a/b<script>", "\u202ex"]


def test_names_that_mean_something_elsewhere_are_shown_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in the title of a figure, where a formula that is none ended the report."""
    monkeypatch.setattr("napari_cmrcnet.evaluation.report._BEST", 1)
    section = "$\\x$ | <b>"
    prediction = make_prediction(tmp_path, genes=[*EVIL, *GENES[len(EVIL) :]], section=section)
    report = finish(evaluate([prediction], tmp_path / "out", panel=Panel("<i>mine</i>", (*EVIL, "no|where"))))
    text = (report.out / "summary.md").read_text("utf-8")
    assert "<" not in text
    assert not [letter for letter in text if not letter.isprintable() and letter != "\n"]
    for row in [line for line in text.splitlines() if line.startswith("|")]:
        assert len(re.findall(r"(?<!\\)\|", row)) in (12, 11)  # of genes, of sets: no name begins a cell
    assert r"no\|where" in text
    maps = [path for path in report.files if "_map_" in path.name]
    assert len({path.name for path in maps}) == len(maps) >= len(EVIL)  # a/b and a|b are two files
    assert all(path.is_file() for path in maps)
