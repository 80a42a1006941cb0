"""The synthetic tissue before it is drawn: which tissue is where, and its cells, on a grid of 1 µm."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_cmrcnet.synthetic.genes import CELL_TYPES
from napari_cmrcnet.synthetic.regions import (
    IMMUNE,
    INFLAMED,
    MUSCLE,
    NECROSIS,
    STROMA,
    TUMOUR_HIGH,
    TUMOUR_LOW,
    at,
    nests,
    outline,
    regions,
    scatter,
    smooth_noise,
)
from napari_cmrcnet.synthetic.structures import Cells, fat, glands, together, vessels

# Mean distance of nuclei in µm, and the cell types with their weights.
_MIXTURES: dict[int, tuple[float, dict[str, float]]] = {
    STROMA: (27.0, {"fibroblast": 0.8, "t_cell": 0.05, "macrophage": 0.04, "endothelial": 0.11}),
    INFLAMED: (
        14.0,
        {"fibroblast": 0.2, "plasma": 0.36, "macrophage": 0.26, "t_cell": 0.12, "endothelial": 0.06},
    ),
    TUMOUR_HIGH: (13.2, {"tumour_high": 0.93, "t_cell": 0.05, "macrophage": 0.02}),
    TUMOUR_LOW: (10.0, {"tumour_low": 0.97, "t_cell": 0.03}),
    IMMUNE: (6.9, {"t_cell": 0.55, "b_cell": 0.38, "plasma": 0.04, "macrophage": 0.03}),
    NECROSIS: (13.0, {"necrotic": 0.86, "macrophage": 0.14}),
    MUSCLE: (23.0, {"muscle": 0.92, "fibroblast": 0.04, "endothelial": 0.04}),
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


def composition(tissue: Tissue, xy: NDArray[np.float64], reach: float = 25.0) -> NDArray[np.float64]:
    """Return each spot's fractions of cell types.

    Parameters
    ----------
    tissue : Tissue
        The section.
    xy : float64 (n, 2)
        Spot centres in µm.
    reach : float
        Standard deviation in µm of the Gaussian with which a cell's transcripts reach a spot: the capture
        area's half width and the sideways diffusion together.

    Returns
    -------
    float64 (n, T)
        Rows sum to one.
    """
    # An adipocyte takes the room of twenty other cells, and necrotic fragments hold little RNA.
    content = np.array([{"adipocyte": 12.0, "necrotic": 0.7}.get(kind, 1.0) for kind in CELL_TYPES])
    near = cKDTree(xy).sparse_distance_matrix(cKDTree(tissue.xy), 4 * reach, output_type="coo_matrix")
    near.data = np.exp(-(near.data**2) / (2 * reach**2))
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
            if kind in _INFILTRATING and place != IMMUNE:
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
