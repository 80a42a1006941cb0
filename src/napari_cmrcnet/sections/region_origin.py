"""Positions of QuPath on a slide of which only a part was scanned.

An SCN or MRXS slide may lie in a larger, empty image. OpenSlide says where (its ``bounds`` properties). QuPath shows
that part only, and counts positions from its corner, unless the slide was imported with ``--no-crop`` (qupath/qupath,
OpenslideImageServer; issues 820 and 1278 there). Here the whole image is shown, and positions are counted from its
corner.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import shapely

from napari_cmrcnet.sections.regions import Region
from napari_cmrcnet.slides.source import Bounds

SLACK_PX = 2.0  # an outline drawn along the edge may lie a little beyond it


def from_qupath(
    regions: Sequence[Region], bounds: Bounds | None, whole: bool = False
) -> tuple[tuple[Region, ...], str]:
    """Put regions that QuPath exported where they belong on the whole image.

    Parameters
    ----------
    regions : sequence of Region
        As `read_geojson` returns them.
    bounds : Bounds or None
        The scanned part of the slide; None where that is all of it, and nothing is to be done.
    whole : bool
        Whether QuPath showed the whole image. It decides where the regions would lie on the scanned part either way, or
        neither way.

    Returns
    -------
    tuple of Region, str
        The regions, and a sentence on what was done, empty where there was nothing to do.
    """
    if bounds is None or not regions:
        return tuple(regions), ""
    corner = f"the corner of the scanned part, ({bounds.x}, {bounds.y})"
    fits_part = _within(regions, (0, 0), bounds)
    fits_whole = _within(regions, (bounds.x, bounds.y), bounds)
    if fits_part == fits_whole:
        counted = "the corner of the whole slide" if whole else corner
        note = (
            f"Their positions are taken as counted from {counted}. If they are not where QuPath shows them, remove "
            "them, change “QuPath shows the whole slide”, and import them again."
        )
    else:
        whole = fits_whole
        counted, other = ("the whole slide", "the scanned part") if whole else (corner, "the whole slide")
        note = f"Their positions are counted from {counted}: from {other}, they would lie where nothing is."
    return (tuple(regions) if whole else _moved(regions, bounds.x, bounds.y)), note


def to_qupath(regions: Iterable[Region], bounds: Bounds | None, whole: bool = False) -> tuple[Region, ...]:
    """Give regions the positions that QuPath has for them; the arguments are those of `from_qupath`."""
    x, y = qupath_corner(bounds, whole)
    return _moved(regions, -x, -y) if (x, y) != (0, 0) else tuple(regions)


def qupath_corner(bounds: Bounds | None, whole: bool = False) -> tuple[int, int]:
    """Return where QuPath counts positions from: (x, y) in pixels of the whole image."""
    return (0, 0) if bounds is None or whole else (bounds.x, bounds.y)


def said_of(corner: tuple[int, int]) -> str:
    """Say where written positions are counted from; an empty text where that is the corner of the whole image."""
    where = "Positions are counted from the corner of the scanned part"
    return "" if corner == (0, 0) else f"{where}, {corner}, as QuPath shows this slide."


def _within(regions: Sequence[Region], corner: tuple[int, int], bounds: Bounds) -> bool:
    """Tell whether all regions lie on a rectangle as large as the scanned part."""
    left, top, right, bottom = shapely.total_bounds([region.geometry for region in regions])
    (x, y), (width, height) = corner, (bounds.width, bounds.height)
    inside = left >= x - SLACK_PX and top >= y - SLACK_PX
    return bool(inside and right <= x + width + SLACK_PX and bottom <= y + height + SLACK_PX)


def _moved(regions: Iterable[Region], x: float, y: float) -> tuple[Region, ...]:
    by = np.array([x, y], np.float64)
    return tuple(replace(each, geometry=shapely.transform(each.geometry, lambda xy: xy + by)) for each in regions)
