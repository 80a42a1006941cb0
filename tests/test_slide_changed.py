"""A slide that is cut short, overwritten, replaced or removed while it is read: one sentence, nothing written."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.slides.patch_cache import patch_cache
from napari_cmrcnet.slides.patches import PatchSpec
from napari_cmrcnet.slides.slide import open_slide


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwrite(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])


def replace(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes() + b"more")
    other.replace(path)


CHANGES = [cut_short, overwrite, replace, Path.unlink]
REFUSED = r"C\.(tif|png) (was changed while it was in use; wait until|cannot be read any more \()"


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["tif", "png"])
def test_a_prediction_is_refused_whose_slide_was_changed(
    tmp_path: Path,
    untrained_checkpoint: Checkpoint,
    write_section: Callable[..., Any],
    open_small: Callable[..., Any],
    change: Callable[[Path], None],
    kind: str,
) -> None:
    slide, spots = write_section(tmp_path, "C", 3)
    if kind == "png":
        with open_slide(slide) as opened:
            Image.fromarray(opened.thumbnail(1000)).save(tmp_path / "C.png")
        slide = tmp_path / "C.png"
    job = predict(open_small(slide, spots), untrained_checkpoint, PredictConfig(k=5, device="cpu"))
    next(job)
    change(slide)
    with pytest.raises(UserError, match=REFUSED):
        finish(job)


@pytest.mark.parametrize("change", CHANGES)
def test_patches_of_a_slide_that_was_changed_are_not_kept(
    tmp_path: Path,
    write_section: Callable[..., Any],
    open_small: Callable[..., Any],
    change: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CMRCNET_CACHE", str(tmp_path / "cache"))
    slide, spots = write_section(tmp_path, "C", 3)
    job = patch_cache(open_small(slide, spots), PatchSpec(32, 0.5))
    next(job)
    change(slide)
    with pytest.raises(UserError, match=REFUSED):
        finish(job)
    assert not list((tmp_path / "cache").rglob("*.*"))


def test_a_slide_that_stays_as_it_is_was_not_changed(tmp_path: Path, write_section: Callable[..., Any]) -> None:
    slide, _ = write_section(tmp_path, "C", 3)
    with open_slide(slide) as opened:
        os.utime(slide, ns=(0, slide.stat().st_mtime_ns))  # it was looked at
        opened.check_unchanged()
        assert np.asarray(opened.thumbnail(8)).shape == (8, 8, 3)
