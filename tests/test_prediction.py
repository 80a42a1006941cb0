"""A prediction gives any gene, survives being saved, moved and parted from its checkpoint, and opens in scanpy."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.retrieval import checkpoint as checkpoint_module
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.retrieval.prediction_file import read_provenance
from napari_cmrcnet.sections.expression import expression_of


@pytest.fixture
def checkpoint(untrained_checkpoint: Checkpoint, tmp_path: Path) -> Checkpoint:
    """A checkpoint of its own, which a test may move."""
    return untrained_checkpoint.save(tmp_path / "models" / "M.cmrcnet")


@pytest.fixture
def prediction(
    checkpoint: Checkpoint, tmp_path: Path, write_section: Callable[..., Any], open_small: Callable[..., Any]
) -> Prediction:
    section = open_small(*write_section(tmp_path / "data", "C", 3), name="C", patient="P3")
    return finish(predict(section, checkpoint, PredictConfig(k=6, device="cpu")))


@pytest.fixture
def few_genes_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_cmrcnet.retrieval.prediction_file.GENES_PER_SET", 4)


@pytest.fixture
def saved(prediction: Prediction, tmp_path: Path, few_genes_stored: None) -> Path:
    prediction.save(tmp_path / "results" / "C.h5ad")
    return tmp_path / "results" / "C.h5ad"


def test_any_gene_of_the_bank(prediction: Prediction) -> None:
    assert len(prediction.genes) == 24
    everything = prediction.expression(prediction.genes)
    assert everything.dtype == np.float32
    np.testing.assert_array_equal(prediction.gene("GENE7"), everything[:, 7])
    np.testing.assert_array_equal(prediction.expression(["GENE7"], slice(5, 9))[:, 0], everything[5:9, 7])


def test_measured_expression_is_log_normalised(prediction: Prediction) -> None:
    genes = ["GENE9", "GENE1"]
    expected = expression_of(prediction.spots, genes).toarray()
    np.testing.assert_allclose(prediction.measured(genes), expected, rtol=1e-6)
    assert prediction.measured_genes == prediction.genes
    with pytest.raises(UserError, match="no gene ABC"):
        prediction.measured(["ABC"])


def test_one_name_is_as_good_as_a_list_of_one(prediction: Prediction, saved: Path, tmp_path: Path) -> None:
    np.testing.assert_array_equal(prediction.measured("GENE7"), prediction.measured(["GENE7"]))
    np.testing.assert_array_equal(prediction.expression("GENE7"), prediction.expression(["GENE7"]))
    shutil.move(tmp_path / "models", tmp_path / "elsewhere")
    alone = Prediction.load(saved)
    assert alone.bank is None
    stored = alone.genes[0]
    np.testing.assert_array_equal(alone.expression(stored), prediction.expression([stored]))
    with pytest.raises(UserError, match="needs its checkpoint for ABC,"):
        alone.expression("ABC")


def test_is_shown_in_a_line_without_reading_its_checkpoint(prediction: Prediction, saved: Path) -> None:
    assert repr(prediction) == "<Prediction of C: 36 spots, 24 genes at hand>"
    loaded = Prediction.load(saved)
    stored = anndata.read_h5ad(saved).n_vars
    assert stored < 24
    assert repr(loaded) == f"<Prediction of C: 36 spots, {stored} genes at hand>"
    assert loaded.bank is not None
    given = Prediction.load(saved, prediction.provenance.checkpoint)
    assert repr(loaded) == repr(given) == repr(prediction)


def test_a_file_of_its_name_is_replaced(prediction: Prediction, tmp_path: Path) -> None:
    (tmp_path / "C.h5ad").write_text("old")
    prediction.save(tmp_path / "C.h5ad")
    assert repr(Prediction.load(tmp_path / "C.h5ad")).startswith("<Prediction of C")


def test_genes_called_otherwise_are_joined_by_ensembl_id(prediction: Prediction) -> None:
    spots = prediction.spots.copy()
    spots.var["gene_ids"] = [f"ENSG{i:011}.2" for i in range(24)]
    spots.var_names = [f"OLD{i}" for i in range(24)]
    assert prediction.bank is not None
    bank = replace(prediction.bank, gene_ids=tuple(f"ENSG{i:011}" for i in range(24)))
    joined = Prediction(
        spots, prediction.neighbours, prediction.similarity, prediction.confidence(), prediction.provenance, bank=bank
    )
    assert joined.measured_genes == bank.genes
    np.testing.assert_array_equal(joined.measured(["GENE3"]), prediction.measured(["GENE3"]))
    np.testing.assert_array_equal(joined.gene("ENSG00000000003"), prediction.gene("GENE3"))


def test_confidence_of_a_spot(prediction: Prediction) -> None:
    table = prediction.confidence("GENE2")
    assert prediction.bank is not None
    spot = 11
    rows = prediction.neighbours[spot]
    of_spot = table.iloc[spot]
    assert of_spot["mean_similarity"] == pytest.approx(prediction.similarity[spot].mean(), abs=1e-6)
    assert of_spot["best_similarity"] == prediction.similarity[spot, 0]
    assert of_spot["sections"] == prediction.bank.obs["section"].iloc[rows].nunique()
    spread = prediction.bank.expression[:, 2].toarray()[rows].std()
    assert of_spot["spread"] == pytest.approx(spread, abs=1e-5)
    assert list(table.index) == list(prediction.spots.obs_names)


def test_reads_back_with_every_gene(prediction: Prediction, saved: Path) -> None:
    again = Prediction.load(saved)
    np.testing.assert_array_equal(again.neighbours, prediction.neighbours)
    np.testing.assert_array_equal(again.similarity, prediction.similarity)
    np.testing.assert_array_equal(again.expression(again.genes), prediction.expression(prediction.genes))
    np.testing.assert_array_equal(again.measured(again.genes), prediction.measured(prediction.genes))
    np.testing.assert_array_equal(again.xy, prediction.xy)
    pd.testing.assert_frame_equal(again.confidence("GENE2"), prediction.confidence("GENE2"))
    assert again.provenance == prediction.provenance
    assert again.spots.uns["cmrcnet"] == prediction.spots.uns["cmrcnet"]
    assert list(again.spots.obs.columns) == list(prediction.spots.obs.columns)
    assert read_provenance(saved) == prediction.provenance


def test_the_training_sections_variable_genes_go_with_the_file(
    prediction: Prediction, saved: Path, checkpoint: Checkpoint
) -> None:
    assert prediction.variable_genes == set(checkpoint.card.variable_genes) == {f"GENE{i}" for i in range(0, 20, 2)}
    assert Prediction.load(saved).variable_genes == prediction.variable_genes
    assert checkpoint.path is not None
    shutil.rmtree(checkpoint.path)
    alone = Prediction.load(saved)
    assert alone.bank is None
    assert alone.variable_genes == prediction.variable_genes


def test_totals_are_the_spots_counts(prediction: Prediction) -> None:
    assert prediction.totals is not None
    np.testing.assert_array_equal(prediction.totals, prediction.spots.X.toarray().sum(axis=1))


def test_scanpy_reads_the_file(prediction: Prediction, saved: Path) -> None:
    table = anndata.read_h5ad(saved)
    assert table.X is None
    assert table.n_obs == 36
    assert {"GENE3", "GENE4"} <= set(table.var_names)
    assert set(table.var_names[table.var["panel"]]) == {"GENE3", "GENE4"}
    assert table.n_vars < 24
    np.testing.assert_array_equal(table.layers["predicted"], prediction.expression(list(table.var_names)))
    np.testing.assert_array_equal(table.layers["measured"], prediction.measured(list(table.var_names)))
    np.testing.assert_array_equal(table.raw.X.toarray(), prediction.spots.X.toarray())
    assert table.obsm["neighbours"].shape == (36, 6)
    assert "spot_diameter_fullres" in next(iter(table.uns["spatial"].values()))["scalefactors"]
    assert json.loads(table.uns["cmrcnet"])["provenance"]["k"] == 6


def test_the_stored_genes_are_the_panel_and_the_highest_and_most_variable(prediction: Prediction, saved: Path) -> None:
    measured = pd.DataFrame(prediction.measured(prediction.genes), columns=prediction.genes)
    expected = {"GENE3", "GENE4"}
    for among in (measured, measured[[gene for gene in prediction.genes if gene in prediction.variable_genes]]):
        expected |= {*among.mean().nlargest(4).index, *among.var().nlargest(4).index}
    assert set(anndata.read_h5ad(saved).var_names) == expected


def test_without_counts_the_file_holds_the_highest_of_the_bank(
    prediction: Prediction, tmp_path: Path, few_genes_stored: None
) -> None:
    spots = anndata.AnnData(obs=prediction.spots.obs, obsm={"spatial": prediction.xy}, uns=dict(prediction.spots.uns))
    bank = prediction.bank
    assert bank is not None
    unmeasured = Prediction(
        spots, prediction.neighbours, prediction.similarity, prediction.confidence(), prediction.provenance, bank=bank
    )
    unmeasured.save(tmp_path / "P.h5ad")
    table = anndata.read_h5ad(tmp_path / "P.h5ad")
    highest = pd.Series(bank.expression.toarray().mean(axis=0), bank.genes).nlargest(4).index
    assert set(table.var_names) == {"GENE3", "GENE4", *highest}
    assert table.raw is None
    again = Prediction.load(tmp_path / "P.h5ad")
    assert again.measured(["GENE1"]) is None
    np.testing.assert_array_equal(again.gene("GENE1"), prediction.gene("GENE1"))


def test_the_checkpoint_is_found_when_both_moved(prediction: Prediction, saved: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(tmp_path / "models", elsewhere / "models")
    shutil.move(tmp_path / "results", elsewhere / "results")
    again = Prediction.load(elsewhere / "results" / "C.h5ad")
    np.testing.assert_array_equal(again.expression(again.genes), prediction.expression(prediction.genes))


def test_without_its_checkpoint_the_stored_genes_remain(prediction: Prediction, saved: Path, tmp_path: Path) -> None:
    moved = shutil.move(tmp_path / "models" / "M.cmrcnet", tmp_path / "moved.cmrcnet")
    alone = Prediction.load(saved)
    assert alone.bank is None
    assert {"GENE3", "GENE4"} <= set(alone.genes)
    np.testing.assert_array_equal(alone.gene("GENE4"), prediction.gene("GENE4"))
    assert alone.expression(["GENE4", "GENE3"], slice(3, 5)).shape == (2, 2)
    other = next(gene for gene in prediction.genes if gene not in alone.genes)
    with pytest.raises(UserError, match=rf"needs its checkpoint for {other}.*M\.cmrcnet; say where it is now") as error:
        alone.gene(other)
    assert error.value.setting == "checkpoint"
    assert error.value.told({"checkpoint": "--checkpoint"}).endswith("; say where it is now (--checkpoint).")
    pd.testing.assert_frame_equal(alone.confidence(), prediction.confidence())
    np.testing.assert_array_equal(alone.measured([other]), prediction.measured([other]))
    for given in (moved, Checkpoint.load(moved)):
        found = Prediction.load(saved, given)
        np.testing.assert_array_equal(found.gene(other), prediction.gene(other))


def test_expected_accuracy_goes_with_the_file(
    prediction: Prediction, expecting_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    assert prediction.expected is None
    parts = prediction.spots, prediction.neighbours, prediction.similarity, prediction.confidence()
    made = replace(
        prediction.provenance,
        checkpoint=str(expecting_checkpoint.path),
        checkpoint_digest=expecting_checkpoint.digest,
        expected_over="patients",
    )
    expecting = Prediction(*parts, made, bank=expecting_checkpoint.bank)
    expecting.save(tmp_path / "E.h5ad")
    var = anndata.read_h5ad(tmp_path / "E.h5ad").var
    columns = [expecting.genes.index(gene) for gene in var.index]
    assert expecting.expected is not None
    np.testing.assert_array_equal(var[["expected_pcc", "expected_partial_pcc"]], expecting.expected[columns])
    assert np.isnan(expecting.expected[expecting.genes.index("GENE5")]).all()
    np.testing.assert_array_equal(Prediction.load(tmp_path / "E.h5ad").expected, expecting.expected)
    assert expecting.found is not None
    assert expecting_checkpoint.path is not None
    shutil.rmtree(expecting_checkpoint.path)
    alone = Prediction.load(tmp_path / "E.h5ad")
    np.testing.assert_array_equal(alone.found, expecting.found[columns])
    np.testing.assert_array_equal(alone.expected, expecting.expected[columns])
    assert alone.provenance.expected_over == "patients"


def test_without_its_checkpoint_it_can_be_saved_again(saved: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "models")
    Prediction.load(saved).save(tmp_path / "again.h5ad")
    again, before = Prediction.load(tmp_path / "again.h5ad"), Prediction.load(saved)
    np.testing.assert_array_equal(again.expression(again.genes), before.expression(before.genes))


def test_another_checkpoint_is_not_taken_for_its_own(
    saved: Path, checkpoint: Checkpoint, untrained_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    card = json.loads((tmp_path / "models" / "M.cmrcnet" / "card.json").read_text("utf-8"))
    (tmp_path / "models" / "M.cmrcnet" / "card.json").write_text(json.dumps(card | {"seed": 1}), "utf-8")
    alone = Prediction.load(saved)
    assert alone.bank is None
    with pytest.raises(UserError, match="is not the checkpoint that made this prediction"):
        alone.gene("GENE99")
    with pytest.raises(UserError, match=r"M\.cmrcnet is not the checkpoint that made .*C\.h5ad"):
        Prediction.load(saved, tmp_path / "models" / "M.cmrcnet")


def test_a_checkpoint_that_may_not_be_read_is_not_used(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its card may be, as where a share breaks off meanwhile; permissions do not stop the superuser."""

    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(checkpoint_module, "sha256", refuse)
    alone = Prediction.load(saved)
    assert alone.bank is None
    with pytest.raises(UserError, match=r"bank\.h5ad may not be read; check its permissions"):
        alone.gene("GENE99")


