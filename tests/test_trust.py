"""Good, weak or do not use: one function decides, for one gene and for all, and says why."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.evaluation.scores import score
from napari_cmrcnet.evaluation.shown import gene_shown, panel_shown
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.likeness import Likeness
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.retrieval.trust import (
    TRUSTS,
    Trust,
    levels_of,
    trust_in_genes,
    trust_in_model,
    trust_levels,
    trust_of,
    trust_of_panel,
    trusts_in_words,
)
from napari_cmrcnet.sections.panels import Panel
from napari_cmrcnet.viewer.session import Session
from napari_cmrcnet.viewer.view_record import first_gene

NAN = float("nan")
EXPECTED = {"GENE0": 0.5, "GENE1": 0.3, "GENE2": 0.2, "GENE3": 0.05, "GENE4": NAN, "GENE5": 0.6}
RARE = "GENE5"
NEAR, BETWEEN, OTHER = (Likeness({"stain and sharpness": far}) for far in (0.5, 1.5, 9.0))


@pytest.fixture(scope="module")
def predicted(
    untrained_checkpoint: Checkpoint, tmp_path_factory: Any, write_section: Any, open_small: Any
) -> Prediction:
    section = open_small(*write_section(tmp_path_factory.mktemp("trust"), "C", 3), name="C", patient="P1")
    return finish(predict(section, untrained_checkpoint))


def of(predicted: Prediction, *, expects: bool = True, found: Any = None, **about: Any) -> Prediction:
    """Return the prediction as of a checkpoint that expects `EXPECTED`, and found `RARE` at few training spots."""
    bank = predicted.bank
    assert bank is not None
    expected = np.full((len(bank.genes), 2), np.nan, np.float32)
    for gene, pcc in EXPECTED.items():
        expected[bank.genes.index(gene)] = pcc, pcc / 2
    expression = bank.expression.toarray()
    expression[:] = np.maximum(expression, 0.1)
    expression[20:, bank.genes.index(RARE)] = 0  # 20 of 72 spots
    if found is not None:
        expression[found:, bank.genes.index(RARE)] = 0
    changed = replace(bank, expected=expected if expects else None, expression=type(bank.expression)(expression))
    settings = {"expected_over": "patients", "likeness": NEAR} | about
    made = replace(predicted.provenance, **settings)
    parts = predicted.spots, predicted.neighbours, predicted.similarity, predicted.confidence()
    return Prediction(*parts, made, bank=changed)


def words(prediction: Prediction, **measured: Any) -> list[str]:
    return [trust_of(prediction, gene, **measured).word for gene in EXPECTED]


def test_the_expected_pcc_decides_on_a_slide_like_the_training_tissue(predicted: Prediction) -> None:
    prediction = of(predicted)
    assert words(prediction) == ["good", "good", "weak", "do not use", "do not use", "good"]
    assert trust_of(prediction, "GENE0").reasons[0].startswith("Expected PCC: 0.50, 0.25 given depth (from 0.3 good")
    assert "too few spots of the training sections" in trust_of(prediction, "GENE4").reasons[0]
    assert trust_of(prediction, "NONE").word == ""


def test_a_gene_found_at_few_training_spots_is_weak_at_best(predicted: Prediction) -> None:
    trust = trust_of(of(predicted, found=10), RARE)
    assert trust.word == "weak"
    assert trust.reasons[0] == "Found at 14 % of the training spots."
    assert trust_of(of(predicted, found=15), RARE).word == "good"


@pytest.mark.parametrize("over", ["sections", "patients"])
def test_a_model_counts_its_genes_as_its_prediction_of_a_slide_like_its_tissue_does(
    predicted: Prediction, over: Any
) -> None:
    prediction = of(predicted, found=10, expected_over=over, patient="P1")
    assert prediction.expected is not None
    assert prediction.found is not None
    on_slide, of_model = trust_in_genes(prediction), trust_in_model(prediction.expected, prediction.found, over)
    counts, by = of_model.split(" (by ")
    assert counts == on_slide.split(" (by ")[0] == "2 good, 2 weak, 20 do not use"  # the rare gene is weak
    assert on_slide.endswith(" (by expected PCC, on this slide)")
    assert ("of a training patient" in by) == (over == "sections")  # on another one none is good


def test_no_gene_is_good_on_a_slide_that_is_not_like_the_training_tissue(predicted: Prediction) -> None:
    other, between = of(predicted, likeness=OTHER), of(predicted, likeness=BETWEEN)
    assert set(words(other)) == {"do not use"}
    assert trust_of(other, "GENE0").reasons[0] == OTHER.reason
    no_gene = "no gene of this model can be used on this slide. It differs too much from the training tissue."
    assert trust_in_genes(other) == no_gene
    assert trust_in_genes(between).startswith("4 weak, ")
    assert words(other, pcc=0.9) == ["weak"] * 6  # not even where it was measured
    assert words(between) == ["weak", "weak", "weak", "do not use", "do not use", "weak"]
    assert words(between, pcc=0.9) == ["good"] * 6


@pytest.mark.parametrize(
    ("patient", "word", "said"),
    [("P1", "good", "of this patient"), ("P9", "weak", "is of another"), ("", "weak", "may be of another")],
)
def test_what_was_not_measured_on_other_patients_is_weak_there(
    predicted: Prediction, patient: str, word: str, said: str
) -> None:
    trust = trust_of(of(predicted, expected_over="sections", patient=patient), "GENE0")
    assert trust.word == word
    assert any(said in reason for reason in trust.reasons)
    assert trust_of(of(predicted, patient=patient), "GENE0").word == "good"  # measured over patients


def test_what_was_measured_on_the_slide_counts_more_than_what_is_expected(predicted: Prediction) -> None:
    prediction = of(predicted, expected_over="sections", patient="P9", found=5)
    for pcc, low, word in (
        (0.4, 0.2, "good"),
        (0.4, NAN, "good"),
        (0.4, -0.1, "weak"),
        (0.2, 0.1, "weak"),
        (0.05, 0, "do not use"),
    ):
        assert words(prediction, pcc=pcc, low=low) == [word] * 6
    assert words(prediction, pcc=0.4, flat=True) == ["weak"] * 6
    assert "reaches 0" in trust_of(prediction, "GENE0", 0.4, -0.1).reasons[0]
    assert "hardly varies" in trust_of(prediction, "GENE0", 0.4, flat=True).reasons[0]


def test_on_a_section_that_was_trained_on_no_gene_is_good(predicted: Prediction) -> None:
    prediction = of(predicted, trained_on=("A", "C"))
    assert trust_of(prediction, "GENE0", 0.9, 0.8).word == "weak"
    assert trust_of(prediction, "GENE0").reasons[0].startswith("The checkpoint was trained on a section named C.")
    assert trust_of(of(predicted), "GENE0", 0.9, 0.8).word == "good"


def test_of_a_checkpoint_that_expects_nothing_only_the_slide_is_known(predicted: Prediction) -> None:
    plain = {"expects": False, "expected_over": ""}
    assert words(of(predicted, **plain)) == [""] * 6
    assert words(of(predicted, **plain, likeness=BETWEEN)) == [""] * 6
    assert words(of(predicted, **plain, likeness=OTHER)) == ["do not use"] * 6
    assert words(of(predicted, **plain, likeness=None)) == [""] * 6
    assert trust_of(of(predicted, **plain), "GENE0", 0.4).word == "good"


@pytest.mark.parametrize("likeness", [NEAR, BETWEEN, OTHER, None])
@pytest.mark.parametrize("over", ["sections", "patients"])
def test_it_is_the_same_for_all_genes_at_once(predicted: Prediction, likeness: Likeness | None, over: str) -> None:
    prediction = of(predicted, likeness=likeness, expected_over=over, patient="P9")
    rng = np.random.default_rng(0)
    n = len(prediction.genes)
    pcc = np.where(rng.random(n) < 0.5, np.nan, rng.uniform(-0.2, 0.8, n))
    low = pcc - 0.3
    for values in ((None, None), (pcc, low)):
        levels = trust_levels(prediction, *values)
        one = [
            trust_of(prediction, gene, *(NAN if of is None else of[i] for of in values)).word
            for i, gene in enumerate(prediction.genes)
        ]
        assert [TRUSTS[level] if level >= 0 else "" for level in levels] == one
    assert levels_of(np.array([0.3, 0.29, 0.1, 0.09, np.nan])).tolist() == [0, 1, 1, 2, 2]
    assert trusts_in_words(np.array([0, 0, 2, -1], np.int8)) == "2 good, 1 do not use, 1 not known"


def test_window_figure_and_report_say_the_same(predicted: Prediction) -> None:
    prediction = of(predicted)
    scores = score(prediction)
    session = Session()
    session.look_at(prediction)
    session.set_scores(scores)
    for gene in EXPECTED:
        session.show(gene)
        assert session.shown is not None
        word = scores.table.trust[gene]
        assert word in TRUSTS
        assert session.shown.trust == gene_shown(prediction, gene, scores).trust
        assert session.shown.trust.word == word
        assert f" · {word}" in session.shown.title
        assert all(reason in session.shown.tip for reason in session.shown.trust.reasons)


def test_the_marker_that_is_expected_to_be_best_is_shown_first(predicted: Prediction) -> None:
    panel = Panel("mine", ("NONE", "GENE3", "GENE2", "GENE0"))
    assert first_gene(of(predicted, panel=panel)) == "GENE0"
    assert first_gene(of(predicted, panel=panel), "GENE3") == "GENE3"
    assert first_gene(of(predicted, panel=panel, expects=False)) == "GENE3"


def test_a_panels_score_is_trusted_as_its_middle_gene_and_no_more_than_its_own_pcc() -> None:
    good, weak, avoid = (Trust(word, ("Why.",)) for word in TRUSTS)
    assert trust_of_panel([good, good, avoid]).word == "good"
    half = trust_of_panel([good, good, avoid, avoid])
    assert (half.word, half.reasons[0]) == ("do not use", "Of its 4 genes: 2 good, 2 do not use.")
    assert trust_of_panel([good, weak, avoid]).word == "weak"
    measured = trust_of_panel([good, good], 0.05)
    assert (measured.word, measured.reasons[0]) == ("do not use", "PCC of the score with what was measured here: 0.05.")
    assert trust_of_panel([avoid], 0.9).word == "do not use"
    assert trust_of_panel([weak]).reasons == ("Of its 1 gene: 1 weak.",)
    assert trust_of_panel([good], flat=True).word == "weak"
    assert trust_of_panel([good, Trust()]).word == trust_of_panel([]).word == ""


def test_the_title_of_a_panels_score_says_how_far_to_trust_it(predicted: Prediction) -> None:
    shown = panel_shown(of(predicted, likeness=OTHER), Panel("mixed", ("GENE0", "GENE3")))
    assert shown.pcc < 0
    assert shown.score.startswith(f"PCC {shown.pcc:.2f} · do not use")
    first, second, _ = shown.trust.reasons
    assert first == f"PCC of the score with what was measured here: {shown.pcc:.2f}."
    assert second == "Of its 2 genes: 2 weak."
