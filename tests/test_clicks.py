"""How many clicks it takes from a slide to the map of a marker, with a model that was chosen before."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tifffile

from by_hand import ByHand
from napari_cmrcnet.viewer.registry import layers_of, session_of

pytestmark = [pytest.mark.qt, pytest.mark.usefixtures("undrawn")]


@pytest.fixture
def section(tmp_path: Path, write_section: Callable[..., Any]) -> tuple[Path, Path]:
    """A slide that knows the size of its pixels, with its spots beside it."""
    slide, spots = write_section(tmp_path / "case", "C", 3, side=16)
    pixels = tifffile.imread(slide)
    tifffile.imwrite(slide, pixels, tile=(64, 64), resolution=(10_000, 10_000), resolutionunit="CENTIMETER")
    return slide, spots


def shows_a_marker(hand: ByHand) -> bool:
    """Whether a marker's predicted map is seen."""
    session, layers = session_of(hand.viewer), layers_of(hand.viewer)
    prediction, shown = session.prediction, session.shown
    if prediction is None or shown is None or "predicted" not in layers.points:
        return False
    assert shown.name in prediction.panel.genes
    layer = layers.points["predicted"]
    return bool(layer.visible and shown.name in layer.name and len(layer.data) == len(prediction))


def predict(hand: ByHand) -> None:
    """Press Predict in the panel in front, when it can be pressed."""
    panel = hand.panel("Predict")
    hand.wait(panel.run.isEnabled)
    hand.click(panel.run)
    hand.wait(lambda: shows_a_marker(hand))


@pytest.mark.qt("pyside6")
def test_a_slide_is_five_clicks_from_a_marker(hand: ByHand, section: tuple[Path, Path]) -> None:
    """File, Open File(s), the slide, OK where napari asks once for the reader, Predict; a drop takes two less."""
    hand.choose = section[0]
    hand.when_asked("OK")
    hand.menu("File", "Open File(s)...")
    predict(hand)
    assert hand.clicks == 5  # as many as there may be


@pytest.mark.qt("pyqt6")
def test_spots_beside_their_slide_are_five_clicks_from_a_marker(hand: ByHand, section: tuple[Path, Path]) -> None:
    """File, Open File(s), the spots, whose slide is found, the tab Predict, Predict; a drop takes two less."""
    hand.choose = section[1]
    hand.menu("File", "Open File(s)...")
    hand.wait(lambda: session_of(hand.viewer).case is not None)
    hand.tab("Predict")
    predict(hand)
    assert session_of(hand.viewer).shown.measured is not None
    assert hand.clicks == 5  # there may be six
