"""Before a prediction: what slide, spots and checkpoint are, and what speaks against the run."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.evaluation.inspection import Inspection, Request, inspect
from napari_cmrcnet.evaluation.preflight import read_bank_summary
from napari_cmrcnet.retrieval.checkpoint import Checkpoint


@pytest.fixture
def look(untrained_checkpoint: Checkpoint, tmp_path: Path, write_section: Callable[..., Any]) -> Any:
    """Inspect section C with the untrained checkpoint; arguments change the request."""
    slide, spots = write_section(tmp_path / "data", "C", 3, side=16)
    opened: list[Inspection] = []

    def one(before: Inspection | None = None, **changes: Any) -> Inspection:
        request = Request(slide, spots, untrained_checkpoint.path, k=6, mpp=0.5, patient="P9")
        opened.append(finish(inspect(replace(request, **changes), before)))
        return opened[-1]

    yield one
    for inspection in opened:
        if inspection.slide is not None:
            inspection.slide.close()


def amber(inspection: Inspection) -> str:
    return " ".join(check.text for check in inspection.checks if not check.ok)


def test_each_part_is_described_in_a_line(look: Callable[..., Inspection]) -> None:
    found = look()
    assert found.ready
    assert found.lines["slide"].startswith("tiled TIFF, 512 × 512 pixels")
    assert "256 spots, 24 genes measured" in found.lines["spots"]
    assert "0.5 µm per pixel from the user" in found.lines["spots"]
    assert found.lines["checkpoint"] == ("Trained on A, B; bank of 72 spots and 24 genes; no validation PCC")


def test_a_section_that_fits_has_green_lines_only(look: Callable[..., Inspection]) -> None:
    found = look()
    assert amber(found) == ""
    said = " ".join(check.text for check in found.checks)
    assert "24 of the bank's 24 genes were measured here" in said
    assert "100% of the 256 spots lie on tissue" in said


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"patient": "P1"}, "C is of patient P1, of whom the checkpoint was trained"),
        ({"patient": ""}, "The patient of C or of the training sections is not known"),
        ({"k": 60}, "comes near the mean of the whole bank"),
        ({"k": 100}, "the bank has 72 spots only"),
        ({"mpp": 1.0}, "larger than the model's 0.5 µm"),
    ],
)
def test_what_speaks_against_the_run_is_amber(
    look: Callable[..., Inspection], changes: dict[str, Any], warning: str
) -> None:
    assert warning in amber(look(**changes))


def test_a_section_of_the_training_is_a_leak(
    look: Callable[..., Inspection], tmp_path: Path, write_section: Callable[..., Any]
) -> None:
    slide, spots = write_section(tmp_path / "again", "A", 1)
    assert "was trained on a section named A" in amber(look(slide=slide, spots=spots))


def test_a_problem_is_of_its_part_and_the_others_are_still_described(
    look: Callable[..., Inspection], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.cmrcnet"
    broken.mkdir()
    found = look(checkpoint=broken)
    assert not found.ready
    assert set(found.problems) == {"checkpoint"}
    assert "holds no card.json" in str(found.problems["checkpoint"])
    assert set(found.lines) == {"slide", "spots"}
    assert "does not exist" in str(look(slide=tmp_path / "none.svs").problems["slide"])
    assert "pixel size" in str(look(mpp=None).problems["spots"])


def test_what_did_not_change_is_not_opened_again(look: Callable[..., Inspection]) -> None:
    first = look()
    second = look(first, k=7, patient="P1")
    assert second.slide is first.slide
    assert first.section is not None
    assert second.section is not None
    assert second.section.spots is first.section.spots
    assert second.section.patient == "P1"
    assert look(second, mpp=0.6).section.mpp == 0.6  # type: ignore[union-attr]


def test_nothing_chosen_is_no_problem() -> None:
    found = finish(inspect(Request()))
    assert not found.ready
    assert not found.problems


def test_the_bank_is_known_without_reading_it(untrained_checkpoint: Checkpoint) -> None:
    assert untrained_checkpoint.path is not None
    summary = read_bank_summary(untrained_checkpoint.path)
    assert summary.spots == 72
    assert summary.names.symbols == untrained_checkpoint.bank.genes


def test_looking_needs_no_torch() -> None:
    code = (
        "import sys; from napari_cmrcnet.evaluation.inspection import inspect; "
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "timm", "scanpy"} & set(loaded)
