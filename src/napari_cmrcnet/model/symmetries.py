"""The eight symmetries of a square: tissue has no up, down, left or right."""

from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

from napari_cmrcnet.common.device import to_device

SYMMETRIES = np.array(list(product([False, True], repeat=3)))  # (8, 3), as `draw_symmetries` draws them; none first


def draw_symmetries(rng: np.random.Generator, n: int) -> NDArray[np.bool_]:
    """Draw a symmetry for each of n patches, all eight equally likely.

    Returns
    -------
    bool array, (n, 3)
        Whether to transpose, to flip the rows, to flip the columns. Every flip and right-angle rotation is
        one of these eight combinations: a quarter turn is a transposition and a flip.
    """
    return rng.random((n, 3)) < 0.5


def apply_symmetries(pixels: torch.Tensor, symmetries: NDArray[np.bool_]) -> torch.Tensor:
    """Transpose and flip each patch as drawn.

    Parameters
    ----------
    pixels : uint8 tensor, (n, side, side, 3)
        Patches, on any device.
    symmetries : bool array, (n, 3) or (3,)
        From `draw_symmetries`; or a row of `SYMMETRIES`, the same for all patches.

    Returns
    -------
    uint8 tensor, (n, side, side, 3)
    """
    drawn = to_device(symmetries.reshape(-1, 3, 1, 1, 1), pixels.device)  # (n or 1, 3, 1, 1, 1)
    pixels = torch.where(drawn[:, 0], pixels.transpose(1, 2), pixels)
    pixels = torch.where(drawn[:, 1], pixels.flip(1), pixels)
    return torch.where(drawn[:, 2], pixels.flip(2), pixels)
