"""Pictures of slides, and how tests read them."""

import numpy as np

from napari_cmrcnet.slides.slide import Slide


def picture(height: int = 700, width: int = 1100) -> np.ndarray:
    """Return smooth colours that do not repeat."""
    y, x = np.mgrid[:height, :width]
    waves = [150 + 90 * np.sin(x / (37 + 9 * c) + c) * np.cos(y / (53 - 7 * c)) for c in range(3)]
    return np.stack(waves, -1).astype(np.uint8)


def whole(slide: Slide, level: int = 0) -> np.ndarray:
    """Read all of a level."""
    size = slide.levels[level]
    return slide.read_region(0, 0, size.width, size.height, level)
