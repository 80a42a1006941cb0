"""Whether a whole slide is like the training tissue: what is measured, what the limit is, and what is said."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.json_entries import read_entries
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.common.sample import sample_folder
from napari_cmrcnet.evaluation.headline import section_of
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.describe import describe
from napari_cmrcnet.retrieval.leaks import warnings_of
from napari_cmrcnet.retrieval.likeness import LIKE, NOT, PARTLY, Likeness, Usual
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.retrieval.provenance import Provenance
from napari_cmrcnet.retrieval.tissue import Described, likeness_of
from napari_cmrcnet.sections.section import Section, open_section
from napari_cmrcnet.sections.sheet import read_sheet
from napari_cmrcnet.sections.stain import stain_and_sharpness
from napari_cmrcnet.training.usual_tissue import training_tissue, usual_tissue

SPOTS = 200


def drawn(rng: np.random.Generator, features: int = 6, shift: float = 0.0, spots: int = SPOTS) -> dict[str, Described]:
    """Describe a section: correlated features about a mean of its own, as stains differ from slide to slide."""
    mixing = np.random.default_rng(0).normal(size=(features, features))
    values = (rng.normal(size=(spots, features)) + 0.2 * rng.normal(size=features) + shift) @ mixing
    return {"stain": Described(values, rng.uniform(size=(spots, 2)))}


def far(one: dict[str, Described], usual: dict[str, Usual]) -> float:
    return usual["stain"].far(one["stain"].features.mean(axis=0))


@pytest.mark.parametrize("features", [6, 60])
def test_sections_of_the_same_kind_are_like_and_another_is_not(features: int) -> None:
    rng = np.random.default_rng(1)
    usual = usual_tissue([drawn(rng, features) for _ in range(8)], list("ABCDEFGH"))
    same = [far(drawn(rng, features), usual) for _ in range(200)]
    assert np.mean(np.array(same) > 1) <= 0.05
    assert far(drawn(rng, features, shift=2.0), usual) > 2


def test_the_limit_is_that_of_the_areas_of_left_out_sections() -> None:
    """Found again by leaving out each group, with scipy's Mahalanobis distance."""
    rng = np.random.default_rng(2)
    sections, groups = [drawn(rng, spots=60) for _ in range(4)], ["P", "Q", "P", "R"]
    usual = usual_tissue(sections, groups)
    values = [one["stain"].features for one in sections]

    def apart(mean: Any, others: list[Any]) -> float:
        within = np.mean([np.cov(one.T, bias=True) for one in others], axis=0)
        deviation = np.sqrt(np.diag(within))
        shrunk = 0.99 * within + 0.01 * np.diag(np.diag(within))
        assert deviation.min() > 0
        return mahalanobis(mean, np.mean([one.mean(axis=0) for one in others], axis=0), np.linalg.inv(shrunk)) / 6**0.5

    found = []
    for group in "PQR":
        others = [one for one, of in zip(values, groups, strict=True) if of != group]
        for one, section, of in zip(values, sections, groups, strict=True):
            if of == group:
                xy = section["stain"].xy
                longer = int(np.ptp(xy, axis=0).argmax())
                halves = np.array_split(np.argsort(xy[:, longer]), 2)
                quarters = []
                for half in halves:
                    along = int(np.ptp(xy[half], axis=0).argmax())
                    quarters += np.array_split(half[np.argsort(xy[half, along])], 2)
                found += [apart(one[rows].mean(axis=0), others) for rows in quarters]
    limit = np.quantile(found, 0.95) * (1 + 1 / 3)
    assert usual["stain"].limit == pytest.approx(limit, rel=1e-6)
    new = rng.normal(size=6)
    assert usual["stain"].far(new) == pytest.approx(apart(new, values) / limit, rel=1e-3)


