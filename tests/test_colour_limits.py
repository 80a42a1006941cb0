"""Maps do not shout: a least span of colours, numbers at both ends of a bar, and the word for a flat prediction."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import poisson

from napari_cmrcnet.evaluation.colour_limits import (
    LEAST_SPAN,
    bar_ticks,
    colour_limits,
    difference_limits,
    hardly_varies,
)
from napari_cmrcnet.evaluation.headline import headline, in_lines, section_of, section_words
from napari_cmrcnet.evaluation.plot_style import PANEL_UNIT, SHORT_UNIT
from napari_cmrcnet.evaluation.shown import Shown
from napari_cmrcnet.retrieval.likeness import STAIN, Likeness
from napari_cmrcnet.retrieval.trust import Trust


def test_the_least_span_is_the_largest_counting_noise_of_a_spot_of_10_000_counts() -> None:
    counts = np.arange(200)
    chances = poisson.pmf(counts, np.linspace(0.1, 20, 400)[:, None])
    values = np.log1p(counts)
    deviations = np.sqrt(chances @ values**2 - (chances @ values) ** 2)
    assert deviations.max() == pytest.approx(LEAST_SPAN, abs=0.02)


def test_what_varies_enough_has_its_percentiles() -> None:
    measured, predicted = np.arange(100.0), np.arange(100.0, 200)
    both = np.arange(200.0)
    assert colour_limits(measured, predicted) == tuple(np.percentile(both, [1, 99]))
    assert colour_limits(measured, predicted, percentiles=(10, 90)) == tuple(np.percentile(both, [10, 90]))
    assert colour_limits(predicted, from_zero=True) == (0.0, np.percentile(predicted, 99))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, 0.04, (0.0, 0.5)), (0.25, 0.55, (0.15, 0.65)), (3.0, 3.0, (2.75, 3.25)), (-3.0, -2.9, (-3.2, -2.7))],
)
def test_what_hardly_varies_does_not_fill_the_colours(low: float, high: float, expected: tuple[float, float]) -> None:
    """The first is ESR1 on HER2ST's C5, where a model found a focus of 0.04; the second MKI67 on a slide of skin."""
    values = np.linspace(low, high, 181)
    assert colour_limits(values) == pytest.approx(expected, abs=0.01)
    assert hardly_varies(values)


def test_from_zero_the_least_span_is_kept_and_a_panel_has_no_zero() -> None:
    assert colour_limits([0.01, 0.02], from_zero=True) == (0.0, LEAST_SPAN)
    score = np.linspace(-2, 2, 50)
    assert colour_limits(score, unit=PANEL_UNIT, from_zero=True) == colour_limits(score, unit=PANEL_UNIT)
    assert colour_limits([0.1, 0.2], unit=PANEL_UNIT) == pytest.approx((-0.35, 0.65))


@pytest.mark.parametrize("values", [[], [np.nan], [np.inf, np.nan], [0.0, 0.0], [2.0]])
def test_odd_values_give_limits_that_are_apart(values: list[float]) -> None:
    for low, high in (colour_limits(values), difference_limits(values), colour_limits(values, from_zero=True)):
        assert high - low >= LEAST_SPAN - 1e-9
        assert np.isfinite([low, high]).all()


def test_a_difference_is_symmetric_and_pale_where_it_is_small() -> None:
    assert difference_limits([0.1, -0.2, 0.05]) == (-LEAST_SPAN, LEAST_SPAN)
    low, high = difference_limits(np.linspace(-3, 1, 1001))
    assert low == -high
    assert high == pytest.approx(np.percentile(np.abs(np.linspace(-3, 1, 1001)), 99))


def test_a_panel_hardly_varies_where_none_of_its_genes_does() -> None:
    flat = np.random.default_rng(0).uniform(1, 1.2, (100, 5))
    assert hardly_varies(flat)
    flat[:, 2] *= 4
    assert not hardly_varies(flat)
    assert not hardly_varies([np.nan, np.nan])
    assert not hardly_varies([])


