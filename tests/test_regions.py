"""Regions come from QuPath's files and go back to them, whatever the files look like, and know their spots."""

import gzip
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from shapely.geometry import MultiPolygon, Point, Polygon, box

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.sections import geojson as module
from napari_cmrcnet.sections.geojson import read_geojson, reading_geojson, write_geojson
from napari_cmrcnet.sections.regions import Region, class_colour, polygonal, with_names

OUTER = [[0, 0], [100, 0], [100, 100], [0, 100], [0, 0]]
HOLE = [[40, 40], [60, 40], [60, 60], [40, 60], [40, 40]]


def feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": {"objectType": "annotation"} | properties}


def polygon(*rings: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def read_one(tmp_path: Path, content: Any) -> Region:
    (region,) = read_geojson(write(tmp_path / "a.geojson", content))
    return region


def test_a_spot_belongs_if_its_centre_is_inside() -> None:
    ring = Region("R", "", Polygon(OUTER, [HOLE]))
    inside = ring.contains([[10, 20], [50, 50], [99, 1], [101, 50], [np.nan, 1]])
    assert inside.tolist() == [True, False, True, False, False]
    assert Region("line", "", Polygon()).contains([[0, 0]]).tolist() == [False]


def test_what_qupath_exports(tmp_path: Path) -> None:
    islands = {"type": "MultiPolygon", "coordinates": [[OUTER, HOLE], [[[200, 0], [300, 0], [300, 50], [200, 0]]]]}
    content = {
        "type": "FeatureCollection",
        "features": [
            feature(polygon(OUTER, HOLE), name="core", classification={"name": "Tumor", "color": [200, 0, 0]}),
            feature(islands, classification={"names": ["Tumor", "Positive"], "color": [1, 2, 3, 128]}, isLocked=True),
            feature(polygon(OUTER), objectType="detection", color=[7, 8, 9], measurements={"Area": 1.5}),
        ],
    }
    core, positive, detection = read_geojson(write(tmp_path / "a.geojson", content))
    assert (core.name, core.classification, core.colour) == ("core", "Tumor", (200, 0, 0))
    assert core.geometry.equals(Polygon(OUTER, [HOLE]))
    assert (positive.name, positive.classification, positive.colour) == (
        "Tumor: Positive 1", "Tumor: Positive", (1, 2, 3),
    )  # fmt: skip
    assert positive.geometry.area == 100 * 100 - 20 * 20 + 2500
    assert (detection.name, detection.classification, detection.colour) == ("Region 1", "", (7, 8, 9))


ID = "2b1b5d1e-6f6c-4a35-9f0e-6d2c0a5d7c11"
OLD_TUMOR, TUMOR = {"name": "Tumor", "colorRGB": -3670016}, {"name": "Tumor", "color": [200, 0, 0]}
AREA = {"Area µm^2": 1234.5, "Circularity": "NaN"}
QUPATH: dict[str, Any] = {
    "0.2": [  # a plain list; measurements are pairs, and colours one number
        {
            "type": "Feature",
            "id": "PathAnnotationObject",
            "geometry": polygon(OUTER, HOLE),
            "properties": {"name": "core", "classification": OLD_TUMOR, "isLocked": False, "measurements": []},
        }
    ],
    "0.3": {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "id": "PathAnnotationObject",
                "geometry": polygon(OUTER, HOLE),
                "properties": {
                    "name": "core",
                    "object_type": "annotation",
                    "classification": OLD_TUMOR,
                    "isLocked": True,
                    "measurements": [{"name": name, "value": value} for name, value in AREA.items()],
                },
            }
        ],
    },
    "0.4": {
        "type": "FeatureCollection",
        "features": [
            feature(polygon(OUTER, HOLE), name="core", classification=TUMOR, isLocked=True, measurements=[])
            | {"id": ID}
        ],
    },
    "0.5": {
        "type": "FeatureCollection",
        "features": [
            feature(polygon(OUTER, HOLE), name="core", classification=TUMOR, measurements=AREA, color=[9, 9, 9])
            | {"id": ID}
        ],
    },
    "0.6": {
        "type": "FeatureCollection",
        "features": [
            feature(
                polygon(OUTER, HOLE) | {"plane": {"c": -1, "z": 0, "t": 0}},
                name="core",
                classification={"names": ["Tumor"], "color": [200, 0, 0]},
                metadata={"ANNOTATION_DESCRIPTION": "drawn"},
                measurements=AREA,
            )
            | {"id": ID}
        ],
    },
}


