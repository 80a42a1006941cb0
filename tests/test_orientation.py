"""A slide that asks to be turned says so; its pixels and positions stay where they are stored."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from napari_cmrcnet.sections.section import open_section
from napari_cmrcnet.slides.orientation import as_stored, exif_orientation
from napari_cmrcnet.slides.slide import open_slide


def save(path: Path, pixels: np.ndarray, orientation: int) -> Path:
    if path.suffix == ".tif":
        tag = (274, 3, 1, orientation, True)
        tifffile.imwrite(path, pixels, photometric="rgb", tile=(64, 64), metadata=None, extratags=[tag])
    else:
        exif = Image.Exif()
        exif[274] = orientation
        Image.fromarray(pixels).save(path, exif=exif, quality=95)
    return path


@pytest.mark.parametrize("suffix", [".tif", ".jpg", ".png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_said_and_pixels_stay(tmp_path: Path, orientation: int, suffix: str) -> None:
    pixels = np.full((100, 160, 3), 230, np.uint8)
    pixels[:20, :40] = (200, 20, 20)
    with open_slide(save(tmp_path / f"a{suffix}", pixels, orientation)) as slide:
        assert slide.orientation == orientation
        assert slide.shape == (100, 160)
        np.testing.assert_allclose(slide.read_region(4, 4, 1, 1)[0, 0], (200, 20, 20), atol=8)
        assert [note[:40] for note in slide.notes] == ["Its orientation tag asks for it to be sh"] * (orientation > 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_positions_are_turned_as_pillow_turns_pixels(orientation: int) -> None:
    pixels = np.zeros((30, 50), np.uint8)
    pixels[4, 41] = 255
    image = Image.fromarray(pixels)
    image.getexif()[274] = orientation
    (y,), (x,) = np.nonzero(np.asarray(ImageOps.exif_transpose(image)))
    np.testing.assert_allclose(as_stored(np.array([[x + 0.5, y + 0.5]]), orientation, (30, 50)), [[41.5, 4.5]])


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\x89PNG eXIf", b"\xff\xd8Exif\0\0II*\0\xff\xff\xff\xff\1"])
def test_damaged_exif_asks_for_nothing(data: bytes) -> None:
    assert exif_orientation(data) == 1


@pytest.mark.parametrize("given", ["stored", "turned"])
def test_spots_that_fit_only_the_turned_slide_are_turned_back(
    tmp_path: Path, write_section: Callable[..., Any], given: str
) -> None:
    """Sixteen spots in a column of four, far along the longer side."""
    slide, spots = write_section(tmp_path, "S", side=4)
    stored = np.zeros((128, 640, 3), np.uint8) + 240
    stored[:, -128:] = tifffile.imread(slide)
    table = anndata.read_h5ad(spots)
    xy = table.obsm["spatial"] + [512, 0]
    table.obsm["spatial"] = xy if given == "stored" else np.column_stack([128 - xy[:, 1], xy[:, 0]])
    table.write_h5ad(spots)
    section = open_section(save(tmp_path / "S.tif", stored, 6), spots, mpp=0.5)
    with section.slide:
        np.testing.assert_allclose(section.xy, xy)
        assert any("turned with it" in note for note in section.notes) == (given == "turned")
