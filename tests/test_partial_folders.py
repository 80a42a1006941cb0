"""Of a folder that lacks a part, one sentence names what was found and what is missing, for each layout."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.folders import may_hold_spots
from napari_cmrcnet.sections.spots import open_spots
from test_spatialdata_store import xenium as make_store
from test_spots import make_outs
from test_visium_hd import make_hd
from test_xenium import make_xenium

BINS, CELLS = "binned_outputs/square_016um", "segmented_outputs"


def cytassist(folder: Path) -> Path:
    """Write the output of an 11 mm slide: that of Visium, with the picture of the instrument."""
    outs = make_outs(folder)
    (outs / "spatial" / "cytassist_image.tiff").touch()
    return outs


def nothing(folder: Path) -> Path:
    folder.mkdir()
    return folder


def holding(*names: str) -> Callable[[Path], Path]:
    """Return what writes a folder of empty files, and of folders where a name ends in a slash."""

    def write(folder: Path) -> Path:
        for name in names:
            (folder / name).mkdir(parents=True) if name.endswith("/") else (nothing(folder) / name).touch()
        return folder

    return write


@pytest.mark.parametrize(
    ("names", "said"),
    [([], "is an empty folder"), (["a.fastq.gz", "beads.csv"], "(it holds a.fastq.gz, beads.csv")],
)
def test_a_folder_of_something_else_is_told_by_what_it_holds(tmp_path: Path, names: list[str], said: str) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(UserError) as error:
        open_spots(tmp_path)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("make", "gone", "library", "words"),
    [
        (make_outs, ["filtered_feature_bc_matrix.h5"], "", ["tissue_positions", "no count matrix"]),
        (
            make_outs,
            ["spatial"],
            "",
            ["matrix.h5 has no spot positions", "copy the folder spatial"],
        ),
        (cytassist, ["spatial/tissue_positions.csv"], "", ["filtered_feature_bc_matrix.h5 has no spot positions"]),
        (
            make_hd,
            [f"{BINS}/filtered_feature_bc_matrix.h5"],
            "",
            ["square_016um has tissue_positions", "no count"],
        ),
        (make_hd, [f"{BINS}/spatial"], "", ["square_016um/filtered_feature_bc_matrix.h5 has no spot positions"]),
        (make_hd, [BINS], "", ["(square_002um, square_008um, segmented_outputs); choose one"]),
        (
            make_hd,
            [f"{CELLS}/cell_segmentations.geojson"],
            "cells",
            ["filtered_feature_cell_matrix.h5 has no outlines of its cells beside it (cell_segmentations.geojson)"],
        ),
        (
            make_hd,
            [f"{CELLS}/filtered_feature_cell_matrix.h5", f"{CELLS}/raw_feature_cell_matrix.h5"],
            "cells",
            ["has cell_segmentations.geojson, but no count matrix (filtered_feature_cell_matrix.h5)"],
        ),
        (make_xenium, ["experiment.xenium"], "", ["(cells.parquet, cell_feature_matrix.h5), but no experiment.xenium"]),
        (
            make_hd,
            ["binned_outputs", CELLS],
            "",
            ["has parts of an output of Space Ranger (spatial/), but neither a count matrix"],
        ),
        (make_xenium, ["cell_feature_matrix.h5"], "", ["output of Xenium without cell_feature_matrix.h5"]),
        (make_xenium, ["cells.parquet"], "", ["output of Xenium without cells.parquet (or cells.csv.gz)"]),
        (make_store, ["tables"], "", ["images", "shapes", "but no table that annotates shapes"]),
        (make_store, ["shapes"], "", ["does not say where the rows of cell_circles lie"]),
        (
            holding("DSP-1001-A-A02.dcc"),
            [],
            "",
            ["is the output of GeoMx, which measures whole regions instead of spots, and is not read"],
        ),
        *(
            (holding(name), [], "", [f"is the output of {platform}, which is not read; write its cells or beads"])
            for name, platform in (
                ("S1_exprMat_file.csv", "CosMx"),
                ("cell_by_gene.csv", "MERSCOPE (MERFISH)"),
                ("202305.vzg", "MERSCOPE (MERFISH)"),
                ("images/micron_to_mosaic_pixel_transform.csv/", "MERSCOPE (MERFISH)"),
                ("S1.tissue.gef", "Stereo-seq"),
                ("S1_metadata_file.csv.gz", "CosMx"),
                ("flatFiles/", "CosMx"),
                ("Puck_200115_08_BeadLocationsForR.csv.gz", "Slide-seq"),
            )
        ),
    ],
)
def test_what_is_found_and_what_is_missing_is_said(
    tmp_path: Path, make: Callable[[Path], Path], gone: list[str], library: str, words: list[str]
) -> None:
    folder = make(tmp_path / ("S1.zarr" if make is make_store else "S1"))
    for name in gone:
        part = folder / name
        shutil.rmtree(part) if part.is_dir() else part.unlink()
    assert may_hold_spots(folder)  # so that the window takes it, and says what follows
    with pytest.raises(UserError) as error:
        open_spots(folder, library=library)
    said = str(error.value)
    assert all(word in said for word in words), said
    assert str(folder) in said
    assert "\n" not in said
