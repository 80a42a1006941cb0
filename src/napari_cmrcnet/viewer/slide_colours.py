"""Colours of a slide as its scanner meant them: through its ICC profile, to those of a screen (sRGB).

Only for looking at: models read the pixels as they are stored, as they did in training.
"""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

if TYPE_CHECKING:
    from napari_cmrcnet.slides.slide import Slide
    from napari_cmrcnet.slides.source import Pixels
    from napari_cmrcnet.slides.tile_reader import TileReader

Through = Callable[["Pixels"], "Pixels"]

STEPS = 9  # shades of each colour at which a profile is compared with sRGB
SEEN = 3  # of 255: what nobody sees

_readers: "WeakKeyDictionary[Slide, TileReader]" = WeakKeyDictionary()


def shown_reader(slide: "Slide") -> "TileReader":
    """Return a reader of tiles in the colours of a screen: the slide's own, where its pixels are in them."""
    from napari_cmrcnet.slides.tile_reader import TileReader

    if slide not in _readers:
        through = through_profile(slide.source.icc_profile())
        _readers[slide] = slide.reader if through is None else TileReader(slide.source, through=through)
    return _readers[slide]


def through_profile(profile: bytes) -> Through | None:
    """Return what turns pixels into sRGB.

    Parameters
    ----------
    profile : bytes
        An ICC profile, as the file has it.

    Returns
    -------
    callable or None
        Takes and returns uint8 (height, width, 3), from any thread. None where there is no profile, it is damaged or
        not of RGB, or it changes no colour visibly.
    """
    if not profile:
        return None
    from PIL import Image, ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError):
        return None

    def through(pixels: "Pixels") -> "Pixels":
        image = Image.fromarray(np.ascontiguousarray(pixels))
        ImageCms.applyTransform(image, transform, inPlace=True)
        return np.asarray(image)

    shades = np.linspace(0, 255, STEPS).astype(np.uint8)
    colours = np.stack(np.meshgrid(shades, shades, shades), axis=-1).reshape(STEPS, -1, 3)
    changed = np.abs(through(colours).astype(int) - colours).max()
    return through if changed > SEEN else None
