"""What the frozen variant chooses inside its training sections: rank, penalty, and the neighbours behind a value."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.metrics import TOP, mean_pcc, pcc
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.threads import in_threads
from napari_cmrcnet.retrieval.averages import Neighbourhoods, neighbour_weights
from napari_cmrcnet.retrieval.search import nearest
from napari_cmrcnet.retrieval.similarity_floor import PERCENTILE
from napari_cmrcnet.training.data import Rows
from napari_cmrcnet.training.reduced_rank import ReducedRank, Spots, measured_components

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]

RANKS = (8, 16, 32)
PENALTIES = (0.3, 1.0, 3.0)
ASKED = ((50, None), (200, 0.1), (200, 0.2), (500, 0.2))
"""Neighbours behind a value and the temperature of their weights; without one all count alike."""
SCORED_SPOTS = 512
"""Spots of a section, evenly over it, at which it is predicted when it is left out.

The error of a correlation over so many is 0.04, and less of the mean over sections.
"""
CHOICES = {
    "ranks": list(RANKS),
    "penalties": list(PENALTIES),
    "asked": [list(one) for one in ASKED],
    "components": "over their deviation",
    "spots": SCORED_SPOTS,
}
LEAST_DEVIATION = 1e-9  # of a component; one that does not vary says nothing


@dataclass(frozen=True)
class Settings:
    """What is chosen inside the training sections.

    Parameters
    ----------
    rank : int
        Components of the space in which patches and genes meet.
    penalty : float
        Of the ridge regression, a feature.
    k : int
        Neighbours behind a value.
    temperature : float or None
        Of their weights; None where all count alike.
    """

    rank: int = RANKS[0]
    penalty: float = PENALTIES[1]
    k: int = ASKED[0][0]
    temperature: float | None = None


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen.

    Parameters
    ----------
    settings : Settings
        Those that are best on average over all parts.
    floor : float or None
        The similarity below which a spot is unlike the bank: the first percentile of the best similarity of left-out
        spots to the others' bank, see `similarity_floor`.
    left_out : list of (int64 (n,), Neighbourhoods)
        Of each part, spots and what they retrieve where the model is fitted without the part, with the settings that
        are best over the other parts: its own score does not decide how it is predicted.
    """

    settings: Settings
    floor: float | None
    left_out: list[tuple[Rows, Neighbourhoods]]


def choose(spots: Spots, section: Rows, parts: Sequence[Rows]) -> Job[Choice]:
    """Choose settings by the mean PCC of left-out parts.

    Each part costs one decomposition, and one search for each rank and penalty: a lower rank has the first components
    of a higher one, and fewer neighbours are the first of more.

    Parameters
    ----------
    spots : Spots
        All training spots.
    section : int64 (n,)
        The number of each spot's section.
    parts : sequence of int64 arrays
        The rows that are left out in turn, see `left_out_parts`.
    """
    step = "Choosing on left-out sections"
    fits = yield from spots.without_each(
        parts, lambda _, solver: [solver.fitted(penalty, max(RANKS)) for penalty in PENALTIES], step
    )
    if not fits:
        return Choice(Settings(), None, [])
    components = yield from measured_components(spots.expression, [one for of_part in fits for one in of_part])

    def score(number: int) -> tuple[dict[float, Space], list[tuple[Settings, float, Float32]]]:
        part, measured = parts[number], components[number * len(PENALTIES) :]
        asking, others = asked_spots(part, section), np.setdiff1d(np.arange(len(section)), part)
        truth = Truth.of(spots.expression, section, part, asking)
        of_penalties = zip(PENALTIES, fits[number], measured, strict=False)
        spaces = {penalty: Space.of(one, spots.features[asking], bank, others) for penalty, one, bank in of_penalties}
        return spaces, [one for penalty, space in spaces.items() for one in scored(space, truth, penalty)]

    found = yield from in_threads(score, range(len(parts)), lambda done: Progress(step, done, len(parts)))
    spaces, of_parts = zip(*found, strict=True)
    scores: dict[Settings, list[float]] = {}
    best: dict[Settings, list[Float32]] = {}
    for settings, value, similarity in chain(*of_parts):
        scores.setdefault(settings, []).append(value)
        best.setdefault(settings, []).append(similarity)
    yield Progress(step, len(parts), len(parts))
    settings, inside = _best(scores)
    floor = float(np.percentile(np.concatenate(best[settings]), PERCENTILE))
    retrieved = zip(parts, spaces, inside, strict=True)
    return Choice(settings, floor, [_retrieved(section, *one) for one in retrieved])


def _best(scores: dict[Settings, list[float]]) -> tuple[Settings, list[Settings]]:
    """Return the settings that are best over all parts, and for each part those that are best over the others."""
    table = np.array(list(scores.values()))  # (settings, parts)
    names, total = list(scores), table.sum(axis=1)
    inside = [names[int((total - table[:, part]).argmax())] for part in range(table.shape[1])]
    return names[int(total.argmax())], inside


def asked_spots(part: Rows, section: Rows) -> Rows:
    """Return the rows of a part at which it is predicted: of each section `SCORED_SPOTS`, evenly, or all."""
    of_sections = [part[section[part] == number] for number in np.unique(section[part])]
    chosen = [rows[np.linspace(0, len(rows) - 1, min(len(rows), SCORED_SPOTS)).astype(int)] for rows in of_sections]
    return np.concatenate(chosen)


