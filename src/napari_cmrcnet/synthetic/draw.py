"""The synthetic tissue drawn as haematoxylin and eosin.

Amounts of the two stains are painted first; light is absorbed by the Beer–Lambert law, with stain vectors
that differ a little from section to section as they do from laboratory to laboratory.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.special import expit

from napari_cmrcnet.synthetic.genes import CELL_TYPES
from napari_cmrcnet.synthetic.tissue import TISSUES, Field, Region, Tissue, borders, nearest, scatter, smooth_noise

MPP = 0.5  # the full resolution of a synthetic slide, µm per pixel

# Optical density of a unit of stain in red, green and blue (Macenko et al. 2009, the usual reference).
_HAEMATOXYLIN = np.array([0.5626, 0.7201, 0.4062])
_EOSIN = np.array([0.2159, 0.8012, 0.5581])

# Of each cell type its nucleus: length and width in µm; standard deviation of the size, relative; haematoxylin in the
# middle; contrast of the chromatin's clumps; how much darker the membrane is than the middle; probability of a visible
# nucleolus. Then its cytoplasm, if it shows one: radius in µm, eosin, haematoxylin.
_CELLS = {
    "tumour_high": (11.2, 9.4, 0.17, 1.00, 0.20, 0.35, 0.9, 11.0, 0.34, 0.33),
    "tumour_low": (7.6, 6.6, 0.07, 0.90, 0.15, 0.25, 0.1, 8.0, 0.50, 0.07),
    "epithelial": (8.6, 5.4, 0.08, 1.15, 0.15, 0.20, 0.1, 8.0, 0.48, 0.16),
    "fibroblast": (15.0, 3.2, 0.22, 1.10, 0.12, 0.10, 0.0, 0.0, 0.0, 0.0),
    "t_cell": (5.9, 5.5, 0.06, 1.65, 0.12, 0.05, 0.0, 0.0, 0.0, 0.0),
    "b_cell": (7.2, 6.5, 0.08, 1.05, 0.20, 0.40, 0.4, 0.0, 0.0, 0.0),
    "plasma": (6.3, 5.9, 0.06, 1.40, 0.45, 0.25, 0.0, 6.5, 0.34, 0.42),
    "macrophage": (8.6, 5.6, 0.12, 0.85, 0.18, 0.25, 0.2, 9.0, 0.24, 0.06),
    "endothelial": (10.5, 2.8, 0.15, 1.20, 0.10, 0.10, 0.0, 0.0, 0.0, 0.0),
    "adipocyte": (9.0, 2.6, 0.12, 1.20, 0.10, 0.10, 0.0, 0.0, 0.0, 0.0),
    "muscle": (19.0, 3.6, 0.15, 0.85, 0.12, 0.15, 0.0, 0.0, 0.0, 0.0),
    "necrotic": (3.2, 2.6, 0.35, 1.45, 0.10, 0.00, 0.0, 0.0, 0.0, 0.0),
}
_BY_CELL_TYPE = np.array([_CELLS[kind] for kind in CELL_TYPES])


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
    side = round(len(tissue.region) / MPP)
    eosin, haematoxylin = (
        np.array(Image.fromarray(stain).resize((side, side), Image.Resampling.BICUBIC))
        for stain in _between_nuclei(tissue, rng)
    )
    _lay_nuclei(haematoxylin, eosin, tissue, rng)
    thickness = np.exp(0.05 * smooth_noise(rng, side, side / 9))
    return _stain(haematoxylin * thickness, eosin * thickness, rng)


def _fibres(flow: Field, rng: np.random.Generator, thin: float, long: float) -> Field:
    """Noise of variance 1, drawn out along the level lines of the tissue's flow."""
    tile = gaussian_filter(rng.standard_normal((1024, 1024), np.float32), (thin, long), mode="wrap")
    side = len(flow)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    # Any second coordinate that is not the flow itself will do along the fibres.
    along = (y - x) * np.float32(0.7) + 20 * smooth_noise(rng, side, 130)
    return np.asarray(map_coordinates(tile / tile.std(), [flow, along], order=1, mode="grid-wrap"))


