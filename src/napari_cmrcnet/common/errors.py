"""The one error a user is meant to read."""

import errno
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

Setting = Literal["", "pixel size", "k", "device", "checkpoint", "spots", "library", "layer", "scale", "kind"]
"""What a user changes to mend an error; the command line has an option for it, and the panels a control."""


def system_error(error: OSError) -> str:
    """Return what the system refused, as a sentence that names the file."""
    return f"{error.filename or 'A file'}: {error.strerror or error}."


_REFUSED = {
    errno.EACCES: "may not be read; check its permissions",
    errno.EPERM: "may not be read; check its permissions",
    errno.EAGAIN: "is open in another program; close it there (or, where its disk has no locks, set "
    "HDF5_USE_FILE_LOCKING=FALSE)",
    errno.EBUSY: "is in use by another program; close it there",
    errno.ENOENT: "does not exist; check the path",
    errno.EMFILE: "could not be opened, because too many files are open; close some programs",
    errno.ENAMETOOLONG: "has a name that is too long for the system; give it a shorter one",
}


def first_sentence(error: BaseException) -> str:
    """Return the first sentence of what an error says, or its kind where it says nothing.

    A library's further ones are for programmers: torch advises to read a file of weights by a way that runs it.
    """
    lines = str(error).strip().splitlines()
    return re.split(r"\. (?=[A-Z]\w* )", lines[0].strip())[0] if lines else type(error).__name__


def cannot_read(path: str | os.PathLike[str], error: BaseException, otherwise: str) -> "UserError":
    """Return why a file could not be read: what the system refused, else what is wrong with its content.

    A decoder passes on what the system says: a file that may not be read, is locked, or lies on a share that is gone
    is not damaged, and must not be called so.

    Parameters
    ----------
    path : path
        The file.
    error : exception
        What was raised. What it was raised from counts as well.
    otherwise : str
        The sentence for everything that is not the system's.
    """
    cause: BaseException | None = error
    while cause is not None:
        if is_out_of_memory(cause):
            return UserError(f"{os.fspath(path)} does not fit into the memory; close other programs.")
        # An invalid argument comes from content: a decoder goes to a place that a damaged file names.
        if isinstance(cause, OSError) and cause.errno not in (None, errno.EINVAL):
            other = f"could not be read ({cause.strerror or first_sentence(cause)}); check its disk or share"
            return UserError(f"{os.fspath(path)} {_REFUSED.get(cause.errno, other)}.")
        cause = cause.__cause__
    return UserError(otherwise)


@contextmanager
def readable(
    path: str | os.PathLike[str], what: str, advice: str = "", errors: tuple[type[Exception], ...] = (Exception,)
) -> Iterator[None]:
    """Refuse a file that the block cannot read, in one sentence: what is wrong, the reason and what to do.

    Parameters
    ----------
    path : path
        The file that is read.
    what : str
        What is wrong with it, e.g. "is not a readable table"; the reason follows in brackets.
    advice : str, optional
        What to do.
    errors : tuple of exception types
        The errors that say so. A :class:`UserError` of the block goes through as it is.

    Raises
    ------
    UserError
        As said, or what `cannot_read` says where the machine is the reason.
    """
    try:
        yield
    except UserError:
        raise
    except errors as error:
        otherwise = f"{os.fspath(path)} {what} ({first_sentence(error)}){advice and f'; {advice}'}."
        raise cannot_read(path, error, otherwise) from error


def undamaged(path: str | os.PathLike[str], *errors: type[Exception]) -> AbstractContextManager[None]:
    """Refuse a file whose content the block cannot read, as `readable` does; on any error if none is named."""
    return readable(path, "is damaged or cut short", "copy or download it again", errors or (Exception,))


def cannot_write(path: str | os.PathLike[str], error: OSError) -> "UserError":
    """Return why a file or folder could not be written, and what to do."""
    reason = error.strerror or first_sentence(error)
    return UserError(f"{os.fspath(path)} could not be written ({reason}); free some space or choose another place.")


NO_MEMORY = "There is not enough memory; close other programs, run fewer jobs at once, or use a machine with more."

# In the words of torch's plain errors: CUDA, HIP and MPS; the CPU; cuBLAS, cuSOLVER, cuFFT and cuDNN; one buffer
# that is too long for MPS; cuDNN again, where no way to compute a convolution found room for its work.
_NO_MEMORY_SAID = (
    "out of memory",
    "DefaultCPUAllocator",
    "ALLOC_FAILED",
    "ALLOCATION_FAILED",
    "Invalid buffer size",
    "unable to find an engine",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of this machine or of its GPU.

    torch has a type for it, itself a RuntimeError, and raises it only where it manages the memory itself, on CUDA. What
    MPS, CUDA's libraries and the CPU report is a plain RuntimeError, told apart by its message alone.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, not imported here
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in _NO_MEMORY_SAID)


class UserError(Exception):
    """Something the user can mend, said in one sentence.

    The message names the file, what is wrong with it and what to do. The command line prints it and exits
    with 1; the widgets show it once. Everything else that is raised is a bug.

    Parameters
    ----------
    message : str
        The sentence, in words that hold wherever it is read: it names no option of the command line.
    setting : Setting
        What is to be changed, ``""`` if the sentence says all.
    choices : sequence of str
        What it may be changed to, where that is known; the sentence names them, too.
    """

    def __init__(self, message: str, setting: Setting = "", choices: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.setting = setting
        self.choices = tuple(choices)

    def told(self, names: Mapping[Setting, str]) -> str:
        """Return the message with the name that its setting has where it is shown, before the full stop."""
        name = names.get(self.setting)
        return f"{str(self).removesuffix('.')} ({name})." if name else str(self)
