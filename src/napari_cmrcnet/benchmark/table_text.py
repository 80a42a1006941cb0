"""A table of a benchmark as CSV and as Markdown."""

from dataclasses import asdict
from pathlib import Path

from napari_cmrcnet.benchmark.bootstrap import Estimate
from napari_cmrcnet.benchmark.tables import Row, Table
from napari_cmrcnet.common.files import write_content
from napari_cmrcnet.common.spreadsheet import csv_text, safe_text
from napari_cmrcnet.common.text import markdown_table, markdown_text
from napari_cmrcnet.sections.score_filter import MIN_SPOTS

_GIVEN_DEPTH = ("mean", "low", "high", "difference", "difference_low", "difference_high")


def write_csv(path: Path, table: Table) -> Path:
    """Write a table as CSV, a line a method and set of genes."""
    partial = [f"partial_{name}" for name in _GIVEN_DEPTH]
    columns = (
        "method", "set", *Estimate.__dataclass_fields__, *partial, "spearman", "too_rare", "ranked_among", "reference",
        "paper",
    )  # fmt: skip
    lines = [columns]
    for row in table.rows:
        for name in table.columns:
            cells = [_cell(value) for value in asdict(row.estimates[name]).values()]
            cells += [_cell(getattr(row.partial[name], field)) for field in _GIVEN_DEPTH]
            cells += [_cell(row.spearman[name].mean), str(table.too_rare[name]), table.sets]
            lines.append((safe_text(row.title), name, *cells, table.reference, _cell(row.paper.get(name))))
    return write_content(path, csv_text(lines))


def _cell(value: float | int | None) -> str:
    return "" if value is None else f"{value:.6f}" if isinstance(value, float) else str(value)


def markdown(table: Table) -> str:
    """Return a table as Markdown.

    A cell has the mean PCC with its interval, the difference to the reference, how far the sections are apart,
    the mean partial correlation given depth, Spearman's, and the paper's value.
    """
    best = {name: _best(table, name) for name in table.columns}
    rows = [
        [markdown_text(row.title), *(_markdown_cell(row, name, best[name]) for name in table.columns)]
        for row in table.rows
    ]
    lines = [f"### {markdown_text(table.title)}", "", markdown_table(["method", *table.columns], rows)]
    rare = [
        f"{name}: {number} of the sections' genes were found at fewer than {MIN_SPOTS} spots and have no score."
        for name, number in table.too_rare.items()
        if number
    ]
    return "\n".join([*lines, *(f"{markdown_text(note)}\n" for note in (*table.notes, *rare))])


def _markdown_cell(row: Row, name: str, best: float | None) -> str:
    one = row.estimates[name]
    if one.mean is None:
        parts = ["undefined"]
    else:
        mean = f"**{one.mean:.3f}**" if one.mean == best else f"{one.mean:.3f}"
        parts = [f"{mean}{_interval(one.low, one.high)}"]
    if one.difference is not None:
        parts.append(f"Δ {one.difference:+.3f}{_interval(one.difference_low, one.difference_high, '+')}")
    if one.section_min is not None:
        parts.append(f"sections {one.section_min:.3f} to {one.section_max:.3f}")
    if (partial := row.partial[name]).mean is not None:
        parts.append(f"given depth {partial.mean:.3f}{_interval(partial.low, partial.high)}")
    if (ranks := row.spearman[name].mean) is not None:
        parts.append(f"Spearman {ranks:.3f}")
    if name in row.paper:
        parts.append(f"paper {row.paper[name]:.3f}")
    return "<br>".join(parts).replace("-", "−")


def _interval(low: float | None, high: float | None, sign: str = "") -> str:
    return "" if low is None or high is None else f" ({low:{sign}.3f} to {high:{sign}.3f})"


def _best(table: Table, name: str) -> float | None:
    means = [row.estimates[name].mean for row in table.rows if row.rival]
    return max((mean for mean in means if mean is not None), default=None)
