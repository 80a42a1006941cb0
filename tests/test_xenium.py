"""Cells of Xenium lie on the H&E image to the pixel, by the matrix of Xenium Explorer, and keep their counts."""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.retrieval.describe import describe
from napari_cmrcnet.sections.beside import slides_beside
from napari_cmrcnet.sections.section import open_section
from napari_cmrcnet.sections.spots import is_spots, open_spots
from napari_cmrcnet.slides.slide import open_slide
from test_spots import check_convention, write_10x_h5

PIXEL_UM = 0.2125  # of the morphology image, on every instrument
CELLS = ["aaaaadnb-1", "aaaaihnj-1", "aaabbaka-1", "aaabbjoo-1"]
CENTROIDS = np.array([[85.0, 42.5], [170.0, 42.5], [85.0, 127.5], [121.7, 93.2]])  # µm
GENES = ["EPCAM", "CD3E", "ERBB2", "NegControlProbe_00042", "NegControlCodeword_0500", "UnassignedCodeword_0001"]
TYPES = [*["Gene Expression"] * 3, "Negative Control Probe", "Negative Control Codeword", "Unassigned Codeword"]
COUNTS = np.array([[5, 0, 1, 1, 0, 0], [0, 7, 0, 0, 2, 0], [3, 3, 3, 0, 0, 1], [0, 0, 9, 0, 0, 0]])
# A turn by 90°, a scale of 1.29 and a shift, as in 10x Genomics' own example: H&E pixels to morphology pixels.
MATRIX = np.array([[0.0, 1.29, -20.0], [-1.29, 0.0, 900.0], [0, 0, 1]])


def on_the_image(um: np.ndarray) -> np.ndarray:
    """Solve the documented equation for the pixel of the H&E image, one cell at a time."""
    return np.array([np.linalg.solve(MATRIX, [*(position / PIXEL_UM), 1.0])[:2] for position in um])


def write_cells(folder: Path, kind: str = "parquet", names=CELLS) -> None:
    table = pd.DataFrame(
        {
            "cell_id": names,
            "x_centroid": CENTROIDS[:, 0],
            "y_centroid": CENTROIDS[:, 1],
            "transcript_counts": COUNTS[:, :3].sum(axis=1),
            "control_probe_counts": [1, 0, 0, 0],
            "total_counts": COUNTS.sum(axis=1),
            "cell_area": [50.0, 60.0, 70.0, 80.0],
            "nucleus_area": [20.0, np.nan, 25.0, 30.0],
            "segmentation_method": "Segmented by boundary stain",
        }
    )[::-1]  # in another order than the matrix
    if kind == "parquet":
        table.to_parquet(folder / "cells.parquet")
    else:
        with gzip.open(folder / "cells.csv.gz", "wt") as stream:
            table.to_csv(stream, index=False)


def make_xenium(folder: Path, kind: str = "parquet", alignment: str = "S1_he_imagealignment.csv") -> Path:
    folder.mkdir(parents=True)
    manifest = {"major_version": 5, "minor_version": 2, "pixel_size": PIXEL_UM, "num_cells": len(CELLS)}
    manifest |= {"analysis_sw_version": "xenium-3.1.0.4", "images": {"morphology_filepath": "morphology.ome.tif"}}
    (folder / "experiment.xenium").write_text(json.dumps(manifest))
    write_10x_h5(
        folder / "cell_feature_matrix.h5", GENES, COUNTS, CELLS, types=TYPES, software_version="xenium-3.1.0.4"
    )
    write_cells(folder, kind)
    if alignment:
        (folder / alignment).parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(folder / alignment, MATRIX, delimiter=",", fmt="%.17g")
    return folder


def write_image(path: Path) -> Path:
    image = np.full((800, 800, 3), 235, np.uint8)
    image[100:700, 50:750] = (180, 90, 150)
    tifffile.imwrite(path, image, tile=(256, 256), photometric="rgb", metadata={"axes": "YXS"})
    return path


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_cells_lie_on_the_image_with_their_counts(tmp_path: Path, kind: str) -> None:
    opened = open_spots(make_xenium(tmp_path / "xenium", kind))
    check_convention(opened)
    assert list(opened.obs_names) == CELLS
    assert list(opened.var_names) == GENES[:3]
    assert np.array_equal(opened.X.toarray(), COUNTS[:, :3])
    np.testing.assert_allclose(opened.obsm["spatial"], on_the_image(CENTROIDS), atol=1e-9)
    assert list(opened.obs["cell_area"]) == [50, 60, 70, 80]
    about = opened.uns["cmrcnet"]
    assert (about["source"], about["platform"], about["unit"]) == ("Xenium 3.1.0.4", "Xenium", "cell")
    assert about["given_mpp"] == pytest.approx(PIXEL_UM * 1.29)
    (library,) = opened.uns["spatial"].values()
    diameter = 2 * np.sqrt(65 / np.pi) / (PIXEL_UM * 1.29)  # of a circle with the median cell's area
    assert library["scalefactors"]["spot_diameter_fullres"] == pytest.approx(diameter)


