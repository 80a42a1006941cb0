"""Small maps as pixels: which spot each shows, found once for a section, so that another gene is a look-up."""

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.evaluation.colour_limits import Limits
from napari_cmrcnet.evaluation.figures import Ground

Float32 = NDArray[np.float32]


class MapPixels:
    """Which spot each pixel of a small map shows, and the slide where it shows none.

    It is found once for a section: the map of a gene is then a look-up, however many spots there are.

    Parameters
    ----------
    ground : Ground
        Where the spots lie, and the slide under them.
    side : int
        Pixels of the longer side.
    """

    def __init__(self, ground: Ground, side: int) -> None:
        from scipy.spatial import KDTree

        left, right, top, bottom = ground.frame
        step = max(right - left, bottom - top) / side
        width, height = max(1, round((right - left) / step)), max(1, round((bottom - top) / step))
        y, x = np.mgrid[:height, :width]
        places = np.column_stack([left + (x.ravel() + 0.5) * step, top + (y.ravel() + 0.5) * step])
        reach = max(ground.diameter / 2, step)  # a spot smaller than a pixel is still seen
        _, spots = KDTree(ground.xy).query(places, distance_upper_bound=reach)
        self.spots = np.where(spots < len(ground.xy), spots, -1).reshape(height, width)
        self.slide = _pale_slide(ground, left, top, step, (height, width))

    def coloured(self, values: Float32, limits: Limits, colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the map of a gene, uint8 (h, w, 3).

        Parameters
        ----------
        values : float32 (n,)
            One value per spot; NaN is left out.
        limits : (float, float)
            Of the colours.
        colours : uint8 (256, 3)
            From low to high.
        """
        low, high = limits
        place = np.clip((np.asarray(values, np.float64) - low) / (high - low), 0, 1) * (len(colours) - 1)
        of_spots = colours[np.rint(np.nan_to_num(place)).astype(np.intp)]
        shown = (self.spots >= 0) & np.isfinite(values)[self.spots]
        picture: NDArray[np.uint8] = np.where(shown[..., None], of_spots[self.spots], self.slide)
        return picture


def _pale_slide(ground: Ground, left: float, top: float, step: float, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the pale slide, each pixel the mean of 3 × 3 places."""
    (height, width), parts = shape, 3
    if ground.image is None:
        return np.full((height, width, 3), 245, np.uint8)
    grey = ground.pale[..., 0]
    rows, columns = (
        np.floor((start + (np.arange(size * parts) + 0.5) * step / parts) / ground.downsample).astype(np.intp)
        for start, size in ((top, height), (left, width))
    )
    inside = [(places >= 0) & (places < size) for places, size in zip((rows, columns), grey.shape, strict=True)]
    fine = grey[np.clip(rows, 0, grey.shape[0] - 1)][:, np.clip(columns, 0, grey.shape[1] - 1)]
    fine[~(inside[0][:, None] & inside[1])] = 255
    mean = fine.reshape(height, parts, width, parts).mean(axis=(1, 3))
    return np.repeat(mean.astype(np.uint8)[..., None], 3, axis=2)
