"""Gene list: what is known of every gene of a case, and which genes a list shows in which order."""

from collections.abc import Mapping
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.evaluation.gene_trust import listed_trust
from napari_cmrcnet.evaluation.score_notes import score_notes
from napari_cmrcnet.evaluation.set_scores import AMONG
from napari_cmrcnet.retrieval.genes import Match
from napari_cmrcnet.retrieval.trust import Trust, trust_in_genes
from napari_cmrcnet.sections.gene_aliases import symbols_of
from napari_cmrcnet.sections.panels import Panel
from napari_cmrcnet.sections.score_filter import NOT_MEASURED, NOT_PREDICTED

if TYPE_CHECKING:
    from napari_cmrcnet.evaluation.scores import Scores
    from napari_cmrcnet.retrieval.case import Case

Bools = npt.NDArray[np.bool_]

SETS = ("HEG", "HVG", "markers")


class Column(IntEnum):
    """The columns of the list. Most are called as what of `GeneList` they show, and are sorted by."""

    TICKED = 0
    GENE = 1
    EXPECTED = 2
    PCC = 3
    INTERVAL = 4
    PARTIAL_PCC = 5
    SPEARMAN = 6
    SPOTS_FOUND = 7
    MEASURED = 8
    PREDICTED = 9
    SETS = 10


OF_BOTH = (Column.PCC, Column.INTERVAL, Column.PARTIAL_PCC, Column.SPEARMAN, Column.SPOTS_FOUND)
"""Columns that scores bring: they need what was measured and what is predicted."""

