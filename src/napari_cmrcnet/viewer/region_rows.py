"""The rows of the layer of regions, read back after the user has edited them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cmrcnet.sections.regions import RGB, Region, with_names
from napari_cmrcnet.viewer.region_outline import Outline, area, edited

if TYPE_CHECKING:
    from napari.layers import Shapes


@dataclass(frozen=True, eq=False)
class Row:
    """A region as the layer shows it.

    Parameters
    ----------
    region : Region
        The region.
    data : float64 (corners, 2)
        Its outline, (row, column).
    shape_type : str
        The kind of shape.
    fresh : bool
        Whether it was drawn by hand just now.
    """

    region: Region
    data: Outline
    shape_type: str
    fresh: bool = False


def read_rows(layer: "Shapes", known: Sequence[Row], colours: Mapping[str, RGB | None]) -> list[Row]:
    """Return what the rows of a layer are now: known ones, edited or not, and new ones.

    Parameters
    ----------
    layer : Shapes
        With the features ``name`` and ``classification``.
    known : sequence of Row
        Its rows before.
    colours : mapping of str to colour
        Of the classes, where a file has given them one.
    """
    shapes = [
        (np.asarray(data, np.float64), str(kind)) for data, kind in zip(layer.data, layer.shape_type, strict=True)
    ]
    names, classes = (column(layer.features, name, len(shapes)) for name in ("name", "classification"))
    unclaimed = {row.data.tobytes(): row for row in known}
    rows: list[Row] = []
    for index, (data, shape_type) in enumerate(shapes):
        row = unclaimed.pop(data.tobytes(), None)
        if row is None and len(shapes) == len(known):
            row = _edited(known[index], data, shape_type)
        if row is None:  # drawn or pasted; a pasted one has the name of the one copied
            row = Row(Region("", "", area(data, shape_type)), data, shape_type, fresh=True)
            names[index] = "" if names[index] in names[:index] else names[index]
        rows.append(replace(row, region=_called(row.region, names[index], classes[index], colours)))
    regions = with_names(row.region for row in rows)
    return [replace(row, region=region) for row, region in zip(rows, regions, strict=True)]


def column(features: Any, name: str, n: int) -> list[str]:
    """Return a column of a layer's features as n texts, ``""`` where there is none."""
    values = features[name].tolist() if name in features else [""] * n
    return [value.strip() if isinstance(value, str) else "" for value in values]


def _edited(row: Row, data: Outline, shape_type: str) -> Row:
    """Return a region after its shape has been edited."""
    if shape_type == row.shape_type:
        geometry, data = edited(row.region.geometry, row.data, data, shape_type)
    else:
        geometry = area(data, shape_type)
    return Row(replace(row.region, geometry=geometry), data, shape_type, row.fresh)


def _called(region: Region, name: str, classification: str, colours: Mapping[str, RGB | None]) -> Region:
    if classification == region.classification and region.name:
        return replace(region, name=name)
    return replace(region, name=name, classification=classification, colour=colours.get(classification))
