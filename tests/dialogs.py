"""What tests answer where a panel asks."""

from pathlib import Path
from typing import Any


def pick(button: Any, kind: str) -> None:
    """Choose from the menu of a button, as a click and another on ``File…`` or ``Folder…`` do."""
    (action,) = (each for each in button.menu().actions() if each.text().replace("&", "") == kind)
    action.trigger()


class SaveDialog:
    """What the user would answer where a panel asks for the name of a file.

    Attributes
    ----------
    answer : Path or None
        The name, None for Cancel.
    replace : bool
        What is answered where a file would be replaced.
    proposed : list of Path
        What was proposed, each time.
    questions : list of str
        What was asked about files that are there.
    """

    def __init__(self) -> None:
        self.answer: Path | None = None
        self.replace = False
        self.proposed: list[Path] = []
        self.questions: list[str] = []