PANEL = "Panel "  # before the name of one, among `GeneList.filters`
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
    pcc, low, high, partial_pcc, spearman, spots_found : float64 (genes,)
        As in the table of the scores; NaN where undefined or not known yet.
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
    scores : Scores or None
        What is known of them.
    sets : mapping of str to bool (genes,)
        Which genes are of HEG, HVG and the markers.
    sort : (Column, bool)
        By what the list is sorted, and whether the largest comes first.
    rows : intp (listed,)
        The listed genes in their order.
    aliases : mapping of int to str
        The alias by which a search found a gene.
    """

    def __init__(self, case: "Case", scores: "Scores | None" = None) -> None:
        self.names, prediction = case.all_names, case.prediction
        self.names.prepare_search()
        self._symbols = np.array(self.names.symbols, object)
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
        self.scores: Scores | None = None
        self.pcc, self.low, self.high, self.partial_pcc, self.spearman, self.spots_found = np.full((6, n), np.nan)
        self.over = self.among = ""
        self._undefined = np.full(n, "", object)
        if prediction is None:
            self.among = "among all measured genes"
            self.sets |= {name: self.members(Panel(name, genes)) for name, genes in case.measured_sets.items()}
        self.rows = np.arange(n)
        self.aliases: Mapping[int, str] = {}
        known = Column.EXPECTED if self.expects else Column.PREDICTED
        self.sort = (Column.MEASURED if self.any_measured else known, True)
        self._sorted_by_user = False
        if scores is not None:
            self.set_scores(scores)

    def __len__(self) -> int:
        return len(self.names.symbols)

    @property
    def listed(self) -> list[str]:
        """The symbols of the listed genes in their order."""
        symbols: list[str] = self._symbols[self.rows].tolist()
        return symbols

    @property
    def n_correlated(self) -> int:
        """How many genes have a correlation."""
        return int((~np.isnan(self.pcc)).sum())

    @property
    def scores_due(self) -> bool:
        """Whether correlations, or their intervals, could be known and are not."""
        complete = self.scores is not None and (bool(self.scores.replicates) or not self.n_correlated)
        return self.any_measured and self.any_predicted and not complete

    @property
    def ticked_symbols(self) -> tuple[str, ...]:
        """The ticked genes."""
        return tuple(self._symbols[self.ticked])

    def set_scores(self, scores: "Scores") -> None:
        """Take correlations, intervals and sets."""
        table = scores.table.reindex(self.names.symbols)
        for name in ("pcc", "low", "high", "partial_pcc", "spearman", "spots_found"):
            setattr(self, name, table[name].to_numpy(np.float64))
        self.sets |= {name: table[name].eq(True).to_numpy() for name in ("HEG", "HVG")}
        self._undefined = table["undefined"].fillna("").to_numpy()
        self.scores, self._trusts = scores, {}
        self.over = count_text(scores.spots, "spot", len(scores.scored))
        self.among = AMONG[scores.definition]

    def set_panel(self, panel: "Panel") -> None:
        """Choose the panel whose genes are named among the sets."""
        self.panel_name, self._panel = panel.name, self.members(panel)

    def members(self, panel: "Panel") -> Bools:
        """Return which genes are of a panel."""
        inside = np.zeros(len(self), bool)
        inside[self.names.known(panel.genes)] = True
        return inside

    def filters(self, panels: "Mapping[str, Panel]") -> dict[str, Bools | None]:
        """Return the genes that can be told apart by now, by what a user calls them; None stands for all."""
        found: dict[str, Bools | None] = {"All genes": None}
        if self.any_measured and self.any_predicted:
            found["Measured genes"] = self.is_measured
        if self.sets["HEG"].any():
            found |= {"HEG: the 50 most expressed": self.sets["HEG"], "HVG: the 50 most variable": self.sets["HVG"]}
        if self.sets["markers"].any():
            found["Markers of the checkpoint"] = self.sets["markers"]
        found["Ticked genes"] = self.ticked
        return found | {f"{PANEL}{name}": self.members(panel) for name, panel in panels.items()}

    def reason(self, column: int) -> str:
        """Return why a gene's correlation is undefined, ``""`` where it is not, or not known yet."""
        if column >= self._n_predicted:
            return NOT_PREDICTED
        return str(self._undefined[column]) if self.is_measured[column] else NOT_MEASURED

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
        """List the genes that a text finds, or all, of those that are allowed.

        Better matches come first; among them, before an order is chosen, the markers. What is not known comes last.

        Parameters
        ----------
        text : str
            As typed; see `GeneNames.search`.
        only : bool (genes,), optional
            Which may be listed.
        """
        matches, self.aliases = np.zeros(len(self), np.uint8), {}
        if text.strip():
            matches, self.aliases = self.names.search(text)
        found = matches < Match.NONE
        rows = np.flatnonzero(found if only is None else found & only)
        column, descending = self.sort
        values = self._values(column)[rows]
        last = np.zeros(len(rows)) if self._sorted_by_user else ~self.sets["markers"][rows]
        self.rows = rows[np.lexsort((-values if descending else values, last, matches[rows]))]

    def sort_by(self, column: Column, descending: bool) -> None:
        """Choose the order of the list; call `arrange` after it."""
        self.sort, self._sorted_by_user = (column, descending), True

    def _values(self, column: Column) -> npt.NDArray[np.float64]:
        if column == Column.GENE:
            return self._alphabetical
        if column == Column.SETS:
            members = np.array([*self.sets.values(), self._panel], np.float64)
            return np.asarray(2.0 ** np.arange(len(members)) @ members)
        return np.asarray(self.low if column == Column.INTERVAL else getattr(self, column.name.lower()), np.float64)

    def status(self, text: str) -> str:
        """Say in a line how many genes there are and are listed, and what a text was searched as."""
        listed, total = len(self.rows), len(self)
        if not listed and text:
            return f"No gene in this list matches “{text}”. Type less of it, or choose All genes above."
        if not listed:
            return "This list is empty. Choose All genes above, or tick some genes."
        meant = [symbol for symbol in symbols_of(text) if self.names.column(symbol) is not None]
        line = f"{text} → {', '.join(meant)}. " if meant else ""
        line += count_text(total, "gene")
        if self.scores is not None:
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
        if self.scores is not None and not self.scores_due:
            return " ".join(score_notes([self.scores]))
        what = "intervals" if self.scores is not None else "PCC of all genes"
        return f"The {what} are {'being computed and appear here' if scoring else 'not computed'}."

    @cached_property
    def _alphabetical(self) -> npt.NDArray[np.float64]:
        symbols = [symbol.casefold() for symbol in self.names.symbols]
        place = np.empty(len(self))
        place[sorted(range(len(self)), key=symbols.__getitem__)] = np.arange(len(self))
        return place
