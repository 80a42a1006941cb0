"""Gene list: what is known of every gene of a case, and which genes a list shows in which order."""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.evaluation.gene_trust import listed_trust
from napari_cmrcnet.evaluation.score_notes import score_notes
from napari_cmrcnet.evaluation.set_scores import AMONG
from napari_cmrcnet.retrieval.genes import Match
from napari_cmrcnet.retrieval.trust import Trust, trust_in_genes
from napari_cmrcnet.sections.gene_aliases import symbols_of
from napari_cmrcnet.sections.panels import Panel
from napari_cmrcnet.sections.score_filter import NOT_MEASURED, NOT_PREDICTED, spots_in_words

if TYPE_CHECKING:
    from napari_cmrcnet.evaluation.scores import Scores
    from napari_cmrcnet.retrieval.case import Case

Bools = npt.NDArray[np.bool_]

_COLUMNS = {
    "pcc": "pcc",
    "low": "low",
    "high": "high",
    "partial": "partial_pcc",
    "spearman": "spearman",
    "found": "spots_found",
}  # of what the scores bring, the column of their table

SETS = ("HEG", "HVG", "markers")
SORTS = ("ticked", "gene", "expected", "pcc", "low", "partial", "spearman", "found", "measured", "predicted", "sets")
OF_SCORES = frozenset(SORTS) - {"ticked", "gene", "expected", "measured", "predicted"}
"""What is sorted by that scores bring."""


NORMALISED = "Values as in the file: normalised already."


