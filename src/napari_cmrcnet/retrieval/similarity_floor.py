"""The similarity below which a spot is unlike anything in the bank, learned from the training spots themselves."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.retrieval.search import nearest

if TYPE_CHECKING:
    import torch

Float32 = NDArray[np.float32]

PERCENTILE = 1.0  # one training spot in a hundred is below the floor
SPOTS_A_STEP = 1024  # between two yields


def similarity_floor(patches: Float32, bank: Float32, device: "str | torch.device" = "cpu") -> Job[float | None]:
    """Find how similar to the bank the patches are that belong there.

    Each training spot asks the bank as a new spot would, with its own row left out. The floor is the first percentile
    of the best similarities found.

    A spot below it is unlike the bank, but one above need not be like it: trained on three her2st sections, 1 % of the
    spots of a fourth lie below, and only 4 % of those of a slide of another organ, laboratory and scanner (CMU-1). The
    stain tells such a slide apart, see `retrieval.likeness`.

    Parameters
    ----------
    patches : float32 array, (M, d)
        Image embeddings of the training spots, of any length.
    bank : float32 array, (M, d)
        Their gene embeddings, in the same order.
    device : str or torch.device
        Where to search.

    Returns
    -------
    float or None
        A cosine similarity; None where the bank has one spot only.
    """
    n = len(bank)
    best = np.empty(n, np.float32)
    for start in range(0, n, SPOTS_A_STEP):
        yield Progress("Comparing the training spots with each other", start, n, "spots")
        step = slice(start, start + SPOTS_A_STEP)
        best[step] = _best_of_others(patches[step], bank, start, device)
    yield Progress("Comparing the training spots with each other", n, n, "spots")
    return float(np.percentile(best, PERCENTILE)) if n > 1 else None


def _best_of_others(patches: Float32, bank: Float32, first: int, device: "str | torch.device") -> Float32:
    """Return the best similarity of the patches of bank rows ``first``, ``first + 1`` … to any other row."""
    neighbours, similarity = nearest(patches, bank, min(2, len(bank)), device=device)
    own = neighbours[:, 0] == np.arange(first, first + len(patches))
    return np.where(own, similarity[:, -1], similarity[:, 0])
