"""The synthetic tissue drawn as haematoxylin and eosin.

Amounts of the two stains are painted first; light is absorbed by the Beer–Lambert law, with stain vectors
that differ a little from section to section as they do from laboratory to laboratory.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates
from scipy.special import expit

from napari_cmrcnet.synthetic.genes import CELL_TYPES
from napari_cmrcnet.synthetic.regions import Region, smooth_noise
from napari_cmrcnet.synthetic.tissue import Tissue

Field = NDArray[np.float32]

MPP = 0.5  # the full resolution of a synthetic slide, µm per pixel

# Optical density of a unit of stain in red, green and blue (Macenko et al. 2009, the usual reference).
_HAEMATOXYLIN = np.array([0.5626, 0.7201, 0.4062])
_EOSIN = np.array([0.2159, 0.8012, 0.5581])

# Ground of each compartment: eosin, haematoxylin, contrast of its fibres.
_GROUND = {
    Region.STROMA: (0.42, 0.05, 0.17),
    Region.INFLAMED: (0.32, 0.08, 0.10),
    Region.TUMOUR_HIGH: (0.30, 0.30, 0.02),
    Region.TUMOUR_LOW: (0.46, 0.07, 0.02),
    Region.IMMUNE: (0.20, 0.18, 0.02),
    Region.NECROSIS: (0.62, 0.07, 0.05),
    Region.GLAND: (0.44, 0.16, 0.02),
    Region.MUSCLE: (0.72, 0.07, 0.15),
    Region.ADIPOSE: (0.42, 0.08, 0.00),
}
# Cytoplasm of cells that show one: radius in µm, eosin, haematoxylin.
_CYTOPLASM = {
    "tumour_high": (11.0, 0.34, 0.33),
    "tumour_low": (8.0, 0.50, 0.07),
    "epithelial": (8.0, 0.48, 0.16),
    "plasma": (6.5, 0.34, 0.42),
    "macrophage": (9.0, 0.24, 0.06),
}

# Nucleus of a cell type: length and width in µm; standard deviation of the size, relative; irregularity of the outline,
# relative to the radius; haematoxylin in the middle; contrast of the chromatin's clumps; how much darker the membrane
# is than the middle; probability of a visible nucleolus.
_NUCLEI = {
    "tumour_high": (11.2, 9.4, 0.17, 0.06, 1.00, 0.20, 0.35, 0.9),
    "tumour_low": (7.6, 6.6, 0.07, 0.03, 0.90, 0.15, 0.25, 0.1),
    "epithelial": (8.6, 5.4, 0.08, 0.03, 1.15, 0.15, 0.20, 0.1),
    "fibroblast": (15.0, 3.2, 0.22, 0.06, 1.10, 0.12, 0.10, 0.0),
    "t_cell": (5.9, 5.5, 0.06, 0.03, 1.65, 0.12, 0.05, 0.0),
    "b_cell": (7.2, 6.5, 0.08, 0.04, 1.05, 0.20, 0.40, 0.4),
    "plasma": (6.3, 5.9, 0.06, 0.03, 1.40, 0.45, 0.25, 0.0),
    "macrophage": (8.6, 5.6, 0.12, 0.10, 0.85, 0.18, 0.25, 0.2),
    "endothelial": (10.5, 2.8, 0.15, 0.05, 1.20, 0.10, 0.10, 0.0),
    "adipocyte": (9.0, 2.6, 0.12, 0.04, 1.20, 0.10, 0.10, 0.0),
    "muscle": (19.0, 3.6, 0.15, 0.03, 0.85, 0.12, 0.15, 0.0),
    "necrotic": (3.2, 2.6, 0.45, 0.15, 1.45, 0.10, 0.00, 0.0),
}
_SHAPES, _ANGLES = 10, 16  # nuclei that are drawn of each type, in each of so many directions


def render(tissue: Tissue, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a section.

    Parameters
    ----------
    tissue : Tissue
        The plan, on a grid of 1 µm.
    rng : numpy.random.Generator
        Source of chance, also of the section's stain and scanner.

    Returns
    -------
    uint8 (2 side, 2 side, 3)
        RGB at `MPP` µm per pixel.
    """
    eosin, haematoxylin = _ground(tissue, rng)
    _paint_cytoplasm(tissue, eosin, haematoxylin, rng)
    solid = gaussian_filter((tissue.compartment != Region.GLASS).astype(np.float32), 0.7)
    eosin *= solid
    haematoxylin *= solid
    _paint_blood(tissue, eosin, rng)
    side = round(len(eosin) / MPP)
    full_eosin, full_haematoxylin = (
        np.array(Image.fromarray(stain).resize((side, side), Image.Resampling.BICUBIC))
        for stain in (eosin, haematoxylin)
    )
    _lay_nuclei(full_haematoxylin, full_eosin, tissue, rng)
    thickness = np.exp(0.05 * smooth_noise(rng, side, side / 9))
    return _stain(full_haematoxylin * thickness, full_eosin * thickness, rng)