@dataclass(frozen=True, eq=False)
class Space:
    """Where a part that is left out meets the spots of the others: components of the regression on these.

    Parameters
    ----------
    queries : float (q, r)
        Of the spots of the part that are predicted, by their patches, each component over its deviation.
    components : float (n, r)
        Of all training spots, by their measured expression.
    others : int64 (m,)
        The rows of those that may be retrieved.
    """

    queries: NDArray[Any]
    components: NDArray[Any]
    others: Rows

    @classmethod
    def of(cls, fitted: ReducedRank, features: NDArray[Any], components: NDArray[Any], others: Rows) -> "Space":
        """Take the components that are predicted at spots with these features."""
        return cls((features - fitted.centre) @ image_head(fitted, components[others]), components, others)

    def nearest(self, rank: int, k: int) -> tuple[Int32, Float32]:
        """Return which of all training spots are retrieved, and their similarities, (q, k) each."""
        queries, bank = self.queries[:, :rank], self.components[self.others, :rank]
        near, similarity = nearest(
            queries.astype(np.float32, copy=False), bank.astype(np.float32, copy=False), min(len(bank), k)
        )
        return self.others[near].astype(np.int32), similarity


def image_head(fitted: ReducedRank, bank: NDArray[Any]) -> NDArray[Any]:
    """Return the weights of the image head (f, r): a component's, over its deviation among the training spots.

    The weighted mean of neighbours is, to first order in the similarity, the mean of all and the covariance of their
    expression with their components, times the query. So a component that varies more among the training spots would
    count more than the regression says.

    Parameters
    ----------
    fitted : ReducedRank
        The regression.
    bank : float (m, r)
        The measured components of the training spots.
    """
    deviation = bank.std(axis=0, dtype=np.float64)
    head: NDArray[Any] = fitted.into / np.where(deviation > LEAST_DEVIATION, deviation, np.inf)
    return head


@dataclass(frozen=True, eq=False)
class Truth:
    """What a part that is left out is compared with: only the genes that count, 100 a section in place of thousands.

    Parameters
    ----------
    measured : float64 (q, g)
        Expression of the spots of the part that are predicted.
    known : float64 (n, g)
        Of all training spots.
    sections : list of (int64 (s,), int64 (2, up to 50))
        Of each section of the part, its rows in ``measured``, and the columns of its genes highest in mean and of
        those highest in variance.
    """

    measured: Float64
    known: Float64
    sections: list[tuple[Rows, Rows]]

    @classmethod
    def of(cls, expression: Any, section: Rows, part: Rows, asking: Rows) -> "Truth":
        """Take what counts from the expression of all spots, (n, g) in CSR."""
        numbers = np.unique(section[part])
        tops = [_top_genes(expression[part[section[part] == number]]) for number in numbers]
        genes = np.unique(tops)
        known = expression[:, genes].toarray().astype(np.float64)
        here = [np.flatnonzero(section[asking] == number) for number in numbers]
        columns = [np.searchsorted(genes, top) for top in tops]
        return cls(known[asking], known, list(zip(here, columns, strict=True)))

    def score(self, predicted: NDArray[Any]) -> float:
        """Return the mean PCC, over sections, of the genes that count; 0 where it is undefined."""
        found = [
            mean_pcc(pcc(self.measured[np.ix_(here, genes)], predicted[np.ix_(here, genes)]), nan_as_zero=True)
            for here, tops in self.sections
            for genes in tops
        ]
        return float(np.mean(found))


def _top_genes(expression: Any) -> Rows:
    """Return the genes highest in mean and those highest in variance, (2, up to 50); of expression (n, g) in CSR."""
    weights = np.full(expression.shape[0], 1 / expression.shape[0])
    mean, square = weights @ expression, weights @ expression.power(2)
    return np.array([np.argsort(-values, kind="stable")[:TOP] for values in (mean, square - mean**2)])


def scored(space: Space, truth: Truth, penalty: float) -> Iterator[tuple[Settings, float, Float32]]:
    """Yield, for each rank and way to ask, the score of a part that is left out, and its spots' best similarity."""
    for rank in RANKS:
        neighbours, similarity = space.nearest(rank, max(k for k, _ in ASKED))
        for k, temperature in ASKED:
            near, alike = np.ascontiguousarray(neighbours[:, :k]), np.ascontiguousarray(similarity[:, :k])
            weights = neighbour_weights(alike, temperature)
            predicted = Neighbourhoods.of(near, len(truth.known), weights).mean(truth.known)
            yield Settings(rank, penalty, k, temperature), truth.score(predicted), similarity[:, 0]


def _retrieved(
    section: Rows, part: Rows, spaces: dict[float, Space], settings: Settings
) -> tuple[Rows, Neighbourhoods]:
    """Return the spots of a part that are predicted, and which of all training spots each retrieves."""
    near, alike = spaces[settings.penalty].nearest(settings.rank, settings.k)
    weights = neighbour_weights(alike, settings.temperature)
    return asked_spots(part, section), Neighbourhoods.of(near, len(section), weights)
