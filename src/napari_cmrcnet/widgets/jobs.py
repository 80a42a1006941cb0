"""Long work beside the window: a worker thread, a bar with Cancel, and one message when it ends badly."""

import atexit
import time
from collections.abc import Callable, Generator
from typing import Any, Literal, TypeVar

from qtpy.compat import isalive
from qtpy.QtCore import QThreadPool, Signal
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QSizePolicy, QVBoxLayout, QWidget
from superqt.utils import create_worker

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress, finish
from napari_cmrcnet.viewer.garbage import garbage
from napari_cmrcnet.viewer.runtime import guard_triton
from napari_cmrcnet.widgets.messages import failure, in_panel_words, progress_text
from napari_cmrcnet.widgets.parts import button, label

T = TypeVar("T")

WARNING = "⚠"

# Runs under way: nothing else holds one whose panel was closed.
_RUNNING: set["_Run"] = set()
AT_EXIT = 30_000  # ms for the steps under way


class _Run:
    """One job in a worker thread.

    Its slots run in the main thread. It outlives the panel that started it where the job is to be kept.
    """

    def __init__(
        self,
        bar: "JobBar",
        job: Job[Any],
        done: Callable[[Any], None],
        ended: Callable[[], None],
        title: str,
        keep: bool,
        lasting: bool,
    ) -> None:
        self.bar = bar
        self.window = _main_window(bar)
        self._done = done
        self._ended = ended
        self._title = title
        self._keep = keep
        self._lasting = lasting
        self._cancelled = False
        self._outcome: tuple[Any, Exception | None] | None = None
        self._steps = _steps(job)
        # The worker would take a RuntimeError, as torch raises, for the end of the work: _steps catches all.
        self.worker: Any = create_worker(self._work, _ignore_errors=True)
        self.worker.yielded.connect(self._on_progress)
        self.worker.finished.connect(self._on_finished)

    def _work(self) -> Generator[Progress, None, None]:
        """Keep the outcome here: the worker hands none over after `quit`."""
        self._outcome = yield from self._steps

    def start(self) -> None:
        _RUNNING.add(self)
        garbage.hold()
        self.worker.start()

    def cancel(self) -> None:
        self._cancelled = True
        self.worker.quit()

    def close(self) -> None:
        """Release what a cancelled job holds, now and not when Python finds the time."""
        self._steps.close()

    def _on_progress(self, progress: Progress) -> None:
        garbage.collect()
        if isalive(self.bar):
            self.bar.show_progress(progress)
        elif not self._keep or not isalive(self.window):
            self.cancel()

    def _on_finished(self) -> None:
        try:
            self.close()
            if isalive(self.window) and (self._keep or isalive(self.bar)):
                self._tell()
        finally:
            _RUNNING.discard(self)
            garbage.release()
            if isalive(self.bar):
                self.bar.forget(self)
            self._ended()

    def _tell(self) -> None:
        """Hand the result over, or say why there is none where it is seen."""
        if self._outcome is None or (self._cancelled and not self._lasting):
            if isalive(self.bar):
                self.bar.message("Cancelled; nothing was changed.")
            return
        result, error = self._outcome
        if error is None:
            try:
                self._done(result)
            except UserError as reason:  # what was made cannot be shown
                error = reason
        if error is None:
            return
        text = failure(self._title, error)
        if isalive(self.bar):
            self.bar.message(text, "error")
        if not isalive(self.bar) or not self.bar.isVisible():
            from napari.utils.notifications import show_error

            show_error(text)


@atexit.register
def _end_runs() -> None:
    """Let no thread work on while Python ends, which would crash: after a script without an event loop."""
    for run in _RUNNING:
        run.cancel()
    if _RUNNING and QThreadPool.globalInstance().waitForDone(AT_EXIT):
        for run in _RUNNING:
            run.close()


def _steps(job: Job[T]) -> Generator[Progress, None, tuple[T | None, Exception | None]]:
    """Run a job and return its result or its error: the one place where any error is caught."""
    try:
        guard_triton()
        while True:
            yield next(job)
    except StopIteration as end:
        return end.value, None
    except Exception as error:  # noqa: BLE001 - the boundary between work and window
        return None, error
    finally:
        job.close()


def _main_window(widget: QWidget) -> QWidget:
    """Return the window that a widget is in; a dock that floats is one of its own, and the main window its parent."""
    while (parent := widget.parentWidget()) is not None:
        widget = parent
    return widget


