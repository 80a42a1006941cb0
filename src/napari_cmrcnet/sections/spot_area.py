"""The area that spots stand for: each one's cell of the lattice, in mm², and the outline of several."""

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import MultiPolygon, Polygon, box

from napari_cmrcnet.sections.regions import polygonal

_NEAR = 2000  # spots among which a whole cell is looked for
_REACH = 1.1  # pitches within which a cell ends that has neighbours all around
_CLOSED = 0.06  # of the pitch: gaps between cells, as positions scatter


def spot_cell(xy: npt.ArrayLike, pitch: float) -> Polygon:
    """Return the cell of a spot at (0, 0), in pixels: what is nearer to it than to any other spot of the lattice.

    It is a hexagon of a hexagonal lattice and a square of a square one, as the lattice lies on the slide.

    Parameters
    ----------
    xy : (n, 2)
        Spot centres (x, y) in pixels.
    pitch : float
        Distance between neighbours.

    Returns
    -------
    Polygon
        Of the spots that have neighbours all around, the cell of median area. Where none has, a square of the pitch.
    """
    points = np.unique(np.asarray(xy, np.float64), axis=0)
    near = points[np.argsort(((points - np.median(points, axis=0)) ** 2).sum(axis=1), kind="stable")[:_NEAR]]
    whole = []
    if len(near) >= 4:
        cells = shapely.get_parts(shapely.voronoi_polygons(shapely.MultiPoint(near), ordered=True))
        for place, cell in zip(near, cells, strict=True):
            corners = np.asarray(cell.exterior.coords) - place
            if np.hypot(*corners.T).max() < _REACH * pitch:
                whole.append(Polygon(corners))
    if not whole:
        return box(-pitch / 2, -pitch / 2, pitch / 2, pitch / 2)
    whole.sort(key=lambda cell: cell.area)
    return whole[len(whole) // 2]


def outline_of(xy: npt.ArrayLike, chosen: npt.NDArray[np.bool_], pitch: float) -> Polygon | MultiPolygon:
    """Return the outline of chosen spots: their cells, joined. It holds their centres and no other spot's.

    Parameters
    ----------
    xy : (n, 2)
        Spot centres (x, y) in full-resolution pixels.
    chosen : bool (n,)
        Which spots.
    pitch : float
        Distance between neighbours, in the same pixels.

    Returns
    -------
    Polygon or MultiPolygon
        In (x, y) full-resolution pixels, empty where no spot is chosen.
    """
    places = np.asarray(xy, np.float64)
    corners = np.asarray(spot_cell(places, pitch).exterior.coords)
    cells = shapely.polygons(places[chosen][:, None, :] + corners)
    gap = _CLOSED * pitch
    joined = shapely.union_all(cells).buffer(gap, join_style="mitre").buffer(-gap, join_style="mitre")
    return polygonal(joined)


def area_mm2(n: int, xy: npt.ArrayLike, pitch: float, mpp: float) -> float:
    """Return the area of n spots in mm²: that of the lattice's cells, so that spots on an edge count as all others.

    Parameters
    ----------
    n : int
        How many.
    xy : (n, 2)
        All spots' centres (x, y) in full-resolution pixels.
    pitch : float
        Distance between neighbours, in the same pixels.
    mpp : float
        µm per full-resolution pixel.
    """
    return float(n * spot_cell(xy, pitch).area * (mpp / 1000) ** 2)
