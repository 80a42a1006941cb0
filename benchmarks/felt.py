"""What a user waits for: the sample on the screen, a report, and what `info` says of a file.

usage: xvfb-run -a python -m benchmarks.felt [--small]

The sample is opened once in a new window, with a timer in it as `live_window` has it: how long until its measured genes
are seen and until its prediction is, and the longest standstill meanwhile. Beside it stands what napari alone takes in
a new process of its own to show that slide with two layers of as many spots. The report is that of the sample as the
Export panel writes it. `info` is asked in a process of its own, which imports all that it needs; to import anndata,
without which no spots are read, is a row beside it.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Goal, Row, Times, at_most, interleave, main
from benchmarks.live_window import Gaps, wait
from benchmarks.screen import no_window
from benchmarks.startup import python

NAPARI_ALONE = "import benchmarks.felt as b; b.print_napari_alone()"
INFO = "import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')"


def info(rounds: int) -> Iterator[Row]:
    """Time what `info` says of a slide, of spots and of a checkpoint."""
    from napari_cmrcnet.common.sample import sample_folder

    command = str(Path(sys.executable).with_name("napari-cmrcnet"))
    files = {"a TIFF": "S4.tif", "spots": "S4.h5ad", "a checkpoint": "sample.cmrcnet"}
    asked = {kind: python(INFO, command, "info", str(sample_folder() / name), "--json") for kind, name in files.items()}
    # What is no JSON, as nothing, ends the run.
    ways = {kind: lambda turn, way=way: json.loads(way(turn)) for kind, way in asked.items()}  # type: ignore[misc]
    taken = interleave({**ways, "anndata": python("import anndata")}, rounds, same=None, warm_up=False)
    for kind in ways:
        yield taken.milliseconds(f"info of {kind}", kind, goal=at_most(1000))
    yield taken.milliseconds("importing anndata alone", "anndata")


def sample() -> Iterator[Row]:
    """Time the sample in a new window."""
    import napari

    from napari_cmrcnet.viewer.registry import session_of

    viewer = napari.Viewer()
    session = session_of(viewer)
    wait(lambda: viewer.window._qt_window.isVisible())
    gaps, start = Gaps(), time.perf_counter()
    viewer.open_sample("napari-cmrcnet", "synthetic")
    wait(lambda: session.case is not None)
    measured = time.perf_counter() - start
    wait(lambda: session.prediction is not None)
    predicted = time.perf_counter() - start
    longest = gaps.longest()
    wait(lambda: not session.scoring)
    viewer.close()
    yield Row("the sample, until what was measured is shown", "", measured, "s", goal=at_most(4))
    yield Row("the sample, until its prediction is shown", "", predicted, "s")
    yield _standstill("the sample opens", longest, at_most(200))
    yield _standstill("napari alone shows as much", tuple(json.loads(python(NAPARI_ALONE)(0))))


def _standstill(what: str, longest: tuple[float, ...], goal: Goal | None = None) -> Row:
    times = {"five longest": Times(longest, ())}
    return Row(f"longest standstill while {what}", "", 1e3 * longest[0], "ms", goal=goal, times=times)


def print_napari_alone() -> None:
    """Show the sample's slide and two layers of as many spots with napari alone; print the five longest standstills."""
    import napari
    import numpy as np
    import tifffile

    from napari_cmrcnet.common.sample import sample_folder

    path, random = sample_folder() / "S4.tif", np.random.default_rng(0)
    levels = [tifffile.imread(path, level=level) for level in range(4)]
    places, values = random.uniform(0, levels[0].shape[:2], (350, 2)), random.random(350)
    viewer = napari.Viewer()
    wait(lambda: viewer.window._qt_window.isVisible())
    gaps, start = Gaps(), time.perf_counter()
    viewer.add_image(levels, rgb=True, multiscale=True)
    for _ in range(2):
        viewer.add_points(places, size=110, features={"value": values}, face_color="value", face_colormap="magma")
    wait(lambda: time.perf_counter() > start + 3)
    print(json.dumps(gaps.longest()))
    viewer.close()


def report() -> Iterator[Row]:
    """Time the report of the sample, after what it imports."""
    from napari_cmrcnet.common.progress import finish
    from napari_cmrcnet.evaluation.demo import predict_sample
    from napari_cmrcnet.evaluation.html_report import write_html_report
    from napari_cmrcnet.evaluation.scores import score

    section, prediction = finish(predict_sample())
    scores = score(prediction)
    with section.slide, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        ways = {"ours": lambda _: finish(write_html_report(prediction, path, scores=scores))}
        taken = interleave(ways, 2, same=None)
        assert "For research use only" in path.read_text("utf-8")
    yield taken.milliseconds("the sample's report as HTML", "ours", goal=at_most(5000))


def rows(small: bool) -> Iterator[Row]:
    """Return the rows of the table; in the small form, those of `info`."""
    if not small:
        if not no_window("the sample"):
            yield from sample()
        yield from report()
    yield from info(1 if small else 5)


if __name__ == "__main__":
    main(rows)
