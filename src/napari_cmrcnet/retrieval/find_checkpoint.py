"""Where the checkpoint of a prediction may be now, and what is found there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from napari_cmrcnet.common.errors import UserError, system_error
from napari_cmrcnet.common.files import is_there
from napari_cmrcnet.retrieval.checkpoint import Checkpoint

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.bank import Bank
    from napari_cmrcnet.retrieval.thumbnails import Thumbnails
    from napari_cmrcnet.slides.patches import PatchSpec

T = TypeVar("T")


@dataclass(frozen=True)
class Whereabouts:
    """Where the checkpoint of a prediction may be.

    Parameters
    ----------
    places : sequence of Path
        Folders, the most likely first.
    digest : str
        SHA-256 of its card, by which it is known.
    """

    places: Sequence[Path]
    digest: str

    def bank(self) -> "tuple[Bank | None, str]":
        """Return the bank of the first place that has the checkpoint unchanged.

        Returns
        -------
        bank : Bank or None
            None where no place has it.
        reason : str
            Why the last place that exists was not taken; ``""`` where none exists.
        """
        found, refused = self._first(lambda checkpoint: checkpoint.bank)
        return found, refused or self._another()

    def thumbnails(self) -> "Thumbnails | None":
        """Return the thumbnails of the first place that has them; None where the checkpoint has none.

        Raises
        ------
        UserError
            If there are some, and they were changed or are damaged.
        """
        found, refused = self._first(lambda checkpoint: checkpoint.thumbnails)
        if found is None and refused:
            raise UserError(refused)
        return found

    def patch(self) -> "PatchSpec | None":
        """Return what the checkpoint takes for a patch, by its card alone; None where no place has it."""
        return self._first(lambda checkpoint: checkpoint.card.preprocessing.patch)[0]

    def _first(self, part: Callable[[Checkpoint], T | None]) -> tuple[T | None, str]:
        """Return the first part that the checkpoint in a place gives, and what was wrong with a place before it."""
        refused = ""
        for place in self.places:
            if not is_there(place):
                continue
            try:
                checkpoint = Checkpoint.open(place)
                found = part(checkpoint) if checkpoint.digest == self.digest else None
            except UserError as error:
                refused = str(error)
                continue
            except OSError as error:  # the folder is another's
                refused = system_error(error)
                continue
            if found is not None:
                return found, refused
        return None, refused

    def _another(self) -> str:
        there = [place for place in self.places if is_there(place)]
        return f"{there[-1]} is not the checkpoint that made this prediction." if there else ""
