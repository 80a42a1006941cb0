"""Long work beside the window: a worker thread, a bar with Cancel, and one message when it ends badly."""

import logging
import time
from collections.abc import Callable, Generator
from typing import Any, Literal, TypeVar

from qtpy.compat import isalive
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QSizePolicy, QVBoxLayout, QWidget
from superqt.utils import create_worker

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress, finish
from napari_cmrcnet.viewer.runtime import guard_triton
from napari_cmrcnet.widgets.words import in_panel_words

T = TypeVar("T")

logger = logging.getLogger(__name__)

# Runs under way: nothing else holds one whose panel was closed.
_RUNNING: set["_Run"] = set()


class _Run:
    """One job in a worker thread.

    Its slots run in the main thread. It outlives the panel that started it where the job is to be kept.
    """

    def __init__(
        self, bar: "JobBar", job: Job[Any], done: Callable[[Any], None], ended: Callable[[], None], keep: bool
    ) -> None:
        self.bar = bar
        self.window = bar.window()
        self._done = done
        self._ended = ended
        self._keep = keep
        self._steps = _steps(job)
        # The worker would take a RuntimeError, as torch raises, for the end of the work: _steps catches all.
        self.worker: Any = create_worker(lambda: (yield from self._steps), _ignore_errors=True)
        self.worker.yielded.connect(self._on_progress)
        self.worker.returned.connect(self._on_outcome)
        self.worker.finished.connect(self._on_finished)

    def start(self) -> None:
        _RUNNING.add(self)
        self.worker.start()

    def cancel(self) -> None:
        self.worker.quit()

    def _on_progress(self, progress: Progress) -> None:
        if isalive(self.bar):
            self.bar.show_progress(progress)
        elif not self._keep or not isalive(self.window):
            self.cancel()

    def _on_outcome(self, outcome: tuple[Any, Exception | None]) -> None:
        result, error = outcome
        if not isalive(self.window) or not (self._keep or isalive(self.bar)):
            return
        if error is None:
            try:
                self._done(result)
            except UserError as reason:  # what was made cannot be shown
                error = reason
        if error is not None and isalive(self.bar):
            self.bar.show_error(error)

    def _on_finished(self) -> None:
        self._steps.close()  # cancelled: what the job holds is released now, not when Python finds the time
        _RUNNING.discard(self)
        if isalive(self.bar):
            self.bar.forget(self)
        self._ended()


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
        self._text = QLabel()
        self._text.setWordWrap(True)
        self._cancel = QPushButton("Cancel")
        self._cancel.setToolTip("Stops the work after the batch that is being computed; nothing is left half done.")
        self._cancel.clicked.connect(self.cancel)
        self._row = QWidget()
        row = QHBoxLayout(self._row)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._bar, 1)
        row.addWidget(self._cancel)
        self._line = QLabel()
        self._line.setWordWrap(True)
        self._line.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
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
        ended: Callable[[], None] = lambda: None,
    ) -> bool:
        """Run a job in a worker thread.

        Parameters
        ----------
        job : generator of Progress
            What to run.
        done : callable
            Called in the main thread with the result; not after Cancel or an error, nor when the window is closed.
        title : str
            What is being done, before the job says it itself.
        keep : bool
            Go on where the panel is closed, and call ``done`` all the same. It must then not touch the panel.
        ended : callable
            Called in the main thread at the end, however the job ended.

        Returns
        -------
        bool
            Whether it was started: one job runs at a time.
        """
        if self._run is not None:
            self.message(f"{self._title or 'Something'} is under way; wait for it, or press Cancel.", "error")
            job.close()
            return False
        self._title, self._since, self._step = title, time.monotonic(), ("", 0.0, 0)
        self._bar.setRange(0, 0)
        self._text.setText(f"{title} …" if title else "")
        self._cancel.setEnabled(True)
        self.message("")
        self._row.show()
        self._text.show()
        self._run = _Run(self, job, done, ended, keep)
        self.busy_changed.emit(True)
        self._run.start()
        return True

    def cancel(self) -> None:
        """Ask the job to stop; it does after the batch under way."""
        if self._run is not None:
            self._cancel.setEnabled(False)
            self._text.setText("Cancelling …")
            self._run.cancel()
            self.message("Cancelled; nothing was changed.")

    def message(self, text: str, kind: Literal["info", "error"] = "info") -> None:
        """Show a line under the bar; an empty text hides it."""
        self._line.setText(f"⚠ {text}" if kind == "error" and text else text)
        self._line.setVisible(bool(text))

    def show_progress(self, progress: Progress) -> None:
        """Show how far the job is: step, units done, units per second and time left."""
        if self._run is None or not self._cancel.isEnabled():
            return
        now = time.monotonic()
        if self._step[0] != progress.step:
            self._step = (progress.step, now, progress.done)
        self._bar.setRange(0, progress.total)
        self._bar.setValue(progress.done)
        self._text.setText(progress_text(progress, progress.done - self._step[2], now - self._step[1]))

    def show_error(self, error: Exception) -> None:
        """Say once what went wrong; details of what is our own fault go to the log."""
        if isinstance(error, UserError):
            self.message(in_panel_words(error), "error")
            return
        logger.error("%s failed", self._title or "A job", exc_info=error)
        self.message(
            f"{self._title or 'This'} failed with an unexpected error ({type(error).__name__}: {error}). "
            "It is a defect of this software: please report it with the log.",
            "error",
        )

    def forget(self, run: _Run) -> None:
        """Be ready for the next job."""
        if self._run is run:
            self._run = None
            self._row.hide()
            self._text.hide()
            self.busy_changed.emit(False)


def run_in_window(viewer: Any, job: Job[T], done: Callable[[T], None], title: str) -> None:
    """Run a job that no panel has asked for, with its bar in a dock at the foot of the window.

    The dock goes when the job ends, unless there is something to say. Without a window the job runs at once.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        The window, or a model without one.
    job, done, title
        As in `JobBar.start`.
    """
    if getattr(viewer, "window", None) is None:
        done(finish(job))
        return
    bar = JobBar()
    bar.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
    dock = viewer.window.add_dock_widget(bar, area="bottom", name=title, add_vertical_stretch=False)

    def ended() -> None:
        if isalive(bar) and bar.window().isVisible() and not bar.text:  # a closed window is deleted a little later
            viewer.window.remove_dock_widget(dock)

    bar.start(job, done, title, keep=True, ended=ended)


def progress_text(progress: Progress, done: int, seconds: float) -> str:
    """Return a line such as ``Encoding patches: 320 of 2,898 patches, 41 patches/s, 1 min left``.

    Parameters
    ----------
    progress : Progress
        How far the job is.
    done : int
        Units done since the step was first heard of.
    seconds : float
        Time since then.
    """
    if not progress.total:
        return progress.step
    text = f"{progress.step}: {progress.done:,} of {progress.total:,} {progress.unit}".rstrip()
    if done > 0 and seconds > 0.5:
        rate = done / seconds
        speed = f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
        text += f", {speed} {progress.unit}/s, {_duration((progress.total - progress.done) / rate)} left"
    return text


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
