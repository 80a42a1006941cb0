"""`info` says what a path is, in facts with units, and what is wrong with it."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.common.sample import sample_folder
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.describe import describe
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.thumbnails import write_thumbnails
from napari_cmrcnet.sections.section import open_section

SAMPLE = sample_folder()


def test_slide() -> None:
    description = describe(SAMPLE / "S4.tif")
    assert description.kind == "slide"
    assert description.facts["pixel size"].startswith("0.5 µm/px")
    assert description.problems == ()


@pytest.mark.parametrize(
    ("name", "says"), [("S4.tif", "0.5 µm/px"), ("sections.csv", "1: S4"), ("sample.cmrcnet", "S1, S2, S3")]
)
def test_what_needs_no_large_package_waits_for_none(name: str, says: str) -> None:
    code = "import sys; from napari_cmrcnet.cli import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code, "info", str(SAMPLE / name)], capture_output=True, text=True, check=True
    )
    assert says in done.stdout
    assert not {"torch", "anndata", "scanpy", "scipy.stats"} & set(done.stderr.split())


def test_spots_say_that_they_are_synthetic() -> None:
    description = describe(SAMPLE / "S4.h5ad")
    assert description.kind == "spots"
    assert description.facts["synthetic"].startswith("yes")


def test_spots_say_the_pixel_size_that_follows_from_them(
    write_section: Callable[..., tuple[Path, Path]], tmp_path: Path
) -> None:
    description = describe(SAMPLE / "S4.h5ad")
    section = open_section(SAMPLE / "S4.tif", SAMPLE / "S4.h5ad")
    section.slide.close()
    size = section.pixel_size
    assert description.facts["pixel size"] == f"{size.um:.4g} µm/px ({size.source})"
    assert (description.values["mpp"], description.values["mpp_source"]) == (size.um, size.source)
    _, spots = write_section(tmp_path, "C")  # of no platform, so that only the slide can say it
    description = describe(spots)
    assert description.facts["pixel size"] == "not known without the slide"
    assert description.values["mpp"] is None


def test_checkpoint() -> None:
    description = describe(SAMPLE / "sample.cmrcnet")
    assert description.kind == "checkpoint"
    assert description.facts["trained on"] == "S1, S2, S3"
    assert description.facts["thumbnails"] == "1,055 of 64 px: simulated tissue"
    assert description.facts["each value is"] == "the weighted mean of the 200 most similar training spots"
    assert description.problems == ()


def test_checkpoint_says_what_it_can_show_and_judge(untrained_checkpoint: Checkpoint, tmp_path: Path) -> None:
    assert untrained_checkpoint.path is not None
    assert describe(untrained_checkpoint.path).facts["thumbnails"].startswith("none")
    finish(write_thumbnails(tmp_path / "t.h5", [np.zeros((72, 64, 64, 3), np.uint8)], 72))
    card = replace(untrained_checkpoint.card, similarity_floor=0.25)
    folder = tmp_path / "M.cmrcnet"
    Checkpoint(card, untrained_checkpoint.model, untrained_checkpoint.bank, thumbnail_file=tmp_path / "t.h5").save(
        folder
    )
    facts = describe(folder).facts
    assert facts["out of distribution"] == "spots whose best similarity is below 0.250"
    assert facts["thumbnails"] == "72 of 64 px: tissue of the training patients"
    (folder / "thumbnails.h5").write_bytes(b"changed")
    (problem,) = describe(folder).problems
    assert "thumbnails.h5 was changed" in problem


def test_prediction_whose_checkpoint_is_gone(tmp_path: Path) -> None:
    section = open_section(SAMPLE / "S4.tif", SAMPLE / "S4.h5ad")
    checkpoint = Checkpoint.load(SAMPLE / "sample.cmrcnet").save(tmp_path / "moved.cmrcnet")
    with section.slide:
        finish(predict(section, checkpoint)).save(tmp_path / "p.h5ad")
    patient, synthetic = describe(tmp_path / "p.h5ad").problems
    assert patient.startswith("The patient of S4 is not known")
    assert synthetic == "S4 is synthetic. Its scores say nothing about real tissue."
    (tmp_path / "moved.cmrcnet").rename(tmp_path / "elsewhere")
    description = describe(tmp_path / "p.h5ad")
    assert description.kind == "prediction"
    assert any("moved.cmrcnet" in problem for problem in description.problems)


def test_a_sheet_is_no_counts(tmp_path: Path) -> None:
    (tmp_path / "C2.tif").touch()
    (tmp_path / "sheet.csv").write_text("section,slide,spots,patient\nC2,C2.tif,,P1\n")
    about = describe(tmp_path / "sheet.csv")
    assert (about.kind, about.facts["sections"], about.facts["patients"]) == ("sheet", "1: C2", "1: P1")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="is neither a sheet of sections nor a file of spots"):
        describe(tmp_path / "other.csv")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere does not exist"):
        describe(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("her2st/C5.tif", "slide"),
        ("her2st/C5.h5ad", "spots"),
        ("her2st/raw", "spots"),
        ("spaceranger/outs", "spots"),
        ("slides/CMU-1-Small-Region.svs", "slide"),
        ("slides/CMU-1-Small-Region-dicom", "slide"),
    ],
)
def test_real_data(real_data: Path, path: str, kind: str) -> None:
    assert describe(real_data / path).kind == kind
