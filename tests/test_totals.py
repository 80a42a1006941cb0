"""What a spot's counts are divided by: one measure for all sections that are compared, and said where it is not."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scanpy
from anndata import AnnData
from scipy import sparse

from napari_cmrcnet.cli import main
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.evaluation.scores import score_job
from napari_cmrcnet.retrieval.bank import Bank
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.sections.expression import expression_of, log_normalise
from napari_cmrcnet.sections.gene_joining import comparable
from napari_cmrcnet.sections.section import Section, open_section
from napari_cmrcnet.sections.totals import (
    IN_TOTAL,
    alike,
    share_in,
    target_from,
    target_of,
    total_genes,
    totalled_over,
    totals_of,
)
from napari_cmrcnet.training.config import FitConfig
from napari_cmrcnet.training.data import split

GENES = 24
FEW = [f"GENE{i}" for i in range(0, 6)]


@pytest.fixture
def whole(tmp_path: Path, write_section: Callable[..., Any]) -> Section:
    """A section of 24 genes."""
    slide, spots = write_section(tmp_path, "C", 3)
    return open_section(slide, spots, name="C", patient="P3", mpp=0.5)


def panel_of(section: Section, genes: Sequence[str] = FEW) -> Section:
    """The same section, as an assay of few genes would have measured it."""
    return replace(section, spots=section.spots[:, list(genes)].copy())


def linear(values: Any) -> np.ndarray:
    return np.expm1(np.asarray(values, np.float64))


def test_totals_are_over_the_genes_that_are_marked(whole: Section) -> None:
    counts = whole.spots.X.toarray()
    np.testing.assert_array_equal(totals_of(whole.spots), counts.sum(axis=1))
    marked = totalled_over(whole.spots, np.arange(GENES) < 6)
    np.testing.assert_array_equal(totals_of(marked), counts[:, :6].sum(axis=1))
    assert (total_genes(whole.spots), total_genes(marked)) == (GENES, 6)
    values = linear(expression_of(marked, ["GENE1", "GENE20"]).toarray())
    np.testing.assert_allclose(values, counts[:, [1, 20]] / counts[:, :6].sum(axis=1, keepdims=True) * 1e4, rtol=1e-5)


def test_the_median_total_is_scanpys(whole: Section) -> None:
    spots = whole.spots.copy()
    spots.X = sparse.csr_matrix(spots.X.toarray() * (np.arange(spots.n_obs) > 5)[:, None])  # six spots without counts
    theirs = AnnData(spots.X.toarray().astype(np.float64))  # of a sparse matrix 1.11 counts empty spots in
    with pytest.warns(UserWarning, match="zero counts"):
        scanpy.pp.normalize_total(theirs)  # to the median of the spots that have counts
    scanpy.pp.log1p(theirs)
    np.testing.assert_allclose(log_normalise(spots, "median").toarray(), theirs.X, rtol=1e-5)
    assert target_of(AnnData(sparse.csr_matrix((3, 2))), "median") == 1.0


@pytest.mark.parametrize("value", [0, -1, "many", float("nan"), float("inf"), True, None, 10**400])
def test_an_impossible_total_is_refused(value: object) -> None:
    with pytest.raises(UserError, match="give a number above 0, such as 10000, or median"):
        target_from(value)


def test_published_variants_read_the_median_and_the_tuned_one_ten_thousand() -> None:
    of = {variant: FitConfig(variant=variant).preprocessing.target_sum for variant in ("paper", "released", "tuned")}  # type: ignore[arg-type]
    assert of == {"paper": "median", "released": "median", "tuned": 1e4}
    assert FitConfig().preprocessing.target_sum == 1e4
    assert FitConfig(target_sum=5e3).preprocessing.target_sum == 5e3
    assert FitConfig(target_sum="5000").preprocessing.target_sum == 5e3  # type: ignore[arg-type]
    with pytest.raises(UserError, match="total after normalisation"):
        FitConfig(target_sum=-1.0)


def test_the_median_is_of_the_whole_section_where_spots_are_kept_out(whole: Section) -> None:
    training, validation = split([whole], FitConfig(variant="paper", validation=0.3))
    assert len(training[0].rows) < whole.spots.n_obs
    assert training[0].target_sum == validation[0].target_sum == np.median(whole.spots.X.toarray().sum(axis=1))


def test_sections_of_like_genes_are_left_as_they_are(whole: Section) -> None:
    nearly = panel_of(whole, [f"GENE{i}" for i in range(1, GENES)])  # without 4 % of the counts
    assert share_in(whole.spots, whole.spots.var_names != "GENE0") > 0.95
    assert comparable([whole, replace(nearly, name="D")])[1].spots is nearly.spots
    assert alike(0.96, 1.04)
    assert not alike(1.0, 0.94)
    assert not alike(1.06)


def test_a_panel_beside_a_whole_transcriptome_is_trained_on_in_one_measure(
    whole: Section, caplog: pytest.LogCaptureFixture
) -> None:
    few = replace(panel_of(whole), name="D")
    one, two = comparable([whole, few])
    np.testing.assert_array_equal(expression_of(one.spots, FEW).toarray(), expression_of(two.spots, FEW).toarray())
    assert "totals are over the 6 genes that all sections have, not over its 24" in one.notes[-1]
    assert [record.args[0] for record in caplog.records] == ["C", "D"]  # type: ignore[index]
    assert IN_TOTAL not in whole.spots.var  # the section that was given is not changed


def test_a_banks_totals_over_some_genes_are_those_of_its_counts(whole: Section) -> None:
    genes = list(map(str, whole.spots.var_names))
    unit = np.zeros((whole.spots.n_obs, 2), np.float32)
    obs = pd.DataFrame({"section": "C", "patient": "", "x": 0.0, "y": 0.0}, index=range(len(unit)))
    bank = Bank(unit, log_normalise(whole.spots).tocsc(), tuple(genes), ("",) * GENES, obs)
    counts = whole.spots.X.toarray()
    np.testing.assert_allclose(bank.shares, (counts / counts.sum(axis=1, keepdims=True)).mean(axis=0), rtol=1e-5)
    expected = log_normalise(totalled_over(whole.spots, np.arange(GENES) < 6)).toarray()
    np.testing.assert_allclose(bank.with_totals_over(range(6)).expression.toarray(), expected, rtol=1e-5)


def test_measured_and_predicted_of_a_panel_are_in_one_measure(
    untrained_checkpoint: Checkpoint, whole: Section, tmp_path: Path
) -> None:
    """Without it a gene of a panel has several times the value that is predicted for it."""
    few = panel_of(whole)
    same = finish(predict(whole, untrained_checkpoint, PredictConfig(k=5, device="cpu")))
    made = finish(predict(few, untrained_checkpoint, PredictConfig(k=5, device="cpu")))
    assert same.provenance.total_genes == GENES
    assert not any("totals" in warning for warning in same.provenance.warnings)
    assert made.provenance.total_genes == len(FEW)
    assert any("normalised over the 6 genes in common" in warning for warning in made.provenance.warnings)
    measured, predicted = made.measured(FEW), made.expression(FEW)
    assert measured is not None
    np.testing.assert_allclose(linear(measured).sum(axis=1), 1e4, rtol=1e-4)
    bank = untrained_checkpoint.bank
    values = linear(bank.expression[:, :6].toarray())
    in_common = np.log1p(values / values.sum(axis=1, keepdims=True) * 1e4)
    np.testing.assert_allclose(predicted, in_common[made.neighbours].mean(axis=1), rtol=1e-4)
    ratio = measured.mean() / predicted.mean()
    assert 0.9 < ratio < 1.1
    assert measured.mean() > 1.05 * same.expression(FEW).mean()  # what was compared before

    path = tmp_path / "few.h5ad"
    made.save(path)
    for again in (Prediction.load(path), Prediction.load(path, untrained_checkpoint)):
        np.testing.assert_array_equal(again.measured(FEW), measured)
        np.testing.assert_array_equal(again.expression(FEW), predicted)
        assert again.totals is not None
        assert made.totals is not None
        np.testing.assert_array_equal(again.totals, made.totals)


def test_a_whole_transcriptome_for_a_bank_of_few_genes(untrained_checkpoint: Checkpoint, whole: Section) -> None:
    """The bank's own spots had only these genes: the section's other counts are no part of its totals."""
    bank = untrained_checkpoint.bank.with_totals_over(range(6))
    small = replace(bank, genes=bank.genes[:6], gene_ids=bank.gene_ids[:6], expression=bank.expression[:, :6].tocsc())
    made = finish(
        predict(
            whole,
            Checkpoint(untrained_checkpoint.card, untrained_checkpoint.model, small),
            PredictConfig(k=5, device="cpu"),
        )
    )
    assert made.provenance.total_genes == 6
    np.testing.assert_array_equal(made.totals, whole.spots.X.toarray()[:, :6].sum(axis=1))
    measured = made.measured(FEW)
    assert measured is not None
    np.testing.assert_allclose(linear(measured).sum(axis=1), 1e4, rtol=1e-4)


def test_a_panels_scores_take_spots_by_its_own_counts(untrained_checkpoint: Checkpoint, whole: Section) -> None:
    made = finish(predict(panel_of(whole), untrained_checkpoint, PredictConfig(k=5, device="cpu")))
    scores = finish(score_job(made))
    assert scores.depth.n_genes == 6
    assert scores.depth.median_total == np.median(panel_of(whole).spots.X.toarray().sum(axis=1))


def test_info_says_what_totals_are_over(
    untrained_checkpoint: Checkpoint, whole: Section, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(predict(panel_of(whole), untrained_checkpoint, PredictConfig(k=5, device="cpu"))).save(tmp_path / "few.h5ad")
    assert main(["info", str(tmp_path / "few.h5ad")]) == 0
    assert "6 measured genes" in capsys.readouterr().out


def test_a_damaged_mark_is_refused(untrained_checkpoint: Checkpoint, whole: Section, tmp_path: Path) -> None:
    made = finish(predict(panel_of(whole), untrained_checkpoint, PredictConfig(k=5, device="cpu")))
    made.spots.var[IN_TOTAL] = 2.0
    made.spots.var["kept"] = "x"
    path = tmp_path / "few.h5ad"
    table = made.spots.var
    made.spots.var = table.assign(**{IN_TOTAL: True})
    made.save(path)
    import h5py

    with h5py.File(path, "r+") as file:
        del file[f"raw/var/{IN_TOTAL}"]
        column = file["raw/var"].create_dataset(IN_TOTAL, data=np.full(len(FEW), 7))
        column.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    with pytest.raises(UserError, match="does not say which genes its totals are over; predict again"):
        Prediction.load(path)


def test_a_panel_of_a_real_section_has_the_values_that_are_predicted_for_it(real_data: Path) -> None:
    """C5 as a panel of 500 genes, from C4: over its own totals its genes have four times the mean that is predicted."""
    from napari_cmrcnet.sections.spots import open_spots

    c4, c5 = (open_spots(real_data / "her2st" / f"{name}.h5ad") for name in ("C4", "C5"))
    names = np.array(c4.var_names)
    bank = Bank(
        np.zeros((c4.n_obs, 2), np.float32),
        log_normalise(c4).tocsc(),
        tuple(names),
        ("",) * len(names),
        pd.DataFrame({"section": "C4", "patient": "", "x": 0.0, "y": 0.0}, index=range(c4.n_obs)),
    )
    genes = np.random.default_rng(0).choice(np.intersect1d(names, c5.var_names), 500, replace=False).tolist()
    few = c5[:, genes].copy()
    own = log_normalise(few).mean()
    predicted = bank.expression[:, names_in(names, genes)].mean()
    assert own > 3.5 * predicted
    in_common = bank.with_totals_over(names_in(names, genes)).expression[:, names_in(names, genes)].mean()
    assert 0.9 < own / in_common < 1.1


def names_in(names: np.ndarray, genes: Sequence[str]) -> list[int]:
    return pd.Index(names).get_indexer(list(genes)).tolist()
