"""The paper's tables, from the results of a benchmark, with its figures beside one's own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from napari_cmrcnet.benchmark import paper
from napari_cmrcnet.benchmark.bootstrap import Estimate, estimate
from napari_cmrcnet.benchmark.collected import (
    Choose,
    Collected,
    Label,
    markers_of,
    ranked,
)
from napari_cmrcnet.benchmark.method_list import ABLATION
from napari_cmrcnet.benchmark.method_names import BLEEP, CEILING, CMRCNET
from napari_cmrcnet.benchmark.results import RANKED_BY
from napari_cmrcnet.evaluation.set_scores import Definition

if TYPE_CHECKING:
    from napari_cmrcnet.benchmark.dataset import Dataset

_ABLATION_NAMES = {row.name for row in ABLATION} - {CMRCNET}
Sets = Mapping[str, Choose]
Rows = Mapping[str, Label]
_MEASURES = ("pcc", "partial_pcc", "spearman")


@dataclass(frozen=True)
class Row:
    """A method's row.

    Parameters
    ----------
    title : str
        What it is called.
    estimates, partial, spearman : mapping of str to Estimate
        By column: PCC, its partial correlation given sequencing depth, and Spearman's rank correlation.
    paper : mapping of str to float
        The paper's PCC by column.
    rival : bool
        Whether it can be the best.
    """

    title: str
    estimates: Mapping[str, Estimate]
    partial: Mapping[str, Estimate]
    spearman: Mapping[str, Estimate]
    paper: Mapping[str, float] = field(default_factory=dict)
    rival: bool = True


@dataclass(frozen=True)
class Table:
    """A table as it is written.

    Parameters
    ----------
    name : str
        Of its files: ``table1``.
    title : str
        Above it.
    columns : tuple of str
        Sets of genes.
    rows : tuple of Row
        One a method.
    reference : str
        The row that the others are compared with.
    notes : tuple of str
        Below it.
    sets : {"paper", "all"}
        Among which genes HEG and HVG are ranked.
    too_rare : mapping of str to int
        By column, genes of the set over all sections that were found at too few spots to have a score.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    reference: str
    notes: tuple[str, ...] = ()
    sets: Definition = "paper"
    too_rare: Mapping[str, int] = field(default_factory=dict)


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
        labels: Rows | Callable[[str], Rows],
        sets: Sets,
        reference: str,
        published: Callable[[Label], Mapping[str, float]] | None = None,
        notes: Sequence[str] = (),
    ) -> Table:
        """Return a table.

        Parameters
        ----------
        labels : mapping of str to Label, or callable
            By title of the row; or what gives them for a column.
        sets : mapping of str to Choose
            By column, which genes of a section.
        reference : str
            Title of the row that the others are compared with, ``""`` for none.
        published : callable, optional
            The paper's values by column; if not given those that it has under this name.
        """
        by_column = {column: labels(column) if callable(labels) else labels for column in sets}
        found: dict[str, dict[str, dict[str, Estimate]]] = {measure: {} for measure in _MEASURES}
        for measure, by_row in found.items():
            for column, genes in sets.items():
                values = {row: self.found.values(label, genes, measure) for row, label in by_column[column].items()}
                names = self.found.names(genes)
                for row, one in estimate(values, names, reference, nan_as_zero=self.nan_as_zero).items():
                    by_row.setdefault(row, {})[column] = one
        first = {row: label for rows in by_column.values() for row, label in rows.items()}
        published = published or (lambda label: paper.paper_values(self.dataset.paper, name, label.paper))
        theirs = {row: published(label) for row, label in first.items()}
        if self.sets == "all":  # its HEG and HVG are other genes
            theirs = {
                row: {one: at for one, at in values.items() if one == "markers"} for row, values in theirs.items()
            }
        rows = tuple(
            Row(
                row,
                found["pcc"][row],
                found["partial_pcc"][row],
                found["spearman"][row],
                theirs[row],
                label.method != CEILING,
            )
            for row, label in first.items()
        )
        too_rare = {column: self.found.too_rare(genes) for column, genes in sets.items()}
        title = f"{title}, {self.dataset.name}"
        if self.sets == "all":
            title += ", HEG and HVG among all genes"
        return Table(name, title, tuple(sets), rows, reference, tuple(notes), self.sets, too_rare)


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
        tables.append(make.table("table1", "Table 1. Mean PCC", _by_text(rows), top, _text_of(ours[:1])))
        tables.append(_wider(make, rows, ours))
    encoder = [label for label in rows if label.method == "ctranspath"]
    if encoder and ours:
        first = {name: top[name] for name in RANKED_BY}
        title = "Table 4. A pretrained encoder, PCA and ridge"
        tables.append(make.table("table4", title, _by_text([*encoder, ours[-1]]), first, ours[-1].text))
    if any(label.method in _ABLATION_NAMES for label in found.labels):
        tables.append(_ablation(make, ours, top))
    return tables


