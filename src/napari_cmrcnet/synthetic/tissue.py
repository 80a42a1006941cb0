"""The synthetic tissue before it is drawn: which tissue is where, and its cells, on a grid of 1 µm."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.spatial import cKDTree

from napari_cmrcnet.synthetic.genes import CELL_TYPES

Field = NDArray[np.float32]


# The tissue of a place, from the middle of the tumour outwards. The last three only lie in others.
Region = IntEnum(
    "Region",
    "GLASS NECROSIS TUMOUR_HIGH IMMUNE TUMOUR_LOW INFLAMED STROMA GLAND MUSCLE ADIPOSE VESSEL BLOOD APICAL",
    start=0,
)
_OUTWARDS = np.repeat(np.arange(1, 10, dtype=np.uint8), [2, 3, 2, 3, 3, 2, 3, 4, 3])  # for a section's 25 seeds

# Of each tissue the ground: eosin, haematoxylin, contrast of its fibres and of its grain. Then the mean distance of its
# nuclei in µm, and how many of 100 cells are of which type.
TISSUES: dict[int, tuple[float, float, float, float, float, dict[str, int]]] = {
    Region.STROMA: (0.42, 0.05, 0.17, 0.16, 27.0, {"fibroblast": 85, "t_cell": 5, "macrophage": 4, "endothelial": 6}),
    Region.INFLAMED: (0.32, 0.08, 0.10, 0.16, 14.0, {"fibroblast": 25, "plasma": 36, "macrophage": 26, "t_cell": 13}),
    Region.TUMOUR_HIGH: (0.30, 0.30, 0.02, 0.16, 13.2, {"tumour_high": 93, "t_cell": 5, "macrophage": 2}),
    Region.TUMOUR_LOW: (0.46, 0.07, 0.02, 0.16, 10.0, {"tumour_low": 97, "t_cell": 3}),
    Region.IMMUNE: (0.20, 0.18, 0.02, 0.16, 6.9, {"t_cell": 55, "b_cell": 38, "plasma": 4, "macrophage": 3}),
    Region.NECROSIS: (0.62, 0.07, 0.05, 0.75, 13.0, {"necrotic": 86, "macrophage": 14}),
    Region.GLAND: (0.44, 0.16, 0.02, 0.16, 7.2, {"epithelial": 100}),
    Region.MUSCLE: (0.72, 0.07, 0.15, 0.16, 23.0, {"muscle": 92, "fibroblast": 4, "endothelial": 4}),
    Region.ADIPOSE: (0.42, 0.08, 0.00, 0.16, 19.0, {"adipocyte": 100}),
    Region.VESSEL: (0.55, 0.08, 0.00, 0.16, 6.0, {"endothelial": 100}),
    Region.APICAL: (0.46, 0.14, 0.02, 0.16, np.inf, {"epithelial": 100}),  # their nuclei lie in the gland's ring
}
_FLAT = [CELL_TYPES.index(kind) for kind in ("fibroblast", "endothelial", "adipocyte", "muscle")]

# An adipocyte takes the room of twenty other cells, and necrotic fragments hold little RNA.
_CONTENT = np.array([{"adipocyte": 12.0, "necrotic": 0.7}.get(kind, 1.0) for kind in CELL_TYPES])
# Standard deviation of the Gaussian with which a cell's transcripts reach a spot: the capture area's half width and the
# sideways diffusion together.
_REACH_UM = 25.0


@dataclass(frozen=True)
class Tissue:
    """A section as a plan.

    Parameters
    ----------
    region : uint8 (side, side)
        The `Region`, as a pathologist would outline it.
    compartment : uint8 (side, side)
        The same, finer: stroma between tumour nests and glands is stroma, lumina and fat vacuoles are glass.
    flow : float32 (side, side)
        A field whose level lines are the fibres and run around glands, vessels and fat cells.
    xy : float64 (n, 2)
        Centres of nuclei in µm.
    kind : int64 (n,)
        Index into `CELL_TYPES`.
    angle : float64 (n,)
        Direction of the long axis in radians.
    """

    region: NDArray[np.uint8]
    compartment: NDArray[np.uint8]
    flow: Field
    xy: NDArray[np.float64]
    kind: NDArray[np.int64]
    angle: NDArray[np.float64]


def smooth_noise(rng: np.random.Generator, side: int, scale: float) -> Field:
    """Return a smooth random field (side, side) of mean 0 and variance about 1 that varies over `scale` µm."""
    coarse = int(np.ceil(side / scale)) + 3
    values = rng.standard_normal((coarse, coarse)).astype(np.float32)
    box = (1.0, 1.0, 1.0 + side / scale, 1.0 + side / scale)
    field = np.asarray(Image.fromarray(values).resize((side, side), Image.Resampling.BICUBIC, box))
    return field * np.float32(1.4)  # interpolation between independent values lowers the variance


def scatter(rng: np.random.Generator, side: int, spacing: float) -> NDArray[np.float64]:
    """Return points (n, 2) at about `spacing` from each other: a hexagonal lattice, shaken."""
    y, x = np.mgrid[0 : side : spacing * np.sqrt(3) / 2, 0:side:spacing]
    x[1::2] += spacing / 2
    points = np.stack([x.ravel(), y.ravel()], axis=1) + rng.normal(0.0, 0.17 * spacing, (x.size, 2))
    return points[((points >= 1) & (points < side - 1)).all(axis=1)]


def at(field: NDArray[Any], xy: NDArray[np.float64]) -> NDArray[Any]:
    """Return the field's values at points given as (x, y) in µm."""
    column, row = np.clip(xy.astype(np.int64), 0, len(field) - 1).T
    values: NDArray[Any] = field[row, column]
    return values


