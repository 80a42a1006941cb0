"""Bad input through the command line: one clear sentence, exit code 1 or 2, and nothing half-written."""

import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest
import tifffile

from napari_cmrcnet.cli import main
from napari_cmrcnet.evaluation.demo import sample_folder

SAMPLE = sample_folder()
CHECKPOINT = SAMPLE / "sample.cmrcnet"
SLIDE = SAMPLE / "S4.tif"
SPOTS = SAMPLE / "S4.h5ad"

Fails = Callable[..., str]


@pytest.fixture
def fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Fails:
    """Run a command that must fail with one sentence and leave no file behind; return the sentence."""

    def run(*arguments: str | Path, code: int = 1) -> str:
        before = sorted(tmp_path.rglob("*"))
        try:
            returned = main([str(argument) for argument in arguments])
        except SystemExit as leave:
            returned = leave.code
        complaint = capsys.readouterr().err
        assert returned == code, complaint
        assert "Traceback" not in complaint
        assert sorted(tmp_path.rglob("*")) == before, "something half-written is left"
        (sentence,) = [line for line in complaint.splitlines() if "error: " in line]
        return sentence

    return run


def predict(fails: Fails, out: Path, slide: Path = SLIDE, spots: Path = SPOTS, *more: str | Path) -> str:
    arguments = ["predict", "--checkpoint", CHECKPOINT, "--slide", slide, "--spots", spots, "--out", out / "p.h5ad"]
    return fails(*arguments, "--device", "cpu", *more)


def test_wrong_use_is_exit_code_2(fails: Fails, tmp_path: Path) -> None:
    for arguments in ((), ("explode",), ("predict",), ("predict", "--checkpoint", CHECKPOINT)):
        fails(*arguments, code=2)
    sentence = fails("predict", "a.csv", "--slide", "b.tif", "--checkpoint", CHECKPOINT, code=2)
    assert "either --slide S or a SHEET" in sentence
    sentence = fails("predict", "a.csv", "--pitch", "50", "--checkpoint", CHECKPOINT, code=2)
    assert "--pitch cannot be used with a SHEET" in sentence
    sentence = fails("predict", "--slide", SLIDE, "--workers", "2", "--checkpoint", CHECKPOINT, code=2)
    assert "--workers cannot be used with --slide" in sentence
    fails("predict", "--checkpoint", CHECKPOINT, "--slide", SLIDE, "--k", "0", code=2)
    fails("predict", "--checkpoint", CHECKPOINT, "--slide", SLIDE, "--mpp", "nan", code=2)


# --- slides ----------------------------------------------------------------------------------------------------------


def test_missing_slide(fails: Fails, tmp_path: Path) -> None:
    assert "nowhere.svs does not exist" in predict(fails, tmp_path, tmp_path / "nowhere.svs")


@pytest.mark.parametrize("content", [b"", b"this is a text file, not a slide\n" * 20], ids=["empty", "text"])
def test_slide_that_is_none(fails: Fails, tmp_path: Path, content: bytes) -> None:
    slide = tmp_path / "scan.svs"
    slide.write_bytes(content)
    assert "scan.svs" in predict(fails, tmp_path, slide)


