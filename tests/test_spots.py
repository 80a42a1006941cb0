"""Spots from every source come in one convention, and what is wrong with a source is said in one sentence."""

import gzip
import json
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import io, sparse

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.sections.formats.origin import spot_diameter
from napari_cmrcnet.sections.pixel_size import sizes_known, spots_lattice
from napari_cmrcnet.sections.spots import open_spots

BARCODES = ["AAAC-1", "AAAG-1", "AAAT-1", "AACA-1"]
GENES = ["CD3E", "EPCAM", "TBCE"]
COUNTS = np.array([[1, 0, 300], [0, 150, 2], [70, 80, 0], [3, 0, 0]])
XY = np.array([[100.5, 200.0], [150.5, 286.6], [200.5, 200.0], [250.5, 286.6]])
ARRAY = np.array([[0, 0], [1, 1], [0, 2], [1, 3]])  # row, column


def make_spots(matrix=COUNTS, **uns) -> AnnData:
    obs = pd.DataFrame({"in_tissue": 1, "array_row": ARRAY[:, 0], "array_col": ARRAY[:, 1]}, index=BARCODES)
    var = pd.DataFrame({"gene_ids": ["ENSG1", "ENSG2", "ENSG3"]}, index=GENES)
    entry = {"scalefactors": {"spot_diameter_fullres": 65.0, "tissue_hires_scalef": 0.2}, "metadata": {}}
    return AnnData(X=matrix, obs=obs, var=var, obsm={"spatial": XY.copy()}, uns={"spatial": {"lib": entry}, **uns})


def saved(spots: AnnData, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    spots.write_h5ad(path)
    return path


def write_10x_h5(path: Path, genes=GENES, counts=COUNTS, barcodes=BARCODES, types=None, **attributes) -> None:
    matrix = sparse.csr_matrix(counts)
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
        group = file.create_group("matrix")
        group["barcodes"] = np.array(barcodes, dtype="S")
        group["data"], group["indices"], group["indptr"] = matrix.data, matrix.indices, matrix.indptr
        group["shape"] = np.array(matrix.shape[::-1], dtype=np.int32)
        features = group.create_group("features")
        features["id"] = np.array([f"ENSG{number}" for number in range(len(genes))], dtype="S")
        features["name"] = np.array(genes, dtype="S")
        features["feature_type"] = np.array(types or ["Gene Expression"] * len(genes), dtype="S")
        features["genome"] = np.array(["GRCh38"] * len(genes), dtype="S")


def position_table(in_tissue=(1, 1, 1, 1)) -> pd.DataFrame:
    """Positions of the array, in another order than the matrix and with one spot more."""
    table = pd.DataFrame(
        {
            "barcode": BARCODES,
            "in_tissue": in_tissue,
            "array_row": ARRAY[:, 0],
            "array_col": ARRAY[:, 1],
            "pxl_row_in_fullres": XY[:, 1],
            "pxl_col_in_fullres": XY[:, 0],
        }
    )
    extra = pd.DataFrame([["TTTT-1", 0, 5, 5, 9.0, 9.0]], columns=table.columns)
    return pd.concat([extra, table[::-1]], ignore_index=True)


def make_outs(folder: Path, positions="tissue_positions.csv", header=True, matrix="filtered", **scalefactors) -> Path:
    (folder / "spatial").mkdir(parents=True)
    table, path = position_table(), folder / "spatial" / positions
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, header=header)
    factors = {"tissue_hires_scalef": 0.2, "spot_diameter_fullres": 65.0, **scalefactors}
    (folder / "spatial" / "scalefactors_json.json").write_text(json.dumps(factors))
    write_10x_h5(folder / f"{matrix}_feature_bc_matrix.h5")
    return folder


def make_st(folder: Path, selected=(1, 1, 1)) -> Path:
    folder.mkdir(parents=True)
    with gzip.open(folder / "B1.tsv.gz", "wt") as stream:
        stream.write("\tCD3E\tEPCAM\n10x21\t1\t0\n10x22\t0\t200\n11x21\t5\t7\n")
    rows = ["x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected"]
    places = [(11, 21, 2800.5, 5800.0), (10, 21, 2500.0, 5801.5), (10, 22, 2501.0, 6090.0)]
    rows += [f"{x}\t{y}\t{x}.02\t{y}.01\t{px}\t{py}\t{s}" for (x, y, px, py), s in zip(places, selected, strict=True)]
    (folder / "B1_selection.tsv").write_text("\n".join(rows) + "\n")
    return folder


