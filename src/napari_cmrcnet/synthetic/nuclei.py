"""Nuclei of the synthetic sections: small stamps of haematoxylin, laid over the tissue one by one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import expit

from napari_cmrcnet.synthetic.genes import CELL_TYPES

_SHAPES, _ANGLES = 10, 16


@dataclass(frozen=True)
class Nucleus:
    """How a cell type's nucleus looks.

    Parameters
    ----------
    length, width : float
        Axes in µm.
    spread : float
        Standard deviation of the size, relative.
    ragged : float
        Irregularity of the outline, relative to the radius.
    density : float
        Haematoxylin in the middle.
    chromatin : float
        Contrast of the chromatin's clumps.
    rim : float
        How much darker the membrane is than the middle.
    nucleolus : float
        Probability of a visible nucleolus.
    """

    length: float
    width: float
    spread: float
    ragged: float
    density: float
    chromatin: float
    rim: float
    nucleolus: float


NUCLEI = {
    "tumour_high": Nucleus(11.2, 9.4, 0.17, 0.06, 1.00, 0.20, 0.35, 0.9),
    "tumour_low": Nucleus(7.6, 6.6, 0.07, 0.03, 0.90, 0.15, 0.25, 0.1),
    "epithelial": Nucleus(8.6, 5.4, 0.08, 0.03, 1.15, 0.15, 0.20, 0.1),
    "fibroblast": Nucleus(15.0, 3.2, 0.22, 0.06, 1.10, 0.12, 0.10, 0.0),
    "t_cell": Nucleus(5.9, 5.5, 0.06, 0.03, 1.65, 0.12, 0.05, 0.0),
    "b_cell": Nucleus(7.2, 6.5, 0.08, 0.04, 1.05, 0.20, 0.40, 0.4),
    "plasma": Nucleus(6.3, 5.9, 0.06, 0.03, 1.40, 0.45, 0.25, 0.0),
    "macrophage": Nucleus(8.6, 5.6, 0.12, 0.10, 0.85, 0.18, 0.25, 0.2),
    "endothelial": Nucleus(10.5, 2.8, 0.15, 0.05, 1.20, 0.10, 0.10, 0.0),
    "adipocyte": Nucleus(9.0, 2.6, 0.12, 0.04, 1.20, 0.10, 0.10, 0.0),
    "muscle": Nucleus(19.0, 3.6, 0.15, 0.03, 0.85, 0.12, 0.15, 0.0),
    "necrotic": Nucleus(3.2, 2.6, 0.45, 0.15, 1.45, 0.10, 0.00, 0.0),
}

Stamp = tuple[NDArray[np.float32], NDArray[np.float32]]


def _stamp(look: Nucleus, size: float, angle: float, mpp: float, rng: np.random.Generator) -> Stamp:
    """Draw one nucleus: its opacity and its haematoxylin, both (s, s)."""
    half = int(np.ceil(look.length * size * 0.65 / mpp)) + 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1] * mpp
    u = x * np.cos(angle) + y * np.sin(angle)
    v = y * np.cos(angle) - x * np.sin(angle)
    around = np.arctan2(v / look.width, u / look.length)
    outline = np.ones_like(around)
    for order in (2, 3, 4):
        outline += look.ragged * rng.normal() * np.cos(order * around + rng.uniform(0, 2 * np.pi))
    a, b = look.length * size / 2, look.width * size / 2
    radius = np.hypot(u / a, v / b) / outline
    inwards = (1 - radius) * min(a, b)  # about the distance to the membrane in µm
    opacity = expit(inwards / 0.22)
    clumps = gaussian_filter(rng.standard_normal(x.shape), 0.55 / mpp)
    clumps /= clumps.std() + 1e-9
    density = look.density * (1 + look.chromatin * clumps + look.rim * np.exp(-((inwards / 0.7) ** 2)))
    if rng.random() < look.nucleolus:
        du, dv = rng.normal(0, 0.2, 2) * (a, b)
        density += 0.8 * look.density * np.exp(-((u - du) ** 2 + (v - dv) ** 2) / (2 * 0.65**2))
    return opacity.astype(np.float32), np.clip(density, 0.2, 2.6).astype(np.float32)


def stamps(mpp: float, rng: np.random.Generator) -> dict[tuple[int, int], list[Stamp]]:
    """Draw several nuclei of each cell type in each of `_ANGLES` directions, keyed by (type, direction)."""
    made: dict[tuple[int, int], list[Stamp]] = {}
    for kind, name in enumerate(CELL_TYPES):
        look = NUCLEI[name]
        for direction in range(_ANGLES):
            sizes = np.exp(look.spread * rng.standard_normal(_SHAPES))
            angle = np.pi * direction / _ANGLES
            made[kind, direction] = [_stamp(look, size, angle, mpp, rng) for size in sizes]
    return made


def lay_nuclei(
    haematoxylin: NDArray[np.float32],
    eosin: NDArray[np.float32],
    xy_px: NDArray[np.float64],
    kind: NDArray[np.int64],
    angle: NDArray[np.float64],
    mpp: float,
    rng: np.random.Generator,
) -> None:
    """Lay nuclei over the two stains, in place.

    Parameters
    ----------
    haematoxylin, eosin : float32 (h, w)
        Amounts of stain at full resolution.
    xy_px : float64 (n, 2)
        Centres in pixels.
    kind, angle : (n,)
        Cell types and directions.
    mpp : float
        µm per pixel.
    rng : numpy.random.Generator
        Source of chance.
    """
    drawn = stamps(mpp, rng)
    directions = np.round(angle / np.pi * _ANGLES).astype(np.int64) % _ANGLES
    shapes = rng.integers(0, _SHAPES, len(kind))
    darkness = np.exp(rng.normal(0, 0.09, len(kind))).astype(np.float32)
    column, row = np.round(xy_px).astype(np.int64).T
    height, width = haematoxylin.shape
    for index in rng.permutation(len(kind)):
        opacity, density = drawn[int(kind[index]), int(directions[index])][shapes[index]]
        half = opacity.shape[0] // 2
        x, y = column[index] - half, row[index] - half
        if x < 0 or y < 0 or x + 2 * half + 1 > width or y + 2 * half + 1 > height:
            continue
        window = (slice(y, y + 2 * half + 1), slice(x, x + 2 * half + 1))
        haematoxylin[window] += opacity * (density * darkness[index] - haematoxylin[window])
        eosin[window] *= 1 - np.float32(0.55) * opacity
