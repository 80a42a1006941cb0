"""All results of a benchmark, by label of a prediction: what tables and figures are made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.evaluation.experiments.bootstrap import Names, Values
from napari_cmrcnet.evaluation.experiments.folds import Fold
from napari_cmrcnet.evaluation.experiments.methods import Choice
from napari_cmrcnet.evaluation.experiments.results import Output, SectionResult, UnitResult
from napari_cmrcnet.evaluation.metrics import heg, hvg

if TYPE_CHECKING:
    from napari_cmrcnet.evaluation.experiments.dataset import Dataset

Choose = Callable[[SectionResult], Sequence[str]]


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
        k as text, one of `QUERIES` or `READOUTS`, ``""`` for a method without.
    """

    text: str
    method: str
    output: str

    @property
    def paper(self) -> str:
        """What the data file of the paper's figures calls it."""
        return f"{self.method}-{self.output}" if self.output else self.method


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
        by_key = {(one.method, one.fold, one.seed): one for one in results}
        self.seeds = tuple(sorted({one.seed for one in results}))
        self.runs: dict[str, list[UnitResult]] = {}
        self.labels: list[Label] = []
        for choice in choices:
            runs = [by_key.get((choice.name, fold.name, seed)) for fold in folds for seed in self.seeds]
            complete = [run for run in runs if run is not None]
            if len(complete) < len(runs) or not complete:
                continue
            self.runs[choice.name] = complete
            outputs = set.intersection(*(set(one.outputs) for run in complete for one in run.sections))
            for output in sorted(outputs, key=_order):
                self.labels.append(Label(complete[0].label(output), choice.name, output))
        self._by_key = by_key

    def section(self, label: Label, fold: Fold, seed: int, name: str) -> SectionResult:
        """Return a test section's result."""
        run = self._by_key[label.method, fold.name, seed]
        return next(one for one in run.sections if one.section == name)

    def output(self, label: Label, fold: Fold, seed: int, name: str) -> Output:
        """Return the prediction of a test section."""
        return self.section(label, fold, seed, name).outputs[label.output]

    @property
    def sections(self) -> list[tuple[Fold, str]]:
        """Every test section, with its fold."""
        return [(fold, name) for fold in self.folds for name in fold.test]

    def values(self, label: Label, genes: Choose) -> Values:
        """Return the PCC of some genes of each section, by fold and section, (seeds, genes)."""
        return [[self.pcc(label, fold, name, genes) for name in fold.test] for fold in self.folds]

    def names(self, genes: Choose) -> Names:
        """Return the names of some genes of each section, by fold and section; they are the same for all methods."""
        return [
            [genes(self.section(self.labels[0], fold, self.seeds[0], name)) for name in fold.test]
            for fold in self.folds
        ]

    def pcc(self, label: Label, fold: Fold, name: str, genes: Choose) -> NDArray[np.float64]:
        """Return the PCC of some genes of a section, (seeds, genes)."""
        rows = []
        for seed in self.seeds:
            one = self.section(label, fold, seed, name)
            places = {gene: place for place, gene in enumerate(one.genes)}
            rows.append(one.outputs[label.output].table["pcc"][[places[gene] for gene in genes(one)]])
        return np.array(rows)


def _order(output: str) -> tuple[bool, int, str]:
    """Put k before other outputs, the smallest first."""
    return not output.isdigit(), int(output) if output.isdigit() else 0, output


def most_expressed(n: int) -> Choose:
    """Return what chooses a section's HEG: the n of the highest measured mean."""
    return lambda one: heg(one.mean, one.genes, n)


def most_variable(n: int) -> Choose:
    """Return what chooses a section's HVG: the n of the highest measured variance."""
    return lambda one: hvg(one.variance, one.genes, n)


def markers_of(dataset: "Dataset") -> Choose:
    """Return what chooses the dataset's markers that a section has."""
    return lambda one: [gene for gene in dataset.markers if gene in set(one.genes)]
