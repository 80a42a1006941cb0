"""Two processes with one target: the second is refused in a sentence or waits; a killed one holds nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_cmrcnet.cli import main
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.locks import BusyError, only_one, when_free
from napari_cmrcnet.common.progress import Progress, finish
from napari_cmrcnet.evaluation.report import evaluate
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.predict_sheet import predict_sheet
from napari_cmrcnet.slides import flat_source
from napari_cmrcnet.slides.patch_cache import cache_key, patch_cache
from napari_cmrcnet.slides.patches import PatchSpec
from napari_cmrcnet.slides.slide import open_slide
from napari_cmrcnet.training.config import FitConfig
from napari_cmrcnet.training.fit import fit

HOLD = "import sys; from pathlib import Path; from napari_cmrcnet.common.locks import only_one\n"
HOLD += "with only_one(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"


@contextmanager
def another_process_in(path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def test_a_second_process_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    sentence = r"out is being written by another process; wait until it has ended, or choose another place"
    with another_process_in(out), pytest.raises(BusyError, match=sentence), only_one(out):
        pass
    with only_one(out), pytest.raises(BusyError), only_one(out):  # two jobs of one process, too
        pass
    with only_one(out):
        pass
    assert os.listdir(out.parent) == []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL: this system has none")
def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    with another_process_in(tmp_path / "out") as process:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        with only_one(tmp_path / "out"):
            pass
    assert os.listdir(tmp_path) == []


def test_what_waits_says_so_and_goes_on(tmp_path: Path) -> None:
    with another_process_in(tmp_path / "cut.npy") as process:
        waiting = when_free(tmp_path / "cut.npy")
        assert next(waiting).step == "Waiting for another process that makes the same"
        assert process.stdin is not None
        process.stdin.close()
        with finish(waiting), pytest.raises(BusyError), only_one(tmp_path / "cut.npy"):
            pass


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"could not be written"), only_one(tmp_path / "file" / "out"):
        pass


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="/proc: this system has none")
def test_a_folder_that_takes_no_files_is_not_called_busy() -> None:
    sentence = r"^/proc/x\.h5ad could not be written: the folder /proc cannot be written to \("
    with pytest.raises(UserError, match=sentence) as refused, only_one(Path("/proc/x.h5ad")):
        pass
    assert not isinstance(refused.value, BusyError)


def test_commands_refuse_what_another_process_writes(
    tmp_path: Path,
    untrained_checkpoint: Checkpoint,
    write_section: Any,
    open_small: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out.h5ad"
    slide, spots = write_section(tmp_path, "C", 3)
    section = open_small(slide, spots)
    folder = untrained_checkpoint.path
    assert folder is not None
    with another_process_in(out):
        arguments = ["predict", "--checkpoint", str(folder), "--slide", str(slide), "--spots", str(spots)]
        assert main([*arguments, "--mpp", "0.5", "--out", str(out)]) == 1
        assert "is being written by another process" in " ".join(capsys.readouterr().err.split())
        out.touch()  # whatever it is: the other one may be replacing it, so that nothing is said of its content
        assert main([*arguments, "--mpp", "0.5", "--out", str(out), "--overwrite"]) == 1
        assert "is being written by another process" in " ".join(capsys.readouterr().err.split())
        out.unlink()
        with pytest.raises(BusyError):
            finish(predict_sheet([], folder, out))
        with pytest.raises(BusyError):
            finish(evaluate([_Named()], out))  # type: ignore[list-item]
    with another_process_in(tmp_path / "M.training"), pytest.raises(BusyError):
        finish(fit([section], FitConfig(preset="tiny"), tmp_path / "M.cmrcnet"))
    assert {path.name for path in tmp_path.iterdir()} == {slide.name, spots.name}


class _Named:
    name, spots = "C", SimpleNamespace(X=None)


def test_patches_that_another_process_cuts_are_waited_for(
    tmp_path: Path, write_section: Any, open_small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMRCNET_CACHE", str(tmp_path / "cache"))
    section, spec = open_small(*write_section(tmp_path, "C", 3)), PatchSpec(32, 0.5)
    path = tmp_path / "cache" / "patches" / f"{cache_key(section, spec)}.npy"
    with another_process_in(path) as process:
        job = patch_cache(section, spec)
        assert next(job).step.startswith("Waiting")
        np.save(path, np.zeros((len(section.xy), 32, 32, 3), np.uint8))  # by the other one
        assert process.stdin is not None
        process.stdin.close()
        assert not finish(job).any()  # they are taken, not cut once more


def test_an_overview_that_another_process_builds_is_waited_for(
    tmp_path: Path, write_section: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would take away what the other has just built, under its hands."""
    monkeypatch.setenv("CMRCNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(flat_source, "SHOWN_PIXELS", 2**12)
    monkeypatch.setattr(flat_source, "LAST_LEVEL", 64)
    slide, _ = write_section(tmp_path, "C", 3)
    with open_slide(slide) as opened:
        levels = opened.levels
    (built,) = (tmp_path / "cache" / "overviews").iterdir()
    built.rename(tmp_path / "built")
    steps = []

    def report(progress: Progress) -> None:
        steps.append(progress.step)
        (tmp_path / "built").rename(built)  # by the other one
        assert process.stdin is not None
        process.stdin.close()

    with another_process_in(built) as process, open_slide(slide, report) as opened:
        assert opened.levels == levels
    assert steps == ["Waiting for another process that makes the same"]