def test_truncated_slide(fails: Fails, tmp_path: Path) -> None:
    slide = tmp_path / "cut.tif"
    slide.write_bytes(SLIDE.read_bytes()[: SLIDE.stat().st_size // 2])
    assert "cut.tif" in predict(fails, tmp_path, slide)


def test_corrupt_tiles_are_named_and_counted(fails: Fails, tmp_path: Path) -> None:
    slide = tmp_path / "corrupt.tif"
    shutil.copy(SLIDE, slide)
    with tifffile.TiffFile(slide) as tiff:
        page = tiff.pages[0]
        middle = len(page.dataoffsets) // 2
        offset, count = page.dataoffsets[middle], page.databytecounts[middle]
    with open(slide, "r+b") as stream:
        stream.seek(offset)
        stream.write(bytes(count))
    sentence = predict(fails, tmp_path, slide)
    n_spots = anndata.read_h5ad(SPOTS).n_obs
    assert "corrupt.tif" in sentence
    assert f"of {n_spots} patches" in sentence


def _tiff_with_tag_values(path: Path, tags: list[tuple[int, int, int, int]]) -> Path:
    """Write a classic little-endian TIFF with one directory of (tag, type, count, value) entries."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0))
    return path


def test_tiff_with_an_impossible_tile_does_not_end_the_process(fails: Fails, tmp_path: Path) -> None:
    huge = 1 << 30
    tags = [(256, 4, 1, huge), (257, 4, 1, huge), (258, 3, 1, 8), (259, 3, 1, 7), (262, 3, 1, 6), (277, 3, 1, 3),
            (322, 4, 1, huge), (323, 4, 1, huge), (324, 4, 1, 8), (325, 4, 1, 100)]  # fmt: skip
    slide = _tiff_with_tag_values(tmp_path / "bomb.tif", tags)
    assert slide.stat().st_size < 200
    assert "bomb.tif" in predict(fails, tmp_path, slide)
    assert "bomb.tif" in fails("info", slide)


def test_jpeg_tile_that_lies_about_its_size(fails: Fails, tmp_path: Path) -> None:
    slide = tmp_path / "liar.tif"
    shutil.copy(SLIDE, slide)
    with tifffile.TiffFile(slide) as tiff:
        page = tiff.pages[0]
        offsets = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    content = bytearray(slide.read_bytes())
    for offset, count in offsets:
        start = content.index(b"\xff\xc0", offset, offset + count)
        content[start + 5 : start + 9] = struct.pack(">HH", 20000, 20000)
    slide.write_bytes(content)
    assert "liar.tif" in predict(fails, tmp_path, slide)


# --- spots -----------------------------------------------------------------------------------------------------------


def changed_spots(path: Path, change: Callable[[anndata.AnnData], None]) -> Path:
    spots = anndata.read_h5ad(SPOTS)
    change(spots)
    spots.write_h5ad(path)
    return path


def test_spots_without_coordinates(fails: Fails, tmp_path: Path) -> None:
    spots = changed_spots(tmp_path / "s.h5ad", lambda a: a.obsm.pop("spatial"))
    assert "spatial" in predict(fails, tmp_path, SLIDE, spots)


def test_spots_of_another_image(fails: Fails, tmp_path: Path) -> None:
    def enlarge(a: anndata.AnnData) -> None:
        a.obsm["spatial"] = a.obsm["spatial"] * 5

    spots = changed_spots(tmp_path / "s.h5ad", enlarge)
    sentence = predict(fails, tmp_path, SLIDE, spots)
    assert "s.h5ad" in sentence
    assert "S4.tif" in sentence


@pytest.mark.parametrize(("value", "word"), [(-1.0, "negative"), (0.5, "not whole")])
def test_counts_that_are_none(fails: Fails, tmp_path: Path, value: float, word: str) -> None:
    def spoil(a: anndata.AnnData) -> None:
        a.X = a.X.astype(np.float32)
        a.X.data[0] = value

    spots = changed_spots(tmp_path / "s.h5ad", spoil)
    assert word in predict(fails, tmp_path, SLIDE, spots)


def test_h5ad_that_reads_another_file(fails: Fails, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(800))
    spots = changed_spots(tmp_path / "s.h5ad", lambda _: None)
    with h5py.File(spots, "r+") as file:
        file.create_dataset("layers/stolen", shape=(100,), dtype="f8", external=[(str(secret), 0, 800)])
    assert "stores /layers/stolen in other files" in predict(fails, tmp_path, SLIDE, spots)


def test_no_gene_in_common(fails: Fails, tmp_path: Path) -> None:
    def rename(a: anndata.AnnData) -> None:
        a.var_names = [f"mouse-{gene}" for gene in a.var_names]
        a.var.pop("gene_ids") if "gene_ids" in a.var else None

    spots = changed_spots(tmp_path / "s.h5ad", rename)
    assert "gene" in predict(fails, tmp_path, SLIDE, spots)


def test_pixel_size_unknown(fails: Fails, tmp_path: Path) -> None:
    slide = tmp_path / "flat.png"
    from PIL import Image

    Image.fromarray(np.full((600, 600, 3), 200, np.uint8)).save(slide)
    out = tmp_path / "p.h5ad"
    sentence = fails("predict", "--checkpoint", CHECKPOINT, "--slide", slide, "--out", out)
    assert "--mpp" in sentence


def test_pixel_size_impossible(fails: Fails, tmp_path: Path) -> None:
    assert "1000" in predict(fails, tmp_path, SLIDE, SPOTS, "--mpp", "1000")


def test_k_larger_than_the_bank(fails: Fails, tmp_path: Path) -> None:
    assert "100000" in predict(fails, tmp_path, SLIDE, SPOTS, "--k", "100000")


def test_prediction_never_overwrites_its_input(fails: Fails, tmp_path: Path) -> None:
    spots = tmp_path / "s.h5ad"
    shutil.copy(SPOTS, spots)
    content = spots.read_bytes()
    fails("predict", "--checkpoint", CHECKPOINT, "--slide", SLIDE, "--spots", spots, "--out", spots)
    assert spots.read_bytes() == content


# --- checkpoints -----------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    copy = tmp_path / "copy.cmrcnet"
    shutil.copytree(CHECKPOINT, copy)
    return copy


def with_checkpoint(fails: Fails, checkpoint: Path) -> str:
    out = checkpoint.parent / "p.h5ad"
    return fails("predict", "--checkpoint", checkpoint, "--slide", SLIDE, "--spots", SPOTS, "--out", out)


@pytest.mark.parametrize("name", ["model.safetensors", "bank.h5ad"])
def test_checkpoint_with_a_changed_byte(fails: Fails, checkpoint: Path, name: str) -> None:
    with open(checkpoint / name, "r+b") as stream:
        stream.seek(-100, os.SEEK_END)
        byte = stream.read(1)
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte[0] ^ 1]))
    assert name in with_checkpoint(fails, checkpoint)


@pytest.mark.parametrize("name", ["card.json", "model.safetensors", "bank.h5ad"])
def test_checkpoint_with_a_missing_file(fails: Fails, checkpoint: Path, name: str) -> None:
    (checkpoint / name).unlink()
    assert name in with_checkpoint(fails, checkpoint)


def test_checkpoint_of_a_newer_version(fails: Fails, checkpoint: Path) -> None:
    card = json.loads((checkpoint / "card.json").read_text())
    card["format_version"] += 1
    (checkpoint / "card.json").write_text(json.dumps(card))
    assert "newer" in with_checkpoint(fails, checkpoint)


def test_checkpoint_with_a_pickle_in_it(fails: Fails, checkpoint: Path) -> None:
    (checkpoint / "model.pkl").write_bytes(b"\x80\x04.")
    assert "model.pkl" in with_checkpoint(fails, checkpoint)


# --- sheets ----------------------------------------------------------------------------------------------------------


def test_sheet_with_a_wrong_column(fails: Fails, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.csv"
    sheet.write_text(f"section,image,spots,patient\nS4,{SLIDE},{SPOTS},P\n")
    sentence = fails("train", sheet, "--out", tmp_path / "m.cmrcnet")
    assert "sheet.csv" in sentence
    assert "slide" in sentence


def test_sheet_with_a_repeated_section(fails: Fails, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.csv"
    sheet.write_text(f"section,slide,spots,patient\nS4,{SLIDE},{SPOTS},P\nS4,{SLIDE},{SPOTS},P\n")
    assert "S4" in fails("predict", sheet, "--checkpoint", CHECKPOINT, "--out", tmp_path / "out")


def test_simulated_sections_never_overwrite_real_ones(fails: Fails, tmp_path: Path) -> None:
    (tmp_path / "S2.tif").write_bytes(b"real")
    assert "S2.tif exists already" in fails("simulate", tmp_path, "--sections", "2")
    assert (tmp_path / "S2.tif").read_bytes() == b"real"


# --- full disk and Ctrl-C --------------------------------------------------------------------------------------------


def test_full_disk(tmp_path: Path) -> None:
    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    out = tmp_path / "p.h5ad"
    arguments = ["predict", "--checkpoint", CHECKPOINT, "--slide", SLIDE, "--spots", SPOTS, "--out", out]
    command = [sys.executable, "-m", "napari_cmrcnet", *map(str, arguments)]
    result = subprocess.run(command, preexec_fn=limit_file_size, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert "p.h5ad could not be written" in result.stderr
    assert list(tmp_path.iterdir()) == []


def interrupted(command: list[str], when: str) -> subprocess.CompletedProcess[str]:
    """Start a command, send Ctrl-C when it has written a word to standard error, and wait for its end."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "TTY_INTERACTIVE": "1", "FORCE_COLOR": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        seen = ""
        deadline = time.monotonic() + 120
        while when not in seen and time.monotonic() < deadline:
            seen += process.stderr.read(1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(command, process.returncode, out, seen + err)


def test_ctrl_c_in_prediction(tmp_path: Path) -> None:
    arguments = [
        "predict",
        "--checkpoint",
        CHECKPOINT,
        "--slide",
        SLIDE,
        "--spots",
        SPOTS,
        "--out",
        tmp_path / "p.h5ad",
    ]
    command = [sys.executable, "-m", "napari_cmrcnet", *map(str, arguments), "--batch-size", "1"]
    result = interrupted(command, when="Encoding")
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert "Stopped. Nothing is half-written." in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_in_training_can_be_resumed(tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.csv"
    sheet.write_text(f"section,slide,spots,patient\nS4,{SLIDE},{SPOTS},P\n")
    out = tmp_path / "m.cmrcnet"
    arguments = ["train", sheet, "--out", out, "--preset", "tiny", "--epochs", "2", "--device", "cpu"]
    command = [sys.executable, "-m", "napari_cmrcnet", *map(str, arguments)]
    result = interrupted(command, when="loss")
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert "--resume" in result.stderr
    assert not out.exists()
    assert main([*map(str, arguments), "--resume"]) == 0
    assert (out / "card.json").exists()
