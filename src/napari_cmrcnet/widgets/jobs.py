"""Long work beside the window: a bar with Cancel, and a line for what has happened."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QDockWidget, QHBoxLayout, QProgressBar, QSizePolicy, QWidget

from napari_cmrcnet.common.progress import Job, Progress, finish
from napari_cmrcnet.viewer.registry import session_of
from napari_cmrcnet.widgets.dock_panel import main_window
from napari_cmrcnet.widgets.job_run import Run
from napari_cmrcnet.widgets.messages import progress_text, told
from napari_cmrcnet.widgets.parts import bare, button, fill, label, stack

T = TypeVar("T")

WARNING = "⚠"


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
        self._run: Run | None = None
        self._step = ("", 0.0, 0)
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._text, self._line = label(), label(selectable=True)
        self._cancel = button("Cancel", "Stops after the current step. No incomplete file is left.", self.cancel)
        self._row = QWidget()
        bare(fill(QHBoxLayout(self._row), (self._bar, 1), self._cancel))
        stack(self, self._row, self._text, self._line)
        for widget in (self._row, self._text, self._line):
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
    ) -> None:
        """Run a job in a worker thread; one at a time, so that a second one is refused.

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
        """
        if self._run is not None:
            self.warn(f"{self._run.title or 'Something'} is still running. Wait for it, or press Cancel.")
            job.close()
            return
        self._step = ("", 0.0, 0)
        self._show_share(0, 0)
        self._text.setText(f"{title}…" if title else "")
        self._cancel.setEnabled(True)
        self.message("")
        self._row.show()
        self._text.show()
        self._run = Run(self, job, done, ended, title, keep, lasting)
        self.busy_changed.emit(True)
        self._run.start()

    def cancel(self) -> None:
        """Ask the job to stop; it does after the batch under way."""
        if self._run is not None:
            self._cancel.setEnabled(False)
            self._text.setText("Cancelling…")
            self._run.cancel()

    def message(self, text: str) -> None:
        """Show a line under the bar; an empty text hides it."""
        self._line.setText(text)
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

    def warn(self, text: str) -> None:
        """Say what went wrong."""
        self.message(f"{WARNING} {text}")

    def write(self, path: Path | None, write: Callable[[Path], object], note: str = "") -> None:
        """Write a file at once and say so, or what went wrong; nothing where no file was chosen."""
        if path is not None:
            with told(self.warn):
                write(path)
                self.saved(path, note)

    def saved(self, path: Path, note: str = "") -> None:
        """Say where a file was written, and what to know of it."""
        self.message(f"Saved {path}. {note}".rstrip())

    def be_ready(self) -> None:
        """Be ready for the next job."""
        self._run = None
        self._row.hide()
        self._text.hide()


def run_for_case(
    viewer: Any, job: Job[T], done: Callable[[T], None], title: str, ended: Callable[[], None] = lambda: None
) -> None:
    """Run a job as `run_in_window` for the case that is shown now.

    Where another is shown when it ends, the result is not handed over, and what was opened for it is closed.
    """
    session = session_of(viewer)
    case = session.case

    def done_here(result: T) -> None:
        if session.case is case:
            done(result)
        else:
            close_unseen(result)

    run_in_window(viewer, job, done_here, title, ended)


def close_unseen(result: Any) -> None:
    """Close what was opened and is not shown after all, if it is open: a slide."""
    if hasattr(result, "close"):
        result.close()


def run_in_window(
    viewer: Any,
    job: Job[T],
    done: Callable[[T], None],
    title: str,
    ended: Callable[[], None] = lambda: None,
) -> None:
    """Run a job that no panel has asked for, with its bar in a dock at the foot of the window.

    The dock goes when the job ends; where there is an error to read, that of the error before it does. Without a window
    the job runs at once; in one that was closed it does not run.

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
    if main_window(viewer) is None:
        ended()
        return
    bar = JobBar()
    bar.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
    dock = viewer.window.add_dock_widget(bar, area="bottom", name=title, add_vertical_stretch=False)

    def close() -> None:
        shown = isalive(bar) and bar.window().isVisible()  # a closed window is deleted a little later
        if shown and bar.text.startswith(WARNING):
            for other in main_window(viewer).findChildren(JobBar):
                if isinstance(other.parent(), QDockWidget) and not other.busy and other is not bar:
                    viewer.window.remove_dock_widget(other)
        elif shown:
            viewer.window.remove_dock_widget(dock)
        ended()

    bar.start(job, done, title, keep=True, ended=close)
