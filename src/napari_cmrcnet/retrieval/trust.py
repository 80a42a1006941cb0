"""Trust: whether the prediction of a gene on a slide is good, weak or not to be used, and why. Decided here alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.retrieval.expected import GOOD, WEAK, Float32, Over
from napari_cmrcnet.retrieval.leaks import leak
from napari_cmrcnet.retrieval.likeness import LIKE, NOT, PARTLY

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.prediction import Prediction

Levels = NDArray[np.int8]
Numbers = NDArray[np.float64]

TRUSTS = ("good", "weak", "do not use")
UNKNOWN, AT_BEST_GOOD, AT_BEST_WEAK, AVOID = -1, 0, 1, 2

LEAST_FOUND = 0.2
"""Share of the training spots at which a gene must be found to be good; docs/expected.md says how rarer ones did."""


@dataclass(frozen=True)
class Trust:
    """How far the prediction of a gene on a slide can be trusted.

    Parameters
    ----------
    word : str
        One of `TRUSTS`, "" where nothing is known.
    reasons : tuple of str
        A sentence each; the one that decides comes first.
    """

    word: str = ""
    reasons: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """The word and the reason that decides; "" where nothing is known."""
        return f"Trust: {self.word}. {self.reasons[0]}" if self.word else ""


NOTHING = Trust()
"""Of what nothing is known."""


@dataclass(frozen=True, eq=False)
class _Rule:
    """The best level that one reason leaves for each gene, and the reason in words, "" where there is none."""

    levels: Levels
    said: Callable[[int], str]


def trust_of(
    prediction: "Prediction", gene: str, pcc: float = np.nan, low: float = np.nan, *, flat: bool = False
) -> Trust:
    """Say how far the prediction of a gene on its slide can be trusted.

    The worst reason decides. What was measured on the slide itself counts more than what is expected: then only a slide
    that is not like the training tissue, a section that was trained on, and a prediction that hardly varies, make it
    worse.

    Parameters
    ----------
    prediction : Prediction
        Of the slide.
    gene : str
        By symbol or Ensembl id.
    pcc, low : float
        Its correlation with what was measured here, and the lower end of its interval; NaN where not known.
    flat : bool
        Whether the prediction hardly varies over the slide.
    """
    column = prediction.names.column(gene)
    if column is None:
        return NOTHING
    rules = _rules(prediction, np.array([column]), np.array([pcc]), np.array([low]), np.array([flat]))
    level = int(_combined(rules)[0])
    said = sorted((-int(rule.levels[0]), place, rule.said(0)) for place, rule in enumerate(rules))
    return Trust("" if level == UNKNOWN else TRUSTS[level], tuple(text for _, _, text in said if text))


def trust_levels(prediction: "Prediction", pcc: Numbers | None = None, low: Numbers | None = None) -> Levels:
    """Return how far each gene can be trusted by all reasons of `trust_of` that do not take its values.

    Parameters
    ----------
    prediction : Prediction
        Of the slide.
    pcc, low : float64 (genes,), optional
        As of `trust_of`, for all its genes.

    Returns
    -------
    int8 (genes,)
        Place in `TRUSTS`, -1 where nothing is known.
    """
    unknown = np.full(len(prediction.genes), np.nan)
    pcc, low = (unknown if values is None else np.asarray(values, np.float64) for values in (pcc, low))
    return _combined(_rules(prediction, np.arange(len(unknown)), pcc, low, np.zeros(len(unknown), bool)))


def trust_of_panel(genes: Sequence[Trust], pcc: float = np.nan, *, flat: bool = False) -> Trust:
    """Say how far a panel's score can be trusted: as its middle gene, and by its own PCC where it was measured.

    The worst reason decides. More than half of the genes are at least as good as the word; of an even number that is
    divided in the middle, the worse half gives the word.

    Parameters
    ----------
    genes : sequence of Trust
        Of the genes that the score is of.
    pcc : float
        The score's correlation with what was measured here; NaN where it is not known.
    flat : bool
        Whether its prediction hardly varies over the slide.
    """
    if not genes or not all(gene.word for gene in genes):
        return NOTHING
    levels = np.array([TRUSTS.index(gene.word) for gene in genes], np.int8)
    said = f"Of its {count_text(len(levels), 'gene')}: {trusts_in_words(levels)}."
    found = [(int(np.sort(levels)[len(levels) // 2]), said)]
    if not np.isnan(pcc):
        found.append((int(levels_of(np.array([pcc]))[0]), f"PCC of the score with what was measured here: {pcc:z.2f}."))
    if flat:
        found.append((AT_BEST_WEAK, "The prediction hardly varies over this slide."))
    found.sort(key=lambda reason: -reason[0])
    return Trust(TRUSTS[found[0][0]], tuple(said for _, said in found))


def levels_of(pcc: NDArray[np.floating[Any]]) -> Levels:
    """Return the level that a PCC, found or expected, leaves for each gene; one without (NaN) is not to be used."""
    return np.where(pcc >= GOOD, AT_BEST_GOOD, np.where(pcc >= WEAK, AT_BEST_WEAK, AVOID)).astype(np.int8)


def trust_in_genes(prediction: "Prediction") -> str:
    """Say how many genes can be trusted how far on a slide, and by what; where none can be used, why."""
    levels, likeness = trust_levels(prediction), prediction.provenance.likeness
    if (levels < AVOID).any():
        return f"{trusts_in_words(levels)} (by expected PCC, on this slide)"
    why = f"Each has an expected PCC below {WEAK:g}, or is too rare to have one."
    if likeness is not None and likeness.verdict == NOT:
        why = "It differs too much from the training tissue."
    return f"no gene of this model can be used on this slide. {why}"


def trust_in_model(expected: Numbers | Float32, found: Numbers | Float32, over: Over) -> str:
    """Say how many genes of a model can be trusted how far where the slide makes none worse, and by what.

    Parameters
    ----------
    expected : float (genes, 2)
        As `Bank` has it.
    found : float (genes,)
        The share of the training spots at which each gene was found.
    over : {"", "sections", "patients"}
        What was left out in turn.
    """
    levels = np.maximum(levels_of(expected[:, 0]), _levels_of_share(found))
    patient = " and of a training patient" if over == "sections" else ""
    return f"{trusts_in_words(levels)} (by expected PCC, on a slide like the training tissue{patient})"


def trusts_in_words(levels: Levels) -> str:
    """Say how many genes can be trusted how far, of `trust_levels`."""
    counts = [(int(np.sum(levels == level)), word) for level, word in enumerate(TRUSTS)]
    counts.append((int(np.sum(levels == UNKNOWN)), "not known"))
    return ", ".join(f"{number:,} {word}" for number, word in counts if number)


def _levels_of_share(found: NDArray[np.floating[Any]]) -> Levels:
    """Return the level that the share of training spots at which a gene was found leaves for it."""
    return np.where(found < LEAST_FOUND, AT_BEST_WEAK, AT_BEST_GOOD).astype(np.int8)


def _combined(rules: list[_Rule]) -> Levels:
    """Return the worst level; where the accuracy, the first rule, is not known, only the worst level of all is said."""
    worst = np.max([rule.levels for rule in rules], axis=0)
    return np.where((rules[0].levels == UNKNOWN) & (worst < AVOID), UNKNOWN, worst).astype(np.int8)


def _rules(
    prediction: "Prediction", columns: NDArray[np.intp], pcc: Numbers, low: Numbers, flat: NDArray[np.bool_]
) -> list[_Rule]:
    measured = ~np.isnan(pcc)
    return [
        _accuracy(prediction, columns, pcc, low),
        _slide(prediction, measured),
        _seen(prediction, len(columns)),
        _patient(prediction, measured),
        _found(prediction, columns, measured),
        _Rule(
            np.where(flat, AT_BEST_WEAK, AT_BEST_GOOD).astype(np.int8),
            lambda row: "The prediction hardly varies over this slide." if flat[row] else "",
        ),
    ]


def _accuracy(prediction: "Prediction", columns: NDArray[np.intp], pcc: Numbers, low: Numbers) -> _Rule:
    """Judge by the PCC found on this slide, else by the expected one."""
    known, over = prediction.expected, prediction.provenance.over
    expected = np.full((len(columns), 2), np.nan) if known is None else np.asarray(known[columns], np.float64)
    measured = ~np.isnan(pcc)
    values = np.where(measured, pcc, expected[:, 0])
    levels = levels_of(values)
    if known is None:
        levels[np.isnan(values)] = UNKNOWN
    unsure = measured & (low <= 0) & (levels == AT_BEST_GOOD)
    levels[unsure] = AT_BEST_WEAK
    limits = f"(from {GOOD:g} good, below {WEAK:g} do not use)"

    def said(row: int) -> str:
        if measured[row]:
            reaches = " Its 95 % interval reaches 0." if unsure[row] else ""
            return f"PCC with what was measured on this slide: {pcc[row]:z.2f} {limits}.{reaches}"
        own, partial = expected[row]
        if known is None:
            return f"How well genes are predicted is {over}."
        if np.isnan(own):
            return "It was found at too few spots of the training sections to say how well it is predicted."
        given_depth = "" if np.isnan(partial) else f", {partial:z.2f} given depth"
        return f"Expected PCC: {own:z.2f}{given_depth} {limits}. It is the mean over {over}."

    return _Rule(levels, said)


def _slide(prediction: "Prediction", measured: NDArray[np.bool_]) -> _Rule:
    """Judge by whether the slide is like the training tissue."""
    likeness = prediction.provenance.likeness
    unmeasured, compared = {
        NOT: (AVOID, AT_BEST_WEAK),
        PARTLY: (AT_BEST_WEAK, AT_BEST_GOOD),
        LIKE: (AT_BEST_GOOD, AT_BEST_GOOD),
    }[LIKE if likeness is None else likeness.verdict]
    levels = np.where(measured, compared, unmeasured).astype(np.int8)
    return _Rule(levels, lambda _: "" if likeness is None else likeness.reason)


def _seen(prediction: "Prediction", genes: int) -> _Rule:
    """Judge by whether the checkpoint may have been trained on this very section: then every score flatters."""
    about = prediction.provenance
    _, said = leak(about.section, "", about.trained_on, (), ())
    levels = np.full(genes, AT_BEST_WEAK if said else AT_BEST_GOOD, np.int8)
    return _Rule(levels, lambda _: said)


def _patient(prediction: "Prediction", measured: NDArray[np.bool_]) -> _Rule:
    """Judge by whether the expected accuracy is that of another patient, where the slide is of one."""
    about = prediction.provenance
    same = bool(about.patient) and about.patient in about.trained_on_patients
    another = about.expected_over == "sections" and not same
    levels = np.where(another & ~measured, AT_BEST_WEAK, AT_BEST_GOOD).astype(np.int8)

    def said(row: int) -> str:
        if measured[row] or not about.expected_over:
            return ""
        if same:
            return "The checkpoint was trained on other sections of this patient."
        if not another:
            return ""
        whose = "is of another" if about.patient else "may be of another: its patient is not named"
        return f"The expected PCC was not measured on other patients, and this slide {whose}."

    return _Rule(levels, said)


def _found(prediction: "Prediction", columns: NDArray[np.intp], measured: NDArray[np.bool_]) -> _Rule:
    """Judge by the share of training spots at which a gene was found."""
    known = prediction.found
    shares = np.ones(len(columns)) if known is None else np.asarray(known[columns], np.float64)
    levels = np.where(measured, AT_BEST_GOOD, _levels_of_share(shares)).astype(np.int8)
    text = "" if known is None else "Found at {:.0f} % of the training spots."
    return _Rule(levels, lambda row: text.format(100 * shares[row]))
