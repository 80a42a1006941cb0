"""A folder of DICOM files is opened as the slide that it holds, and says where it holds several."""

import shutil
from pathlib import Path

import pytest

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.slides.dicom_folder import dicom_instance
from napari_cmrcnet.slides.slide import open_slide

SERIES, COLUMNS = b"\x20\x00\x0e\x00UI", b"\x48\x00\x06\x00UL\x04\x00"


@pytest.fixture
def folder(tmp_path: Path, real_data: Path) -> Path:
    shutil.copytree(real_data / "slides" / "CMU-1-Small-Region-dicom", tmp_path / "dicom")
    (tmp_path / "dicom").chmod(0o755)
    (tmp_path / "dicom" / "checksums.txt").write_text("not DICOM")
    return tmp_path / "dicom"


def largest(folder: Path) -> Path:
    return max(folder.glob("*.dcm"), key=lambda path: path.stat().st_size)


def with_another_series(folder: Path, smaller: int) -> Path:
    """Add an instance of another series, whose image is so many columns smaller."""
    data = bytearray(largest(folder).read_bytes())
    at = data.find(SERIES) + 8
    data[at + 20 : at + 22] = b"99"
    at = data.find(COLUMNS) + 8
    data[at : at + 4] = (int.from_bytes(data[at : at + 4], "little") - smaller).to_bytes(4, "little")
    (folder / "0.dcm").write_bytes(data)
    return folder / "0.dcm"


def test_one_slide_is_opened_without_a_word(folder: Path) -> None:
    (folder / "0 first.dcm").write_bytes(bytes(128) + b"DICM")  # is no slide
    (folder / "1 first.dcm").write_bytes(bytes(128) + b"DICM\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff\x08\x00")
    assert dicom_instance(folder) == (largest(folder), "")
    with open_slide(folder) as slide:
        assert slide.shape == (2967, 2220)
        assert slide.notes == ()


@pytest.mark.parametrize("smaller", [-10, 10])
def test_of_two_slides_the_larger_is_opened_and_the_other_named(folder: Path, smaller: int) -> None:
    one, other = largest(folder), with_another_series(folder, smaller)
    path, note = dicom_instance(folder)
    assert (path, f"such as {other.name}" in note) == ((one, True) if smaller > 0 else (other, False))
    assert "The folder holds 2 slides (DICOM series)" in note
    if smaller > 0:
        with open_slide(folder) as slide:
            assert slide.notes == (note,)


def test_tiles_that_no_memory_holds_are_refused_before_openslide_asks_for_it(folder: Path) -> None:
    path = largest(folder)
    data = bytearray(path.read_bytes())
    for sides in (b"\x28\x00\x10\x00US\x02\x00", b"\x28\x00\x11\x00US\x02\x00"):  # rows and columns of a tile
        at = data.find(sides) + 8
        data[at : at + 2] = (60_000).to_bytes(2, "little")
    path.write_bytes(data)
    with pytest.raises(UserError, match="has tiles of 60000 × 60000 pixels"):
        open_slide(folder)
