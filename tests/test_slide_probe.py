"""A slide that would end OpenSlide, and the program with it, is found out by a process of its own, once."""

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.slides import probe
from napari_cmrcnet.slides.slide import open_slide

# Bytes of one instance whose change lets OpenSlide 4.0 read beyond its memory.
INSTANCE = "1.2.826.0.1.3680043.8.498.58740178995208579534253317996600852419.dcm"
CHANGED = {2644: 0o322, 3043: 0o20, 3044: 0, 3867: 0o377, 3868: 0o377, 5266: 0o220}


pytestmark = pytest.mark.usefixtures("empty_cache")


@pytest.fixture
def dicom(real_data: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "dicom"
    shutil.copytree(real_data / "slides" / "CMU-1-Small-Region-dicom", folder)
    for file in folder.iterdir():
        file.chmod(0o644)
    return folder


def test_a_damaged_instance_ends_in_a_sentence(dicom: Path) -> None:
    with open(dicom / INSTANCE, "r+b") as stream:
        for place, value in CHANGED.items():
            stream.seek(place)
            stream.write(bytes([value]))
    for _ in range(2):
        with pytest.raises(UserError, match="reading it ends the program; copy or download it again"):
            open_slide(dicom)


def test_a_sound_slide_is_looked_at_once_and_again_when_a_file_of_it_changes(
    dicom: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Any] = []
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: (looked.append(args), run(*args, **kwargs))[1])
    for _ in range(2):
        with open_slide(dicom) as slide:
            assert slide.thumbnail(100).shape == (100, 75, 3)
    assert len(looked) == 1
    (dicom / "another.txt").write_text("")
    with open_slide(dicom):
        pass
    assert len(looked) == 2


def test_one_that_never_ends_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.scn").write_bytes(bytes(9))
    monkeypatch.setattr(probe, "TIMEOUT_S", 0.01)
    with pytest.raises(UserError, match=r"a\.scn cannot be read within"):
        probe.probe(tmp_path / "a.scn")


def test_a_look_that_was_stopped_from_outside_says_nothing_of_the_slide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.scn").write_bytes(bytes(9))
    codes = [-9, 0]  # memory ran out, then not
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=codes.pop(0)))
    with pytest.raises(UserError, match=r"a\.scn was stopped by the system"):
        probe.probe(tmp_path / "a.scn")
    for _ in range(2):
        probe.probe(tmp_path / "a.scn")
    assert codes == []


def test_tiles_are_looked_at_all_over(tmp_path: Path) -> None:
    levels = (probe.Level(1000, 500, 1.0), probe.Level(100, 50, 10.0))
    tiles = list(probe._all_over(levels, ((100, 100), (100, 100))))
    assert sorted(tiles) == [(0, row, column) for row in range(5) for column in range(10)] + [(1, 0, 0)]
    assert (1, 0, 0) in tiles[:2]
    some = np.array(list(probe._all_over((probe.Level(10**6, 10**6, 1.0),), ((100, 100),))))
    assert len(some) == probe.MOST_TILES
    assert some[:100, 1].min() < 2000 < 8000 < some[:100, 1].max()
