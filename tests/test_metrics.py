"""Scores: exact against SciPy, undefined ones said, intervals right, and no gene lost."""

from dataclasses import asdict
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.ndimage import gaussian_filter
from scipy.stats import pearsonr, spearmanr

from napari_cmrcnet.common import metrics
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.metrics import (
    highest,
    mean_pcc,
    mean_z,
    pcc,
    pcc_in_words,
    rmse,
    spearman,
    undefined,
)
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.evaluation.resampling import Bootstrap, interval, spatial_blocks
from napari_cmrcnet.evaluation.scores import interval_job, pcc_job, score
from napari_cmrcnet.evaluation.set_scores import combine
from napari_cmrcnet.retrieval.case import Case
from napari_cmrcnet.retrieval.genes import GeneNames
from napari_cmrcnet.retrieval.provenance import Provenance
from napari_cmrcnet.sections.panels import Panel


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("scale", [1.0, 1e-160, 1e150])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_pcc_is_scipys(rng: np.random.Generator, scale: float, offset: float) -> None:
    measured = rng.normal(size=(40, 5))
    predicted = (0.5 * measured + rng.normal(size=(40, 5)) + offset) * scale
    expected = [pearsonr(measured[:, gene], predicted[:, gene]).statistic for gene in range(5)]
    np.testing.assert_allclose(pcc(measured, predicted), expected, rtol=1e-12, atol=1e-14)


def test_perfect_and_reversed_are_within_one(rng: np.random.Generator) -> None:
    values = rng.normal(size=(7, 50))
    assert np.array_equal(np.abs(pcc(values, values)) <= 1, np.ones(50, bool))
    np.testing.assert_allclose(pcc(values, -values), -1)


def test_spearman_is_scipys_with_ties(rng: np.random.Generator) -> None:
    measured, predicted = rng.integers(0, 4, (30, 6)).astype(float), rng.integers(-3, 4, (30, 6)) * 0.5
    predicted[3] *= -1  # among them -0.0, which equals 0.0
    expected = [spearmanr(measured[:, gene], predicted[:, gene]).statistic for gene in range(6)]
    np.testing.assert_allclose(spearman(measured, predicted), expected, rtol=1e-12)


def test_rmse_by_hand() -> None:
    assert rmse([[0.0], [2.0]], [[3.0], [-2.0]]) == pytest.approx(np.sqrt(12.5))


def test_undefined_says_why() -> None:
    measured = np.array([[1.0, 0.1, 2.0], [2.0, 0.1, 1.0], [3.0, 0.1, 0.0]])
    predicted = np.array([[1.0, 1.0, 5.0], [2.0, 2.0, 5.0], [2.0, 3.0, 5.0]])
    assert undefined(measured, predicted) == ["", "constant measured", "constant predicted"]
    assert np.isnan(pcc(measured, predicted)).tolist() == [False, True, True]
    assert undefined(measured[:2], predicted[:2]) == ["fewer than 3 spots"] * 3
    assert np.isnan(pcc(measured[:2], predicted[:2])).all()


def test_undefined_is_left_out_or_zero_as_asked() -> None:
    assert mean_pcc([0.5, np.nan, 0.1]) == pytest.approx(0.3)
    assert mean_pcc([0.5, np.nan, 0.1], nan_as_zero=True) == pytest.approx(0.2)
    assert np.isnan(mean_pcc([np.nan]))


def test_matrices_of_different_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="same"):
        pcc(np.zeros((3, 2)), np.zeros((2, 3)))


def test_sets_take_the_top_genes_and_keep_the_order_of_equal_ones() -> None:
    assert highest([1.0, 3.0, 2.0, 3.0], "abcd", 3) == ("b", "d", "c")
    assert highest([1.0, 3.0], "ab", 50) == ("b", "a")


