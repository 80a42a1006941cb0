"""Micrometres per pixel: from the user, the data, the spots' lattice or the slide, in that order.

The lattice is measured from the spots' positions and therefore follows them when a slide is exported at another
size, which a number written in a file does not. The diameter of a spot in pixels says nothing: over real Space
Ranger outputs it is 0.60 to 0.70 of the pitch, whatever the nominal 55 µm of 100 µm would make it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.sections.formats.origin import Origin, size_in
from napari_cmrcnet.slides.slide import size_unknown

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_cmrcnet.slides.slide import Slide

SMALLEST_UM, LARGEST_UM = 0.05, 5.0  # no microscope makes smaller pixels, no model sees cells in larger ones
AGREEMENT = 0.05
GIVEN = "the user"
"""The source of a size that was given."""
PITCH_UM = {"Visium": 100.0, "ST": 200.0}  # centre to centre, of the platforms with one lattice only


@dataclass(frozen=True)
class PixelSize:
    """The size of a full-resolution pixel.

    Parameters
    ----------
    um : float
        Side of a pixel in µm.
    source : str
        Where it comes from, in words for a report.
    disagreements : tuple of str
        A sentence for each other source that differs by more than 5 %.
    """

    um: float
    source: str
    disagreements: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lattice:
    """The regular pattern on which the spots lie.

    Parameters
    ----------
    pitch : float
        Distance between neighbouring spots, centre to centre, in full-resolution pixels; NaN for a single spot.
    kind : str
        ``"hexagonal"`` or ``"square"`` where the array's rows and columns show it, else ``""``.
    """

    pitch: float
    kind: Literal["hexagonal", "square", ""]


def pixel_size(spots: "AnnData | None", slide: "Slide | None", given: float | None = None) -> PixelSize:
    """Choose the pixel size and say where it comes from.

    In this order: what the user gives; what the data's publisher measured for this slide (HEST metadata, Visium
    HD); the spots' lattice where its pitch in µm is known; the pixel size written beside the spots; the slide's tag.

    Parameters
    ----------
    spots : AnnData, optional
        Spots as `open_spots` gives them.
    slide : Slide, optional
        The slide.
    given : float, optional
        What the user says, in µm per pixel.

    Raises
    ------
    UserError
        If no source knows it, or the first that does gives an impossible value (outside 0.05 to 5).
    """
    if given is not None:
        _check_possible(float(given), "The given pixel size")
    known = list(sizes_known(spots, slide, given))
    if not known:
        raise size_unknown("the slide", "") if slide is None else size_unknown(slide.path, slide.mpp_note)
    um, source = known[0]
    named = f"{slide.path}: the" if slide is not None else "The"
    _check_possible(um, f"{named} pixel size from {source}")
    disagreements = tuple(
        f"The pixel size is {um:.4g} µm ({source}), but {other:.4g} µm according to {its_source}."
        for other, its_source in known[1:]
        if not abs(other / um - 1) <= AGREEMENT
    )
    return PixelSize(um, source, disagreements)


def sizes_known(spots: "AnnData | None", slide: "Slide | None", given: float | None) -> Iterator[tuple[float, str]]:
    """Yield (µm per pixel, source) of all that know it, best first; as `pixel_size` takes them."""
    if given is not None:
        yield float(given), GIVEN
    if spots is not None:
        about = Origin.of(spots)
        if about.given_mpp:
            yield about.given_mpp, about.given_mpp_source
        if about.pitch_um and about.pitch_px:
            lattice_of = f"{about.platform} lattice" if about.platform else "lattice"
            said = f"the spots' {lattice_of} ({about.pitch_um:g} µm pitch, {about.pitch_px:.4g} px)"
            yield about.pitch_um / about.pitch_px, said
        for library in spots.uns["spatial"].values():
            if stated := size_in(library.get("metadata", {}).get("pixel_size_um")):
                yield stated, "the spots file's pixel_size_um"
    if slide is not None and slide.mpp is not None:
        yield float(slide.mpp), f"the slide's {slide.mpp_source}"


def _check_possible(um: float, what: str) -> None:
    if not SMALLEST_UM <= um <= LARGEST_UM:  # NaN fails too
        raise UserError(
            f"{what} is {um:.4g} µm, which is impossible for a microscope slide ({SMALLEST_UM:g} to "
            f"{LARGEST_UM:g}); give the true one in µm per pixel.",
            setting="pixel size",
        )


def spots_lattice(spots: "AnnData") -> Lattice:
    """Return the `Lattice` of spots, from ``obs["array_row"]`` and ``obs["array_col"]`` where they are."""
    indexed = {"array_row", "array_col"} <= set(spots.obs.columns)
    if not indexed:
        return lattice(spots.obsm["spatial"])
    rows, columns = (pd.to_numeric(spots.obs[name], errors="coerce") for name in ("array_row", "array_col"))
    return lattice(spots.obsm["spatial"], rows, columns)


def lattice(xy: ArrayLike, rows: ArrayLike | None = None, columns: ArrayLike | None = None) -> Lattice:
    """Measure the spots' lattice.

    With array indices, positions are fitted to them by least squares, which averages over all spots and does not
    mind holes. Visium numbers its hexagonal array so that neighbours differ by (0, ±2) or (±1, ±1) in (row,
    column) and row + column is even for all; first-generation arrays are square. Without indices, or where
    they do not explain the positions, it is the median distance between neighbours.

    Parameters
    ----------
    xy : array of float, (n, 2)
        Spot centres (x, y) in full-resolution pixels.
    rows, columns : array of int, (n,), optional
        Position of each spot on its array.
    """
    points = np.asarray(xy, dtype=np.float64)
    if rows is not None and columns is not None:
        fitted = _fitted_lattice(points, np.asarray(rows, np.float64), np.asarray(columns, np.float64))
        if fitted is not None:
            return fitted
    return Lattice(_neighbour_distance(points), "")


def _fitted_lattice(xy: NDArray[np.float64], rows: NDArray[np.float64], columns: NDArray[np.float64]) -> Lattice | None:
    """Return the lattice that array indices explain, or None if they explain none."""
    if not (np.isfinite(rows).all() and np.isfinite(columns).all()):
        return None
    indices = np.column_stack([rows, columns, np.ones(len(rows))])
    steps, _, rank, _ = np.linalg.lstsq(indices, xy, rcond=None)
    if rank < 3:  # all on one line
        return None
    row, column = steps[0], steps[1]  # what one step in the array is in pixels
    one_parity = len(np.unique((rows + columns) % 2)) == 1
    hexagonal = np.linalg.norm([2 * column, row + column, row - column], axis=1)
    square = np.linalg.norm([row, column], axis=1)
    away = np.sqrt(np.mean(np.sum((indices @ steps - xy) ** 2, axis=1)))
    kinds: list[tuple[NDArray[np.float64], Literal["hexagonal", "square"]]] = [(square, "square")]
    if one_parity:
        kinds.insert(0, (hexagonal, "hexagonal"))
    for distances, kind in kinds:
        pitch = float(distances.mean())
        alike = distances.max() < 1.2 * distances.min()  # swapped indices make them differ by 1.7
        if alike and away < 0.25 * pitch:
            return Lattice(pitch, kind)
    return None


def _neighbour_distance(xy: NDArray[np.float64]) -> float:
    """Return the median distance between neighbouring spots.

    The nearest neighbour alone is too near when positions scatter (7 % on real first-generation arrays), so all
    neighbours up to 1.2 times that distance count: less than √2, where the square lattice's next ones are.
    """
    if len(xy) < 2:
        return float("nan")
    step = max(1, len(xy) // 10_000)  # enough for a median
    distances = cKDTree(xy).query(xy[::step], k=min(7, len(xy)))[0][:, 1:]
    nearest = np.median(distances[:, 0])
    # Positions that coincide are placeholders and have no lattice.
    return float(np.median(distances[distances <= 1.2 * nearest])) if nearest > 0 else float("nan")
