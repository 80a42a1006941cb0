"""The outline of a region as one shape of napari, and back, with what the user has edited.

napari has no holes, but leaves out an edge that an outline runs along twice: so the outlines of a region, holes and
islands too, are drawn as one, joined by such edges, and come back by even and odd. Long outlines are drawn with fewer
corners.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.affinity import affine_transform
from shapely.geometry import MultiPolygon, Polygon

from napari_cmrcnet.sections.regions import RGB, Region, polygonal, with_names
from napari_cmrcnet.viewer.boundary import from_napari, to_napari

if TYPE_CHECKING:
    from napari.layers import Shapes


ELLIPSE_CORNERS = 64
SAME_PX = 0.05  # napari keeps float32
MOST_DRAWN = 2000  # corners of a region in many parts: the largest parts are drawn

Outline = npt.NDArray[np.float64]


def outline(geometry: Polygon | MultiPolygon, most: int = 500) -> Outline:
    """Return a region's outlines as one, (corners, 2) in (row, column), with as many corners as `most`, or about.

    From each hole, and from each further island, it runs back to where it left the outline before.
    """
    geometry = _simplified(geometry, most)
    pieces: list[Outline] = []
    for polygon in shapely.get_parts(geometry):
        outer = shapely.get_coordinates(polygon.exterior)
        pieces.append(outer)
        for hole in polygon.interiors:
            pieces += [shapely.get_coordinates(hole), outer[:1]]
        pieces.append(pieces[0][:1])
    if not pieces:
        return np.zeros((3, 2))
    path = to_napari(np.concatenate(pieces))
    moves = np.ones(len(path), bool)
    moves[1:] = (path[1:] != path[:-1]).any(axis=1)
    return path[moves][:-1]


def _simplified(geometry: Polygon | MultiPolygon, most: int) -> Polygon | MultiPolygon:
    tolerance, simple = 0.5, geometry
    while shapely.get_num_coordinates(simple) > most and tolerance < 100:
        simple = polygonal(simple.simplify(tolerance))  # of what is left: the first of a million corners takes seconds
        tolerance *= 2
    simple = geometry if simple.is_empty else simple
    parts = sorted(shapely.get_parts(simple), key=shapely.area, reverse=True)
    kept = np.cumsum(shapely.get_num_coordinates(parts)) <= MOST_DRAWN  # napari cannot draw thousands of parts as one
    return simple if kept.all() or not kept.any() else MultiPolygon(parts[: int(kept.sum())])


def area(data: Outline, shape_type: str) -> Polygon | MultiPolygon:
    """Return what a shape encloses; a path is closed, and a line encloses nothing."""
    corners = from_napari(data)
    if shape_type == "ellipse":
        centre, across, down = corners.mean(axis=0), (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
        angle = np.linspace(0, 2 * np.pi, ELLIPSE_CORNERS, endpoint=False)[:, None]
        corners = centre + np.cos(angle) * across + np.sin(angle) * down
    return polygonal(Polygon(corners)) if len(corners) > 2 else Polygon()


def _transform(before: Outline, after: Outline) -> list[float] | None:
    """Return the matrix [a, b, d, e, x, y] that takes one outline to another, None if no matrix does."""
    start, end = from_napari(before), from_napari(after)
    design = np.column_stack([start, np.ones(len(start))])
    solution = np.linalg.lstsq(design, end, rcond=None)[0]
    if np.abs(design @ solution - end).max() > SAME_PX:
        return None
    (a, d), (b, e), (x, y) = solution.tolist()
    return [a, b, d, e, x, y]


def _joined(before: Outline, after: Outline) -> Outline:
    """Move the corners that were one, where an outline meets itself, together."""
    result = after.copy()
    _, group = np.unique(before, axis=0, return_inverse=True)
    group = group.reshape(-1)  # NumPy 2.0 keeps a second axis
    for corner in np.flatnonzero((before != after).any(axis=1)):
        result[group == group[corner]] = after[corner]
    return result


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
    """Return a row after its shape has been edited, with the outline that the shape should have now.

    Moved, turned or stretched as a whole, the exact geometry is so too. Where one of the corners at which the outline
    meets itself was moved, the others go with it.
    """
    same_corners = shape_type == row.shape_type and len(data) == len(row.data)
    transform = _transform(row.data, data) if same_corners else None
    if transform is not None:
        geometry = polygonal(affine_transform(row.region.geometry, transform))
    else:
        data = _joined(row.data, data) if same_corners else data
        geometry = area(data, shape_type)
    return replace(row, region=replace(row.region, geometry=geometry), data=data, shape_type=shape_type)


def _called(region: Region, name: str, classification: str, colours: Mapping[str, RGB | None]) -> Region:
    if classification == region.classification and region.name:
        return replace(region, name=name)
    return replace(region, name=name, classification=classification, colour=colours.get(classification))