class GeneList:
    """Every gene of a case with its scores, and those that are listed.

    Parameters
    ----------
    case : Case
        Its genes, in its order, are the columns that all arrays here follow.
    scores : Scores, optional
        Its scores, as far as they are known.

    Attributes
    ----------
    pcc, low, high : float64 (genes,)
        Correlation and its interval; NaN where undefined or not known yet.
    partial, spearman, found : float64 (genes,)
        Partial correlation given depth, Spearman's, and at how many spots a gene was found; NaN likewise.
    over, among : str
        In words, the spots that count and the genes that HEG and HVG are ranked among; "" while nothing is scored.
    expected : float64 (genes,)
        Expected PCC, NaN where not known; see `Prediction.expected`.
    is_measured : bool (genes,)
        Which genes were measured.
    any_measured, any_predicted, expects : bool
        Whether the section is measured at all, is predicted, and the expected PCC of genes is known.
    of_values : str
        What to know of the measured values where they are no counts; ``""`` where they are.
    expected_over : str
        Over what it was measured, see `over_in_words`.
    measured, predicted : float32 (genes,)
        Means over the spots that count, NaN where not measured or not predicted.
    ticked : bool (genes,)
        Chosen for a panel.
    scored : bool
        Whether correlations are known.
    sets : mapping of str to bool (genes,)
        Which genes are of HEG, HVG and the markers.
    rows : intp (listed,)
        The listed genes in their order.
    aliases : mapping of int to str
        The alias by which a search found a gene.
    """

    def __init__(self, case: "Case", scores: "Scores | None" = None) -> None:
        self.names, prediction = case.all_names, case.prediction
        self.names.prepare_search()
        self._prediction, self._trusts = prediction, dict[int, Trust]()
        n = len(self.names.symbols)
        self.any_predicted = prediction is not None
        self.of_values = "" if case.counted or case.spots.X is None else NORMALISED
        self._n_predicted = 0 if prediction is None else len(case.genes)  # the others come after them
        self.measured, self.predicted = case.all_measured_means(), np.full(n, np.nan, np.float32)
        self.is_measured: Bools = ~np.isnan(self.measured)
        self.any_measured = bool(self.is_measured.any())
        self.expected = np.full(n, np.nan)
        expected = None if prediction is None else prediction.expected
        self.expects = expected is not None
        if prediction is not None:
            self.predicted[: self._n_predicted] = prediction.predicted_means
        if expected is not None:
            self.expected[: self._n_predicted] = expected[:, 0]
        self.expected_over = case.provenance.over
        self.ticked = np.zeros(n, bool)
        self.panel_name = ""
        self._own_panel = "" if case.panel is None else case.panel.name
        self.sets = {name: np.zeros(n, bool) for name in SETS}
        if case.panel is not None:
            self.sets["markers"] = self.members(case.panel)
        self._panel = np.zeros(n, bool)
        self.scored = self._complete = False
        self.pcc, self.low, self.high, self.partial, self.spearman, self.found = np.full((6, n), np.nan)
        self.over = self.among = self._of_scores = ""
        self._undefined: dict[int, str] = {}
        if prediction is None:
            self.among = "among all measured genes"
            self.sets |= {name: self.members(Panel(name, genes)) for name, genes in case.measured_sets.items()}
        self.rows = np.arange(n)
        self.aliases: Mapping[int, str] = {}
        self.sort = ("measured" if self.any_measured else "expected" if self.expects else "predicted", True)
        self._sorted_by_user = False
        self._sorted: npt.NDArray[np.intp] | None = None
        if scores is not None:
            self.set_scores(scores)

    def __len__(self) -> int:
        return len(self.names.symbols)

    @property
    def listed(self) -> list[str]:
        """The symbols of the listed genes in their order."""
        return [self.names.symbols[column] for column in self.rows.tolist()]

    @property
    def n_correlated(self) -> int:
        """How many genes have a correlation."""
        return int((~np.isnan(self.pcc)).sum())

    @property
    def scores_due(self) -> bool:
        """Whether correlations, or their intervals, could be known and are not."""
        return self.any_measured and self.any_predicted and not self._complete

    @property
    def ticked_symbols(self) -> tuple[str, ...]:
        """The ticked genes."""
        return tuple(self.names.symbols[column] for column in np.flatnonzero(self.ticked))

    def set_scores(self, scores: "Scores") -> None:
        """Take correlations, intervals and sets."""
        import pandas as pd

        rows = scores.table.index.get_indexer(pd.Index(self.names.symbols))
        columns = np.flatnonzero(rows >= 0)
        table = scores.table.iloc[rows[columns]]
        for name, column in _COLUMNS.items():
            getattr(self, name)[columns] = table[column].to_numpy()
        for name, members in self.sets.items():
            members[columns] = table[name].to_numpy()
        reasons = table["undefined"].to_numpy()
        self._undefined = {int(columns[row]): str(reasons[row]) for row in np.flatnonzero(reasons != "")}
        self.scored = True
        self._complete = bool(scores.replicates) or not self.n_correlated
        self.over = spots_in_words(scores.spots, len(scores.scored))
        self.among = AMONG[scores.definition]
        self._of_scores = " ".join(score_notes([scores]))
        self._trusts = {}
        self._sorted = None

    def set_panel(self, panel: "Panel | None") -> None:
        """Choose the panel whose genes are named among the sets."""
        self.panel_name = "" if panel is None else panel.name
        self._panel = self.members(panel) if panel is not None else np.zeros(len(self), bool)
        self._sorted = None

    def members(self, panel: "Panel") -> Bools:
        """Return which genes are of a panel."""
        inside = np.zeros(len(self), bool)
        inside[self.names.known(panel.genes)] = True
        return inside

    def reason(self, column: int) -> str:
        """Return why a gene's correlation is undefined, ``""`` where it is not, or not known yet."""
        if column >= self._n_predicted:
            return NOT_PREDICTED
        return self._undefined.get(column, "") if self.is_measured[column] else NOT_MEASURED

    def trust(self, column: int) -> Trust:
        """Return how far the prediction of a gene can be trusted, as the title says it when the gene is shown."""
        if self._prediction is None or column >= self._n_predicted:
            return Trust()
        if column not in self._trusts:
            correlation = float(self.pcc[column]), float(self.low[column])
            self._trusts[column] = listed_trust(self._prediction, self.names.symbols[column], *correlation)
        return self._trusts[column]

    def sets_of(self, column: int) -> list[str]:
        """Return the sets that a gene is in: HEG, HVG, marker, and the chosen panel if it is not the markers'."""
        sets = [name.removesuffix("s") for name, members in self.sets.items() if members[column]]
        chosen = self._panel[column] and self.panel_name != self._own_panel
        return [*sets, self.panel_name] if chosen else sets

    def arrange(self, text: str, only: Bools | None = None) -> None:
        """List the genes that a text finds, or all, of those that are allowed; better matches come first.

        Parameters
        ----------
        text : str
            As typed; see `GeneNames.search`.
        only : bool (genes,), optional
            Which may be listed.
        """
        rows, self.aliases = self._in_order(), {}
        if only is not None:
            rows = rows[only[rows]]
        if text.strip():
            matches, self.aliases = self.names.search(text)
            rows = rows[matches[rows] < Match.NONE]
            rows = rows[np.argsort(matches[rows], kind="stable")]
        self.rows = rows

    def sort_by(self, key: str, descending: bool) -> None:
        """Choose the order of the list: by one of `SORTS`; call `arrange` after it. What is not known comes last.

        Before an order is chosen, the markers come first.
        """
        self.sort, self._sorted, self._sorted_by_user = (key, descending), None, True

    def _in_order(self) -> npt.NDArray[np.intp]:
        if self._sorted is None or self.sort[0] == "ticked":
            key, descending = self.sort
            values = self._values(key)
            rows = np.argsort(-values if descending else values, kind="stable")  # NaN last in both ways
            if not self._sorted_by_user:  # what most users look for comes first
                rows = rows[np.argsort(~self.sets["markers"][rows], kind="stable")]
            self._sorted = rows
        return self._sorted

    def _values(self, key: str) -> npt.NDArray[np.float64]:
        if key == "gene":
            return self._alphabetical
        if key == "sets":
            members = np.array([*self.sets.values(), self._panel], np.float64)
            return np.asarray(2.0 ** np.arange(len(members)) @ members)
        return np.asarray(getattr(self, key), np.float64)

    def status(self, text: str) -> str:
        """Say in a line how many genes there are and are listed, and what a text was searched as."""
        listed, total = len(self.rows), len(self)
        if not listed and text:
            return f"No gene in this list matches “{text}”. Type less of it, or choose All genes above."
        if not listed:
            return "This list is empty. Choose All genes above, or tick some genes."
        meant = [symbol for symbol in symbols_of(text) if self.names.column(symbol) is not None]
        line = f"{text} → {', '.join(meant)}. " if meant else ""
        line += f"{total:,} genes"
        if self.scored:
            line += f", PCC of {self.n_correlated:,} over {self.over}"
        return line + (f"; {listed:,} shown" if listed < total else "")

    def note(self, scoring: bool) -> str:
        """Say what is still to come or never will, then what is to be known of the scores; ``""`` for neither.

        Parameters
        ----------
        scoring : bool
            Whether the scores are being computed.
        """
        if not self.any_predicted:
            return "Measured only. To compare, predict this section in the Predict panel."
        if not self.any_measured:
            said = "The section has no measurements to compare with."
            if self._prediction is None or not self.expects:
                return said
            trusted = trust_in_genes(self._prediction).removesuffix(".")
            return f"{said} Trust in the genes: {trusted}. Expected PCC: the mean over {self.expected_over}."
        if not self.scores_due:
            return self._of_scores
        what = "intervals" if self.scored else "PCC of all genes"
        return f"The {what} are {'being computed and appear here' if scoring else 'not computed'}."

    @cached_property
    def _alphabetical(self) -> npt.NDArray[np.float64]:
        symbols = [symbol.casefold() for symbol in self.names.symbols]
        place = np.empty(len(self))
        place[sorted(range(len(self)), key=symbols.__getitem__)] = np.arange(len(self))
        return place
