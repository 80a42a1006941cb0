"""All of a case in one file: it is whole, and its commands make the same files again."""

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import anndata
import numpy as np
import pytest
from shapely.geometry import box

from napari_cmrcnet.cli import main
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.evaluation import html_report
from napari_cmrcnet.evaluation.bundle import COMMANDS, write_bundle, write_table
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.sections.geojson import as_geojson
from napari_cmrcnet.sections.panels import Panel
from napari_cmrcnet.sections.regions import Region


@pytest.fixture
def prediction(
    untrained_checkpoint: Checkpoint,
    tmp_path: Path,
    write_section: Callable[..., Any],
    open_small: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Prediction:
    monkeypatch.setattr(html_report, "BEST", 1)
    section = open_small(*write_section(tmp_path / "data", "C 1", 3), name="C 1", patient="P3")
    config = PredictConfig(k=6, device="cpu", panel=Panel("mine", ("GENE3", "GENE5")))
    made = finish(predict(section, untrained_checkpoint, config))
    made.view = {"regions": as_geojson([Region("edge", "Tumour", box(0, 0, 200, 200))])}
    return made


def unpacked(path: Path, folder: Path) -> list[str]:
    with ZipFile(path) as packed:
        packed.extractall(folder)
        return packed.namelist()


def same(one: Path, other: Path) -> bool:
    if one.suffix != ".h5ad":
        return one.read_bytes() == other.read_bytes()
    first, second = anndata.read_h5ad(one), anndata.read_h5ad(other)
    return all(np.array_equal(first.layers[name], second.layers[name], equal_nan=True) for name in first.layers)


def test_its_commands_make_the_same_files_again(
    prediction: Prediction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = unpacked(finish(write_bundle(prediction, tmp_path / "all.zip")), tmp_path / "all")
    text = (tmp_path / "all" / COMMANDS).read_text("utf-8")
    lines = [shlex.split(line) for line in text.splitlines() if " --out " in line]
    (saved,) = [file for file in files if file.endswith("_predicted.h5ad")]
    assert sorted(line[-1] for line in lines) == sorted(set(files) - {COMMANDS})  # each but the text has its own
    assert "torch " in text
    (spatial,) = anndata.read_h5ad(tmp_path / "all" / "C_1.h5ad").uns["spatial"].values()
    assert (tmp_path / "all" / spatial["metadata"]["source_image_path"]).is_file()
    assert "edge" in next((tmp_path / "all").glob("*_report.html")).read_text("utf-8")
    again = tmp_path / "again"
    again.mkdir()
    monkeypatch.chdir(again)
    predicted_by, *others = lines
    assert main(predicted_by[1:]) == 0
    made, kept = Prediction.load(again / saved), Prediction.load(tmp_path / "all" / saved)
    np.testing.assert_array_equal(made.neighbours, kept.neighbours)
    (again / saved).write_bytes((tmp_path / "all" / saved).read_bytes())  # with its regions
    for line in others:
        assert main(line[1:]) == 0
        assert same(again / line[-1], tmp_path / "all" / line[-1]), line


def test_it_is_written_whole_or_not_at_all(
    prediction: Prediction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "all.zip").write_text("before")
    (tmp_path / ".all.zip.000000-0-1-00000000.part").mkdir()  # of a run that was killed, long ago
    os.utime(tmp_path / ".all.zip.000000-0-1-00000000.part", (0, 0))
    job = write_bundle(prediction, tmp_path / "all.zip")
    while next(job).step != "Drawing maps":
        pass
    job.close()
    assert (tmp_path / "all.zip").read_text() == "before"
    assert {entry.name for entry in tmp_path.iterdir()} == {"all.zip", "data"}
    with pytest.raises(UserError, match=r"not the name of an export; end it in \.csv, \.h5ad, \.geojson or \.zip"):
        finish(write_table(prediction, tmp_path / "all.txt"))
