"""How long the window is deaf while a prediction runs beside it, and how long panels take to open.

usage: python benchmarks/live_window.py [SLIDE SPOTS CHECKPOINT]     (the synthetic sample by default)

Needs a screen (``xvfb-run -a`` where there is none). A timer of 5 ms runs in the window; the gaps between its ticks are
what a user feels. The first run imports torch and timm in the worker, which holds Python's lock; the second shows what
is ours, and a third stretch, in which nothing runs, what the machine adds. Panels are opened twice. Prints
milliseconds; a line of JSON last.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("NAPARI_CONFIG", os.path.join(tempfile.mkdtemp(), "settings.yaml"))
os.environ.setdefault("CMRCNET_CONFIG", tempfile.mkdtemp())

import napari
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_cmrcnet.evaluation.demo import sample_folder
from napari_cmrcnet.viewer.registry import session_of
from napari_cmrcnet.widgets.predict import _prediction

PANELS = ("Predict", "Genes", "View", "Evidence", "Regions", "Plots", "Export")


class Gaps:
    """Collects the time between the ticks of a timer in the window."""

    def __init__(self) -> None:
        self.milliseconds: list[float] = []
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.setInterval(5)
        self._timer.timeout.connect(self._tick)
        self._timer.start()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.milliseconds.append(1e3 * (now - self._last))
        self._last = now

    def end(self, what: str) -> float:
        """Stop, print the longest gaps and return the longest."""
        self._timer.stop()
        longest = sorted(self.milliseconds, reverse=True)[:5]
        print(f"{what:34} longest gaps {', '.join(f'{gap:.0f}' for gap in longest)} ms")
        return longest[0]


def wait(condition: Callable[[], bool], limit: float = 600) -> None:
    """Run the window until a condition holds."""
    end = time.monotonic() + limit
    while not condition() and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.001)


def main() -> None:
    """Run the stretches and print the gaps."""
    sample = sample_folder()
    given = [Path(path) for path in sys.argv[1:4]]
    slide, spots, checkpoint = given or (sample / "S4.tif", sample / "S4.h5ad", sample / "sample.cmrcnet")
    viewer = napari.Viewer()
    session, figures = session_of(viewer), {}
    opening: dict[str, list[float]] = {}
    for _ in range(2):
        for name in PANELS:
            start = time.perf_counter()
            _, panel = viewer.window.add_plugin_dock_widget("napari-cmrcnet", name)
            opening.setdefault(name, []).append(1e3 * (time.perf_counter() - start))
            QApplication.processEvents()
            if len(opening[name]) == 1 or name != "Predict":
                viewer.window.remove_dock_widget(panel)
            else:
                predict = panel
    for name, (first, second) in opening.items():
        print(f"opening {name:26} first {first:.0f} ms, second {second:.0f} ms")
    heavy = [module for module in ("torch", "timm", "scanpy") if module in sys.modules]
    print(f"heavy packages imported by opening panels: {', '.join(heavy) or 'none'}")
    predict.choose(slide, spots)
    predict.checkpoint.set_path(checkpoint)
    wait(predict.run.isEnabled)
    for run in ("first (imports torch and timm)", "second"):
        gaps, results = Gaps(), []
        # The run alone: what napari takes to make layers of its result is not counted.
        predict.jobs.start(_prediction(predict.inspection, "cpu"), results.append)
        wait(lambda: bool(results))  # noqa: B023
        figures[run.split()[0]] = gaps.end(f"predicting, {run}")
    gaps, until = Gaps(), time.monotonic() + 5
    wait(lambda: time.monotonic() > until)
    figures["idle"] = gaps.end("nothing runs")
    start = time.perf_counter()
    session.set_prediction(results[0], predict.inspection.slide)
    print(f"showing the result: {1e3 * (time.perf_counter() - start):.0f} ms, nearly all of it napari's")
    second = {name: round(times[1], 1) for name, times in opening.items()}
    rounded = {f"{name}_ms": round(gap, 1) for name, gap in figures.items()}
    print(json.dumps({"benchmark": "live_window", **rounded, "opening_ms": second, "heavy": heavy}))
    viewer.close()


if __name__ == "__main__":
    main()