def test_score_of_a_set_is_the_mean_of_its_genes_z_scores(rng: np.random.Generator) -> None:
    values = rng.gamma(2.0, [0.5, 3.0, 20.0], (30, 3))
    expected = ((values - values.mean(axis=0)) / values.std(axis=0)).mean(axis=1)
    found = mean_z(values)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_constant_genes_are_left_out_of_the_score_of_a_set(rng: np.random.Generator) -> None:
    values = rng.normal(size=(20, 2))
    with_constant = np.column_stack([values, np.full(20, 0.1)])
    np.testing.assert_array_equal(mean_z(with_constant), mean_z(values))
    np.testing.assert_array_equal(mean_z(np.full((4, 2), 0.1)), np.zeros(4))


def test_bootstrap_is_pcc_of_the_drawn_spots(rng: np.random.Generator) -> None:
    measured, predicted = rng.normal(size=(25, 3)), rng.normal(size=(25, 3))
    bootstrap = Bootstrap(np.split(rng.permutation(25), [3, 10, 14, 21]), seed=4, resamples=20)
    found = bootstrap.pcc(measured, predicted)
    for times, row in zip(bootstrap.times, found, strict=True):
        drawn = np.repeat(np.arange(25), times)
        np.testing.assert_allclose(row, pcc(measured[drawn], predicted[drawn]), atol=2e-6)


def test_bootstrap_of_a_rare_gene_is_undefined_where_it_was_not_drawn() -> None:
    measured = np.zeros((10, 1))
    measured[3] = 1.7
    bootstrap = Bootstrap(np.arange(10)[:, None], seed=0)
    found = bootstrap.pcc(measured, np.arange(10.0)[:, None])
    assert np.array_equal(np.isnan(found[:, 0]), bootstrap.times[:, 3] == 0)


def test_interval_covers_the_truth_about_as_often_as_it_says(rng: np.random.Generator) -> None:
    shared = rng.normal(size=(80, 300))
    measured, predicted = shared + rng.normal(size=shared.shape), shared + rng.normal(size=shared.shape)  # PCC 0.5
    low, high = interval(Bootstrap(np.arange(80)[:, None], resamples=400).pcc(measured, predicted))
    assert 0.88 < ((low < 0.5) & (high > 0.5)).mean() < 0.98


@pytest.mark.parametrize(("smooth", "wider"), [(0, (0.8, 1.2)), (3, (1.5, 4.0))])
def test_neighbours_that_are_alike_do_not_count_each_by_itself(
    rng: np.random.Generator, smooth: float, wider: tuple[float, float]
) -> None:
    def fields() -> np.ndarray:
        return np.stack([gaussian_filter(rng.normal(size=(20, 20)), smooth).ravel() for _ in range(50)], axis=1)

    measured, predicted = fields(), fields()
    width = {}
    for name, blocks in (("spots", np.arange(400)[:, None]), ("blocks", spatial_blocks(grid(20)))):
        low, high = interval(Bootstrap(blocks, resamples=400).pcc(measured, predicted))
        width[name] = float(np.mean(high - low))
    assert wider[0] < width["blocks"] / width["spots"] < wider[1]


def test_blocks_of_a_section_are_compact() -> None:
    blocks = spatial_blocks(grid(20))
    assert sorted(np.concatenate(blocks).tolist()) == list(range(400))
    assert {len(block) for block in blocks} <= {12, 13}
    assert all(np.ptp(grid(20)[block], axis=0).max() <= 5 for block in blocks)
    assert [block.tolist() for block in spatial_blocks([[0, 0]])] == [[0]]


def grid(side: int) -> np.ndarray:
    return np.stack(np.divmod(np.arange(side * side), side), axis=1).astype(float)


class FakePrediction:
    """A prediction from matrices; genes only measured or only predicted are at either end."""

    counted_spots = Case.counted_spots

    def __init__(self, measured: np.ndarray, predicted: np.ndarray, genes: list[str], section: str = "T") -> None:
        self.name, self.panel = section, None
        self.provenance = Provenance(section=section, k=50, mpp=0.5, mpp_source="test")
        table = dict(zip([*genes, "only_measured"], [*measured.T, measured[:, 0]], strict=True))
        self._measured, self._genes = table, genes
        self._predicted = dict(zip([*genes, "only_predicted"], [*predicted.T, predicted[:, 0]], strict=True))
        self.genes = ("only_predicted", *genes)
        self.names = GeneNames(self.genes, tuple(f"ENSG{index:011}" for index in range(len(self.genes))))
        self.measured_genes = tuple(genes)
        self.spots = anndata.AnnData(np.zeros((len(measured), 1)), obsm={"spatial": grid(16)[: len(measured)]})
        self.totals = np.random.default_rng(1).integers(500, 5000, len(measured))
        self.xy = grid(16)[: len(measured)]
        self.variable_genes: frozenset[str] = frozenset()
        self.expected = self.found = None

    def measured(self, genes: list[str]) -> Any:
        return sparse.csr_matrix(np.column_stack([self._measured[gene] for gene in genes]))

    def __len__(self) -> int:
        return len(self.totals)

    def expression(self, genes: list[str]) -> np.ndarray:
        return np.column_stack([self._predicted[gene] for gene in genes])