def _between_nuclei(tissue: Tissue, rng: np.random.Generator) -> tuple[Field, Field]:
    """Eosin and haematoxylin of all but the nuclei, on the grid of 1 µm."""
    side = len(tissue.region)
    table = np.array([TISSUES[place][:4] if place in TISSUES else (0.0,) * 4 for place in Region], np.float32)
    eosin, haematoxylin, contrast, grain = table.T[:, tissue.compartment]
    eosin += contrast * (0.75 * _fibres(tissue.flow, rng, 3.0, 28.0) + 0.55 * _fibres(tissue.flow, rng, 1.0, 12.0))
    # Collagen bundles part when the section is cut.
    cleft = (_fibres(tissue.flow, rng, 2.2, 14.0) > 1.75) & np.isin(tissue.compartment, (Region.STROMA, Region.MUSCLE))
    eosin *= 1 - 0.85 * gaussian_filter(cleft.astype(np.float32), 0.8)
    eosin += grain * gaussian_filter(rng.standard_normal((side, side), np.float32), 1.3)
    eosin *= 1 + 0.08 * smooth_noise(rng, side, 60)

    # Cytoplasm: all points nearer to a cell than to any other, up to a radius.
    cytoplasm = _BY_CELL_TYPE[tissue.kind, 7:].astype(np.float32)
    shown = cytoplasm[:, 0] > 0
    distance, owner = nearest(side, tissue.xy[shown])
    radius, own_eosin, own_haematoxylin = cytoplasm[shown].T
    shade = np.exp(rng.normal(0, 0.12, len(radius))).astype(np.float32)
    shade = shade[owner] * (1 - 0.6 * borders(owner, 0.6))
    cover = expit((radius[owner] - distance) / 0.8)
    eosin += cover * (own_eosin[owner] * shade - eosin)
    haematoxylin += cover * (own_haematoxylin[owner] * shade - haematoxylin)

    solid = ~np.isin(tissue.compartment, (Region.GLASS, Region.BLOOD))
    edge = gaussian_filter(solid.astype(np.float32), 0.7)
    # Red cells are bright discs of 6.5 µm.
    red = expit((3.1 - nearest(side, scatter(rng, side, 7.5))[0]) / 0.35) * (tissue.compartment == Region.BLOOD)
    return np.maximum(np.clip(eosin, 0, None) * edge, 0.95 * red), haematoxylin * edge


def _lay_nuclei(haematoxylin: Field, eosin: Field, tissue: Tissue, rng: np.random.Generator) -> None:
    """Lay the cells' nuclei over the two stains at full resolution, in place; those that would cross the edge not."""
    side = len(haematoxylin)
    clumps = 3.9 * gaussian_filter(rng.standard_normal((side, side), np.float32), 0.55 / MPP)  # of variance 1
    for index in rng.permutation(len(tissue.kind)):
        length, width, spread, middle, chromatin, rim, nucleolus = _BY_CELL_TYPE[tissue.kind[index], :7]
        a, b = np.array([length, width]) / 2 * np.exp(spread * rng.normal())
        half = int(np.ceil(1.2 * a / MPP)) + 2
        column, row = np.round(tissue.xy[index] / MPP).astype(np.int64)
        if min(column, row) < half or max(column, row) >= side - half:
            continue
        window = (slice(row - half, row + half + 1), slice(column - half, column + half + 1))
        y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32) * np.float32(MPP)
        cos, sin = np.cos(tissue.angle[index]), np.sin(tissue.angle[index])
        u = x * cos + y * sin
        v = y * cos - x * sin + rng.normal(0, 0.12) * b * (u / a) ** 2  # no nucleus is quite an ellipse
        inwards = (1 - np.hypot(u / a, v / b)) * b  # about the distance to the membrane in µm
        density = 1 + chromatin * clumps[window] + rim * np.exp(-((inwards / 0.7) ** 2))
        if rng.random() < nucleolus:
            du, dv = rng.normal(0, 0.2, 2) * (a, b)
            density += 0.8 * np.exp(-((u - du) ** 2 + (v - dv) ** 2) / (2 * 0.65**2))
        density = np.clip(middle * np.exp(rng.normal(0, 0.09)) * density, 0.2, 2.6)
        opacity = expit(inwards / 0.22)
        haematoxylin[window] += opacity * (density - haematoxylin[window])
        eosin[window] *= 1 - 0.55 * opacity


def _stain(haematoxylin: Field, eosin: Field, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Turn amounts of stain into RGB with this section's stain vectors, strengths, light and noise."""
    light = 255 * np.array([0.955, 0.945, 0.955]) * np.exp(rng.normal(0, 0.008, 3))
    vectors = np.clip(np.stack([_HAEMATOXYLIN, _EOSIN]) + rng.normal(0, 0.025, (2, 3)), 0.05, None)
    vectors *= rng.uniform((0.88, 0.82), (1.12, 1.15))[:, None] / np.linalg.norm(vectors, axis=1, keepdims=True)
    noise = 2.2 * gaussian_filter(rng.standard_normal(eosin.shape, np.float32), 0.7)
    image = np.empty((*eosin.shape, 3), np.uint8)
    for channel in range(3):
        of_haematoxylin, of_eosin = vectors[:, channel].astype(np.float32)
        passed = np.exp(-(of_haematoxylin * haematoxylin + of_eosin * eosin))
        image[..., channel] = np.clip(np.float32(light[channel]) * passed + noise, 0, 255)
    return image
