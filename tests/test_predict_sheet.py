"""Many slides: each stands or falls by itself, what stands is kept, and what was made otherwise is not overwritten."""

import shutil
import sys
import threading
from collections.abc import Callable
from ctypes import c_bool
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
import torch

from napari_cmrcnet.common import parallel
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.retrieval import predict_sheet as module
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.predict_sheet import predict_sheet
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.sections.sheet import SheetRow


@pytest.fixture
def checkpoint(untrained_checkpoint: Checkpoint) -> Path:
    """A checkpoint's folder."""
    assert untrained_checkpoint.path is not None
    return untrained_checkpoint.path


@pytest.fixture
def rows(tmp_path: Path, write_section: Callable[..., Any]) -> list[SheetRow]:
    """Three sections; their spots know their pixel size."""
    sheet = []
    for seed, name in enumerate("XYZ", start=5):
        slide, spots = write_section(tmp_path / "data", name, seed)
        table = anndata.read_h5ad(spots)
        table.uns["spatial"] = {name: {"metadata": {"spot_pitch_um": 16.0}}}
        table.write_h5ad(spots)
        sheet.append(SheetRow(name, slide, spots, f"P{seed}"))
    return sheet


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def run(rows: list[SheetRow], checkpoint: Path, out: Path, precision: Any = "auto", **settings: Any) -> list[Path]:
    config = PredictConfig(k=5, device="cpu", precision=precision)
    return finish(predict_sheet(rows, checkpoint, out, config, **settings))


def test_each_slide_has_its_file(rows: list[SheetRow], checkpoint: Path, tmp_path: Path) -> None:
    paths = run(rows, checkpoint, tmp_path / "out")
    assert paths == [tmp_path / "out" / f"{name}.h5ad" for name in "XYZ"]
    prediction = Prediction.load(paths[1])
    assert (prediction.name, prediction.provenance.patient, prediction.provenance.k) == ("Y", "P6", 5)


