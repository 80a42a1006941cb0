"""One list before every run: what is impossible is refused, and what it warns of stays with the prediction."""

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import anndata
import numpy as np
import pandas as pd
import pytest

from napari_cmrcnet.cli import main
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.leaks import warnings_of
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.predict_sheet import predict_sheet
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.retrieval.preflight import preflight_job
from napari_cmrcnet.sections.section import Section, open_section
from napari_cmrcnet.sections.sheet import SheetRow

GENES = 300


@pytest.fixture
def human(untrained_checkpoint: Checkpoint, tmp_path: Path) -> Checkpoint:
    """A checkpoint whose bank has 300 genes."""
    bank = untrained_checkpoint.bank
    genes = tuple(f"GENE{i}" for i in range(GENES))
    expression = bank.expression[:, np.arange(GENES) % len(bank.genes)]
    wide = replace(bank, genes=genes, gene_ids=("",) * GENES, expression=expression)
    return Checkpoint(untrained_checkpoint.card, untrained_checkpoint.model, wide).save(tmp_path / "human.cmrcnet")


@pytest.fixture
def mouse(tmp_path: Path, write_section: Callable[..., Any]) -> tuple[Path, Path]:
    """A section of 300 genes, two of which are called as in the bank."""
    slide, path = write_section(tmp_path / "data", "M", 3)
    spots = anndata.read_h5ad(path)
    names = ["GENE0", "GENE1", *(f"Gene{i}" for i in range(2, GENES))]
    counts = np.ones((spots.n_obs, GENES), np.int32)
    other = anndata.AnnData(counts, obs=spots.obs, var=pd.DataFrame(index=names), uns=spots.uns, obsm=spots.obsm)
    other.uns["spatial"] = {"M": {"metadata": {"spot_pitch_um": 16.0}}}
    other.write_h5ad(path)
    return slide, path


REFUSED = r"only 2 of 300 genes in common .* named as those of mouse, the checkpoint's as human: choose"


