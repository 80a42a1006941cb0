"""The genes of a file are what their ids say: controls, missing names, reporters, repeats, and counts kept in raw."""

import gzip
import warnings
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.sections.gene_table import clean_genes
from napari_cmrcnet.sections.spots import open_spots
from test_spots import make_outs, make_st, saved

IDS = [f"ENSG{number:011d}" for number in range(6)]


def table(names: list, counts=None, **columns: list) -> AnnData:
    """Spots of 3 rows; column j holds 10^j, so that a sum tells which columns are in it."""
    counts = np.tile(10 ** np.arange(len(names)), (3, 1)) if counts is None else counts
    var = pd.DataFrame(columns, index=pd.Index(names, dtype=object))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of repeated names
        return AnnData(sparse.csr_matrix(counts), var=var, obsm={"spatial": np.eye(3, 2) * 100})


def cleaned(names: list, **columns: list) -> tuple[list[str], list[str], list[int], str]:
    spots, notes = clean_genes(table(names, **columns))
    ids = list(spots.var["gene_ids"]) if "gene_ids" in spots.var else []
    return list(spots.var_names), ids, spots.X.toarray()[0].tolist(), " ".join(notes)


CONTROLS = [
    "NegControlProbe_00042", "NegControlCodeword_0500", "NegPrb3", "NegProbe-5", "Negative", "Negative12", "BLANK_0069",
    "Blank-7", "UnassignedCodeword_0001", "DeprecatedCodeword_0321", "antisense_ULK3", "Intergenic_Region_1",
    "SystemControl27", "FalseCode9",
]  # fmt: skip


@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_is_no_gene(control):
    names, _, counts, notes = cleaned(["CD3E", control, "EPCAM"])
    assert (names, counts) == (["CD3E", "EPCAM"], [1, 100])
    assert "Dropped 1 of 3 names: controls" in notes


def test_genes_that_look_a_little_like_controls_stay():
    genes = ["BLNK", "NEGR1", "NELFA", "NegativeX", "FALEC", "blank"]
    assert cleaned(genes)[0] == genes


def test_controls_are_found_among_symbols_and_do_not_hide_that_names_are_ids():
    names = [*IDS[:2], "NegControlProbe_1", "BLANK_1", "BLANK_2", IDS[2]]
    found = cleaned(names, gene_name=["A", "B", "", "", "", "antisense_ULK3"])
    assert found[:3] == (["A", "B"], IDS[:2], [1, 10])
    assert "Dropped 4 of 6 names: controls" in found[3]


def test_other_features_than_gene_expression_are_dropped_where_the_file_tells_them():
    types = ["Gene Expression", "Antibody Capture", "Gene Expression"]
    names, _, counts, notes = cleaned(["CD3E", "CD3", "EPCAM"], feature_types=types)
    assert (names, counts) == (["CD3E", "EPCAM"], [1, 100])
    assert "Dropped 1 of 3 names: controls" in notes
    biotypes = ["protein_coding", "lncRNA", "protein_coding"]
    assert cleaned(["CD3E", "XIST", "EPCAM"], feature_type=biotypes)[0] == ["CD3E", "XIST", "EPCAM"]


@pytest.mark.parametrize("missing", [None, np.nan, "", "nan", "None", "NaN", "<NA>", "nan-1"])
def test_a_gene_without_a_symbol_is_called_by_its_id(missing):
    names, ids, counts, notes = cleaned(IDS[:4], gene_name=["A", missing, missing, "B"])
    assert (names, ids, counts) == (["A", IDS[1], IDS[2], "B"], IDS[:4], [1, 10, 100, 1000])
    assert "without a symbol: 2" in notes


@pytest.mark.parametrize("missing", ["", "nan", "nan-1"])
def test_a_gene_without_symbol_in_the_index_is_called_by_its_id_and_one_without_both_is_dropped(missing):
    names, ids, counts, notes = cleaned(["A", missing, missing, "B"], gene_ids=[IDS[0], IDS[1], None, ""])
    assert (names, ids, counts) == (["A", IDS[1], "B"], [IDS[0], IDS[1], ""], [1, 10, 1000])
    assert "Dropped 1 of 4 columns: neither a name nor an id" in notes


@pytest.mark.parametrize("column", ["feature_name", "gene_name", "gene_symbols", "SYMBOL"])
def test_a_reporter_among_the_ids_keeps_its_name_and_the_others_get_symbols(column):
    names, ids, *_ = cleaned(["GFP", *IDS[1:5]], **{column: ["GFP", "A", "B", "C", "D"]})
    assert (names, ids) == (["GFP", "A", "B", "C", "D"], ["", *IDS[1:5]])
    beside = cleaned(["GFP", *IDS[1:5]], gene_ids=["GFP", *IDS[1:5]], **{column: ["x", "A", "B", "C", "D"]})
    assert beside[:2] == (names, ids)


def test_one_id_among_symbols_does_not_bring_in_the_column_of_symbols():
    names, ids, *_ = cleaned(["A", "B", IDS[0]], gene_name=["x", "y", "z"])
    assert (names, ids) == (["A", "B", IDS[0]], [])


def test_ids_alone_are_names_and_ids_with_their_versions():
    versioned = [f"{name}.3" for name in IDS[:3]]
    assert cleaned(versioned)[:2] == (versioned, versioned)


