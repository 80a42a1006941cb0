"""What a user relies on when a slide is opened: its own pixels, its levels, its pixel size."""

import io
import os
import pickle
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.slides import flat_source
from napari_cmrcnet.slides.resample import axis_weights
from napari_cmrcnet.slides.slide import Level, TileError, open_slide
from napari_cmrcnet.slides.source import judge_mpp, levels_of
from pictures import whole

pytestmark = pytest.mark.usefixtures("empty_cache")


def picture(height: int = 700, width: int = 900, seed: int = 0) -> np.ndarray:
    """Smooth colours with a little noise: nothing repeats, and JPEG changes it little."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [128 + 90 * np.sin(x / (37 + 9 * c) + c) * np.cos(y / (53 - 7 * c)) for c in range(3)]
    return np.clip(np.stack(waves, -1) + rng.normal(0, 3, (height, width, 3)), 0, 255).astype(np.uint8)


def write_pyramid(path: Path, full: np.ndarray, subifds: bool = False, **options: Any) -> list[np.ndarray]:
    levels = [full, np.ascontiguousarray(full[::2, ::2]), np.ascontiguousarray(full[::4, ::4])]
    options = {"photometric": "rgb", "tile": (128, 128), "metadata": None} | options
    with tifffile.TiffWriter(path, ome=options.pop("ome", False)) as writer:
        writer.write(levels[0], subifds=2 if subifds else 0, **options)
        for level in levels[1:]:
            writer.write(level, subfiletype=1, **options)
    return levels


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "lzw"},
        {"compression": "lzw", "predictor": True},
        {"compression": "lzw", "predictor": True, "tile": None, "rowsperstrip": 64},
        {"compression": "deflate"},
        {"compression": "zstd"},
        {"compression": "packbits"},
        {"compression": "jpeg2000", "compressionargs": {"reversible": True}},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"subifds": True},
        {"tile": None, "rowsperstrip": 64},
    ],
    ids=str,
)
def test_lossless_pyramids_are_read_exactly(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "slide.tif"
    if "bigtiff" in options or "byteorder" in options:
        with tifffile.TiffWriter(path, **options) as writer:
            levels = [picture(), picture()[::2, ::2]]
            for index, level in enumerate(levels):
                writer.write(level, tile=(128, 128), photometric="rgb", metadata=None, subfiletype=index)
    else:
        levels = write_pyramid(path, picture(), **options)
    with open_slide(path) as slide:
        assert [level.downsample for level in slide.levels] == [1, 2, 4][: len(levels)]
        for index, level in enumerate(levels):
            np.testing.assert_array_equal(whole(slide, index), level)


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 2)])
def test_jpeg_tiles_are_as_tifffile_decodes_them(tmp_path: Path, subsampling: tuple[int, int]) -> None:
    path = tmp_path / "slide.tif"
    write_pyramid(path, picture(), compression="jpeg", photometric="ycbcr", subsampling=subsampling)
    with open_slide(path) as slide:
        for level in range(3):
            np.testing.assert_array_equal(whole(slide, level), tifffile.imread(path, key=level))


def test_regions_match_openslide(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    write_pyramid(path, picture(), compression="jpeg", photometric="ycbcr", subsampling=(2, 2))
    with open_slide(path) as slide, openslide.OpenSlide(path) as reference:
        for x, y, width, height in [(0, 0, 900, 700), (130, 250, 301, 77), (127, 127, 2, 2), (640, 511, 200, 100)]:
            expected = np.asarray(reference.read_region((x, y), 0, (width, height)))[..., :3]
            np.testing.assert_array_equal(slide.read_region(x, y, width, height), expected)


def test_ome_tiff_has_its_subifd_levels_and_pixel_size(tmp_path: Path) -> None:
    path = tmp_path / "slide.ome.tif"
    metadata = {"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm"}
    metadata |= {"PhysicalSizeY": 250.0, "PhysicalSizeYUnit": "nm"}
    levels = write_pyramid(path, picture(), subifds=True, ome=True, metadata=metadata)
    with open_slide(path) as slide:
        assert (slide.format, slide.mpp, slide.mpp_source) == ("OME-TIFF", 0.25, "OME-XML PhysicalSizeX")
        assert len(slide.levels) == 3
        np.testing.assert_array_equal(whole(slide, 2), levels[2])


def test_unmarked_levels_are_found(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    full = picture()
    with tifffile.TiffWriter(path) as writer:
        for level in (full, full[::3, ::3]):
            writer.write(level, tile=(128, 128), photometric="rgb", metadata=None)
    with open_slide(path) as slide:
        assert [level.downsample for level in slide.levels] == [1, 3]


def test_the_slide_is_the_largest_image_of_a_file(tmp_path: Path) -> None:
    scan, tiles = picture(), {"photometric": "rgb", "tile": (128, 128)}
    macro = np.full((300, 400, 3), (250, 250, 200), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        writer.write(macro, metadata={"axes": "YXS", "PhysicalSizeX": 20, "PhysicalSizeY": 20}, **tiles)
        writer.write(scan, subifds=1, metadata={"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}, **tiles)
        writer.write(scan[::2, ::2], subfiletype=1, **tiles)
    with open_slide(tmp_path / "a.ome.tif") as slide:
        assert (slide.shape, len(slide.levels), slide.mpp) == (scan.shape[:2], 2, 0.5)
        np.testing.assert_array_equal(whole(slide, 0), scan)
    with tifffile.TiffWriter(tmp_path / "b.tif") as writer:
        writer.write(scan[::8, ::8], photometric="rgb", metadata=None, subfiletype=1)
        writer.write(scan, metadata=None, resolution=(20_000, 20_000), resolutionunit=3, **tiles)
    with open_slide(tmp_path / "b.tif") as slide:
        assert (slide.shape, slide.mpp) == (scan.shape[:2], 0.5)


def test_a_label_is_no_level(tmp_path: Path) -> None:
    scan, tiles = picture()[:512, :512], {"photometric": "rgb", "tile": (128, 128), "metadata": None}
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for image in (scan, scan[::2, ::2], np.full((128, 128, 3), (255, 255, 0), np.uint8)):
            writer.write(image, **tiles)
    with open_slide(tmp_path / "a.tif") as slide:
        assert [level.downsample for level in slide.levels] == [1, 2]


KINDS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], dict[str, Any], Callable[[np.ndarray], np.ndarray]]] = {
    "grey": (lambda p: p[..., 0], {"photometric": "minisblack"}, lambda p: np.repeat(p[..., :1], 3, 2)),
    "inverted": (lambda p: 255 - p[..., 0], {"photometric": "miniswhite"}, lambda p: np.repeat(p[..., :1], 3, 2)),
    "16 bit": (lambda p: p.astype(np.uint16) * 257, {"photometric": "rgb"}, lambda p: p),
    "planar": (
        lambda p: np.ascontiguousarray(p.transpose(2, 0, 1)),
        {"photometric": "rgb", "planarconfig": "separate"},
        lambda p: p,
    ),
    "transparent": (
        lambda p: np.dstack([p, np.where(np.arange(p.shape[1]) < 100, 0, 255)[None].repeat(len(p), 0)]).astype(
            np.uint8
        ),
        {"photometric": "rgb", "extrasamples": ["unassalpha"]},
        lambda p: np.where(np.arange(p.shape[1])[None, :, None] < 100, 255, p).astype(np.uint8),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", [{"tile": (128, 128)}, {"rowsperstrip": 100}, {"tile": (96, 128), "compression": 5}])
def test_other_pixels_become_8_bit_rgb(tmp_path: Path, kind: str, layout: dict[str, Any]) -> None:
    make, options, expect = KINDS[kind]
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, make(picture()), metadata=None, **options, **layout)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide), expect(picture()))


def test_three_planes_are_one_rgb_image(tmp_path: Path) -> None:
    path = tmp_path / "slide.ome.tif"
    planes = np.ascontiguousarray(picture().transpose(2, 0, 1))
    tifffile.imwrite(path, planes, photometric="minisblack", tile=(128, 128), metadata={"axes": "CYX"})
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide), picture())


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (np.zeros((64, 64), np.float32), {"photometric": "minisblack"}),
        (np.zeros((64, 64, 4), np.uint8), {"photometric": "separated"}),
        (np.zeros((5, 64, 64), np.uint8), {"photometric": "minisblack"}),
        (np.zeros((64, 64), bool), {"photometric": "minisblack"}),
    ],
    ids=["float", "CMYK", "5 channels", "bilevel"],
)
def test_pixels_that_are_not_colours_are_refused(tmp_path: Path, pixels: np.ndarray, options: dict[str, Any]) -> None:
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, pixels, **options)
    with pytest.raises(UserError, match="cannot be read: it"):
        open_slide(path)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_png(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "picture.png"
    image = Image.fromarray(picture(200, 300)).convert(mode)
    if mode == "RGBA":
        image.putalpha(255)
    image.save(path)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide), np.asarray(image.convert("RGB")))
        assert (slide.format, slide.mpp, slide.mpp_source) == ("PNG", None, "none")


def test_a_72_dpi_jpeg_has_no_pixel_size_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    Image.fromarray(picture(200, 300)).save(path, dpi=(72, 72))
    with open_slide(path) as slide:
        assert slide.mpp is None
        assert "printer" in slide.mpp_note
        np.testing.assert_array_equal(whole(slide), imagecodecs.jpeg_decode(path.read_bytes()))


APERIO = "Aperio Image Library v1 \r\n512x512 JPEG/RGB Q=70|AppMag = 20|MPP = {}|Left = 1"
OME = (
    '<?xml version="1.0"?><OME{}><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" '
    'SizeX="512" SizeY="512" SizeC="3" SizeZ="1" SizeT="1" PhysicalSizeX="{}" PhysicalSizeY="{}">'
    '<Channel ID="Channel:0:0" SamplesPerPixel="3"/><TiffData IFD="0" PlaneCount="1"/>{}</OME>'
)
OME_ENDS = "</Pixels></Image>"
NAMESPACE = ' xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'


@pytest.mark.parametrize(
    ("name", "description", "mpp"),
    [
        ("comma.svs", APERIO.format("0,499000"), 0.499),
        ("exponent.svs", APERIO.format("2.5e-1"), 0.25),
        ("stray.svs", APERIO.format("0.25.1"), None),
        ("words.svs", APERIO.format("unknown"), None),
        ("infinite.svs", APERIO.format("inf"), None),
        ("plain.ome.tif", OME.format(NAMESPACE, 0.5, 0.5, OME_ENDS), 0.5),
        ("comma.ome.tif", OME.format(NAMESPACE, "0,5", "0,5", OME_ENDS), 0.5),
        ("no namespace.ome.tif", OME.format("", 0.5, 0.5, OME_ENDS), 0.5),
        ("not well-formed.ome.tif", OME.format(NAMESPACE, 0.5, 0.5, ""), None),
        ("text.ome.tif", OME.format(NAMESPACE, "half", "half", OME_ENDS), None),
    ],
    ids=lambda value: value if str(value).endswith(("svs", "tif")) else "",
)
def test_pixel_sizes_as_software_writes_them(tmp_path: Path, name: str, description: str, mpp: float | None) -> None:
    pixels = np.random.default_rng(0).integers(100, 250, (512, 512, 3), np.uint8)
    settings = {"compression": "jpeg"} if name.endswith("svs") else {}
    tifffile.imwrite(
        tmp_path / name, pixels, description=description, photometric="rgb", tile=(256, 256), metadata=None, **settings
    )
    with open_slide(tmp_path / name) as slide:
        assert slide.mpp == mpp
        assert slide.read_region(0, 0, 8, 8).shape == (8, 8, 3)


@pytest.mark.parametrize(("unit", "mpp"), [("micron", 0.5), ("um", 0.5), ("\\u00B5m", 0.5), ("mm", None), ("px", None)])
def test_the_unit_of_imagej(tmp_path: Path, unit: str, mpp: float | None) -> None:
    path = tmp_path / "imagej.tif"
    pixels = np.zeros((64, 64, 3), np.uint8)
    tifffile.imwrite(path, pixels, imagej=True, resolution=(2, 2), metadata={"unit": unit, "axes": "YXS"})
    with open_slide(path) as slide:
        assert (slide.mpp, slide.mpp_source) == (mpp, "ImageJ unit" if mpp else "none")


@pytest.mark.parametrize(
    ("resolution", "unit", "mpp"),
    [((20_000, 20_000), 3, 0.5), ((50_800, 50_800), 2, 0.5), ((72, 72), 2, None), ((20_000, 40_000), 3, None)],
)
def test_tiff_resolution(tmp_path: Path, resolution: tuple[int, int], unit: int, mpp: float | None) -> None:
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, picture(100, 100), photometric="rgb", resolution=resolution, resolutionunit=unit)
    with open_slide(path) as slide:
        assert slide.mpp == mpp
        assert slide.mpp_source == ("TIFF resolution tag" if mpp else "none")
        assert ("not believed" in slide.mpp_note) == (mpp is None)


def test_an_implausible_tag_gives_way_to_the_next() -> None:
    tag = judge_mpp([("first", 352.8, 352.8), ("second", 0.25, 0.26)])
    assert (tag.mpp, tag.source) == (pytest.approx(0.255), "second")
    assert "352.8" in tag.note


def test_downsample_is_whole_where_halving_explains_the_size() -> None:
    assert levels_of([(9274, 9911), (580, 620)])[1].downsample == 16
    assert levels_of([(1000, 1000), (770, 770)])[1].downsample == pytest.approx(1000 / 770)


def test_outside_is_white_and_corners_may_be_negative(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    write_pyramid(path, picture())
    with open_slide(path) as slide:
        region = slide.read_region(-10, -20, 40, 50)
        assert (region[:20] == 255).all()
        assert (region[:, :10] == 255).all()
        np.testing.assert_array_equal(region[20:, 10:], picture()[:30, :30])
        assert (slide.read_region(5000, 5000, 8, 9) == 255).all()


def test_two_slides_of_one_unchanged_file_are_the_same(tmp_path: Path) -> None:
    path, other = tmp_path / "a.png", tmp_path / "b.png"
    for file in (path, other):
        Image.new("RGB", (40, 30)).save(file)
    first, again = open_slide(path), open_slide(path)
    assert first.is_same(again)
    assert not first.is_same(None)
    assert not first.is_same(open_slide(other))
    again.scale = 4.0
    assert not first.is_same(again)
    os.utime(path, (1, 1))
    assert not first.is_same(open_slide(path))
    closed = open_slide(path)
    closed.close()
    assert not open_slide(path).is_same(closed)


def test_thumbnail_is_the_area_average(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, picture(800, 1200), photometric="rgb", tile=(128, 128))
    with open_slide(path) as slide:
        thumbnail = slide.thumbnail(150)
    expected = picture(800, 1200).reshape(100, 8, 150, 8, 3).mean((1, 3))
    assert thumbnail.shape == (100, 150, 3)
    assert np.abs(thumbnail - expected).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("max_px", [1, 300, 599, 1500])
def test_a_thumbnail_made_in_parts_is_the_area_average(tmp_path: Path, max_px: int) -> None:
    """However its blocks of rows and columns lie between the pixels."""
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, picture(200, 1201), photometric="rgb", tile=(128, 128))
    with open_slide(path) as slide:
        thumbnail = slide.thumbnail(max_px)
    height, width = thumbnail.shape[:2]
    rows, columns = (axis_weights(n, m, n / m).toarray() for n, m in ((200, height), (1201, width)))
    expected = np.einsum("yi,xj,ijc->yxc", rows, columns, picture(200, 1201).astype(np.float64), optimize=True)
    assert width == min(max_px, 1201)
    assert np.abs(thumbnail - expected).max() <= 0.5 + 1e-2


def test_a_slide_reads_the_same_from_many_threads(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    full = picture()
    write_pyramid(path, full, compression="lzw")
    corners = [(x, y) for x in range(0, 800, 90) for y in range(0, 600, 70)]
    with open_slide(path) as slide, ThreadPoolExecutor(8) as pool:
        regions = list(pool.map(lambda corner: slide.read_region(*corner, 100, 100), corners))
    for (x, y), region in zip(corners, regions, strict=True):
        np.testing.assert_array_equal(region, full[y : y + 100, x : x + 100])


def test_the_first_jpeg_tile_is_decoded_beside_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "slide.tif"
    write_pyramid(path, picture(), compression="jpeg")
    with open_slide(path) as slide:
        first_row = slide.read_region(0, 0, 512, 128)
    for name in ("seek", "read"):
        monkeypatch.setattr(tifffile.FileHandle, name, _slowed(getattr(tifffile.FileHandle, name)))
    for _ in range(10):
        with open_slide(path) as slide, ThreadPoolExecutor(4) as pool:
            tiles = list(pool.map(lambda x, slide=slide: slide.read_region(x, 0, 128, 128), range(0, 512, 128)))
        np.testing.assert_array_equal(np.concatenate(tiles, 1), first_row)


def _slowed(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that takes a while, so that whoever moves in the file meanwhile is found out."""
    rng = np.random.default_rng(0)

    def slow(*arguments: Any) -> Any:
        time.sleep(rng.uniform(0, 0.002))
        return method(*arguments)

    return slow


