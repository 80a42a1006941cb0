"""Spots that were moved off the tissue are told from spots that lie where they belong."""

import numpy as np
import pytest

from napari_cmrcnet.sections.tissue import TissueMask

DOWNSAMPLE = 8.0


@pytest.fixture
def tissue() -> TissueMask:
    """An ellipse of 4,000 × 2,400 pixels on a slide of 8,000 × 6,400."""
    row, column = np.mgrid[:800, :1000]
    return TissueMask(((column - 500) / 250) ** 2 + ((row - 400) / 150) ** 2 < 1, DOWNSAMPLE)


@pytest.fixture
def spots(tissue: TissueMask) -> np.ndarray:
    grid = np.stack(np.meshgrid(np.arange(100, 7900, 160.0), np.arange(100, 6300, 160.0)), axis=-1).reshape(-1, 2)
    return grid[tissue.contains(grid)]


def on_tissue(tissue: TissueMask, xy: np.ndarray) -> float:
    return float(tissue.contains(xy).mean())


def test_spots_on_their_tissue_stay(tissue: TissueMask, spots: np.ndarray) -> None:
    assert on_tissue(tissue, spots) == 1
    assert on_tissue(tissue, spots + tissue.best_shift(spots)) > 0.97


@pytest.mark.parametrize("moved", [(900.0, 0.0), (-700.0, 1000.0), (0.0, -3000.0), (5000.0, 0.0)])
def test_a_shift_is_found_also_beyond_the_slide(
    tissue: TissueMask, spots: np.ndarray, moved: tuple[float, float]
) -> None:
    shift = tissue.best_shift(spots + moved)
    assert on_tissue(tissue, spots + moved) < 0.85
    assert on_tissue(tissue, spots + moved + shift) > 0.97
    assert shift == pytest.approx([-moved[0], -moved[1]], abs=60)


def test_spots_beside_the_tissue_that_no_shift_helps(tissue: TissueMask, spots: np.ndarray) -> None:
    centre = spots.mean(axis=0)
    wide = centre + (spots - centre) * 1.3
    assert on_tissue(tissue, wide) < 0.7
    assert on_tissue(tissue, wide + tissue.best_shift(wide)) - on_tissue(tissue, wide) < 0.05


@pytest.mark.parametrize("far", [1e6, 1e18, 1e300])
def test_one_spot_at_the_end_of_the_world_costs_no_memory(tissue: TissueMask, spots: np.ndarray, far: float) -> None:
    assert tissue.best_shift(np.vstack([spots, [far, -far]])).tolist() == [0, 0]
