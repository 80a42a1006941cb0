"""The synthetic tissue before it is drawn: which tissue is where, and its cells, on a grid of 1 µm."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.spatial import cKDTree
from skimage.measure import find_contours

from napari_cmrcnet.synthetic.genes import CELL_TYPES
from napari_cmrcnet.synthetic.regions import Region, at, nests, outline, regions, scatter, smooth_noise

Cells = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]
"""Centres of nuclei (n, 2) in µm, indices into `CELL_TYPES` (n,), directions of the long axis (n,)."""

_ADIPOCYTE_UM = 62.0
# Standard deviation of the Gaussian with which a cell's transcripts reach a spot: the capture area's half width and the
# sideways diffusion together.
_REACH_UM = 25.0

# Mean distance of nuclei in µm, and the cell types with their weights.
_MIXTURES: dict[int, tuple[float, dict[str, float]]] = {
    Region.STROMA: (27.0, {"fibroblast": 0.8, "t_cell": 0.05, "macrophage": 0.04, "endothelial": 0.11}),
    Region.INFLAMED: (
        14.0,
        {"fibroblast": 0.2, "plasma": 0.36, "macrophage": 0.26, "t_cell": 0.12, "endothelial": 0.06},
    ),
    Region.TUMOUR_HIGH: (13.2, {"tumour_high": 0.93, "t_cell": 0.05, "macrophage": 0.02}),
    Region.TUMOUR_LOW: (10.0, {"tumour_low": 0.97, "t_cell": 0.03}),
    Region.IMMUNE: (6.9, {"t_cell": 0.55, "b_cell": 0.38, "plasma": 0.04, "macrophage": 0.03}),
    Region.NECROSIS: (13.0, {"necrotic": 0.86, "macrophage": 0.14}),
    Region.MUSCLE: (23.0, {"muscle": 0.92, "fibroblast": 0.04, "endothelial": 0.04}),
}
_INFILTRATING = ("t_cell", "plasma", "macrophage")


@dataclass(frozen=True)
class Tissue:
    """A section as a plan.

    Parameters
    ----------
    region : uint8 (side, side)
        Index into `REGIONS`, as a pathologist would outline it; 0 outside the tissue.
    compartment : uint8 (side, side)
        The same, finer: stroma between tumour nests and glands is stroma, lumina and fat vacuoles are glass.
    xy : float64 (n, 2)
        Centres of nuclei in µm.
    kind : int64 (n,)
        Index into `CELL_TYPES`.
    angle : float64 (n,)
        Direction of the long axis in radians.
    flow : float32 (side, side)
        A field whose level lines are the fibres.
    vessels : float64 (v, 3)
        x, y and radius in µm of the vessels' lumina.
    """

    region: NDArray[np.uint8]
    compartment: NDArray[np.uint8]
    xy: NDArray[np.float64]
    kind: NDArray[np.int64]
    angle: NDArray[np.float64]
    flow: NDArray[np.float32]
    vessels: NDArray[np.float64]


def make_tissue(side: int, rng: np.random.Generator) -> Tissue:
    """Plan a section of `side` × `side` µm.

    Every section has every region, necrosis and high-grade tumour in the middle, then low-grade tumour and
    the immune reaction, stroma, and normal tissue outside.
    """
    region = outline(side, rng) * regions(side, rng)
    compartment = nests(region, rng)
    direction = rng.uniform(0, np.pi)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    flow = np.float32(np.cos(direction)) * x + np.float32(np.sin(direction)) * y
    flow += 38 * smooth_noise(rng, side, 170) + 7 * smooth_noise(rng, side, 45)
    epithelium = glands(region, compartment, rng)
    adipocytes = fat(region, compartment, rng)
    lumina, endothelium = vessels(compartment, rng)
    scattered = _scattered_cells(compartment, flow, rng)  # last: cells avoid what was painted before
    xy, kind, angle = together([epithelium, adipocytes, endothelium, scattered])
    return Tissue(region, compartment, xy, kind, angle, flow, lumina)


def composition(tissue: Tissue, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each spot's fractions of cell types.

    Parameters
    ----------
    tissue : Tissue
        The section.
    xy : float64 (n, 2)
        Spot centres in µm.

    Returns
    -------
    float64 (n, T)
        Rows sum to one.
    """
    # An adipocyte takes the room of twenty other cells, and necrotic fragments hold little RNA.
    content = np.array([{"adipocyte": 12.0, "necrotic": 0.7}.get(kind, 1.0) for kind in CELL_TYPES])
    near = cKDTree(xy).sparse_distance_matrix(cKDTree(tissue.xy), 4 * _REACH_UM, output_type="coo_matrix")
    near.data = np.exp(-(near.data**2) / (2 * _REACH_UM**2))
    weights: NDArray[np.float64] = near.tocsr() @ (np.eye(len(CELL_TYPES))[tissue.kind] * content)
    weights += 1e-9  # a spot without any cell in reach expresses a little of everything
    fractions: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return fractions