def test_a_changed_checkpoint_is_not_used(saved: Path, tmp_path: Path) -> None:
    bank = tmp_path / "models" / "M.cmrcnet" / "bank.h5ad"
    bank.write_bytes(bank.read_bytes()[:-1] + b"x")
    alone = Prediction.load(saved)
    with pytest.raises(UserError, match=r"bank\.h5ad was changed or damaged"):
        alone.gene("GENE99")


def test_a_gene_that_nobody_knows(prediction: Prediction) -> None:
    with pytest.raises(UserError, match="no gene GENE99; names similar to GENE99 are"):
        prediction.gene("GENE99")


def test_another_file_is_no_prediction(tmp_path: Path) -> None:
    anndata.AnnData(np.ones((2, 2), np.float32)).write_h5ad(tmp_path / "other.h5ad")
    for read in (Prediction.load, read_provenance):
        with pytest.raises(UserError, match=r"other\.h5ad is not a prediction"):
            read(tmp_path / "other.h5ad")


def test_a_checkpoint_is_not_taken_for_a_prediction(untrained_checkpoint: Checkpoint) -> None:
    assert untrained_checkpoint.path is not None
    sentence = r" is a checkpoint \(a model\), not a prediction; give the \.h5ad file that predict wrote"
    with pytest.raises(UserError, match=sentence):
        Prediction.load(untrained_checkpoint.path)