def check_convention(spots: AnnData) -> None:
    assert sparse.isspmatrix_csr(spots.X)
    assert spots.X.dtype == np.int32
    assert spots.obsm["spatial"].dtype == np.float64
    assert spots.obs["in_tissue"].dtype == bool
    assert spots.var_names.is_unique
    assert spots.obs_names.is_unique
    (library,) = spots.uns["spatial"].values()
    assert library["scalefactors"]["spot_diameter_fullres"] > 0
    assert {"source", "path", "platform", "pitch_um", "given_mpp", "notes", "synthetic"} <= set(spots.uns["cmrcnet"])


@pytest.mark.parametrize("kind", ["integers", "floats", "CSR", "CSC", "layer", "raw"])
def test_counts_are_found_wherever_an_h5ad_keeps_them(tmp_path, kind):
    matrices = {"floats": COUNTS.astype(float), "CSR": sparse.csr_matrix(COUNTS), "CSC": sparse.csc_matrix(COUNTS)}
    spots = make_spots(matrices.get(kind, COUNTS))
    if kind == "layer":
        spots.layers["counts"] = sparse.csr_matrix(COUNTS)
        spots.X = np.log1p(COUNTS)
    if kind == "raw":
        spots.raw = spots
        spots = spots[:, :2].copy()
        spots.X = np.log1p(spots.X)
    opened = open_spots(saved(spots, tmp_path / "a.h5ad"))
    check_convention(opened)
    assert np.array_equal(opened.X.toarray(), COUNTS)
    assert list(opened.var_names) == GENES
    assert list(opened.var["gene_ids"]) == ["ENSG1", "ENSG2", "ENSG3"]
    assert np.array_equal(opened.obsm["spatial"], XY)


def test_positions_alone_are_enough(tmp_path):
    spots = make_spots()
    bare = AnnData(obs=spots.obs, obsm=spots.obsm)
    opened = open_spots(saved(bare, tmp_path / "a.h5ad"))
    assert opened.X is None
    assert opened.n_obs == 4


def test_ensembl_names_give_way_to_symbols(tmp_path):
    spots = make_spots()
    spots.var = pd.DataFrame({"feature_name": GENES}, index=[f"ENSG0000000{n}" for n in range(3)])
    opened = open_spots(saved(spots, tmp_path / "a.h5ad"))
    assert list(opened.var_names) == GENES
    assert opened.var["gene_ids"].iloc[0] == "ENSG00000000"


def test_what_is_dropped_or_changed_is_counted_in_the_notes(tmp_path):
    spots = make_spots()
    spots.obs["in_tissue"] = [1, 0, 1, 1]
    spots.var_names = ["CD3E", "EPCAM", "CD3E"]
    path = saved(spots, tmp_path / "a.h5ad")
    opened = open_spots(path, min_umi=100)
    assert list(opened.obs_names) == [BARCODES[0], BARCODES[2]]
    assert list(opened.var_names) == ["CD3E", "EPCAM", "CD3E_ENSG3"]
    notes = " ".join(opened.uns["cmrcnet"]["notes"])
    for said in (
        "share a symbol with another gene: 1; their ids were added (CD3E_ENSG3)",
        "Dropped 1 of 4 spots: outside the tissue",
        "than 100 counts",
    ):
        assert said in notes
    assert open_spots(path).n_obs == 3


def test_the_platform_is_known_by_description_or_by_its_hexagonal_array(tmp_path):
    spots = make_spots()
    assert open_spots(saved(spots, tmp_path / "a.h5ad")).uns["cmrcnet"]["platform"] == "Visium"
    spots.uns["spatial"]["lib"]["metadata"] = {
        "chemistry_description": "Spatial Transcriptomics 1k array",
        "pixel_size_um": 0.7,
        "synthetic": True,
    }
    about = open_spots(saved(spots, tmp_path / "b.h5ad")).uns["cmrcnet"]
    assert (about["platform"], about["pitch_um"], about["synthetic"]) == ("ST", 200.0, True)


def test_foreign_odds_and_ends_do_no_harm(tmp_path):
    spots = make_spots()
    spots.obs[["array_row", "array_col"]] = "?"
    spots.uns["spatial"]["lib"] = {"scalefactors": {"tissue_hires_scalef": "n/a"}, "metadata": {"pixel_size_um": "n/a"}}
    spots.obsm["X_pca"], spots.var["chosen"] = np.ones((4, 2)), True
    opened = open_spots(saved(spots, tmp_path / "a.h5ad"))
    check_convention(opened)
    assert opened.uns["cmrcnet"]["platform"] == ""
    assert "X_pca" in opened.obsm
    assert opened.var["chosen"].all()


