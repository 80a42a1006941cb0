"""Regions: named outlines on the slide."""

import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import MultiPolygon, Polygon

RGB = tuple[int, int, int]

CLASSES: dict[str, RGB] = {
    "Tumour": (200, 0, 0),
    "Stroma": (0, 180, 120),
    "Necrosis": (40, 40, 40),
    "Immune cells": (0, 100, 210),
    "Other": (225, 125, 0),
}
"""The classes that are suggested first, with their colours: not those of H&E, and told apart by colour-blind eyes."""

_UNCLASSIFIED: RGB = (250, 240, 90)
_MORE: tuple[RGB, ...] = (
    (0, 158, 160), (150, 150, 0), (210, 70, 160), (120, 80, 60), (255, 127, 14), (90, 60, 190), (60, 180, 60),
)  # fmt: skip


@dataclass(frozen=True)
class Region:
    """An outline on the slide.

    Parameters
    ----------
    name : str
        What the user calls it.
    classification : str
        Its class, such as ``"Tumour"`` or QuPath's ``"Tumor: Positive"``; ``""`` where it has none.
    geometry : Polygon or MultiPolygon
        Valid, with its holes, in (x, y) full-resolution pixels; empty for a shape without an area.
    colour : (int, int, int) or None
        Red, green and blue of the class, 0 to 255, as QuPath has it.
    """

    name: str
    classification: str
    geometry: Polygon | MultiPolygon
    colour: RGB | None = None

    @property
    def shown_colour(self) -> RGB:
        """Its own colour, or that of its class."""
        return self.colour if self.colour is not None else class_colour(self.classification)

    def contains(self, xy: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Return which spots belong to it: those whose centre is inside and not in a hole.

        Parameters
        ----------
        xy : (n, 2)
            Spot centres (x, y) in full-resolution pixels.

        Returns
        -------
        bool (n,)
        """
        x, y = np.asarray(xy, np.float64).T
        shapely.prepare(self.geometry)
        inside: npt.NDArray[np.bool_] = shapely.contains_xy(self.geometry, x, y)
        return inside


def class_colour(classification: str) -> RGB:
    """Return the colour of a class: of the suggested ones their own, of any other always the same."""
    if not classification:
        return _UNCLASSIFIED
    known = {name.casefold(): colour for name, colour in CLASSES.items()} | {"tumor": CLASSES["Tumour"]}
    name = classification.partition(":")[0].strip().casefold()
    return known.get(name, _MORE[zlib.crc32(classification.encode()) % len(_MORE)])


def with_names(regions: Iterable[Region]) -> tuple[Region, ...]:
    """Give the regions without a name one, such as "Tumour 2", which no other has."""
    given = tuple(regions)
    taken = {region.name for region in given}
    named, numbers = [], Counter[str]()
    for region in given:
        stem = region.classification or "Region"
        while not region.name:
            numbers[stem] += 1
            if f"{stem} {numbers[stem]}" not in taken:
                region = replace(region, name=f"{stem} {numbers[stem]}")
        named.append(region)
    return tuple(named)


def polygonal(geometry: Any) -> Polygon | MultiPolygon:
    """Return what has an area of a geometry, made valid: all that an outline which crosses itself goes around."""
    if not geometry.is_valid:
        geometry = shapely.make_valid(geometry, method="structure", keep_collapsed=False)
    parts = shapely.get_parts(shapely.get_parts(geometry))
    parts = [part for part in parts if part.geom_type == "Polygon" and part.area > 0]
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)
