"""Every kind of SVS, TIFF, JPEG and PNG, compared pixel by pixel with a reader that shares no code with ours."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from napari_cmrcnet.slides.slide import open_slide
from napari_cmrcnet.slides.tiff_source import TiffSource
from pictures import whole

APERIO = "Aperio Image Library v1 \r\n{w}x{h} (240x240) JPEG/RGB Q=90|AppMag = 20|MPP = 0.499"
JPEG = {"compression": "jpeg", "compressionargs": {"level": 90}}
TIFF_KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "lzw": {"compression": "lzw"},
    "lzw, differences": {"compression": "lzw", "predictor": True},
    "deflate": {"compression": "deflate"},
    "jpeg, rgb": JPEG,
    "jpeg, 4:4:4": {**JPEG, "photometric": "ycbcr", "subsampling": (1, 1)},
    "jpeg, 4:2:2": {**JPEG, "photometric": "ycbcr", "subsampling": (2, 1)},
    "jpeg, 4:2:0": {**JPEG, "photometric": "ycbcr", "subsampling": (2, 2)},
    "planes": {"planarconfig": "separate"},
    "big tiles": {"tile": (512, 512)},
    "long tiles": {"tile": (64, 320)},
}


pytestmark = pytest.mark.usefixtures("empty_cache")


def picture(height: int = 700, width: int = 930) -> np.ndarray:
    """Smooth colours with a little noise: nothing repeats."""
    y, x = np.mgrid[:height, :width]
    waves = [128 + 90 * np.sin(x / (37 + 9 * c) + c) * np.cos(y / (53 - 7 * c)) for c in range(3)]
    noise = np.random.default_rng(0).normal(0, 3, (height, width, 3))
    return np.clip(np.stack(waves, -1) + noise, 0, 255).astype(np.uint8)


def compare(path: Path) -> None:
    """Assert that our own reader opens a file, and that all levels are as OpenSlide reads them."""
    with open_slide(path) as slide, openslide.OpenSlide(path) as other:
        assert isinstance(slide.source, TiffSource)
        assert [(level.width, level.height) for level in slide.levels] == list(other.level_dimensions)
        for level, size in enumerate(other.level_dimensions):
            expected = np.asarray(other.read_region((0, 0), level, size))[..., :3]
            np.testing.assert_array_equal(whole(slide, level), expected)


@pytest.mark.parametrize("form", [{}, {"bigtiff": True}], ids=["classic", "big"])
@pytest.mark.parametrize("kind", TIFF_KINDS)
def test_tiff(tmp_path: Path, kind: str, form: dict[str, Any]) -> None:
    settings = {"photometric": "rgb", "tile": (128, 128), "metadata": None} | TIFF_KINDS[kind]
    with tifffile.TiffWriter(tmp_path / "slide.tif", **form) as tiff:
        for level in range(3):
            pixels = picture()[:: 2**level, :: 2**level]
            if "planarconfig" in settings:
                pixels = np.ascontiguousarray(pixels.transpose(2, 0, 1))
            tiff.write(pixels, subfiletype=int(level > 0), **settings)
    compare(tmp_path / "slide.tif")


@pytest.mark.parametrize("kind", ["jpeg, rgb", "jpeg, 4:4:4", "jpeg, 4:2:2", "jpeg, 4:2:0"])
def test_svs(tmp_path: Path, kind: str) -> None:
    """As Aperio writes them: full resolution, thumbnail, one lower level, label and macro."""
    tiles = {"photometric": "rgb", "tile": (240, 240), "metadata": None, "software": False} | TIFF_KINDS[kind]
    strips = {**JPEG, "photometric": "rgb", "metadata": None, "software": False, "rowsperstrip": 16}
    full = picture()
    with tifffile.TiffWriter(tmp_path / "slide.svs") as tiff:
        for pixels, settings, also in (
            (full, tiles, ""),
            (full[::4, ::4], strips, " -> thumbnail"),
            (full[::2, ::2], tiles, " -> half"),
            (np.full((96, 128, 3), 200, np.uint8), strips, "\r\nlabel 128x96"),
            (np.full((96, 256, 3), 220, np.uint8), strips, "\r\nmacro 256x96"),
        ):
            described = APERIO.format(w=pixels.shape[1], h=pixels.shape[0]) + also
            tiff.write(pixels, description=described, subfiletype=int("thumbnail" in also), **settings)
    compare(tmp_path / "slide.svs")


def test_svs_of_jpeg_2000(tmp_path: Path) -> None:
    """OpenSlide reads these for us; tifffile is the second reader."""
    settings = {"photometric": "rgb", "tile": (240, 240), "metadata": None, "software": False}
    described = APERIO.format(w=930, h=700)
    with tifffile.TiffWriter(tmp_path / "slide.svs") as tiff:
        tiff.write(picture(), compression=33005, description=described, **settings)
    with open_slide(tmp_path / "slide.svs") as slide:
        expected = tifffile.imread(tmp_path / "slide.svs", key=0)
        assert np.abs(whole(slide, 0).astype(int) - expected).max() <= 1


def over_white(image: Image.Image) -> np.ndarray:
    """Return what Pillow shows of a picture on white paper."""
    full = image.convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", full.size, "white"), full).convert("RGB"))


def transparent(image: Image.Image) -> Image.Image:
    image.putalpha(Image.fromarray(np.linspace(0, 255, image.width).astype(np.uint8)[None].repeat(image.height, 0)))
    return image


PNG_KINDS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "rgb": lambda image: image,
    "grey": lambda image: image.convert("L"),
    "black and white": lambda image: image.convert("1"),
    "palette": lambda image: image.convert("P"),
    "few colours": lambda image: image.quantize(4),
    "transparent": transparent,
    "transparent grey": lambda image: transparent(image.convert("L")),
}


@pytest.mark.parametrize("kind", PNG_KINDS)
def test_png(tmp_path: Path, kind: str) -> None:
    image = PNG_KINDS[kind](Image.fromarray(picture(200, 301)))
    image.save(tmp_path / "picture.png")
    with open_slide(tmp_path / "picture.png") as slide, Image.open(tmp_path / "picture.png") as other:
        assert np.abs(whole(slide, 0).astype(int) - over_white(other)).max() <= 1  # of rounding, where transparent


@pytest.mark.parametrize("mode", ["I;16", "RGB;16B"])
def test_png_of_16_bits(tmp_path: Path, mode: str) -> None:
    """Pillow cannot write RGB of 16 bits: imagecodecs does, and Pillow reads it."""
    import imagecodecs

    pixels = picture(200, 301).astype(np.uint16) * 257
    encoded = imagecodecs.png_encode(np.ascontiguousarray(pixels[..., 0] if mode == "I;16" else pixels))
    (tmp_path / "picture.png").write_bytes(encoded)
    with open_slide(tmp_path / "picture.png") as slide, Image.open(io.BytesIO(encoded)) as other:
        samples = np.asarray(other)
        expected = np.repeat(samples[..., None] >> 8, 3, 2) if samples.ndim == 2 else samples
        np.testing.assert_array_equal(whole(slide, 0), expected)


JPEG_KINDS: dict[str, dict[str, Any]] = {
    "4:4:4": {"subsampling": "4:4:4"},
    "4:2:2": {"subsampling": "4:2:2"},
    "4:2:0": {"subsampling": "4:2:0"},
    "progressive": {"progressive": True},
    "optimised": {"optimize": True},
    "rgb": {"keep_rgb": True},
    "restart markers": {"restart_marker_rows": 1},
    "with a profile": {"icc_profile": b"no profile"},
}


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("kind", JPEG_KINDS)
def test_jpeg(tmp_path: Path, kind: str, mode: str) -> None:
    image = Image.fromarray(picture(200, 301)).convert(mode)
    image.save(tmp_path / "picture.jpg", quality=90, **JPEG_KINDS[kind])
    with open_slide(tmp_path / "picture.jpg") as slide, Image.open(tmp_path / "picture.jpg") as other:
        expected = np.asarray(other.convert("RGB")).astype(int)
        assert np.abs(whole(slide, 0) - expected).max() <= 2  # decoders of one standard may differ by rounding