def many_genes(rng: np.random.Generator, n: int = 60, g: int = 600) -> tuple[np.ndarray, np.ndarray, list[str]]:
    measured = rng.gamma(2.0, rng.uniform(0.1, 2, g), (n, g))
    return measured, 0.4 * measured + rng.normal(size=(n, g)), [f"G{index}" for index in range(g)]


def test_score_has_every_common_gene_and_the_sets(rng: np.random.Generator) -> None:
    measured, predicted, genes = many_genes(rng)
    panel = Panel("mine", ("G5", "NOT_HERE", "only_measured", "G1"))
    scores = score(FakePrediction(measured, predicted, genes), panel)
    assert list(scores.table.index) == genes
    np.testing.assert_allclose(scores.table.pcc, pcc(measured, predicted), rtol=1e-12)
    assert set(scores.table.index[scores.table.HEG]) == set(highest(measured.mean(0), genes))
    assert set(scores.table.index[scores.table.HVG]) == set(highest(measured.var(0), genes))
    assert list(scores.table.index[scores.table.markers]) == ["G1", "G5"]
    assert scores.missing_markers == ("NOT_HERE", "only_measured")
    assert scores.sets["HEG"].n == 50
    assert scores.sets["markers"].pcc == pytest.approx(scores.table.pcc[["G1", "G5"]].mean())
    assert scores.spots == 60
    for values in scores.sets.values():
        assert values.low < values.pcc < values.high
    assert (scores.table.low <= scores.table.high).all()


def test_score_has_the_moments_of_every_gene(rng: np.random.Generator) -> None:
    measured, predicted, genes = many_genes(rng, g=20)
    table = score(FakePrediction(measured, predicted, genes)).table
    for name, values in {"measured": measured, "predicted": predicted}.items():
        np.testing.assert_allclose(table[f"{name}_mean"], values.mean(axis=0))
        np.testing.assert_allclose(table[f"{name}_variance"], values.var(axis=0))


def test_a_pcc_in_words() -> None:
    assert pcc_in_words(-0.001) == "PCC 0.00"
    assert pcc_in_words(float("nan")) == "PCC undefined"
    assert pcc_in_words(0.314, -0.001, 0.5) == "PCC 0.31 (95 % bootstrap interval over spots 0.00 to 0.50)"


def test_correlations_are_known_before_their_intervals(rng: np.random.Generator) -> None:
    prediction = FakePrediction(*many_genes(rng, g=20))
    early, whole = finish(pcc_job(prediction)), score(prediction)
    later = ["low", "high", "spearman", "partial_pcc", "measured_morans_i", "predicted_morans_i"]
    known = [column for column in early.table if column not in (*later, "trust")]
    pd.testing.assert_frame_equal(early.table[known], whole.table[known])
    assert (early.table["trust"] == "").all()
    assert early.table[later].isna().all(axis=None)
    assert early.sets["HEG"].pcc == whole.sets["HEG"].pcc
    assert early.sets["HEG"].low is None
    pd.testing.assert_frame_equal(finish(interval_job(prediction, early)).table, whole.table)


def test_intervals_may_be_of_a_few_genes(rng: np.random.Generator) -> None:
    prediction = FakePrediction(*many_genes(rng, g=120))  # more than HEG and HVG hold
    early, whole = finish(pcc_job(prediction)), score(prediction)
    some = finish(interval_job(prediction, early, genes=["G119"]))
    assert some.sets == whole.sets
    known = some.table["low"].notna()
    assert known["G119"]
    assert set(some.table.index[known]) == {"G119", *whole.table.index[whole.table.HEG | whole.table.HVG]}
    assert not known.all()
    pd.testing.assert_frame_equal(some.table[known], whole.table[known])


