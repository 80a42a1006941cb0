"""The whole way of a study by the user's controls: three sections, from the drop to a report of all."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from qtpy.QtCore import Qt

from by_hand import ByHand
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.viewer.region_layer import REGIONS
from napari_cmrcnet.viewer.registry import session_of
from napari_cmrcnet.widgets import dialogs

pytestmark = pytest.mark.qt("pyside6")

ASK_TO_SAVE = dialogs.ask_to_save  # the question itself: other tests have it answered
KEYS = Qt.Key


@pytest.fixture
def sections(
    tmp_path: Path, write_section: Callable[..., Any], open_small: Callable[..., Any], untrained_checkpoint: Checkpoint
) -> dict[str, Path]:
    """Section C as it was measured, and the predictions of D and E, of another patient."""
    _, spots = write_section(tmp_path / "case", "C", 3)
    found = {"C": spots}
    for seed, name in enumerate("DE", start=4):
        section = open_small(*write_section(tmp_path / "case", name, seed), name=name, patient="P9")
        prediction = finish(predict(section, untrained_checkpoint, PredictConfig(k=6, device="cpu")))
        found[name] = tmp_path / "case" / f"{name}_predicted.h5ad"
        prediction.save(found[name])
    return found


@pytest.mark.usefixtures("no_pictures")
def test_three_sections_from_the_drop_to_a_report(
    hand: ByHand, sections: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogs, "ask_to_save", ASK_TO_SAVE)
    session = session_of(hand.viewer)
    predict_it(hand, sections["C"])
    list_cases(hand, sections, tmp_path)
    walk(hand)
    show_score(hand)
    compare(hand, tmp_path / "cohort.csv")
    outline(hand)
    review(hand, tmp_path / "answers.csv")
    report(hand, tmp_path)
    hand.tab("Cases")
    hand.click(hand.panel("Cases").previous)
    hand.wait(lambda: session.case.name == "D")
    hand.key(KEYS.Key_PageDown)
    hand.wait(lambda: session.case.name == "E" and session.regions)  # what was outlined came back with its case


def predict_it(hand: ByHand, spots: Path) -> None:
    """Drop a measured section, and predict it by the tab that has come with it."""
    session = session_of(hand.viewer)
    hand.drop(spots)
    hand.wait(lambda: session.case is not None)
    panel = hand.tab("Predict")
    hand.click(panel.form.more.toggleButton())
    hand.type(panel.form.mpp, "0.5")
    hand.wait(panel.run.isEnabled)
    hand.click(panel.run)
    hand.wait(lambda: session.prediction is not None and session.scores is not None)
    assert session.shown.name == "GENE3"  # the first marker


def list_cases(hand: ByHand, sections: dict[str, Path], folder: Path) -> None:
    """Put all into a list that is kept: what is not saved is asked about once, and saved."""
    session = session_of(hand.viewer)
    cases = hand.open("Cases")
    hand.click(cases.add)
    for name in "DE":
        if name == "D":
            hand.choose = folder / "case" / "C_predicted.h5ad"
            hand.when_asked("Save")
        hand.drop(sections[name])
        hand.wait(lambda name=name: session.case.name == name and session.scores is not None)
        hand.tab("Cases")
        hand.click(cases.add)
    assert Prediction.load(folder / "case" / "C_predicted.h5ad").name == "C"
    hand.choose = folder / "study.cmrproj"
    hand.click(cases.save)
    rows = [[cases.table.item(row, column).text() for column in (0, 3)] for row in range(3)]
    assert [row[1] for row in rows] == ["yes"] * 3
    assert [row[0].split("\n")[0] for row in rows] == ["C", "D", "E"]
    assert (folder / "study.cmrproj").exists()


def walk(hand: ByHand) -> None:
    """Walk through genes on the picture, flip, and swipe."""
    session = session_of(hand.viewer)
    seen = [session.shown.name]
    for _ in range(3):
        hand.key(KEYS.Key_Down)
        seen.append(session.shown.name)
    assert len(set(seen)) == 4
    hand.key(KEYS.Key_F)
    assert session.display.front == "measured"
    hand.key(KEYS.Key_F, KEYS.Key_W)
    assert session.display.layout == "swipe"
    hand.key(KEYS.Key_W)


def show_score(hand: ByHand) -> None:
    """Show the score of a panel as a map."""
    session = session_of(hand.viewer)
    genes = hand.tab("Genes")
    hand.choose_in(genes.panels.choice, "two genes")
    hand.click(genes.panels.show_score)
    hand.wait(lambda: (session.shown.kind, session.shown.name) == ("panel", "two genes"))


def compare(hand: ByHand, path: Path) -> None:
    """Compare it over all cases, and save the table."""
    cases = hand.tab("Cases")
    hand.click(cases.cohort)
    cohort = hand.panel("Cohort")
    hand.click(cohort.compute)
    hand.wait(lambda: not cohort.table.empty and not cohort.jobs.busy)
    hand.choose_in(cohort.what, "Box plot of the PCC")
    hand.choose = path
    hand.click(cohort.save)
    table = pd.read_csv(path)
    assert sorted(table[table["level"] == "section"]["section"]) == ["C", "D", "E"]
    assert table[table["level"] == "patient"]["patient"].tolist() == ["P9"]


def outline(hand: ByHand) -> None:
    """Make a region of the spots above Otsu's threshold: it has an area, and is drawn."""
    session = session_of(hand.viewer)
    threshold = hand.open("Threshold")
    above = threshold.above.spots
    assert 0 < above.sum() < len(above)
    assert "mm²" in threshold.count.text()
    hand.click(threshold.hide_others)
    assert session.shown.hidden.sum() == (~above).sum()
    hand.click(threshold.hide_others)
    hand.click(threshold.regions)
    (region,) = session.regions
    assert region.contains(session.case.xy).tolist() == above.tolist()
    regions = hand.open("Regions")
    assert regions.table.isVisible()
    assert len(hand.viewer.layers[REGIONS].data) == len(session.regions)


def review(hand: ByHand, path: Path) -> None:
    """Answer a blinded review by keys."""
    panel = hand.open("Review")
    hand.choose_in(panel.genes, "two genes")
    hand.choose = path
    hand.click(panel.start)
    maps = panel.window_of_maps
    hand.wait(maps.isVisible)
    while maps.isVisible():
        hand.key(KEYS.Key_M, KEYS.Key_4, KEYS.Key_Return, at=maps)
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert all(row["was"] for row in rows)
    assert "2 of 4 maps identified correctly" in panel.message.text()


def report(hand: ByHand, folder: Path) -> None:
    """Export the table of the case that is open, and write the report of all."""
    export = hand.open("Export")
    hand.choose_in(export.format, "Table (CSV)")
    hand.choose = folder / "E.csv"
    hand.click(export.button)
    hand.wait(lambda: not export.jobs.busy)
    assert len(pd.read_csv(folder / "E.csv")) == len(session_of(hand.viewer).case)
    cases = hand.tab("Cases")
    hand.wait(lambda: not cases.jobs.busy)
    hand.choose = folder / "all.html"
    hand.click(cases.report)
    hand.wait(lambda: not cases.jobs.busy)
    assert "Predicted expression of 3 sections" in (folder / "all.html").read_text("utf-8")
