"""The figure of a gene says in its caption all that a reader needs who has only the figure."""

import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.evaluation.maps_figure import caption, write_maps_figure
from napari_cmrcnet.evaluation.shown import Shown, gene_shown
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.prediction import Prediction


@pytest.fixture(scope="module")
def prediction(
    untrained_checkpoint: Checkpoint,
    tmp_path_factory: pytest.TempPathFactory,
    write_section: Callable[..., Any],
    open_small: Callable[..., Any],
) -> Prediction:
    section = open_small(*write_section(tmp_path_factory.mktemp("data"), "C", 3), name="C")
    return finish(predict(section, untrained_checkpoint, PredictConfig(k=6, device="cpu")))


@pytest.fixture
def drawn(prediction: Prediction) -> Shown:
    shown = gene_shown(prediction, "GENE1", None)
    return replace(shown, pcc=0.41, low=0.2, high=0.6, undefined="", flat=False, limits=(1.0, 5.25))


@pytest.mark.parametrize(("kind", "starts"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_each_kind_of_picture(prediction: Prediction, drawn: Shown, tmp_path: Path, kind: str, starts: bytes) -> None:
    path = finish(write_maps_figure(prediction, tmp_path / f"F.{kind}", drawn))
    assert path.read_bytes().startswith(starts)


def test_the_caption_has_what_a_reader_needs(prediction: Prediction, drawn: Shown) -> None:
    text = caption(prediction, drawn)
    for part in (
        "GENE1 in section C, n = 36 spots",
        "colours from 1.00 to 5.25",
        "mean of the 6 most similar training spots",
        "untrained.cmrcnet",
        "PCC 0.41 (95 % bootstrap interval over spots 0.20 to 0.60)",
        "For research use only",
    ):
        assert part in text


def test_a_caption_says_what_the_list_before_the_run_warned_of(prediction: Prediction, drawn: Shown) -> None:
    about = prediction.provenance
    prediction.provenance = replace(about, warnings=("The stain is far.", "The pixels are large."))
    try:
        assert "The stain is far. The pixels are large." in caption(prediction, drawn)
    finally:
        prediction.provenance = about


def texts_of(svg: Path) -> list[str]:
    """Return the texts of a figure, which are drawn as outlines, from its comments."""
    return [unescape(text) for text in re.findall(r"<!-- (.*?) -->", svg.read_text("utf-8"))]


def test_without_measurements_only_the_predicted_is_drawn(prediction: Prediction, drawn: Shown, tmp_path: Path) -> None:
    bare = replace(drawn, measured=None, pcc=float("nan"))
    path = finish(write_maps_figure(prediction, tmp_path / "F.svg", bare))
    texts = texts_of(path)
    assert "predicted" in texts
    assert "H&E" in texts
    assert "measured" not in texts
    assert "PCC" not in caption(prediction, bare)


def test_names_are_drawn_as_they_are(prediction: Prediction, drawn: Shown, tmp_path: Path) -> None:
    for name in ("$\\frac$", "A_B^2", "<b>&", "HLA-A", "50 %"):
        path = finish(write_maps_figure(prediction, tmp_path / "F.svg", replace(drawn, name=name)))
        assert any(text.startswith(f"{name}, ") for text in texts_of(path)), name  # the title of the colour bar


def test_another_ending_is_refused_and_nothing_written(prediction: Prediction, drawn: Shown, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\.png, \.svg or \.pdf"):
        finish(write_maps_figure(prediction, tmp_path / "F.gif", drawn))
    assert not list(tmp_path.iterdir())