def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    """10x Genomics' article converts the image's corner, (0, 0), to (807.98, 73097.66) pixels of Xenium."""
    folder = make_xenium(tmp_path / "xenium", alignment="")
    (folder / "he_imagealignment.csv").write_text(
        "0.011071028838929093,1.2895790134339569,807.9788953065927\n"
        "-1.2895790134339569,0.011071028838929093,73097.655174759\n0,0,1\n"
    )
    table = pd.read_parquet(folder / "cells.parquet").set_index("cell_id")
    table.loc[CELLS[0], ["x_centroid", "y_centroid"]] = np.array([807.9788953065927, 73097.655174759]) * PIXEL_UM
    table.reset_index().to_parquet(folder / "cells.parquet")
    np.testing.assert_allclose(open_spots(folder).obsm["spatial"][0], [0, 0], atol=1e-6)


@pytest.mark.parametrize("names", [[1, 2, 3, 4], [name.encode() for name in CELLS]])
def test_cells_of_older_versions_are_numbers_or_bytes(tmp_path: Path, names: list) -> None:
    folder = make_xenium(tmp_path / "xenium")
    write_cells(folder, names=names)
    if names[0] == 1:
        write_10x_h5(folder / "cell_feature_matrix.h5", GENES, COUNTS, ["1", "2", "3", "4"], types=TYPES)
    np.testing.assert_allclose(open_spots(folder).obsm["spatial"], on_the_image(CENTROIDS), atol=1e-9)


@pytest.mark.parametrize(
    "alignment",
    ["matrix.csv", "S1_he_image_matrix.csv", "S1_alignment_files/matrix.csv", "../S1_he_imagealignment.csv"],
)
def test_the_alignment_is_found_where_people_keep_it(tmp_path: Path, alignment: str) -> None:
    folder = make_xenium(tmp_path / "run" / "outs", alignment=alignment)
    (folder / "S1_if_imagealignment.csv").write_text("1,0,0\n0,1,0\n0,0,1\n")  # of another stain
    for path in (folder, tmp_path / "run", folder / "experiment.xenium", folder / "cells.parquet"):
        assert is_spots(path)
        np.testing.assert_allclose(open_spots(path).obsm["spatial"], on_the_image(CENTROIDS), atol=1e-9)


def test_keypoints_place_cells_where_there_is_no_matrix(tmp_path: Path) -> None:
    folder = make_xenium(tmp_path / "xenium", alignment="")
    points = np.array([[100, 100], [600, 120], [300, 500], [620, 580]])
    fixed = points @ MATRIX[:2, :2].T + MATRIX[:2, 2]
    table = pd.DataFrame(np.hstack([fixed, points]), columns=["fixedX", "fixedY", "alignmentX", "alignmentY"])
    table.to_csv(folder / "keypoints.csv", index=False)
    opened = open_spots(folder)
    np.testing.assert_allclose(opened.obsm["spatial"], on_the_image(CENTROIDS), atol=1e-6)
    assert any("4 keypoints of keypoints.csv: they fit to 0.0" in note for note in opened.uns["cmrcnet"]["notes"])
    table[:2].to_csv(folder / "keypoints.csv", index=False)
    with pytest.raises(UserError, match="is not an alignment of an H&E image"):
        open_spots(folder)


def test_one_of_several_alignments_is_given(tmp_path: Path) -> None:
    folder = make_xenium(tmp_path / "xenium")
    (folder / "S2_he_imagealignment.csv").write_text("1,0,0\n0,1,0\n0,0,1\n")
    with pytest.raises(UserError, match=r"several alignments of an H&E image \(S1_he_imagealignment.csv, S2_he"):
        open_spots(folder)
    opened = open_spots(folder / "S2_he_imagealignment.csv")
    np.testing.assert_allclose(opened.obsm["spatial"], CENTROIDS / PIXEL_UM)


