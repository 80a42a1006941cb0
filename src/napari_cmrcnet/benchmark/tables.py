"""The paper's tables, from the results of a benchmark, with its figures beside one's own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_cmrcnet.benchmark import paper
from napari_cmrcnet.benchmark.bootstrap import estimate
from napari_cmrcnet.benchmark.collected import Choose, Collected, Label, markers_of, ranked
from napari_cmrcnet.benchmark.method_list import ABLATION
from napari_cmrcnet.benchmark.method_names import BLEEP, CEILING, CMRCNET
from napari_cmrcnet.benchmark.results import RANKED_BY
from napari_cmrcnet.evaluation.set_scores import Definition

if TYPE_CHECKING:
    from napari_cmrcnet.benchmark.dataset import Dataset

_ABLATION = {row.name: row for row in ABLATION}
_ABLATION_NAMES = set(_ABLATION) - {CMRCNET}
Sets = Mapping[str, Choose]
Rows = Mapping[str, Label]
_MEASURES = ("pcc", "partial_pcc", "spearman")
_GIVEN_DEPTH = ["mean", "low", "high", "difference", "difference_low", "difference_high"]


@dataclass(frozen=True, eq=False)
class Table:
    """A table as it is written.

    Parameters
    ----------
    name : str
        Of its files: ``table1``.
    title : str
        Above it.
    lines : DataFrame
        A line a ``method`` and ``set`` of genes: what `estimate` says of the PCC; of the partial correlation given
        sequencing depth as ``partial_…``, without numbers and sections; the mean of Spearman's rank correlation as
        ``spearman``; ``too_rare``, how many genes of the set, over all sections, were found at too few spots to have a
        score; among which genes HEG and HVG were ``ranked_among``; the ``reference``; and the ``paper``'s PCC.
    rivals : frozenset of str
        The methods that can be the best.
    notes : tuple of str
        Below it.
    """

    name: str
    title: str
    lines: pd.DataFrame
    rivals: frozenset[str]
    notes: tuple[str, ...] = ()

    @property
    def header(self) -> list[str]:
        """What stands above the rows: the sets of genes after the methods."""
        return ["method", *self.lines["set"].unique()]

    def rows(self, cell: Callable[[Any], str]) -> list[list[str]]:
        """Return one row per method: its name, and for each set of genes what is said of its line."""
        by_method = self.lines.groupby("method", sort=False)
        return [[str(method), *map(cell, lines.itertuples())] for method, lines in by_method]


@dataclass(frozen=True)
class _Maker:
    """Makes tables of the results of a dataset."""

    dataset: "Dataset"
    found: Collected
    sets: Definition
    nan_as_zero: bool

    def table(
        self,
        name: str,
        title: str,
        columns: Mapping[str, tuple[Choose, Rows]],
        reference: str,
        notes: Sequence[str] = (),
    ) -> Table:
        """Return a table.

        Parameters
        ----------
        columns : mapping of str to pair of Choose and Rows
            By column, which genes of a section, and which prediction is in each row; all columns have the same rows.
        reference : str
            Title of the row that the others are compared with, ``""`` for none.
        """
        parts = []
        for column, (genes, rows) in columns.items():
            pcc, given_depth, ranks = (self._estimates(genes, rows, measure, reference) for measure in _MEASURES)
            lines = pcc.join(given_depth[_GIVEN_DEPTH].add_prefix("partial_"))
            lines.insert(0, "set", column)
            lines["spearman"] = ranks["mean"]
            lines["too_rare"] = self.found.too_rare(genes)
            lines["ranked_among"], lines["reference"] = self.sets, reference
            lines["paper"] = [self._paper(name, label).get(column, np.nan) for label in rows.values()]
            if self.sets == "all" and column != "markers":  # its HEG and HVG are other genes
                lines["paper"] = np.nan
            parts.append(lines)
        labels = next(iter(columns.values()))[1]
        by_method = pd.concat(parts).loc[list(labels)].rename_axis("method").reset_index()
        title = f"{title}, {self.dataset.name}"
        if self.sets == "all":
            title += ", HEG and HVG among all genes"
        rivals = frozenset(method for method, label in labels.items() if label.method != CEILING)
        return Table(name, title, by_method, rivals, tuple(notes))

    def _paper(self, name: str, label: Label) -> Mapping[str, Any]:
        """Return the paper's values, by column; in Table 2 k follows from the column."""
        if name == "table5":
            return _ABLATION[label.method].published if self.dataset.paper else {}
        return paper.paper_values(self.dataset.paper, name, label.method if name == "table2" else label.paper)

    def _estimates(self, genes: Choose, rows: Rows, measure: str, reference: str) -> pd.DataFrame:
        """Return the estimates of a measure over some genes."""
        scores = {
            row: [self.found.scores(label, name, genes, measure) for name in self.found.sections]
            for row, label in rows.items()
        }
        folds = [fold.name for fold in self.found.sections.values()]
        return estimate(scores, folds, reference, nan_as_zero=self.nan_as_zero)


