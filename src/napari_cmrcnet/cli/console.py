"""What the commands show: progress bars on standard error, tables on standard output.

All of it is plain text: what a name holds neither is read as markup nor reaches the terminal as a control code.

With ``--json`` standard output is one JSON document (`show_json`), and what is meant for people is on standard error.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from napari_cmrcnet.common.progress import Job, Progress, T, finish
from napari_cmrcnet.common.text import printable

MOST_BARS = 15  # on the screen: a job of many steps hides those that were done first

output = Console(soft_wrap=True, highlight=False)
errors = Console(stderr=True, soft_wrap=True, highlight=False)


def show_progress(job: Job[T]) -> T:
    """Run a job with one bar for each of its steps, and return its result."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}", markup=False),
        TimeRemainingColumn(),
        TextColumn("{task.fields[values]}", markup=False),
    )
    with Bars(*columns, console=errors) as bars:
        tasks: dict[str, int] = {}

        def report(progress: Progress) -> None:
            if progress.step not in tasks:
                tasks[progress.step] = bars.add_task(printable(progress.step), unit=progress.unit, values="")
                _hide_done(bars)
            values = "  ".join(f"{name} {value:.4g}" for name, value in progress.values.items())
            total = progress.total or None
            bars.update(tasks[progress.step], completed=progress.done, total=total, values=values)  # type: ignore[arg-type]

        result = finish(job, report)
        for task in bars.tasks:  # some jobs do not say how their last step ended
            bars.update(task.id, total=task.total or 1, completed=task.total or 1)
        return result


def _hide_done(bars: Bars) -> None:
    shown = [task for task in bars.tasks if task.visible]
    done = [task for task in shown if task.finished]
    for task in done[: max(0, len(shown) - MOST_BARS)]:
        bars.update(task.id, visible=False)


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; all columns but the first are aligned to the right."""
    table = Table(title=Text(printable(title)), title_justify="left", title_style="bold")
    for i, column in enumerate(columns):
        table.add_column(Text(printable(column)), justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    output.print(table)


def show_facts(title: str, facts: Mapping[str, str]) -> None:
    """Print names and values in two columns under a title."""
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        table.add_row(Text(printable(name), style="dim"), Text(printable(value, lines=True)))
    output.print(Text(printable(title), style="bold"))
    output.print(table)


def say(message: str) -> None:
    """Print a line of plain text; nothing in it is read as markup."""
    output.print(printable(message, lines=True), markup=False)


def warn(message: str) -> None:
    """Print a line that the user should not miss, in amber."""
    output.print(f"! {printable(message, lines=True)}", markup=False, style="yellow")


def complain(message: str) -> None:
    """Print one error sentence on standard error."""
    errors.print(f"error: {printable(message, lines=True)}", markup=False, style="red")


def keep_output_for_json(asked: bool) -> None:
    """Send what is meant for people to standard error, if a program reads standard output."""
    output.stderr = asked


def show_json(facts: Mapping[str, Any]) -> None:
    """Print a JSON document on standard output, if one was asked for.

    It is ASCII, so that every console can carry it; numbers that are not finite are null.
    """
    if output.stderr:
        from napari_cmrcnet.common.text import plain

        print(json.dumps(plain(facts), indent=2, allow_nan=False))