def test_a_slide_is_not_pickled(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    Image.fromarray(picture(20, 30)).save(path)
    with open_slide(path) as slide, pytest.raises(TypeError):
        pickle.dumps(slide)


@pytest.mark.parametrize("name", ["flat.png", "tiled.tif", "strips.tif", "one_strip.tif", "inks.tif"])
def test_a_large_flat_picture_gets_levels_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(flat_source, "SHOWN_PIXELS", 500_000)
    monkeypatch.setattr(flat_source, "LAST_LEVEL", 250)
    monkeypatch.setattr(flat_source, "MAX_TILE_PIXELS", 300_000)
    full, path = picture(701, 901), tmp_path / name
    layout = {
        "tiled.tif": {"tile": (128, 128)},
        "strips.tif": {"rowsperstrip": 16},
        "one_strip.tif": {"rowsperstrip": 701},
    }
    if name.endswith("png"):
        Image.fromarray(full).save(path)
    elif name == "inks.tif":  # which OpenSlide reads
        inks = np.pad(255 - full, ((0, 0), (0, 0), (0, 1)))
        tifffile.imwrite(path, inks, photometric="separated", tile=(128, 128), metadata=None)
    else:
        tifffile.imwrite(path, full, photometric="rgb", metadata=None, **layout[name])
    steps: list[Any] = []
    with open_slide(path, steps.append) as slide:
        assert [level.downsample for level in slide.levels] == [1, 2, 4]
        np.testing.assert_array_equal(whole(slide), full)
        quads = np.pad(full, ((0, 1), (0, 1), (0, 0)), mode="edge").reshape(351, 2, 451, 2, 3).mean((1, 3))
        assert np.abs(whole(slide, 1) - quads).max() <= 0.5
    assert steps
    steps.clear()
    with open_slide(path, steps.append) as slide:
        assert len(slide.levels) == 3
        np.testing.assert_array_equal(whole(slide), full)
    assert not steps, "the levels are built once"
    os.utime(path, ns=(1, 1))
    open_slide(path, steps.append).close()
    assert steps, "a file that changed gets new levels"


def test_a_slide_closed_while_it_is_read_keeps_its_levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat_source, "SHOWN_PIXELS", 500_000)
    monkeypatch.setattr(flat_source, "LAST_LEVEL", 250)
    path = tmp_path / "flat.png"
    Image.fromarray(picture()).save(path)
    with open_slide(path) as slide:
        pass
    for level in range(len(slide.levels)):
        with pytest.raises(TileError):
            whole(slide, level)
    open_slide(path, lambda _: pytest.fail("a level was not kept")).close()


