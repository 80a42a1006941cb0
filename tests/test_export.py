"""Exports say what the prediction says, and nothing in them runs in a spreadsheet."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.retrieval import export
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.export import to_csv, to_geojson
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.prediction import Prediction


@pytest.fixture
def prediction(
    untrained_checkpoint: Checkpoint,
    tmp_path: Path,
    write_section: Callable[..., Any],
    open_small: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Prediction:
    monkeypatch.setattr(export, "SPOTS_A_PASS", 10)
    section = open_small(*write_section(tmp_path / "data", "C", 3), name="C")
    return finish(predict(section, untrained_checkpoint, k=6, device="cpu"))


def test_a_table_of_chosen_genes(prediction: Prediction, tmp_path: Path) -> None:
    to_csv(prediction, tmp_path / "P.csv", ["GENE3", "GENE1"])
    table = pd.read_csv(tmp_path / "P.csv")
    assert list(table.columns) == [
        "spot", "section", "x", "y", "mean_similarity", "best_similarity", "sections", "GENE3", "GENE1",
    ]  # fmt: skip
    assert table["spot"].tolist() == prediction.spots.obs_names.tolist()
    np.testing.assert_array_equal(table[["x", "y"]], prediction.xy)
    np.testing.assert_array_equal(
        table[["GENE3", "GENE1"]].astype(np.float32), prediction.expression(["GENE3", "GENE1"])
    )


def test_a_table_of_all_genes(prediction: Prediction, tmp_path: Path) -> None:
    to_csv(prediction, tmp_path / "P.csv")
    table = pd.read_csv(tmp_path / "P.csv")
    found = table[list(prediction.genes)].astype(np.float32)
    np.testing.assert_array_equal(found, prediction.expression(prediction.genes))


@pytest.mark.parametrize("name", ["=1+1", "+1", "-A1", "@SUM(A1)", "\tx", "\r=1"])
def test_no_text_is_a_formula(prediction: Prediction, tmp_path: Path, name: str) -> None:
    prediction.spots.obs_names = [name, *prediction.spots.obs_names[1:]]
    to_csv(prediction, tmp_path / "P.csv", ["GENE3"])
    with (tmp_path / "P.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    assert rows[1][0] == f"'{name}"
    assert rows[2][0] == "C-1"
    assert all(not cell.startswith("'") for row in rows for cell in row[1:])


def test_circles_for_qupath(prediction: Prediction, tmp_path: Path) -> None:
    to_geojson(prediction, tmp_path / "P.geojson", ["GENE3"])
    content = json.loads((tmp_path / "P.geojson").read_text("utf-8"))
    assert content["type"] == "FeatureCollection"
    assert len(content["features"]) == 36
    (library,) = prediction.spots.uns["spatial"].values()
    radius = library["scalefactors"]["spot_diameter_fullres"] / 2
    for row, feature in enumerate(content["features"]):
        assert feature["properties"]["objectType"] == "detection"
        assert feature["properties"]["name"] == f"C-{row}"
        (ring,) = feature["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
        distance = np.linalg.norm(np.array(ring) - prediction.xy[row], axis=1)
        np.testing.assert_allclose(distance, radius, atol=0.02)
        measurements = feature["properties"]["measurements"]
        assert np.float32(measurements["GENE3"]) == prediction.gene("GENE3")[row]
        assert measurements["sections"] in (1, 2)


@pytest.mark.parametrize("write", [to_csv, to_geojson])
def test_an_unknown_gene_leaves_no_file(prediction: Prediction, tmp_path: Path, write: Callable[..., None]) -> None:
    with pytest.raises(UserError, match="no gene GENE99"):
        write(prediction, tmp_path / "out" / "P", ["GENE1", "GENE99"])
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("write", [to_csv, to_geojson])
def test_a_full_disk_leaves_the_old_file(
    prediction: Prediction, tmp_path: Path, full_disk: Callable[[int], Any], write: Callable[..., None]
) -> None:
    (tmp_path / "P").write_text("before")
    with full_disk(1000), pytest.raises(UserError, match="could not be written"):
        write(prediction, tmp_path / "P", ["GENE1"])
    assert (tmp_path / "P").read_text() == "before"