def test_a_repeated_symbol_stays_with_the_lowest_id_in_whatever_order():
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        ids = [f"{IDS[place]}.{4 + place}" for place in order]
        names, stored, counts, notes = cleaned(["TBCE"] * 3, gene_ids=ids)
        assert dict(zip(order, names, strict=True)) == {0: "TBCE", 1: f"TBCE_{IDS[1]}", 2: f"TBCE_{IDS[2]}"}
        assert (stored, counts) == (ids, [1, 10, 100])
        assert "share a symbol with another gene: 2" in notes


def test_columns_of_one_gene_are_added_up():
    names, ids, counts, notes = cleaned(["A", "B", "A", "A"], gene_ids=[f"{IDS[0]}.1", IDS[1], f"{IDS[0]}.2", ""])
    assert (names, ids, counts) == (["A", "B"], [f"{IDS[0]}.1", IDS[1]], [1101, 10])
    assert "Added the counts of 2 of 4 columns to the first column of the same gene." in notes
    assert cleaned(["A", "B", "A"])[0::2] == (["A", "B"], [101, 10])
    assert cleaned(["A", "B", "A"], gene_ids=["", "", IDS[0]])[1] == [IDS[0], ""]


def test_clean_genes_stay_as_they_are():
    once, _ = clean_genes(table(["TBCE", "TBCE", ""], gene_ids=IDS[:3]))
    again, notes = clean_genes(once)
    assert (list(again.var_names), notes) == (["TBCE", f"TBCE_{IDS[1]}", IDS[2]], [])
    assert (again.X != once.X).nnz == 0


def test_a_file_of_controls_alone_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"a\.h5ad holds no gene: its 2 names"):
        open_spots(saved(table(["BLANK_1", "Blank-2"]), tmp_path / "a.h5ad"))


@pytest.mark.parametrize("where", ["X", "layer", "log"])
def test_of_the_matrices_with_counts_the_one_of_most_genes_is_taken(tmp_path, where):
    spots = table(["A", "B", "C"], gene_ids=IDS[:3])
    full = spots.X.toarray()
    spots.raw = spots
    spots = spots[:, ["B"]].copy()
    if where == "layer":
        spots.layers["counts"] = spots.X.copy()
    if where != "X":
        spots.X = np.log1p(spots.X.toarray())
    opened = open_spots(saved(spots, tmp_path / "a.h5ad"))
    assert list(opened.var_names) == ["A", "B", "C"]
    assert np.array_equal(opened.X.toarray(), full)
    assert "Counts were taken from raw, which has 3 genes; X has 1 of them." in opened.uns["cmrcnet"]["notes"]


def test_counts_of_a_subset_are_taken_where_raw_holds_none(tmp_path):
    spots = table(["A", "B", "C"])
    log = spots.copy()
    log.X = log.X.astype(float).log1p()
    spots = spots[:, ["B"]].copy()
    spots.raw = log
    opened = open_spots(saved(spots, tmp_path / "a.h5ad"))
    assert list(opened.var_names) == ["B"]
    assert not any("raw" in note for note in opened.uns["cmrcnet"]["notes"])


def test_antibodies_of_a_space_ranger_folder_are_dropped_and_counted(tmp_path):
    folder = make_outs(tmp_path / "outs")
    with h5py.File(folder / "filtered_feature_bc_matrix.h5", "a") as file:
        del file["matrix/features/feature_type"]
        file["matrix/features/feature_type"] = np.array(["Gene Expression", "Antibody Capture", "Gene Expression"], "S")
    opened = open_spots(folder)
    assert list(opened.var_names) == ["CD3E", "TBCE"]
    assert any("Dropped 1 of 3 names: controls" in note for note in opened.uns["cmrcnet"]["notes"])


def test_repeated_names_of_a_table_are_added_up(tmp_path: Path):
    folder = make_st(tmp_path / "st1")
    with gzip.open(folder / "B1.tsv.gz", "wt") as stream:
        stream.write("\tCD3E\tEPCAM\tCD3E\t\n10x21\t1\t0\t4\t9\n10x22\t0\t200\t0\t9\n11x21\t5\t7\t1\t9\n")
    opened = open_spots(folder)
    assert list(opened.var_names) == ["CD3E", "EPCAM"]
    assert np.array_equal(opened.X.toarray(), [[5, 0], [0, 200], [6, 7]])


@pytest.mark.parametrize("column", ["ensembl_id", "ENSEMBL", "gene_ids-0", "feature_id", "Accession"])
def test_ids_are_found_by_what_they_are_whatever_their_column_is_called(column):
    names, ids, *_ = cleaned(
        ["A", "B", "GFP"], length=[1, 2, 3], biotype=["x", "y", "z"], **{column: [*IDS[:2], "GFP"]}
    )
    assert (names, ids) == (["A", "B", "GFP"], [*IDS[:2], ""])


def test_a_column_of_few_ids_is_no_column_of_ids():
    assert cleaned(["A", "B", "C"], note=[IDS[0], "long", "short"])[1] == []


@pytest.mark.parametrize(
    "column", ["hgnc_symbol", "GeneSymbol", "Gene Name", "external_gene_name", "name", "gene_symbols-0"]
)
def test_symbols_are_found_as_other_tools_call_their_column(column):
    assert cleaned(IDS[:2], **{column: ["A", "B"]})[:2] == (["A", "B"], IDS[:2])


def test_names_that_are_row_numbers_give_way_to_symbols():
    names, ids, *_ = cleaned(["0", "1", "2"], gene_symbol=["A", "B", "C"], ensembl=IDS[:3])
    assert (names, ids) == (["A", "B", "C"], IDS[:3])
    assert cleaned(["0", "1"])[0] == ["0", "1"]
