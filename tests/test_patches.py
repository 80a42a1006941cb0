"""What training and prediction rely on in patches: geometry, order, each tile once, little memory."""

import struct
import threading
from pathlib import Path

import imagecodecs
import numpy as np
import psutil
import pytest
import tifffile

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.slides.patches import PatchSpec, read_patches
from napari_cmrcnet.slides.resample import axis_weights, resample
from napari_cmrcnet.slides.slide import Slide, open_slide

OWN = PatchSpec(64, 0.5)


def scene(height: int = 900, width: int = 1100) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def slide_path(tmp_path: Path) -> Path:
    path = tmp_path / "slide.tif"
    full = scene()
    half = full.reshape(450, 2, 550, 2, 3).mean((1, 3)).round().astype(np.uint8)
    with tifffile.TiffWriter(path) as writer:
        for index, level in enumerate((full, half)):
            writer.write(level, tile=(128, 128), photometric="rgb", metadata=None, subfiletype=index)
    return path


def patches(slide: Slide, xy: object, spec: PatchSpec, mpp: float = 0.5, **options: int) -> np.ndarray:
    """Return all patches in the order of the spots."""
    xy = np.asarray(xy, dtype=float)
    out = np.zeros((len(xy), spec.patch_px, spec.patch_px, 3), np.uint8)
    seen = np.zeros(len(xy), int)
    for batch in read_patches(slide, xy, spec, mpp, **options):
        out[batch.rows] = batch.pixels
        seen[batch.rows] += 1
        assert batch.unreadable.size == 0
    assert (seen == 1).all()
    return out


def test_at_scale_one_the_pixels_are_the_slides_own(slide_path: Path) -> None:
    xy = np.array([[300, 200], [300.4, 200.4], [300.5, 200.5], [700.6, 811.2]])
    corners = [(268, 168), (268, 168), (269, 169), (669, 779)]
    with open_slide(slide_path) as slide:
        for patch, (x, y) in zip(patches(slide, xy, OWN), corners, strict=True):
            np.testing.assert_array_equal(patch, scene()[y : y + 64, x : x + 64])


def test_side_follows_the_pixel_size() -> None:
    assert PatchSpec(224, 0.5).side_px(0.25) == 448
    assert PatchSpec(224, 0.5).side_px(0.5) == 224


def test_a_coarser_patch_comes_from_the_level_just_above(slide_path: Path) -> None:
    with open_slide(slide_path) as slide:
        patch = patches(slide, [[400, 400]], PatchSpec(64, 0.5), 0.25)[0]
        half = slide.read_region(0, 0, 550, 450, level=1)
        assert [slide.level_for(scale) for scale in (0.5, 1, 1.99, 2, 7)] == [0, 0, 0, 1, 1]
    np.testing.assert_array_equal(patch, half[168:232, 168:232])


@pytest.mark.parametrize("mpp", [0.3, 0.37, 0.11])
def test_shrinking_is_the_exact_area_average(slide_path: Path, mpp: float) -> None:
    with open_slide(slide_path) as slide:
        patch = patches(slide, [[500, 450]], PatchSpec(64, 0.5), mpp)[0]
        side = 64 * 0.5 / mpp
        level = slide.level_for(side / 64)
        pixels = slide.read_region(0, 0, slide.levels[level].width, slide.levels[level].height, level).astype(float)
    downsample = 2**level
    side /= downsample
    x, y = (int(np.floor(centre / downsample - side / 2 + 0.5)) for centre in (500, 450))
    # Slow reference: the integral image, linearly interpolated at the fractional borders of each patch pixel.
    integral = np.pad(pixels, ((1, 0), (1, 0), (0, 0))).cumsum(0).cumsum(1)

    def along(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
        low = np.minimum(np.floor(edges).astype(int), len(values) - 2)
        part = (edges - low)[:, None, None]
        return values[low] * (1 - part) + values[low + 1] * part

    edges = np.arange(65) * side / 64
    sums = along(along(integral, y + edges).transpose(1, 0, 2), x + edges).transpose(1, 0, 2)
    expected = np.diff(np.diff(sums, axis=0), axis=1) / (side / 64) ** 2
    assert np.abs(patch - expected).max() <= 0.5 + 1e-2


def test_enlarging_is_linear() -> None:
    ramp = np.repeat(np.linspace(10, 240, 24)[None, :, None], 24, 0).repeat(3, 2).round().astype(np.uint8)
    weights = axis_weights(24, 48, 0.5)
    large = resample(ramp, weights, weights)
    assert (np.diff(large[0, :, 0].astype(int)) >= 0).all()
    assert np.abs(large[5, 1:-1:2, 0] - (0.75 * ramp[0, :-1, 0] + 0.25 * ramp[0, 1:, 0])).max() <= 0.51


@pytest.mark.parametrize(("n_in", "n_out"), [(301, 224), (224, 224), (113, 224), (1000, 64), (5, 3)])
def test_weights_keep_a_constant_picture(n_in: int, n_out: int) -> None:
    weights = axis_weights(n_in, n_out, n_in / n_out)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)
    for value in (0, 1, 254, 255):
        flat = np.full((n_in, n_in, 3), value, np.uint8)
        assert (resample(flat, weights, weights) == value).all()