@pytest.mark.parametrize("version", QUPATH)
def test_versions_of_qupath_differ_in_form_and_not_in_what_is_read(tmp_path: Path, version: str) -> None:
    region = read_one(tmp_path, QUPATH[version])
    assert (region.name, region.classification, region.colour) == ("core", "Tumor", (200, 0, 0))
    assert region.geometry.equals(Polygon(OUTER, [HOLE]))


@pytest.mark.parametrize(
    ("classification", "name", "colour"),
    [
        ({"name": "Stroma", "colorRGB": -6895466}, "Stroma", (150, 200, 150)),  # before QuPath 0.4
        ({"parentClass": {"name": "Tumor", "colorRGB": 1}, "name": "Positive", "colorRGB": 255}, "Tumor: Positive",
         (0, 0, 255)),
        ("Necrosis", "Necrosis", None),
        ({}, "", None),
        (None, "", None),
        ({"name": "Stroma", "color": [1, 2, 3000]}, "Stroma", None),
        ({"name": "two\nlines " + 200 * "x", "color": "red"}, ("two lines " + 200 * "x")[:100], None),
    ],
)  # fmt: skip
def test_classes(tmp_path: Path, classification: Any, name: str, colour: Any) -> None:
    region = read_one(tmp_path, feature(polygon(OUTER), classification=classification))
    assert (region.classification, region.colour) == (name, colour)


@pytest.mark.parametrize(
    "content",
    [
        {"type": "FeatureCollection", "features": [feature(polygon(OUTER))]},
        [feature(polygon(OUTER))],
        feature(polygon(OUTER)),
        polygon(OUTER),
        [polygon(OUTER)],
        polygon(OUTER[:-1]),  # not closed
        polygon([[x, y, 0] for x, y in OUTER]),
        {"type": "Feature", "geometry": polygon(OUTER), "properties": None},
        feature(None, objectType="root", childObjects=[feature(polygon(OUTER))]),
        {"type": "GeometryCollection", "geometries": [polygon(OUTER), {"type": "Point", "coordinates": [1, 2]}]},
        {"type": "MultiPolygon", "coordinates": [[OUTER], [OUTER]]},  # overlapping: still the same area
    ],
)
def test_shapes_of_geojson(tmp_path: Path, content: Any) -> None:
    assert read_one(tmp_path, content).geometry.equals(box(0, 0, 100, 100))


