"""Colour augmentation: training patches as other stains and scanners might show them."""

import numpy as np
import torch
from numpy.typing import NDArray


def draw_variations(rng: np.random.Generator, n: int, amount: float) -> NDArray[np.float32]:
    """Draw how the colours of each of n patches are varied.

    Returns
    -------
    float32 array, (n, 2, 3)
        For R, G, B: the logarithm of a scale, and a shift in the deviations that pixels are normalised with; both
        normal of deviation ``amount``. Nothing is drawn where that is 0.
    """
    if not amount:
        return np.zeros((n, 2, 3), np.float32)
    return (amount * rng.standard_normal((n, 2, 3))).astype(np.float32)


def vary_colours(colours: torch.Tensor, variations: NDArray[np.float32]) -> torch.Tensor:
    """Change what patches are normalised with, so that they come out scaled and shifted as drawn.

    Parameters
    ----------
    colours : float32 tensor, (n, 2, 3)
        Means and deviations m and d of R, G, B; a pixel p is read as x = (p - m) / d.
    variations : float32 array, (n, 2, 3)
        From `draw_variations`.

    Returns
    -------
    float32 tensor, (n, 2, 3)
        Those with which the pixel is read as scale · x + shift.
    """
    mean, deviation = colours.unbind(1)
    scale, shift = torch.from_numpy(variations).unbind(1)
    deviation = deviation / scale.exp()
    return torch.stack([mean - shift * deviation, deviation], dim=1)
