"""A slide that is cut short, overwritten, replaced or removed while the window shows it: one sentence, no traceback."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import QApplication

from napari_cmrcnet.slides.slide import open_slide
from napari_cmrcnet.slides.source import TileError
from napari_cmrcnet.viewer.slide_layer import SlideLevel, slide_layer, watch
from scanner_slides import write_czi, write_scn

SIDE = 1024


pytestmark = pytest.mark.usefixtures("empty_cache")


def pixels(side: int = SIDE) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    return np.stack([90 + x % 97, 120 + y % 89, 150 + (x + y) % 83], -1).astype(np.uint8)


def write_tiff(path: Path, side: int = SIDE) -> Path:
    settings = {"photometric": "rgb", "tile": (256, 256), "metadata": None, "compression": "jpeg"}
    with tifffile.TiffWriter(path) as tiff:
        for level in range(3):
            tiff.write(pixels(side)[:: 2**level, :: 2**level], subfiletype=int(level > 0), **settings)
    return path


def czi(path: Path) -> Path:
    pytest.importorskip("fastslide")
    return write_czi(path, [pixels(), pixels()])


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 3)


def overwrite(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])


def replace(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes()[:-1])
    other.replace(path)


KINDS = {"slide.tif": write_tiff, "slide.scn": write_scn, "slide.czi": czi}


@pytest.mark.parametrize("change", [cut_short, overwrite, replace, Path.unlink])
@pytest.mark.parametrize("name", list(KINDS))
def test_a_slide_that_changes_is_told_once_and_never_raises(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[Path], None]
) -> None:
    monkeypatch.setattr("napari_cmrcnet.viewer.slide_layer.EVERY", 0.0)
    path = KINDS[name](tmp_path / name)
    with open_slide(path) as slide:
        levels = [level for level in slide_layer(slide, None)[0] if isinstance(level, SlideLevel)]
        assert levels[0][:9, :9].shape == (9, 9, 3)
        assert told == []
        change(path)
        for level in levels:
            assert level[...].shape == level.shape
        assert levels[0][-9:, -9:].shape == (9, 9, 3)
    (sentence,) = told
    assert sentence.startswith(str(path))
    assert ("cannot be read any more" if change is Path.unlink else "was changed while it was in use") in sentence


def test_a_slide_that_comes_back_is_not_told_again(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_cmrcnet.viewer.slide_layer.EVERY", 0.0)
    path = write_tiff(tmp_path / "slide.tif")
    with open_slide(path) as slide:
        path.rename(tmp_path / "elsewhere.tif")
        watch(slide)
        (tmp_path / "elsewhere.tif").rename(path)
        watch(slide, TileError("a tile"))
        assert len(told) == 1
    with open_slide(path) as again:  # opened again, it is another
        watch(again, TileError("a tile is damaged."))
        watch(again)
    assert told[1:] == ["a tile is damaged. What cannot be read is shown white."]


def test_the_file_is_looked_at_once_a_second_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_slide(write_tiff(tmp_path / "slide.tif")) as slide:
        looks: list[bool] = []
        monkeypatch.setattr(slide, "check_unchanged", lambda: looks.append(True))
        for _ in range(20):
            _ = SlideLevel(slide, 0)[:9, :9]
        assert len(looks) <= 2


@pytest.mark.qt("pyside6")
def test_a_slide_cut_short_while_a_window_shows_it_is_one_message(
    tmp_path: Path, told: list[str], napari_window: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The window is made with napari's own guard: what is raised while it draws fails the test."""
    monkeypatch.setattr("napari_cmrcnet.viewer.slide_layer.EVERY", 0.0)
    path = write_tiff(tmp_path / "slide.tif", 4 * SIDE)
    viewer = napari_window
    viewer.window.resize(900, 700)
    with open_slide(path) as slide:
        levels, settings, _ = slide_layer(slide, slide.mpp)
        layer = viewer.add_image(levels, **settings)
        cut_short(path)
        for step in range(8):
            viewer.scene.camera.zoom = 4
            viewer.scene.camera.center = (0, 500 * step, 3600 - 400 * step)
            QApplication.processEvents()
        assert layer.data_level == 0
        assert len(told) == 1
        assert "slide.tif was changed while it was in use" in told[0]
        drawn = viewer.screenshot(canvas_only=True, flash=False)[..., :3]
        assert (drawn == 255).all(axis=2).mean() > 0.2  # what is gone is white
        viewer.layers.clear()
