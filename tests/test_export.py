"""Exports say what the prediction says, other programs open them, and nothing in them runs in a spreadsheet."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, finish
from napari_cmrcnet.retrieval import export
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.export import to_csv, to_geojson
from napari_cmrcnet.retrieval.export_tables import to_h5ad, to_spatialdata
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.prediction import Prediction

FILES = [to_csv, to_geojson, to_h5ad]
Write = Callable[..., Job[Path]]


@pytest.fixture
def prediction(
    untrained_checkpoint: Checkpoint,
    tmp_path: Path,
    write_section: Callable[..., Any],
    open_small: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Prediction:
    """36 spots; of the 24 genes GENE3 was not measured. Written in passes of a few spots and genes."""
    monkeypatch.setattr(export, "VALUES_A_PASS", 500)
    monkeypatch.setattr(export, "GENES_A_PASS", 7)
    monkeypatch.setattr(export, "TEXTS_A_PASS", 100)
    section = open_small(*write_section(tmp_path / "data", "C", 3), name="C")
    done = finish(predict(section, untrained_checkpoint, PredictConfig(k=6, device="cpu")))
    done.spots = done.spots[:, [gene for gene in done.spots.var_names if gene != "GENE3"]].copy()
    return done


def measured(prediction: Prediction, genes: list[str]) -> np.ndarray:
    return pd.DataFrame(
        {
            gene: prediction.measured([gene])[:, 0] if gene in prediction.measured_set else np.nan  # type: ignore[index]
            for gene in genes
        },
        index=range(len(prediction)),
        dtype=np.float32,
    ).to_numpy()


def test_a_table_of_chosen_genes(prediction: Prediction, tmp_path: Path) -> None:
    assert finish(to_csv(prediction, tmp_path / "P.csv", ["GENE3", "GENE1"])) == tmp_path / "P.csv"
    table = pd.read_csv(tmp_path / "P.csv")
    assert list(table.columns) == [
        "spot", "section", "x", "y", "x_um", "y_um", "mean_similarity", "best_similarity", "sections",
        "GENE3 predicted", "GENE1 predicted", "GENE1 measured",
    ]  # fmt: skip
    assert table["spot"].tolist() == prediction.spots.obs_names.tolist()
    np.testing.assert_array_equal(table[["x", "y"]], prediction.xy)
    np.testing.assert_allclose(table[["x_um", "y_um"]], prediction.xy * 0.5)
    np.testing.assert_array_equal(table["best_similarity"].astype(np.float32), prediction.similarity[:, 0])
    predicted = table[["GENE3 predicted", "GENE1 predicted"]].astype(np.float32)
    np.testing.assert_array_equal(predicted, prediction.expression(["GENE3", "GENE1"]))
    np.testing.assert_array_equal(table[["GENE1 measured"]].astype(np.float32), prediction.measured(["GENE1"]))


def test_a_table_of_all_genes(prediction: Prediction, tmp_path: Path) -> None:
    finish(to_csv(prediction, tmp_path / "P.csv"))
    table = pd.read_csv(tmp_path / "P.csv")
    found = table[[f"{gene} predicted" for gene in prediction.genes]].astype(np.float32)
    np.testing.assert_array_equal(found, prediction.expression(prediction.genes))
    found = table[[f"{gene} measured" for gene in prediction.measured_genes]].astype(np.float32)
    np.testing.assert_array_equal(found, prediction.measured(prediction.measured_genes))
    assert len(table.columns) == 9 + 24 + 23


def test_a_section_that_was_not_measured(prediction: Prediction, tmp_path: Path) -> None:
    bare = Prediction(
        anndata.AnnData(obs=prediction.spots.obs, obsm=prediction.spots.obsm, uns=prediction.spots.uns),
        prediction.neighbours,
        prediction.similarity,
        prediction.confidence(),
        prediction.provenance,
        bank=prediction.bank,
    )
    finish(to_csv(bare, tmp_path / "P.csv", ["GENE1"]))
    assert "GENE1 measured" not in pd.read_csv(tmp_path / "P.csv")
    finish(to_geojson(bare, tmp_path / "P.geojson", ["GENE1"]))
    (first, *_) = json.loads((tmp_path / "P.geojson").read_text("utf-8"))["features"]
    assert "GENE1 measured" not in first["properties"]["measurements"]
    finish(to_h5ad(bare, tmp_path / "P.h5ad", ["GENE1"]))
    assert set(anndata.read_h5ad(tmp_path / "P.h5ad").layers) == {"predicted"}


@pytest.mark.parametrize("write", [*FILES, to_spatialdata])
def test_no_gene_at_all_is_refused(prediction: Prediction, tmp_path: Path, write: Write) -> None:
    with pytest.raises(UserError, match="No gene was given"):
        finish(write(prediction, tmp_path / "P", []))
    assert not (tmp_path / "P").exists()


@pytest.mark.parametrize("name", ["=1+1", "+1", "-A1", "@SUM(A1)", "\tx", "\r=1", "＝1+1"])
def test_no_text_is_a_formula(prediction: Prediction, tmp_path: Path, name: str) -> None:
    prediction.spots.obs_names = [name, *prediction.spots.obs_names[1:]]
    finish(to_csv(prediction, tmp_path / "P.csv", ["GENE3"]))
    with (tmp_path / "P.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    assert rows[1][0] == f"'{name}"
    assert rows[2][0] == "C-1"
    assert all(not cell.startswith("'") for row in rows for cell in row[1:])


def test_circles_for_qupath(prediction: Prediction, tmp_path: Path) -> None:
    from shapely.geometry import Point, shape

    prediction.spots.obs_names = ['a "quoted" µ', *prediction.spots.obs_names[1:]]
    finish(to_geojson(prediction, tmp_path / "P.geojson", ["GENE3", "GENE1"]))
    content = json.loads((tmp_path / "P.geojson").read_text("utf-8"))
    assert content["type"] == "FeatureCollection"
    assert len(content["features"]) == 36
    (library,) = prediction.spots.uns["spatial"].values()
    radius = library["scalefactors"]["spot_diameter_fullres"] / 2
    for row, feature in enumerate(content["features"]):
        assert feature["type"] == "Feature"
        assert feature["properties"]["objectType"] == "detection"
        assert feature["properties"]["name"] == prediction.spots.obs_names[row]
        outline = shape(feature["geometry"])
        assert outline.is_valid
        assert outline.exterior.hausdorff_distance(Point(prediction.xy[row]).buffer(radius).exterior) < 0.1
        measurements = feature["properties"]["measurements"]
        assert set(measurements) == {
            "mean_similarity", "best_similarity", "sections", "GENE3 predicted", "GENE1 predicted", "GENE1 measured",
        }  # fmt: skip
        assert np.float32(measurements["GENE3 predicted"]) == prediction.gene("GENE3")[row]
        assert np.float32(measurements["GENE1 measured"]) == prediction.measured(["GENE1"])[row, 0]  # type: ignore[index]
        assert measurements["sections"] in (1, 2)


def test_circles_are_counted_from_where_qupath_counts(prediction: Prediction, tmp_path: Path) -> None:
    corners = {}
    for corner in ((0, 0), (64, 32)):
        finish(to_geojson(prediction, tmp_path / "P.geojson", ["GENE1"], corner))
        first = json.loads((tmp_path / "P.geojson").read_text("utf-8"))["features"][0]
        corners[corner] = np.array(first["geometry"]["coordinates"][0])
    np.testing.assert_allclose(corners[0, 0] - corners[64, 32], np.broadcast_to([64, 32], (33, 2)), atol=0.02)


@pytest.mark.parametrize("genes", [["GENE3", "GENE1"], None])
def test_a_table_for_scanpy(prediction: Prediction, tmp_path: Path, genes: list[str] | None) -> None:
    finish(to_h5ad(prediction, tmp_path / "P.h5ad", genes))
    table = anndata.read_h5ad(tmp_path / "P.h5ad")
    names = list(prediction.genes) if genes is None else genes
    assert list(table.var_names) == names
    assert list(table.obs_names) == list(prediction.spots.obs_names)
    np.testing.assert_array_equal(table.layers["predicted"], prediction.expression(names))
    np.testing.assert_array_equal(table.layers["measured"], measured(prediction, names))
    np.testing.assert_array_equal(table.X, table.layers["predicted"])
    np.testing.assert_array_equal(table.obsm["spatial"], prediction.xy)
    np.testing.assert_array_equal(table.obs["best_similarity"], prediction.similarity[:, 0])
    assert table.var["measured"].tolist() == [name != "GENE3" for name in names]
    assert "spot_diameter_fullres" in next(iter(table.uns["spatial"].values()))["scalefactors"]
    assert json.loads(table.uns["cmrcnet_provenance"])["k"] == 6


def test_an_export_is_not_taken_for_a_saved_prediction(prediction: Prediction, tmp_path: Path) -> None:
    finish(to_h5ad(prediction, tmp_path / "P.h5ad"))
    with pytest.raises(UserError, match="not a prediction"):
        Prediction.load(tmp_path / "P.h5ad")


def test_a_gene_by_its_ensembl_id_is_written_once_by_its_symbol(prediction: Prediction, tmp_path: Path) -> None:
    assert prediction.bank is not None
    names = prediction.bank.names
    names.ids = tuple(f"ENSG{i:011}" for i in range(24))
    del names.__dict__["_columns"]
    finish(to_h5ad(prediction, tmp_path / "P.h5ad", ["ENSG00000000005", "GENE5", "ENSG00000000001.7"]))
    assert list(anndata.read_h5ad(tmp_path / "P.h5ad").var_names) == ["GENE5", "GENE1"]


@pytest.mark.parametrize("write", FILES)
def test_an_unknown_gene_leaves_no_file(prediction: Prediction, tmp_path: Path, write: Write) -> None:
    with pytest.raises(UserError, match="no gene GENE99"):
        finish(write(prediction, tmp_path / "P", ["GENE1", "GENE99"]))
    assert not list(tmp_path.glob("*P*"))


@pytest.mark.parametrize("write", FILES)
@pytest.mark.filterwarnings("error")  # HDF5 complains of a full disk whenever Python collects the file
def test_a_full_disk_leaves_the_old_file(
    prediction: Prediction, tmp_path: Path, full_disk: Callable[[int], Any], write: Write
) -> None:
    (tmp_path / "P").write_text("before")
    with full_disk(1000), pytest.raises(UserError, match="could not be written"):
        finish(write(prediction, tmp_path / "P", ["GENE1"]))
    assert (tmp_path / "P").read_text() == "before"
    assert [path.name for path in tmp_path.glob("*P*")] == ["P"]


@pytest.mark.parametrize("write", FILES)
@pytest.mark.parametrize("steps", [1, 4])
def test_a_cancelled_export_leaves_the_old_file(
    prediction: Prediction, tmp_path: Path, write: Write, steps: int
) -> None:
    (tmp_path / "P").write_text("before")
    job = write(prediction, tmp_path / "P")
    for _ in range(steps):
        next(job)
    job.close()
    assert (tmp_path / "P").read_text() == "before"
    assert [path.name for path in tmp_path.glob("*P*")] == ["P"]


@pytest.mark.parametrize("write", FILES)
def test_progress_goes_forward_to_its_end(prediction: Prediction, tmp_path: Path, write: Write) -> None:
    seen = []
    finish(write(prediction, tmp_path / "P"), seen.append)
    assert len(seen) > 4
    assert [progress.done for progress in seen] == sorted(progress.done for progress in seen)
    assert seen[-1].done == seen[-1].total > 0


def test_spatialdata_says_how_to_install_it(
    prediction: Prediction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "spatialdata", None)
    with pytest.raises(UserError, match=r'pip install "napari-cmrcnet\[spatialdata\]"'):
        finish(to_spatialdata(prediction, tmp_path / "P.zarr", ["GENE1"]))
    assert not list(tmp_path.glob("*P*"))
