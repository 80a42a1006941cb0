"""A slide is shown in the colours that its scanner meant, and read in those that it stored."""

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from napari_cmrcnet.slides import flat_source
from napari_cmrcnet.slides.slide import open_slide
from napari_cmrcnet.viewer import slide_layer
from napari_cmrcnet.viewer.slide_colours import through_profile
from napari_cmrcnet.viewer.slide_layer import SlideLevel

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def red_for_green() -> bytes:
    """A profile in which the first sample is green and the second red: sRGB with two of its tags exchanged."""
    data = bytearray(SRGB)
    (count,) = struct.unpack_from(">I", data, 128)
    tags = {bytes(data[at : at + 4]): at for at in range(132, 132 + 12 * count, 12)}
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    data[red + 4 : red + 12], data[green + 4 : green + 12] = data[green + 4 : green + 12], data[red + 4 : red + 12]
    return bytes(data)


def picture(height: int = 300, width: int = 400) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([200 + y % 50, x % 100, np.full_like(x, 120)], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("kind", ["tif", "png", "large png"])
def test_shown_through_the_profile_and_read_as_stored(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMRCNET_CACHE", str(tmp_path / "cache"))
    path = tmp_path / f"slide.{kind[-3:]}"
    if kind == "tif":
        settings = {"photometric": "rgb", "tile": (64, 64), "metadata": None, "iccprofile": red_for_green()}
        with tifffile.TiffWriter(path) as tiff:
            for level, pixels in enumerate((picture(), picture()[::2, ::2])):
                tiff.write(pixels, subfiletype=level, **settings)
    else:
        if kind == "large png":
            monkeypatch.setattr(flat_source, "SHOWN_PIXELS", 1000)
            monkeypatch.setattr(flat_source, "LAST_LEVEL", 200)
        Image.fromarray(picture()).save(path, icc_profile=red_for_green())
    monkeypatch.setattr(slide_layer, "OVERVIEW", 50)  # one more level is made
    with open_slide(path) as slide:
        levels, _, _ = slide_layer.slide_layer(slide, None)
        assert len(levels) > len(slide.levels)
        np.testing.assert_array_equal(slide.read_region(0, 0, 400, 300), picture())
        np.testing.assert_allclose(levels[0][...].astype(int), picture()[..., [1, 0, 2]], atol=2)
        for level in levels[1:]:
            assert np.asarray(level)[..., 1].mean() > np.asarray(level)[..., 0].mean() + 100


@pytest.mark.parametrize("profile", [b"", b"no profile", SRGB[:200], SRGB])
def test_a_profile_that_changes_nothing_costs_nothing(tmp_path: Path, profile: bytes) -> None:
    assert through_profile(profile) is None
    more = {"iccprofile": profile} if profile else {}
    tifffile.imwrite(tmp_path / "a.tif", picture(), photometric="rgb", tile=(64, 64), metadata=None, **more)
    with open_slide(tmp_path / "a.tif") as slide:
        assert SlideLevel(slide, 0)._reader is slide.reader
        np.testing.assert_array_equal(SlideLevel(slide, 0)[...], picture())


def test_a_profile_of_other_colours_is_not_used() -> None:
    grey = bytearray(SRGB)
    grey[16:20] = b"GRAY"
    assert through_profile(bytes(grey)) is None


def test_what_was_looked_at_is_not_turned_again(tmp_path: Path) -> None:
    settings = {"photometric": "rgb", "tile": (256, 256), "metadata": None, "iccprofile": red_for_green()}
    tifffile.imwrite(tmp_path / "a.tif", picture(1200, 1600), **settings)
    with open_slide(tmp_path / "a.tif") as slide:
        level = SlideLevel(slide, 0)
        turn, turned = level._reader.through, []
        level._reader.through = lambda tile: (turned.append(tile.shape), turn(tile))[1]  # type: ignore[misc]
        for _ in range(3):
            level[...]
        assert len(turned) == 5 * 7
