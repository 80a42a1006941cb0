"""How a section is stained: the colours and edges of its patches."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SPOTS_MEASURED = 256  # whose patches give a section's colours
COARSE = 4  # pixels that are averaged to one, in both directions, for the edges of a patch at a lower resolution
EVERY = 4  # pixels, in both directions, from one that is read to the next


class PatchColours(NamedTuple):
    """Mean and standard deviation of R, G, B in 0–1, by which pixels are shifted and scaled."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def spots_to_measure(n: int) -> NDArray[np.int64]:
    """Return the rows of those of n spots whose patches `patch_colours` is to be given: 256, evenly, or all."""
    return np.linspace(0, n - 1, min(n, SPOTS_MEASURED)).astype(np.int64)


def patch_colours(pixels: NDArray[np.uint8]) -> PatchColours:
    """Measure the colours of a section's patches, to take out what its stain and scanner add to all of them.

    Parameters
    ----------
    pixels : uint8 array, (n, side, side, 3)
        Patches at `spots_to_measure`.
    """
    some = pixels[:, ::EVERY, ::EVERY].reshape(-1, 3)
    mean, std = some.mean(axis=0) / 255, np.maximum(some.std(axis=0), 1) / 255
    return PatchColours(tuple(mean.tolist()), tuple(std.tolist()))


def stain_and_sharpness(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Describe patches by their colours and edges, to compare a slide's stain and focus with those of others.

    Parameters
    ----------
    pixels : uint8 array, (n, side, side, 3)
        Patches, all of one size in µm.

    Returns
    -------
    float64 (n, 8)
        Mean and standard deviation of the optical density of R, G and B; then the mean difference of the grey values
        of a pixel and the one below it, and the same of the patch at a quarter of its resolution.
    """
    n, side = len(pixels), pixels.shape[1] // COARSE * COARSE
    density = -np.log10((np.arange(256) + 1) / 256)
    # Each of 256 values is looked at once, however many pixels have it.
    share = np.array([[np.bincount(channel.ravel(), minlength=256) for channel in one.T] for one in pixels], float)
    share = share.reshape(n, 3, 256) / max(pixels[:1, ..., 0].size, 1)
    mean = share @ density
    deviation = np.sqrt((share * (density - mean[..., None]) ** 2).sum(axis=2))
    red, green, blue = pixels[:, :side, :side].astype(np.float32).transpose(3, 0, 1, 2)
    grey = (red + green + blue) / np.float32(3)
    coarse = grey.reshape(n, side // COARSE, COARSE, side // COARSE, COARSE).mean(axis=(2, 4))
    edges = [np.abs(np.diff(values, axis=1)).mean(axis=(1, 2)) for values in (grey, coarse)]
    return np.column_stack([mean, deviation, *edges])
