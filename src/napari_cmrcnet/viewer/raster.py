"""Which spot covers each pixel of a picture: with it, another gene of very many spots is one look-up."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_cmrcnet.viewer.boundary import to_napari

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.case import Case

MOST_PIXELS, LONGEST = 4096**2, 8192  # of a picture: 64 MB, and a side that every graphics card takes
ACROSS = 6  # pixels across a spot, where there is room
HOLE = 0.4  # diameter of the hole in a ring over that of the ring
OFF_GRID = 0.1  # of a step of a grid, how far spots may lie beside it

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Raster:
    """The spot of each pixel.

    Parameters
    ----------
    spots : intp (height, width)
        Its row; ``n`` where there is none.
    n : int
        How many spots there are.
    place : float64 (3, 3)
        Takes (row, column, 1) of a pixel to those of full resolution.
    """

    spots: npt.NDArray[np.intp]
    n: int
    place: Floats

    def fill(self, rgba: npt.NDArray[np.uint8], picture: npt.NDArray[np.uint8]) -> None:
        """Give each pixel of a picture (height, width, 4) the colour of its spot, (n, 4); none where there is none."""
        table = np.append(rgba, np.zeros((1, 4), np.uint8), axis=0).view(np.uint32)[:, 0]
        np.take(table, self.spots, out=picture.view(np.uint32)[..., 0], mode="clip")  # the others copy it once more

    def spot_at(self, row: float, column: float) -> int | None:
        """Return the spot that covers a place of the picture, None beside all."""
        at = (round(row), round(column))
        inside = all(0 <= place < size for place, size in zip(at, self.spots.shape, strict=True))
        spot = int(self.spots[at]) if inside else self.n
        return spot if spot < self.n else None


_KNOWN: "WeakKeyDictionary[Case, tuple[Any, Raster]]" = WeakKeyDictionary()


def raster_of(case: "Case", diameter: float, rings: Bools | None) -> Raster:
    """Return the raster of a case's spots: the same for all its views.

    A grid of bins has a pixel a bin, however it is turned. Other spots are discs, up to `ACROSS` pixels wide.

    Parameters
    ----------
    case : Case
        Whose spots.
    diameter : float
        How large they are drawn, in full-resolution pixels; bins of a grid always touch.
    rings : bool (n,), optional
        Spots that are drawn with a hole.
    """
    asked = (diameter, None if rings is None else rings.tobytes())
    known = _KNOWN.get(case)
    if known is None or known[0] != asked:
        at = to_napari(case.xy)
        known = _KNOWN[case] = (asked, _grid(at, case.spots.obs, rings) or _discs(at, diameter, rings))
    return known[1]


def _grid(at: Floats, obs: pd.DataFrame, rings: Bools | None) -> Raster | None:
    """Return the raster of spots that lie on a square grid by their rows and columns; None of others."""
    if not {"array_row", "array_col"} <= set(obs.columns):
        return None
    numbered = np.column_stack([pd.to_numeric(obs[name], errors="coerce") for name in ("array_row", "array_col")])
    if not np.isfinite(numbered).all():
        return None
    cells = numbered.astype(np.intp) - numbered.min(axis=0).astype(np.intp)
    known = np.column_stack([cells, np.ones(len(cells))])
    steps, _, rank, _ = np.linalg.lstsq(known, at, rcond=None)
    lengths = np.linalg.norm(steps[:2], axis=1)
    shape = cells.max(axis=0) + 1
    hexagonal = len(np.unique(cells.sum(axis=1) % 2)) < 2  # as Visium numbers its array
    if rank < 3 or hexagonal or lengths.max() > 1.2 * lengths.min() or shape.prod() > MOST_PIXELS:
        return None
    if np.abs(known @ steps - at).max() > OFF_GRID * lengths.min():
        return None
    spots = np.full(shape, len(at), np.intp)
    spots[tuple(cells.T)] = np.arange(len(at))
    if np.count_nonzero(spots < len(at)) < len(at):  # two in one place
        return None
    times = 1
    if rings is not None and rings.any() and 9 * spots.size <= MOST_PIXELS:
        times = 3
        spots = spots.repeat(3, axis=0).repeat(3, axis=1)
        spots[tuple(3 * cells[rings].T + 1)] = len(at)
    place = np.eye(3)
    place[:2, :2] = steps[:2].T / times
    place[:2, 2] = steps[2] - place[:2, :2].sum(axis=1) * (times // 2)
    return Raster(spots, len(at), place)


def _discs(at: Floats, diameter: float, rings: Bools | None) -> Raster:
    """Return the raster of spots anywhere; a pixel of two spots is of the nearer one."""
    low = at.min(axis=0)
    extent = at.max(axis=0) - low + diameter
    pixel = max(diameter / ACROSS, extent.max() / LONGEST, float(np.sqrt(extent.prod() / MOST_PIXELS)))
    reach = diameter / 2 / pixel
    margin = int(np.ceil(reach))
    centre = np.rint((at - low) / pixel).astype(np.intp) + margin
    height, width = (centre.max(axis=0) + margin + 1).tolist()
    spots, first = np.full(height * width, len(at), np.intp), centre @ [width, 1]
    rows = np.arange(len(at))
    around = np.argwhere(np.ones((2 * margin + 1, 2 * margin + 1))) - margin
    distances = np.hypot(*around.T)
    for place in np.argsort(-distances, kind="stable"):  # the centres last
        if distances[place] < reach or distances[place] == 0:
            spots[first + around[place] @ [width, 1]] = rows
    if rings is not None:
        for place in np.flatnonzero(distances < HOLE * reach):
            hole = first[rings] + around[place] @ [width, 1]
            spots[hole[spots[hole] == rows[rings]]] = len(at)
    place = np.diag([pixel, pixel, 1.0])
    place[:2, 2] = low - margin * pixel
    return Raster(spots.reshape(height, width), len(at), place)