def change(saved: Path, edit: Callable[[anndata.AnnData], object]) -> None:
    table = anndata.read_h5ad(saved)
    edit(table)
    table.write_h5ad(saved)


def edit_record(table: anndata.AnnData, **entries: Any) -> None:
    table.uns["cmrcnet"] = json.dumps(json.loads(table.uns["cmrcnet"]) | entries)


def size_spots(table: anndata.AnnData, diameter: float) -> None:
    (library,) = table.uns["spatial"].values()
    library["scalefactors"]["spot_diameter_fullres"] = diameter


def edit_provenance(table: anndata.AnnData, **entries: Any) -> None:
    edit_record(table, provenance=json.loads(table.uns["cmrcnet"])["provenance"] | entries)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda table: edit_record(table, format_version=2), "format version 2, this software knows 1"),
        (lambda table: edit_record(table, spots=None), "is not a prediction"),
        (lambda table: table.uns.update(cmrcnet="[" * 100_000), "is not a prediction"),
        (lambda table: table.uns.pop("spatial"), r"lacks uns\['spatial'\]"),
        (lambda table: edit_record(table, provenance={}), "lacks the entry"),
        (
            lambda table: edit_provenance(table, weight_temperature=0.0),
            "weight_temperature is not above 0",
        ),
        (
            lambda table: edit_provenance(table, weight_temperature="0.1"),
            "weight_temperature.*should be a valid number",
        ),
        (lambda table: edit_record(table, provenance=1), "which should be an object"),
        (lambda table: table.obsm.pop("neighbours"), r"lacks obsm\['neighbours'\]"),
        (lambda table: table.layers.pop("predicted"), "lacks layers"),
        (lambda table: table.obsm.update(similarity=np.ones((36, 2))), "do not fit each other"),
        (lambda table: table.obsm.update(similarity=table.obsm["similarity"] > 0), "similarities that are not finite"),
        (lambda table: table.obsm.update(similarity=table.obsm["similarity"] * np.float32("nan")), "not finite"),
        (lambda table: table.obsm["confidence"].pop("sections"), "lacks numbers of its confidence"),
        (lambda table: table.obsm.update(confidence=np.ones((36, 3))), "lacks numbers of its confidence"),
        (lambda table: table.layers.update(predicted=table.layers["predicted"] > 0), "values that are not numbers"),
        (lambda table: table.uns.update(spatial="text"), "one library in uns"),
        (lambda table: table.uns.update(spatial={"S": {}}), "how large its spots are"),
        (lambda table: size_spots(table, -5.0), "how large its spots are"),
        (lambda table: edit_provenance(table, expected_over="spots"), "which should be '', 'sections' or 'patients'"),
        (lambda table: table.var.insert(0, "expected_pcc", 2.0), "needs expected_pcc as finite float32"),
        (
            lambda table: (
                table.var.insert(0, "share", table.var.pop("found_in_training") + 2)
                or table.var.rename(columns={"share": "found_in_training"}, inplace=True)
            ),
            "found_in_training as finite float32 from 0 to 1",
        ),
        (lambda table: edit_provenance(table, k=10**400), "k"),
    ],
)
def test_a_prediction_that_is_not_whole(saved: Path, edit: Callable[[anndata.AnnData], object], said: str) -> None:
    change(saved, edit)
    with pytest.raises(UserError, match=said) as error:
        Prediction.load(saved)
    assert str(saved) in str(error.value)


