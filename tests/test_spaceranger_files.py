"""Any file of a Space Ranger output leads to the whole of it, however 10x Genomics, GEO and people name and pack it."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import io, sparse

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.retrieval.describe import describe
from napari_cmrcnet.sections.spots import is_spots, open_spots
from napari_cmrcnet.slides.slide import open_slide
from test_spots import BARCODES, COUNTS, XY, check_convention, make_outs, position_table, write_10x_h5


def is_read(path: Path) -> bool:
    opened = open_spots(path)
    check_convention(opened)
    return np.array_equal(opened.X.toarray(), COUNTS) and np.array_equal(opened.obsm["spatial"], XY)


def write_mtx(folder: Path, prefix: str = "", *, packed: bool = True, columns: int = 3, features: str = "features"):
    folder.mkdir(exist_ok=True)
    lists = [[f"ENSG{n}", gene, "Gene Expression"][:columns] for n, gene in enumerate(["CD3E", "EPCAM", "TBCE"])]
    io.mmwrite(folder / "plain", sparse.coo_matrix(COUNTS.T), field="integer", symmetry="general")
    content = {
        "matrix.mtx": (folder / "plain.mtx").read_bytes(),
        "barcodes.tsv": "\n".join(BARCODES).encode(),
        f"{features}.tsv": "\n".join("\t".join(line) for line in lists).encode(),
    }
    (folder / "plain.mtx").unlink()
    for name, data in content.items():
        (folder / f"{prefix}{name}{'.gz' * packed}").write_bytes(gzip.compress(data) if packed else data)


def pack(path: Path) -> None:
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


@pytest.fixture
def outs(tmp_path: Path) -> Path:
    """An output with both forms of its matrix, a picture, and what else lies in it."""
    folder = make_outs(tmp_path / "run" / "outs", "tissue_positions_list.csv", header=False)
    write_mtx(folder / "filtered_feature_bc_matrix")
    (folder / "spatial" / "tissue_hires_image.png").write_bytes(b"\x89PNG")
    (folder / "web_summary.html").touch()
    return folder


@pytest.mark.parametrize(
    "given",
    [
        ".",
        "..",
        "spatial",
        "spatial/tissue_positions_list.csv",
        "spatial/scalefactors_json.json",
        "spatial/tissue_hires_image.png",
        "filtered_feature_bc_matrix.h5",
        "filtered_feature_bc_matrix",
        "filtered_feature_bc_matrix/matrix.mtx.gz",
        "filtered_feature_bc_matrix/features.tsv.gz",
        "web_summary.html",
    ],
)
def test_any_file_or_folder_of_an_output_may_be_given(outs: Path, given: str, monkeypatch) -> None:
    assert is_read(outs / given)
    monkeypatch.chdir(outs / given if (outs / given).is_dir() else (outs / given).parent)
    assert is_read(Path() if (outs / given).is_dir() else Path(Path(given).name))


def test_what_is_given_itself_is_taken_before_what_it_stands_beside(outs: Path) -> None:
    write_10x_h5(outs / "raw_feature_bc_matrix.h5", counts=COUNTS * 2)
    assert is_read(outs)
    assert np.array_equal(open_spots(outs / "raw_feature_bc_matrix.h5").X.toarray(), COUNTS * 2)


def test_a_picture_of_the_tissue_is_a_slide_where_nobody_asks_for_spots(outs: Path) -> None:
    assert not is_spots(outs / "spatial" / "tissue_hires_image.png")
    assert is_spots(outs / "spatial" / "scalefactors_json.json")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(("columns", "features"), [(3, "features"), (2, "genes"), (2, "features")])
def test_every_form_of_the_matrix_folder(outs: Path, packed: bool, columns: int, features: str) -> None:
    (outs / "filtered_feature_bc_matrix.h5").unlink()
    shutil.rmtree(outs / "filtered_feature_bc_matrix")
    write_mtx(outs / "filtered_feature_bc_matrix", packed=packed, columns=columns, features=features)
    assert is_read(outs)
    assert list(open_spots(outs).var["gene_ids"]) == ["ENSG0", "ENSG1", "ENSG2"]


def test_packed_positions_and_marks_of_byte_order(outs: Path) -> None:
    positions, factors = outs / "spatial" / "tissue_positions_list.csv", outs / "spatial" / "scalefactors_json.json"
    for path in (positions, factors):
        path.write_text(path.read_text(), "utf-8-sig")
    assert is_read(outs)
    pack(positions)
    pack(factors)
    assert is_read(outs)
    assert open_spots(outs).uns["spatial"]["Space Ranger"]["scalefactors"]["spot_diameter_fullres"] == 65


def of_geo(folder: Path, sample: str, counts: np.ndarray = COUNTS) -> None:
    folder.mkdir(exist_ok=True)
    write_10x_h5(folder / f"{sample}_filtered_feature_bc_matrix.h5", counts=counts)
    position_table().to_csv(folder / f"{sample}_spatial_tissue_positions_list.csv.gz", index=False, header=False)
    factors = {"spot_diameter_fullres": float(len(sample))}
    (folder / f"{sample}_scalefactors_json.json.gz").write_bytes(gzip.compress(json.dumps(factors).encode()))


def test_files_of_geo_belong_together_by_their_sample(tmp_path: Path) -> None:
    of_geo(tmp_path, "GSM1_A")
    assert is_read(tmp_path)
    of_geo(tmp_path, "GSM12_B", COUNTS * 2)
    with pytest.raises(UserError, match=r"several sections \(GSM12_B, GSM1_A\); give the matrix file of one"):
        open_spots(tmp_path)
    given = "filtered_feature_bc_matrix.h5", "spatial_tissue_positions_list.csv.gz", "scalefactors_json.json.gz"
    for name in given:
        for sample, factor in (("GSM1_A", 1), ("GSM12_B", 2)):
            opened = open_spots(tmp_path / f"{sample}_{name}")
            assert np.array_equal(opened.X.toarray(), COUNTS * factor)
            assert opened.uns["spatial"]["Space Ranger"]["scalefactors"]["spot_diameter_fullres"] == len(sample)


def test_a_matrix_market_of_geo_beside_its_folder_of_pictures(tmp_path: Path) -> None:
    write_mtx(tmp_path, "GSM1_A_")
    spatial = tmp_path / "GSM1_A_spatial"
    spatial.mkdir()
    position_table().to_csv(spatial / "tissue_positions.csv", index=False)
    for path in (tmp_path, spatial, tmp_path / "GSM1_A_matrix.mtx.gz", tmp_path / "GSM1_A_barcodes.tsv.gz"):
        assert is_read(path)


def test_a_prefix_of_10x_before_the_matrix_alone(outs: Path) -> None:
    (outs / "filtered_feature_bc_matrix.h5").rename(outs / "Visium_Human_Breast_filtered_feature_bc_matrix.h5")
    shutil.rmtree(outs / "filtered_feature_bc_matrix")
    assert is_read(outs)
    assert is_read(outs / "spatial" / "tissue_positions_list.csv")


def test_files_of_different_samples_are_not_put_together(tmp_path: Path) -> None:
    write_10x_h5(tmp_path / "GSM1_A_filtered_feature_bc_matrix.h5")
    position_table().to_csv(tmp_path / "GSM2_B_tissue_positions.csv", index=False)
    with pytest.raises(UserError, match="are of different samples"):
        open_spots(tmp_path)


def test_the_bins_of_visium_hd_are_named_where_none_is_usual(tmp_path: Path) -> None:
    bins = tmp_path / "outs" / "binned_outputs"
    make_outs(bins / "square_008um", "tissue_positions.parquet", bin_size_um=8.0)
    assert open_spots(tmp_path).uns["cmrcnet"]["pitch_um"] == 8
    make_outs(bins / "square_002um", "tissue_positions.parquet", bin_size_um=2.0)
    for path in (tmp_path, tmp_path / "outs", bins):
        with pytest.raises(
            UserError, match=r"several bins of Visium HD, or its cells \(square_002um, square_008um\); c"
        ):
            open_spots(path)
    assert open_spots(bins / "square_002um").uns["cmrcnet"]["pitch_um"] == 2
    make_outs(bins / "square_016um", "tissue_positions.parquet", bin_size_um=16.0)
    assert open_spots(bins).uns["cmrcnet"]["pitch_um"] == 16


def test_what_is_missing_is_named(outs: Path) -> None:
    positions, matrix = outs / "spatial" / "tissue_positions_list.csv", outs / "filtered_feature_bc_matrix"
    (outs / "filtered_feature_bc_matrix.h5").unlink()
    (matrix / "features.tsv.gz").unlink()
    with pytest.raises(UserError, match=r"matrix\.mtx\.gz needs features\.tsv \(or \.gz\) beside it"):
        open_spots(outs)
    positions.unlink()
    with pytest.raises(UserError, match=r"no spot positions beside it.*; copy the folder spatial"):
        open_spots(matrix)
    (outs / "GSM1_spatial.tar.gz").touch()
    with pytest.raises(UserError, match=r"unpack GSM1_spatial\.tar\.gz there"):
        open_spots(outs)
    position_table().to_csv(positions, index=False)
    shutil.rmtree(matrix)
    with pytest.raises(UserError, match="but no count matrix"):
        open_spots(positions)


HEAD = "%%MatrixMarket matrix coordinate integer general\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{HEAD}3 4 1\n9 1 5\n", "entries outside the matrix"),
        (f"{HEAD}3 4 1\n1 -7 5\n", "entries outside the matrix"),
        (f"{HEAD}3 4 1\n0 0 5\n", "entries outside the matrix"),
        (f"{HEAD}3 4 900000000000\n1 1 5\n", "has 1 of 900,000,000,000 entries"),
        (f"{HEAD}3 4 2\n1 1 5\n", "has 1 of 2 entries"),
        (f"{HEAD}300000000000 4 1\n1 1 5\n", "300,000,000,000 features and 4 barcodes"),
        (f"{HEAD}3 4 1\n1 1 -5\n", "negative"),
        (f"{HEAD}3 4 1\n1 1\n", "or that are not numbers"),
        (f"{HEAD}3 4 2\n1 1 5\x03\x00\x00\x00 5\n1 2 3\n", "not a readable count matrix"),  # ended the process
        (HEAD, "ends before the line of its sizes; copy it again"),
        ("%%MatrixMarket matrix array integer general\n3 4\n1\n", "not a sparse matrix"),
        ("", "not a sparse matrix"),
    ],
)
def test_a_hostile_matrix_market_is_refused(outs: Path, text: str, said: str) -> None:
    (outs / "filtered_feature_bc_matrix" / "matrix.mtx.gz").write_bytes(gzip.compress(text.encode()))
    with pytest.raises(UserError, match=said) as error:
        open_spots(outs / "filtered_feature_bc_matrix")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"transcripts.parquet": ""}, "has parts of Xenium's output .*but no experiment.xenium"),
        ({"S1_exprMat_file.csv": ""}, "is the output of CosMx"),
        (
            {"cell_by_gene.csv": ""},
            r"is the output of MERSCOPE \(MERFISH\), which is not read; write its cells or beads as h5ad",
        ),
        ({"DSP-1001-A-A02.dcc": ""}, "is the output of GeoMx, which measures whole regions instead of spots"),
        ({"zarr.json": '{"attributes": {"encoding-type": "anndata"}}'}, "is an AnnData zarr store"),
        ({"zarr.json": "[", "a.txt": ""}, "is neither a DICOM slide nor an output of Space Ranger"),
        ({}, "is an empty folder"),
    ],
)
def test_a_folder_that_is_not_read_says_what_it_is(tmp_path: Path, files: dict[str, str], said: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.raises(UserError, match=said):
        describe(folder)
    with pytest.raises(UserError, match=said):
        open_slide(folder)


def test_a_file_of_a_platform_that_is_not_read_says_so(tmp_path: Path) -> None:
    for name, said in (("S1_exprMat_file.csv.gz", "is of CosMx, which is not read"), ("A.dcc", "is of GeoMx, which")):
        (tmp_path / name).touch()
        with pytest.raises(UserError, match=said):
            open_spots(tmp_path / name)


def test_folders_of_sections_are_named(tmp_path: Path) -> None:
    for name in ("A", "B"):
        make_outs(tmp_path / "all" / name / "outs")
    for see in (open_spots, describe, open_slide):
        with pytest.raises(UserError, match=r"outputs of Space Ranger in its folders \(A, B\); give the folder of one"):
            see(tmp_path / "all")
    with pytest.raises(UserError, match="is an output of Space Ranger; give it as the spots"):
        open_slide(tmp_path / "all" / "A")
