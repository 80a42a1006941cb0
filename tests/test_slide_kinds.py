"""Slides as scanners and people write them: compressions, depths, planes and channels beyond plain RGB."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.retrieval.describe import describe
from napari_cmrcnet.slides import codecs
from napari_cmrcnet.slides.slide import open_slide
from napari_cmrcnet.slides.source import TileError
from pictures import picture, whole

pytestmark = pytest.mark.usefixtures("empty_cache")


LOSSLESS: dict[str, Any] = {
    "webp": {"lossless": True},
    "jpegxl": {"lossless": True},
    "jpegxr": {"level": 1.0},
    "png": {},
    "lerc": {},
    "lzma": {},
}


@pytest.mark.parametrize("layout", [{"tile": (128, 128)}, {"rowsperstrip": 64}], ids=["tiles", "strips"])
@pytest.mark.parametrize("compression", LOSSLESS)
def test_tiles_that_are_pictures(tmp_path: Path, compression: str, layout: dict[str, Any]) -> None:
    path = tmp_path / "slide.tif"
    settings = {"compression": compression, "compressionargs": LOSSLESS[compression], "photometric": "rgb"}
    with tifffile.TiffWriter(path) as tiff:
        for level, pixels in enumerate((picture(300, 500), picture(300, 500)[::2, ::2])):
            tiff.write(pixels, subfiletype=level, metadata=None, **settings, **layout)
    with open_slide(path) as slide:
        assert len(slide.levels) == 2
        for level, pixels in enumerate((picture(300, 500), picture(300, 500)[::2, ::2])):
            np.testing.assert_array_equal(whole(slide, level), pixels)


@pytest.mark.parametrize("inner", ["deflate", "zstd"])
def test_lerc_compressed_once_more(tmp_path: Path, inner: str) -> None:
    settings = {"compression": "lerc", "compressionargs": {"compression": inner}}
    tifffile.imwrite(
        tmp_path / "a.tif", picture(300, 500), photometric="rgb", tile=(128, 128), metadata=None, **settings
    )
    with open_slide(tmp_path / "a.tif") as slide:
        np.testing.assert_array_equal(whole(slide), picture(300, 500))


@pytest.mark.parametrize("codec", ["webp", "jpegxl", "png"])
def test_a_tile_that_is_larger_than_it_may_be_is_not_decoded(tmp_path: Path, codec: str) -> None:
    """A few kilobytes may claim many megabytes."""
    large = getattr(imagecodecs, f"{codec}_encode")(np.zeros((2000, 2000, 3), np.uint8))
    path = tmp_path / "slide.tif"
    number = next(number for number, name in codecs.CODECS.items() if name == codec)
    tifffile.imwrite(
        path, iter([large]), shape=(256, 256, 3), dtype=np.uint8, photometric="rgb", tile=(256, 256), metadata=None,
        compression=number,
    )  # fmt: skip
    with open_slide(path) as slide, pytest.raises(TileError, match=r"invalid out\.shape"):
        slide.read_region(0, 0, 64, 64)


def test_a_damaged_jpeg_xr_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(imagecodecs.jpegxr_encode(picture(64, 64)))
    at = int.from_bytes(data[4:8], "little")
    data[at : at + 2] = b"\xff\xff"
    key = SimpleNamespace(
        compression=34934, samplesperpixel=3, planarconfig=1, imagelength=64, imagewidth=64,
        dtype=np.dtype(np.uint8), tags=SimpleNamespace(valueof=lambda _: None),
    )  # fmt: skip
    with pytest.raises(ValueError, match="its JPEG XR directory is damaged"):
        codecs.decode_picture(bytes(data), key, (64, 64))
    assert capfd.readouterr().err == ""


def test_what_cannot_be_read_is_called_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where OpenSlide, which is asked next, would call it damaged."""
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, picture(300, 500), photometric="rgb", tile=(128, 128), compression="webp", metadata=None)
    monkeypatch.setattr(codecs, "CODECS", {})
    with pytest.raises(UserError, match=r"its compression \(WEBP\) is not read here; save it as"):
        open_slide(path)
    for kind in (np.float32, np.int16, np.uint32):
        tifffile.imwrite(path, picture(300, 500).astype(kind), photometric="rgb", tile=(128, 128), metadata=None)
        with pytest.raises(UserError, match=r"its pixels are .*-bit .*, not 8- or 16-bit whole numbers"):
            open_slide(path)


