"""The commands as the README shows them."""

import dataclasses
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest

from napari_cmrcnet.cli import main, report_commands
from napari_cmrcnet.cli.options import EXAMPLES
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.sample import sample_folder
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.slides.patches import PatchSpec
from napari_cmrcnet.slides.slide import open_slide

SAMPLE = sample_folder()
CHECKPOINT = str(SAMPLE / "sample.cmrcnet")


def run(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments])


@pytest.mark.usefixtures("no_pictures")  # `demo` draws them
def test_predict_then_evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "p.h5ad"
    section = ("--slide", SAMPLE / "S4.tif", "--spots", SAMPLE / "S4.h5ad", "--patient", "P9")
    assert run("predict", "--checkpoint", CHECKPOINT, *section, "--k", "10", "--panel", "idc", "--out", out) == 0
    assert "0.5 µm/px from the spots' " in capsys.readouterr().out
    prediction = anndata.read_h5ad(out)
    assert prediction.obsm["neighbours"].shape == (347, 10)
    assert {"predicted", "measured"} <= set(prediction.layers)
    assert run("evaluate", out, "--out", tmp_path / "scores", "--panel", "idc") == 0
    summary = json.loads((tmp_path / "scores" / "summary.json").read_text())
    assert summary["HVG"]["pcc"] > 0.6
    assert summary["markers"]["n"] == 8
    assert summary["sections"][0]["provenance"]["patient"] == "P9"
    assert summary["sections"][0]["sets"] == "paper"
    said = " ".join(capsys.readouterr().out.split())
    assert "partial PCC" in said
    assert "among the training sections' highly variable genes" in said
    assert "not another section or patient" in said
    options = ("--panel", "idc", "--out", tmp_path / "F.svg")
    assert run("figure", out, *options, "--width-mm", "85") == 0
    width = re.search(r'width="([\d.]+)pt"', (tmp_path / "F.svg").read_text())
    assert width is not None
    assert float(width[1]) == pytest.approx(85 / 25.4 * 72, abs=0.01)
    assert run("figure", out, *options, "--width-mm", "20") == 1
    assert "give 60 to 400 mm (--width-mm)" in " ".join(capsys.readouterr().err.split())
    assert run("report", out, "--out", tmp_path / "R.html") == 0
    assert "<h1>Predicted expression of S4</h1>" in (tmp_path / "R.html").read_text()
    assert run("report", out, "--out", tmp_path / "R.docx") == 1
    assert "end it in .html or .pdf" in " ".join(capsys.readouterr().err.split())


@pytest.mark.usefixtures("no_pictures")
def test_a_report_as_pdf_is_the_page_or_says_why_it_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    section = ("--slide", SAMPLE / "S4.tif", "--spots", SAMPLE / "S4.h5ad")
    run("predict", "--checkpoint", CHECKPOINT, *section, "--k", "10", "--out", tmp_path / "p.h5ad")
    capsys.readouterr()
    assert run("report", tmp_path / "p.h5ad", "--out", tmp_path / "R.pdf") == 0
    content = (tmp_path / "R.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert content.count(b"/Type /Page\n") > 1
    monkeypatch.setenv("QT_API", "none")
    assert run("report", tmp_path / "p.h5ad", "--out", tmp_path / "S.pdf") == 1
    assert "Write an .html, and print that to PDF" in " ".join(capsys.readouterr().err.split())
    monkeypatch.setattr(report_commands, "find_spec", lambda _: None)
    assert run("report", tmp_path / "p.h5ad", "--out", tmp_path / "S.pdf") == 1
    assert "pip install 'napari-cmrcnet[napari]'" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "S.pdf").exists()


@pytest.mark.usefixtures("no_pictures")
def test_evaluate_says_what_is_scored_and_how_sections_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "AB":
        section = ("--slide", SAMPLE / "S4.tif", "--spots", SAMPLE / "S4.h5ad", "--k", "10" if name == "A" else "50")
        run("predict", "--checkpoint", CHECKPOINT, *section, "--out", tmp_path / f"{name}.h5ad")
        prediction = Prediction.load(tmp_path / f"{name}.h5ad")
        prediction.provenance = dataclasses.replace(prediction.provenance, section=name)
        prediction.save(tmp_path / f"{name}.h5ad")
    totals = np.sort(np.asarray(prediction.totals))
    least = int(totals[20]) + 1  # so that some 21 spots are left out
    left_out = int((totals < least).sum())
    capsys.readouterr()
    options = ("--out", tmp_path / "scores", "--sets", "all", "--score-min-umi", str(least))
    assert run("evaluate", tmp_path / "A.h5ad", tmp_path / "B.h5ad", *options) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"{694 - 2 * left_out} of 694 spots" in said
    assert f"scores of A, but not of its maps: {left_out} of 347 spots (fewer than {least} counts)." in said
    assert "among all genes both predicted and measured" in said
    assert "in the 2 sections" in said
    summary = json.loads((tmp_path / "scores" / "summary.json").read_text())
    assert [section["sets"] for section in summary["sections"]] == ["all", "all"]
    assert summary["between_sections"]["HVG"]["sections"] == 2
    assert run("report", tmp_path / "A.h5ad", tmp_path / "B.h5ad", "--out", tmp_path / "R.html") == 0
    assert "<h1>Predicted expression of 2 sections</h1>" in (tmp_path / "R.html").read_text()


