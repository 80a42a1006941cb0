"""The blinded review: order, file, resumption, agreement, and the window by its keys."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.evaluation.review import COLUMNS, Answer, Review, order_of
from napari_cmrcnet.retrieval.prediction import Prediction

GENES = ("GENE3", "GENE1", "GENE5")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_each_gene_is_shown_measured_and_predicted_in_the_order_of_the_seed() -> None:
    order = order_of(GENES, 7)
    assert sorted(order) == sorted((gene, kind) for gene in GENES for kind in ("measured", "predicted"))
    assert order == order_of(GENES[::-1], 7)
    assert len({order_of(GENES, seed) for seed in range(8)}) > 4


def test_the_file_tells_nothing_before_the_answer_and_is_gone_on_with(predicted: Prediction, tmp_path: Path) -> None:
    path = tmp_path / "review.csv"
    review = Review(predicted, [*GENES, "GENE99"], path, 7)
    review.save()
    assert tuple(rows_of(path)[0]) == COLUMNS
    assert [(row["gene"], row["was"]) for row in rows_of(path)] == [(gene, "") for gene, _ in order_of(GENES, 7)]
    said = [Answer("measured", 4, "=1+1"), Answer("predicted", 2, 'a "note", with\tsigns'), Answer("measured", 5)]
    for answer in said:
        gene, kind = review.current  # type: ignore[misc]
        truth = predicted.gene(gene) if kind == "predicted" else predicted.measured([gene])[:, 0]  # type: ignore[index]
        np.testing.assert_array_equal(review.values(), truth)
        review.answer(answer)
    again = Review.resume(predicted, path)
    assert again.maps == review.maps
    assert again.current == review.current == order_of(GENES, 7)[3]
    assert [answer.plausible for answer in again.answers] == [4, 2, 5]
    assert again.answers[0].note == "'=1+1"  # a spreadsheet runs nothing
    again.answer(Answer("predicted", 1))
    rows = rows_of(path)
    assert [bool(row["was"]) for row in rows] == [True] * 4 + [False] * 2
    assert all((row["right"] == "yes") == (row["was"] == row["answer"]) for row in rows[:4])


def test_agreement_is_the_share_told_right_with_wilsons_interval(predicted: Prediction, tmp_path: Path) -> None:
    review = Review(predicted, GENES, tmp_path / "review.csv", 7)
    assert review.agreement == "No map is answered yet."
    for place, (_, kind) in enumerate(review.maps):
        other = "measured" if kind == "predicted" else "predicted"
        review.answer(Answer(other if place == 0 else kind, 5 if kind == "measured" else 2))
    n, share, z = 6, 5 / 6, 1.959964
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    assert review.current is None
    assert f"5 of 6 maps identified correctly: 83 % (95 % interval {100 * (middle - half):.0f} to" in review.agreement
    assert f"to {100 * (middle + half):.0f} %; 50 % by chance)" in review.agreement
    assert "measured 5.0 (n = 3), predicted 2.0 (n = 3)" in review.agreement


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _: "", "does not hold the answers of"),
        (lambda text: text.replace("section", "slide", 1), "does not hold the answers of"),
        (lambda text: text.splitlines()[0] + "\nC,1", "does not hold the answers of"),
        (lambda text: text.replace("\nC,", "\nD,"), "reviews another prediction"),
        (lambda text: text.replace(",7,", ",8,"), "changed by hand"),
        (lambda text: text.replace(",7,", ",x,"), "changed by hand"),
        (lambda text: text.replace("yes", "no").replace(",3,", ",9,"), "changed by hand"),
        (lambda text: "\n".join(text.splitlines()[:-1]), "changed by hand"),
    ],
)
def test_a_file_of_something_else_is_refused(
    predicted: Prediction, tmp_path: Path, change: Callable[[str], str], said: str
) -> None:
    path = tmp_path / "review.csv"
    review = Review(predicted, GENES, path, 7)
    review.answer(Answer(review.maps[0][1], 3))
    path.write_text(change(path.read_text("utf-8")), "utf-8")
    with pytest.raises(UserError, match=said):
        Review.resume(predicted, path)


def test_an_answer_that_cannot_be_written_is_not_taken(predicted: Prediction, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    review = Review(predicted, GENES, tmp_path / "file" / "review.csv", 7)
    with pytest.raises(UserError):
        review.answer(Answer("measured", 3))
    assert review.answers == []
    with pytest.raises(UserError, match="None of these genes has a PCC"):
        Review(predicted, ["GENE99"], tmp_path / "review.csv")


@pytest.mark.qt
def test_a_reader_answers_by_keys_stops_and_goes_on(
    qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, predicted: Prediction, save_dialog: Any
) -> None:
    from napari.components import ViewerModel
    from qtpy.QtCore import Qt

    from napari_cmrcnet.sections.panels import Panel
    from napari_cmrcnet.viewer.registry import session_of
    from napari_cmrcnet.widgets import review as module

    viewer = ViewerModel()
    session = session_of(viewer)
    panel = module.ReviewPanel(viewer)
    qtbot.addWidget(panel)
    panel.resize(900, 700)
    panel.show()
    assert panel.message.text() == module.NOT_SCORED
    assert not panel.start.isEnabled()
    session.look_at(predicted)
    session.add_panel(Panel("three", GENES))
    panel.genes.setCurrentText("three")
    save_dialog.answer = path = tmp_path / "answers.csv"
    panel.start.click()
    maps = panel.window_of_maps
    assert maps is not None
    assert maps.isModal()
    qtbot.waitUntil(maps.isVisible)

    def said_of_the_map() -> str:
        figure = maps.canvas.figure
        axes = figure.axes
        texts = [*figure.texts, *(text for axis in axes for text in (axis.title, *axis.texts, *axis.get_yticklabels()))]
        return " ".join([maps.progress.text(), maps.windowTitle(), *(text.get_text() for text in texts)])

    keys = {"measured": Qt.Key.Key_M, "predicted": Qt.Key.Key_P}
    for place, (gene, kind) in enumerate(maps.review.maps[:2]):
        assert not any(word in said_of_the_map() for word in ("measured", "predicted", "log-norm", "PCC"))
        assert gene in said_of_the_map()
        assert f"Map {place + 1} of 6" in said_of_the_map()
        assert not maps.next.isEnabled()
        qtbot.keyClick(maps, Qt.Key.Key_Return)  # nothing is answered yet
        assert len(maps.review.answers) == place
        qtbot.keyClick(maps, keys[kind])
        qtbot.keyClick(maps, Qt.Key.Key_4)
        qtbot.keyClicks(maps.note, "mp 1")  # letters of a note choose nothing
        qtbot.keyClick(maps.note, Qt.Key.Key_Return)
    assert [row["note"] for row in rows_of(path)[:2]] == ["mp 1"] * 2
    qtbot.keyClick(maps, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: not maps.isVisible())
    assert panel.message.text().startswith("2 of 2 maps identified correctly: 100 %")
    monkeypatch.setattr(module, "choose_path", lambda *_, **__: path)
    panel.resume.click()
    again = panel.window_of_maps
    assert again is not maps
    for _ in range(4):
        qtbot.keyClick(again, Qt.Key.Key_P)
        qtbot.keyClick(again, Qt.Key.Key_2)
        qtbot.keyClick(again, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: not again.isVisible())
    assert all(row["was"] for row in rows_of(path))
    assert "of 6 maps identified correctly" in panel.message.text()
    assert str(path) in panel.message.text()
