"""The sample: what `demo` promises, and what a trained model does on a section it has not seen."""

import json
from pathlib import Path

import anndata
import numpy as np
import pytest

from napari_cmrcnet.cli import main
from napari_cmrcnet.common.metrics import pcc
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.evaluation.demo import sample_folder
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.sections.section import open_section

SAMPLE = sample_folder()


def test_demo_writes_scores_and_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    summary = json.loads((tmp_path / "summary.json").read_text())
    for name in ("HEG", "HVG", "markers"):
        assert set(summary[name]) == {"pcc", "low", "high", "n", "undefined", "partial_pcc", "spearman"}
        assert summary[name]["low"] < summary[name]["pcc"] < summary[name]["high"]
    assert "synthetic" in printed
    assert f"napari {tmp_path / 'S4_predicted.h5ad'}" in printed.replace("\n", " ")
    assert str(tmp_path / "S4_map_ERBB2.png") in printed
    assert (tmp_path / "S4_map_ERBB2.png").read_bytes().startswith(b"\x89PNG")


def test_driven_genes_are_predicted_on_a_new_section_and_others_are_not() -> None:
    section = open_section(SAMPLE / "S4.tif", SAMPLE / "S4.h5ad")
    checkpoint = Checkpoint.load(SAMPLE / "sample.cmrcnet")
    assert section.name not in checkpoint.card.sections
    with section.slide:
        prediction = finish(predict(section, checkpoint, PredictConfig(device="cpu")))
    genes = list(prediction.genes)
    values = pcc(prediction.measured(genes), prediction.expression(genes))
    driven = anndata.read_h5ad(SAMPLE / "S4.h5ad").var.loc[genes, "driven"].to_numpy(bool)
    assert np.nanmean(values[driven]) >= 0.6
    assert abs(np.nanmean(values[~driven])) < 0.05


def test_sample_says_that_it_is_synthetic_and_stays_small() -> None:
    assert Checkpoint.load(SAMPLE / "sample.cmrcnet").card.synthetic
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) < 15e6
