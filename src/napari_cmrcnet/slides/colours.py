"""Samples of a slide's pixels, whatever their number and depth, as opaque 8-bit RGB."""

from typing import Any

import numpy as np

from napari_cmrcnet.slides.source import Pixels

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, YCBCR = 0, 1, 2, 6  # TIFF's PhotometricInterpretation
ASSOCIATED_ALPHA, UNASSOCIATED_ALPHA = 1, 2


def is_grey(key: Any) -> bool:
    """Tell whether a TIFF page says that its samples are shades of grey, each of its own."""
    return key.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO)


def to_rgb(samples: Any, key: Any, shift: int = 8) -> Pixels:
    """Turn samples (height, width, 1 to 4), of 8 bits or shifted to so many, into opaque RGB; transparent is white."""
    if samples.dtype == np.uint16:
        samples = np.minimum(samples >> shift, 255).astype(np.uint8)
    if key.photometric == WHITE_IS_ZERO:
        samples = 255 - samples
    colours = 1 if samples.shape[2] < 3 else 3
    alpha = samples[..., colours:] if samples.shape[2] > colours and _has_alpha(key) else None
    rgb = samples[..., :3] if colours == 3 else np.repeat(samples[..., :1], 3, axis=2)
    if alpha is None or alpha.min() == 255:
        return np.ascontiguousarray(rgb)
    return over_white(rgb, alpha, premultiplied=key.extrasamples[0] == ASSOCIATED_ALPHA)


def over_white(rgb: Any, alpha: Any, *, premultiplied: bool = False) -> Pixels:
    """Lay pixels with transparency, uint8 (h, w, 3) and (h, w, 1), over white."""
    opacity = alpha.astype(np.uint16)
    colour = rgb.astype(np.uint16) * (255 if premultiplied else opacity)
    return np.asarray(np.minimum((colour + (255 - opacity) * 255 + 127) // 255, 255), dtype=np.uint8)


def _has_alpha(key: Any) -> bool:
    return bool(key.extrasamples) and key.extrasamples[0] in (ASSOCIATED_ALPHA, UNASSOCIATED_ALPHA)