@pytest.mark.parametrize("size", [-65.0, 0.0, np.nan, np.inf])
def test_a_size_that_cannot_be_is_not_known(tmp_path: Path, size: float) -> None:
    plain, odd = make_spots(), make_spots()
    plain.uns["spatial"]["lib"] = {"scalefactors": {}, "metadata": {}}
    factors = {"spot_diameter_fullres": size, "tissue_hires_scalef": size, "microns_per_pixel": size}
    odd.uns["spatial"]["lib"] = {"scalefactors": factors, "metadata": {"spot_pitch_um": size, "pixel_size_um": size}}
    expected, opened = (open_spots(saved(spots, tmp_path / "a.h5ad")) for spots in (plain, odd))
    check_convention(opened)
    assert spot_diameter(opened) == spot_diameter(expected)
    assert opened.uns["cmrcnet"] == expected.uns["cmrcnet"]
    assert list(sizes_known(opened, None, None)) == list(sizes_known(expected, None, None))
    outs = open_spots(make_outs(tmp_path / "outs", spot_diameter_fullres=size, microns_per_pixel=size))
    check_convention(outs)
    assert outs.uns["cmrcnet"]["given_mpp"] == 0


def test_opened_spots_survive_saving_and_opening(tmp_path):
    first = open_spots(saved(make_spots(), tmp_path / "a.h5ad"))
    again = open_spots(saved(first, tmp_path / "b.h5ad"))
    assert np.array_equal(first.X.toarray(), again.X.toarray())
    assert again.uns["cmrcnet"]["pitch_um"] == 100


def test_hest_keeps_all_spots_and_takes_its_own_pixel_size(tmp_path):
    spots = make_spots(COUNTS.astype(np.float32))
    spots.obs["in_tissue"] = [True, False, True, True]
    path = saved(spots, tmp_path / "st" / "TENX95.h5ad")
    (tmp_path / "metadata").mkdir()
    about = {
        "st_technology": "Xenium",
        "pixel_size_um_estimated": 0.2125,
        "pixel_size_um_embedded": 1.0,
        "inter_spot_dist": 100.0,
    }
    (tmp_path / "metadata" / "TENX95.json").write_text(json.dumps(about))
    opened = open_spots(path)
    check_convention(opened)
    assert opened.n_obs == 4
    found = opened.uns["cmrcnet"]
    assert (found["source"], found["platform"], found["pitch_um"], found["given_mpp"]) == (
        "HEST",
        "Xenium",
        100,
        0.2125,
    )
    assert any("in_tissue" in note or "outside the tissue" in note for note in found["notes"])
    (tmp_path / "metadata" / "TENX95.json").write_text("{")
    with pytest.raises(UserError, match=r"TENX95\.json"):
        open_spots(path)


def test_hest_is_known_without_its_metadata(tmp_path):
    spots = make_spots()
    spots.uns["spatial"] = {"ST": {"images": {"downscaled_fullres": np.zeros((4, 4, 3), np.uint8)}, "scalefactors": {}}}
    spots.obs["in_tissue"] = False
    opened = open_spots(saved(spots, tmp_path / "adata" / "NCBI785.h5ad"))
    assert opened.n_obs == 4
    assert opened.uns["cmrcnet"]["source"] == "HEST"


@pytest.mark.parametrize(
    ("positions", "header", "source"),
    [
        ("tissue_positions_list.csv", False, "Space Ranger 1"),
        ("tissue_positions_list.csv", True, "Space Ranger 1"),
        ("tissue_positions.csv", True, "Space Ranger 2"),
        ("tissue_positions.parquet", True, "Space Ranger 2"),
    ],
)
def test_every_positions_file_of_space_ranger(tmp_path, positions, header, source):
    make_outs(tmp_path / "outs", positions, header)
    for path in (tmp_path, tmp_path / "outs"):
        opened = open_spots(path)
        check_convention(opened)
        assert list(opened.obs_names) == BARCODES
        assert np.array_equal(opened.X.toarray(), COUNTS)
        assert np.array_equal(opened.obsm["spatial"], XY)
        assert np.array_equal(opened.obs[["array_row", "array_col"]], ARRAY)
        assert opened.uns["cmrcnet"]["source"] == source


def test_visium_hd_says_its_own_pixel_size_and_bin(tmp_path):
    folder = tmp_path / "outs" / "binned_outputs" / "square_016um"
    make_outs(folder, "tissue_positions.parquet", microns_per_pixel=0.27, bin_size_um=16.0)
    about = open_spots(folder).uns["cmrcnet"]
    assert (about["platform"], about["pitch_um"], about["given_mpp"]) == ("Visium HD", 16, 0.27)
    assert not any("16 µm" in note for note in about["notes"])
    make_outs(folder.with_name("square_008um"), "tissue_positions.parquet", microns_per_pixel=0.27, bin_size_um=8.0)
    notes = open_spots(tmp_path / "outs").uns["cmrcnet"]["notes"]
    assert any("bins of 16 µm of Visium HD were read" in note for note in notes)


