"""Whether spots lie where the tissue is, or would lie there better if they were moved."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.sections.tissue import TissueMask

SEARCH_PX = 256  # of the mask's longer side: finer than a spot on any slide


@dataclass(frozen=True)
class Placement:
    """How many spots lie on tissue, and how many would if all were moved to where most do.

    Parameters
    ----------
    share : float
        Of the spots, on tissue as they are.
    best : float
        The largest share that moving all spots by one shift gives; never less than ``share``.
    shift : (float, float)
        That shift, (x, y) in full-resolution pixels.
    """

    share: float
    best: float
    shift: tuple[float, float]


def placement(tissue: TissueMask, xy: NDArray[np.float64]) -> Placement:
    """Compare where spots are with where they would lie on tissue best.

    The share on tissue alone does not tell spots that belong elsewhere from spots on fat, which is as pale as glass:
    only the former would gain from being moved. All shifts are tried at once, by correlation with a coarse mask.

    Parameters
    ----------
    tissue : TissueMask
        Of the slide.
    xy : float64 (n, 2)
        Spot centres in full-resolution pixels.
    """
    from scipy.signal import fftconvolve

    share = float(np.mean(tissue.contains(xy)))
    height, width = (side * tissue.downsample for side in tissue.mask.shape)
    if (np.ptp(xy, axis=0) > [2 * width, 2 * height]).any():  # no shift brings all onto the slide
        return Placement(share, share, (0.0, 0.0))
    step = max(1, max(tissue.mask.shape) // SEARCH_PX)
    coarse = tissue.mask[::step, ::step].astype(np.float32)
    pixel = tissue.downsample * step
    column, row = np.floor((xy - xy.min(axis=0)) / pixel).astype(np.int64).T
    spots = np.zeros((row.max() + 1, column.max() + 1), np.float32)
    np.add.at(spots, (row, column), 1)
    on_tissue = fftconvolve(coarse, spots[::-1, ::-1])  # by where the spots' first row and column would lie
    top, left = np.unravel_index(int(on_tissue.argmax()), on_tissue.shape)
    corner = (np.array([left, top]) - [spots.shape[1] - 1, spots.shape[0] - 1]) * pixel
    shift = corner - xy.min(axis=0)
    best = float(np.mean(tissue.contains(xy + shift)))
    if best <= share:
        return Placement(share, share, (0.0, 0.0))
    return Placement(share, best, (float(shift[0]), float(shift[1])))