@pytest.mark.parametrize("limits", [(0, 0.5), (0.37, 2.91), (-1, 1), (0.613, 0.664), (1, 4), (0, 6.34), (8.999, 9.5)])
def test_both_ends_of_a_colour_bar_have_a_number(limits: tuple[float, float]) -> None:
    places, numbers = bar_ticks(*limits)
    assert (places[0], places[-1]) == limits
    assert 3 <= len(places) <= 6
    assert (np.diff(places) > 0.1 * (limits[1] - limits[0])).all()  # numbers do not touch
    assert [float(number) for number in numbers] == pytest.approx(places, abs=0.006)
    assert len(set(numbers)) == len(numbers)


def score(**of: Any) -> str:
    values = np.ones(3, np.float32)
    given = {"predicted": values, "measured": values, "pcc": np.nan, "undefined": ""}
    return Shown("ERBB2", "gene", SHORT_UNIT, **(given | of)).score


def test_a_long_title_is_broken_between_its_parts() -> None:
    title = "ESR1   PCC undefined (found at 1 of 179 spots)   prediction hardly varies   n = 179 of 181 spots"
    assert in_lines(title).splitlines() == [
        "ESR1   PCC undefined (found at 1 of 179 spots)",
        "prediction hardly varies   n = 179 of 181 spots",
    ]
    gene = headline("ERBB2", score(pcc=0.25, low=0.11, high=0.39))
    assert in_lines(f"{'a long name of a section':>40}   {gene}").splitlines()[1] == gene


def test_the_title_of_a_section_of_one_spot_says_1_spot() -> None:
    values, counted = np.ones(1, np.float32), np.array([True])
    alone = Shown("ERBB2", "gene", SHORT_UNIT, values, values, np.nan, "", counted=counted, hidden=counted)
    assert alone.title.endswith("n = 1 spot   1 spot hidden")


def test_a_figure_names_section_and_patient() -> None:
    assert section_words("C5", "C") == "C5, patient C"
    assert section_words("S1", synthetic=True) == "S1, synthetic"


def test_a_title_says_what_makes_scores_too_good() -> None:
    about = SimpleNamespace(
        section="C5", patient="C", synthetic=False, likeness=Likeness({STAIN: 0.5}), validated_on=("V",),
        trained_on=("C2", "C3"), trained_on_patients=("C", "D"),
    )  # fmt: skip

    def said(**changes: Any) -> str:
        return section_of(SimpleNamespace(provenance=SimpleNamespace(**{**vars(about), **changes})))  # type: ignore[arg-type]

    assert said() == "C5, patient C, same patient as in training: too optimistic"
    assert said(patient="E") == "C5, patient E, like the training tissue"
    assert said(section="C2").startswith("C2, patient C, trained on a section of this name: too optimistic")
    assert said(section="V").startswith("V, patient C, validated on it in training: too optimistic")
    assert said(likeness=Likeness({STAIN: 5})).endswith("too optimistic, not like the training tissue")


def test_the_words_over_a_map() -> None:
    assert headline("MKI67", score(measured=None)) == "MKI67, predicted only"
    assert headline("MKI67", score(predicted=None)) == "MKI67, measured only"
    assert headline("MKI67", score(measured=None, trust=Trust("weak"))) == "MKI67, predicted only · weak"
    assert score(pcc=0.5, trust=Trust("weak"), flat=True) == "PCC 0.50 · weak   prediction hardly varies"
    assert headline("MKI67", score(measured=None, flat=True)) == "MKI67, predicted only   prediction hardly varies"
    assert headline("ERBB2", score(pcc=0.25, low=0.11, high=0.39)) == "ERBB2  PCC 0.25 (95 % 0.11 to 0.39)"
    assert score(undefined="constant measured") == "PCC undefined (constant measured)"