def test_the_raw_matrix_is_filtered_by_in_tissue(tmp_path):
    folder = make_outs(tmp_path / "outs", matrix="raw")
    position_table((1, 0, 1, 1)).to_csv(folder / "spatial" / "tissue_positions.csv", index=False)
    opened = open_spots(folder)
    assert list(opened.obs_names) == [BARCODES[0], *BARCODES[2:]]
    assert "Dropped 1 of 4 spots: outside the tissue." in opened.uns["cmrcnet"]["notes"]


def test_a_matrix_folder_is_as_good_as_its_h5(tmp_path):
    folder = make_outs(tmp_path / "outs")
    (folder / "filtered_feature_bc_matrix.h5").unlink()
    matrix = folder / "filtered_feature_bc_matrix"
    matrix.mkdir()
    with gzip.open(matrix / "matrix.mtx.gz", "wb") as stream:
        io.mmwrite(stream, sparse.coo_matrix(COUNTS.T))
    with gzip.open(matrix / "barcodes.tsv.gz", "wt") as stream:
        stream.write("\n".join(BARCODES) + "\n")
    with gzip.open(matrix / "features.tsv.gz", "wt") as stream:
        stream.writelines(f"ENSG{n}\t{gene}\tGene Expression\n" for n, gene in enumerate(["CD3E", "EPCAM", "CD3E"]))
    opened = open_spots(folder)
    check_convention(opened)
    assert np.array_equal(opened.X.toarray(), COUNTS)
    assert list(opened.var_names) == ["CD3E", "EPCAM", "CD3E_ENSG2"]
    assert list(opened.var["gene_ids"]) == ["ENSG0", "ENSG1", "ENSG2"]


def test_counts_of_first_generation_st_can_be_written(tmp_path):
    spots = open_spots(make_st(tmp_path / "st") / "B1.tsv.gz")
    assert spots.var_names.name is None
    spots.raw = spots
    spots.write_h5ad(tmp_path / "B1.h5ad")
    assert list(anndata.read_h5ad(tmp_path / "B1.h5ad").raw.var_names) == ["CD3E", "EPCAM"]


@pytest.mark.parametrize("given", [".", "B1.tsv.gz", "B1_selection.tsv"])
def test_first_generation_st_joins_counts_and_selection_by_name(tmp_path, given):
    folder = make_st(tmp_path / "st1")
    opened = open_spots(folder / given)
    check_convention(opened)
    assert list(opened.obs_names) == ["10x21", "10x22", "11x21"]
    assert np.array_equal(opened.X.toarray(), [[1, 0], [0, 200], [5, 7]])
    assert np.array_equal(opened.obsm["spatial"], [[2500.0, 5801.5], [2501.0, 6090.0], [2800.5, 5800.0]])
    assert list(opened.obs["array_col"]) == [10, 10, 11]
    assert opened.uns["cmrcnet"]["pitch_um"] == 200


def test_spots_that_were_not_selected_are_dropped(tmp_path):
    opened = open_spots(make_st(tmp_path / "st1", selected=(1, 0, 1)))
    assert list(opened.obs_names) == ["10x22", "11x21"]
    assert any("Dropped 1 of 3 spots" in note for note in opened.uns["cmrcnet"]["notes"])


def with_obsm(value):
    def change(spots: AnnData) -> None:
        del spots.obsm["spatial"]
        if value is not None:
            spots.obsm["spatial"] = value

    return change


def with_matrix(matrix):
    def change(spots: AnnData) -> None:
        spots.X = matrix

    return change


def two_libraries(spots: AnnData) -> None:
    spots.uns["spatial"]["other"] = {}


def out_of_tissue(spots: AnnData) -> None:
    spots.obs["in_tissue"] = 0


