"""The paper's tables, from the results of a benchmark, with its figures beside one's own."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cmrcnet.common.files import atomic_file
from napari_cmrcnet.common.spreadsheet import safe_text
from napari_cmrcnet.evaluation.experiments import paper
from napari_cmrcnet.evaluation.experiments.bootstrap import Estimate, estimate
from napari_cmrcnet.evaluation.experiments.collected import (
    Choose,
    Collected,
    Label,
    markers_of,
    most_expressed,
    most_variable,
)
from napari_cmrcnet.evaluation.experiments.methods import ABLATION, CEILING, CMRCNET, READ, STEPS, TUNED
from napari_cmrcnet.evaluation.experiments.readouts import READOUTS, K
from napari_cmrcnet.training.config import TUNED_QUERY

if TYPE_CHECKING:
    from napari_cmrcnet.evaluation.experiments.dataset import Dataset

_ABLATION_NAMES = {row.name for row in ABLATION} - {CMRCNET}
_STEP_NAMES = {step.name for step in STEPS}
_WITHIN = _ABLATION_NAMES | _STEP_NAMES  # CMRCNet with other settings: compared with itself alone
Sets = Mapping[str, Choose]


@dataclass(frozen=True)
class Row:
    """A method's row: its estimate and the paper's value in each column, and whether it can be the best."""

    title: str
    estimates: Mapping[str, Estimate]
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
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    reference: str
    notes: tuple[str, ...] = ()


def make_tables(dataset: "Dataset", found: Collected, *, nan_as_zero: bool = False) -> list[Table]:
    """Return Tables 1, 2, 4 and 5, those of them for which there are results.

    Parameters
    ----------
    dataset : Dataset
        With the markers, and the name that the paper has for it.
    found : Collected
        The results.
    nan_as_zero : bool
        Count undefined PCC as 0.
    """
    ours = [label for label in found.labels if label.method == CMRCNET]
    others = [label for label in compared(found) if label.method != CMRCNET]
    top = {"HEG": most_expressed(50), "HVG": most_variable(50), "markers": markers_of(dataset)}
    if not dataset.markers:
        del top["markers"]
    title = f"Table 1. Mean PCC, {dataset.name}"
    tables = []
    if compared(found):
        tables.append(_table("table1", title, compared(found), top, ours[:1], dataset, found, nan_as_zero))
        tables.append(_wider(dataset, found, others, ours, nan_as_zero))
    encoder = [label for label in others if label.method == "ctranspath"]
    if encoder and ours:
        first = {name: top[name] for name in ("HEG", "HVG")}
        title = f"Table 4. A pretrained encoder, PCA and ridge, {dataset.name}"
        tables.append(_table("table4", title, [*encoder, ours[-1]], first, ours[-1:], dataset, found, nan_as_zero))
    if any(label.method in _ABLATION_NAMES for label in found.labels):
        tables.append(_ablation(dataset, found, ours, top, nan_as_zero))
    if any(label.method in _STEP_NAMES for label in found.labels):
        tables.append(_steps(dataset, found, ours[:1], top, nan_as_zero))
    if any(label.method == READ for label in found.labels):
        tables.append(_readouts(dataset, found, top, nan_as_zero))
    return tables


def compared(found: Collected) -> list[Label]:
    """Return the rows of Table 1: every method, CMRCNet with its first and its last k; not the ablation."""
    ours = [label for label in found.labels if label.method == CMRCNET]
    apart = [label for label in found.labels if label.method in _WITHIN or label in ours[1:-1]]
    if TUNED not in found.runs:  # which is among the steps, then
        apart = [label for label in apart if label.method != READ or label.output]
    return [label for label in found.labels if label not in apart]


def _table(
    name: str,
    title: str,
    labels: Sequence[Label],
    sets: Sets,
    reference: Sequence[Label],
    dataset: "Dataset",
    found: Collected,
    nan_as_zero: bool,
) -> Table:
    against = reference[0].text if reference else ""
    columns = {
        column: _estimates({label.text: label for label in labels}, genes, against, found, nan_as_zero)
        for column, genes in sets.items()
    }
    rows = tuple(
        Row(
            label.text,
            {column: columns[column][label.text] for column in sets},
            paper.paper_values(dataset.paper, name, label.paper),
            label.method != CEILING,
        )
        for label in labels
    )
    return Table(name, title, tuple(sets), rows, against)


def _estimates(
    labels: Mapping[str, Label], genes: Choose, against: str, found: Collected, nan_as_zero: bool
) -> dict[str, Estimate]:
    """Return the estimates of some rows over the genes of a set."""
    values = {title: found.values(label, genes) for title, label in labels.items()}
    return estimate(values, found.names(genes), against, nan_as_zero=nan_as_zero) if values else {}


def _wider(
    dataset: "Dataset", found: Collected, others: Sequence[Label], ours: Sequence[Label], nan_as_zero: bool
) -> Table:
    """Return Table 2: 150 genes with k = 250, and 250 with k = 500, or the nearest below that there is."""
    sets = {"HEG150": most_expressed(150), "HVG150": most_variable(150),
            "HEG250": most_expressed(250), "HVG250": most_variable(250)}  # fmt: skip
    estimates: dict[str, dict[str, Estimate]] = {label.text: {} for label in others}
    notes, title = [], "CMRCNet"
    for column, genes in sets.items():
        wanted = 250 if "150" in column else 500
        rivals = {label.text: label for label in others}
        if ours:
            rivals[title] = next((label for label in reversed(ours) if int(label.output) <= wanted), ours[0])
            if rivals[title].output != str(wanted):
                notes.append(f"k = {rivals[title].output} stands in for the paper's {wanted}.")
        for method, one in _estimates(rivals, genes, title, found, nan_as_zero).items():
            estimates.setdefault(method, {})[column] = one
    keys = {label.text: label.paper for label in others} | {title: CMRCNET}
    rows = tuple(
        Row(method, its, paper.paper_values(dataset.paper, "table2", keys[method]), keys[method] != CEILING)
        for method, its in estimates.items()
    )
    text = f"Table 2. Mean PCC over more genes (k = 250 and 500), {dataset.name}"
    return Table("table2", text, tuple(sets), rows, title if ours else "", tuple(dict.fromkeys(notes)))


def _ablation(dataset: "Dataset", found: Collected, ours: Sequence[Label], sets: Sets, nan_as_zero: bool) -> Table:
    """Return Table 5, with k = 50 as the paper has it."""
    labels = {label.method: label for label in found.labels if label.method in _ABLATION_NAMES}
    if ours:
        labels[CMRCNET] = ours[0]
    titles = {row.name: row.title for row in ABLATION}
    columns = {
        column: _estimates(
            {titles[row.name]: labels[row.name] for row in ABLATION if row.name in labels},
            genes,
            titles[CMRCNET],
            found,
            nan_as_zero,
        )
        for column, genes in sets.items()
    }
    rows = tuple(
        Row(
            titles[row.name],
            {column: columns[column][titles[row.name]] for column in sets},
            paper.paper_ablation(row.loss, row.mask, row.target) if dataset.paper else {},
        )
        for row in ABLATION
        if row.name in labels
    )
    notes = ("The paper's values are means over its six datasets.",) if dataset.paper else ()
    title = f"Table 5. Loss, mask rate and target, k = {ours[0].output if ours else 50}, {dataset.name}"
    return Table("table5", title, tuple(sets), rows, titles[CMRCNET], notes)


def _steps(dataset: "Dataset", found: Collected, ours: Sequence[Label], sets: Sets, nan_as_zero: bool) -> Table:
    """Return the steps from the published method, k as in Table 1, to the tuned one."""
    labels = [replace(label, text="CMRCNet as published") for label in ours]
    for step in STEPS:
        outputs = [label for label in found.labels if label.method == step.name and step.output in ("", label.output)]
        labels += [replace(label, text=step.title) for label in outputs[:1]]
    title = f"Steps to the tuned CMRCNet, {dataset.name}"
    table = _table("steps", title, labels, sets, labels[:1], dataset, found, nan_as_zero)
    return replace(table, notes=("Unless all have one number of epochs, those from standardised on have the tuned's.",))


def _readouts(dataset: "Dataset", found: Collected, sets: Sets, nan_as_zero: bool) -> Table:
    """Return the ways to read expression from the tuned method, beside its own."""
    titles = {"": f"{TUNED_QUERY.k} nearest, weighted: tuned", "context": f"{K} nearest"}
    titles |= {name: title for name, (title, _) in READOUTS.items()}
    read = {label.output: label for label in found.labels if label.method == READ}
    labels = [replace(read[name], text=title) for name, title in titles.items() if name in read]
    title = f"Ways to read expression from the tuned CMRCNet, {dataset.name}"
    return _table("readouts", title, labels, sets, labels[:1], dataset, found, nan_as_zero)


def write_csv(path: Path, table: Table) -> Path:
    """Write a table as CSV, a line a method and set of genes."""
    columns = ("method", "set", *Estimate.__dataclass_fields__, "reference", "paper")
    with atomic_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        lines = csv.writer(stream, lineterminator="\n")
        lines.writerow(columns)
        for row in table.rows:
            for name in table.columns:
                cells = [_cell(value) for value in asdict(row.estimates[name]).values()]
                lines.writerow([safe_text(row.title), name, *cells, table.reference, _cell(row.paper.get(name))])
    return path


def _cell(value: float | int | None) -> str:
    return "" if value is None else f"{value:.6f}" if isinstance(value, float) else str(value)


def markdown(table: Table) -> str:
    """Return a table as Markdown: in each cell the mean, its interval, the difference and the paper's value."""
    best = {name: _best(table, name) for name in table.columns}
    lines = [
        f"### {table.title}",
        "",
        f"| method | {' | '.join(table.columns)} |",
        "|---" * (1 + len(table.columns)) + "|",
    ]
    for row in table.rows:
        cells = [_markdown_cell(row, name, best[name]) for name in table.columns]
        lines.append(f"| {_escaped(row.title)} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"{note}\n" for note in table.notes)])


def _markdown_cell(row: Row, name: str, best: float | None) -> str:
    one = row.estimates[name]
    if one.mean is None:
        parts = ["undefined"]
    else:
        mean = f"**{one.mean:.3f}**" if one.mean == best else f"{one.mean:.3f}"
        parts = [f"{mean} ({one.low:.3f} to {one.high:.3f})"]
    if one.difference is not None:
        parts.append(f"Δ {one.difference:+.3f} ({one.difference_low:+.3f} to {one.difference_high:+.3f})")
    if name in row.paper:
        parts.append(f"paper {row.paper[name]:.3f}")
    return "<br>".join(parts).replace("-", "−")


def _best(table: Table, name: str) -> float | None:
    means = [row.estimates[name].mean for row in table.rows if row.rival]
    return max((mean for mean in means if mean is not None), default=None)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