def _fibres(tissue: Tissue, rng: np.random.Generator, thin: float, long: float) -> Field:
    """Noise of variance 1, drawn out along the level lines of the tissue's flow."""
    tile = gaussian_filter(rng.standard_normal((1024, 1024)).astype(np.float32), (thin, long), mode="wrap")
    tile /= tile.std()
    side = len(tissue.flow)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    # Any second coordinate that is not the flow itself will do along the fibres.
    along = (y - x) * np.float32(0.7) + 20 * smooth_noise(rng, side, 130)
    return np.asarray(map_coordinates(tile, [tissue.flow, along], order=1, mode="grid-wrap"))


def _ground(tissue: Tissue, rng: np.random.Generator) -> tuple[Field, Field]:
    """Eosin and haematoxylin of what lies between the cells, on the grid of 1 µm."""
    table = np.zeros((3, len(_GROUND) + 1), np.float32)
    for place, values in _GROUND.items():
        table[:, place] = values
    eosin, haematoxylin, contrast = table[:, tissue.compartment]
    side = len(eosin)
    coarse, fine = _fibres(tissue, rng, 3.0, 28.0), _fibres(tissue, rng, 1.0, 12.0)
    eosin += contrast * (0.75 * coarse + 0.55 * fine)
    clefts = _fibres(tissue, rng, 2.2, 14.0) > 1.75  # collagen bundles part when the section is cut
    cleft = clefts & np.isin(tissue.compartment, (Region.STROMA, Region.MUSCLE))
    eosin *= 1 - 0.85 * gaussian_filter(cleft.astype(np.float32), 0.8)
    grain = gaussian_filter(rng.standard_normal((side, side)).astype(np.float32), 1.3) * 4.6
    granular = np.isin(tissue.compartment, (Region.NECROSIS,)) * np.float32(0.13) + np.float32(0.035)
    eosin += granular * grain * (tissue.compartment != Region.GLASS)
    eosin *= 1 + 0.08 * smooth_noise(rng, side, 60)
    return np.clip(eosin, 0, None), haematoxylin


def _paint_cytoplasm(tissue: Tissue, eosin: Field, haematoxylin: Field, rng: np.random.Generator) -> None:
    """Give each cell that shows one its cytoplasm: all points nearer to it than to any other, up to a radius."""
    table = np.zeros((3, len(CELL_TYPES)), np.float32)
    for name, values in _CYTOPLASM.items():
        table[:, CELL_TYPES.index(name)] = values
    shown = np.flatnonzero(table[0, tissue.kind])
    column, row = tissue.xy[shown].astype(np.int64).T
    centre = np.full(eosin.shape, -1, np.int32)
    centre[row, column] = np.arange(len(shown))
    distance, nearest = distance_transform_edt(centre < 0, return_indices=True)
    owner = centre[tuple(nearest)]
    radius, own_eosin, own_haematoxylin = table[:, tissue.kind[shown]]
    shade = np.exp(rng.normal(0, 0.12, len(shown))).astype(np.float32)
    cover = expit((radius[owner] - distance.astype(np.float32)) / 0.8)
    border = np.zeros(eosin.shape, bool)
    for axis in (0, 1):
        border |= owner != np.roll(owner, 1, axis)
    pale = 1 - 0.30 * gaussian_filter(border.astype(np.float32), 0.6)
    eosin += cover * ((own_eosin * shade)[owner] * pale - eosin)
    haematoxylin += cover * ((own_haematoxylin * shade)[owner] * pale - haematoxylin)


def _paint_blood(tissue: Tissue, eosin: Field, rng: np.random.Generator) -> None:
    """Red cells, bright discs of 6.5 µm, in the vessels that are not empty."""
    y, x = np.mgrid[-4:5, -4:5]
    disc = expit((3.1 - np.hypot(x, y)) / 0.35).astype(np.float32)
    for centre_x, centre_y, radius in tissue.vessels[rng.random(len(tissue.vessels)) < 0.75]:
        for _ in range(int(0.045 * np.pi * radius**2 * rng.uniform(0.3, 0.9))):
            distance, angle = radius * 0.6 * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
            column = int(centre_x + distance * np.cos(angle)) - 4
            row = int(centre_y + distance * np.sin(angle)) - 4
            window = (slice(max(row, 0), row + 9), slice(max(column, 0), column + 9))
            part = eosin[window]
            np.maximum(part, 0.95 * disc[: part.shape[0], : part.shape[1]], out=part)