LOG = np.log1p(COUNTS / COUNTS.sum(axis=1, keepdims=True) * 1e4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (with_obsm(None), r"no obsm\['spatial'\]"),
        (with_obsm(np.zeros((4, 3))), r"shape \(4, 3\)"),
        (with_obsm(np.array([[1, np.nan], [1, 2], [3, 4], [5, 6]])), "1 of 4 spots without a finite position"),
        (with_obsm(np.array([[5, 5], [5, 5], [5, 5], [9, 9]])), "Most spots of .* share their position with another"),
        (with_matrix(-COUNTS), "negative values"),
        (with_matrix(COUNTS + 0.5), "not whole"),
        (with_matrix(np.where(COUNTS, COUNTS, np.nan)), "missing or infinite"),
        (with_matrix(COUNTS * 1e10), "too large"),
        (with_matrix(LOG), "log-normalised"),
        (with_matrix(sparse.csr_matrix(LOG)), "log-normalised"),
        (two_libraries, "several sections"),
        (out_of_tissue, "no spot in tissue"),
    ],
)
def test_a_wrong_h5ad_is_refused_in_one_sentence_that_names_it(tmp_path, change, said):
    spots = make_spots(COUNTS.astype(float))
    change(spots)
    path = saved(spots, tmp_path / "wrong.h5ad")
    with pytest.raises(UserError, match=said) as error:
        open_spots(path)
    assert "wrong.h5ad" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_h5ad_without_spots_is_refused(tmp_path):
    with pytest.raises(UserError, match="no spots"):
        open_spots(saved(make_spots()[:0].copy(), tmp_path / "a.h5ad"))
    with pytest.raises(UserError, match="no spot with 1000 counts or more"):
        open_spots(saved(make_spots(), tmp_path / "a.h5ad"), min_umi=1000)


def test_files_that_are_no_spots_are_refused(tmp_path):
    empty, text, table = tmp_path / "empty.h5ad", tmp_path / "text.h5ad", tmp_path / "counts.tsv"
    empty.touch()
    text.write_text("not HDF5")
    table.write_text("\tCD3E\n1x1\t3\n")
    (tmp_path / "image.png").touch()
    write_10x_h5(tmp_path / "filtered_feature_bc_matrix.h5")
    for path, said in [
        (tmp_path / "none.h5ad", "does not exist"),
        (empty, "is empty"),
        (text, "not an HDF5 file"),
        (table, "counts_selection.tsv"),
        (tmp_path / "image.png", "not a file of spots"),
        (tmp_path / "filtered_feature_bc_matrix.h5", "no spot positions beside it"),
    ]:
        with pytest.raises(UserError, match=said) as error:
            open_spots(path)
        assert path.name in str(error.value)


def test_an_h5ad_that_reaches_into_other_files_is_refused(tmp_path):
    path = saved(make_spots(), tmp_path / "a.h5ad")
    with h5py.File(path, "a") as file:
        file["X_other"] = h5py.ExternalLink("/etc/hostname", "/")
    with pytest.raises(UserError, match="links to other places"):
        open_spots(path)


def test_a_truncated_file_is_refused(tmp_path):
    path = saved(make_spots(), tmp_path / "a.h5ad")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError, match=r"a\.h5ad"):
        open_spots(path)


def test_a_wrong_space_ranger_folder_is_refused(tmp_path):
    folder = make_outs(tmp_path / "outs")
    matrix, positions = folder / "filtered_feature_bc_matrix.h5", folder / "spatial" / "tissue_positions.csv"
    write_10x_h5(matrix, barcodes=["GGGG-1", *BARCODES[1:]])
    with pytest.raises(UserError, match="do not match: 1 of 4 barcodes"):
        open_spots(folder)
    matrix.write_bytes(b"text")
    with pytest.raises(UserError, match="not an HDF5 file"):
        open_spots(folder)
    with h5py.File(matrix, "w") as file:
        file["other"] = 1
    with pytest.raises(UserError, match="not a readable count matrix"):
        open_spots(folder)
    positions.write_text("barcode,in_tissue\nAAAC-1,1\n")
    with pytest.raises(UserError, match=r"tissue_positions\.csv is not a table"):
        open_spots(folder)
    matrix.unlink()
    with pytest.raises(UserError, match="no count matrix"):
        open_spots(folder)


def test_wrong_st_files_are_refused(tmp_path):
    folder = make_st(tmp_path / "st1")
    selection = folder / "B1_selection.tsv"
    good = selection.read_text()
    selection.write_text(good.replace("10\t2", "30\t2").replace("11\t2", "31\t2"))
    with pytest.raises(UserError, match="no spot is in both"):
        open_spots(folder)
    selection.write_text("a\tb\n1\t2\n")
    with pytest.raises(UserError, match="not a table of spots"):
        open_spots(folder)
    selection.write_text(good)
    (folder / "B1.tsv.gz").write_bytes(b"no gzip")
    with pytest.raises(UserError, match="not a readable table"):
        open_spots(folder)
    (folder / "B2_selection.tsv").write_text(good)
    with pytest.raises(UserError, match="several sections"):
        open_spots(folder)