def test_the_image_is_found_beside_xeniums_own(tmp_path: Path) -> None:
    folder = make_xenium(tmp_path / "run" / "outs")
    write_image(folder / "morphology.ome.tif")
    inside, beside = folder / "S1_he_image.ome.tif", tmp_path / "run" / "S1_he_image.ome.tif"
    for image in (beside, inside):
        write_image(image)
        assert next(slides_beside(folder, open_spots(folder))) == image


def test_cells_are_a_section_of_their_image(tmp_path: Path) -> None:
    folder = make_xenium(tmp_path / "xenium")
    image = write_image(folder / "S1_he_image.ome.tif")
    with (section := open_section(image, folder)).slide:
        assert section.mpp == pytest.approx(PIXEL_UM * 1.29)
        assert section.pixel_size.source == "Xenium's pixel size and S1_he_imagealignment.csv"
    facts = describe(folder).facts
    assert (facts["source"], facts["spots"], facts["a spot is"]) == ("Xenium 3.1.0.4", "4", "a segmented cell")
    with pytest.raises(UserError, match="is an output of Xenium; give it as the spots, and the H&E image as the slide"):
        open_slide(folder)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "S1_he_imagealignment.csv").unlink(), r"no \*imagealignment.csv in it or beside it"),
        (lambda folder: (folder / "cells.parquet").unlink(), r"without cells.parquet \(or cells.csv.gz\)"),
        (lambda folder: (folder / "cell_feature_matrix.h5").unlink(), "without cell_feature_matrix.h5"),
        (lambda folder: (folder / "experiment.xenium").write_text("{}"), "has no pixel_size"),
        (lambda folder: (folder / "experiment.xenium").write_text("{"), "is not readable JSON"),
        (lambda folder: (folder / "cells.parquet").write_bytes(b"PAR1"), "is not a table of cells"),
        (lambda folder: write_cells(folder, names=["a", "b", "c", "d"]), "no position for 4 cells"),
        (lambda folder: write_cells(folder, names=["a", "a", "c", "d"]), "has a cell twice"),
        (lambda folder: (folder / "S1_he_imagealignment.csv").write_text("1,0\n0,1\n"), "is not an alignment"),
        (lambda folder: (folder / "S1_he_imagealignment.csv").write_text("0,0,1\n" * 3), "is not an alignment"),
        (
            lambda folder: (folder / "S1_he_imagealignment.csv").write_text("1,0,0\n0,nan,0\n0,0,1\n"),
            "is not an alignment",
        ),
        (lambda folder: (folder / "S1_he_imagealignment.csv").write_bytes(b"\0\xff"), "is not an alignment"),
    ],
)
def test_what_is_missing_or_damaged_is_named(tmp_path: Path, damage, said: str) -> None:
    folder = make_xenium(tmp_path / "xenium")
    damage(folder)
    with pytest.raises(UserError, match=said) as error:
        open_spots(folder)
    assert "\n" not in str(error.value)


def test_zarr_in_place_of_the_matrix_is_named(tmp_path: Path) -> None:
    folder = make_xenium(tmp_path / "xenium")
    (folder / "cell_feature_matrix.h5").rename(folder / "cell_feature_matrix.zarr.zip")
    with pytest.raises(UserError, match=r"without cell_feature_matrix.h5 .*\*.zarr.zip is not read.*copy it there"):
        open_spots(folder)


def test_a_part_of_an_output_is_named(tmp_path: Path) -> None:
    (tmp_path / "transcripts.parquet").touch()
    with pytest.raises(UserError, match=r"parts of Xenium's output \(transcripts.parquet\), but no experiment"):
        open_spots(tmp_path)


def test_a_table_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    """A dictionary repeats one long name a million times in a few bytes."""
    folder = make_xenium(tmp_path / "xenium")
    name = pd.Series(["a" * 2_000_000] * 1000, dtype="category")
    pd.DataFrame({"cell_id": name, "x_centroid": 0.0, "y_centroid": 0.0}).to_parquet(folder / "cells.parquet")
    with pytest.raises(UserError, match="holds a name of 2,000,000 letters"):
        open_spots(folder)
    rows = 3_000_000
    pd.DataFrame({"cell_id": np.zeros(rows, int), "x_centroid": 0.0, "y_centroid": 0.0}).to_parquet(
        folder / "cells.parquet"
    )
    with pytest.raises(UserError, match="claims 3,000,000 rows"):
        open_spots(folder)
