"""All results of a benchmark, by label of a prediction: what tables and figures are made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from napari_cmrcnet.benchmark.folds import Fold
from napari_cmrcnet.benchmark.method_list import Choice
from napari_cmrcnet.benchmark.method_names import CMRCNET
from napari_cmrcnet.benchmark.results import By, Output, UnitResult, found_enough, top_genes
from napari_cmrcnet.evaluation.set_scores import Definition

if TYPE_CHECKING:
    from napari_cmrcnet.benchmark.dataset import Dataset

Choose = Callable[[pd.DataFrame], Sequence[str]]
"""Chooses genes by the table of an output."""


@dataclass(frozen=True)
class Label:
    """One prediction that tables compare: a method, and for CMRCNet its k.

    Parameters
    ----------
    text : str
        ``CMRCNet-50``, ``ST-Net``.
    method : str
        The method's name.
    output : str
        k as text, ``""`` for a method without.
    """

    text: str
    method: str
    output: str

    @property
    def paper(self) -> str:
        """What the data file of the paper's figures calls it."""
        return f"{self.method}-{self.output}" if self.method == CMRCNET else self.method


class Collected:
    """Results in the order of folds, test sections and seeds; only of methods that are complete.

    Parameters
    ----------
    choices : sequence of Choice
        The methods, in the order of the tables.
    folds : sequence of Fold
        The folds.
    results : sequence of UnitResult
        What was done.
    """

    def __init__(self, choices: Sequence[Choice], folds: Sequence[Fold], results: Sequence[UnitResult]) -> None:
        self.folds = tuple(folds)
        self.sections = {name: fold for fold in folds for name in fold.test}  # that are tested
        self._runs = {(one.method, one.fold, one.seed): one for one in results}
        self.seeds = tuple(sorted({one.seed for one in results}))
        self.runs: dict[str, list[UnitResult]] = {}
        self.labels: list[Label] = []
        for choice in choices:
            runs = [self._runs.get((choice.name, fold.name, seed)) for fold in folds for seed in self.seeds]
            complete = [run for run in runs if run is not None]
            if len(complete) < len(runs) or not complete:
                continue
            self.runs[choice.name] = complete
            outputs = set.intersection(*(set(one) for run in complete for one in run.sections.values()))
            for output in sorted(outputs, key=lambda k: int(k or 0)):
                text = f"{complete[0].title}-{output}" if output else complete[0].title
                self.labels.append(Label(text, choice.name, output))

    def output(self, label: Label, seed: int, name: str) -> Output:
        """Return the prediction of a test section."""
        return self._runs[label.method, self.sections[name].name, seed].sections[name][label.output]

    def too_rare(self, genes: Choose) -> int:
        """Return how many genes, over all sections, have no score, since they were found at too few spots."""
        tables = [self.output(self.labels[0], self.seeds[0], name).table for name in self.sections]
        return sum(len(genes(table)) - len(found_enough(table, genes(table))) for table in tables)

    def scores(self, label: Label, name: str, genes: Choose, measure: str = "pcc") -> pd.DataFrame:
        """Return a measure (a column of `Output.table`) of some genes of a section: a row per seed, a column per gene.

        Genes that have no score, since they were found at too few spots, are left out.
        """
        rows = []
        for seed in self.seeds:
            table = self.output(label, seed, name).table
            rows.append(table.loc[found_enough(table, genes(table)), measure])
        return pd.DataFrame(rows)


def ranked(by: By, n: int, sets: Definition) -> Choose:
    """Return what chooses a section's n genes of highest mean (HEG) or variance (HVG), among those that `sets` says."""
    return lambda table: top_genes(table, by, n, sets)


def markers_of(dataset: "Dataset") -> Choose:
    """Return what chooses the dataset's markers that a section has."""
    return lambda table: [gene for gene in dataset.markers if gene in table.index]