def test_neighbours_beyond_the_bank(saved: Path) -> None:
    change(saved, lambda table: table.obsm.update(neighbours=table.obsm["neighbours"] + np.int32(72)))
    with pytest.raises(UserError, match="names spots that its checkpoint does not have"):
        Prediction.load(saved).gene("GENE1")


def test_a_full_disk_leaves_the_old_file(prediction: Prediction, saved: Path, full_disk: Callable[[int], Any]) -> None:
    before = saved.read_bytes()
    with full_disk(20_000), pytest.raises(UserError, match=r"C\.h5ad could not be written"):
        prediction.save(saved)
    assert saved.read_bytes() == before
    assert [entry.name for entry in saved.parent.iterdir()] == ["C.h5ad"]


def test_remembers_how_it_was_looked_at(prediction: Prediction, saved: Path, tmp_path: Path) -> None:
    assert Prediction.load(saved).view == {}
    prediction.view = {"shown": "GENE3", "limits": [0.0, 2.5]}
    prediction.save(tmp_path / "again.h5ad")
    assert prediction.path == tmp_path / "again.h5ad"
    again = Prediction.load(tmp_path / "again.h5ad")
    assert again.view == {"shown": "GENE3", "limits": [0.0, 2.5]}
    assert again.path == tmp_path / "again.h5ad"


