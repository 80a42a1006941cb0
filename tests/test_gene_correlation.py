"""Gene-gene correlation: as NumPy has it, one order for both, and what cannot be correlated is said."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.evaluation.gene_correlation import GeneCorrelation, correlate_job
from napari_cmrcnet.retrieval.genes import GeneNames


def stand_in(measured: Any, predicted: Any, unmeasured: Sequence[str] = ()) -> Any:
    """What of a prediction is asked for: expression of genes G0, G1, … at the spots."""
    genes = tuple(f"G{index}" for index in range(measured.shape[1]))
    names = GeneNames(genes, tuple(f"ENSG{index:011}" for index in range(len(genes))))
    columns = lambda wanted: names.columns(wanted, "it")  # noqa: E731
    return SimpleNamespace(
        genes=genes,
        counted_spots=lambda: np.ones(len(measured), bool),
        names=names,
        measured_set=frozenset(genes) - set(unmeasured),
        measured=lambda wanted: measured[:, columns(wanted)].astype(np.float32),
        expression=lambda wanted: predicted[:, columns(wanted)].astype(np.float32),
    )


@pytest.fixture
def two_groups() -> Any:
    """200 spots; genes of even number go together, and those of odd number; predicted with less noise."""
    rng = np.random.default_rng(0)
    group = rng.normal(size=(200, 2))[:, np.arange(80) % 2]
    return stand_in(group + rng.normal(size=group.shape), group + 0.3 * rng.normal(size=group.shape))


def correlate(prediction: Any, genes: Sequence[str]) -> GeneCorrelation:
    return finish(correlate_job(prediction, genes, "my genes"))


def test_correlations_are_those_of_numpy_in_one_order(two_groups: Any) -> None:
    result = correlate(two_groups, two_groups.genes)
    np.testing.assert_allclose(result.measured, np.corrcoef(two_groups.measured(result.genes).T), atol=1e-5)
    np.testing.assert_allclose(result.predicted, np.corrcoef(two_groups.expression(result.genes).T), atol=1e-5)
    above = np.triu_indices(80, 1)
    assert result.alike == pytest.approx(np.corrcoef(result.measured[above], result.predicted[above])[0, 1], abs=1e-6)
    assert sorted(result.genes) == sorted(two_groups.genes)


def test_genes_that_go_together_lie_together(two_groups: Any) -> None:
    parity = [int(gene[1:]) % 2 for gene in correlate(two_groups, two_groups.genes).genes]
    assert np.count_nonzero(np.diff(parity)) == 1


def test_genes_by_id_twice_unknown_or_unmeasured(two_groups: Any) -> None:
    two_groups.measured_set -= {"G3"}
    result = correlate(two_groups, ["G1", "ENSG00000000001", "G2", "NOT_THERE", "G3", "G5"])
    assert sorted(result.genes) == ["G1", "G2", "G5"]


def test_near_empty_spots_and_rare_genes_do_not_count(two_groups: Any) -> None:
    two_groups.counted_spots = lambda: np.arange(200) >= 3
    result = correlate(two_groups, two_groups.genes)
    np.testing.assert_allclose(result.measured, np.corrcoef(two_groups.measured(result.genes)[3:].T), atol=1e-5)
    measured, predicted = np.random.default_rng(0).random((2, 30, 4))
    measured[9:, 1] = 0
    assert correlate(stand_in(measured, predicted), ["G0", "G1", "G2", "G3"]).left_out == ("G1",)


def test_constant_genes_are_left_out_and_named() -> None:
    rng = np.random.default_rng(0)
    measured, predicted = rng.random((30, 5)), rng.random((30, 5))
    measured[:, 1], predicted[:, 3] = 0.7, 0.0
    result = correlate(stand_in(measured, predicted), [f"G{index}" for index in range(5)])
    assert sorted(result.genes) == ["G0", "G2", "G4"]
    assert result.left_out == ("G1", "G3")
    assert np.isfinite(result.measured).all()


def test_two_genes_have_one_pair_and_no_likeness(two_groups: Any) -> None:
    result = correlate(two_groups, ["G1", "G2"])
    assert len(result.genes) == 2
    assert np.isnan(result.alike)


@pytest.mark.parametrize("genes", [[], ["G1"], ["NOT_THERE", "G1"]])
def test_too_few_genes(two_groups: Any, genes: list[str]) -> None:
    with pytest.raises(UserError, match="my genes: fewer than two of its genes are found"):
        correlate(two_groups, genes)


def test_too_many_genes() -> None:
    many = np.random.default_rng(0).random((4, 501))
    with pytest.raises(UserError, match="my genes has 501 genes"):
        correlate(stand_in(many, many), [f"G{index}" for index in range(501)])
