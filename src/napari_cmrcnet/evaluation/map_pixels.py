"""Small maps as pixels: which spot each shows, found once for a section, so that another gene is a look-up."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_cmrcnet.evaluation.figures import Ground


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
        self.slide = np.full((height, width, 3), 245, np.uint8)
        if ground.image is not None:  # each pixel the mean of 3 × 3 places
            size, part = (3 * width, 3 * height), step / ground.downsample / 3
            place = (part, 0, left / ground.downsample, 0, part, top / ground.downsample)
            fine = Image.fromarray(ground.pale).transform(size, Image.Transform.AFFINE, place, fillcolor="white")
            self.slide = np.asarray(fine.reduce(3))

    def coloured(self, rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the map of spots in these colours, uint8 (n, 4), without those that have none: uint8 (h, w, 3)."""
        shown = (self.spots >= 0) & (rgba[self.spots, 3] > 0)
        return np.where(shown[..., None], rgba[self.spots, :3], self.slide)
