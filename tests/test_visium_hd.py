"""Visium HD of Space Ranger 3 and 4: bins of each size and segmented cells, with positions to the pixel."""

import json
from pathlib import Path

import numpy as np
import pytest

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.retrieval.describe import describe
from napari_cmrcnet.sections.spots import is_spots, open_spots
from napari_cmrcnet.slides.slide import open_slide
from test_spots import COUNTS, GENES, check_convention, make_outs, write_10x_h5

MPP = 0.25
CELLS = [f"cellid_{number:09d}-1" for number in (1, 2, 7, 12)]
CENTRES = np.array([[100.0, 200.0], [340.5, 60.0], [80.0, 80.0], [500.0, 500.0]])
SIDES = np.array([20.0, 40.0, 24.0, 10.0])  # pixels, of square cells


def square(centre, side, closed=True):
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]][: 5 if closed else 4]) * side / 2 + centre
    return [corners.tolist()]


def features(order=(3, 1, 0, 2)):
    numbers = [int(name[7:16]) for name in CELLS]
    return [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": square(CENTRES[n], SIDES[n], closed=n != 1)},
            "properties": {"cell_id": numbers[n], "classification": {"name": "Cluster 1"}},
        }
        for n in order
    ]


def write_segmented(folder: Path, content=None) -> Path:
    (folder / "spatial").mkdir(parents=True)
    factors = {"tissue_hires_scalef": 0.2, "microns_per_pixel": MPP, "regist_target_img_scalef": 0.2}
    (folder / "spatial" / "scalefactors_json.json").write_text(json.dumps(factors))
    write_10x_h5(folder / "filtered_feature_cell_matrix.h5", barcodes=CELLS, software_version="spaceranger-4.0.1")
    write_10x_h5(folder / "raw_feature_cell_matrix.h5", barcodes=CELLS)
    whole = {"type": "FeatureCollection", "features": features()} if content is None else content
    (folder / "cell_segmentations.geojson").write_text(json.dumps(whole, indent=1))
    (folder / "graphclust_annotated_cell_segmentations.geojson").write_text("{}")
    (folder / "nucleus_segmentations.geojson").write_text("{}")
    return folder


def make_hd(folder: Path) -> Path:
    """Write what Space Ranger 4 leaves: three sizes of bins, and cells."""
    for size in (2, 8, 16):
        make_outs(
            folder / "binned_outputs" / f"square_{size:03d}um",
            "tissue_positions.parquet",
            microns_per_pixel=MPP,
            bin_size_um=float(size),
        )
    write_segmented(folder / "segmented_outputs")
    (folder / "spatial").mkdir()
    return folder


@pytest.fixture
def outs(tmp_path: Path) -> Path:
    return make_hd(tmp_path / "run" / "outs")


@pytest.mark.parametrize("given", [".", "filtered_feature_cell_matrix.h5", "cell_segmentations.geojson", "spatial"])
def test_cells_lie_at_the_centres_of_their_outlines(outs: Path, given: str) -> None:
    path = outs / "segmented_outputs" / given
    assert is_spots(path)
    cells = open_spots(path)
    check_convention(cells)
    assert list(cells.obs_names) == CELLS
    assert list(cells.var_names) == GENES
    assert np.array_equal(cells.X.toarray(), COUNTS)
    np.testing.assert_allclose(cells.obsm["spatial"], CENTRES, atol=1e-9)
    np.testing.assert_allclose(cells.obs["cell_area"], (SIDES * MPP) ** 2)
    about = cells.uns["cmrcnet"]
    assert (about["source"], about["platform"], about["unit"]) == ("Space Ranger 4.0.1", "Visium HD", "cell")
    assert (about["given_mpp"], about["pitch_um"]) == (MPP, 0)
    (library,) = cells.uns["spatial"].values()
    expected = 2 * np.sqrt(np.median(SIDES**2) / np.pi)
    assert library["scalefactors"]["spot_diameter_fullres"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("library", "unit", "pitch"),
    [
        ("", "bin", 16),
        ("square_008um", "bin", 8),
        ("2", "bin", 2),
        ("8 µm", "bin", 8),
        ("8um", "bin", 8),
        ("cells", "cell", 0),
        ("segmented_outputs", "cell", 0),
    ],
)
def test_bins_or_cells_are_chosen_by_name(outs: Path, library: str, unit: str, pitch: float) -> None:
    for path in (outs, outs.parent):
        about = open_spots(path, library=library).uns["cmrcnet"]
        assert (about["unit"], about["pitch_um"], about["library"]) == (unit, pitch, library)
        said = [note for note in about["notes"] if "there are also" in note]
        assert len(said) == (not library)
    assert said == [] or "square_002um, square_008um, segmented_outputs" in said[0]


