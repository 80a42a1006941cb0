"""Cells and small bins become spots: counts are summed in squares or circles of the size that models are trained on.

A model learns what 55 to 100 µm of tissue express from the 112 µm around. A cell's hundred counts, or a bin's ten, are
noise to it, and a patch for each would show nearly what its neighbour's shows. HEST pools in the same way: Xenium in
squares of 100 µm, Visium HD of 128 µm (Jaume et al. 2024, pseudo-Visium).
"""

import re
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.sections.counts import as_counts
from napari_cmrcnet.sections.formats.origin import Origin

DEFAULT_UM = 55.0  # Visium's spots: the finest that models are usually trained on
SMALL_UM = 30.0  # what lies closer is pooled unless it is asked not to
LARGEST_UM = 1000.0
NONE, VISIUM = "no", "visium"
_TEXT = re.compile(r"(\d+(?:\.\d+)?)(?:/(\d+(?:\.\d+)?))?(?: ?[uµμ]m)?(?: ?(square|hex))?")


@dataclass(frozen=True)
class Pool:
    """The spots that cells or bins are pooled to.

    Parameters
    ----------
    size_um : float
        Side of a square, or diameter of a circle, in µm.
    pitch_um : float
        Distance between neighbouring spots, centre to centre, in µm.
    lattice : "square" or "hex"
        Squares in rows and columns, or circles in Visium's hexagonal array.
    """

    size_um: float
    pitch_um: float
    lattice: Literal["square", "hex"]

    @property
    def area_um2(self) -> float:
        """Of a spot, in µm²."""
        return self.size_um**2 * (1.0 if self.lattice == "square" else np.pi / 4)

    def __str__(self) -> str:
        return f"{self.size_um:g}/{self.pitch_um:g} {self.lattice}"

    @property
    def in_words(self) -> str:
        """Such as ``"squares of 55 µm"``."""
        shape = "squares" if self.lattice == "square" else "circles"
        apart = "" if self.pitch_um == self.size_um else f", {self.pitch_um:g} µm apart"
        return f"{shape} of {self.size_um:g} µm{apart}"


def pooled_from(spots: AnnData) -> str:
    """Return what may be pooled, or was: ``"cell"``, ``"bin"``; ``""`` of spots, and of bins as large as these."""
    about = Origin.of(spots)
    if about.unit == "spot":
        return next((unit for unit in ("cell", "bin") if f"n_{unit}s" in spots.obs), "")
    return "" if about.unit == "bin" and pool_for("", about) is None else about.unit


def pool_for(text: str, about: Origin) -> Pool | None:
    """Return how the spots of a source are to be pooled.

    Parameters
    ----------
    text : str
        ``"no"``; a size in µm (``"100"``: squares, edge to edge); a size and a pitch (``"55/100"``), and their lattice
        (``"55/100 hex"``: circles); ``"visium"``, which is ``"55/100 hex"``. ``""``: cells, and bins of less than
        30 µm, in squares of 55 µm or of the multiple of a bin next to that; other spots not at all.
    about : Origin
        Where the spots come from.

    Raises
    ------
    UserError
        If the text is none of these.
    """
    if text:
        return pool_from(text)
    if about.unit == "cell":
        return Pool(DEFAULT_UM, DEFAULT_UM, "square")
    if about.unit == "bin" and 0 < about.pitch_um < SMALL_UM:
        size = about.pitch_um * max(1, round(DEFAULT_UM / about.pitch_um))
        return Pool(size, size, "square")
    return None


def pool_from(text: str) -> Pool | None:
    """Return the pool that a text says, None for ``"no"`` and ``""``; refuse any other, as `pool_for` does."""
    plain = text.strip().lower()
    if plain in ("", NONE):
        return None
    found = _TEXT.fullmatch("55/100 hex" if plain == VISIUM else plain)
    size = float(found[1]) if found else 0.0
    pitch = float(found[2]) if found and found[2] else size
    if found is None or not 0 < size <= pitch <= LARGEST_UM:
        raise UserError(
            f"{text[:50]!a} does not say how to pool cells or bins; give a size in µm such as 100, a size and a "
            f"distance such as 55/100 hex, {VISIUM}, or {NONE}."
        )
    return Pool(size, pitch, "hex" if found[3] == "hex" else "square")


