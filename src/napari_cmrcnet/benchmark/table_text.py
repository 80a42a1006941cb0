"""A table of a benchmark as Markdown."""

from math import isnan
from typing import Any

from napari_cmrcnet.benchmark.tables import Table
from napari_cmrcnet.common.text import count_text, markdown_table, markdown_text
from napari_cmrcnet.sections.score_filter import MIN_SPOTS


def markdown(table: Table) -> str:
    """Return a table as Markdown.

    A cell has the mean PCC with its interval, the difference to the reference, how far the sections are apart,
    the mean partial correlation given depth, Spearman's, and the paper's value. The best of a set is bold.
    """
    lines = table.lines
    best = lines[lines["method"].isin(table.rivals)].groupby("set")["mean"].max()
    rows = table.rows(lambda line: _cell(line, line.mean == best.get(line.set)))
    rare = [
        f"{name}: no score for {count_text(int(number), 'gene')} of the sections, found at under {MIN_SPOTS} spots."
        for name, number in lines.groupby("set", sort=False)["too_rare"].first().items()
        if number
    ]
    said = [
        f"### {markdown_text(table.title)}",
        "",
        markdown_table(table.header, [[markdown_text(method), *cells] for method, *cells in rows]),
        *(f"{markdown_text(note)}\n" for note in (*table.notes, *rare)),
    ]
    return "\n".join(said)


def _cell(line: Any, bold: bool) -> str:
    """Return a cell, from a line of `Table.lines`."""
    if isnan(line.mean):
        parts = ["undefined"]
    else:
        mean = f"**{line.mean:.3f}**" if bold else f"{line.mean:.3f}"
        parts = [f"{mean}{_interval(line.low, line.high)}"]
    if not isnan(line.difference):
        parts.append(f"Δ {line.difference:+.3f}{_interval(line.difference_low, line.difference_high, '+')}")
    if not isnan(line.section_min):
        parts.append(f"sections {line.section_min:.3f} to {line.section_max:.3f}")
    if not isnan(line.partial_mean):
        parts.append(f"given depth {line.partial_mean:.3f}{_interval(line.partial_low, line.partial_high)}")
    if not isnan(line.spearman):
        parts.append(f"Spearman {line.spearman:.3f}")
    if not isnan(line.paper):
        parts.append(f"paper {line.paper:.3f}")
    return "<br>".join(parts).replace("-", "−")


def _interval(low: float, high: float, sign: str = "") -> str:
    return "" if isnan(low) else f" ({low:{sign}.3f} to {high:{sign}.3f})"