@pytest.mark.parametrize("encoding", ["cp932", "ascii"])
def test_a_console_that_lacks_a_letter_gets_another(tmp_path: Path, encoding: str) -> None:
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "napari_cmrcnet", "info", str(SAMPLE / "S4.tif")]
    result = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert result.returncode == 0
    assert b"0.5 ?m/px" in result.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_not_utf8_is_refused_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slide = Path(os.fsdecode(os.fsencode(tmp_path) + b"/K\xf6ln.tif"))
    shutil.copy(SAMPLE / "S4.tif", slide)
    command = (
        "--checkpoint",
        CHECKPOINT,
        "--slide",
        slide,
        "--spots",
        SAMPLE / "S4.h5ad",
        "--out",
        tmp_path / "p.h5ad",
    )
    assert run("predict", *command) == 1
    assert "ln.tif has a name that is not UTF-8" in capsys.readouterr().err
    assert not (tmp_path / "p.h5ad").exists()
    with pytest.raises(UserError, match="not UTF-8"):
        open_slide(slide)


def test_nothing_is_written_into_a_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    section = ("--slide", SAMPLE / "S4.tif", "--spots", SAMPLE / "S4.h5ad")
    assert run("predict", "--checkpoint", CHECKPOINT, *section, "--out", Path(CHECKPOINT) / "p.h5ad") == 1
    assert "is inside the checkpoint sample.cmrcnet" in capsys.readouterr().err


@pytest.mark.usefixtures("quick_encoder")
def test_a_file_is_replaced_only_if_it_is_a_prediction_and_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "p.h5ad"
    command = ("predict", "--checkpoint", CHECKPOINT, "--slide", SAMPLE / "S4.tif", "--pitch", "400", "--out", out)
    assert run(*command) == 0
    first = out.read_bytes()
    assert run(*command) == 1
    assert "give --overwrite to replace this prediction" in capsys.readouterr().err
    assert out.read_bytes() == first
    assert run(*command, "--overwrite") == 0
    shutil.copy(SAMPLE / "S4.h5ad", out)
    assert run(*command, "--overwrite") == 1
    assert "exists and is not a prediction" in capsys.readouterr().err
    assert out.read_bytes() == (SAMPLE / "S4.h5ad").read_bytes()


@pytest.mark.usefixtures("quick_encoder")
def test_a_slide_without_spots_gets_a_grid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of_a_grid = ("--slide", SAMPLE / "S4.tif", "--pitch", "300")
    out = tmp_path / "S4_predicted.h5ad"  # a folder takes the name that it has by default
    assert run("predict", "--checkpoint", CHECKPOINT, *of_a_grid, "--out", tmp_path) == 0
    assert "hex grid over the tissue, 300 µm apart" in capsys.readouterr().out
    assert run("info", out) == 0
    assert "a grid over the tissue" in capsys.readouterr().out


def test_a_sheet_is_predicted_into_a_folder_and_skipped_when_done(tmp_path: Path) -> None:
    arguments = ("predict", SAMPLE / "sections.csv", "--checkpoint", CHECKPOINT, "--out", tmp_path)
    assert run(*arguments) == 0
    made = (tmp_path / "S4.h5ad").stat().st_mtime_ns
    assert run(*arguments) == 0
    assert (tmp_path / "S4.h5ad").stat().st_mtime_ns == made