def test_a_mouse_section_is_refused_by_the_command_line(
    human: Checkpoint, mouse: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide, spots = mouse
    arguments = ["predict", "--slide", str(slide), "--spots", str(spots), "--checkpoint", str(human.path)]
    assert main([*arguments, "--k", "5", "--out", str(tmp_path / "m.h5ad")]) == 1
    assert re.search(REFUSED, " ".join(capsys.readouterr().err.split()))
    assert not (tmp_path / "m.h5ad").exists()


@pytest.mark.parametrize("where", ["here", "on a cluster"])
def test_a_mouse_section_is_refused_in_a_sheet_and_the_others_are_predicted(
    human: Checkpoint,
    mouse: tuple[Path, Path],
    tmp_path: Path,
    write_section: Callable[..., Any],
    request: pytest.FixtureRequest,
    where: str,
) -> None:
    slide, path = write_section(tmp_path / "data", "C", 4)
    spots = anndata.read_h5ad(path)
    spots.uns["spatial"] = {"C": {"metadata": {"spot_pitch_um": 16.0}}}
    spots.write_h5ad(path)
    rows = [SheetRow("M", *mouse, "P8"), SheetRow("C", slide, path, "P1")]
    assert human.path is not None
    scheduler = request.getfixturevalue("cluster") if where == "on a cluster" else None
    with pytest.raises(UserError, match=f"1 of 2 slides could not be predicted: M: .*{REFUSED}"):
        finish(
            predict_sheet(
                rows,
                human.path,
                tmp_path / "out",
                PredictConfig(k=5, device="cpu"),
                scheduler=scheduler,
            )
        )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["C.h5ad"]
    warnings = " ".join(Prediction.load(tmp_path / "out" / "C.h5ad").provenance.warnings)
    assert "The checkpoint was trained on other sections of the patient of C (P1)" in warnings


def test_a_mouse_section_is_refused_in_python_before_any_work(human: Checkpoint, mouse: tuple[Path, Path]) -> None:
    section = open_section(*mouse)
    with section.slide, pytest.raises(UserError, match=REFUSED):
        next(predict(section, human, PredictConfig(k=5)))


def test_small_panels_share_what_they_share(human: Checkpoint, mouse: tuple[Path, Path]) -> None:
    """Of a panel of 100 genes, two in common may be all that it has by design."""
    section = open_section(*mouse)
    with section.slide:
        panel = replace(section, spots=section.spots[:, :100].copy())
        (few,) = (check for check in finish(preflight_job(panel, human, 5)) if check.text.startswith("Measured here"))
    assert not few.ok
    said = "Measured here: 2 of the bank's 300 genes, which is few. Its genes are named as those of mouse"
    assert few.text.startswith(said)


def test_one_spot_and_one_gene_are_not_many(untrained_checkpoint: Checkpoint, section: Section, tmp_path: Path) -> None:
    model, bank = untrained_checkpoint.card.model, untrained_checkpoint.bank
    card = replace(untrained_checkpoint.card, genes=bank.genes[:1], model=replace(model, n_genes=1))
    narrow = replace(bank, genes=bank.genes[:1], gene_ids=("",), expression=bank.expression[:, :1])
    one = Checkpoint(card, untrained_checkpoint.model, narrow)
    spot = replace(section, spots=section.spots[:1].copy())
    unmeasured = replace(spot, spots=spot.spots[:, :0].copy())
    said = [check.text for each in (spot, unmeasured) for check in finish(preflight_job(each, one, 1))]
    prediction = finish(predict(spot, one, PredictConfig(k=1)))
    said += warnings_of([Mock(provenance=prediction.provenance, bank=None, genes=prediction.genes)])
    said = "\n".join(said)
    assert "the 1 spot lie" in said
    assert "Measured here: 1 of the bank's 1 gene" in said
    assert "Predicted without a comparison: 1 gene." in said
    assert "only the 1 gene that" in said
    assert not re.search(r"\b1 (\w+ )?(spots|genes)\b", said)


@pytest.mark.parametrize(
    ("temperature", "k", "ok"),
    [(None, 24, True), (None, 25, False), (0.5, 25, False), (0.2, 48, True), (0.2, 49, False), (0.1, 72, True)],
)
def test_a_k_that_makes_values_pale_is_said(
    untrained_checkpoint: Checkpoint, section: Section, temperature: float | None, k: int, ok: bool
) -> None:
    """Of a bank of 72 spots: 500 of 551, weighted at 0.2, once went unsaid."""
    card, weighted = untrained_checkpoint.card, temperature is not None
    model = replace(card.model, temperature=temperature, contrast="clip") if weighted else card.model
    card = replace(card, model=model, query=replace(card.query, weighted=weighted))
    checkpoint = Checkpoint(card, untrained_checkpoint.model, untrained_checkpoint.bank)
    (said,) = (check for check in finish(preflight_job(section, checkpoint, k)) if "72" in check.text)
    assert said.ok == ok
    assert ok or "near the mean of the whole bank" in said.text


@pytest.fixture
def section(tmp_path: Path, write_section: Callable[..., Any], open_small: Callable[..., Any]) -> Section:
    opened: Section = open_small(*write_section(tmp_path / "data", "C", 3), name="C", patient="P1")
    return opened


def test_python_is_warned_and_the_prediction_keeps_it(
    section: Section, untrained_checkpoint: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        prediction = finish(predict(section, untrained_checkpoint, PredictConfig(k=5, device="cpu")))
    leaked = "The checkpoint was trained on other sections of the patient of C (P1)"
    assert leaked in caplog.text
    assert any(text.startswith(leaked) for text in prediction.provenance.warnings)
    prediction.save(tmp_path / "p.h5ad")
    loaded = Prediction.load(tmp_path / "p.h5ad")
    assert loaded.provenance.warnings == prediction.provenance.warnings
    assert warnings_of([loaded]) == loaded.provenance.warnings


def test_what_was_checked_before_is_neither_checked_nor_logged_again(
    section: Section,
    untrained_checkpoint: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    checks = finish(preflight_job(section, untrained_checkpoint, 5))

    def again(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("napari_cmrcnet.retrieval.predict.preflight_job", again)
    prediction = finish(predict(section, untrained_checkpoint, PredictConfig(k=5, device="cpu"), checks=checks))
    assert prediction.provenance.warnings == tuple(check.text for check in checks if not check.ok)
    assert prediction.provenance.warnings
    assert not caplog.text


def test_the_command_line_warns_before_the_run_and_once(
    untrained_checkpoint: Checkpoint,
    tmp_path: Path,
    write_section: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    slide, spots = write_section(tmp_path / "data", "C", 3)
    arguments = [
        "predict",
        "--slide",
        str(slide),
        "--spots",
        str(spots),
        "--checkpoint",
        str(untrained_checkpoint.path),
    ]
    assert main([*arguments, "--k", "5", "--mpp", "1.5", "--patient", "P9", "--out", str(tmp_path / "c.h5ad")]) == 0
    printed = capsys.readouterr().out
    kept = Prediction.load(tmp_path / "c.h5ad").provenance.warnings
    assert any("3.0 times the model's 0.5 µm" in text for text in kept)
    for text in kept:
        assert printed.count(f"! C: {text}") == 1
    assert printed.index(kept[0]) < printed.index("c.h5ad:")


def test_a_sheet_warns_on_the_command_line_also_where_a_slide_fails(
    human: Checkpoint,
    mouse: tuple[Path, Path],
    tmp_path: Path,
    write_section: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    slide, spots = write_section(tmp_path / "data", "C", 4)
    sheet = tmp_path / "sheet.csv"
    rows = [f"M,{mouse[0]},{mouse[1]},P8,0.5", f"C,{slide},{spots},P1,0.5"]
    sheet.write_text("\n".join(["section,slide,spots,patient,mpp", *rows]))
    assert main(["predict", str(sheet), "--checkpoint", str(human.path), "--k", "5", "--out", str(tmp_path / "o")]) == 1
    output = capsys.readouterr()
    assert "! C: The checkpoint was trained on other sections of the patient of C (P1)" in output.out
    assert re.search(REFUSED, " ".join(output.err.split()))


@pytest.mark.parametrize(
    ("trained_on", "tissue", "asks"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_a_synthetic_checkpoint_on_real_tissue_asks(
    section: Section, untrained_checkpoint: Checkpoint, trained_on: bool, tissue: bool, asks: bool
) -> None:
    section.spots.uns["cmrcnet"]["synthetic"] = tissue
    card = replace(untrained_checkpoint.card, synthetic=trained_on)
    checks = finish(preflight_job(section, Checkpoint(card, untrained_checkpoint.model, untrained_checkpoint.bank), 5))
    assert any(check.asks for check in checks) == asks
    assert all("synthetic" in check.text and not check.ok for check in checks if check.asks)
