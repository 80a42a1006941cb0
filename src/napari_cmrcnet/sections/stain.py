"""How a section is stained: the colours of its tissue and patches, and how far they are from another's."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari_cmrcnet.sections.section import Section

Colour = tuple[float, float, float]
"""CIELAB: lightness L (0 to 100), a (green to red), b (blue to yellow)."""

FAR_STAIN = 10.0
"""ΔE beyond which a stain is far from the training slides'.

Measured with `tissue_colour`: four serial sections of one block on glass of different tints (her2st, patient C) lie 1.7
to 3.5 apart, one slide in two file formats 0.7; a slide of another organ, laboratory and scanner (CMU-1) lies 17 to 20
from each. 10 is between the two, three times the largest distance within a block and half the smallest to another
laboratory. The eye tells 2.3 (Mahy et al., Color Res. Appl. 19:105, 1994).
"""

OVERVIEW_PX = 1024
SPOT_UM = 100.0  # the side of the square under a spot
POINTS = 5  # a side of that square
GLASS = 0.1  # less saturated pixels are glass, fat and lumen


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


def tissue_colour(section: "Section") -> Colour:
    """Return the mean colour of the tissue under a section's spots.

    It is read from the slide's overview, which takes a tenth of a second where the slide has a pyramid. Pixels as grey
    as glass are left out, unless all are.

    Parameters
    ----------
    section : Section
        Slide and spots.

    Returns
    -------
    (float, float, float)
        CIELAB under the white point D65.
    """
    from skimage.color import rgb2lab

    overview = section.slide.thumbnail(OVERVIEW_PX)
    height, width = overview.shape[:2]
    side = np.linspace(-0.5, 0.5, POINTS) * SPOT_UM / section.mpp
    around = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)  # (25, 2)
    points = (section.xy[:, None] + around).reshape(-1, 2) / (max(section.slide.shape) / max(height, width))
    columns, rows = np.clip(points.astype(np.int64), 0, [width - 1, height - 1]).T
    pixels = overview[rows, columns].astype(np.float64) / 255
    brightest = pixels.max(axis=1)
    stained = brightest - pixels.min(axis=1) > GLASS * brightest
    lightness, a, b = rgb2lab(pixels[stained] if stained.any() else pixels).mean(axis=0)
    return round(float(lightness), 2), round(float(a), 2), round(float(b), 2)


def colour_distance(one: Colour, other: Colour) -> float:
    """Return the difference ΔE of two colours: their Euclidean distance in CIELAB (CIE 1976)."""
    return float(np.linalg.norm(np.subtract(one, other)))


def stain_distance(colour: Colour, section_colours: Mapping[str, Colour]) -> tuple[str, float] | None:
    """Return the training section of the most similar stain.

    Parameters
    ----------
    colour : (float, float, float)
        From `tissue_colour`.
    section_colours : mapping of str to (float, float, float)
        The same of the training sections, as a checkpoint's card has them.

    Returns
    -------
    (str, float) or None
        Name of the nearest section, and its ΔE; None without training sections.
    """
    distances = {name: colour_distance(colour, other) for name, other in section_colours.items()}
    if not distances:
        return None
    nearest = min(distances, key=distances.__getitem__)
    return nearest, distances[nearest]