@pytest.mark.usefixtures("no_pictures")
def test_genes_of_a_list_that_nothing_has_are_said_on_the_console(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a panel that the command line gives, also in a sheet, and however many predictions are scored."""
    genes, many = tmp_path / "mine.txt", tmp_path / "many.txt"
    genes.write_text("her-2\nNOWHERE\nC1orf999\n")
    many.write_text("\n".join(["ERBB2", *(f"NOWHERE{number}" for number in range(60))]))

    def said(*arguments: str | Path) -> str:
        assert run(*arguments) == 0
        return " ".join(capsys.readouterr().out.split())

    lacks = "The checkpoint lacks 2 of 3 genes of the panel “mine”: NOWHERE, C1orf999; "
    command = ("predict", "--checkpoint", CHECKPOINT, "--panel", genes, "--out", tmp_path)
    assert said(*command, SAMPLE / "sections.csv").count(f"S4: {lacks}") == 1
    assert lacks in said(*command, "--slide", SAMPLE / "S4.tif", "--spots", SAMPLE / "S4.h5ad")
    predicted, out = tmp_path / "S4.h5ad", ("--out", tmp_path / "scores")
    html = ("--panel", genes, "--out", tmp_path / "S4.html")
    taken = "Genes of the panel “mine” were found under other names: her-2 as ERBB2."
    assert taken in said("report", predicted, *html)
    of_all = "of 3 genes of the panel “mine” not measured, or not predicted: NOWHERE, C1orf999."
    assert f"S4: 2 {of_all}" in said("evaluate", predicted, *out)
    assert taken in said("evaluate", predicted, *out, "--panel", genes)
    assert "NOWHERE" not in said("evaluate", predicted, *out, "--panel", "idc")
    assert "NOWHERE19 and 40 more." in said("evaluate", predicted, *out, "--panel", many)


@pytest.mark.parametrize("command", ["train", "predict", "evaluate", "figure", "report", "benchmark"])
def test_a_panel_of_which_nothing_is_known_is_refused_before_any_work(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], known: "dict[str, Any]"
) -> None:
    genes, out = tmp_path / "mine.txt", tmp_path / "out.pdf"
    genes.write_text("NOWHERE\nERBB22\n")
    two = tmp_path / "two.csv"
    rows = [f"{name},{SAMPLE / 'S4.tif'},{SAMPLE / 'S4.h5ad'},{name}\n" for name in ("A", "B")]
    two.write_text("".join(["section,slide,spots,patient\n", *rows]))
    predicted = tmp_path / "C.h5ad"
    known["C"].prediction.save(predicted)
    inputs = {
        "train": (SAMPLE / "sections.csv", "--device", "cpu"),
        "predict": ("--slide", SAMPLE / "S4.tif", "--checkpoint", CHECKPOINT),
        "figure": (predicted,),
        "report": (predicted,),
        "evaluate": (predicted,),
        "benchmark": (two, "--methods", "mean"),
    }
    out = out.with_suffix({"report": ".html", "train": ".cmrcnet", "predict": ".h5ad"}.get(command, ".pdf"))
    assert run(command, *inputs[command], "--panel", genes, "--out", out) == 1
    assert "lacks 2 genes of the panel “mine”: NOWHERE, ERBB22; " in " ".join(capsys.readouterr().err.split())
    assert not out.is_file()


def test_a_gene_of_a_blend_that_nothing_has_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], known: "dict[str, Any]"
) -> None:
    known["C"].prediction.save(tmp_path / "C.h5ad")
    assert run("figure", tmp_path / "C.h5ad", "--blend", "GENE3,NOWHERE", "--out", tmp_path / "f.png") == 1
    printed = capsys.readouterr()
    assert " ".join((printed.out + printed.err).split()).startswith("error: C has no gene NOWHERE; ")
    assert not (tmp_path / "f.png").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["my slide.tif"], "napari-cmrcnet predict --slide 'my slide.tif' --checkpoint M.cmrcnet"),
        (["sections.csv"], "give the model with --checkpoint; to see which you have and which you can get: napari-cm"),
    ],
)
def test_a_wrong_use_of_predict_is_told_with_the_command_to_type(
    given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leave:
        run("predict", *given)
    assert leave.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["S4.csv", "results"])
def test_a_prediction_is_not_written_under_another_ending(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide = ("--slide", SAMPLE / "S4.tif", "--checkpoint", CHECKPOINT)
    assert run("predict", *slide, "--out", tmp_path / name) == 1
    assert "is neither an .h5ad file nor a folder that exists" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["evaluate", "figure", "report", "export"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("S4.tif", "is a slide; give|is not an HDF5 file"),
        ("sample.cmrcnet", r"is a checkpoint \(a model\), not a prediction; give the \.h5ad"),
    ],
)
def test_what_is_given_in_place_of_a_prediction_is_named(
    command: str, name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / {"report": "r.html", "export": "e.csv", "figure": "f.pdf"}.get(command, "scores")
    assert run(command, SAMPLE / name, "--out", out) == 1
    assert re.search(said, " ".join(capsys.readouterr().err.split()))


@pytest.mark.parametrize(("command", "said"), [("figure", "in .png, .svg or .pdf"), ("export", "or .zip.")])
def test_a_wrong_ending_is_refused_before_anything_is_read(
    command: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command, tmp_path / "no such.h5ad", "--out", tmp_path / "f.docx") == 1
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_model_of_smaller_patches_is_trained_and_predicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet, out, prediction = tmp_path / "sheet.csv", tmp_path / "m.cmrcnet", tmp_path / "p.h5ad"
    sheet.write_text(f"section,slide,spots,patient\nS4,{SAMPLE / 'S4.tif'},{SAMPLE / 'S4.h5ad'},P\n")
    patches = ("--patch-px", "56", "--model-mpp", "2")
    (tmp_path / "mine.txt").write_text("ERBB2\nNOWHERE\n")
    settings = ("--set", "mask_rate=0.3", "target=expression", "--panel", tmp_path / "mine.txt")
    asked = (*patches, "--k", "30", "--no-weighted", *settings)
    assert run("train", sheet, "--out", out, "--preset", "tiny", "--epochs", "1", *asked, "--device", "cpu") == 0
    assert "lacks 1 of 2 genes of the panel “mine”: NOWHERE; " in " ".join(capsys.readouterr().out.split())
    card = Checkpoint.load(out).card
    assert card.preprocessing.patch == PatchSpec(56, 2.0)
    assert (card.query.k, card.query.weighted, card.query.test_time_augmentation) == (30, False, True)
    assert (card.model.mask_rate, card.model.target, card.model.contrast) == (0.3, "expression", "clip")
    section = ("--slide", SAMPLE / "S4.tif", "--spots", SAMPLE / "S4.h5ad")
    assert run("predict", "--checkpoint", out, *section, "--out", prediction, "--device", "cpu") == 0
    assert anndata.read_h5ad(prediction).obsm["neighbours"].shape == (347, 30)


@pytest.mark.usefixtures("no_pictures", "quick_encoder")
def test_with_json_a_program_reads_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def facts(*arguments: str | Path) -> dict[str, Any]:
        assert run(*arguments, "--json") == 0
        said = capsys.readouterr()
        assert said.err
        found: dict[str, Any] = json.loads(said.out)
        return found

    made = facts("predict", SAMPLE / "sections.csv", "--checkpoint", CHECKPOINT, "--out", tmp_path, "--k", "10")
    (prediction,) = made["predictions"]
    assert prediction["file"] == str(tmp_path / "S4.h5ad")
    assert prediction["provenance"]["k"] == 10
    one = ("--slide", SAMPLE / "S4.tif", "--pitch", "400", "--out", tmp_path / "grid.h5ad")
    (grid,) = facts("predict", "--checkpoint", CHECKPOINT, *one)["predictions"]
    assert grid["file"] == str(tmp_path / "grid.h5ad")
    scores = facts("evaluate", prediction["file"], "--out", tmp_path / "scores")
    files = scores.pop("files")
    assert str(tmp_path / "scores" / "scores.csv") in files
    assert scores == json.loads((tmp_path / "scores" / "summary.json").read_text())
    slide = facts("info", SAMPLE / "S4.tif")
    assert (slide["kind"], slide["mpp"], slide["levels"][0]["downsample"]) == ("slide", 0.5, 1)
    spots = facts("info", SAMPLE / "S4.h5ad")
    assert (spots["kind"], spots["spots"], spots["synthetic"]) == ("spots", 347, True)
    assert facts("info", CHECKPOINT)["card"]["genes"] == list(Checkpoint.load(CHECKPOINT).card.genes)
    assert facts("info", prediction["file"])["provenance"] == prediction["provenance"]
    assert run("info", tmp_path / "nowhere", "--json") == 1
    assert capsys.readouterr().out == ""
    assert run("info", SAMPLE / "S4.tif") == 0
    assert "0.5 µm/px" in capsys.readouterr().out


def test_info_without_a_path_says_what_a_report_of_a_problem_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", "--json") == 0
    said = capsys.readouterr()
    about = json.loads(said.out)
    assert about["packages"]["torch"] in said.err
    assert about["packages"]["napari-cmrcnet"]
    assert about["Python"] == platform.python_version()


@pytest.mark.parametrize("command", sorted(EXAMPLES))
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leave:
        run(command, "--help")
    assert leave.value.code == 0
    assert f"napari-cmrcnet {command}" in capsys.readouterr().out.partition("example:")[2]


@pytest.mark.parametrize("command", ["evaluate", "export", "figure", "report"])
def test_help_says_what_is_replaced(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(command, "--help")
    assert re.search(r"(is|are) replaced", " ".join(capsys.readouterr().out.split()))


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from napari_cmrcnet.cli import main\n"
        "try: main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "print(*{m.split('.')[0] for m in sys.modules}, file=sys.stderr)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr.split()
    assert not {"torch", "scanpy", "timm", "matplotlib", "numpy", "rich"} & set(loaded)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")])
def test_memory_that_runs_out_is_one_sentence(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("napari_cmrcnet.retrieval.checkpoint.Checkpoint.load", full)
    assert run("predict", "--checkpoint", CHECKPOINT, "--slide", SAMPLE / "S4.tif", "--pitch", "300") == 1
    assert capsys.readouterr().err.startswith("error: There is not enough memory; close other programs")
