"""Long work beside the window: progress, cancel within a batch, one message on failure, and panels that are closed."""

import gc
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.widgets.jobs import WARNING, JobBar, run_in_window
from napari_cmrcnet.widgets.messages import progress_text

pytestmark = pytest.mark.qt


@pytest.fixture
def window(qtbot: Any) -> QMainWindow:
    window = QMainWindow()
    qtbot.addWidget(window)
    window.show()
    return window


@pytest.fixture
def bar(window: QMainWindow) -> JobBar:
    bar = JobBar(window)
    window.setCentralWidget(bar)
    return bar


class Work:
    """A job of steps of 20 ms that knows how far it came and whether it was closed."""

    def __init__(self, steps: int, error: Exception | None = None) -> None:
        self.steps, self.error, self.done, self.closed = steps, error, 0, False

    def job(self) -> Job[str]:
        try:
            for step in range(self.steps):
                yield Progress("Working", step, self.steps, "steps")
                time.sleep(0.02)
                self.done += 1
            if self.error is not None:
                raise self.error
            return "result"
        finally:
            self.closed = True


def test_the_result_arrives_and_the_bar_goes(qtbot: Any, bar: JobBar) -> None:
    results: list[str] = []
    bar.start(Work(5).job(), results.append, "Testing")
    assert bar.busy
    qtbot.waitUntil(lambda: not bar.busy)
    assert results == ["result"]
    assert bar.text == ""


@pytest.mark.parametrize("before", [True, False])
def test_garbage_is_collected_after_jobs_as_it_was_before_them(qtbot: Any, bar: JobBar, before: bool) -> None:
    other, was = JobBar(bar.window()), gc.isenabled()
    (gc.enable if before else gc.disable)()
    try:
        bar.start(Work(2).job(), lambda _: None)
        other.start(Work(4).job(), lambda _: None)
        assert not gc.isenabled()
        qtbot.waitUntil(lambda: not (bar.busy or other.busy))
        assert gc.isenabled() == before
    finally:
        (gc.enable if was else gc.disable)()


class Paints(QObject):
    """Counts how often a widget is painted."""

    count = 0

    def eventFilter(self, _: Any, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        self.count += event.type() == QEvent.Type.Paint
        return False


def test_a_job_of_unknown_length_does_not_draw_the_window_again_and_again(qtbot: Any, bar: JobBar) -> None:
    """Each picture of a bar that moves draws the canvas beside it, too."""
    go_on = threading.Event()

    def job() -> Job[None]:
        yield Progress("Reading", 0, 0)
        go_on.wait(10)

    bar.start(job(), lambda _: None, "Opening")
    qtbot.waitUntil(lambda: bar._text.text().startswith("Reading"))
    paints = Paints()
    bar._bar.installEventFilter(paints)
    qtbot.wait(500)
    go_on.set()
    qtbot.waitUntil(lambda: not bar.busy)
    assert paints.count < 5


def test_cancel_stops_within_a_step_and_gives_no_result(qtbot: Any, bar: JobBar) -> None:
    work, results = Work(1000), []
    bar.start(work.job(), results.append)
    qtbot.waitUntil(lambda: work.done > 2)
    bar.cancel()
    qtbot.waitUntil(lambda: not bar.busy)
    assert work.closed
    assert work.done < 900
    assert results == []
    assert bar.text.startswith("Cancelled")


def test_the_window_answers_while_a_cancelled_job_ends(qtbot: Any, bar: JobBar) -> None:
    """As that of a training does, which waits for the threads that it has begun."""
    answers = []

    def job() -> Job[None]:
        try:
            for step in range(1000):
                yield Progress("Working", step, 1000)
                time.sleep(0.02)
        finally:
            time.sleep(1)

    timer = QTimer(bar)
    timer.timeout.connect(lambda: answers.append(time.monotonic()))
    timer.start(20)
    bar.start(job(), lambda _: None)
    qtbot.waitUntil(lambda: "Working" in bar._text.text())
    begun = time.monotonic()
    bar.cancel()
    qtbot.waitUntil(lambda: not bar.busy)
    assert time.monotonic() - begun > 0.9
    assert len([answer for answer in answers if answer > begun]) > 10


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UserError("x.svs is no slide; choose another."), "⚠ x.svs is no slide; choose another."),
        (UserError("No pixel size; give it.", setting="pixel size"), "give it (Pixel size, under More settings)."),
        (RuntimeError("MPS backend out of memory"), "There is not enough memory; close other programs"),
        (RuntimeError("odd"), "unexpected error (RuntimeError: odd)"),
    ],
)
def test_a_failure_is_one_message_and_the_bar_is_ready_again(
    qtbot: Any, bar: JobBar, error: Exception, message: str
) -> None:
    results: list[str] = []
    bar.start(Work(1, error).job(), results.append, "Testing")
    qtbot.waitUntil(lambda: not bar.busy)
    assert message in bar.text
    assert results == []
    bar.start(Work(1).job(), results.append)
    qtbot.waitUntil(lambda: not bar.busy)
    assert results == ["result"]
    assert bar.text == ""