def test_what_is_not_there_is_said(outs: Path) -> None:
    with pytest.raises(UserError, match=r"holds no '4', but square_002um, .*, segmented_outputs") as error:
        open_spots(outs, library="4")
    assert error.value.setting == "library"
    assert error.value.choices == ("square_002um", "square_008um", "square_016um", "segmented_outputs")
    with pytest.raises(UserError, match="holds one section only"):
        open_spots(make_outs(outs.parent.parent / "plain"), library="8")
    with pytest.raises(UserError, match="holds one section only"):
        open_spots(outs / "binned_outputs" / "square_008um", library="8")
    with pytest.raises(UserError, match="outputs of Space Ranger in its folders"):
        open_spots(outs.parent.parent, library="8")


def test_an_output_of_cells_alone(outs: Path) -> None:
    (outs / "binned_outputs").rename(outs.parent / "elsewhere")
    assert open_spots(outs).uns["cmrcnet"]["unit"] == "cell"
    assert describe(outs).facts["spots"] == "4"
    with pytest.raises(UserError, match="is an output of Space Ranger; give it as the spots"):
        open_slide(outs)


def test_a_cell_in_two_parts_and_one_without_an_outline(tmp_path: Path) -> None:
    two = [square((0, 0), 10), square((100, 0), 20)]
    some = features((0, 1, 2))
    some[2]["geometry"] = {"type": "MultiPolygon", "coordinates": two}
    folder = write_segmented(tmp_path / "segmented_outputs", {"features": some})
    cells = open_spots(folder)
    assert list(cells.obs_names) == CELLS[:3]
    np.testing.assert_allclose(cells.obsm["spatial"][2], [80, 0])  # areas 100 and 400
    assert "Dropped 1 of 4 cells: no outline." in cells.uns["cmrcnet"]["notes"]


def test_an_impossible_pixel_size_gives_no_areas(tmp_path: Path) -> None:
    folder = write_segmented(tmp_path / "segmented_outputs")
    (folder / "spatial" / "scalefactors_json.json").write_text('{"microns_per_pixel": 1e308}')
    assert "cell_area" not in open_spots(folder).obs


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"features": features((0, 0))}, "has a cell twice"),
        ({"features": []}, "4 of 4 barcodes have no position"),
        ({}, r"is not a list of cell outlines \(it has no list of features\); copy it again"),
        ({"features": [{}]}, "is not a list of cell outlines"),
        ({"features": [{"properties": {"cell_id": 1}, "geometry": None}]}, "is not a list of cell outlines"),
        (
            {"features": [{"properties": {"cell_id": 1}, "geometry": {"type": "Polygon", "coordinates": [[[0, 0]]]}}]},
            "is not a list of cell outlines",
        ),
        (
            {
                "features": [
                    {
                        "properties": {"cell_id": 1},
                        "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [2, 2]]]},
                    }
                ]
            },
            "has cells without an area",
        ),
        (
            {"features": [{"properties": {"cell_id": 10**400}, "geometry": {"type": "Point", "coordinates": [0, 0]}}]},
            "is not a list of cell outlines",
        ),
    ],
)
def test_damaged_outlines_are_named(tmp_path: Path, content: dict, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        open_spots(write_segmented(tmp_path / "segmented_outputs", content))
    assert "\n" not in str(error.value)


def test_outlines_cut_short_or_nested_without_end(tmp_path: Path) -> None:
    folder = write_segmented(tmp_path / "segmented_outputs")
    file = folder / "cell_segmentations.geojson"
    for text in (file.read_text()[:-200], '{"features": ' + "[" * 200_000, ""):
        file.write_text(text)
        with pytest.raises(UserError, match="is not a list of cell outlines"):
            open_spots(folder)
