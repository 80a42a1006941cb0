"""Which tissue is where in a synthetic section, on a grid of 1 µm, and the random fields all is made from."""

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class Region(IntEnum):
    """The tissue of a place; none on glass."""

    GLASS = 0
    STROMA = 1
    INFLAMED = 2
    TUMOUR_HIGH = 3
    TUMOUR_LOW = 4
    IMMUNE = 5
    NECROSIS = 6
    GLAND = 7
    MUSCLE = 8
    ADIPOSE = 9


REGIONS = tuple(region.name.lower() for region in Region)

# From the middle of the tumour outwards, for the 5 × 5 seeds of a section.
_OUTWARDS = (
    [Region.NECROSIS] * 2
    + [Region.TUMOUR_HIGH] * 3
    + [Region.TUMOUR_LOW]
    + [Region.IMMUNE] * 2
    + [Region.TUMOUR_LOW] * 2
    + [Region.INFLAMED] * 3
    + [Region.STROMA] * 2
    + [Region.GLAND] * 3
    + [Region.MUSCLE, Region.ADIPOSE] * 3
    + [Region.MUSCLE]
)


def smooth_noise(rng: np.random.Generator, side: int, scale: float) -> NDArray[np.float32]:
    """Return a smooth random field (side, side) of mean 0 and variance about 1 that varies over `scale` µm."""
    coarse = int(np.ceil(side / scale)) + 3
    values = rng.standard_normal((coarse, coarse)).astype(np.float32)
    box = (1.0, 1.0, 1.0 + side / scale, 1.0 + side / scale)
    field = np.asarray(Image.fromarray(values).resize((side, side), Image.Resampling.BICUBIC, box))
    return field * np.float32(1.4)  # interpolation between independent values lowers the variance


def scatter(rng: np.random.Generator, side: float, spacing: float) -> NDArray[np.float64]:
    """Return points (n, 2) at about `spacing` from each other: a hexagonal lattice, shaken."""
    rows = np.arange(0.0, side, spacing * np.sqrt(3) / 2)
    columns = np.arange(0.0, side, spacing)
    x = columns[None] + np.where(np.arange(len(rows)) % 2, spacing / 2, 0.0)[:, None]
    points = np.stack([x.ravel(), np.repeat(rows, len(columns))], axis=1)
    points += rng.normal(0.0, 0.17 * spacing, points.shape)
    return points[((points >= 1) & (points < side - 1)).all(axis=1)]


def at(field: NDArray[Any], xy: NDArray[np.float64]) -> NDArray[Any]:
    """Return the field's values at points given as (x, y) in µm."""
    column, row = np.clip(xy.astype(np.int64), 0, field.shape[0] - 1).T
    values: NDArray[Any] = field[row, column]
    return values


def outline(side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return 1 on the tissue, a square with round corners and a ragged edge, and 0 outside."""
    u = np.abs(np.linspace(-1, 1, side, dtype=np.float32))
    radius = (u[None] ** 4 + u[:, None] ** 4) ** 0.25
    edge = 0.93 + 0.025 * smooth_noise(rng, side, side / 6) + 0.006 * smooth_noise(rng, side, side / 40)
    inside: NDArray[np.uint8] = (radius < edge).astype(np.uint8)
    return inside


def regions(side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Nearest of 25 shaken seeds in a warped plane."""
    step = side / 5
    grid = (np.arange(5) + 0.5) * step
    seeds = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    seeds += rng.uniform(-0.28, 0.28, seeds.shape) * step
    middle = rng.uniform(0.35, 0.65, 2) * side
    order = np.argsort(np.hypot(*(seeds - middle).T) + rng.normal(0, 0.45 * step, 25))
    y, x = np.mgrid[:side, :side].astype(np.float32)
    for axis in (x, y):
        for scale, amount in ((0.5, 0.13), (0.2, 0.05), (0.06, 0.018)):
            axis += amount * step * smooth_noise(rng, side, scale * step)
    best = np.full((side, side), np.inf, np.float32)
    region = np.zeros((side, side), np.uint8)
    for kind, seed in zip(_OUTWARDS, seeds[order].astype(np.float32), strict=True):
        distance = (x - seed[0]) ** 2 + (y - seed[1]) ** 2
        nearer = distance < best
        best[nearer] = distance[nearer]
        region[nearer] = kind
    return region


def nests(region: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Stroma between tumour nests: wide nests in high-grade tumour, small cords with lumina in low-grade."""
    side = len(region)
    compartment = region.copy()
    compartment[
        (region == Region.TUMOUR_HIGH)
        & (np.abs(smooth_noise(rng, side, 95) + 0.1 * smooth_noise(rng, side, 20)) < 0.11)
    ] = Region.STROMA
    cords = smooth_noise(rng, side, 42) + 0.15 * smooth_noise(rng, side, 12)
    compartment[(region == Region.TUMOUR_LOW) & (cords < -0.25)] = Region.STROMA
    compartment[(compartment == Region.TUMOUR_LOW) & (smooth_noise(rng, side, 21) > 1.6)] = (
        Region.GLASS
    )  # tubules' lumina
    compartment[region == Region.GLAND] = Region.STROMA
    return compartment