def _nucleus(kind: str, angle: float, rng: np.random.Generator) -> list[tuple[Field, Field]]:
    """Draw several nuclei of a cell type in one direction: of each its opacity and its haematoxylin, both (s, s)."""
    length, width, spread, ragged, middle, chromatin, rim, nucleolus = _NUCLEI[kind]
    drawn = []
    for size in np.exp(spread * rng.standard_normal(_SHAPES)):
        half = int(np.ceil(length * size * 0.65 / MPP)) + 2
        y, x = np.mgrid[-half : half + 1, -half : half + 1] * MPP
        u = x * np.cos(angle) + y * np.sin(angle)
        v = y * np.cos(angle) - x * np.sin(angle)
        around = np.arctan2(v / width, u / length)
        outline = np.ones_like(around)
        for order in (2, 3, 4):
            outline += ragged * rng.normal() * np.cos(order * around + rng.uniform(0, 2 * np.pi))
        a, b = length * size / 2, width * size / 2
        radius = np.hypot(u / a, v / b) / outline
        inwards = (1 - radius) * min(a, b)  # about the distance to the membrane in µm
        clumps = gaussian_filter(rng.standard_normal(x.shape), 0.55 / MPP)
        clumps /= clumps.std() + 1e-9
        density = middle * (1 + chromatin * clumps + rim * np.exp(-((inwards / 0.7) ** 2)))
        if rng.random() < nucleolus:
            du, dv = rng.normal(0, 0.2, 2) * (a, b)
            density += 0.8 * middle * np.exp(-((u - du) ** 2 + (v - dv) ** 2) / (2 * 0.65**2))
        drawn.append((expit(inwards / 0.22).astype(np.float32), np.clip(density, 0.2, 2.6).astype(np.float32)))
    return drawn


def _lay_nuclei(haematoxylin: Field, eosin: Field, tissue: Tissue, rng: np.random.Generator) -> None:
    """Lay the cells' nuclei over the two stains at full resolution, in place; those that would cross the edge not."""
    drawn = [[_nucleus(kind, np.pi * turn / _ANGLES, rng) for turn in range(_ANGLES)] for kind in CELL_TYPES]
    directions = np.round(tissue.angle / np.pi * _ANGLES).astype(np.int64) % _ANGLES
    shapes = rng.integers(0, _SHAPES, len(tissue.kind))
    darkness = np.exp(rng.normal(0, 0.09, len(tissue.kind))).astype(np.float32)
    column, row = np.round(tissue.xy / MPP).astype(np.int64).T
    height, width = haematoxylin.shape
    for index in rng.permutation(len(tissue.kind)):
        opacity, density = drawn[tissue.kind[index]][directions[index]][shapes[index]]
        side = len(opacity)
        x, y = column[index] - side // 2, row[index] - side // 2
        if x < 0 or y < 0 or x + side > width or y + side > height:
            continue
        window = (slice(y, y + side), slice(x, x + side))
        haematoxylin[window] += opacity * (density * darkness[index] - haematoxylin[window])
        eosin[window] *= 1 - np.float32(0.55) * opacity


def _stain(haematoxylin: Field, eosin: Field, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Turn amounts of stain into RGB with this section's stain vectors, strengths, light and noise."""
    vectors = []
    for vector, strength in ((_HAEMATOXYLIN, rng.uniform(0.88, 1.12)), (_EOSIN, rng.uniform(0.82, 1.15))):
        shifted = np.clip(vector + rng.normal(0, 0.025, 3), 0.05, None)
        vectors.append(strength * shifted / np.linalg.norm(shifted))
    light = 255 * np.array([0.955, 0.945, 0.955]) * np.exp(rng.normal(0, 0.008, 3))
    noise = gaussian_filter(rng.standard_normal((512, 512)).astype(np.float32), 0.7, mode="wrap") * 2.2
    tiles = -(-len(eosin) // 512)
    noise = np.tile(noise, (tiles, tiles))[: len(eosin), : len(eosin)]
    image = np.empty((*eosin.shape, 3), np.uint8)
    for channel in range(3):
        density = np.float32(vectors[0][channel]) * haematoxylin + np.float32(vectors[1][channel]) * eosin
        image[..., channel] = np.clip(np.float32(light[channel]) * np.exp(-density) + noise, 0, 255)
    return image
