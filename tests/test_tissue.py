"""Tissue is found on an overview, and a grid of spots lies on it."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.sections.pixel_size import spots_lattice
from napari_cmrcnet.sections.tissue import spot_grid, tissue_mask

GLASS, PINK = (243, 241, 244), (205, 120, 175)
DOWNSAMPLE, MPP = 8, 0.5  # 4 µm a pixel of the overview


def slide(paint=True):
    """A slide of 3.2 × 2.4 mm with a block of tissue that has a hole, a small hole, and a speck beside it."""
    overview = np.empty((600, 800, 3), np.uint8)
    overview[:] = GLASS
    if paint:
        overview[100:500, 100:600] = PINK
        overview[200:320, 200:320] = GLASS  # 0.23 mm²: a hole
        overview[400:420, 400:420] = GLASS  # 0.006 mm²: filled
        overview[50:70, 700:720] = PINK  # debris
        overview[:, :20] = 3  # the scanner's black border
    noise = np.random.default_rng(0).integers(-3, 4, overview.shape)
    overview = np.clip(overview + noise, 0, 255).astype(np.uint8)
    return SimpleNamespace(path=Path("s.tif"), shape=(600 * DOWNSAMPLE, 800 * DOWNSAMPLE), thumbnail=lambda _: overview)


def test_tissue_is_found_without_debris_and_small_holes():
    found = tissue_mask(slide(), MPP)
    expected = np.zeros((600, 800), bool)
    expected[100:500, 100:600] = True
    expected[200:320, 200:320] = False
    assert found.downsample == DOWNSAMPLE
    assert (found.mask != expected).mean() < 0.02
    assert not found.mask[40:80, 690:730].any()
    assert found.mask[410, 410]
    points = np.array([[150, 150], [250, 250], [10, 300], [-5, 150], [150, 601]]) * DOWNSAMPLE
    assert list(found.contains(points)) == [True, False, False, False, False]


@pytest.mark.parametrize(("pattern", "kind"), [("hex", "hexagonal"), ("square", "square")])
def test_a_grid_has_the_pitch_asked_for_and_lies_on_tissue(pattern, kind):
    spots = spot_grid(slide(), MPP, pitch_um=100, lattice=pattern)
    xy = spots.obsm["spatial"]
    assert spots.X is None
    assert spots.obs_names.is_unique
    assert tissue_mask(slide(), MPP).contains(xy).all()
    assert np.allclose(cKDTree(xy).query(xy, k=2)[0][:, 1], 100 / MPP)
    assert spots_lattice(spots).kind == kind
    assert spots_lattice(spots).pitch == pytest.approx(100 / MPP)
    area_um2 = tissue_mask(slide(), MPP).mask.sum() * (MPP * DOWNSAMPLE) ** 2
    cell_um2 = 100**2 * (np.sqrt(3) / 2 if pattern == "hex" else 1)
    assert spots.n_obs == pytest.approx(area_um2 / cell_um2, rel=0.06)


def test_glass_alone_has_no_tissue():
    assert not tissue_mask(slide(paint=False), MPP).mask.any()
    with pytest.raises(UserError, match=r"No tissue was found on s\.tif"):
        spot_grid(slide(paint=False), MPP)


def test_a_picture_that_is_all_tissue_is_all_tissue():
    overview = np.empty((400, 400, 3), np.uint8)
    overview[:] = PINK
    overview[::8], overview[1::8] = (90, 50, 130), (90, 50, 130)
    overview[:, 200:] = (225, 170, 200)
    everywhere = SimpleNamespace(path=Path("s.png"), shape=(1600, 1600), thumbnail=lambda _: overview)
    assert tissue_mask(everywhere, MPP).mask.all()
    overview[:] = 255
    assert not tissue_mask(everywhere, MPP).mask.any()


@pytest.mark.parametrize("pitch", [0, -5, float("nan"), 0.01])
def test_an_impossible_pitch_is_refused(pitch):
    with pytest.raises(UserError, match="pitch"):
        spot_grid(slide(), MPP, pitch_um=pitch)