def make_tables(
    dataset: "Dataset", found: Collected, *, sets: Definition = "paper", nan_as_zero: bool = False
) -> list[Table]:
    """Return Tables 1, 2, 4 and 5, those of them for which there are results.

    Parameters
    ----------
    dataset : Dataset
        With the markers, and the name that the paper has for it.
    found : Collected
        The results.
    sets : {"paper", "all"}
        Among which genes HEG and HVG are ranked.
    nan_as_zero : bool
        Count undefined PCC as 0.
    """
    make = _Maker(dataset, found, sets, nan_as_zero)
    ours = [label for label in found.labels if label.method == CMRCNET]
    top = {name: ranked(by, 50, sets) for name, by in RANKED_BY.items()}
    if dataset.markers:
        top["markers"] = markers_of(dataset)
    tables = []
    if rows := compared(found):
        of_each = {name: (genes, _by_text(rows)) for name, genes in top.items()}
        reference = ours[0].text if ours else ""
        tables.append(make.table("table1", "Table 1. Mean PCC", of_each, reference))
        tables.append(_wider(make, rows, ours))
    encoder = [label for label in rows if label.method == "ctranspath"]
    if encoder and ours:
        first = {name: (top[name], _by_text([*encoder, ours[-1]])) for name in RANKED_BY}
        title = "Table 4. A pretrained encoder, PCA and ridge"
        tables.append(make.table("table4", title, first, ours[-1].text))
    if any(label.method in _ABLATION_NAMES for label in found.labels):
        tables.append(_ablation(make, ours, top))
    return tables


def _by_text(labels: Sequence[Label]) -> dict[str, Label]:
    return {label.text: label for label in labels}


def compared(found: Collected) -> list[Label]:
    """Return the rows of Table 1: every method, CMRCNet with its first and its last k, BLEEP with its first.

    The ablation is not among them.
    """
    ours, bleep = ([label for label in found.labels if label.method == method] for method in (CMRCNET, BLEEP))
    between = [*ours[1:-1], *bleep[1:]]
    return [label for label in found.labels if label.method not in _ABLATION_NAMES and label not in between]


def _wider(make: _Maker, rows: Sequence[Label], ours: Sequence[Label]) -> Table:
    """Return Table 2: 150 genes with k = 250, and 250 with k = 500, or the nearest below that there is."""
    outputs = {
        title: found
        for title, method in (("BLEEP", BLEEP), ("CMRCNet", CMRCNET))
        if (found := [label for label in make.found.labels if label.method == method])
    }
    columns: dict[str, tuple[Choose, Rows]] = {}
    notes = []
    for n, wanted in ((150, 250), (250, 500)):
        chosen = _by_text([label for label in rows if label.method not in (CMRCNET, BLEEP)])
        for title, found in outputs.items():
            chosen[title] = next((one for one in reversed(found) if int(one.output) <= wanted), found[0])
            if chosen[title].output != str(wanted):
                notes.append(f"{title}: k = {chosen[title].output} stands in for the paper's {wanted}.")
        columns |= {f"{name}{n}": (ranked(by, n, make.sets), chosen) for name, by in RANKED_BY.items()}

    title = "Table 2. Mean PCC over more genes (k = 250 and 500)"
    return make.table("table2", title, columns, "CMRCNet" if ours else "", notes=notes)


def _ablation(make: _Maker, ours: Sequence[Label], sets: Sets) -> Table:
    """Return Table 5, with k = 50 as the paper has it."""
    labels = {label.method: label for label in make.found.labels if label.method in _ABLATION_NAMES}
    if ours:
        labels[CMRCNET] = ours[0]
    title = f"Table 5. Loss, mask rate and target, k = {ours[0].output if ours else 50}"
    rows = {row.title: labels[name] for name, row in _ABLATION.items() if name in labels}
    notes = ("The paper's values are means over its six datasets.",) if make.dataset.paper else ()
    columns = {name: (genes, rows) for name, genes in sets.items()}
    return make.table("table5", title, columns, _ABLATION[CMRCNET].title, notes)
