"""What scores are over, in words: it is said wherever they are shown."""

from collections.abc import Iterator, Sequence

from napari_cmrcnet.common.text import count_text, some_of
from napari_cmrcnet.evaluation.scores import Scores
from napari_cmrcnet.evaluation.set_scores import AMONG, Definition


def score_notes(scores: Sequence[Scores], asked: Definition = "paper") -> tuple[str, ...]:
    """Return a sentence for each thing that a reader must know of scores.

    Spots that were left out, shallow sequencing, and genes ranked among others than was asked for.
    """
    return tuple(note for one in scores for note in _notes(one, asked))


def _notes(one: Scores, asked: Definition) -> Iterator[str]:
    if left_out := len(one.scored) - one.spots:
        yield (
            f"Left out of the scores of {one.section}, but not of its maps: "
            f"{count_text(left_out, 'spot', len(one.scored))} (fewer than {one.min_umi} counts)."
        )
    if one.depth.shallow:
        yield (
            f"{one.section} was sequenced so shallowly ({one.depth}) that much of a correlation may come from depth. "
            "Look at the partial PCC, which removes this effect."
        )
    if one.definition != asked:
        yield (
            f"The prediction of {one.section} does not say which genes vary in its training sections, so its HEG "
            "and HVG are ranked among all genes."
        )


def missing_in_words(scores: Sequence[Scores]) -> list[str]:
    """Return a sentence on the markers that are not there to be scored, one for sections that lack the same."""
    lacking: dict[tuple[str, ...], list[Scores]] = {}
    for one in scores:
        if one.missing_markers:
            lacking.setdefault(one.missing_markers, []).append(one)
    return [
        f"{some_of([one.section for one in those])}: "
        f"{count_text(len(missing), 'gene', len(missing) + int(those[0].table.markers.sum()))} of the panel "
        f"“{those[0].panel}” not measured, or not predicted: {some_of(missing, 20)}."
        for missing, those in lacking.items()
    ]


def sets_in_words(scores: Sequence[Scores]) -> str:
    """Return what HEG and HVG are in these scores."""
    among = [AMONG[definition] for definition in dict.fromkeys(one.definition for one in scores)]
    return (
        "HEG and HVG: the 50 genes of highest measured mean and of highest variance (log-normalised), "
        f"{' or, if it is not known which these are, '.join(among)}."
    )