@pytest.mark.parametrize("sections", [3, 4, 8])
def test_few_sections_that_differ_more_from_each_other_than_within_give_few_false_alarms(sections: int) -> None:
    """The worst case: each section has a stain of its own. Of the limit of the areas alone it would be 7 to 20 %."""
    rng = np.random.default_rng(6)

    def stained() -> dict[str, Described]:
        return {"stain": Described(rng.normal(size=4) + rng.normal(size=(40, 4)), rng.uniform(size=(40, 2)))}

    beyond = []
    for _ in range(300):
        usual = usual_tissue([stained() for _ in range(sections)], [str(i) for i in range(sections)])
        beyond.append(far(stained(), usual) > 1)
    assert np.mean(beyond) < 0.09


def test_the_share_of_false_alarms_is_that_of_both_kinds_together() -> None:
    rng = np.random.default_rng(3)
    both = [drawn(rng) | {"tissue": drawn(rng, 50)["stain"]} for _ in range(10)]
    alone = [
        usual_tissue([{kind: one[kind]} for one in both], list("ABCDEFGHIJ"))[kind] for kind in ("stain", "tissue")
    ]
    together = usual_tissue(both, list("ABCDEFGHIJ"))
    assert together["stain"].limit >= alone[0].limit
    assert together["tissue"].limit > alone[1].limit  # of many features the means of areas vary less


def test_a_single_section_is_divided_and_a_spot_is_not() -> None:
    rng = np.random.default_rng(4)
    one = drawn(rng)
    usual = usual_tissue([one], ["A"])
    assert far(one, usual) < 1
    assert far(drawn(rng, shift=3.0), usual) > 2
    assert usual_tissue([drawn(rng, spots=1)], ["A"]) == {}


def test_features_that_do_not_vary_are_no_reason_to_fail() -> None:
    flat = {"stain": Described(np.ones((20, 3)), np.random.default_rng(0).uniform(size=(20, 2)))}
    usual = usual_tissue([flat, flat], ["A", "B"])
    assert far(flat, usual) == 0
    assert far({"stain": Described(2 * np.ones((20, 3)), flat["stain"].xy)}, usual) > 2


def test_stain_and_sharpness() -> None:
    pixels = np.zeros((2, 8, 8, 3), np.uint8)
    pixels[0] = (255, 25, 128)
    pixels[1, ::2] = 255
    found = stain_and_sharpness(pixels)
    np.testing.assert_allclose(found[0, :3], -np.log10([1, 26 / 256, 129 / 256]))
    np.testing.assert_allclose(found[0, 3:], 0, atol=1e-12)
    density = -np.log10(1 / 256)
    np.testing.assert_allclose(found[1], [density / 2] * 6 + [255, 0], rtol=1e-6)


@pytest.mark.parametrize(("far", "verdict"), [(0.3, LIKE), (1.0, LIKE), (1.1, PARTLY), (2.0, PARTLY), (2.1, NOT)])
def test_the_farthest_kind_decides(far: float, verdict: str) -> None:
    found = Likeness({"stain and sharpness": far, "look of the tissue": 0.2})
    assert found.verdict == verdict
    assert found.reason.startswith(f"The slide is {verdict}.")
    assert ("It differs in stain and sharpness (" in found.reason) == (verdict != LIKE)
    assert "look" not in found.reason


def test_both_read_back_from_json() -> None:
    likeness = Likeness({"stain": 0.5})
    for one in (likeness, None):
        about = Provenance(section="C5", mpp=0.5, mpp_source="test", likeness=one)
        assert read_entries(Provenance, json.loads(json.dumps(asdict(about)))) == about
    rng = np.random.default_rng(5)
    usual = usual_tissue([drawn(rng) | {"tissue": drawn(rng, 40)["stain"]} for _ in range(3)], list("ABC"))
    assert {kind: read_entries(Usual, asdict(one)) for kind, one in usual.items()} == usual


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"centre": [[1.0]]}, "should be a valid number"),
        ({"centre": []}, "do not fit each other"),
        ({"scale": [1.0]}, "do not fit each other"),
        ({"scale": [[1.0, 2.0], [3.0]]}, "do not fit each other"),
        ({"centre": [1.0, "2"]}, "should be a valid number"),
        ({"centre": [1.0, float("nan")]}, "should be a finite number"),
        ({"limit": 0}, "not above 0"),
        ({"limit": "far"}, "should be a valid number"),
        ({"more": 1}, "unknown entry"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], said: str) -> None:
    good = {"centre": [1.0, 2.0], "scale": [1.0, 1.0], "limit": 0.3}
    assert read_entries(Usual, good).far(np.array([1.3, 2.3])) == pytest.approx(1)
    with pytest.raises(UserError, match=said):
        read_entries(Usual, good | changes)


