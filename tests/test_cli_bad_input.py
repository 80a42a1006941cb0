"""Bad input through the command line: one clear sentence, exit code 1 or 2, and nothing half-written."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from bad_input import CASES, Input, fits
from napari_cmrcnet.cli import OPTIONS, main
from napari_cmrcnet.common.sample import sample_folder

SAMPLE = sample_folder()
CHECKPOINT = SAMPLE / "sample.cmrcnet"
SLIDE = SAMPLE / "S4.tif"
SPOTS = SAMPLE / "S4.h5ad"
GOOD = Input(SLIDE, SPOTS, CHECKPOINT)

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


def test_wrong_use_is_exit_code_2(fails: Fails, tmp_path: Path) -> None:
    for arguments in ((), ("explode",), ("predict",), ("predict", "--checkpoint", CHECKPOINT)):
        fails(*arguments, code=2)
    sentence = fails("predict", "a.csv", "--slide", "b.tif", "--checkpoint", CHECKPOINT, code=2)
    assert "either --slide S or a SHEET" in sentence
    sentence = fails("predict", "a.csv", "--pitch", "50", "--checkpoint", CHECKPOINT, code=2)
    assert "--pitch cannot be used with a SHEET" in sentence
    sentence = fails("predict", "--slide", SLIDE, "--workers", "2", "--checkpoint", CHECKPOINT, code=2)
    assert "--workers cannot be used with --slide" in sentence
    grid = ("--spots", "s.h5ad", "--pitch", "50", "--lattice", "hex")
    sentence = fails("predict", "--slide", SLIDE, *grid, "--checkpoint", CHECKPOINT, code=2)
    assert "--pitch and --lattice cannot be used with --spots" in sentence
    fails("predict", "--checkpoint", CHECKPOINT, "--slide", SLIDE, "--k", "0", code=2)
    fails("predict", "--checkpoint", CHECKPOINT, "--slide", SLIDE, "--mpp", "nan", code=2)


@pytest.mark.usefixtures("quick_encoder")
@pytest.mark.parametrize("name", CASES)
def test_bad_input(fails: Fails, tmp_path: Path, name: str) -> None:
    case = CASES[name]
    bad = case.make(GOOD, tmp_path)
    spots = () if bad.spots is None else ("--spots", bad.spots)
    settings = [text for setting, value in case.settings.items() if value for text in (f"--{setting}", str(value))]
    sentence = fails(
        *("predict", "--checkpoint", bad.checkpoint, "--slide", bad.slide, *spots, "--out", tmp_path / "p.h5ad"),
        *("--device", "cpu", *settings),
    )
    assert fits(case, sentence), sentence
    assert OPTIONS.get(case.setting, "") in sentence


def test_a_tiff_with_an_impossible_tile_is_not_described_either(fails: Fails, tmp_path: Path) -> None:
    bomb = CASES["impossible tile"].make(GOOD, tmp_path).slide
    assert bomb.stat().st_size < 200
    assert "bomb.tif" in fails("info", bomb)


def test_prediction_never_overwrites_its_input(fails: Fails, tmp_path: Path) -> None:
    spots = tmp_path / "s.h5ad"
    shutil.copy(SPOTS, spots)
    content = spots.read_bytes()
    fails("predict", "--checkpoint", CHECKPOINT, "--slide", SLIDE, "--spots", spots, "--out", spots)
    assert spots.read_bytes() == content


# --- sheets ----------------------------------------------------------------------------------------------------------


def test_sheet_with_a_wrong_column(fails: Fails, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.csv"
    sheet.write_text(f"section,image,spots,patient\nS4,{SLIDE},{SPOTS},P\n")
    sentence = fails("train", sheet, "--out", tmp_path / "m.cmrcnet")
    assert "sheet.csv" in sentence
    assert "slide" in sentence


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (
            "mask-rate=0.3",
            "--set mask-rate=0.3 is not a setting of the model; give NAME=VALUE, NAME one of layer_scale, ",
        ),
        ("n_genes=5", "--set n_genes=5 is not a setting of the model"),
        ("mask_rate=3", "mask_rate"),
        ("contrast=hard", "contrast"),
        ("reconstruction=no", "reconstruction"),
        ("temperature=" + "[" * 5000, "temperature"),
    ],
)
def test_a_setting_that_the_model_has_not(fails: Fails, tmp_path: Path, setting: str, said: str) -> None:
    sheet = tmp_path / "sheet.csv"
    sheet.write_text(f"section,slide,spots,patient\nS4,{SLIDE},{SPOTS},P\n")
    assert said in fails("train", sheet, "--out", tmp_path / "m.cmrcnet", "--preset", "tiny", "--set", setting)


def test_sheet_with_a_repeated_section(fails: Fails, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.csv"
    sheet.write_text(f"section,slide,spots,patient\nS4,{SLIDE},{SPOTS},P\nS4,{SLIDE},{SPOTS},P\n")
    assert "S4" in fails("predict", sheet, "--checkpoint", CHECKPOINT, "--out", tmp_path / "out")


def test_sheet_with_slides_whose_pixel_size_is_not_known(fails: Fails, tmp_path: Path) -> None:
    slide = CASES["unknown pixel size"].make(GOOD, tmp_path).slide
    sheet = tmp_path / "sheet.csv"
    sheet.write_text(f"section,slide,spots,patient\nF,{slide},,P\nG,{slide},,P\n")
    out = tmp_path.with_name(f"{tmp_path.name}_out")
    sentence = fails("predict", sheet, "--checkpoint", CHECKPOINT, "--out", out)
    assert "2 slides could not be predicted: F: The pixel size of" in sentence.replace("G:", "F:")
    assert sentence.endswith("(--mpp, or the column mpp of a sheet).")


def test_simulated_sections_never_overwrite_real_ones(fails: Fails, tmp_path: Path) -> None:
    (tmp_path / "S2.tif").write_bytes(b"real")
    assert "S2.tif exists already" in fails("simulate", tmp_path, "--sections", "2")
    assert (tmp_path / "S2.tif").read_bytes() == b"real"


# --- full disk and Ctrl-C --------------------------------------------------------------------------------------------


def test_full_disk(fails: Fails, tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]) -> None:
    command = ("predict", "--checkpoint", CHECKPOINT, "--slide", SLIDE, "--spots", SPOTS, "--device", "cpu")
    with full_disk(20_000):
        assert "p.h5ad could not be written" in fails(*command, "--out", tmp_path / "p.h5ad")


def interrupted(command: list[str], when: str) -> subprocess.CompletedProcess[str]:
    """Start a command, send Ctrl-C when it has written a word to standard error, and wait for its end."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "TTY_INTERACTIVE": "1", "FORCE_COLOR": "1"}

    def heed_ctrl_c() -> None:  # a shell lets what it starts in the background ignore it
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=heed_ctrl_c
    ) as process:
        assert process.stderr is not None
        seen = ""
        try:
            while when not in seen and (character := process.stderr.read(1)):
                seen += character
            process.send_signal(signal.SIGINT)
            out, err = process.communicate()
        finally:
            process.kill()  # else one that stands still would be waited for after the test's time, too
    return subprocess.CompletedProcess(command, process.returncode, out, seen + err)


