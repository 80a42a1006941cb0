"""Stain normalisation of a patch after Macenko et al. (ISBI 2009, 1107), with the constants of Path2Space."""

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

TARGET = np.array([[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]])  # optical density of haematoxylin and eosin
TARGET_MOST = np.array([1.9705, 1.0308])  # of each, in 99 % of the pixels of the target
LEAST_DENSITY = 0.15  # of a pixel that shows tissue
EXTREME = 1.0  # percentile of the angles at which the two stains are found
SPARSITY = 0.01
ONE_COLOUR = 1e-6  # angle between two stains that are one


def normalise_stain(pixels: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Give a patch the two stains of the target; None where it shows too little tissue, or one colour alone.

    Parameters
    ----------
    pixels : uint8 (h, w, 3)
        RGB.
    """
    bright = np.clip(pixels * (255 / max(np.percentile(pixels, 95), 1)), 0, 255).astype(np.uint8)
    density = -np.log(np.maximum(bright, 1) / 255).reshape(-1, 3)
    stains = _stains(density[(density > LEAST_DENSITY).any(axis=1)])
    if stains is None:
        return None
    amounts = stain_amounts(density, stains)
    most = np.percentile(amounts, 99, axis=0)
    if not (most > 0).all():
        return None
    normalised: Float64 = 255 * np.exp(-(amounts * (TARGET_MOST / most)) @ TARGET)
    return normalised.astype(np.uint8).reshape(pixels.shape)


def _stains(tissue: Float64) -> Float64 | None:
    """Return the optical density of the two stains (2, 3), of length 1, from that of tissue (n, 3)."""
    if len(tissue) < 3:
        return None
    plane = np.linalg.eigh(np.cov(tissue, rowvar=False))[1][:, [2, 1]]  # the two directions of most variance
    plane = plane * np.where(plane[0] < 0, -1, 1)
    first, second = (tissue @ plane).T
    ends = np.percentile(np.arctan2(second, first), [EXTREME, 100 - EXTREME])
    if np.ptp(ends) < ONE_COLOUR:
        return None
    found = np.stack([np.cos(ends), np.sin(ends)], axis=1) @ plane.T
    found = found[np.argsort(-found[:, 0], kind="stable")]  # haematoxylin takes more of the red
    length = np.linalg.norm(found, axis=1, keepdims=True)
    return found / length if (length > 0).all() else None


def stain_amounts(density: Float64, stains: Float64) -> Float64:
    """Return how much of two stains makes up each pixel.

    Parameters
    ----------
    density : float64 (n, 3)
        Optical density of R, G, B.
    stains : float64 (2, 3)
        That of the stains, of length 1.

    Returns
    -------
    float64 (n, 2)
        The a ≥ 0 of least ``|density - a @ stains|² / 2 + SPARSITY · (a₀ + a₁)``. With two stains it is known in closed
        form: both as in least squares if neither is below 0, else the one that alone explains more.
    """
    overlap = float(stains[0] @ stains[1])
    gain = density @ stains.T - SPARSITY
    both = (gain - overlap * gain[:, ::-1]) / max(1 - overlap**2, np.finfo(float).tiny)
    alone = np.maximum(gain, 0) * (gain >= gain.max(axis=1, keepdims=True))
    return np.where((both >= 0).all(axis=1, keepdims=True), both, alone)
