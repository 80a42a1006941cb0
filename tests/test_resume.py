"""A training stopped at any moment comes to the weights of one that was not."""

import resource
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from forked import Forked
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Progress, finish
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.slides.patches import PatchSpec
from napari_cmrcnet.training import loop
from napari_cmrcnet.training.config import FitConfig
from napari_cmrcnet.training.fit import fit

Write = Callable[..., tuple[Path, Path]]
Open = Callable[..., Section]
MODEL = {"patch_size": 16, "width": 32, "depth": 1, "heads": 2, "embedding_dim": 32}


def settings(**changes: Any) -> FitConfig:
    given = {
        "preset": "tiny", "epochs": 4, "batch_size": 16, "device": "cpu", "patch": PatchSpec(32, 0.5),
        "variant": "released", "learning_rate": 1e-3, "validation": 0.25, "model": MODEL,
    }  # fmt: skip
    return FitConfig(**(given | changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("sections")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CMRCNET_CACHE", str(folder / "cache"))
        patch.setenv("OMP_NUM_THREADS", "1")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # models this small would only wait for the second thread
        yield folder
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def sections(folder: Path, write_section: Write, open_small: Open) -> list[Section]:
    return [open_small(*write_section(folder, f"S{i}", seed=i)) for i in range(2)]


@pytest.fixture(scope="module")
def uninterrupted(sections: Sequence[Section], folder: Path) -> dict[str, bytes]:
    finish(fit(sections, settings(), folder / "whole.cmrcnet"))
    return content(folder / "whole.cmrcnet")


def content(out: Path) -> dict[str, bytes]:
    """Return what must not hang on a stop: the weights."""
    return {"weights": (out / "model.safetensors").read_bytes()}


class StopError(Exception):
    """Stands for the power cut."""


def test_stopped_at_each_batch(sections: Sequence[Section], uninterrupted: dict[str, bytes], tmp_path: Path) -> None:
    batches = 4 * 4  # epochs, batches
    for stop in range(1, batches, 3):
        out = tmp_path / f"{stop}.cmrcnet"

        def until(progress: Progress, stop: int = stop) -> None:
            if progress.step == "Training" and progress.done >= stop:
                raise StopError

        with pytest.raises(StopError):
            finish(fit(sections, settings(), out), until)
        assert not out.exists()
        finish(fit(sections, settings(), out, resume=True))
        assert content(out) == uninterrupted


def test_closed_at_any_yield_there_is_no_checkpoint(sections: Sequence[Section], tmp_path: Path) -> None:
    """What is cancelled at its last yield has not succeeded, so that nothing says both."""
    out, there = tmp_path / "m.cmrcnet", []
    finish(fit(sections, settings(epochs=1), out), lambda _: there.append(out.exists()))
    assert out.exists()
    assert not any(there)


@pytest.mark.parametrize("epoch", [1, 3])
def test_stopped_between_two_files(
    epoch: int,
    sections: Sequence[Section],
    uninterrupted: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, calls = loop.write_log, iter(range(1, 100))

    def fails(*arguments: Any) -> None:
        real(*arguments)
        if next(calls) == epoch:
            raise StopError

    monkeypatch.setattr(loop, "write_log", fails)
    out = tmp_path / "model.cmrcnet"
    with pytest.raises(StopError):
        finish(fit(sections, settings(), out))
    monkeypatch.setattr(loop, "write_log", real)
    finish(fit(sections, settings(), out, resume=True))
    assert content(out) == uninterrupted


def test_a_best_epoch_that_a_stop_has_undone_leaves_the_one_before(
    sections: Sequence[Section], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where epochs come out otherwise when they are run again, as on a GPU."""

    def train(name: str, losses: Sequence[float], resume: bool = False) -> Path:
        script = iter(losses)
        monkeypatch.setattr(loop, "validate", lambda *_: (next(script), 0.1))
        finish(fit(sections, settings(), tmp_path / name, resume=resume))
        return tmp_path / name

    def stop(state: loop.State, path: Path) -> None:
        if len(state.history) == 2:
            raise StopError  # the second epoch's weights are written as the best, and the state is not
        save(state, path)

    save = loop.State.save
    with monkeypatch.context() as patch:
        patch.setattr(loop.State, "save", stop)
        with pytest.raises(StopError):
            train("stopped.cmrcnet", [2, 1])
    stopped = train("stopped.cmrcnet", [3, 4, 5], resume=True)
    assert content(stopped) == content(train("whole.cmrcnet", [2, 3, 4, 5]))


@pytest.mark.parametrize(
    "step",
    ["Making thumbnails", "Encoding patches", "Comparing the training spots with each other"],
)
def test_stopped_after_the_last_epoch_and_gone_on_without_thumbnails(
    step: str, sections: Sequence[Section], uninterrupted: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "model.cmrcnet"
    job = fit(sections, settings(), out)
    for progress in job:
        if (progress.step, progress.done > 0) == (step, True):
            job.close()
    assert not out.exists()
    finish(fit(sections, settings(thumbnails=False), out, resume=True))
    assert content(out) == uninterrupted
    for folder in (out, tmp_path / "model.training"):
        assert not list(folder.rglob("thumbnails*"))


TRAIN = """
import signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_resume import settings
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.sections.section import open_section
from napari_cmrcnet.training.fit import fit
folder = Path(sys.argv[1])
sections = [open_section(folder / f"S{i}.tif", folder / f"S{i}.h5ad", mpp=0.5) for i in range(2)]
def job(word):
    batch, delay = word.split()
    def report(progress):
        if (progress.step, progress.done) == ("Training", int(batch)):
            signal.setitimer(signal.ITIMER_REAL, float(delay))  # its signal kills
    finish(fit(sections, settings(), Path(sys.argv[2]), resume=True), report)
"""


def test_killed_and_killed_again(
    sections: Sequence[Section], uninterrupted: dict[str, bytes], folder: Path, tmp_path: Path, forked: Forked
) -> None:
    out = tmp_path / "model.cmrcnet"
    jobs = forked(TRAIN, folder, out, Path(__file__).parent)
    for batch, delay in ((3, 0.03), (11, 0.01)):
        assert list(jobs.run(f"{batch} {delay}")) == []
        assert jobs.code == -signal.SIGALRM
        assert not out.exists()
    finish(fit(sections, settings(), out, resume=True))
    assert content(out) == uninterrupted


def test_a_full_disk_loses_nothing(
    sections: Sequence[Section], uninterrupted: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "model.cmrcnet"

    def fills(progress: Progress) -> None:
        if progress.step == "Training" and progress.done == 5:
            resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(UserError, match="could not be written"):
            finish(fit(sections, settings(), out), fills)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list((tmp_path / "model.training").glob("*.part"))
    finish(fit(sections, settings(), out, resume=True))
    assert content(out) == uninterrupted


def begun(sections: Sequence[Section], out: Path) -> None:
    job = fit(sections, settings(), out)
    while not (out.with_suffix(".training") / "state.pt").exists():
        next(job)
    job.close()


def test_what_was_begun_is_not_begun_anew_by_mistake(sections: Sequence[Section], tmp_path: Path) -> None:
    begun(sections, tmp_path / "model.cmrcnet")
    with pytest.raises(UserError, match="unfinished training; continue with --resume"):
        finish(fit(sections, settings(), tmp_path / "model.cmrcnet"))


def test_other_input_is_refused_by_name(
    sections: Sequence[Section], tmp_path: Path, write_section: Write, open_small: Open
) -> None:
    out = tmp_path / "model.cmrcnet"
    begun(sections, out)
    recounted = open_small(write_section(tmp_path, "S0", seed=0)[0], write_section(tmp_path, "S0", seed=5)[1], mpp=0.5)
    third = open_small(*write_section(tmp_path, "S2", seed=2))
    for given, config, message in (
        (sections, settings(epochs=9, seed=3), "epochs was 4, now 9; seed was 0, now 3"),
        (sections, settings(model=MODEL | {"depth": 2}), "model was"),
        ([*sections, third], settings(), "section S2 is new"),
        (sections[:1], settings(), "section S1 is missing"),
        (sections[::-1], settings(), "another order"),
        ([recounted, sections[1]], settings(), "section S0 has other patches; section S0 has other counts"),
    ):
        with pytest.raises(UserError, match=message):
            finish(fit(given, config, out, resume=True))


def test_a_damaged_state_is_named(sections: Sequence[Section], tmp_path: Path) -> None:
    out = tmp_path / "model.cmrcnet"
    begun(sections, out)
    state = tmp_path / "model.training" / "state.pt"
    whole = state.read_bytes()
    for damaged in (whole[:1000], whole.replace(b"best_loss", b"best_lots")):
        state.write_bytes(damaged)
        with pytest.raises(UserError, match=r"state\.pt is damaged"):
            finish(fit(sections, settings(), out, resume=True))


def test_there_is_nothing_to_resume_at_first(sections: Sequence[Section], tmp_path: Path) -> None:
    checkpoint = finish(fit(sections, settings(epochs=1), tmp_path / "model.cmrcnet", resume=True))
    assert checkpoint.card.epochs == 1