def test_cancelling_an_overview_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat_source, "SHOWN_PIXELS", 500_000)
    path = tmp_path / "flat.png"
    Image.fromarray(picture()).save(path)

    def cancel(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_slide(path, cancel)
    assert not list((tmp_path / "cache" / "overviews").iterdir())


@pytest.mark.parametrize("damage", ["header", "missing", "zeros"])
@pytest.mark.parametrize("name", ["flat.png", "tiled.tif", "one_strip.tif"])
def test_what_is_damaged_in_the_cache_is_made_again_and_not_said_of_the_slide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, damage: str
) -> None:
    monkeypatch.setattr(flat_source, "SHOWN_PIXELS", 500_000)
    monkeypatch.setattr(flat_source, "LAST_LEVEL", 250)
    monkeypatch.setattr(flat_source, "MAX_TILE_PIXELS", 300_000)
    path = tmp_path / name
    if name.endswith("png"):
        Image.fromarray(picture(701, 901)).save(path)
    else:
        layout = {"tile": (128, 128)} if name == "tiled.tif" else {"rowsperstrip": 701}
        tifffile.imwrite(path, picture(701, 901), photometric="rgb", metadata=None, **layout)
    with open_slide(path) as slide:
        sound = [whole(slide, level) for level in range(3)]
    files = sorted((tmp_path / "cache" / "overviews").glob("*/*.tif"))
    assert [file.name for file in files] == ["00.tif", "01.tif", "02.tif"][name == "tiled.tif" :]
    for file in files:
        contents = file.read_bytes()
        if damage == "missing":
            file.unlink()
        elif damage == "header":
            file.write_bytes(b"II*\0")
        else:  # as a disk leaves them: all tiles but no header
            with tifffile.TiffFile(file) as tiff:
                tiles = list(zip(tiff.pages[0].dataoffsets, tiff.pages[0].databytecounts, strict=True))
            for offset, count in tiles:
                contents = contents[:offset] + bytes(count) + contents[offset + count :]
            file.write_bytes(contents)
        for _ in range(2):  # it is made again, and lasts
            with open_slide(path) as slide:
                for level, pixels in enumerate(sound):
                    np.testing.assert_array_equal(whole(slide, level), pixels)
        open_slide(path, lambda _, file=file: pytest.fail(f"{file.name} was not kept")).close()