def pool_spots(spots: AnnData, mpp: float, pool: Pool) -> AnnData:
    """Sum the counts of cells or bins in spots.

    Parameters
    ----------
    spots : AnnData
        As `open_spots` gives them.
    mpp : float
        µm per full-resolution pixel.
    pool : Pool
        The spots that are wanted.

    Returns
    -------
    AnnData
        In the same convention, one row per spot that holds a cell or bin: summed counts; ``obs["n_cells"]`` or
        ``obs["n_bins"]``, how many; ``obs["area_share"]``, what share of the spot's area they cover, where their areas
        are known; the place on the array; the spot's centre in pixels. A cell is of the spot that its centre is in.

    Raises
    ------
    UserError
        If no cell lies in a spot.
    """
    about = Origin.of(spots)
    if about.normalised:
        raise UserError(
            f"{about.path} has no counts, and normalised values of {about.unit}s cannot be summed; store the counts in "
            "layers['counts'], or do not pool."
        )
    um, steps = _in_um(spots, about, mpp)
    row, column, centre, inside = _places(um, pool)
    if not inside.any():
        cells = count_text(len(um), about.unit)
        raise UserError(f"{about.path}: none of its {cells} lies in {pool.in_words}; pool to a larger size.")
    at = (row * (column.max() + 1) + column)[inside]
    _, first, of_place = np.unique(at, return_index=True, return_inverse=True)
    rows, columns, centres = (part[inside][first] for part in (row, column, centre))
    sums = sparse.csr_matrix(
        (np.ones(len(of_place), np.int32), (of_place, np.flatnonzero(inside))), (len(first), len(um)), dtype=np.int32
    )
    number = np.bincount(of_place, minlength=len(first))
    obs = pd.DataFrame({"in_tissue": True, "array_row": rows, "array_col": columns})
    obs[f"n_{about.unit}s"] = number
    area = _areas(spots, about)
    if area is not None:
        obs["area_share"] = np.bincount(of_place, area[inside], len(first)) / pool.area_um2
    obs.index = pd.Index([f"{a:03d}x{b:03d}" for a, b in zip(rows.tolist(), columns.tolist(), strict=True)])
    ((library, entry),) = spots.uns["spatial"].items()
    factors = {**entry["scalefactors"], "spot_diameter_fullres": pool.size_um / mpp}
    counts = None if spots.X is None else as_counts(sums @ spots.X)
    pooled = AnnData(X=counts, obs=obs, var=spots.var if counts is not None else None)
    pooled.obsm["spatial"] = np.column_stack([centres, np.ones(len(centres))]) @ steps
    pooled.uns["spatial"] = {library: {**entry, "scalefactors": factors}}
    replace(
        about,
        unit="spot",
        pitch_um=pool.pitch_um,
        pitch_px=pool.pitch_um / mpp,
        notes=(*about.notes, _note(about, pool, spots, inside, number)),
    ).keep_in(pooled)
    return pooled


def _note(about: Origin, pool: Pool, spots: AnnData, inside: NDArray[np.bool_], number: NDArray[np.int64]) -> str:
    said = (
        f"{len(inside):,} {about.unit}s were pooled to {len(number):,} {pool.in_words}, {np.median(number):g} in each "
        "(median)"
    )
    if spots.X is None or inside.all():
        return f"{said}."
    totals = np.asarray(spots.X.sum(axis=1)).ravel()
    return f"{said}; {100 * totals[inside].sum() / max(1, totals.sum()):.0f} % of the counts lie in these."


def _areas(spots: AnnData, about: Origin) -> NDArray[np.float64] | None:
    """Return the area of each cell or bin in µm²; None where it is not known."""
    if about.unit == "bin" and about.pitch_um:
        return np.full(spots.n_obs, about.pitch_um**2)
    if "cell_area" not in spots.obs:
        return None
    return np.asarray(np.nan_to_num(spots.obs["cell_area"].to_numpy(np.float64)))


def _in_um(spots: AnnData, about: Origin, mpp: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return positions in µm from a corner, (n, 2), and the affine map (3, 2) that takes (x, y, 1) of them to pixels.

    Bins lie on their array, which may be turned on the slide: in its own rows and columns, squares hold whole bins.
    """
    xy = np.asarray(spots.obsm["spatial"], np.float64)
    if about.unit == "bin" and about.pitch_um and {"array_row", "array_col"} <= set(spots.obs.columns):
        array = spots.obs[["array_col", "array_row"]].to_numpy(np.float64)
        um = (array - array.min(axis=0) + 0.5) * about.pitch_um
        steps, _, rank, _ = np.linalg.lstsq(np.column_stack([um, np.ones(len(um))]), xy, rcond=None)
        if rank == 3:
            return um, steps
    corner = xy.min(axis=0)
    return (xy - corner) * mpp, np.vstack([np.eye(2) / mpp, corner])


def _places(
    um: NDArray[np.float64], pool: Pool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return row and column of the nearest spot, its centre in µm, and whether the position lies in it."""
    if pool.lattice == "square":
        place: NDArray[np.int64] = np.floor(um / pool.pitch_um).astype(np.int64)
        middle = ((place + 0.5) * pool.pitch_um).astype(np.float64)
        away = np.abs(um - middle).max(axis=1)
        return place[:, 1], place[:, 0], middle, np.asarray(away <= pool.size_um / 2 * (1 + 1e-9), dtype=np.bool_)
    steps = np.array([pool.pitch_um, pool.pitch_um * np.sqrt(3)])  # of the rows that are not moved by half a pitch
    nearest = [np.round((um - shift) / steps).astype(np.int64) for shift in (0.0, steps / 2)]
    centres = [nearest[0] * steps, nearest[1] * steps + steps / 2]
    even_away, odd_away = (np.sqrt(((um - centre) ** 2).sum(axis=1)) for centre in centres)
    odd = odd_away < even_away
    place = np.where(odd[:, None], nearest[1], nearest[0])
    centre = np.where(odd[:, None], centres[1], centres[0]).astype(np.float64)
    inside = np.asarray(np.minimum(even_away, odd_away) <= pool.size_um / 2, dtype=np.bool_)
    return 2 * place[:, 1] + odd, 2 * place[:, 0] + odd, centre, inside
