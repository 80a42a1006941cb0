"""The bank gives the mean expression of neighbours, quickly, by any of a gene's names, and reads back as it was."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.retrieval.averages import Neighbourhoods, neighbour_weights, weighted_means
from napari_cmrcnet.retrieval.bank import Bank
from napari_cmrcnet.retrieval.build_bank import build_bank
from napari_cmrcnet.retrieval.search import unit_length
from napari_cmrcnet.retrieval.stored_columns import StoredColumns


def make_bank(spots: int = 40, genes: int = 6, density: float = 0.4, seed: int = 0) -> Bank:
    rng = np.random.default_rng(seed)
    expression = sparse.random(spots, genes, density, "csc", np.float32, random_state=rng)
    obs = pd.DataFrame({"section": ["A"] * (spots // 2) + ["B"] * (spots - spots // 2), "patient": "P"})
    obs["array_row"], obs["array_col"] = np.arange(spots, dtype=np.int32), np.int32(-1)
    obs["x"], obs["y"] = rng.random(spots), rng.random(spots)
    names = tuple(["TP53", "ERBB2", "RP11-34P13.7"] + [f"G{i}" for i in range(genes)])[:genes]
    ids = tuple(["ENSG00000141510.18", "ENSG00000141736", ""] + [""] * genes)[:genes]
    return Bank(unit_length(rng.normal(size=(spots, 16))), expression, names, ids, obs)


@pytest.fixture
def bank() -> Bank:
    return make_bank()


def neighbours_of(bank: Bank, n: int, k: int) -> np.ndarray:
    return np.random.default_rng(1).integers(len(bank), size=(n, k)).astype(np.int32)


def test_mean_expression_is_the_mean(bank: Bank) -> None:
    neighbours = neighbours_of(bank, 30, 5)
    dense = bank.expression.toarray().astype(np.float64)
    expected = np.array([[dense[rows, gene].mean() for gene in (3, 0)] for rows in neighbours])
    found = bank.mean_expression(neighbours, ["G0", "TP53"])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_gene_is_the_same_alone_and_among_others(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    neighbours = neighbours_of(bank, 30, 7)
    together = bank.mean_expression(neighbours, bank.genes)
    monkeypatch.setattr("napari_cmrcnet.retrieval.bank.COLUMN_BYTES", 8 * len(bank) * 2)
    np.testing.assert_array_equal(bank.mean_expression(neighbours, bank.genes), together)
    for column, gene in enumerate(bank.genes):
        np.testing.assert_array_equal(bank.mean_expression(neighbours, [gene])[:, 0], together[:, column])


@pytest.mark.parametrize("filled", [0.0, 0.05, 0.5])
def test_mean_expression_is_the_plain_mean_in_every_bit(filled: float) -> None:
    bank = make_bank(2_000, 20, filled, seed=4)
    neighbours = neighbours_of(bank, 500, 37)
    expected = bank.expression.toarray().astype(np.float64)[neighbours].mean(axis=1).astype(np.float32)
    np.testing.assert_array_equal(bank.mean_expression(neighbours, bank.genes), expected)


def test_neighbourhoods_are_averaged_over_as_neighbours_are(bank: Bank) -> None:
    neighbours = neighbours_of(bank, 30, 5)
    ready = Neighbourhoods.of(neighbours, len(bank))
    assert np.shares_memory(ready.sums.indices, neighbours)
    for average in (bank.mean_expression, bank.expression_spread):
        np.testing.assert_array_equal(average(ready, bank.genes), average(neighbours, bank.genes))
        np.testing.assert_array_equal(average(ready[4:9], ["G0"]), average(neighbours[4:9], ["G0"]))


def test_spread_is_the_standard_deviation(bank: Bank) -> None:
    neighbours = neighbours_of(bank, 30, 5)
    dense = bank.expression.toarray().astype(np.float64)
    expected = dense[neighbours].std(axis=1)
    np.testing.assert_allclose(bank.expression_spread(neighbours, ["ERBB2"])[:, 0], expected[:, 1], atol=1e-6)
    np.testing.assert_allclose(bank.expression_spread(neighbours, bank.genes), expected, atol=1e-6)


def test_neighbours_can_be_weighted(bank: Bank) -> None:
    neighbours = neighbours_of(bank, 30, 5)
    similarity = np.sort(np.random.default_rng(2).random((30, 5)).astype(np.float32))[:, ::-1]
    weights = neighbour_weights(similarity, 0.1)
    expected = np.exp(similarity.astype(np.float64) / 0.1)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(weights, expected, rtol=1e-5)
    ready = Neighbourhoods.of(neighbours, len(bank), weights)
    values = bank.expression.toarray().astype(np.float64)[neighbours]  # (n, k, genes)
    mean = np.einsum("nk,nkg->ng", expected, values)
    spread = np.sqrt(np.einsum("nk,nkg->ng", expected, np.square(values - mean[:, None])))
    for part in (slice(None), slice(4, 9)):
        some = ready if part == slice(None) else ready[part]
        np.testing.assert_allclose(bank.mean_expression(some, bank.genes), mean[part], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(bank.expression_spread(some, bank.genes), spread[part], rtol=1e-3, atol=1e-4)
    counted = np.bincount(neighbours.ravel(), expected.ravel(), minlength=len(bank))
    np.testing.assert_allclose(ready.retrieved(), counted, rtol=1e-5)


def test_what_all_neighbours_have_alike_has_no_spread_however_they_are_weighted(bank: Bank) -> None:
    alike = replace(bank, expression=sparse.csc_matrix(np.full(bank.expression.shape, 3.7, np.float32)))
    neighbours = neighbours_of(bank, 30, 20)
    weights = neighbour_weights(np.random.default_rng(3).random((30, 20)).astype(np.float32), 0.1)
    assert alike.expression_spread(Neighbourhoods.of(neighbours, len(bank), weights), ["TP53"]).max() < 1e-6


def test_one_gene_takes_milliseconds() -> None:
    bank = make_bank(45_000, 20, 0.1)
    neighbours = neighbours_of(bank, 4096, 50)
    seconds = []
    for _ in range(5):
        start = time.process_time()
        bank.mean_expression(neighbours, ["ERBB2"])
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.02


@pytest.mark.parametrize("name", ["TP53", "ENSG00000141510", "ENSG00000141510.18", "ENSG00000141510.3"])
def test_genes_are_found_by_symbol_and_ensembl_id(bank: Bank, name: str) -> None:
    assert bank.names.column(name) == 0


def test_a_symbol_with_a_point_is_not_cut(bank: Bank) -> None:
    assert bank.names.column("RP11-34P13.7") == 2
    assert bank.names.column("RP11-34P13") is None


def test_an_unknown_gene_is_named_with_similar_ones(bank: Bank) -> None:
    with pytest.raises(UserError, match="no gene tp35; names similar to tp35 are TP53"):
        bank.mean_expression(neighbours_of(bank, 1, 1), ["G0", "tp35"])


def test_reads_back_as_it_was(bank: Bank, tmp_path: Path) -> None:
    bank.save(tmp_path / "bank.h5ad")
    again = Bank.load(tmp_path / "bank.h5ad")
    np.testing.assert_array_equal(again.embeddings, bank.embeddings)
    np.testing.assert_array_equal(again.expression.toarray(), bank.expression.toarray())
    assert (again.genes, again.gene_ids) == (bank.genes, bank.gene_ids)
    pd.testing.assert_frame_equal(again.obs, bank.obs, check_dtype=False)


def test_expected_accuracy_reads_back(bank: Bank, tmp_path: Path) -> None:
    bank.save(tmp_path / "bank.h5ad")
    assert Bank.load(tmp_path / "bank.h5ad").expected is None
    expected = np.array([[0.4, 0.3], [np.nan, np.nan], [-0.1, np.nan], [1, 1], [-1, 0], [0, 0]], np.float32)
    replace(bank, expected=expected).save(tmp_path / "bank.h5ad")
    np.testing.assert_array_equal(Bank.load(tmp_path / "bank.h5ad").expected, expected)
    interval = np.array([0, 0.5, np.nan, 1, 2, 3], np.float32)
    replace(bank, interval=interval).save(tmp_path / "bank.h5ad")
    np.testing.assert_array_equal(Bank.load(tmp_path / "bank.h5ad").interval, interval)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"expected_pcc": np.float32(0.1)}, "needs expected_pcc and expected_partial_pcc, or neither"),
        ({"expected_pcc": np.float32(0.1), "expected_partial_pcc": 0.1}, "as finite float32"),
        ({"expected_pcc": "high", "expected_partial_pcc": "low"}, "as finite float32"),
        ({"expected_pcc": np.float32(1.1), "expected_partial_pcc": np.float32(0)}, "as finite float32 from -1 to 1"),
        ({"expected_pcc": np.float32(0), "expected_partial_pcc": np.float32("inf")}, "as finite float32 from -1 to 1"),
        ({"interval_90": 0.1}, "needs interval_90 as finite float32 from 0"),
        ({"interval_90": np.float32(-1)}, "needs interval_90 as finite float32 from 0"),
    ],
)
def test_expected_accuracy_that_cannot_be_is_refused(
    bank: Bank, tmp_path: Path, columns: dict[str, Any], said: str
) -> None:
    bank.save(tmp_path / "bank.h5ad")
    table = anndata.read_h5ad(tmp_path / "bank.h5ad")
    table.var = table.var.assign(**columns)
    table.write_h5ad(tmp_path / "bank.h5ad")
    with pytest.raises(UserError, match=said):
        Bank.load(tmp_path / "bank.h5ad")


def test_scanpy_reads_the_file(bank: Bank, tmp_path: Path) -> None:
    bank.save(tmp_path / "bank.h5ad")
    table = anndata.read_h5ad(tmp_path / "bank.h5ad")
    assert table.X.format == "csc"
    assert table.obsm["gene_embedding"].shape == (40, 16)


def nan_in(array: Any) -> Any:
    array = array.copy()
    (array.data if sparse.issparse(array) else array.reshape(-1))[0] = np.nan
    return array


def beyond_the_rows(bank: Bank) -> Any:
    expression = bank.expression.copy()
    expression.indices[0] = 1000
    return expression


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda bank: {"embeddings": bank.embeddings * 2}, "not of unit length"),
        (lambda bank: {"embeddings": nan_in(bank.embeddings)}, "missing or infinite"),
        (lambda bank: {"embeddings": bank.embeddings.astype(float)}, "not float32"),
        (lambda bank: {"embeddings": bank.embeddings[:3]}, "expression of 3 spots"),
        (lambda bank: {"expression": nan_in(bank.expression)}, "missing or infinite"),
        (lambda bank: {"expression": bank.expression.tocsr()}, "as CSC"),
        (lambda bank: {"expression": beyond_the_rows(bank)}, "damaged sparse matrix"),
        (lambda bank: {"genes": bank.genes[:1] * 6}, "a gene twice"),
        (lambda bank: {"obs": bank.obs[:3]}, "other spots or genes"),
    ],
)
def test_a_bank_that_does_not_fit_is_refused(bank: Bank, change: Callable[[Bank], dict[str, Any]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        replace(bank, **change(bank))


def test_another_h5ad_is_no_bank(tmp_path: Path) -> None:
    anndata.AnnData(np.ones((2, 2), np.float32)).write_h5ad(tmp_path / "other.h5ad")
    with pytest.raises(UserError, match=r"other\.h5ad is not a bank: it lacks .*obsm\['gene_embedding'\]"):
        Bank.load(tmp_path / "other.h5ad")


def test_build_bank_embeds_all_spots_of_all_sections(
    tmp_path: Path, write_section: Callable[..., Any], open_small: Callable[..., Any]
) -> None:
    import torch

    from napari_cmrcnet.sections.expression import expression_of

    class Model(torch.nn.Module):
        def embed_genes(self, expression: torch.Tensor) -> torch.Tensor:
            return expression * 3

    one = open_small(*write_section(tmp_path, "one", 1), name="one", patient="P1")
    two = open_small(*write_section(tmp_path, "two", 2, side=4), name="two", patient="P2")
    model_genes = ["GENE5", "GENE2", "GENE7"]
    bank = build_bank(Model(), [one, two], model_genes)  # type: ignore[arg-type]
    assert bank.genes == tuple(f"GENE{i}" for i in range(24))
    assert bank.obs["section"].tolist() == ["one"] * 36 + ["two"] * 16
    assert bank.obs["patient"].tolist() == ["P1"] * 36 + ["P2"] * 16
    np.testing.assert_array_equal(bank.obs[["x", "y"]].to_numpy()[36:], two.xy)
    expected = expression_of(two.spots, model_genes).toarray()
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(bank.embeddings[36:], expected, atol=1e-6)
    np.testing.assert_array_equal(bank.expression[36:].toarray(), expression_of(two.spots, bank.genes).toarray())


@pytest.fixture
def left_in_file(bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bank:
    """The bank with its expression left in its file, as that of a large one."""
    monkeypatch.setattr("napari_cmrcnet.retrieval.stored_columns.LARGE", 0)
    bank.save(tmp_path / "large.h5ad")
    return Bank.load(tmp_path / "large.h5ad")


def test_a_large_bank_gives_the_same_gene_by_gene_from_its_file(
    bank: Bank, left_in_file: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(left_in_file.expression, StoredColumns)
    neighbours = neighbours_of(bank, 30, 5)
    for average in ("mean_expression", "expression_spread"):
        expected = getattr(bank, average)(neighbours, bank.genes)
        np.testing.assert_array_equal(getattr(left_in_file, average)(neighbours, bank.genes), expected)
    weights = np.arange(len(bank), dtype=np.float64)
    expected = weighted_means(bank.expression, weights)
    np.testing.assert_array_equal(weighted_means(left_in_file.expression, weights), expected)
    np.testing.assert_array_equal(left_in_file.found, bank.found)
    over_some = left_in_file.with_totals_over([1, 4]), bank.with_totals_over([1, 4])
    np.testing.assert_array_equal(*(one.mean_expression(neighbours, bank.genes) for one in over_some))
    left_in_file.save(tmp_path / "again.h5ad")
    monkeypatch.undo()
    again = Bank.load(tmp_path / "again.h5ad")
    np.testing.assert_array_equal(again.expression.toarray(), bank.expression.toarray())


def test_new_totals_of_a_large_bank_read_only_the_genes_that_they_are_over(left_in_file: Bank) -> None:
    read = []

    class Recorded:
        def __init__(self, stored: h5py.Dataset) -> None:
            self.stored = stored

        def __getitem__(self, entries: slice) -> np.ndarray:
            read.append(entries)
            values: np.ndarray = self.stored[entries]
            return values

    own = left_in_file.expression
    own.group = {name: Recorded(own.group[name]) for name in ("data", "indices")}
    left_in_file.with_totals_over([1, 4])
    assert read == 2 * [slice(own.indptr[column], own.indptr[column + 1]) for column in (1, 4)]


def test_a_large_bank_whose_file_changes_while_it_is_open_is_not_believed(left_in_file: Bank) -> None:
    own = left_in_file.expression
    rows = np.full(len(own.group["indices"]), len(left_in_file), np.int32)  # what such a file may give next
    own.group = {"data": own.group["data"], "indices": rows}
    with pytest.raises(UserError, match="was changed while it was open"):
        left_in_file.mean_expression(neighbours_of(left_in_file, 3, 2), ["G0"])


def test_a_large_bank_with_values_that_are_not_finite_is_refused(
    bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_cmrcnet.retrieval.stored_columns.LARGE", 0)
    bank.save(tmp_path / "large.h5ad")
    with h5py.File(tmp_path / "large.h5ad", "r+") as file:
        file["X/data"][3] = np.nan
    with pytest.raises(UserError, match="missing or infinite"):
        Bank.load(tmp_path / "large.h5ad")
