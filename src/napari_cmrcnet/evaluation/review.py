"""A blinded review: a reader sees maps without knowing which are measured and which predicted, and says what they are.

Each gene is shown twice, once measured and once predicted, in random order. The file of results names every map in
that order, and says what it was only once it is answered: so that a review can be resumed, and stays blinded.
"""

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.common.spreadsheet import safe_text, write_frame
from napari_cmrcnet.common.text import figure_gene
from napari_cmrcnet.evaluation.figures import Ground, draw_maps
from napari_cmrcnet.evaluation.shown import gene_shown
from napari_cmrcnet.sections.score_filter import unscored

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from napari_cmrcnet.retrieval.prediction import Prediction

Kind = Literal["measured", "predicted"]
KINDS: tuple[Kind, ...] = ("measured", "predicted")
PLAUSIBLE = range(1, 6)
COLUMNS = ("section", "checkpoint", "seed", "map", "gene", "was", "answer", "right", "plausible", "note")
_LARGEST = 1_000_000  # bytes of a file of results


@dataclass(frozen=True)
class Answer:
    """What a reader says of a map.

    Parameters
    ----------
    kind : "measured" or "predicted"
        What it is.
    plausible : int
        From 1, not at all, to 5, very.
    note : str
        Anything else.
    """

    kind: Kind
    plausible: int
    note: str = ""


def order_of(genes: Sequence[str], seed: int) -> tuple[tuple[str, Kind], ...]:
    """Return the maps of a review in the order of a seed: each gene measured, and predicted."""
    maps = [(gene, kind) for gene in sorted(set(genes)) for kind in KINDS]
    return tuple(maps[place] for place in np.random.default_rng(seed).permutation(len(maps)))


class Review:
    """The maps of a prediction in random order, and what the reader says of them, written after each answer.

    Parameters
    ----------
    prediction : Prediction
        Of a measured section.
    genes : sequence of str
        Genes to show; those that have no PCC are left out: rare ones would tell measured from predicted at a glance.
    path : path
        The CSV file of results.
    seed : int
        Of the order.

    Attributes
    ----------
    maps : tuple of (str, str)
        Gene and kind of each map, in order.
    answers : list of Answer
        Of the first of them.

    Raises
    ------
    UserError
        If there is no such gene.
    """

    def __init__(
        self, prediction: "Prediction", genes: Sequence[str], path: str | os.PathLike[str], seed: int = 0
    ) -> None:
        from napari_cmrcnet.evaluation.scores import blocks  # takes a second to import

        known = [prediction.genes[column] for column in prediction.names.known(genes)]
        both = [gene for gene in known if gene in prediction.measured_set]
        pairs = (pair for _, _, *pair in blocks(prediction, both, prediction.counted_spots()))
        reasons = [reason for pair in pairs for reason in unscored(*pair)]
        scored = [gene for gene, reason in zip(both, reasons, strict=True) if not reason]
        if not scored:
            raise UserError(
                f"None of these genes has a PCC in {prediction.name}, so there is nothing to review; choose genes that "
                "are measured at 10 spots or more, and predicted."
            )
        self.prediction, self.path, self.seed = prediction, Path(path), seed
        self.maps = order_of(scored, seed)
        self.answers: list[Answer] = []

    @classmethod
    def resume(cls, prediction: "Prediction", path: str | os.PathLike[str]) -> "Review":
        """Go on with a review where it was stopped.

        Raises
        ------
        UserError
            If the file is not one of a review, is of another section or checkpoint, or its rows were changed.
        """
        rows = _read(Path(path))
        section, checkpoint, seed = (rows[0][name] for name in ("section", "checkpoint", "seed"))
        if section != safe_text(prediction.name) or checkpoint != _checkpoint(prediction):
            raise UserError(f"{path} reviews another prediction, of {section}; open that one first.")
        changed = UserError(f"{path} was changed by hand and cannot be resumed; start a new review.")
        if not seed.isdecimal():
            raise changed
        review = cls(prediction, [row["gene"] for row in rows], path, int(seed))
        answered = [row for row in rows if row["answer"]]
        try:
            review.answers = [
                Answer(KINDS[KINDS.index(row["answer"])], int(row["plausible"]), row["note"]) for row in answered
            ]
        except ValueError as error:
            raise changed from error
        if review._rows() != [tuple(row[name] for name in COLUMNS) for row in rows]:
            raise changed
        return review

    @property
    def current(self) -> tuple[str, Kind] | None:
        """Gene and kind of the map to answer now; None where all are answered."""
        return self.maps[len(self.answers)] if len(self.answers) < len(self.maps) else None

    def values(self) -> NDArray[np.float32]:
        """Return the values of that map, float32 (n,); NaN at spots with too few counts, measured or predicted."""
        assert self.current is not None
        gene, kind = self.current
        values = gene_shown(self.prediction, gene, None).values(kind)
        return np.where(self.prediction.counted_spots(), values, np.nan).astype(np.float32)

    def answer(self, answer: Answer) -> None:
        """Take the answer to the map that is shown, and write the file.

        Raises
        ------
        UserError
            If it cannot be written; the answer is not taken then.
        """
        self.answers.append(answer)
        try:
            self.save()
        except UserError:
            self.answers.pop()
            raise

    def save(self) -> None:
        """Write the file of results: one row per map, see `COLUMNS`; ``was`` is empty until it is answered."""
        write_frame(self.path, pd.DataFrame(self._rows(), columns=list(COLUMNS)))

    def _rows(self) -> list[tuple[str, ...]]:
        about = safe_text(self.prediction.name), _checkpoint(self.prediction), str(self.seed)
        rows = []
        for place, (gene, kind) in enumerate(self.maps):
            said: tuple[str, ...] = ("",) * 5
            if place < len(self.answers):
                answer = self.answers[place]
                right = "yes" if answer.kind == kind else "no"
                said = (kind, answer.kind, right, str(answer.plausible), safe_text(answer.note))
            rows.append((*about, str(place + 1), safe_text(gene), *said))
        return rows

    @property
    def agreement(self) -> str:
        """The share of maps identified correctly so far, with its 95 % interval (Wilson's), and mean plausibility."""
        from scipy.stats import binomtest

        n = len(self.answers)
        if not n:
            return "No map is answered yet."
        pairs = list(zip((kind for _, kind in self.maps), self.answers, strict=False))
        right = sum(kind == answer.kind for kind, answer in pairs)
        interval = binomtest(right, n).proportion_ci(method="wilson")
        means = []
        for kind in KINDS:
            scores = [answer.plausible for was, answer in pairs if was == kind]
            means.append(f"{kind} {np.mean(scores):.1f} (n = {len(scores)})" if scores else f"{kind} none")
        return (
            f"{right} of {n} maps identified correctly: {100 * right / n:.0f} % (95 % interval "
            f"{100 * interval.low:.0f} to {100 * interval.high:.0f} %; 50 % by chance). "
            f"Mean plausibility: {', '.join(means)}."
        )


