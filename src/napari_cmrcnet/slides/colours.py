"""Samples of a slide's pixels, whatever their number and depth, as opaque 8-bit RGB."""

from typing import Any

import numpy as np

from napari_cmrcnet.slides.source import Pixels

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, YCBCR = 0, 1, 2, 6  # TIFF's PhotometricInterpretation
ASSOCIATED_ALPHA, UNASSOCIATED_ALPHA = 1, 2


def is_grey(key: Any) -> bool:
    """Tell whether a TIFF page says that its samples are shades of grey, each of its own."""
    return key.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO)


def to_rgb(samples: Any, shift: int = 8, *, white_is_zero: bool = False, alpha: int = UNASSOCIATED_ALPHA) -> Pixels:
    """Turn samples into opaque RGB, where transparent is white.

    Parameters
    ----------
    samples : uint8 or uint16 (height, width) or (height, width, 1 to 4)
        Grey or colours; what comes after these is transparency.
    shift : int
        Bits that samples of 16 are shifted by to have 8.
    white_is_zero : bool
        Whether 0 is white.
    alpha : int
        What TIFF's ExtraSamples says of the transparency; it is none unless one of the two alphas.
    """
    samples = samples[..., None] if samples.ndim == 2 else samples
    if samples.dtype == np.uint16:
        samples = np.minimum(samples >> shift, 255).astype(np.uint8)
    if white_is_zero:
        samples = 255 - samples
    colours = 1 if samples.shape[2] < 3 else 3
    rgb = samples[..., :3] if colours == 3 else np.repeat(samples[..., :1], 3, axis=2)
    opacity = samples[..., colours:]
    if alpha not in (ASSOCIATED_ALPHA, UNASSOCIATED_ALPHA) or opacity.min(initial=255) == 255:
        return np.ascontiguousarray(rgb)
    return over_white(rgb, opacity, premultiplied=alpha == ASSOCIATED_ALPHA)


def over_white(rgb: Any, alpha: Any, *, premultiplied: bool = False) -> Pixels:
    """Lay pixels with transparency, uint8 (h, w, 3) and (h, w, 1), over white."""
    opacity = alpha.astype(np.uint16)
    colour = rgb.astype(np.uint16) * (255 if premultiplied else opacity)
    return np.asarray(np.minimum((colour + (255 - opacity) * 255 + 127) // 255, 255), dtype=np.uint8)
