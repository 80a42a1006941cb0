"""Which spots and genes count, depth, spatial structure and the paper's sets: against slow references."""

from pathlib import Path

import anndata
import numpy as np
import pytest
from scipy import sparse
from scipy.stats import pearsonr

from napari_cmrcnet.common.metrics import gene_sets, morans_i
from napari_cmrcnet.evaluation.resampling import Bootstrap, interval
from napari_cmrcnet.sections.depth import Depth, depth_r2, depth_terms, partial_pcc
from napari_cmrcnet.sections.expression import log_normalise
from napari_cmrcnet.sections.score_filter import detected_spots, scored_spots, unscored


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def left_of(values: np.ndarray, totals: np.ndarray) -> np.ndarray:
    design = np.column_stack([np.ones(len(totals)), np.log1p(totals), np.log1p(totals) ** 2])
    return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]


def test_partial_pcc_correlates_what_least_squares_on_the_log_total_leaves(rng: np.random.Generator) -> None:
    totals = rng.integers(50, 20_000, 60)
    depth = np.log1p(totals)[:, None]
    measured = depth * rng.normal(size=8) + rng.normal(size=(60, 8))
    predicted = 0.3 * measured + depth**2 * rng.normal(size=8) + rng.normal(size=(60, 8)) + 1e4
    expected = [
        pearsonr(left_of(measured[:, gene], totals), left_of(predicted[:, gene], totals)).statistic for gene in range(8)
    ]
    np.testing.assert_allclose(partial_pcc(measured, predicted, totals), expected, atol=1e-8)


def test_depth_explains_the_share_that_adjusted_least_squares_says(rng: np.random.Generator) -> None:
    totals = rng.integers(50, 20_000, 60)
    measured = np.log1p(totals)[:, None] * [0, 0.1, 1] + rng.normal(size=(60, 3))
    found = depth_r2(np.column_stack([measured, np.full(60, 0.1)]), totals)
    for gene in range(3):
        left = left_of(measured[:, gene], totals)
        r2 = 1 - left @ left / ((measured[:, gene] - measured[:, gene].mean()) ** 2).sum()
        assert found[gene] == pytest.approx(1 - (1 - r2) * 59 / 57)
    assert np.isnan(found[3])
    assert np.isnan(depth_r2(measured[:3], totals[:3])).all()


def test_a_section_is_shallow_by_its_counts_or_by_what_they_explain() -> None:
    assert not Depth(1000, 0.05, 15_000).shallow
    assert Depth(999, 0.05, 15_000).shallow
    assert Depth(9000, 0.11, 15_000).shallow
    assert not Depth(150, 0.05, 300).shallow
    assert Depth(99, float("nan"), 300).shallow
    assert (
        str(Depth(1234.0, 0.051, 9))
        == "median of 1,234 counts per spot; depth explains 5 % of the variance of expression"
    )
    assert str(Depth(12.0, float("nan"), 9)) == "median of 12 counts per spot"


def test_a_prediction_of_the_depth_alone_has_no_partial_pcc(rng: np.random.Generator) -> None:
    totals = rng.integers(50, 20_000, 60)
    depth = np.log1p(totals)
    measured, predicted = depth + 0.1 * rng.normal(size=60), (1 + 2 * depth - depth**2).astype(np.float32)
    assert abs(pearsonr(measured, predicted).statistic) > 0.9
    assert np.isnan(partial_pcc(measured[:, None], predicted[:, None], totals)).all()


def test_partial_pcc_is_undefined_for_constants_and_few_spots(rng: np.random.Generator) -> None:
    values = rng.normal(size=(20, 3))
    constant = values.copy()
    constant[:, 1] = 0.1
    assert np.isnan(partial_pcc(values, constant, np.arange(20))).tolist() == [False, True, False]
    assert np.isnan(partial_pcc(values[:4], values[:4], np.arange(4))).all()
    assert np.isnan(partial_pcc(values[:0], values[:0], np.arange(0))).all()


def test_without_differences_in_depth_it_is_pcc(rng: np.random.Generator) -> None:
    measured, predicted = rng.normal(size=(2, 20, 3))
    expected = [pearsonr(measured[:, gene], predicted[:, gene]).statistic for gene in range(3)]
    np.testing.assert_allclose(partial_pcc(measured, predicted, np.full(20, 500)), expected)
    assert depth_terms(np.full(20, 500)).shape == (20, 1)
    assert depth_terms(np.repeat([5, 900], 10)).shape == (20, 2)  # the square of two values is no third term


