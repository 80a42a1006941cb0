"""Before a prediction: what slide, spots and checkpoint are, and the warnings about the run."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress, finish
from napari_cmrcnet.common.sample import sample_folder
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.inspection import Inspection, Request, inspect
from napari_cmrcnet.retrieval.known_genes import BankSummary
from napari_cmrcnet.retrieval.trust import trust_in_model
from napari_cmrcnet.sections.tissue import TissueMask


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


def test_of_a_model_that_knows_its_accuracy_the_line_says_what_to_expect(
    look: Callable[..., Inspection], expecting_checkpoint: Checkpoint
) -> None:
    bank = expecting_checkpoint.bank
    assert bank.expected is not None
    assert expecting_checkpoint.path is not None
    np.testing.assert_array_equal(BankSummary.of_file(expecting_checkpoint.path / "bank.h5ad").found, bank.found)
    said = look(checkpoint=expecting_checkpoint.path).lines["checkpoint"]
    assert said.endswith(f"24 genes; trust in the genes: {trust_in_model(bank.expected, bank.found, 'patients')}")


def test_a_section_that_fits_has_green_lines_only(look: Callable[..., Inspection]) -> None:
    found = look()
    assert amber(found) == ""
    said = " ".join(check.text for check in found.checks)
    assert "Measured here: 24 of the bank's 24 genes" in said
    assert "100 % of the 256 spots lie on tissue" in said


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"patient": "P1"}, "The checkpoint was trained on other sections of the patient of C (P1)"),
        ({"patient": ""}, "Enter the patient in the Predict panel under More settings > Patient"),
        ({"k": 60}, "is near the mean of the whole bank"),
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
    assert "lacks card.json" in str(found.problems["checkpoint"])
    assert set(found.lines) == {"slide", "spots"}
    assert "does not exist" in str(look(slide=tmp_path / "none.svs").problems["slide"])
    assert "pixel size" in str(look(mpp=None).problems["spots"])


def test_what_cannot_be_run_is_a_problem_and_no_check(
    look: Callable[..., Inspection], tmp_path: Path, untrained_checkpoint: Checkpoint
) -> None:
    found = look(k=100)
    assert not found.ready
    assert set(found.problems) == {"checkpoint"}
    assert str(found.problems["checkpoint"]).startswith("k is 100, but the checkpoint's bank has 72 spots")
    assert found.checks == ()
    with_pickle = Path(shutil.copytree(untrained_checkpoint.path, tmp_path / "pickled.cmrcnet"))  # type: ignore[type-var]
    (with_pickle / "model.pkl").write_bytes(b"")
    assert "model.pkl does not belong" in str(look(checkpoint=with_pickle).problems["checkpoint"])


def test_without_a_k_it_is_the_checkpoints_own(
    look: Callable[..., Inspection], weighted_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    assert "k is 50 of 72 bank spots" in amber(look(k=None))
    found = look(k=None, checkpoint=weighted_checkpoint.path)
    assert amber(found) == ""
    card = weighted_checkpoint.card
    card = replace(card, model=replace(card.model, temperature=1.0), query=replace(card.query, k=30))
    Checkpoint(card, weighted_checkpoint.model, weighted_checkpoint.bank).save(tmp_path / "blunt.cmrcnet")
    assert "k is 30 of 72 bank spots" in amber(look(k=None, checkpoint=tmp_path / "blunt.cmrcnet"))
    assert "the weighted mean of 20 of the bank's 72 spots" in " ".join(one.text for one in found.checks)


def test_a_slide_whose_overview_cannot_be_read_is_a_problem_of_the_slide(
    look: Callable[..., Inspection], monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: object) -> None:
        raise UserError("slide.tif is damaged; copy it again.")

    monkeypatch.setattr("napari_cmrcnet.retrieval.preflight.tissue_job", damaged)
    assert str(look().problems["slide"]) == "slide.tif is damaged; copy it again."


@pytest.mark.parametrize(
    ("pale", "shift", "ok", "words"),
    [
        (0, 0, True, "100 % of the 256 spots lie on tissue."),
        (2, 0, True, "88 % of the 256 spots lie on tissue; the others lie on glass, or on fat, which is as pale."),
        (0, 3, False, "100 % would if all were moved about 50 µm to the right. Are the spots of this"),
        (5, 0, False, "69 % of the 256 spots lie on tissue; the others lie on glass, or on fat, which is as pale. Are"),
    ],
)
def test_spots_on_fat_are_told_from_spots_that_belong_elsewhere(
    look: Callable[..., Inspection], monkeypatch: pytest.MonkeyPatch, pale: int, shift: int, ok: bool, words: str
) -> None:
    """Spots 32 px apart on tissue of 16 × 16 of them, of which some columns are pale; the slide is wider."""
    mask = np.zeros((512, 768), bool)
    mask[:, 32 * pale : 512] = True

    def tissue(slide: Any, _mpp: float) -> Job[TissueMask]:
        yield Progress("", 0, 0)
        return TissueMask(np.roll(mask, 32 * shift, axis=1), 1.0)

    monkeypatch.setattr("napari_cmrcnet.retrieval.preflight.tissue_job", tissue)
    found = [check for check in look().checks if "lie on tissue" in check.text]
    assert [check.ok for check in found] == [ok]
    assert words in found[0].text


def test_the_sample_has_no_warning_that_a_first_user_cannot_explain() -> None:
    sample = sample_folder()
    found = finish(inspect(Request(sample / "S4.tif", sample / "S4.h5ad", sample / "sample.cmrcnet", patient="S4")))
    assert found.slide is not None
    with found.slide:
        assert [check.text for check in found.checks if not check.ok] == [
            "S4 is synthetic. Its scores say nothing about real tissue."
        ]
    assert any("89 % of the 347 spots lie on tissue; the others lie on glass" in c.text for c in found.checks)


def test_what_did_not_change_is_not_opened_again(look: Callable[..., Inspection]) -> None:
    first = look()
    second = look(first, k=7, patient="P1")
    assert second.slide is first.slide
    assert first.section is not None
    assert second.section is not None
    assert second.section.spots is first.section.spots
    assert second.section.patient == "P1"
    assert look(second, mpp=0.6).section.mpp == 0.6  # type: ignore[union-attr]


def test_one_of_several_sections_in_a_file_is_looked_at_by_its_name(look: Callable[..., Inspection]) -> None:
    spots = look().request.spots
    assert spots is not None
    both = anndata.read_h5ad(spots)
    both.obs["sample"] = np.where(np.arange(both.n_obs) % 2 == 0, "A", "B")
    both.write_h5ad(spots)
    first = look(library="A")
    assert first.section.spots.n_obs == 128
    other = look(first, library="B")
    assert other.slide is first.slide
    assert other.section.spots.obs["sample"].tolist() == ["B"] * 128
    assert "holds no section C, but A, B" in str(look(other, library="C").problems["spots"])


def test_nothing_chosen_is_no_problem() -> None:
    found = finish(inspect(Request()))
    assert not found.ready
    assert not found.problems


def test_the_bank_is_known_without_reading_it(untrained_checkpoint: Checkpoint) -> None:
    assert untrained_checkpoint.path is not None
    summary = Checkpoint.open(untrained_checkpoint.path).summary
    assert summary.spots == 72
    assert summary.names.symbols == untrained_checkpoint.bank.genes


def test_looking_needs_no_torch() -> None:
    code = (
        "import sys; from napari_cmrcnet.retrieval.inspection import inspect; "
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "timm", "scanpy"} & set(loaded)