def test_the_checkpoints_own_number_of_neighbours_is_taken_and_recognised(
    rows: list[SheetRow], weighted_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = weighted_checkpoint.path
    assert folder is not None
    (path,) = finish(predict_sheet(rows[:1], folder, tmp_path / "out", PredictConfig(device="cpu")))
    assert Prediction.load(path).provenance.k == 20
    before = path.stat().st_mtime_ns
    for k in (None, 20):
        finish(predict_sheet(rows[:1], folder, tmp_path / "out", PredictConfig(k=k, device="cpu")))
        assert path.stat().st_mtime_ns == before


def test_what_stands_is_kept(rows: list[SheetRow], checkpoint: Path, tmp_path: Path) -> None:
    run(rows[:2], checkpoint, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    paths = run(rows, checkpoint, tmp_path / "out")
    assert len(paths) == 3
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize("what", ["k", "checkpoint", "spots", "precision", "patient", "mpp", "library", "pool"])
def test_what_was_made_otherwise_is_refused(
    rows: list[SheetRow], checkpoint: Path, tmp_path: Path, untrained_checkpoint: Checkpoint, what: str
) -> None:
    finish(predict_sheet(rows[:1], checkpoint, tmp_path / "out", PredictConfig(k=5, device="cpu")))
    before = (tmp_path / "out" / "X.h5ad").read_bytes()
    k, precision = 5, "auto"
    if what == "k":
        k = 6
    elif what == "precision":
        precision = "bf16"
    elif what == "patient":
        rows[0] = replace(rows[0], patient="P99")
    elif what == "mpp":
        rows[0] = replace(rows[0], mpp=0.25)
    elif what == "library":
        rows[0] = replace(rows[0], library="A")
    elif what == "pool":
        rows[0] = replace(rows[0], pool="no")
    elif what == "spots":
        other = shutil.copy(rows[0].spots or "", tmp_path / "data" / "other.h5ad")
        rows[0] = replace(rows[0], spots=other)
    else:
        card = replace(untrained_checkpoint.card, seed=77)
        checkpoint = tmp_path / "other.cmrcnet"
        Checkpoint(card, untrained_checkpoint.model, untrained_checkpoint.bank).save(checkpoint)
    with pytest.raises(UserError, match=rf"X\.h5ad was made with another {what}; remove it or choose another --out"):
        finish(predict_sheet(rows, checkpoint, tmp_path / "out", PredictConfig(k=k, device="cpu", precision=precision)))
    assert files(tmp_path / "out") == ["X.h5ad"]
    assert (tmp_path / "out" / "X.h5ad").read_bytes() == before


def test_the_precision_asked_for_is_that_of_each_slide(
    rows: list[SheetRow], checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    (path,) = run(rows[:1], checkpoint, tmp_path / "out", precision="bf16")
    assert Prediction.load(path).provenance.precision == "bf16"


def test_one_bad_slide_does_not_stop_the_others(rows: list[SheetRow], checkpoint: Path, tmp_path: Path) -> None:
    rows[0].slide.write_bytes(b"")
    with pytest.raises(UserError, match=r"1 of 3 slides could not be predicted: X: .*X\.tif") as error:
        run(rows, checkpoint, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert files(tmp_path / "out") == ["Y.h5ad", "Z.h5ad"]


def test_a_bad_checkpoint_is_said_once_and_before_any_work(rows: list[SheetRow], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.cmrcnet does not exist"):
        run(rows, tmp_path / "none.cmrcnet", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_cancelling_leaves_no_half_file(rows: list[SheetRow], checkpoint: Path, tmp_path: Path) -> None:
    job = predict_sheet(rows, checkpoint, tmp_path / "out", PredictConfig(k=5, device="cpu", batch_size=9))
    for progress in job:
        if progress.step == "Encoding patches of Y":
            job.close()
    assert files(tmp_path / "out") == ["X.h5ad"]
    assert not [thread for thread in threading.enumerate() if thread.name == "patch reader"]


def test_several_processes_give_the_same(rows: list[SheetRow], checkpoint: Path, tmp_path: Path) -> None:
    table = anndata.read_h5ad(rows[2].spots)
    del table.uns["spatial"]  # the pixel size of Z is not known any more
    table.write_h5ad(rows[2].spots)
    with pytest.raises(UserError, match=r"1 of 3 slides could not be predicted: Z: The pixel size of") as raised:
        run(rows, checkpoint, tmp_path / "several", workers=2)
    assert raised.value.setting == "pixel size"
    assert files(tmp_path / "several") == ["X.h5ad", "Y.h5ad"]
    alone = Prediction.load(run(rows[:1], checkpoint, tmp_path / "one")[0])
    np.testing.assert_array_equal(Prediction.load(tmp_path / "several" / "X.h5ad").neighbours, alone.neighbours)


def test_a_worker_stops_when_the_parent_says_so(
    rows: list[SheetRow],
    checkpoint: Path,
    untrained_checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parallel, "_stop", c_bool(True))
    settings = PredictConfig(k=5, device="cpu", batch_size=9), 0
    task = module.Task(rows[0], checkpoint, untrained_checkpoint.digest, tmp_path, *settings)
    with pytest.raises(parallel.StoppedError):
        parallel.run_unit(task)
    assert not task.path.exists()


def test_a_checkpoint_replaced_meanwhile(rows: list[SheetRow], checkpoint: Path, tmp_path: Path) -> None:
    task = module.Task(rows[0], checkpoint, "another", tmp_path, PredictConfig(k=5, device="cpu"), 0)
    assert "was replaced meanwhile" in str(parallel.run_unit(task))


def test_a_dask_cluster_gives_the_same(rows: list[SheetRow], checkpoint: Path, tmp_path: Path, cluster: str) -> None:
    rows[2].slide.write_bytes(b"")
    with pytest.raises(UserError, match=r"1 of 3 slides could not be predicted: Z: "):
        run(rows, checkpoint, tmp_path / "cluster", scheduler=cluster)
    alone = Prediction.load(run(rows[:1], checkpoint, tmp_path / "one")[0])
    np.testing.assert_array_equal(Prediction.load(tmp_path / "cluster" / "X.h5ad").neighbours, alone.neighbours)
    assert files(tmp_path / "cluster") == ["X.h5ad", "Y.h5ad"]


def test_without_dask_the_extra_is_named(
    rows: list[SheetRow], checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r"napari-cmrcnet\[cluster\]"):
        run(rows, checkpoint, tmp_path / "out", scheduler="tcp://127.0.0.1:8786")