@pytest.mark.parametrize(("bits", "stated"), [(12, True), (10, True), (16, False)])
def test_the_significant_bits_of_16(tmp_path: Path, bits: int, stated: bool) -> None:
    path = tmp_path / "slide.ome.tif"
    deep = picture(300, 500).astype(np.uint16) << (bits - 8)
    metadata = {"axes": "YXS"} | ({"SignificantBits": bits} if stated else {})
    tifffile.imwrite(path, deep, photometric="rgb", tile=(128, 128), metadata=metadata)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide), picture(300, 500))


def test_a_stack_of_focal_planes_is_read_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "slide.ome.tif"
    planes = np.stack([picture(300, 500) // 3 * z for z in range(1, 4)] * 2)[:5]
    metadata = {"axes": "ZYXS", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(planes, subifds=1, photometric="rgb", tile=(128, 128), metadata=metadata)
        tiff.write(np.ascontiguousarray(planes[:, ::2, ::2]), subfiletype=1, photometric="rgb", tile=(128, 128))
    with open_slide(path) as slide:
        assert (slide.mpp, len(slide.levels)) == (0.25, 2)
        assert slide.notes == ("It has 5 focal planes; the one in the middle, number 3, is read.",)
        np.testing.assert_array_equal(whole(slide), planes[2])
        np.testing.assert_array_equal(whole(slide, 1), planes[2, ::2, ::2])


@pytest.mark.parametrize("tiles", [{"tile": (128, 128)}, {}])
def test_channels_are_never_colours(tmp_path: Path, tiles: dict[str, Any]) -> None:
    grey = np.ascontiguousarray(picture(300, 500).transpose(2, 0, 1))
    path = tmp_path / "slide.ome.tif"
    metadata: dict[str, Any] = {"axes": "CYX", "Channel": {"Name": ["DAPI", "CD3", "panCK"]}}
    tifffile.imwrite(path, grey, photometric="minisblack", metadata=metadata, **tiles)
    with pytest.raises(
        UserError, match=r"3 channels \(DAPI, CD3, panCK\), as fluorescence has.*; give the brightfield"
    ):
        open_slide(path)
    tifffile.imwrite(path, grey // 6, photometric="minisblack", metadata={"axes": "CYX"}, **tiles)
    with pytest.raises(UserError, match="3 channels that are dark"):
        open_slide(path)
    for count in (2, 4, 7):
        many = np.ascontiguousarray(picture(300, 500)[..., np.arange(count) % 3].transpose(2, 0, 1))
        tifffile.imwrite(path, many, photometric="minisblack", metadata={"axes": "CYX"}, **tiles)
        with pytest.raises(UserError, match=f"it has {count} channels"):
            open_slide(path)
    settings = {"photometric": "minisblack", "planarconfig": "contig", "metadata": None} | tiles
    tifffile.imwrite(tmp_path / "a.tif", picture(300, 500)[..., [0, 1, 2, 0]], **settings)
    with pytest.raises(UserError, match="it has 4 channels"):
        open_slide(tmp_path / "a.tif")
    metadata = {"axes": "CYX", "Channel": {"Name": ["Red", "Green", "Blue"]}}
    tifffile.imwrite(path, grey, photometric="minisblack", metadata=metadata, **tiles)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide), picture(300, 500))


def test_a_grey_slide_says_so(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    tissue = picture(300, 500)[..., 0]
    tifffile.imwrite(path, tissue, photometric="minisblack", tile=(128, 128), metadata=None)
    with open_slide(path) as slide:
        assert "grey" in slide.notes[0]
        assert slide.notes[0] in describe(path).problems
        np.testing.assert_array_equal(whole(slide)[..., 1], tissue)