def nearest(side: int, xy: NDArray[np.float64]) -> tuple[Field, NDArray[np.int64]]:
    """Return of each place (side, side) the distance in µm to the nearest of some points, and which one it is."""
    column, row = xy.astype(np.int64).T
    point = np.full((side, side), -1)
    point[row, column] = np.arange(len(xy))
    distance, place = distance_transform_edt(point < 0, return_indices=True)
    return distance.astype(np.float32), point[tuple(place)]


def borders(owner: NDArray[np.int64], width: float) -> Field:
    """Return soft lines, `width` µm wide, where the owner of a place changes."""
    border = (owner != np.roll(owner, 1, 0)) | (owner != np.roll(owner, 1, 1))
    return np.asarray(gaussian_filter(border.astype(np.float32), width))


def make_tissue(side: int, rng: np.random.Generator) -> Tissue:
    """Plan a section of `side` × `side` µm.

    Every section has every region, necrosis and high-grade tumour in the middle, then low-grade tumour and
    the immune reaction, stroma, and normal tissue outside.
    """

    def noise(scale: float, amount: float = 1.0) -> Field:
        return smooth_noise(rng, side, scale) * np.float32(amount)

    def away(spacing: float, uneven: float, ragged: float) -> Field:
        """Distance to the nearest of some centres, as if those were not quite round and of several sizes."""
        return nearest(side, scatter(rng, side, spacing))[0] * (1 + noise(90, uneven)) + noise(18, ragged)

    region = _regions(side, rng)
    compartment = region.copy()
    compartment[(region == Region.TUMOUR_HIGH) & (np.abs(noise(95) + noise(20, 0.1)) < 0.11)] = Region.STROMA
    compartment[(region == Region.TUMOUR_LOW) & (noise(42) + noise(12, 0.15) < -0.25)] = Region.STROMA
    compartment[(compartment == Region.TUMOUR_LOW) & (noise(21) > 1.6)] = Region.GLASS  # tubules' lumina
    compartment[region == Region.GLAND] = Region.STROMA  # before glands are set into it

    y, x = np.mgrid[:side, :side].astype(np.float32)
    direction = rng.uniform(0, np.pi)
    flow = np.float32(np.cos(direction)) * x + np.float32(np.sin(direction)) * y + noise(170, 38) + noise(45, 7)
    gland, vessel = away(92.0, 0.15, 1.6), away(120.0, 0.2, 0.8)
    # Blurring the border thickens it where three cells meet, which rounds the vacuoles.
    membrane = borders(nearest(side, scatter(rng, side, 62.0))[1], 3.0) + noise(25, 0.005)
    in_gland, in_fat = region == Region.GLAND, region == Region.ADIPOSE
    in_stroma = np.isin(region, (Region.STROMA, Region.INFLAMED, Region.GLAND))
    for where, field, place in (
        (in_stroma & (vessel < 11), vessel, Region.VESSEL),
        (in_stroma & (vessel < 8), vessel, Region.BLOOD),
        (in_gland & (gland < 38), gland, Region.GLAND),
        (in_gland & (gland < 22), gland, Region.APICAL),  # cytoplasm, without nuclei
        (in_gland & (gland < 16), gland, Region.GLASS),
        (in_fat, membrane, Region.ADIPOSE),
        (in_fat & (membrane < 0.10), membrane, Region.GLASS),
    ):
        compartment[where] = place
        flow[where] = field[where]
    return Tissue(region, compartment, flow, *_cells(compartment, flow, rng))


