"""A job in a worker thread: it hands over its result, or one message when it ends badly."""

import atexit
import gc
from collections.abc import Callable, Generator
from dataclasses import InitVar, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from qtpy.compat import isalive
from qtpy.QtCore import QCoreApplication, QThreadPool, QTimer
from qtpy.QtWidgets import QWidget
from superqt.utils import create_worker

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.viewer.runtime import collect_garbage, guard_triton
from napari_cmrcnet.widgets.messages import failure

if TYPE_CHECKING:
    from napari_cmrcnet.widgets.jobs import JobBar

# Runs under way: nothing else holds one whose panel was closed.
_RUNNING: set["Run"] = set()
AT_EXIT = 30_000  # ms for the steps under way
AT_ONCE = 8  # jobs at least; by itself Qt begins as many as there are cores: a file would not open beside two jobs


@dataclass(eq=False)
class Run:
    """One job in a worker thread.

    Its slots run in the main thread. It outlives the panel that started it where the job is to be kept. What it is made
    of is what `JobBar.start` takes.
    """

    bar: "JobBar"
    job: InitVar[Job[Any]]
    done: Callable[[Any], None]
    ended: Callable[[], None]
    title: str
    keep: bool
    lasting: bool
    collects: ClassVar[bool] = True  # whether Python collected garbage by itself before the runs under way

    def __post_init__(self, job: Job[Any]) -> None:
        """Make the worker."""
        self.window = _main_window(self.bar)
        self._cancelled = False
        self._last_full = 0.0  # collection of garbage
        self._outcome: tuple[Any, Exception | None] | None = None
        # The worker would take a RuntimeError, as torch raises, for the end of the work: _work catches all.
        self.worker: Any = create_worker(self._work, job, _ignore_errors=True)
        self.worker.yielded.connect(self._on_progress)
        self.worker.finished.connect(self._on_finished)

    def _work(self, job: Job[Any]) -> Generator[Progress, None, None]:
        """Run the job and keep its result or its error: the one place where any error is caught.

        A cancelled job ends here, too, and not in the main thread: that can take seconds.
        """
        try:
            guard_triton()
            while not self._cancelled:
                yield next(job)
        except StopIteration as end:
            self._outcome = end.value, None
        except Exception as error:  # noqa: BLE001 - the boundary between work and window
            self._outcome = None, error
        finally:
            job.close()

    def start(self) -> None:
        """Begin once the window has drawn what it was asked to: beside a worker that takes twice as long."""
        if not _RUNNING:
            Run.collects = gc.isenabled()
        _RUNNING.add(self)
        _prepare(QCoreApplication.instance())
        gc.disable()  # in the worker; see `collect_garbage`
        QTimer.singleShot(0, self.worker.start)

    def cancel(self) -> None:
        """Ask it to stop after the step under way."""
        self._cancelled = True

    def _on_progress(self, progress: Progress) -> None:
        if Run.collects:
            self._last_full = collect_garbage(self._last_full)
        if isalive(self.bar):
            self.bar.show_progress(progress)
        elif not self.keep or not isalive(self.window):
            self.cancel()

    def _on_finished(self) -> None:
        try:
            if isalive(self.bar):
                self.bar.be_ready()  # what is done with the result may start the next
            if isalive(self.window) and (self.keep or isalive(self.bar)):
                self._tell()
        finally:
            _RUNNING.discard(self)
            if Run.collects and not _RUNNING:
                gc.enable()
            if isalive(self.bar):
                self.bar.busy_changed.emit(self.bar.busy)
            self.ended()

    def _tell(self) -> None:
        """Hand the result over, or say why there is none where it is seen."""
        if self._outcome is None or (self._cancelled and not self.lasting):
            if isalive(self.bar):
                self.bar.message("Cancelled; nothing was changed.")
            return
        result, error = self._outcome
        if error is None:
            try:
                self.done(result)
            except UserError as reason:  # what was made cannot be shown
                error = reason
        if error is None:
            return
        text = failure(self.title, error)
        if isalive(self.bar):
            self.bar.warn(text)
        if not isalive(self.bar) or not self.bar.isVisible():
            from napari.utils.notifications import show_error

            show_error(text)


@cache
def _prepare(app: QCoreApplication) -> None:
    """Let `AT_ONCE` jobs run at once, and cancel all when the program ends.

    Else Python does first all that a job has queued for its threads.
    """
    app.aboutToQuit.connect(_cancel_all)
    pool = QThreadPool.globalInstance()
    pool.setMaxThreadCount(max(pool.maxThreadCount(), AT_ONCE))


def _cancel_all() -> None:
    for run in _RUNNING:
        run.cancel()


@atexit.register
def _end_runs() -> None:
    """Let no thread work on while Python ends, which would crash: after a script without an event loop."""
    _cancel_all()
    if _RUNNING:
        QThreadPool.globalInstance().waitForDone(AT_EXIT)


def _main_window(widget: QWidget) -> QWidget:
    """Return the window that a widget is in; a dock that floats is one of its own, and the main window its parent."""
    while (parent := widget.parentWidget()) is not None:
        widget = parent
    return widget
