"""The training spots behind a value add up to it, are told by section, and can be seen."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.evidence import evidence, open_thumbnails, patch_of
from napari_cmrcnet.retrieval.likeness import STAIN, Likeness
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.retrieval.thumbnails import write_thumbnails
from napari_cmrcnet.slides.slide import open_slide

SIDE = 32


@pytest.fixture(scope="module")
def patches() -> np.ndarray:
    """A patch for each of the 72 bank spots, of a grey that tells its row."""
    return np.broadcast_to(np.arange(60, 60 + 72, dtype=np.uint8)[:, None, None, None], (72, SIDE, SIDE, 3))


@pytest.fixture
def illustrated(untrained_checkpoint: Checkpoint, patches: np.ndarray, tmp_path: Path) -> Checkpoint:
    """A checkpoint of its own, with thumbnails."""
    finish(write_thumbnails(tmp_path / "thumbnails.h5", [patches], len(patches)))
    card, model, bank = untrained_checkpoint.card, untrained_checkpoint.model, untrained_checkpoint.bank
    pictured = Checkpoint(card, model, bank, thumbnail_file=tmp_path / "thumbnails.h5")
    return pictured.save(tmp_path / "M.cmrcnet")


@pytest.fixture
def prediction(
    illustrated: Checkpoint, tmp_path: Path, write_section: Callable[..., Any], open_small: Callable[..., Any]
) -> Prediction:
    section = open_small(*write_section(tmp_path / "data", "C", 3), name="C", patient="P3")
    return finish(predict(section, illustrated, PredictConfig(k=12, device="cpu")))


def test_a_value_has_an_interval_where_other_patients_gave_one_and_the_slide_is_like_theirs(
    prediction: Prediction, tmp_path: Path
) -> None:
    assert evidence(prediction, 7, "GENE5").interval is None
    interval = np.full(len(prediction.genes), 0.25, np.float32)
    interval[prediction.genes.index("GENE6")] = np.nan
    bank = replace(prediction.bank, interval=interval)
    parts = prediction.spots, prediction.neighbours, prediction.similarity, prediction.confidence()

    def on_a_slide(far: float) -> Prediction:
        return Prediction(*parts, replace(prediction.provenance, likeness=Likeness({STAIN: far})), bank=bank)

    like = on_a_slide(0.5)
    found = evidence(like, 7, "GENE5")
    assert found.interval == (max(found.value - 0.25, 0), found.value + 0.25)
    assert evidence(like, 7, "GENE6").interval is None
    assert evidence(like, 7, ["GENE5", "GENE7"]).interval is None
    assert evidence(on_a_slide(1.5), 7, "GENE5").interval is None
    like.save(tmp_path / "like.h5ad")
    assert "interval_90" in anndata.read_h5ad(tmp_path / "like.h5ad").var
    on_a_slide(1.5).save(tmp_path / "partly.h5ad")
    assert "interval_90" not in anndata.read_h5ad(tmp_path / "partly.h5ad").var


def test_the_neighbours_make_up_the_value(prediction: Prediction) -> None:
    found = evidence(prediction, 7, "GENE5")
    assert found.genes == ("GENE5",)
    assert found.value == pytest.approx(prediction.gene("GENE5")[7], rel=1e-6)
    assert found.spread == pytest.approx(prediction.confidence("GENE5")["spread"].iloc[7], rel=1e-5)
    table = found.table
    assert table["expression"].mean() == pytest.approx(found.value)
    assert table["weight"].tolist() == pytest.approx([1 / 12] * 12)
    np.testing.assert_array_equal(table["row"], prediction.neighbours[7])
    np.testing.assert_array_equal(table["similarity"], prediction.similarity[7])
    assert table["similarity"].is_monotonic_decreasing
    assert table.index.tolist() == list(range(1, 13))
    assert prediction.bank is not None
    expected = prediction.bank.obs.iloc[prediction.neighbours[7]]
    for name in ("section", "patient", "x", "y"):
        assert table[name].tolist() == expected[name].tolist()


def test_the_shares_of_the_sections_add_up(prediction: Prediction) -> None:
    spot = int(np.argmax(prediction.confidence()["sections"]))
    found = evidence(prediction, spot, "GENE5")
    by_section, table = found.by_section, found.table
    assert len(by_section) == 2
    assert by_section["share"].sum() == pytest.approx(1)
    assert by_section["share"].is_monotonic_decreasing
    assert by_section["spots"].sum() == 12
    of_a = table[table["section"] == "A"]
    assert by_section.at["A", "share"] == pytest.approx(of_a["expression"].sum() / table["expression"].sum())
    assert by_section.at["A", "spots"] == len(of_a)
    assert by_section["patient"].to_dict() == {"A": "P1", "B": "P2"}


def test_neighbours_that_weigh_more_make_up_more_of_the_value(
    weighted_checkpoint: Checkpoint, tmp_path: Path, write_section: Callable[..., Any], open_small: Callable[..., Any]
) -> None:
    section = open_small(*write_section(tmp_path / "data", "C", 3), name="C")
    prediction = finish(predict(section, weighted_checkpoint, PredictConfig(device="cpu")))
    found = evidence(prediction, 7, "GENE5")
    table = found.table
    assert len(table) == 20
    expected = np.exp(table["similarity"].astype(float) / 0.1)
    np.testing.assert_allclose(table["weight"], expected / expected.sum(), rtol=1e-5)
    assert found.value == pytest.approx(np.average(table["expression"], weights=table["weight"]))
    assert found.value == pytest.approx(prediction.gene("GENE5")[7], rel=1e-6)
    assert found.value != pytest.approx(table["expression"].mean(), rel=1e-4)
    assert found.spread == pytest.approx(prediction.confidence("GENE5")["spread"].iloc[7], rel=1e-4)
    of_a = table[table["section"] == "A"]
    share = (of_a["weight"] * of_a["expression"]).sum() / found.value
    assert found.by_section.at["A", "share"] == pytest.approx(share)


def test_of_a_value_of_zero_no_section_has_a_share(prediction: Prediction) -> None:
    assert prediction.bank is not None
    expression = prediction.bank.expression.copy()
    expression.data[expression.indptr[5] : expression.indptr[6]] = 0
    parts = prediction.spots, prediction.neighbours, prediction.similarity, prediction.confidence()
    silent = Prediction(*parts, prediction.provenance, bank=replace(prediction.bank, expression=expression))
    found = evidence(silent, 0, "GENE5")
    assert found.value == 0
    assert found.by_section["share"].isna().all()
    assert found.by_section["spots"].is_monotonic_decreasing


def test_of_several_genes_the_mean_is_taken(prediction: Prediction) -> None:
    genes = ["GENE1", "GENE8", "GENE5"]
    found = evidence(prediction, 3, genes)
    assert found.genes == tuple(genes)
    assert found.value == pytest.approx(prediction.expression(genes)[3].mean(), rel=1e-6)
    of_each = np.mean([evidence(prediction, 3, gene).table["expression"] for gene in genes], axis=0)
    np.testing.assert_allclose(found.table["expression"], of_each)


def test_what_is_not_there(prediction: Prediction) -> None:
    with pytest.raises(UserError, match="of C has no spot 36; its 36 spots"):
        evidence(prediction, 36, "GENE5")
    with pytest.raises(UserError, match="no gene ABC"):
        evidence(prediction, 0, "ABC")
    with pytest.raises(UserError, match="No gene was given"):
        evidence(prediction, 0, [])


def test_a_checkpoint_that_moved(prediction: Prediction, tmp_path: Path) -> None:
    prediction.save(tmp_path / "C.h5ad")
    moved = shutil.move(tmp_path / "M.cmrcnet", tmp_path / "moved.cmrcnet")
    alone = Prediction.load(tmp_path / "C.h5ad")
    with pytest.raises(UserError, match=r"needs its checkpoint for the training spots behind a value.*M\.cmrcnet"):
        evidence(alone, 0, "GENE5")
    assert finish(open_thumbnails(alone)) is None
    found = Prediction.load(tmp_path / "C.h5ad", moved)
    assert evidence(found, 0, "GENE5").value == evidence(prediction, 0, "GENE5").value
    assert finish(open_thumbnails(found)) is not None


def test_thumbnails_of_bank_rows(prediction: Prediction, patches: np.ndarray) -> None:
    rows = prediction.neighbours[4]
    thumbnails = finish(open_thumbnails(prediction))
    assert thumbnails is not None
    found = thumbnails.read(rows)
    assert found.shape == (12, SIDE, SIDE, 3)
    assert np.abs(found.astype(int) - patches[rows]).max() <= 2  # JPEG


def test_a_checkpoint_without_thumbnails(prediction: Prediction, illustrated: Checkpoint) -> None:
    assert illustrated.thumbnail_file is not None
    illustrated.thumbnail_file.unlink()
    assert finish(open_thumbnails(prediction)) is None


def test_thumbnails_that_were_changed(prediction: Prediction, illustrated: Checkpoint) -> None:
    assert illustrated.thumbnail_file is not None
    illustrated.thumbnail_file.write_bytes(illustrated.thumbnail_file.read_bytes() + b"x")
    with pytest.raises(UserError, match=r"thumbnails\.h5 was changed or damaged"):
        finish(open_thumbnails(prediction))


def test_the_patch_of_the_spot_itself(prediction: Prediction, illustrated: Checkpoint, tmp_path: Path) -> None:
    with open_slide(tmp_path / "data" / "C.tif") as slide:
        found = patch_of(prediction, slide, 8)
        corner_x, corner_y = (prediction.xy[8] - SIDE / 2).astype(int)
        expected = slide.read_region(corner_x, corner_y, SIDE, SIDE)
        np.testing.assert_array_equal(found, expected)
        shutil.rmtree(illustrated.path)
        prediction.save(tmp_path / "C.h5ad")
        assert patch_of(Prediction.load(tmp_path / "C.h5ad"), slide, 8) is None


def test_spots_unlike_the_bank(prediction: Prediction) -> None:
    best = prediction.similarity[:, 0]
    floor = float(np.median(best))
    prediction.provenance = replace(prediction.provenance, similarity_floor=floor)
    np.testing.assert_array_equal(prediction.out_of_distribution(), best < floor)
    prediction.provenance = replace(prediction.provenance, similarity_floor=None)
    assert prediction.out_of_distribution() is None
