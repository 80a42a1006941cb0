"""OME-Zarr pictures are read as slides, of both versions of zarr."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.slides.slide import open_slide
from napari_cmrcnet.viewer import reader
from pictures import picture


def write(folder: Path, pixels: np.ndarray, axes: str = "tczyx", version: int = 3, **omero: Any) -> Path:
    """Write a picture (y, x, c) or (z, y, x, c) at two sizes, with 0.5 µm per pixel in nm and a scale for all."""
    full = pixels if pixels.ndim == 4 else pixels[None]
    group = zarr.open_group(folder, mode="w", zarr_format=version)  # type: ignore[arg-type]
    for level in range(2):
        values = full[:, :: 2**level, :: 2**level].transpose(3, 0, 1, 2)[None]  # t, c, z, y, x
        values = values.reshape([values.shape["tczyx".index(axis)] for axis in axes])
        group.create_array(str(level), data=values, chunks=tuple(100 if axis in "yx" else 1 for axis in axes))
    kinds = {"t": "time", "c": "channel"}
    units = {axis: {"unit": "nanometer"} for axis in "yx"}
    scales = [[250.0 * 2**level if axis in "yx" else 1.0 for axis in axes] for level in range(2)]
    about: dict[str, Any] = {
        "axes": [{"name": axis, "type": kinds.get(axis, "space"), **units.get(axis, {})} for axis in axes],
        "datasets": [
            {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scales[level]}]}
            for level in range(2)
        ],
        "coordinateTransformations": [{"type": "scale", "scale": [2.0 if axis in "yx" else 1.0 for axis in axes]}],
    }
    attributes = {"multiscales": [about], **({"omero": omero} if omero else {})}
    group.attrs.update(attributes if version == 2 else {"ome": {"version": "0.5", **attributes}})
    return folder


@pytest.mark.parametrize("axes", ["tczyx", "cyx", "czyx"])
@pytest.mark.parametrize("version", [2, 3])
def test_colours_levels_and_pixel_size(tmp_path: Path, axes: str, version: int) -> None:
    with open_slide(write(tmp_path / "a.ome.zarr", picture(), axes, version)) as slide:
        assert (slide.format, slide.mpp, slide.mpp_source) == ("OME-Zarr", 0.5, "OME-Zarr scale")
        assert [level.downsample for level in slide.levels] == [1, 2]
        np.testing.assert_array_equal(slide.read_region(0, 0, 1100, 700), picture())
        np.testing.assert_array_equal(slide.read_region(100, 60, 50, 70, 1), picture()[60:200:2, 100:200:2])
        assert slide.notes == ()


def test_16_bits_and_focal_planes(tmp_path: Path) -> None:
    planes = np.stack([picture().astype(np.uint16) // 3 * z << 8 for z in (1, 2, 3)])
    with open_slide(write(tmp_path / "a.zarr", planes)) as slide:
        assert slide.notes == ("It has 3 focal planes; the one in the middle, number 2, is read.",)
        np.testing.assert_array_equal(slide.read_region(0, 0, 1100, 700), picture() // 3 * 2)


def test_what_bioformats2raw_writes(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    write(tmp_path / "a.zarr" / "0", picture(), version=2)
    with open_slide(tmp_path / "a.zarr") as slide:
        np.testing.assert_array_equal(slide.read_region(0, 0, 1100, 700), picture())


@pytest.mark.parametrize(
    ("pixels", "channels", "why"),
    [
        (picture()[..., [0, 1, 2, 0]], (), "it has 4 channels of uint8, not one image in colour; give the brightfield"),
        (picture()[..., :1], (), "it has 1 channel of uint8"),
        (picture().astype(np.float32), (), "it has 3 channels of float32"),
        (picture() // 8, (), "it has 3 channels that are dark"),
        (picture(), ("DAPI", "CD3", "panCK"), r"it has 3 channels \(DAPI, CD3, panCK\), as fluorescence has"),
    ],
)
def test_what_is_no_colour_picture(tmp_path: Path, pixels: np.ndarray, channels: tuple[str, ...], why: str) -> None:
    omero = {"channels": [{"label": name} for name in channels]} if channels else {}
    with pytest.raises(UserError, match=rf"a\.zarr cannot be read: {why}"):
        open_slide(write(tmp_path / "a.zarr", pixels, **omero))


def test_damage_ends_in_a_sentence(tmp_path: Path) -> None:
    folder = write(tmp_path / "a.zarr", picture(), "cyx")
    chunk = folder / "0" / "c" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:40])
    with open_slide(folder) as slide, pytest.raises(UserError, match="has a damaged tile"):
        slide.read_region(0, 0, 10, 10)
    shutil.rmtree(folder / "0")
    with pytest.raises(UserError, match="is damaged or cut short"):
        open_slide(folder)
    (folder / "zarr.json").write_text('{"attributes": {"ome": {"multiscales": 3}}}')
    with pytest.raises(UserError, match="is damaged or cut short"):
        open_slide(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes on Windows")
@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["zarr.json", ".zattrs"])
def test_a_named_pipe_within_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match="is neither a DICOM slide nor"):
        open_slide(tmp_path)


def test_a_level_with_many_more_channels_is_damage(tmp_path: Path) -> None:
    folder = write(tmp_path / "a.zarr", picture(), "cyx", 2)
    path = folder / "1" / ".zarray"
    about = json.loads(path.read_text())
    path.write_text(json.dumps(about | {"shape": [65535, *about["shape"][1:]]}))
    with pytest.raises(UserError, match="its levels have different channels"):
        open_slide(folder)


def cut_short(chunk: Path) -> None:
    chunk.write_bytes(chunk.read_bytes()[:-1])


def replace(chunk: Path) -> None:
    shutil.copy(chunk, chunk.with_name("new"))
    chunk.with_name("new").replace(chunk)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("change", [cut_short, replace, Path.unlink])
def test_a_chunk_that_changes_while_the_slide_is_read_is_noticed(
    tmp_path: Path, change: Callable[[Path], None], version: int
) -> None:
    folder = write(tmp_path / "a.zarr", picture(), "cyx", version)
    place, sign = (folder / "0" / "c", "/") if version == 3 else (folder / "0", ".")
    (place / sign.join("033")).unlink()  # never written, as many leave out what is all of one colour
    with open_slide(folder) as slide:
        slide.read_region(0, 0, 400, 400)
        slide.check_unchanged()
        change(place / sign.join("011"))
        with pytest.raises(UserError, match=r"a\.zarr (was changed while|cannot be read any more)"):
            slide.check_unchanged()


def test_a_chunk_that_goes_before_it_is_read_is_noticed(tmp_path: Path) -> None:
    folder = write(tmp_path / "a.zarr", picture(), "cyx")
    with open_slide(folder) as slide:
        (folder / "0" / "c" / "1" / "2" / "2").unlink()
        slide.read_region(0, 0, 400, 400)
        with pytest.raises(UserError, match=r"a\.zarr was changed while it was in use"):
            slide.check_unchanged()


def test_it_may_be_dropped_on_the_window(tmp_path: Path) -> None:
    assert reader.get_slide_reader(str(write(tmp_path / "a.zarr", picture()))) is not None
    zarr.open_group(tmp_path / "other.zarr", mode="w")
    assert reader.get_slide_reader(str(tmp_path / "other.zarr")) is None