@pytest.mark.parametrize("view", [None, 3, "GENE3", ["GENE3"]])
def test_a_view_changed_by_hand_is_forgotten(saved: Path, view: Any) -> None:
    change(saved, lambda table: edit_record(table, view=view))
    assert Prediction.load(saved).view == {}


def test_measured_set_is_of_the_measured_genes(prediction: Prediction) -> None:
    assert prediction.measured_set == set(prediction.measured_genes)


def test_means_of_all_genes_at_once(prediction: Prediction, saved: Path, tmp_path: Path) -> None:
    genes = prediction.genes
    expected = prediction.expression(genes).mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(prediction.predicted_means, expected, rtol=1e-6)
    np.testing.assert_allclose(prediction.measured_means(), prediction.measured(genes).mean(axis=0), rtol=1e-5)
    shutil.rmtree(tmp_path / "models")
    alone = Prediction.load(saved)
    places = [genes.index(gene) for gene in alone.genes]
    np.testing.assert_allclose(alone.predicted_means, expected[places], rtol=1e-6)


def test_means_of_genes_that_were_not_measured(prediction: Prediction) -> None:
    parts = prediction.neighbours, prediction.similarity, prediction.confidence(), prediction.provenance
    fewer = Prediction(prediction.spots[:, 3:5].copy(), *parts, bank=prediction.bank)
    assert np.flatnonzero(~np.isnan(fewer.measured_means())).tolist() == [3, 4]
    slide_only = Prediction(anndata.AnnData(obs=prediction.spots.obs), *parts, bank=prediction.bank)
    assert np.isnan(slide_only.measured_means()).all()