def _regions(side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Nearest of 25 shaken seeds in a warped plane; glass around a square with round corners and a ragged edge."""
    step = side / 5
    seeds = (np.mgrid[:5, :5].reshape(2, -1).T + 0.5 + rng.uniform(-0.28, 0.28, (25, 2))) * step
    middle = rng.uniform(0.35, 0.65, 2) * side
    order = np.argsort(np.hypot(*(seeds - middle).T) + rng.normal(0, 0.45 * step, 25))
    region = _OUTWARDS[nearest(side, seeds[order])[1]]
    warped = np.mgrid[:side, :side].astype(np.float32)
    for axis in warped:
        for scale, amount in ((0.5, 0.13), (0.2, 0.05), (0.06, 0.018)):
            axis += amount * step * smooth_noise(rng, side, scale * step)
    row, column = np.clip(warped, 0, side - 1).astype(np.int64)
    u = np.linspace(-1, 1, side, dtype=np.float32) ** 4
    edge = 0.93 + 0.025 * smooth_noise(rng, side, side / 6) + 0.006 * smooth_noise(rng, side, side / 40)
    return np.where((u + u[:, None]) ** 0.25 < edge, region[row, column], np.uint8(Region.GLASS))


def _cells(
    compartment: NDArray[np.uint8], flow: Field, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Nuclei of each compartment by its mixture, along or across the flow: centres, kinds and angles."""
    side = len(compartment)
    infiltration, follicle = smooth_noise(rng, side, 150), smooth_noise(rng, side, 110)
    places, kinds = [], []
    for place, (*_, spacing, mixture) in TISSUES.items():
        points = scatter(rng, side, spacing)
        points = points[at(compartment, points) == place]
        weights = np.tile(np.array(list(mixture.values()), np.float64), (len(points), 1))
        for column, kind in enumerate(mixture):
            if kind in ("t_cell", "plasma", "macrophage") and place != Region.IMMUNE:
                weights[:, column] *= np.exp(0.7 * at(infiltration, points))
            if kind == "b_cell":  # follicles: pale middles of B cells in a ring of T cells
                weights[:, column] *= np.exp(3.0 * at(follicle, points))
        # The largest of log weights with Gumbel noise is a draw by the weights.
        drawn = (np.log(weights) + rng.gumbel(size=weights.shape)).argmax(axis=1)
        places.append(points)
        kinds.append(np.array([CELL_TYPES.index(kind) for kind in mixture])[drawn])
    xy, which = np.concatenate(places), np.concatenate(kinds)
    down, right = (at(np.asarray(slope), xy) for slope in np.gradient(flow))
    across = np.arctan2(down, right) + rng.normal(0, 0.2, len(xy))
    angle = np.where(np.isin(which, _FLAT), across + np.pi / 2, rng.uniform(0, np.pi, len(xy)))
    return xy, which, np.where(which == CELL_TYPES.index("epithelial"), across, angle)


def composition(tissue: Tissue, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the fractions of cell types (n, T) of spots at (n, 2) µm; rows sum to one."""
    near = cKDTree(xy).sparse_distance_matrix(cKDTree(tissue.xy), 4 * _REACH_UM, output_type="coo_matrix")
    near.data = np.exp(-(near.data**2) / (2 * _REACH_UM**2))
    weights: NDArray[np.float64] = near.tocsr() @ (np.eye(len(CELL_TYPES))[tissue.kind] * _CONTENT)
    weights += 1e-9  # a spot without any cell in reach expresses a little of everything
    fractions: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return fractions
