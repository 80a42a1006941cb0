"""How long the window stands still while a prediction runs beside it.

usage: xvfb-run -a python -m benchmarks.live_window [--small]

A timer of 5 ms runs in the window; the gaps between its ticks are what a user feels. The first run imports torch and
timm in the worker, which is compared with importing them plainly, each in a process of its own. Of the second run all
is ours. While nothing runs, the gaps are what the machine adds.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from benchmarks.harness import Row, Times, at_least, at_most, interleave, main
from benchmarks.screen import no_window
from benchmarks.startup import python

PLAINLY = "import torch, timm"
OURS = "from napari_cmrcnet.viewer.runtime import import_torch; import_torch()"


class Gaps:
    """Collects the seconds between the ticks of a timer in the window."""

    def __init__(self) -> None:
        from qtpy.QtCore import QTimer

        self.seconds: list[float] = []
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.setInterval(5)
        self._timer.timeout.connect(self._tick)
        self._timer.start()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.seconds.append(now - self._last)
        self._last = now

    def longest(self) -> tuple[float, ...]:
        """Stop, and return the five longest."""
        self._timer.stop()
        return tuple(sorted(self.seconds, reverse=True)[:5])


def wait(condition: Callable[[], bool], limit: float = 600) -> None:
    """Run the window until a condition holds."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "the window waits for something that does not come"
        QApplication.processEvents()
        time.sleep(0.001)


def print_gaps(code: str) -> None:
    """Run some code in a thread, print the longest gap of the main thread meanwhile, and what was imported."""
    with suppress(ImportError):
        import napari  # noqa: F401 - its objects are there, too, when the garbage collector runs

    work = threading.Thread(target=exec, args=(code, {}))
    gaps, last = [], time.perf_counter()
    work.start()
    while work.is_alive():
        time.sleep(0.002)
        now = time.perf_counter()
        gaps.append(now - last)
        last = now
    here = [name for name in ("torch", "timm") if name in sys.modules]
    print(json.dumps({"longest": max(gaps), "imported": here}))


def imports(small: bool) -> Iterator[Row]:
    """Compare importing torch with what the panel does."""
    gaps: dict[str, list[float]] = {OURS: [], PLAINLY: []}

    def imported(code: str) -> Callable[[int], Any]:
        def run(turn: int) -> Any:
            told = json.loads(python("import sys, benchmarks.live_window as b; b.print_gaps(sys.argv[1])", code)(turn))
            gaps[code].append(told["longest"])
            return told["imported"]

        return run

    interleave({code: imported(code) for code in gaps}, 1 if small else 2, same=same_modules, warm_up=False)
    times = {name: Times(tuple(gaps[code]), ()) for name, code in (("ours", OURS), (PLAINLY, PLAINLY))}
    ratio = times[PLAINLY].median / times["ours"].median
    yield Row("longest standstill while a worker imports torch", PLAINLY, ratio, goal=at_least(2), times=times)


def same_modules(one: Any, other: Any) -> None:
    """Check that both have imported both."""
    assert one == other == ["torch", "timm"]


def predicting() -> dict[str, tuple[float, ...]]:
    """Predict the synthetic section twice in a window; return the longest gaps of each run, and of none."""
    import napari
    import numpy as np

    from napari_cmrcnet.common.sample import sample_folder
    from napari_cmrcnet.widgets.predict import _prediction

    sample, viewer, found = sample_folder(), napari.Viewer(), {}
    _, panel = viewer.window.add_plugin_dock_widget("napari-cmrcnet", "Predict")
    panel.form.choose(sample / "S4.tif", sample / "S4.h5ad")
    panel.form.checkpoint.set_path(sample / "sample.cmrcnet")
    wait(panel.run.isEnabled)
    results: list[Any] = []
    for run in ("the first (imports torch)", "the second"):
        gaps, before = Gaps(), len(results)
        # The run alone: what napari takes to make layers of its result is not counted.
        panel.jobs.start(_prediction(panel.inspection, "cpu"), results.append)
        wait(lambda before=before: len(results) > before)
        found[run] = gaps.longest()
    np.testing.assert_array_equal(results[0].neighbours, results[1].neighbours)
    gaps, until = Gaps(), time.monotonic() + 3
    wait(lambda: time.monotonic() > until)
    found["none"] = gaps.longest()
    viewer.close()
    return found


def rows(small: bool) -> Iterator[Row]:
    """Measure the window's gaps, then compare the imports; in the small form these alone."""
    if not small and not no_window("live_window"):
        for run, gaps in predicting().items():  # all measured before the first row, which imports torch here
            what = f"longest standstill of the window, prediction that runs beside it: {run}"
            goal = at_most(100) if run == "the second" else None
            yield Row(what, "", 1e3 * gaps[0], "ms", goal=goal, times={"five longest": Times(gaps, ())})
    yield from imports(small)


if __name__ == "__main__":
    main(rows)