def test_a_second_job_is_refused_while_one_runs(qtbot: Any, bar: JobBar) -> None:
    work, results = Work(20), []
    bar.start(work.job(), results.append, "The first")
    bar.start(Work(1).job(), results.append, "The second")
    assert "The first is still running" in bar.text
    qtbot.waitUntil(lambda: not bar.busy)
    assert results == ["result"]


def test_a_job_begins_beside_seven_others_on_any_number_of_cores(qtbot: Any, bar: JobBar, window: QMainWindow) -> None:
    others = [JobBar(window) for _ in range(7)]
    for other in others:
        other.start(Work(10_000).job(), lambda _: None)
    results: list[str] = []
    bar.start(Work(1).job(), results.append)
    qtbot.waitUntil(lambda: not bar.busy)
    assert results == ["result"]
    for other in others:
        other.cancel()
    qtbot.waitUntil(lambda: not any(other.busy for other in others))


def test_a_result_may_start_the_next_job(qtbot: Any, bar: JobBar) -> None:
    results: list[str] = []
    busy: list[bool] = []
    bar.busy_changed.connect(busy.append)
    bar.start(Work(1).job(), lambda _: bar.start(Work(5).job(), results.append, "The second"), "The first")
    qtbot.waitUntil(lambda: bool(results))
    assert not bar.busy
    assert busy == [True, True, True, False]  # the bar has not been free for its panel in between


@pytest.mark.parametrize("keep", [True, False])
def test_a_closed_panel_keeps_or_ends_its_job(qtbot: Any, window: QMainWindow, bar: JobBar, keep: bool) -> None:
    work, results, ended = Work(30 if keep else 1000), [], []
    bar.start(work.job(), results.append, keep=keep, ended=lambda: ended.append(True))
    qtbot.waitUntil(lambda: work.done > 1)
    window.takeCentralWidget().deleteLater()
    qtbot.waitUntil(lambda: bool(ended))
    assert results == (["result"] if keep else [])
    assert work.closed


def test_a_closed_window_gets_no_result(qtbot: Any) -> None:
    window = QMainWindow()
    bar = JobBar(window)
    window.setCentralWidget(bar)
    work, results, ended = Work(1000), [], []
    bar.start(work.job(), results.append, keep=True, ended=lambda: ended.append(True))
    qtbot.waitUntil(lambda: work.done > 1)
    window.close()
    window.deleteLater()
    qtbot.waitUntil(lambda: bool(ended))
    assert work.done < 1000
    assert results == []


def test_a_job_that_is_asked_for_after_its_window_is_closed_does_not_run(napari_window: Any) -> None:
    work, heard = Work(3), []
    napari_window.close()
    run_in_window(napari_window, work.job(), heard.append, "Working", lambda: heard.append("ended"))
    assert (work.done, heard) == (0, ["ended"])


def test_an_error_takes_the_place_of_the_one_before_it(qtbot: Any, napari_window: Any) -> None:
    """Beside each other they would widen the window beyond the screen."""
    window = napari_window.__wrapped__.window._qt_window

    def bars() -> list[JobBar]:
        return window.findChildren(JobBar)

    slow = Work(1000)
    run_in_window(napari_window, slow.job(), lambda _: None, "Waiting")
    for name in ("first", "second"):
        run_in_window(napari_window, Work(1, UserError(name)).job(), lambda _: None, name)
        qtbot.waitUntil(lambda name=name: [bar.text for bar in bars() if bar.text] == [f"{WARNING} {name}"])
    (running,) = (bar for bar in bars() if bar.busy)
    running.cancel()
    qtbot.waitUntil(lambda: not running.busy)


def test_a_job_that_outlives_its_napari_window_ends_in_silence(qtbot: Any, napari_window: Any) -> None:
    viewer, work, results = napari_window, Work(30), []
    run_in_window(viewer, work.job(), results.append, "Working")
    qtbot.waitUntil(lambda: work.done > 1)
    while not work.closed:  # it ends while the window does something else
        time.sleep(0.01)
    time.sleep(0.2)
    viewer.close()
    qtbot.wait(50)  # an exception in a slot would be told by pytest-qt


