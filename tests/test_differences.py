"""Genes that differ between groups, and genes that are alike, against SciPy and numbers computed here."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control, mannwhitneyu

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import to_the_end
from napari_cmrcnet.evaluation.differences import difference_job
from napari_cmrcnet.evaluation.gene_correlation import similarity_job

differences, similarity = to_the_end(difference_job), to_the_end(similarity_job)

GENES = [f"G{index}" for index in range(40)]


@pytest.fixture
def values() -> np.ndarray:
    rng = np.random.default_rng(3)
    counts = rng.poisson(rng.gamma(2, size=40), size=(60, 40)).astype(float)
    counts[:25, 7] += 4
    counts[:25, 11] = np.maximum(counts[:25, 11] - 2, 0)
    array = np.log1p(counts).astype(np.float32)
    array[:, 5] = 0.7  # the same everywhere
    return array


def test_wilcoxon_is_that_of_scipy_with_ties_and_the_rate_of_benjamini_and_hochberg(values: np.ndarray) -> None:
    first, second = np.zeros((2, 60), bool)
    first[:25], second[30:] = True, True
    lacking = values.copy()
    lacking[:, 9] = np.nan
    found = differences(lambda genes: lacking[:, genes], GENES, first, second, "measured")
    assert found.index[0] == "G7"
    assert (np.diff(found["z"].abs()) <= 0).all()
    names = [gene for gene in GENES if gene != "G9"]  # which has no values
    assert sorted(found.index) == sorted(names)
    p = []
    for column, row in zip(map(GENES.index, names), found.loc[names].itertuples(), strict=True):
        a, b = values[first, column], values[second, column]
        # SciPy's asymptotic test corrects for ties, too
        wanted = mannwhitneyu(a, b, method="asymptotic", use_continuity=False)
        p.append(1.0 if column == 5 else wanted.pvalue)
        if column in (0, 7, 11, 20):
            assert np.sign(row.z) == np.sign(wanted.statistic - len(a) * len(b) / 2)
            assert row.mean_first == pytest.approx(a.mean(), rel=1e-5)
            assert row.mean_second == pytest.approx(b.mean(), rel=1e-5)
            fold = np.log2((np.expm1(a.mean()) + 1e-9) / (np.expm1(b.mean()) + 1e-9))
            assert row.log2_fold_change == pytest.approx(fold, rel=1e-3)
    np.testing.assert_allclose(found.loc[names, "p_adjusted"], false_discovery_control(p), rtol=1e-4)


def test_groups_must_be_large_enough_and_apart(values: np.ndarray) -> None:
    few, many = np.zeros((2, 60), bool)
    few[:2], many[10:] = True, True
    with pytest.raises(UserError, match="A group has 2 spots"):
        differences(lambda genes: values[:, genes], GENES, few, many, "predicted")
    with pytest.raises(UserError, match="50 spots in both groups"):
        differences(lambda genes: values[:, genes], GENES, many, many, "predicted")
    nothing = np.full_like(values, np.nan)
    assert differences(lambda genes: nothing[:, genes], GENES, many, ~many, "measured").empty


def test_similar_genes_are_those_of_highest_correlation(values: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_cmrcnet.evaluation.gene_correlation._PATTERNS", 7)  # the last block is smaller
    target = values[:, 3] + 0.1 * values[:, 8]
    found = similarity(target, lambda genes: values[:, genes], 40)
    wanted = [np.corrcoef(target, column)[0, 1] if np.ptp(column) else np.nan for column in values.T]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.isnan(similarity(np.ones(60), lambda genes: values[:, genes], 40)).all()


def test_large_nearly_equal_values_do_not_lose_their_digits() -> None:
    rng = np.random.default_rng(5)
    values = (8 + 0.01 * rng.normal(size=(500, 30))).astype(np.float32)
    found = similarity(values[:, 0], lambda genes: values[:, genes], 30)
    np.testing.assert_allclose(found, np.corrcoef(values.T.astype(float))[0], atol=1e-3)
