"""One process at a time for what is written: a second one is refused, or waits.

The system holds the lock for as long as the process lives, so that a killed one leaves nothing locked.
"""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from napari_cmrcnet.common.errors import UserError, first_sentence
from napari_cmrcnet.common.files import short_name
from napari_cmrcnet.common.progress import Job, Progress

_ASK_AGAIN = 0.2  # seconds, while another process is waited for


class BusyError(UserError):
    """Another process writes there."""


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Keep a file or folder to this process while the block runs.

    The lock is a file beside it, ``.NAME.lock``, so that it holds wherever the place can be seen from.

    Parameters
    ----------
    path : Path
        What is written; it need not be there yet.

    Raises
    ------
    BusyError
        If another process, or another job of this one, has it.
    UserError
        If nothing can be written there.
    """
    path = path.absolute()
    # Not a lock of the thread: a job may be closed by another thread than the one that began it.
    lock = FileLock(path.with_name(f".{short_name(path)}.lock"), timeout=0, thread_local=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Path(lock.lock_file).touch()  # filelock takes a folder where no file can be made for one in use
        lock.acquire()
    except Timeout as error:
        raise BusyError(
            f"{path} is being written by another process; wait until it has ended, or choose another place."
        ) from error
    except OSError as error:
        raise UserError(
            f"{path} could not be written: the folder {path.parent} cannot be written to "
            f"({error.strerror or first_sentence(error)}); choose another place."
        ) from error
    try:
        yield
    finally:
        if os.name == "nt":  # which removes no file that is open
            lock.release()
        with suppress(OSError):  # before it is released: whoever locks a file that is gone makes another
            os.unlink(lock.lock_file)
        lock.release()


def when_free(path: Path) -> Job[ExitStack]:
    """Wait until no other process has a file or folder, and keep it to this one.

    Used as ``with (yield from when_free(path)):``.

    Yields
    ------
    Progress
        While it waits.
    """
    while True:
        held = ExitStack()
        try:
            held.enter_context(only_one(path))
        except BusyError:
            yield Progress("Waiting for another process that makes the same", 0, 0)
            time.sleep(_ASK_AGAIN)
            continue
        return held