@pytest.mark.parametrize("value", [3, {"far": {}}, {"far": {"stain": "near"}}, {"near": {}}])
def test_a_likeness_that_cannot_be_is_refused(value: Any) -> None:
    with pytest.raises(UserError):
        read_entries(Likeness, value)


def test_a_prediction_keeps_and_says_it(
    tmp_path: Path,
    write_section: Callable[..., Any],
    open_small: Callable[..., Section],
    untrained_checkpoint: Checkpoint,
) -> None:
    sections = [open_small(*write_section(tmp_path, name, seed), name=name) for seed, name in enumerate("ABC", 1)]
    usual = finish(training_tissue(sections[:2]))
    for times, verdict in ((10, LIKE), (0.01, NOT)):
        known = {kind: replace(one, limit=times * one.limit) for kind, one in usual.items()}
        card = replace(untrained_checkpoint.card, usual_tissue=known)
        checkpoint = Checkpoint(card, untrained_checkpoint.model, untrained_checkpoint.bank)
        checkpoint = Checkpoint.load(checkpoint.save(tmp_path / "usual.cmrcnet").path)  # type: ignore[arg-type]
        assert checkpoint.card.usual_tissue == known
        prediction = finish(predict(sections[2], checkpoint))
        assert prediction.provenance.likeness is not None
        assert prediction.provenance.likeness.verdict == verdict
        prediction.save(tmp_path / "P.h5ad")
        again = Prediction.load(tmp_path / "P.h5ad")
        assert again.provenance.likeness == prediction.provenance.likeness
        assert section_of(again) == f"C, {verdict}"
        assert (again.provenance.likeness.reason in warnings_of([again])) == (verdict == NOT)
        told = describe(tmp_path / "P.h5ad")
        assert told.facts["tissue"] == verdict
        said = " ".join((*told.facts.values(), *told.problems))
        assert said.count(again.provenance.likeness.reason) == (verdict == NOT)
    without = finish(predict(sections[2], untrained_checkpoint))
    assert without.provenance.likeness is None


def test_the_sample_is_like_its_training_sections_and_a_wrong_slide_is_not(
    tmp_path: Path, write_section: Callable[..., Any], open_small: Callable[..., Section]
) -> None:
    (row,) = read_sheet(sample_folder() / "sections.csv")
    checkpoint = Checkpoint.open(sample_folder() / "sample.cmrcnet")
    noise = open_small(*write_section(tmp_path, "noise", 1), name="noise")
    for section, verdict in ((row.open(), LIKE), (noise, NOT)):
        found = finish(likeness_of(section, checkpoint.card.usual_tissue, checkpoint.encoder))
        assert found is not None
        assert found.verdict == verdict
        section.slide.close()


def test_a_slide_of_another_laboratory_is_not_like_serial_sections(real_data: Path) -> None:
    training = [
        open_section(real_data / f"her2st/{n}.tif", real_data / f"her2st/{n}.h5ad", name=n) for n in ("C3", "C4")
    ]
    usual = finish(training_tissue(training))
    for section, verdict in (
        (open_section(real_data / "her2st/C5.tif", real_data / "her2st/C5.h5ad"), LIKE),
        (open_section(real_data / "slides/CMU-1-Small-Region.svs"), NOT),
    ):
        found = finish(likeness_of(section, usual))
        assert found is not None
        assert found.verdict == verdict
        section.slide.close()
    for section in training:
        section.slide.close()
