"""The cohort table: means, spread, shares and PCC by section, class and patient, against numbers computed here."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.common.spreadsheet import write_frame
from napari_cmrcnet.evaluation.cohort import cohort_table
from napari_cmrcnet.evaluation.localise import otsu
from napari_cmrcnet.evaluation.scores import score
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.retrieval.trust import TRUSTS, trust_of
from napari_cmrcnet.sections.panels import Panel


@pytest.fixture(scope="module")
def predictions(
    tmp_path_factory: pytest.TempPathFactory,
    untrained_checkpoint: Checkpoint,
    write_section: Callable[..., Any],
    open_small: Callable[..., Any],
) -> list[Prediction]:
    made = []
    for name, seed in (("C", 3), ("D", 5)):
        section = open_small(*write_section(tmp_path_factory.mktemp("cohort"), name, seed), name=name)
        prediction = finish(predict(section, untrained_checkpoint, PredictConfig(k=6, device="cpu")))
        prediction.provenance = replace(prediction.provenance, patient="P=1")
        prediction.spots.obs["annotation"] = ["tumour", "stroma", None] * 12
        made.append(prediction)
    return made


def test_numbers_are_those_of_the_spots(predictions: list[Prediction], tmp_path: Path) -> None:
    panel = Panel("signature", ("GENE1", "GENE2"), ("GENE2",))
    table = cohort_table(predictions, ["GENE1", "no such gene"], panel)
    assert set(table["gene"]) == {"GENE1", "signature"}
    truth = [np.asarray(one.measured(["GENE1"]))[:, 0].astype(float) for one in predictions]
    guess = [one.gene("GENE1").astype(float) for one in predictions]
    limit = otsu(np.concatenate(truth))
    tumour = np.tile([True, False, False], 12)
    gene = table[(table["gene"] == "GENE1") & (table["level"] == "section")].set_index(["section", "class"])
    assert len(gene) == 2 * 3
    for number, name in enumerate("CD"):
        row = gene.loc[name, "tumour"]
        values = truth[number][tumour]
        assert row.spots == 12
        assert row.measured_mean == pytest.approx(values.mean())
        assert row.measured_sd == pytest.approx(values.std(ddof=1))
        assert row.measured_threshold == pytest.approx(limit)
        assert row.measured_share_above == pytest.approx((values > limit).mean())
        assert row.pcc == pytest.approx(np.corrcoef(values, guess[number][tumour])[0, 1])
        everything = gene.loc[name, "all spots"]
        assert everything.spots == 36
        assert everything.predicted_mean == pytest.approx(guess[number].mean(), rel=1e-6)
    patient = table[(table["level"] == "patient") & (table["gene"] == "GENE1")].set_index("class")
    assert patient.loc["tumour", "sections"] == 2
    assert patient.loc["tumour", "spots"] == 24
    assert set(patient["trust"]) == {""}  # it is of a slide
    assert set(gene["trust"]) <= {*TRUSTS, ""}
    sections = gene.xs("tumour", level="class")
    assert patient.loc["tumour", "measured_mean"] == pytest.approx(sections["measured_mean"].mean())
    assert patient.loc["tumour", "pcc"] == pytest.approx(sections["pcc"].mean())
    read = pd.read_csv(write_frame(tmp_path / "cohort.csv", table), keep_default_na=True)
    assert len(read) == len(table)
    np.testing.assert_allclose(read["predicted_mean"], table["predicted_mean"], rtol=1e-5)


def test_a_section_without_measurements_has_predicted_values_alone(predictions: list[Prediction]) -> None:
    first = predictions[0]
    spots = first.spots.copy()
    spots.X = None
    bare = Prediction(
        spots,
        first.neighbours,
        first.similarity,
        first.confidence(),
        replace(first.provenance, patient=""),
        bank=first.bank,
    )
    table = cohort_table([bare], ["GENE1"])
    assert set(table["level"]) == {"section"}  # the patient is not known
    assert table["measured_mean"].isna().all()
    assert table["pcc"].isna().all()
    assert table["predicted_share_above"].notna().all()
    assert set(table["trust"]) == {trust_of(bare, "GENE1", np.nan, np.nan).word}
    assert cohort_table([bare], ["no such gene"]).empty


def test_means_are_over_the_same_spots_everywhere(predictions: list[Prediction]) -> None:
    one = predictions[0]
    spots = one.spots.copy()
    counts = spots.X.toarray() if hasattr(spots.X, "toarray") else np.array(spots.X)
    counts[:3] = 0
    counts[:3, one.spots.var_names.get_loc("GENE1")] = 1  # the highest values of the section, once normalised
    spots.X = counts
    few = Prediction(spots, one.neighbours, one.similarity, one.confidence(), one.provenance, bank=one.bank)
    scored, column = score(few).table.loc["GENE1"], few.genes.index("GENE1")
    (row,) = cohort_table([few], ["GENE1"]).query("level == 'section' and source == ''").to_dict("records")
    assert row["spots"] == len(few) - 3
    for kind, means in (("measured", few.measured_means()), ("predicted", few.predicted_means)):
        assert row[f"{kind}_mean"] == pytest.approx(scored[f"{kind}_mean"], rel=1e-5)
        assert means[column] == pytest.approx(scored[f"{kind}_mean"], rel=1e-5)
    assert scored.measured_mean != pytest.approx(float(np.mean(few.measured(["GENE1"]))), rel=1e-3)
