"""`info` says what a path is, in facts with units, and what is wrong with it."""

from pathlib import Path

import pytest

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.evaluation.demo import sample_folder
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.describe import describe
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.sections.section import open_section

SAMPLE = sample_folder()


def test_slide() -> None:
    description = describe(SAMPLE / "S4.tif")
    assert description.kind == "slide"
    assert description.facts["pixel size"].startswith("0.5 µm/px")
    assert description.problems == ()


def test_spots_say_that_they_are_synthetic() -> None:
    description = describe(SAMPLE / "S4.h5ad")
    assert description.kind == "spots"
    assert description.facts["synthetic"].startswith("yes")


def test_checkpoint() -> None:
    description = describe(SAMPLE / "sample.cmrcnet")
    assert description.kind == "checkpoint"
    assert description.facts["trained on"] == "S1, S2, S3"


def test_prediction_whose_checkpoint_is_gone(tmp_path: Path) -> None:
    section = open_section(SAMPLE / "S4.tif", SAMPLE / "S4.h5ad")
    checkpoint = Checkpoint.load(SAMPLE / "sample.cmrcnet").save(tmp_path / "moved.cmrcnet")
    with section.slide:
        finish(predict(section, checkpoint)).save(tmp_path / "p.h5ad")
    assert describe(tmp_path / "p.h5ad").problems == section.notes
    (tmp_path / "moved.cmrcnet").rename(tmp_path / "elsewhere")
    description = describe(tmp_path / "p.h5ad")
    assert description.kind == "prediction"
    assert any("moved.cmrcnet" in problem for problem in description.problems)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere does not exist"):
        describe(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("her2st/C5.tif", "slide"),
        ("her2st/C5.h5ad", "spots"),
        ("her2st/raw", "spots"),
        ("her2st/raw/5714_HE_BT_C2.jpg", "slide"),
        ("spaceranger/outs", "spots"),
        ("slides/CMU-1-Small-Region.svs", "slide"),
        ("slides/CMU-1-Small-Region-dicom", "slide"),
    ],
)
def test_real_data(real_data: Path, path: str, kind: str) -> None:
    assert describe(real_data / path).kind == kind