class JobBar(QWidget):
    """A row that shows a job's progress with a Cancel button, and under it a line for what has happened.

    The row is hidden while nothing runs, and the line while there is nothing to say.

    Parameters
    ----------
    parent : QWidget, optional
        The panel.
    """

    busy_changed = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._run: _Run | None = None
        self._title = ""
        self._since = 0.0
        self._step = ("", 0.0, 0)
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._text, self._line = label(), label(selectable=True)
        self._cancel = button("Cancel", "Stops after the current step. Nothing is left half done.", self.cancel)
        self._row = QWidget()
        row = QHBoxLayout(self._row)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._bar, 1)
        row.addWidget(self._cancel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self._row, self._text, self._line):
            layout.addWidget(widget)
            widget.hide()

    @property
    def busy(self) -> bool:
        """Whether a job runs."""
        return self._run is not None

    @property
    def text(self) -> str:
        """What the line says."""
        return self._line.text()

    def start(
        self,
        job: Job[T],
        done: Callable[[T], None],
        title: str = "",
        *,
        keep: bool = False,
        lasting: bool = False,
        ended: Callable[[], None] = lambda: None,
    ) -> bool:
        """Run a job in a worker thread.

        Parameters
        ----------
        job : generator of Progress
            What to run.
        done : callable
            Called in the main thread with the result; not after an error or Cancel, nor when the window is closed.
        title : str
            What is being done, before the job says it itself.
        keep : bool
            Go on where the panel is closed, and call ``done`` all the same. It must then not touch the panel.
        lasting : bool
            The result lasts, as a file does: where Cancel came too late to prevent it, ``done`` is called.
        ended : callable
            Called in the main thread at the end, however the job ended.

        Returns
        -------
        bool
            Whether it was started: one job runs at a time.
        """
        if self._run is not None:
            self.message(f"{self._title or 'Something'} is still running. Wait for it, or press Cancel.", "error")
            job.close()
            return False
        self._title, self._since, self._step = title, time.monotonic(), ("", 0.0, 0)
        self._show_share(0, 0)
        self._text.setText(f"{title} …" if title else "")
        self._cancel.setEnabled(True)
        self.message("")
        self._row.show()
        self._text.show()
        self._run = _Run(self, job, done, ended, title, keep, lasting)
        self.busy_changed.emit(True)
        self._run.start()
        return True

    def cancel(self) -> None:
        """Ask the job to stop; it does after the batch under way."""
        if self._run is not None:
            self._cancel.setEnabled(False)
            self._text.setText("Cancelling …")
            self._run.cancel()

    def message(self, text: str, kind: Literal["info", "error"] = "info") -> None:
        """Show a line under the bar; an empty text hides it."""
        self._line.setText(f"{WARNING} {text}" if kind == "error" and text else text)
        self._line.setVisible(bool(text))

    def show_progress(self, progress: Progress) -> None:
        """Show how far the job is: step, units done, units per second and time left."""
        if self._run is None or not self._cancel.isEnabled():
            return
        now = time.monotonic()
        if self._step[0] != progress.step:
            self._step = (progress.step, now, progress.done)
        self._show_share(progress.done, progress.total)
        self._text.setText(progress_text(progress, progress.done - self._step[2], now - self._step[1]))

    def _show_share(self, done: int, total: int) -> None:
        """Fill the bar; leave it empty where nobody knows how long it takes.

        Qt's bar for that moves, and each of its pictures draws the whole window once more, its canvas with it. Without
        a GPU that is more work than opening a section.
        """
        self._bar.setRange(0, max(total, 1))
        self._bar.setValue(done if total else 0)

    def show_error(self, error: UserError) -> None:
        """Say what went wrong before anything was started."""
        self.message(in_panel_words(error), "error")

    def forget(self, run: _Run) -> None:
        """Be ready for the next job."""
        if self._run is run:
            self._run = None
            self._row.hide()
            self._text.hide()
            self.busy_changed.emit(False)


def run_in_window(
    viewer: Any,
    job: Job[T],
    done: Callable[[T], None],
    title: str,
    ended: Callable[[], None] = lambda: None,
) -> None:
    """Run a job that no panel has asked for, with its bar in a dock at the foot of the window.

    The dock goes when the job ends, unless there is an error to read. Without a window the job runs at once.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        The window, or a model without one.
    job, done, title, ended
        As in `JobBar.start`.
    """
    if getattr(viewer, "window", None) is None:
        try:
            done(finish(job))
        finally:
            ended()
        return
    bar = JobBar()
    bar.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
    dock = viewer.window.add_dock_widget(bar, area="bottom", name=title, add_vertical_stretch=False)

    def close() -> None:
        shown = isalive(bar) and bar.window().isVisible()  # a closed window is deleted a little later
        if shown and not bar.text.startswith(WARNING):
            viewer.window.remove_dock_widget(dock)
        ended()

    bar.start(job, done, title, keep=True, ended=close)
