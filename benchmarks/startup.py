"""What it takes until something is there: importing the package, the command's help, and each panel's first opening.

usage: xvfb-run -a python -m benchmarks.startup [--small]

Imports and the help run in a process of their own each, in turn with an interpreter that does nothing. The panels are
opened once each in one window, in the order of the menu, so that the first pays for what several share.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import Row, Times, Way, at_most, interleave, main
from benchmarks.screen import no_window

PANELS = ("Predict", "Genes", "View", "Evidence", "Regions", "Plots", "Export")
HEAVY = ("torch", "timm", "scanpy")
NAPARI = "import napari"


def python(code: str, *arguments: str) -> Way:
    """Return a way that runs some code in a new interpreter and returns what it prints."""

    def run(_: int) -> str:
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout

    return run


def open_panels() -> None:
    """Open each panel in a window; print milliseconds by panel, and the heavy packages that it imported."""
    import napari
    from qtpy.QtWidgets import QApplication

    viewer, seconds = napari.Viewer(), {}
    QApplication.processEvents()
    for name in PANELS:
        start, worked = time.perf_counter(), time.process_time()
        _, panel = viewer.window.add_plugin_dock_widget("napari-cmrcnet", name)
        QApplication.processEvents()
        seconds[name] = (time.perf_counter() - start, time.process_time() - worked)
        viewer.window.remove_dock_widget(panel)
    print(json.dumps({"seconds": seconds, "heavy": [name for name in HEAVY if name in sys.modules]}))
    viewer.close()


def panels(small: bool) -> Iterator[Row]:
    """Time the first opening of each panel."""
    rounds = 1 if small else 3
    code = "from benchmarks.startup import open_panels; open_panels()"
    opened: list[Any] = []
    ways = {"panels": lambda turn: opened.append(json.loads(python(code)(turn))), NAPARI: python(NAPARI)}
    taken = interleave(ways, rounds, same=None, warm_up=False)
    for one in opened:
        assert not one["heavy"], f"opening the panels imported {one['heavy']}"
    times = {name: Times(*zip(*(one["seconds"][name] for one in opened), strict=True)) for name in PANELS}
    slowest = max(times, key=lambda name: times[name].median)
    ratio = times[slowest].median / taken.ways[NAPARI].median
    what = f"opening a panel for the first time, the slowest of {len(PANELS)} ({slowest})"
    yield Row(what, NAPARI, ratio, times=times | {NAPARI: taken.ways[NAPARI]})


def rows(small: bool) -> Iterator[Row]:
    """Time imports, the help, and the panels."""
    command = str(Path(sys.executable).with_name("napari-cmrcnet"))
    nothing, ours, usage = "python -c pass", "import napari_cmrcnet", "napari-cmrcnet --help"
    ways = {nothing: python("pass"), ours: python("import napari_cmrcnet")}
    ways[usage] = python("import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')", command, "--help")
    assert "usage: napari-cmrcnet" in ways[usage](0)
    taken = interleave(ways, 1 if small else 15, same=None)
    beyond = statistics.median(taken.ways[ours].cpu) - statistics.median(taken.ways[nothing].cpu)
    times, note = {name: taken.ways[name] for name in (ours, nothing)}, "measured: by the processor's time"
    yield Row(ours, f"beyond {nothing}", 1e3 * beyond, "ms", goal=at_most(50), times=times, note=note)
    yield taken.milliseconds(usage, usage, goal=at_most(300))
    if not no_window("opening of panels"):
        yield from panels(small)


if __name__ == "__main__":
    main(rows)