def _scattered_cells(compartment: NDArray[np.uint8], flow: NDArray[np.float32], rng: np.random.Generator) -> Cells:
    """Nuclei of each compartment by its mixture; some areas are more infiltrated than others."""
    side = len(compartment)
    infiltration = smooth_noise(rng, side, 150)
    follicle = smooth_noise(rng, side, 110)
    gradient_y, gradient_x = (np.asarray(slope) for slope in np.gradient(flow))
    parts: list[Cells] = []
    for place, (spacing, mixture) in _MIXTURES.items():
        points = scatter(rng, side, spacing)
        points = points[at(compartment, points) == place]
        if not len(points):
            continue
        weights = np.tile(np.fromiter(mixture.values(), float), (len(points), 1))
        for column, kind in enumerate(mixture):
            if kind in _INFILTRATING and place != Region.IMMUNE:
                weights[:, column] *= np.exp(0.7 * at(infiltration, points))
            if kind == "b_cell":  # follicles: pale middles of B cells in a ring of T cells
                weights[:, column] *= np.exp(3.0 * at(follicle, points))
        cumulated = np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True)
        choice = (rng.random((len(points), 1)) > cumulated).sum(axis=1).clip(max=len(mixture) - 1)
        kinds = np.array([CELL_TYPES.index(kind) for kind in mixture])[choice]
        along = np.arctan2(at(gradient_y, points), at(gradient_x, points)) + np.pi / 2
        spindle = np.isin(kinds, [CELL_TYPES.index(k) for k in ("fibroblast", "endothelial", "muscle")])
        angle = np.where(spindle, along + rng.normal(0, 0.2, len(points)), rng.uniform(0, np.pi, len(points)))
        parts.append((points, kinds, angle))
    return together(parts)


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
    for centre in centres[at(region, centres) == Region.GLAND]:
        radius, lumen = rng.uniform(30, 44), rng.uniform(0.25, 0.5)
        window, relative = _ring(centre, radius, rng, len(region))
        mine = region[window] == Region.GLAND
        compartment[window][mine & (relative < 1)] = Region.GLAND
        compartment[window][mine & (relative < lumen)] = Region.GLASS
        for row, spacing in ((1 - 6 / radius, 5.6), (1 - 13 / radius, 8.0)):
            if row > lumen + 4 / radius:
                xy, outward = _ring_cells(relative, window, row, spacing)
                keep = at(compartment, xy) == Region.GLAND
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
    adipose = region == Region.ADIPOSE
    # Blurring the border thickens it where three cells meet, which rounds the vacuoles.
    blurred = gaussian_filter(border.astype(np.float32), 4.0) + 0.012 * smooth_noise(rng, side, 25)
    compartment[adipose & ~border & (blurred < 0.19)] = Region.GLASS
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
    centres = centres[np.isin(at(compartment, centres), (Region.STROMA, Region.INFLAMED))]
    parts: list[Cells] = [_cells(np.zeros((0, 2)), "endothelial", np.zeros(0))]
    lumina = []
    for centre in centres:
        radius = rng.uniform(5, 13)
        window, relative = _ring(centre, radius, rng, side)
        if not np.isin(compartment[window][relative < 1.6], (Region.STROMA, Region.INFLAMED)).all():
            continue
        compartment[window][relative < 0.9] = Region.GLASS
        xy, outward = _ring_cells(relative, window, 1.08, 11.0)
        parts.append(_cells(xy, "endothelial", outward + np.pi / 2))
        lumina.append((*centre, radius))
    return np.array(lumina).reshape(-1, 3), together(parts)
