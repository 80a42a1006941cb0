"""Regions of QuPath lie on the tissue that they were drawn around, also where QuPath shows a part of the slide only."""

from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import box

from napari_cmrcnet.sections.geojson import read_geojson, write_geojson
from napari_cmrcnet.sections.region_origin import from_qupath, qupath_corner, said_of, to_qupath
from napari_cmrcnet.sections.regions import Region
from napari_cmrcnet.slides.slide import Bounds, open_slide
from scanner_slides import write_scn

PART = Bounds(300, 200, 500, 400)


def regions(*boxes: tuple[float, float, float, float]) -> list[Region]:
    return [Region(str(number), "", box(*each)) for number, each in enumerate(boxes)]


def test_a_region_of_a_leica_slide_lies_on_its_tissue(tmp_path: Path) -> None:
    write_geojson(tmp_path / "q.geojson", regions((256, 256, 768, 512)))
    with open_slide(write_scn(tmp_path / "slide.scn")) as slide:
        assert slide.bounds == Bounds(1536, 1024, 1024, 768)
        (region,), note = from_qupath(read_geojson(tmp_path / "q.geojson"), slide.bounds)
        x, y = map(round, region.geometry.centroid.coords[0])
        np.testing.assert_allclose(slide.read_region(x, y, 1, 1)[0, 0], (200, 60, 120), atol=8)
        assert "(1536, 1024)" in note
        (back,) = to_qupath([region], slide.bounds)
        assert back.geometry.equals(box(256, 256, 768, 512))


def test_a_slide_that_is_all_scanned_has_no_bounds(tmp_path: Path, real_data: Path) -> None:
    with open_slide(real_data / "slides" / "CMU-1-Small-Region-dicom") as slide:
        assert slide.bounds is None
    assert from_qupath(regions((0, 0, 9, 9)), None) == (tuple(regions((0, 0, 9, 9))), "")
    assert said_of(qupath_corner(None)) == ""


@pytest.mark.parametrize(
    ("boxes", "whole", "moved", "choice"),
    [
        ([(10, 10, 100, 100)], False, True, False),  # only as QuPath shows the slide
        ([(10, 10, 100, 100)], True, True, False),
        ([(600, 450, 790, 590)], False, False, False),  # only on the whole image
        ([(10, 10, 100, 100), (600, 450, 790, 590)], False, True, True),  # on neither
        ([(310, 210, 400, 300)], False, True, True),  # on both
        ([(310, 210, 400, 300)], True, False, True),
    ],
)
def test_where_positions_are_counted_from(
    boxes: list[tuple[float, float, float, float]], whole: bool, moved: bool, choice: bool
) -> None:
    placed, note = from_qupath(regions(*boxes), PART, whole)
    by = (300, 200) if moved else (0, 0)
    for region, (left, top, *_) in zip(placed, boxes, strict=True):
        assert region.geometry.bounds[:2] == (left + by[0], top + by[1])
    assert ("QuPath shows the whole slide" in note) == choice
    assert note.endswith(".")


@pytest.mark.parametrize("whole", [False, True])
def test_what_is_saved_comes_back(whole: bool) -> None:
    drawn = regions((310, 210, 400, 300), (600, 450, 790, 590))
    saved = to_qupath(drawn, PART, whole)
    back, _ = from_qupath(saved, PART, whole)
    assert [each.geometry.bounds for each in back] == [each.geometry.bounds for each in drawn]
