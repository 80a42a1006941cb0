"""Glands, fat and vessels of a synthetic section: painted into its compartments, with their cells."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from skimage.measure import find_contours

from napari_cmrcnet.synthetic.genes import CELL_TYPES
from napari_cmrcnet.synthetic.regions import (
    ADIPOSE,
    GLAND,
    GLASS,
    INFLAMED,
    STROMA,
    at,
    scatter,
    smooth_noise,
)

Cells = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]
"""Centres of nuclei (n, 2) in µm, indices into `CELL_TYPES` (n,), directions of the long axis (n,)."""

_ADIPOCYTE_UM = 62.0


def _ring(
    centre: NDArray[np.float64], radius: float, rng: np.random.Generator, side: int
) -> tuple[tuple[slice, slice], NDArray[np.float64]]:
    """Window around a centre, and the distance from it relative to an irregular outline of mean radius `radius`."""
    reach = int(radius * 1.5) + 2
    x0, y0 = (max(int(value) - reach, 0) for value in centre)
    window = (slice(y0, min(y0 + 2 * reach, side)), slice(x0, min(x0 + 2 * reach, side)))
    y, x = np.mgrid[window]
    dx, dy = x - centre[0], y - centre[1]
    around = np.arctan2(dy, dx)
    outline = radius * np.ones_like(around)
    for order, amount in ((2, 0.16), (3, 0.09), (5, 0.04)):
        outline *= 1 + amount * rng.normal() * np.cos(order * around + rng.uniform(0, 2 * np.pi))
    return window, np.hypot(dx, dy) / np.maximum(outline, 1.0)


def _ring_cells(
    relative: NDArray[np.float64], window: tuple[slice, slice], at_radius: float, spacing: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points along the closed line where the relative distance is `at_radius`, and the outward direction."""
    points, directions = [np.zeros((0, 2))], [np.zeros(0)]
    for line in find_contours(relative, at_radius)[:1]:
        steps = np.r_[0, np.cumsum(np.hypot(*np.diff(line, axis=0).T))]
        wanted = np.arange(0, steps[-1], spacing)
        row, column = (np.interp(wanted, steps, line[:, axis]) for axis in (0, 1))
        tangent = np.arctan2(np.gradient(row), np.gradient(column)) if len(row) > 1 else np.zeros(len(row))
        points.append(np.stack([column + window[1].start, row + window[0].start], axis=1))
        directions.append(tangent + np.pi / 2)
    return np.concatenate(points), np.concatenate(directions)


def together(parts: list[Cells]) -> Cells:
    """Join groups of cells."""
    xy, kind, angle = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return xy, kind, angle


def _cells(xy: NDArray[np.float64], kind: str, angle: NDArray[np.float64]) -> Cells:
    return xy, np.full(len(xy), CELL_TYPES.index(kind)), angle


def glands(region: NDArray[np.uint8], compartment: NDArray[np.uint8], rng: np.random.Generator) -> Cells:
    """Paint glands with a lumen into the compartments; return their two rows of epithelium."""
    centres = scatter(rng, len(region), 92.0)
    parts: list[Cells] = [_cells(np.zeros((0, 2)), "epithelial", np.zeros(0))]
    for centre in centres[at(region, centres) == GLAND]:
        radius, lumen = rng.uniform(30, 44), rng.uniform(0.25, 0.5)
        window, relative = _ring(centre, radius, rng, len(region))
        mine = region[window] == GLAND
        compartment[window][mine & (relative < 1)] = GLAND
        compartment[window][mine & (relative < lumen)] = GLASS
        for row, spacing in ((1 - 6 / radius, 5.6), (1 - 13 / radius, 8.0)):
            if row > lumen + 4 / radius:
                xy, outward = _ring_cells(relative, window, row, spacing)
                keep = at(compartment, xy) == GLAND
                xy = xy[keep] + rng.normal(0, 0.9, (int(keep.sum()), 2))
                parts.append(_cells(xy, "epithelial", outward[keep] + rng.normal(0, 0.2, len(xy))))
    return together(parts)


def fat(region: NDArray[np.uint8], compartment: NDArray[np.uint8], rng: np.random.Generator) -> Cells:
    """Paint fat vacuoles (as glass, the membranes stay) and return the adipocytes' flat nuclei."""
    side = len(region)
    centres = scatter(rng, side, _ADIPOCYTE_UM)
    seeds = np.ones((side, side), bool)
    column, row = centres.astype(np.int64).T
    seeds[row, column] = False
    rows, columns = distance_transform_edt(seeds, return_distances=False, return_indices=True)
    owner = rows * side + columns
    border = np.zeros((side, side), bool)
    for axis in (0, 1):
        differs = owner != np.roll(owner, 1, axis)
        border |= differs | np.roll(differs, -1, axis)
    adipose = region == ADIPOSE
    # Blurring the border thickens it where three cells meet, which rounds the vacuoles.
    blurred = gaussian_filter(border.astype(np.float32), 4.0) + 0.012 * smooth_noise(rng, side, 25)
    compartment[adipose & ~border & (blurred < 0.19)] = GLASS
    mine = centres[at(adipose, centres).astype(bool)]
    # The nucleus is pressed to the membrane: from the centre, walk until there.
    angle = rng.uniform(0, 2 * np.pi, len(mine))
    position = mine.copy()
    for _ in range(int(_ADIPOCYTE_UM)):
        inside = ~at(border, position).astype(bool)
        position[inside] += np.stack([np.cos(angle), np.sin(angle)], axis=1)[inside]
    return _cells(position, "adipocyte", angle + np.pi / 2)


def vessels(compartment: NDArray[np.uint8], rng: np.random.Generator) -> tuple[NDArray[np.float64], Cells]:
    """Paint the lumina of small vessels in stroma; return them and their flat endothelium."""
    side = len(compartment)
    centres = scatter(rng, side, 120.0)
    centres = centres[np.isin(at(compartment, centres), (STROMA, INFLAMED))]
    parts: list[Cells] = [_cells(np.zeros((0, 2)), "endothelial", np.zeros(0))]
    lumina = []
    for centre in centres:
        radius = rng.uniform(5, 13)
        window, relative = _ring(centre, radius, rng, side)
        if not np.isin(compartment[window][relative < 1.6], (STROMA, INFLAMED)).all():
            continue
        compartment[window][relative < 0.9] = GLASS
        xy, outward = _ring_cells(relative, window, 1.08, 11.0)
        parts.append(_cells(xy, "endothelial", outward + np.pi / 2))
        lumina.append((*centre, radius))
    return np.array(lumina).reshape(-1, 3), together(parts)
