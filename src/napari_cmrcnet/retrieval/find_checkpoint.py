"""Where the checkpoint of a prediction is now."""

from collections.abc import Sequence
from pathlib import Path

from napari_cmrcnet.common.errors import UserError, system_error
from napari_cmrcnet.common.files import is_there
from napari_cmrcnet.retrieval.checkpoint import Checkpoint


def find_checkpoint(places: Sequence[Path], digest: str) -> tuple[Checkpoint | None, str]:
    """Open the checkpoint of a prediction in the first place that has it.

    Parameters
    ----------
    places : sequence of Path
        Folders, the most likely first.
    digest : str
        SHA-256 of its card, by which it is known.

    Returns
    -------
    checkpoint : Checkpoint or None
        None where no place has it.
    reason : str
        Then why the last place that exists was not taken; ``""`` where none exists.
    """
    reason = ""
    for place in filter(is_there, places):
        try:
            checkpoint = Checkpoint.open(place)
        except UserError as error:
            reason = str(error)
        except OSError as error:  # the folder is another's
            reason = system_error(error)
        else:
            if checkpoint.digest == digest:
                return checkpoint, ""
            reason = f"{place} is not the checkpoint that made this prediction."
    return None, reason