def test_raw_files_of_a_real_section_give_the_spots_of_its_h5ad(real_data):
    ours = open_spots(real_data / "her2st" / "raw")
    reference = anndata.read_h5ad(real_data / "her2st" / "C2.h5ad")
    converted = open_spots(real_data / "her2st" / "C2.h5ad")
    for spots in (ours, converted):
        check_convention(spots)
        assert list(spots.obs_names) == list(reference.obs_names)
        assert list(spots.var_names) == list(reference.var_names)
        assert (spots.X != reference.X).nnz == 0
        assert np.array_equal(spots.obsm["spatial"], reference.obsm["spatial"])
        assert np.array_equal(spots.obs[["array_row", "array_col"]], reference.obs[["array_row", "array_col"]])
        assert spots.uns["cmrcnet"]["platform"] == "ST"


def test_a_real_space_ranger_folder(real_data):
    spots = open_spots(real_data / "spaceranger" / "outs")
    check_convention(spots)
    assert spots.shape == (2898, 19465)
    assert spots.obs["in_tissue"].all()
    assert spots.uns["cmrcnet"]["source"] == "Space Ranger 3.0.0"
    assert any("share a symbol with another gene: 11;" in note for note in spots.uns["cmrcnet"]["notes"])
    assert spots.var_names.str.contains("_ENSMUSG").sum() == 11


def test_columns_stored_as_categories_are_read_as_what_they_are(tmp_path):
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"array_row": pd.Categorical(["0", "0", "1", "1"]), "array_col": pd.Categorical(list("abcd"))})
    var = pd.DataFrame({"gene_ids": pd.Categorical(["ENSG1", "ENSG1", None])}, index=["A", "B", "C"])
    counts = rng.integers(50, 90, (4, 3)).astype(np.int32)
    table = AnnData(counts, obs.set_index(obs.index.astype(str)), var, obsm={"spatial": rng.uniform(0, 90, (4, 2))})
    table.write_h5ad(tmp_path / "s.h5ad")
    spots = open_spots(tmp_path / "s.h5ad")
    assert list(spots.var["gene_ids"]) == ["ENSG1", "ENSG1", ""]
    assert spots.obs["array_row"].tolist() == [0, 0, 1, 1]
    assert "array_col" not in spots.obs


def _joined(label: str, **settings: Any) -> AnnData:
    """Two sections of one array, A and B, joined as anndata does it."""
    rows, columns = np.divmod(np.arange(36), 6)
    parts = {}
    for name in "AB":
        obs = pd.DataFrame({"array_row": rows, "array_col": columns}, index=[f"S{i}" for i in range(36)])
        counts = np.random.default_rng(ord(name)).poisson(30, (36, 5)).astype(np.float32)
        parts[name] = AnnData(counts, obs, obsm={"spatial": np.stack([columns * 100.0, rows * 100.0], axis=1)})
        parts[name].uns["spatial"] = {name: {"scalefactors": {"spot_diameter_fullres": 50.0}, "images": {}}}
    return anndata.concat(parts, label=label, index_unique="-", **settings)


@pytest.mark.parametrize("label", ["library_id", "sample", "anything"])
def test_sections_joined_into_one_file_are_named(tmp_path: Path, label: str) -> None:
    _joined(label).write_h5ad(tmp_path / "joined.h5ad")
    with pytest.raises(UserError, match=rf"joined\.h5ad holds several sections \({label} A, B\)"):
        open_spots(tmp_path / "joined.h5ad")


def test_one_section_cut_out_of_such_a_file_is_read(tmp_path: Path) -> None:
    both = _joined("sample", uns_merge="unique")
    both[both.obs["sample"] == "B"].copy().write_h5ad(tmp_path / "cut.h5ad")
    spots = open_spots(tmp_path / "cut.h5ad")
    assert (spots.n_obs, list(spots.uns["spatial"])) == (36, ["B"])


def test_a_flag_beside_the_library_is_no_section(tmp_path: Path) -> None:
    both = _joined("sample", uns_merge="unique")
    one = both[both.obs["sample"] == "A"].copy()
    one.uns["spatial"] = {"is_single": True, "A": one.uns["spatial"]["A"]}
    one.write_h5ad(tmp_path / "cellxgene.h5ad")
    assert list(open_spots(tmp_path / "cellxgene.h5ad").uns["spatial"]) == ["A"]


@pytest.mark.parametrize("label", ["library_id", "sample", "anything"])
@pytest.mark.parametrize("merge", [None, "unique", "first"])
def test_one_of_several_sections_is_read_by_its_name(tmp_path: Path, label: str, merge: Any) -> None:
    both = _joined(label, uns_merge=merge)
    path = saved(both, tmp_path / "joined.h5ad")
    for name in "AB":
        spots = open_spots(path, library=name)
        part = both[both.obs[label] == name]
        assert list(spots.obs_names) == list(part.obs_names)
        assert np.array_equal(spots.X.toarray(), part.X)
        assert list(spots.uns["spatial"]) == [name]
        own = name in both.uns.get("spatial", {})  # the size of another section's spots is not taken
        diameter = spots.uns["spatial"][name]["scalefactors"]["spot_diameter_fullres"]
        assert diameter == pytest.approx(50 if own else 0.5 * spots_lattice(spots).pitch)
        assert spots.uns["cmrcnet"]["library"] == name
    with pytest.raises(UserError, match="holds no section C, but A, B; choose another"):
        open_spots(path, library="C")


