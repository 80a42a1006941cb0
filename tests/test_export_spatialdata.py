"""A SpatialData store of a prediction is what spatialdata itself reads: circles, their table, pixels and µm."""

import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import spatialdata
from scipy import sparse

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.retrieval import export_tables
from napari_cmrcnet.retrieval.bank import Bank
from napari_cmrcnet.retrieval.export_tables import to_spatialdata
from napari_cmrcnet.retrieval.prediction import Prediction, confidence_table
from napari_cmrcnet.retrieval.provenance import Provenance


@pytest.fixture
def prediction(monkeypatch: pytest.MonkeyPatch) -> Prediction:
    """30 spots and 5 genes of a bank, of which NEW was not measured."""
    monkeypatch.setattr(export_tables, "GENES_A_PASS", 2)
    rng = np.random.default_rng(0)
    genes = ("ERBB2", "HLA-A", "NKX2-5", "NEW", "=EVIL/1")
    embeddings = rng.normal(size=(40, 8)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    obs = {"section": "B", "patient": "PB", "array_row": -1, "array_col": -1, "x": 0.0, "y": 0.0}
    bank = Bank(
        embeddings,
        sparse.csc_matrix(rng.gamma(2, size=(40, 5)).astype(np.float32)),
        genes,
        ("",) * 5,
        pd.DataFrame([obs] * 40),
    )
    neighbours = rng.integers(0, 40, (30, 5)).astype(np.int32)
    similarity = rng.random((30, 5)).astype(np.float32)
    spots = anndata.AnnData(
        sparse.csr_matrix(rng.poisson(4, (30, 4)).astype(np.int32)),
        obs=pd.DataFrame({"region": ["tumour"] * 30, "my class/2": ["a"] * 30}, index=[f"{i}x1" for i in range(30)]),
        var=pd.DataFrame(index=[gene for gene in genes if gene != "NEW"]),
    )
    spots.obsm["spatial"] = rng.random((30, 2)) * 1000
    spots.uns["spatial"] = {"C": {"scalefactors": {"spot_diameter_fullres": 55.0}}}
    spots.uns["cmrcnet"] = {"source": "test", "synthetic": False}
    provenance = Provenance(
        checkpoint="", checkpoint_digest="0" * 64, trained_on=("B",), trained_on_patients=("PB",), validated_on=(),
        section="C/1", patient="PC", slide="C.tif", spots="C.h5ad", k=5, min_umi=0, mpp=0.5, mpp_source="test",
        target_sum=1e4, panel=None,
    )  # fmt: skip
    confidence = confidence_table(neighbours, similarity, bank, spots.obs_names)
    return Prediction(spots, neighbours, similarity, confidence, provenance, bank=bank)


def test_circles_and_their_table(prediction: Prediction, tmp_path: Path) -> None:
    finish(to_spatialdata(prediction, tmp_path / "P.zarr"))
    store = spatialdata.read_zarr(tmp_path / "P.zarr")
    table, circles = store["table"], store["spots"]
    assert list(table.var_names) == list(prediction.genes)
    np.testing.assert_array_equal(np.asarray(table.X), prediction.expression(prediction.genes))
    known = list(prediction.measured_genes)
    np.testing.assert_array_equal(np.asarray(table[:, known].layers["measured"]), prediction.measured(known))
    assert np.isnan(np.asarray(table[:, "NEW"].layers["measured"])).all()
    np.testing.assert_array_equal(table.obs["best_similarity"], prediction.similarity[:, 0])
    assert set(table.obs["section"]) == {"C/1"}
    assert set(table.obs["region"]) == {"tumour"}
    assert json.loads(table.uns["cmrcnet_provenance"])["k"] == 5
    assert list(circles.index) == list(prediction.spots.obs_names)
    np.testing.assert_allclose(np.stack([circles.geometry.x, circles.geometry.y], axis=1), prediction.xy)
    assert set(circles["radius"]) == {27.5}


def test_the_table_follows_the_circles(prediction: Prediction, tmp_path: Path) -> None:
    finish(to_spatialdata(prediction, tmp_path / "P.zarr"))
    store = spatialdata.read_zarr(tmp_path / "P.zarr")
    box = {"axes": ("x", "y"), "min_coordinate": [0, 0], "max_coordinate": [500, 500]}
    within = spatialdata.bounding_box_query(store, **box, target_coordinate_system="global")
    shown = (prediction.xy < 500).all(axis=1)
    # A circle is found by its box, which reaches further than its centre.
    assert set(prediction.spots.obs_names[shown]) <= set(within["table"].obs_names)
    assert len(within["table"]) == len(within["spots"]) < 30


def test_pixels_and_microns(prediction: Prediction, tmp_path: Path) -> None:
    finish(to_spatialdata(prediction, tmp_path / "P.zarr"))
    store = spatialdata.read_zarr(tmp_path / "P.zarr")
    in_um = spatialdata.transform(store["spots"], to_coordinate_system="microns")
    np.testing.assert_allclose(np.stack([in_um.geometry.x, in_um.geometry.y], axis=1), prediction.xy * 0.5)
    np.testing.assert_allclose(in_um["radius"], 13.75)
    in_pixels = spatialdata.transform(store["spots"], to_coordinate_system="global")
    np.testing.assert_allclose(in_pixels.geometry.x, prediction.xy[:, 0])


def test_a_cancelled_export_leaves_the_old_store(prediction: Prediction, tmp_path: Path) -> None:
    finish(to_spatialdata(prediction, tmp_path / "P.zarr", ["ERBB2"]))
    job = to_spatialdata(prediction, tmp_path / "P.zarr")
    for _ in range(3):
        next(job)
    job.close()
    assert list(spatialdata.read_zarr(tmp_path / "P.zarr")["table"].var_names) == ["ERBB2"]
    assert os.listdir(tmp_path) == ["P.zarr"]


def test_a_folder_of_something_else_is_left_alone(prediction: Prediction, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="not a Zarr store"):
        finish(to_spatialdata(prediction, tmp_path / "notes"))
    assert (tmp_path / "notes" / "mine.txt").read_text() == "keep"


def test_a_full_disk_leaves_nothing(prediction: Prediction, tmp_path: Path, full_disk: Callable[[int], Any]) -> None:
    with full_disk(200), pytest.raises(UserError, match="could not be written"):
        finish(to_spatialdata(prediction, tmp_path / "P.zarr"))
    assert not os.listdir(tmp_path)


def test_writing_a_store_warns_of_nothing(prediction: Prediction, tmp_path: Path) -> None:
    """What a worker warns of, napari shows: anndata did, for every column, of its own next version."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        finish(to_spatialdata(prediction, tmp_path / "P.zarr"))
    assert [str(warning.message) for warning in warned] == []
