"""The similarity below which a spot is unlike anything in the bank, learned from the training spots themselves."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.progress import Job
from napari_cmrcnet.retrieval.search import nearest_job

if TYPE_CHECKING:
    import torch

Float32 = NDArray[np.float32]

PERCENTILE = 1.0  # one training spot in a hundred is below the floor


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
    step = "Comparing the training spots with each other"
    neighbours, similarity = yield from nearest_job(patches, bank, min(2, n), step, device)
    own = neighbours[:, 0] == np.arange(n)
    best = np.where(own, similarity[:, -1], similarity[:, 0])
    return float(np.percentile(best, PERCENTILE)) if n > 1 else None