def test_a_section_is_not_chosen_where_nothing_says_what_is_of_it(tmp_path: Path) -> None:
    both = _joined("sample", uns_merge="unique")
    one = saved(both[both.obs["sample"] == "A"].copy(), tmp_path / "one.h5ad")
    assert open_spots(one, library="A").n_obs == 36
    both.obs["tissue"] = ["tumour", "stroma"] * 36
    with pytest.raises(UserError, match="holds no section tumour, but A, B"):
        open_spots(saved(both, tmp_path / "both.h5ad"), library="tumour")
    del both.obs["sample"]
    with pytest.raises(UserError, match="does not say which of its spots are of A"):
        open_spots(saved(both, tmp_path / "both.h5ad"), library="A")
    with pytest.raises(UserError, match="holds one section only"):
        open_spots(make_st(tmp_path / "st"), library="A")


@pytest.mark.parametrize(
    "columns", [["x", "y"], ["pxl_col_in_fullres", "pxl_row_in_fullres"], ["pixel_x", "pixel_y"], ["a", "b"]]
)
@pytest.mark.parametrize("turned", [False, True])
def test_positions_in_a_table_are_told_apart_by_the_names_of_its_columns(tmp_path, columns, turned) -> None:
    spots = make_spots()
    table = pd.DataFrame(XY, columns=columns, index=spots.obs_names)
    named = columns != ["a", "b"]
    spots.obsm["spatial"] = table[columns[::-1]].assign(other=1) if turned and named else table
    opened = open_spots(saved(spots, tmp_path / "a.h5ad"))
    check_convention(opened)
    assert np.array_equal(opened.obsm["spatial"], XY)


def test_positions_elsewhere_in_a_file_are_found(tmp_path: Path) -> None:
    spots = make_spots()
    spots.obsm["X_spatial"] = spots.obsm.pop("spatial")
    assert np.array_equal(open_spots(saved(spots, tmp_path / "a.h5ad")).obsm["spatial"], XY)
    del spots.obsm["X_spatial"]
    spots.obs["pxl_row_in_fullres"], spots.obs["pxl_col_in_fullres"] = XY[:, 1], XY[:, 0]
    assert np.array_equal(open_spots(saved(spots, tmp_path / "b.h5ad")).obsm["spatial"], XY)
    spots.obs["pxl_row_in_fullres"] = "?"
    with pytest.raises(UserError, match="does not hold numbers"):
        open_spots(saved(spots, tmp_path / "c.h5ad"))


@pytest.mark.parametrize("printed", [True, False])
def test_first_generation_st_named_by_where_a_spot_lies(tmp_path: Path, printed: bool) -> None:
    folder = make_st(tmp_path / "st1")
    with gzip.open(folder / "B1.tsv.gz", "wt") as stream:
        stream.write("\tCD3E\tEPCAM\n10.02x21.01\t1\t0\n10.02x22.010\t0\t200\n11.02x21.01\t5\t7\n")
    if not printed:  # the real places stand in x and y
        table = pd.read_csv(folder / "B1_selection.tsv", sep="\t")
        table = table.drop(columns=["x", "y"]).rename(columns={"new_x": "x", "new_y": "y"})
        table.to_csv(folder / "B1_selection.tsv", sep="\t", index=False)
    opened = open_spots(folder)
    assert list(opened.obs_names) == ["10.02x21.01", "10.02x22.010", "11.02x21.01"]
    assert np.array_equal(opened.obsm["spatial"], [[2500.0, 5801.5], [2501.0, 6090.0], [2800.5, 5800.0]])
    assert list(opened.obs["array_col"]) == [10, 10, 11]
    assert list(opened.obs["array_row"]) == [21, 22, 21]


def test_many_sections_of_a_file_are_not_all_named(tmp_path: Path) -> None:
    spots = make_spots()
    spots.uns["spatial"] = {f"S{number:03}": {} for number in range(200)}
    with pytest.raises(UserError, match=r"\(S000, .*, S011 and 188 more\)") as several:
        open_spots(saved(spots, tmp_path / "a.h5ad"))
    assert len(several.value.choices) == 200


RECORDS = np.zeros(4, dtype=[("name", "S9"), ("value", "f8")])