def draw_blinded(figure: "Figure", ground: Ground, values: NDArray[np.float32], gene: str) -> None:
    """Draw the slide, and a map of a gene that does not say whether it is measured or predicted.

    Colours go from the 1st to the 99th percentile of the map itself and have no numbers: a prediction spans less.

    Parameters
    ----------
    figure : Figure
        Is cleared first.
    ground : Ground
        Spots and slide.
    values : float32 (n,)
        One value per spot; NaN is left out.
    gene : str
        Its name.
    """
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, [1, 99]) if known.size else (0.0, 0.0)
    limits = (float(low), float(high) if high > low else float(low) + 1)
    figure.clear()
    axes, spots = draw_maps(figure, ground, {figure_gene(gene): np.asarray(values, np.float64)}, limits)
    bar = figure.colorbar(spots, ax=axes, fraction=0.03, pad=0.02, shrink=0.5)
    bar.set_ticks(list(limits), labels=["low", "high"])
    bar.minorticks_off()


def _read(path: Path) -> list[dict[str, str]]:
    """Read the rows of a file of results."""
    with readable(path, "does not hold the answers of a blinded review", "choose the CSV file that a review wrote"):
        if path.stat().st_size > _LARGEST:
            raise ValueError("it is too large")
        reader = csv.DictReader(io.StringIO(path.read_text("utf-8")), strict=True)
        rows = list(reader)
        cells = [cell for row in rows for cell in (*row, *row.values())]  # None where a row is too short or too long
        if tuple(reader.fieldnames or ()) != COLUMNS or not rows or None in cells:
            raise ValueError("it has other columns")
    return rows


def _checkpoint(prediction: "Prediction") -> str:
    return prediction.provenance.checkpoint_digest[:12]
