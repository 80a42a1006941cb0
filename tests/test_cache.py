"""Patches are cut once, kept by content, and never kept half."""

import resource
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from napari_cmrcnet.common import files
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.slides import patch_cache as cache
from napari_cmrcnet.slides.patch_cache import cache_key, patch_cache, slide_digest
from napari_cmrcnet.slides.patches import PatchBatch, PatchSpec, read_patches

Write = Callable[..., tuple[Path, Path]]
Open = Callable[..., Section]
SPEC = PatchSpec(32, 0.5)


@pytest.fixture
def section(tmp_path: Path, write_section: Write, open_small: Open, monkeypatch: pytest.MonkeyPatch) -> Section:
    monkeypatch.setenv("CMRCNET_CACHE", str(tmp_path / "cache"))
    return open_small(*write_section(tmp_path, "S1"))


def kept(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache" / "patches").iterdir())


def test_the_cache_holds_the_patches_in_the_order_of_the_spots(section: Section) -> None:
    shuffled = replace(section, spots=section.spots[np.random.default_rng(0).permutation(36)].copy())
    patches = finish(patch_cache(shuffled, SPEC))
    assert isinstance(patches, np.memmap)
    assert patches.shape == (36, 32, 32, 3)
    for batch in read_patches(shuffled.slide, shuffled.xy, SPEC, shuffled.mpp):
        np.testing.assert_array_equal(patches[batch.rows], batch.pixels)
    with pytest.raises(ValueError, match="read-only"):
        patches[0] = 0


def test_a_second_training_finds_the_patches_of_the_first(section: Section, monkeypatch: pytest.MonkeyPatch) -> None:
    first = np.array(finish(patch_cache(section, SPEC)))

    def not_again(*_: object) -> None:
        raise AssertionError("cut again")

    monkeypatch.setattr(cache, "read_patches", not_again)
    np.testing.assert_array_equal(finish(patch_cache(section, SPEC)), first)


def test_a_copied_slide_is_the_same_slide(section: Section, tmp_path: Path, open_small: Open) -> None:
    copy = shutil.copy(section.slide.path, tmp_path / "copy.tif")
    again = open_small(copy, tmp_path / "S1.h5ad")
    assert cache_key(again, SPEC) == cache_key(section, SPEC)


def test_whatever_changes_the_pixels_changes_the_key(
    section: Section, tmp_path: Path, write_section: Write, open_small: Open
) -> None:
    finer = PatchSpec(32, 0.25)
    coarse = open_small(tmp_path / "S1.tif", tmp_path / "S1.h5ad", mpp=0.7)
    other_slide = open_small(write_section(tmp_path, "S2", seed=1)[0], tmp_path / "S1.h5ad")
    fewer = replace(section, spots=section.spots[:30].copy())
    keys = [
        cache_key(section, SPEC),
        cache_key(section, PatchSpec(16, 0.5)),
        cache_key(section, finer),
        cache_key(coarse, SPEC),
        cache_key(other_slide, SPEC),
        cache_key(fewer, SPEC),
    ]
    assert len(set(keys)) == len(keys)


def test_a_slide_of_many_files_is_all_of_them(tmp_path: Path) -> None:
    slide = tmp_path / "slide.mrxs"
    (tmp_path / "slide").mkdir()
    slide.write_bytes(b"index")
    (tmp_path / "slide" / "Data0000.dat").write_bytes(b"pixels")
    before = slide_digest(slide)
    (tmp_path / "slide" / "Data0000.dat").write_bytes(b"others")
    assert slide_digest(slide) != before
    folder = slide_digest(tmp_path / "slide")
    (tmp_path / "slide" / "Data0000.dat").rename(tmp_path / "slide" / "Data0001.dat")
    assert slide_digest(tmp_path / "slide") != folder


def test_a_store_of_thousands_of_files_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5000):  # of the chunks of an OME-Zarr picture
        (tmp_path / str(number)).write_bytes(b"chunk")
    first = slide_digest(tmp_path)
    monkeypatch.setattr(files, "sha256", Mock(side_effect=AssertionError("read again")))
    assert slide_digest(tmp_path) == first


def test_patches_that_cannot_be_read_are_an_error_before_training(
    section: Section, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*arguments: object, **_: object) -> Iterator[PatchBatch]:
        for batch in read_patches(*arguments):  # type: ignore[arg-type]
            yield replace(batch, unreadable=batch.rows[batch.rows < 3])

    monkeypatch.setattr(cache, "read_patches", damaged)
    with pytest.raises(UserError, match=r"3 of 36 .*S1-0, S1-1, S1-2"):
        finish(patch_cache(section, SPEC))
    assert kept(tmp_path) == []


def test_cancelling_leaves_nothing(section: Section, tmp_path: Path) -> None:
    job = patch_cache(section, SPEC)
    next(job)
    next(job)
    job.close()
    assert kept(tmp_path) == []


def test_a_full_disk_is_an_error_and_leaves_nothing(section: Section, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(UserError, match="could not be written"):
            finish(patch_cache(section, SPEC))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert kept(tmp_path) == []


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY nonsense", b"PK\x03\x04 nonsense"])
def test_a_damaged_cache_is_cut_again(section: Section, tmp_path: Path, damage: bytes) -> None:
    first = np.array(finish(patch_cache(section, SPEC)))
    kept(tmp_path)[0].write_bytes(damage)
    np.testing.assert_array_equal(finish(patch_cache(section, SPEC)), first)


def test_a_cache_cut_short_is_cut_again(section: Section, tmp_path: Path) -> None:
    first = np.array(finish(patch_cache(section, SPEC)))
    kept(tmp_path)[0].write_bytes(kept(tmp_path)[0].read_bytes()[:-1])
    np.testing.assert_array_equal(finish(patch_cache(section, SPEC)), first)