def stored(name: str, value: Any, kind: str = "") -> Any:
    """Put something in a place of an h5ad: an array, a group (`dict`), or nothing."""

    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        if value is not None:
            part = file.create_group(name) if value is dict else file.create_dataset(name, data=value)
            if kind:
                version = "0.2.0" if kind in ("array", "rec-array") else "0.1.0"
                part.attrs.update({"encoding-type": kind, "encoding-version": version})

    return change


def marked(name: str, attribute: str, value: Any) -> Any:
    """Change what an h5ad says that a part is; None takes it away."""

    def change(file: h5py.File) -> None:
        del file[name].attrs[attribute]
        if value is not None:
            file[name].attrs[attribute] = value

    return change


def nested(depth: int) -> Any:
    def change(file: h5py.File) -> None:
        group = file["uns/spatial/lib"]
        for _ in range(depth):
            group = group.create_group("a")

    return change


READ_ALL_THE_SAME = {
    "no obs": stored("obs", None),
    "no uns": stored("uns", None),
    "obs with nothing in it": stored("obs", dict),
    "names that are numbers": stored("obs/_index", np.arange(4), "array"),
    "names that are not numbers": stored("obs/_index", np.full(4, np.nan), "array"),
    "names that are all one": stored("obs/_index", np.array([b"a"] * 4), "array"),
    "names that are empty": stored("obs/_index", np.array([b""] * 4), "array"),
    "a column that holds columns": stored("obs/array_row", dict, "dict"),
    "a column of records": stored("obs/array_row", RECORDS, "rec-array"),
    "a column of complex numbers": stored("obs/array_row", np.full(4, 1j), "array"),
    "a column beyond all numbers": stored("obs/array_row", np.full(4, np.inf), "array"),
    "uns as an array": stored("uns", np.zeros(3)),
    "uns of a kind that nobody knows": stored("uns/of_a_tool", RECORDS, "of another tool"),
    "spatial as text": stored("uns/spatial", "text"),
    "spatial as an array": stored("uns/spatial", np.zeros(3), "array"),
    "spatial with nothing in it": stored("uns/spatial", dict, "dict"),
    "a library that is a number": stored("uns/spatial/lib", 3),
    "a library of records": stored("uns/spatial/lib", RECORDS),
    "a library that is null": stored("uns/spatial/lib", h5py.Empty("f4"), "null"),
    "factors that are a list": stored("uns/spatial/lib/scalefactors", np.zeros(3), "array"),
    "diameters": stored("uns/spatial/lib/scalefactors/spot_diameter_fullres", np.array([1.0, 2.0])),
    "a diameter that is no number": stored("uns/spatial/lib/scalefactors/spot_diameter_fullres", np.nan),
    "a diameter in parts": stored("uns/spatial/lib/scalefactors/spot_diameter_fullres", dict, "dict"),
    "metadata that are text": stored("uns/spatial/lib/metadata", "text"),
    "nested": nested(60),
    "ours, but text": stored("uns/cmrcnet", "text"),
}


@pytest.mark.parametrize("change", READ_ALL_THE_SAME.values(), ids=READ_ALL_THE_SAME)
def test_odd_obs_and_uns_do_no_harm(tmp_path: Path, change: Any) -> None:
    path = saved(make_spots(), tmp_path / "a.h5ad")
    with h5py.File(path, "r+") as file:
        change(file)
    spots = open_spots(path)
    assert spots.n_obs == 4
    assert spots.obs_names.is_unique
    np.testing.assert_array_equal(spots.obsm["spatial"], XY)
    np.testing.assert_array_equal(spots.X.toarray(), COUNTS)


REFUSED = {
    "obs as records": stored("obs", RECORDS),
    "obs as text": stored("obs", "text"),
    "obs of a kind that nobody knows": marked("obs", "encoding-type", "of another tool"),
    "obs without names": marked("obs", "_index", None),
    "names that are not there": marked("obs", "_index", "nowhere"),
    "fewer names than spots": stored("obs/_index", np.arange(3), "array"),
    "names in a square": stored("obs/_index", np.zeros((4, 4)), "array"),
    "a column that is missing": stored("obs/array_row", None),
    "a column that is too short": stored("obs/array_row", np.zeros(3), "array"),
    "a column that is a table": stored("obs/array_row", np.zeros((4, 2)), "array"),
    "uns as a number": stored("uns", 3),
    "nested without end": nested(3000),
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_obs_and_uns_that_cannot_be_read_end_in_one_sentence(tmp_path: Path, change: Any) -> None:
    path = saved(make_spots(), tmp_path / "a.h5ad")
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(UserError, match=r"a\.h5ad is (not a readable h5ad file|damaged) .*; (write|copy)") as refused:
        open_spots(path)
    assert "\n" not in str(refused.value)
