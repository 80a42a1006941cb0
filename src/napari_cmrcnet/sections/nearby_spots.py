"""Which spots lie around which."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.spatial import cKDTree

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.sections.pixel_size import spots_lattice

if TYPE_CHECKING:
    from napari_cmrcnet.sections.section import Section

REACH = 1.5
"""Times the distance of neighbours within which spots are around: six of a hexagonal array, eight of a square one."""

MOST_PAIRS = 20_000_000  # of spots in one window: 240 MB
_SAMPLE = 500  # spots whose windows are counted to tell how many pairs there are


def spots_around(section: "Section") -> sparse.csr_matrix:
    """Return which spots are around which.

    Parameters
    ----------
    section : Section
        With its spots. One with none around takes the nearest.

    Returns
    -------
    CSR float32 matrix, (n, n)
        Ones where the column's spot is around the row's. A section of a single spot has none.
    """
    return around(section.xy, REACH * spots_lattice(section.spots).pitch)


def around(xy: npt.NDArray[np.float64], distance: float) -> sparse.csr_matrix:
    """Return which spots, centres (n, 2), lie within a distance of which, as `spots_around` does."""
    n = len(xy)
    if n < 2:
        return sparse.csr_matrix((n, n), dtype=np.float32)
    tree = cKDTree(xy)
    pairs = tree.query_pairs(distance, output_type="ndarray")  # (pairs, 2)
    rows, columns = np.concatenate([pairs, pairs[:, ::-1]]).T
    alone = np.setdiff1d(np.arange(n), rows)
    if len(alone):
        # Of two, since the nearest is the spot itself, unless another lies exactly there.
        found = tree.query(xy[alone], k=2)[1]
        nearest = np.where(found[:, 0] == alone, found[:, 1], found[:, 0])
        rows, columns = np.append(rows, alone), np.append(columns, nearest)
    return sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(n, n))


def windows(xy: npt.ArrayLike, reach: float) -> sparse.csr_matrix:
    """Return which spots lie in the window of which, the spot itself too.

    Parameters
    ----------
    xy : (n, 2)
        Spot centres.
    reach : float
        Radius of a window, in the same unit.

    Returns
    -------
    CSR float32 matrix, (n, n)
        Ones where the column's spot is in the row's window.

    Raises
    ------
    UserError
        If so many spots are in a window that it would take too much memory.
    """
    places = np.asarray(xy, np.float64)
    some = places[:: max(1, len(places) // _SAMPLE)]
    inside = cKDTree(places).query_ball_point(some, reach, return_length=True)
    if inside.mean() * len(places) > MOST_PAIRS:
        raise UserError(f"About {int(inside.mean()):,} spots lie in each window; choose a smaller one.")
    return (around(places, reach) + sparse.identity(len(places), np.float32)).tocsr()


def compact_blocks(xy: npt.ArrayLike, size: int) -> list[npt.NDArray[np.int64]]:
    """Divide spots into compact blocks by halving the longer side again and again.

    Parameters
    ----------
    xy : (n, 2)
        Spot centres.
    size : int
        Most spots in a block, 1 or more.

    Returns
    -------
    list of int64 arrays
        Sorted rows; every spot is in one block.
    """
    return _halve(np.asarray(xy, np.float64), np.arange(len(np.asarray(xy))), size)


def _halve(xy: npt.NDArray[np.float64], rows: npt.NDArray[np.int64], size: int) -> list[npt.NDArray[np.int64]]:
    if len(rows) <= size:
        return [np.sort(rows)]
    longer = int(np.argmax(np.ptp(xy[rows], axis=0)))
    ordered = rows[np.argsort(xy[rows, longer], kind="stable")]
    half = len(rows) // 2
    return _halve(xy, ordered[:half], size) + _halve(xy, ordered[half:], size)
