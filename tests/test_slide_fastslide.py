"""Formats that only fastslide reads are opened where it is installed; where it is not, they say what to install."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.slides import fastslide_source
from napari_cmrcnet.slides.fastslide_source import FastSlideSource
from napari_cmrcnet.slides.slide import open_slide
from pictures import picture
from scanner_slides import write_czi

pytestmark = pytest.mark.usefixtures("empty_cache")


@pytest.fixture
def fastslide() -> None:
    pytest.importorskip("fastslide")


@pytest.mark.usefixtures("fastslide")
def test_a_czi_that_openslide_refuses(tmp_path: Path) -> None:
    path = write_czi(tmp_path / "slide.czi", [picture() // 3 * z for z in (1, 2, 3)])
    with open_slide(path) as slide:
        assert (slide.format, slide.mpp, slide.mpp_source) == ("CZI", 0.5, "CZI tag")
        assert slide.notes == ("It has 3 focal planes; the one in the middle, number 2, is read.",)
        np.testing.assert_array_equal(slide.read_region(0, 0, 1100, 700), picture() // 3 * 2)
        assert (slide.read_region(1090, 690, 20, 20)[10:] == 255).all()


@pytest.mark.usefixtures("fastslide")
def test_the_same_pixels_as_our_own_reader(tmp_path: Path) -> None:
    levels = [picture(), picture()[::2, ::2]]
    with tifffile.TiffWriter(tmp_path / "slide.tif") as tiff:
        for level, pixels in enumerate(levels):
            settings = {"subfiletype": level, "photometric": "rgb", "tile": (128, 128), "metadata": None}
            tiff.write(pixels, compression="deflate", **settings)
    source = FastSlideSource(tmp_path / "slide.tif")
    assert [(level.width, level.downsample) for level in source.levels] == [(1100, 1), (550, 2)]
    for level, pixels in enumerate(levels):
        np.testing.assert_array_equal(source.read_tile(level, 0, 1), pixels[:512, 512:1024])
    source.close()


@pytest.mark.usefixtures("fastslide")
@pytest.mark.parametrize("name", ["cut.czi", "text.isyntax", "text.vsi"])
def test_what_is_damaged_ends_in_a_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "_text_").mkdir()
    content = write_czi(tmp_path / "slide.czi", [picture()]).read_bytes()
    (tmp_path / name).write_bytes(content[:100_000] if name.startswith("cut") else b"II*\0 no slide")
    with pytest.raises(UserError, match=f"{name} cannot be opened by fastslide .*; check that it is complete"):
        open_slide(tmp_path / name)


@pytest.mark.parametrize("name", ["a.czi", "a.vsi", "a.isyntax", "A.I2SYNTAX"])
def test_without_the_package_it_is_named(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastslide_source, "find_spec", lambda _: None)
    (tmp_path / "_a_").mkdir()
    (tmp_path / name).write_bytes(b"II*\0 a slide")
    with pytest.raises(
        UserError, match=r'needs one more package to be read: pip install "napari-cmrcnet\[fastslide\]"'
    ):
        open_slide(tmp_path / name)


def test_a_vsi_needs_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a.vsi").write_bytes(b"II*\0 a slide")
    with pytest.raises(UserError, match="needs the folder _a_ with its tiles beside it"):
        open_slide(tmp_path / "a.vsi")