def test_packed_and_marked_files(tmp_path: Path) -> None:
    text = json.dumps(feature(polygon(OUTER), name="Drüse"))
    (tmp_path / "a.geojson.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "bom.json").write_bytes(b"\xef\xbb\xbf" + text.encode())
    for path in tmp_path.iterdir():
        assert read_geojson(path)[0].name == "Drüse"


def test_measurements_that_are_not_numbers_are_no_obstacle(tmp_path: Path) -> None:
    text = json.dumps(feature(polygon(OUTER), measurements={"Solidity": float("nan")}))
    assert "NaN" in text  # as QuPath writes it
    assert len(read_geojson(write(tmp_path / "a.geojson", text))) == 1


def test_points_and_lines_are_counted(tmp_path: Path) -> None:
    content = [
        feature(polygon(OUTER)),
        feature({"type": "MultiPoint", "coordinates": [[1, 1]]}),
        feature({"type": "LineString", "coordinates": [[1, 1], [2, 2]]}),
        feature(polygon([[0, 0], [1, 1], [2, 2], [0, 0]])),
    ]
    notes: list[str] = []
    assert len(read_geojson(write(tmp_path / "a.geojson", content), notes)) == 1
    assert notes == ["Left out 3 of 4 objects: no area (points or lines)."]


def test_outlines_that_cross_themselves(tmp_path: Path) -> None:
    bow_tie = [[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]
    notes: list[str] = []
    (region,) = read_geojson(write(tmp_path / "a.geojson", feature(polygon(bow_tie))), notes)
    assert region.geometry.is_valid
    assert region.geometry.area == 50
    assert notes == ["Repaired 1 outline with crossings."]


def scribble(corners: int) -> list[list[float]]:
    """Return an outline whose edges all cross each other."""
    return (np.random.default_rng(0).random((corners, 2)) * 1000).round(2).tolist()  # type: ignore[no-any-return]


@pytest.mark.timeout(60)  # minutes, where every crossing is a corner of the result
def test_outlines_that_cross_themselves_very_often(tmp_path: Path) -> None:
    (region,) = read_geojson(write(tmp_path / "a.geojson", feature(polygon(scribble(300)))))
    assert region.geometry.is_valid
    for name, geometry in (
        ("one", polygon(scribble(20_000))),
        ("two", {"type": "MultiPolygon", "coordinates": [[scribble(1500)], [scribble(1500)]]}),
        ("nested", {"type": "GeometryCollection", "geometries": [polygon(scribble(3000)), polygon(OUTER)]}),
    ):
        with pytest.raises(UserError, match="object 1 crosses itself more often than can be repaired"):
            read_geojson(write(tmp_path / f"{name}.geojson", feature(geometry)))


def test_an_outline_of_many_corners_with_a_slip_of_the_hand_is_repaired(tmp_path: Path) -> None:
    angle = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1) * 5000 + 6000
    circle[[500, 502]] = circle[[502, 500]]
    (region,) = read_geojson(write(tmp_path / "a.geojson", feature(polygon(circle.round(3).tolist()))))
    assert region.geometry.area == pytest.approx(np.pi * 5000**2, rel=1e-4)


@pytest.mark.parametrize("as_written", [{}, {"indent": 2}], ids=["in a line", "a number a line"])
def test_a_quarter_of_a_million_corners_are_read_in_seconds(tmp_path: Path, as_written: dict[str, int]) -> None:
    angle = np.linspace(0, 2 * np.pi, 250_000, endpoint=False)
    around = np.stack([np.cos(angle), np.sin(angle)], axis=1) * (5000 + 50 * np.sin(300 * angle))[:, None] + 6000
    corners = around.round(2).tolist() if as_written else around.tolist()  # of up to 17 digits
    path = write(tmp_path / "a.geojson", json.dumps(feature(polygon([*corners, corners[0]])), **as_written))
    began = time.process_time()
    (region,) = read_geojson(path)
    assert time.process_time() - began < 5
    assert len(region.geometry.exterior.coords) == 250_001


def test_reading_can_be_stopped_between_outlines(tmp_path: Path) -> None:
    job = reading_geojson(write(tmp_path / "a.geojson", 5 * [feature(polygon(OUTER))]))
    assert [(next(job).done, next(job).done) for _ in range(2)][1] == (1, 2)
    job.close()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is not GeoJSON"),
        ("{", "is not GeoJSON"),
        ("5", "is not GeoJSON"),
        ('{"a": 1}', "is not GeoJSON"),
        ("\x00\x01\x02", "is not GeoJSON"),
        (100_000 * "[" + 100_000 * "]", "nested too deeply"),
        (900 * '{"type":"GeometryCollection","geometries":[' + 900 * "]}", "."),
        ("[]", "holds no outline"),
        ('{"type": "FeatureCollection", "features": null}', "holds no outline"),
        (json.dumps(feature(None)), "holds no outline"),
        ('{"type": "Feature", "geometry": {"type": "Polygon"}}', "object 1 is damaged"),
        (json.dumps(polygon([[0, 0], [1, float("nan")], [1, 1], [0, 0]])), "object 1 is damaged"),
        (json.dumps(polygon([[0, 0], [1, 1e300], [1, 1], [0, 0]])), "object 1 is damaged"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1, 1e999], [1, 1]]]}', "object 1 is damaged"),
        (json.dumps([polygon(OUTER), polygon([["a", "b"]] * 4)]), "object 2 is damaged"),
        (json.dumps(polygon([[1], [2], [3], [4]])), "object 1 is damaged"),
        (json.dumps(polygon([[1, 2], [2], [3, 4]])), "object 1 is damaged"),
        (json.dumps(polygon([None] * 4)), "object 1 is damaged"),
        (json.dumps(polygon(5)), "object 1 is damaged"),
        (json.dumps(polygon([[0, 0], [1, 10**400], [1, 1], [0, 0]])), "object 1 is damaged"),
        (json.dumps({"type": "MultiPolygon", "coordinates": {"a": 1}}), "holds no outline"),
        (json.dumps({"type": "Polygon", "coordinates": 9 * "[1,2]"}), "holds no outline"),
    ],
)
def test_damaged_files_end_in_one_sentence(tmp_path: Path, content: str, reason: str) -> None:
    path = write(tmp_path / "bad.geojson", content)
    with pytest.raises(UserError, match=reason) as caught:
        read_geojson(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_regions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REGIONS", 3)
    path = write(tmp_path / "cells.geojson", 4 * [feature(polygon(OUTER))])
    with pytest.raises(UserError, match="4 objects, which are cells"):
        read_geojson(path)
    monkeypatch.setattr(module, "MAX_ENTRIES", 100)
    with pytest.raises(UserError, match="over 100 corners and entries"):
        read_geojson(write(tmp_path / "nested.geojson", json.dumps([[]] * 101)))
    monkeypatch.undo()
    monkeypatch.setattr(module, "MAX_BYTES", 2**20)
    (tmp_path / "bomb.geojson.gz").write_bytes(gzip.compress(2**22 * b" "))
    with pytest.raises(UserError, match="larger than 1 MB"):
        read_geojson(tmp_path / "bomb.geojson.gz")
    (tmp_path / "cut.geojson.gz").write_bytes(gzip.compress(path.read_bytes())[:40])
    with pytest.raises(UserError, match="could not be unpacked"):
        read_geojson(tmp_path / "cut.geojson.gz")
    with pytest.raises(UserError, match="does not exist"):
        read_geojson(tmp_path / "missing.geojson")


def test_written_as_qupath_reads_it(tmp_path: Path) -> None:
    holed = Point(500, 500).buffer(100).difference(Point(500, 500).buffer(30))
    regions = (
        Region("core", "Tumour", holed, (1, 2, 3)),
        Region("two", "Tumor: Positive", MultiPolygon([box(0, 0, 1, 1), box(5, 5, 6, 7)])),
        Region("Rand <ü>", "", box(0.125, 0, 9.75, 4)),
        Region("a line", "", Polygon()),
    )
    for name in ("a.geojson", "a.geojson.gz"):
        write_geojson(tmp_path / name, regions)
        again = read_geojson(tmp_path / name)
        assert [(each.name, each.classification) for each in again] == [
            (each.name, each.classification) for each in regions[:3]
        ]
        assert all(a.geometry.equals(b.geometry) for a, b in zip(again, regions, strict=False))
    assert gzip.decompress((tmp_path / "a.geojson.gz").read_bytes()) == (tmp_path / "a.geojson").read_bytes()
    content = json.loads((tmp_path / "a.geojson").read_text("utf-8"))
    assert content["type"] == "FeatureCollection"
    core, two, border = content["features"]
    assert core["properties"] == {
        "objectType": "annotation", "name": "core", "classification": {"name": "Tumour", "color": [1, 2, 3]},
    }  # fmt: skip
    assert two["properties"]["classification"]["color"] == list(class_colour("Tumor: Positive"))  # QuPath insists
    assert border["properties"] == {"objectType": "annotation", "name": "Rand <ü>"}
    assert shapely.geometry.shape(core["geometry"]).equals(holed)


def test_names_are_given_to_the_nameless() -> None:
    square = box(0, 0, 1, 1)
    given = [Region("", "", square), Region("Stroma 1", "", square), Region("", "Stroma", square)]
    assert [each.name for each in with_names([*given, *given])] == [
        "Region 1", "Stroma 1", "Stroma 2", "Region 2", "Stroma 1", "Stroma 3",
    ]  # fmt: skip


def test_colours_of_classes_stay_the_same() -> None:
    assert class_colour("Tumor: Positive") == class_colour("tumour") == (200, 0, 0)
    assert class_colour("Gland") == (90, 60, 190)  # not of a hash, which differs in each process
    assert Region("", "Gland", Polygon(), (1, 2, 3)).shown_colour == (1, 2, 3)


def test_only_what_has_an_area_is_kept() -> None:
    assert polygonal(Polygon([(0, 0), (1, 1), (2, 2)])).is_empty
    spike = Polygon([(0, 0), (4, 0), (4, 4), (4, 8), (4, 4), (0, 4)])
    assert polygonal(spike).equals(box(0, 0, 4, 4))