def test_markers_may_be_ensembl_ids(rng: np.random.Generator) -> None:
    prediction = FakePrediction(*many_genes(rng, g=20))
    by_id = score(prediction, Panel("ids", ("ENSG00000000006", "ENSG00000000002", "ENSG99999999999")))
    by_symbol = score(prediction, Panel("symbols", ("G5", "G1")))
    assert by_id.sets["markers"] == by_symbol.sets["markers"]
    assert by_id.missing_markers == ("ENSG99999999999",)


def test_blocks_of_genes_change_nothing(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = score(FakePrediction(*many_genes(rng)))
    monkeypatch.setattr("napari_cmrcnet.evaluation.scores._BLOCK", 37 * 60)
    parts = score(FakePrediction(*many_genes(np.random.default_rng(0))))
    np.testing.assert_allclose(whole.table.low, parts.table.low, atol=2e-6)
    np.testing.assert_array_equal(whole.table.pcc, parts.table.pcc)
    assert whole.sets["HVG"].high == pytest.approx(parts.sets["HVG"].high, abs=2e-6)


def test_same_seed_same_interval(rng: np.random.Generator) -> None:
    prediction = FakePrediction(*many_genes(rng, g=20))
    assert score(prediction, seed=1).sets == score(prediction, seed=1).sets
    assert score(prediction, seed=1).sets["HEG"].low != score(prediction, seed=2).sets["HEG"].low


def test_undefined_genes_are_counted_not_hidden(rng: np.random.Generator) -> None:
    measured, predicted, genes = many_genes(rng, g=10)
    measured[:, 2], predicted[:, 7] = 1.0, 0.0
    left_out = score(FakePrediction(measured, predicted, genes))
    as_zero = score(FakePrediction(measured, predicted, genes), nan_as_zero=True)
    assert (left_out.sets["HEG"].n, left_out.sets["HEG"].undefined) == (8, 2)
    assert (as_zero.sets["HEG"].n, as_zero.sets["HEG"].undefined) == (10, 2)
    assert as_zero.sets["HEG"].pcc == pytest.approx(0.8 * left_out.sets["HEG"].pcc)
    assert left_out.table.undefined[["G2", "G7"]].tolist() == [metrics.CONSTANT_MEASURED, metrics.CONSTANT_PREDICTED]
    assert left_out.table[["low", "high"]].loc["G2"].isna().all()


def test_nothing_to_score_is_null_not_an_error(rng: np.random.Generator) -> None:
    scores = score(FakePrediction(*many_genes(rng, n=2, g=4)))
    nothing = dict.fromkeys(("pcc", "low", "high", "partial_pcc", "spearman"))
    assert asdict(scores.sets["HEG"]) == nothing | {"n": 0, "undefined": 4}
    assert asdict(scores.sets["markers"]) == nothing | {"n": 0, "undefined": 0}


def test_unmeasured_and_foreign_sections_are_refused(rng: np.random.Generator) -> None:
    prediction = FakePrediction(*many_genes(rng, g=4))
    prediction.measured_genes = ()
    with pytest.raises(UserError, match="in common"):
        score(prediction)
    prediction.spots.X = None
    with pytest.raises(UserError, match="no measured counts"):
        score(prediction)


def test_sections_are_averaged_with_a_narrower_interval(rng: np.random.Generator) -> None:
    scores = [score(FakePrediction(*many_genes(rng, n=30, g=8), section=str(i)), seed=i) for i in range(4)]
    joined = combine(scores, "HEG")
    assert joined.pcc == pytest.approx(np.mean([one.sets["HEG"].pcc for one in scores]))
    assert joined.n == 32
    widths = [one.sets["HEG"].high - one.sets["HEG"].low for one in scores]
    assert joined.high - joined.low < 0.8 * min(widths)
    assert combine(scores, "markers").pcc is None