@pytest.mark.parametrize(
    ("progress", "done", "seconds", "text"),
    [
        (Progress("Reading", 0, 0), 0, 3.0, "Reading"),
        (Progress("Encoding patches", 0, 2898, "patches"), 0, 0.0, "Encoding patches: 0 of 2,898 patches"),
        (
            Progress("Encoding patches", 320, 2898, "patches"),
            320,
            8.0,
            "Encoding patches: 320 of 2,898 patches, 40 patches/s, 1 min left",
        ),
        (Progress("Scoring", 30, 60, "genes"), 30, 60.0, "Scoring: 30 of 60 genes, 0.5 genes/s, 1 min left"),
    ],
)
def test_progress_is_told_with_speed_and_time_left(progress: Progress, done: int, seconds: float, text: str) -> None:
    assert progress_text(progress, done, seconds) == text


class LateWork(Work):
    """Work whose last step, after the last word of its progress, waits until it is told to end."""

    def job(self) -> Job[str]:
        yield Progress("Writing", 0, 0)
        self.done = 1
        while not self.closed:
            time.sleep(0.01)
        if self.error is not None:
            raise self.error
        return "written"


@pytest.mark.parametrize("lasting", [True, False])
def test_cancel_that_comes_too_late_does_not_deny_what_was_written(qtbot: Any, bar: JobBar, lasting: bool) -> None:
    work, results = LateWork(0), []
    bar.start(work.job(), results.append, lasting=lasting)
    qtbot.waitUntil(lambda: work.done == 1)
    bar.cancel()
    work.closed = True
    qtbot.waitUntil(lambda: not bar.busy)
    assert results == (["written"] if lasting else [])
    assert ("nothing was changed" in bar.text) != lasting


def test_a_file_that_the_system_refuses_is_one_sentence(qtbot: Any, bar: JobBar) -> None:
    bar.start(Work(1, PermissionError(13, "Permission denied", "/home/b/C.h5ad")).job(), print, "Reading")
    qtbot.waitUntil(lambda: not bar.busy)
    assert bar.text == "⚠ /home/b/C.h5ad: Permission denied."


@pytest.mark.parametrize("closed", [True, False])
def test_a_failure_is_told_where_the_panel_is_not_seen(
    qtbot: Any, window: QMainWindow, bar: JobBar, monkeypatch: pytest.MonkeyPatch, closed: bool
) -> None:
    from napari.utils import notifications

    told: list[str] = []
    monkeypatch.setattr(notifications, "show_error", told.append)
    ended: list[bool] = []
    work = LateWork(0, UserError("The disk is full; make room."))
    bar.start(work.job(), print, keep=True, ended=lambda: ended.append(True))
    qtbot.waitUntil(lambda: work.done == 1)
    if closed:
        window.takeCentralWidget().deleteLater()
    else:  # as behind another tab
        bar.hide()
    work.closed = True
    qtbot.waitUntil(lambda: bool(ended))
    assert told == ["The disk is full; make room."]


def test_a_panel_that_floats_and_is_closed_keeps_its_job(qtbot: Any, window: QMainWindow) -> None:
    dock = QDockWidget(window)
    bar = JobBar()
    dock.setWidget(bar)
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
    dock.setFloating(True)
    work, results, ended = Work(10), [], []
    bar.start(work.job(), results.append, keep=True, ended=lambda: ended.append(True))
    qtbot.waitUntil(lambda: work.done > 1)
    window.removeDockWidget(dock)
    dock.deleteLater()
    qtbot.waitUntil(lambda: bool(ended))
    assert results == ["result"]


def test_a_result_that_cannot_be_shown_leaves_the_bar_ready(qtbot: Any, bar: JobBar) -> None:
    def done(_: str) -> None:
        raise ValueError("a listener's defect")

    ended: list[bool] = []
    with qtbot.captureExceptions() as raised:
        bar.start(Work(1).job(), done, ended=lambda: ended.append(True))
        qtbot.waitUntil(lambda: not bar.busy)
    assert [str(one[1]) for one in raised] == ["a listener's defect"]
    assert ended == [True]


CLOSED = """
import time
import torch
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QMainWindow
from napari_cmrcnet.common.progress import Progress
from napari_cmrcnet.common.threads import in_threads
from napari_cmrcnet.widgets.jobs import JobBar

app = QApplication([])
window = QMainWindow()
bar = JobBar(window)
window.setCentralWidget(bar)
window.show()
job = in_threads(lambda _: time.sleep(0.2), range(2000), lambda done: Progress("Working", done, 2000))
bar.start(job, print, keep=True)
QTimer.singleShot(1000, window.close)
app.exec()
print("closed", flush=True)
"""


@pytest.mark.qt("pyside6")
def test_a_program_whose_window_is_closed_ends_soon() -> None:
    """And does not first do all that a job has queued for its threads."""
    with subprocess.Popen([sys.executable, "-c", CLOSED], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "closed\n"
        assert program.wait(60) == 0  # all of it takes 100 s on four threads