def test_spots_where_a_gene_was_found() -> None:
    counts = np.array([[0, 1, 2], [0, 0, 3], [0, 0, 1]])
    assert detected_spots(counts).tolist() == detected_spots(sparse.csr_matrix(counts)).tolist() == [0, 1, 3]


def test_a_gene_found_at_fewer_than_ten_spots_has_no_score(rng: np.random.Generator) -> None:
    measured = np.zeros((181, 4))
    measured[:1, 0], measured[:9, 1], measured[:10, 2], measured[:, 3] = 1.3, 1.3, 1.3, 0.7
    reasons = unscored(measured, rng.normal(size=(181, 4)))
    assert reasons == ["found at 1 of 181 spots", "found at 9 of 181 spots", "", "constant measured"]


def test_spots_with_hardly_a_count_do_not_count() -> None:
    totals = np.array([0, 9, 10, 99, 100, 5000])
    assert scored_spots(totals, 15_000).tolist() == [False] * 4 + [True] * 2
    assert scored_spots(totals, 999).tolist() == [False] * 2 + [True] * 4
    assert scored_spots(totals, 15_000, 0).all()
    assert scored_spots(totals, 300, 101).tolist() == [False] * 5 + [True]


def test_morans_i_is_its_double_sum(rng: np.random.Generator) -> None:
    values = rng.normal(size=(12, 3)) + 5
    values[:, 2] = 0.1
    weights = np.triu(rng.random((12, 12)) < 0.3, 1)
    weights = (weights | weights.T).astype(np.float32)
    found = morans_i(values, sparse.csr_matrix(weights))
    for gene in range(2):
        z = values[:, gene] - values[:, gene].mean()
        double = sum(weights[i, j] * z[i] * z[j] for i in range(12) for j in range(12))
        assert found[gene] == pytest.approx(12 / weights.sum() * double / (z @ z))
    assert np.isnan(found[2])
    assert np.isnan(morans_i(values, sparse.csr_matrix((12, 12)))).all()


def test_the_papers_sets_are_ranked_among_the_training_sections_variable_genes() -> None:
    mean, variance, genes = [5.0, 4.0, 3.0, 1.0], [0.0, 1.0, 2.0, 9.0], "abcd"
    assert gene_sets(mean, variance, genes, "dx")["HEG"] == ("a", "b", "c", "d")
    sets = gene_sets(mean, variance, genes, "dx", variable={"b", "d", "not here"})
    assert sets == {"HEG": ("b", "d"), "HVG": ("d", "b"), "markers": ("d",)}
    assert gene_sets(mean, variance, genes, (), variable=())["HEG"] == ()


def test_a_degenerate_bootstrap_gives_no_interval() -> None:
    """A resample that has none of a gene's spots says nothing; one interval in twenty is what 95 % leaves out."""
    measured = np.zeros((60, 2))
    measured[:12, 0] = measured[::5, 1] = np.arange(12) % 3 + 1  # twelve spots: in one block, and in all
    blocks = np.split(np.arange(60), 5)
    predicted = np.sin(np.arange(60.0))[:, None] + measured
    low, high = interval(Bootstrap(blocks).pcc(measured, predicted))
    assert np.isnan(low).tolist() == np.isnan(high).tolist() == [True, False]
    low, high = interval(np.full((1000, 1), 0.31))  # all alike: nothing was resampled
    assert np.isnan([low, high]).all()


def test_of_a_real_section(real_data: Path) -> None:
    """C5: two spots with hardly a count, and 400 genes and more that were found once, ESR1 among them."""
    spots = anndata.read_h5ad(real_data / "her2st" / "C5.h5ad")
    counts = sparse.csr_matrix(spots.X)
    totals = np.asarray(counts.sum(axis=1)).ravel()
    counted = scored_spots(totals, spots.n_vars)
    assert (counted.sum(), len(counted)) == (179, 181)
    measured = log_normalise(spots)[counted].toarray()
    reasons = dict(
        zip(spots.var_names, unscored(measured, np.random.default_rng(0).random(measured.shape)), strict=True)
    )
    assert reasons["ESR1"] == "found at 1 of 179 spots"
    assert reasons["ERBB2"] == ""
    found = detected_spots(measured)
    assert (found == 1).sum() > 400
    assert all(reasons[gene] for gene in spots.var_names[found < 10])
    share = np.nansum(depth_r2(measured, totals[counted]) * measured.var(axis=0)) / measured.var(axis=0).sum()
    assert 0.03 < share < 0.07
    assert not Depth(float(np.median(totals[counted])), float(share), spots.n_vars).shallow
