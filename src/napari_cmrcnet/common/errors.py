"""The one error a user is meant to read."""

from collections.abc import Mapping
from typing import Literal

Setting = Literal["", "pixel size", "k", "device", "checkpoint", "spots"]
"""What a user changes to mend an error; the command line has an option for it, and the panels a control."""


def system_error(error: OSError) -> str:
    """Return what the system refused, as a sentence that names the file."""
    return f"{error.filename or 'A file'}: {error.strerror or error}."


class UserError(Exception):
    """Something the user can mend, said in one sentence.

    The message names the file, what is wrong with it and what to do. The command line prints it and exits
    with 1; the widgets show it once. Everything else that is raised is a defect of this software.

    Parameters
    ----------
    message : str
        The sentence, in words that hold wherever it is read: it names no option of the command line.
    setting : Setting
        What is to be changed, ``""`` if the sentence says all.
    """

    def __init__(self, message: str, setting: Setting = "") -> None:
        super().__init__(message)
        self.setting = setting

    def told(self, names: Mapping[Setting, str]) -> str:
        """Return the message with the name that its setting has where it is shown, before the full stop."""
        name = names.get(self.setting)
        return f"{str(self).removesuffix('.')} ({name})." if name else str(self)