def test_ctrl_c_in_prediction(tmp_path: Path) -> None:
    arguments = [
        "predict",
        "--checkpoint",
        CHECKPOINT,
        "--slide",
        SLIDE,  # with a grid: its spots were encoded before
        "--out",
        tmp_path / "p.h5ad",
    ]
    command = [sys.executable, "-m", "napari_cmrcnet", *map(str, arguments), "--batch-size", "1"]
    result = interrupted(command, when="Encoding")
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert "Stopped. No incomplete file is left." in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_in_training_can_be_resumed(tmp_path: Path, write_section: Callable[..., tuple[Path, Path]]) -> None:
    sheet, out = tmp_path / "sheet.csv", tmp_path / "m.cmrcnet"
    slide, spots = write_section(tmp_path, "A")
    sheet.write_text(f"section,slide,spots,patient,mpp\nA,{slide},{spots},P,0.5\n")
    small = ("--preset", "tiny", "--patch-px", "32", "--model-mpp", "0.5", "--set", "patch_size=16")
    arguments = ["train", sheet, "--out", out, *small, "--epochs", "12", "--batch-size", "8", "--device", "cpu"]
    command = [sys.executable, "-m", "napari_cmrcnet", *map(str, arguments)]
    result = interrupted(command, when="loss")
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert "--resume" in result.stderr
    assert not out.exists()
    assert main([*map(str, arguments), "--resume"]) == 0
    assert (out / "card.json").exists()
