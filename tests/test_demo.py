"""The sample: what `demo` promises, and what a trained model does on a section it has not seen."""

import json
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pytest

from napari_cmrcnet.cli import main
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.metrics import pcc
from napari_cmrcnet.common.progress import Job, finish
from napari_cmrcnet.common.sample import sample_folder
from napari_cmrcnet.retrieval import frozen_features
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.encoder_entry import fields_of
from napari_cmrcnet.retrieval.frozen_features import field_features
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.sections.section import Section, open_section

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


def test_the_sample_s_spots_were_encoded_and_others_are_not_taken_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = []

    def no_encoding(_network: object, _patches: object, section: Section, **_: object) -> Job[None]:
        encoded.append(len(section.xy))
        raise UserError("encoded again")
        yield

    monkeypatch.setattr(frozen_features, "encode_patches", no_encoding)
    encoder = Checkpoint.load(SAMPLE / "sample.cmrcnet").encoder
    assert encoder is not None
    section = open_section(SAMPLE / "S4.tif", SAMPLE / "S4.h5ad")
    with section.slide:
        fields = [finish(field_features(section, spec, encoder)) for spec in fields_of(encoder.encoder)]
        assert {Path(field.filename) for field in fields} == set((SAMPLE / "features").iterdir())
        assert not encoded
        with pytest.raises(UserError, match="encoded again"):
            finish(field_features(replace(section, spots=section.spots[1:]), fields_of(encoder.encoder)[0], encoder))
        other = replace(encoder, encoder=replace(encoder.encoder, layers=encoder.encoder.layers[:2]))
        with pytest.raises(UserError, match="encoded again"):
            finish(field_features(section, fields_of(encoder.encoder)[0], other))