def test_a_slide_has_its_facts(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    write_pyramid(path, picture())
    with open_slide(path) as slide:
        assert (slide.format, slide.shape) == ("tiled TIFF", (700, 900))
        assert slide.levels == (Level(900, 700, 1.0), Level(450, 350, 2.0), Level(225, 175, 4.0))


# Real slides


def test_real_svs_is_as_openslide_reads_it(real_data: Path) -> None:
    path = real_data / "slides" / "CMU-1-Small-Region.svs"
    with open_slide(path) as slide, openslide.OpenSlide(path) as reference:
        expected = np.asarray(reference.read_region((0, 0), 0, reference.dimensions))[..., :3]
        np.testing.assert_array_equal(whole(slide), expected)
        assert (slide.format, slide.mpp, slide.mpp_source) == ("Aperio SVS", 0.499, "Aperio tag")


def test_real_dicom_is_the_svs_compressed_again(real_data: Path) -> None:
    """The DICOM copy is lossy: its tiles are those of the SVS as JPEG of quality 90 with 2 × 2 chroma subsampling."""
    with (
        open_slide(real_data / "slides" / "CMU-1-Small-Region-dicom") as dicom,
        open_slide(real_data / "slides" / "CMU-1-Small-Region.svs") as svs,
    ):
        assert (dicom.format, dicom.mpp, dicom.shape) == ("DICOM", 0.499, svs.shape)
        for x, y in [(0, 0), (720, 1680), (960, 2400), (1200, 480)]:
            tile = io.BytesIO()
            Image.fromarray(svs.read_region(x, y, 240, 240)).save(tile, "jpeg", quality=90, subsampling="4:2:0")
            again = np.asarray(Image.open(tile)).astype(int)
            # Codecs of one standard may differ by rounding; a shift of one pixel gives a mean of 6 and more.
            assert np.abs(dicom.read_region(x, y, 240, 240) - again).max() <= 2


def test_real_pyramid_is_as_tifffile_decodes_it(real_data: Path) -> None:
    path = real_data / "her2st" / "C2.tif"
    with open_slide(path) as slide:
        assert [level.downsample for level in slide.levels] == [1, 2, 4, 8, 16]
        assert slide.mpp == pytest.approx(0.6881, abs=1e-4)
        for level in (2, 3, 4):
            np.testing.assert_array_equal(whole(slide, level), tifffile.imread(path, key=level))
