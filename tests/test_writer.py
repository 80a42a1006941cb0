"""napari's File > Save writes our spots so that a spreadsheet and QuPath have them where the slide has them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from napari.layers import Points

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.slides.slide import Bounds
from napari_cmrcnet.viewer.boundary import layer_placement, to_napari
from napari_cmrcnet.viewer.writer import write_csv, write_geojson

XY = np.array([[100.5, 20.0], [300.0, 40.0], [500.0, 60.0]])


def layer(mpp: float | None = 0.5, **more: Any) -> Points:
    features = {
        "value": np.array([0.1, 2.5, np.nan], np.float32),
        "=evil": ["=1+1", "-x", "plain"],
        "n": [1, 2, 3],
    }
    return Points(
        to_napari(XY), **{"features": features, "size": 55.0, "name": "predicted"} | more, **layer_placement(mpp)
    )


def save(points: Points, path: Path) -> None:
    """Save a layer as napari does: the data and attributes of its tuple."""
    data, attributes, _ = points.as_layer_data_tuple()
    writer = write_csv if path.suffix == ".csv" else write_geojson
    assert writer(str(path), data, attributes) == [str(path)]


def test_a_table_with_pixels_and_micrometres(tmp_path: Path) -> None:
    save(layer(), tmp_path / "P.csv")
    table = pd.read_csv(tmp_path / "P.csv")
    assert list(table.columns) == ["x", "y", "x_um", "y_um", "value", "'=evil", "n"]
    np.testing.assert_array_equal(table[["x", "y"]], XY)
    np.testing.assert_array_equal(table[["x_um", "y_um"]], XY / 2)
    assert table["value"].tolist()[:2] == [0.1, 2.5]
    assert np.isnan(table["value"][2])
    assert table["'=evil"].tolist() == ["'=1+1", "'-x", "plain"]
    assert table["n"].tolist() == [1, 2, 3]


def test_a_layer_in_pixels_has_no_micrometres(tmp_path: Path) -> None:
    save(layer(None), tmp_path / "P.csv")
    assert list(pd.read_csv(tmp_path / "P.csv").columns[:3]) == ["x", "y", "value"]


def test_a_layer_without_features(tmp_path: Path) -> None:
    save(layer(features=None), tmp_path / "P.csv")
    assert len(pd.read_csv(tmp_path / "P.csv")) == 3
    save(layer(features=None), tmp_path / "P.geojson")
    assert len(json.loads((tmp_path / "P.geojson").read_text("utf-8"))["features"]) == 3


def test_detections_for_qupath(tmp_path: Path) -> None:
    from shapely.geometry import Point, shape

    save(layer(size=[40.0, 50.0, 60.0]), tmp_path / "P.geojson")
    features = json.loads((tmp_path / "P.geojson").read_text("utf-8"))["features"]
    for row, feature in enumerate(features):
        outline = shape(feature["geometry"])
        circle = Point(XY[row]).buffer([20, 25, 30][row])
        assert outline.exterior.hausdorff_distance(circle.exterior) < 0.2
        assert feature["properties"]["objectType"] == "detection"
    assert features[0]["properties"]["measurements"] == {"value": 0.1, "n": 1}
    assert features[2]["properties"]["measurements"] == {"n": 3}
    assert features[0]["properties"]["metadata"] == {"=evil": "=1+1"}


@pytest.mark.parametrize("ending", ["csv", "geojson"])
def test_napari_finds_the_writer(tmp_path: Path, npe2pm: Any, ending: str) -> None:
    from importlib.resources import files

    from npe2 import PluginManifest

    npe2pm.register(PluginManifest.from_file(str(files("napari_cmrcnet") / "napari.yaml")))
    viewer = ViewerModel()
    viewer.add_layer(layer())
    path = tmp_path / f"P.{ending}"
    assert viewer.layers.save(str(path), plugin="napari-cmrcnet") == [str(path)]
    assert path.stat().st_size > 50


@pytest.mark.parametrize("ending", ["csv", "geojson"])
def test_points_in_three_dimensions_are_refused(tmp_path: Path, ending: str) -> None:
    with pytest.raises(UserError, match="stack is not in two dimensions"):
        save(Points(np.zeros((2, 3)), name="stack"), tmp_path / f"P.{ending}")
    assert not list(tmp_path.iterdir())


def test_positions_for_qupath_are_counted_from_the_scanned_part(tmp_path: Path) -> None:
    save(layer(metadata={"cmrcnet": {"bounds": Bounds(100, 10, 500, 400)}}), tmp_path / "P.geojson")
    features = json.loads((tmp_path / "P.geojson").read_text("utf-8"))["features"]
    centres = [np.mean(feature["geometry"]["coordinates"][0][:-1], axis=0) for feature in features]
    np.testing.assert_allclose(centres, XY - [100, 10], atol=0.01)
    save(layer(metadata={"cmrcnet": {"bounds": Bounds(100, 10, 500, 400)}}), tmp_path / "P.csv")
    np.testing.assert_array_equal(pd.read_csv(tmp_path / "P.csv")[["x", "y"]], XY)
