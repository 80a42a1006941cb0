"""Colour and texture of a patch in 23 numbers, which need no training."""

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.cache import kept_array
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.slides.patch_cache import cache_key, patch_cache
from napari_cmrcnet.slides.patches import PatchSpec

Array = NDArray[np.float64]

N_FEATURES = 23
CACHE_VERSION = 1  # counted up when the same patch would give other features
PERCENTILES = (5, 25, 50, 75, 95)
COARSE = 8  # pixels from one to the next in the coarse texture
BATCH = 64


def describe_patch(pixels: NDArray[np.uint8]) -> Array:
    """Return mean and deviation of R, G, B, five percentiles of each stain, and fine and coarse texture.

    The stains are haematoxylin, eosin and DAB by colour deconvolution (Ruifrok & Johnston 2001). A texture is the
    mean difference of the grey values of a pixel and the one below it, or the one eight pixels below.

    Parameters
    ----------
    pixels : uint8 array, (side, side, 3)
        RGB.

    Returns
    -------
    float64 (23,)
    """
    from skimage.color import rgb2hed

    colours = np.ascontiguousarray(pixels.reshape(-1, 3).T) / 255  # (3, n), since sums along rows are ten times as fast
    stains = np.percentile(rgb2hed(pixels).reshape(-1, 3), PERCENTILES, axis=0)  # (5, 3)
    grey = pixels.mean(axis=2)
    textures = [np.abs(np.diff(values, axis=0)).mean() for values in (grey, grey[::COARSE, ::COARSE])]
    return np.concatenate([colours.mean(axis=1), colours.std(axis=1), stains.ravel(), textures])


def standardised_features(section: Section, patch: PatchSpec) -> Job[Array]:
    """Describe the patches of a section's spots, each feature with mean 0 and deviation 1 over the section.

    So a slide's tint, which differs from one to the next, is taken out; and so is what all of its tissue has in
    common. The features are kept in the cache, since several methods and folds ask for them.

    Returns
    -------
    float64 (n, 23)
        A feature that is constant over the section is 0.

    Raises
    ------
    UserError
        If patches cannot be read, or the disk is full.
    """
    key = cache_key(section, patch)

    def write(stream: BinaryIO) -> Job[None]:
        patches = yield from patch_cache(section, patch)
        np.save(stream, (yield from _describe(section.name, patches)), allow_pickle=False)

    shape = (len(section.spots), N_FEATURES)
    features: Array = yield from kept_array("features", f"{key}-{CACHE_VERSION}", shape, np.float64, write)
    spread = features.std(axis=0)
    constant = spread <= 1e-9 * np.abs(features).max(axis=0)
    standardised: Array = np.where(constant, 0, (features - features.mean(axis=0)) / np.where(constant, 1, spread))
    return standardised


def _describe(name: str, patches: NDArray[np.uint8]) -> Job[Array]:
    features = np.empty((len(patches), N_FEATURES))
    step = f"Describing patches of {name}"
    for start in range(0, len(patches), BATCH):
        yield Progress(step, start, len(patches), "patches")
        block = slice(start, start + BATCH)
        features[block] = [describe_patch(pixels) for pixels in patches[block]]
    yield Progress(step, len(patches), len(patches), "patches")
    return features