def test_the_edge_is_padded_with_white(slide_path: Path) -> None:
    with open_slide(slide_path) as slide:
        corner, far = patches(slide, [[0, 0], [5000, 5000]], OWN)
    np.testing.assert_array_equal(corner[32:, 32:], scene()[:32, :32])
    assert (corner[:32] == 255).all()
    assert (corner[:, :32] == 255).all()
    assert (far == 255).all()


def test_the_result_depends_on_neither_batches_nor_threads(slide_path: Path) -> None:
    xy = np.random.default_rng(0).uniform(0, 900, (150, 2))
    with open_slide(slide_path) as slide:
        one = patches(slide, xy, PatchSpec(64, 0.5), 0.37, batch_size=150, threads=1)
        for batch_size, threads in [(1, 1), (7, 3), (64, 2), (3, 8)]:
            other = patches(slide, xy, PatchSpec(64, 0.5), 0.37, batch_size=batch_size, threads=threads)
            np.testing.assert_array_equal(one, other)


def test_no_spots_and_no_position(slide_path: Path) -> None:
    with open_slide(slide_path) as slide:
        assert list(read_patches(slide, np.empty((0, 2)), OWN, 0.5)) == []
        with pytest.raises(UserError, match="position"):
            list(read_patches(slide, [[1.0, np.nan]], OWN, 0.5))


def test_closing_the_reading_ends_its_threads(slide_path: Path) -> None:
    with open_slide(slide_path) as slide:
        batches = read_patches(slide, np.random.default_rng(0).uniform(0, 900, (500, 2)), OWN, 0.5, batch_size=4)
        next(batches)
        batches.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("patches")]


def test_each_tile_is_decoded_once(slide_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = np.stack(np.meshgrid(np.arange(40, 1060, 45.0), np.arange(40, 860, 45.0)), -1).reshape(-1, 2)
    with open_slide(slide_path) as slide:
        decoded: list[tuple[int, int, int]] = []
        read_tile = slide.source.read_tile
        monkeypatch.setattr(slide.source, "read_tile", lambda *key: decoded.append(key) or read_tile(*key))
        # In batches that are short beside a tile row, as they are on a real slide.
        patches(slide, np.random.default_rng(0).permutation(grid), OWN, batch_size=8)
    assert len(decoded) == len(set(decoded)) == 7 * 9


def gigantic_tiff(path: Path, side: int, tile: int) -> None:
    """Write a slide of side² pixels, all of whose tiles are the same one on disk, and a level 64 times smaller."""
    grain = np.random.default_rng(0).normal(190, 12, (tile // 16, tile // 16, 3)).repeat(16, 0).repeat(16, 1)
    jpeg = imagecodecs.jpeg8_encode(np.clip(grain, 0, 255).astype(np.uint8), level=75)
    data, levels = bytearray(b"II*\0\0\0\0\0" + jpeg), []
    for size in (side, side // 64):
        tiles = (-(-size // tile)) ** 2
        lists = len(data)
        data += struct.pack(f"<{tiles}I", *[8] * tiles) + struct.pack(f"<{tiles}I", *[len(jpeg)] * tiles)
        levels.append((size, tiles, lists))
    link = 4
    for number, (size, tiles, lists) in enumerate(levels):
        bits = len(data)
        data += struct.pack("<3H", 8, 8, 8)
        data += bytes(len(data) % 2)
        tags = [(254, 4, 1, number), (256, 4, 1, size), (257, 4, 1, size), (258, 3, 3, bits), (259, 3, 1, 7)]
        tags += [(262, 3, 1, 6), (277, 3, 1, 3), (322, 4, 1, tile), (323, 4, 1, tile)]
        tags += [(324, 4, tiles, lists), (325, 4, tiles, lists + 4 * tiles)]
        data[link : link + 4] = struct.pack("<I", len(data))
        data += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
        link = len(data)
        data += bytes(4)
    path.write_bytes(data)


def test_four_thousand_patches_of_a_gigantic_slide_stay_under_500_mb(tmp_path: Path) -> None:
    path = tmp_path / "gigantic.tif"
    gigantic_tiff(path, 100_000, 256)
    xy = np.random.default_rng(0).uniform(0, 100_000, (4000, 2))
    process = psutil.Process()
    before = process.memory_info().rss
    peak = before
    with open_slide(path) as slide:
        assert slide.shape == (100_000, 100_000)
        for batch in read_patches(slide, xy, PatchSpec(), 0.5):
            assert batch.unreadable.size == 0
            peak = max(peak, process.memory_info().rss)
    assert (peak - before) / 1e6 < 500