def _by_text(labels: Sequence[Label]) -> dict[str, Label]:
    return {label.text: label for label in labels}


def _text_of(labels: Sequence[Label]) -> str:
    return labels[0].text if labels else ""


def compared(found: Collected) -> list[Label]:
    """Return the rows of Table 1: every method, CMRCNet with its first and its last k, BLEEP with its first.

    The ablation is not among them.
    """
    ours, bleep = ([label for label in found.labels if label.method == method] for method in (CMRCNET, BLEEP))
    between = [*ours[1:-1], *bleep[1:]]
    return [label for label in found.labels if label.method not in _ABLATION_NAMES and label not in between]


def _wider(make: _Maker, rows: Sequence[Label], ours: Sequence[Label]) -> Table:
    """Return Table 2: 150 genes with k = 250, and 250 with k = 500, or the nearest below that there is."""
    sets = {f"{name}{n}": ranked(by, n, make.sets) for n in (150, 250) for name, by in RANKED_BY.items()}
    retrieved = {
        title: outputs
        for title, method in (("BLEEP", BLEEP), ("CMRCNet", CMRCNET))
        if (outputs := [label for label in make.found.labels if label.method == method])
    }
    notes = []

    def labels(column: str) -> Rows:
        wanted = 250 if "150" in column else 500
        chosen = _by_text([label for label in rows if label.method not in (CMRCNET, BLEEP)])
        for title, outputs in retrieved.items():
            chosen[title] = next((one for one in reversed(outputs) if int(one.output) <= wanted), outputs[0])
            if chosen[title].output != str(wanted):
                notes.append(f"{title}: k = {chosen[title].output} stands in for the paper's {wanted}.")
        return chosen

    def published(label: Label) -> Mapping[str, float]:
        return paper.paper_values(make.dataset.paper, "table2", label.method)

    title = "Table 2. Mean PCC over more genes (k = 250 and 500)"
    table = make.table("table2", title, labels, sets, "CMRCNet" if ours else "", published)
    return replace(table, notes=tuple(dict.fromkeys(notes)))


def _ablation(make: _Maker, ours: Sequence[Label], sets: Sets) -> Table:
    """Return Table 5, with k = 50 as the paper has it."""
    labels = {label.method: label for label in make.found.labels if label.method in _ABLATION_NAMES}
    if ours:
        labels[CMRCNET] = ours[0]
    of_method = {row.name: row for row in ABLATION}

    def published(label: Label) -> Mapping[str, float]:
        row = of_method[label.method]
        return paper.paper_ablation(row.loss, row.mask, row.target) if make.dataset.paper else {}

    title = f"Table 5. Loss, mask rate and target, k = {ours[0].output if ours else 50}"
    rows = {row.title: labels[row.name] for row in ABLATION if row.name in labels}
    notes = ("The paper's values are means over its six datasets.",) if make.dataset.paper else ()
    return make.table("table5", title, rows, sets, of_method[CMRCNET].title, published, notes)
