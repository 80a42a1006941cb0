"""What the panels say: what went wrong, in the names of their controls, and how far the work is."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from napari_cmrcnet.common.errors import NO_MEMORY, Setting, UserError, is_out_of_memory, system_error
from napari_cmrcnet.common.progress import Progress

logger = logging.getLogger(__name__)

HOW_TO_BEGIN = (
    "Press Predict in the Predict panel, drop a measured section or a saved prediction on the window, or choose "
    "File > Open Sample > CMRCNet."
)
"""What an empty panel tells to do."""

CONTROLS: dict[Setting, str] = {
    "pixel size": "Pixel size, under More settings",
    "k": "Neighbours, under More settings",
    "library": "Section, under the file",
    "device": "Device, under More settings",
    "checkpoint": "Find checkpoint…, in the View panel",
}


def in_panel_words(error: UserError) -> str:
    """Return an error's message with the control that mends it."""
    return error.told(CONTROLS)


@contextmanager
def told(say: Callable[[str], object]) -> Iterator[None]:
    """Say what goes wrong in a block in the panel's words; the panel goes on after it."""
    try:
        yield
    except UserError as error:
        say(in_panel_words(error))


def failure(title: str, error: Exception) -> str:
    """Say what went wrong; details of what is our own fault go to the log.

    Parameters
    ----------
    title : str
        What was being done, ``""`` if that has no name.
    error : Exception
        What ended it.
    """
    if isinstance(error, UserError):
        return in_panel_words(error)
    logger.error("%s failed", title or "A job", exc_info=error)
    if isinstance(error, OSError) and error.filename:
        return system_error(error)
    if is_out_of_memory(error):
        return NO_MEMORY
    return (
        f"{title or 'This'} failed with an unexpected error ({type(error).__name__}: {error}). This is a bug; "
        "please report it with the log."
    )


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
