"""The evidence panel: a selected spot shows its training spots, and every other state says what to do."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon

from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.evidence import evidence
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.retrieval.thumbnails import Thumbnails, write_thumbnails
from napari_cmrcnet.sections.panels import Panel
from napari_cmrcnet.viewer.registry import layers_of
from napari_cmrcnet.viewer.session import Session
from napari_cmrcnet.widgets.evidence import CLICK, NO_PICTURES, NOT_OPENED, EvidencePanel
from napari_cmrcnet.widgets.parts import label
from napari_cmrcnet.widgets.section_shares import HUES, OTHER, section_colours, show_shares

pytestmark = pytest.mark.qt

SIDE, K = 32, 30


@pytest.fixture
def checkpoint(untrained_checkpoint: Checkpoint, tmp_path: Path) -> Checkpoint:
    """A checkpoint of its own, with a thumbnail for each of the 72 bank spots, of a grey that tells its row."""
    patches = np.broadcast_to(np.arange(60, 132, dtype=np.uint8)[:, None, None, None], (72, SIDE, SIDE, 3))
    finish(write_thumbnails(tmp_path / "thumbnails.h5", [patches], 72))
    card, model, bank = untrained_checkpoint.card, untrained_checkpoint.model, untrained_checkpoint.bank
    pictured = Checkpoint(card, model, bank, thumbnail_file=tmp_path / "thumbnails.h5")
    return pictured.save(tmp_path / "M.cmrcnet")


@pytest.fixture
def prediction(
    checkpoint: Checkpoint, tmp_path: Path, write_section: Callable[..., Any], open_small: Callable[..., Any]
) -> Prediction:
    section = open_small(*write_section(tmp_path / "data", "C", 3), name="C", patient="P3")
    return finish(predict(section, checkpoint, PredictConfig(k=K, device="cpu")))


@pytest.fixture
def viewer() -> Iterator[ViewerModel]:
    viewer = ViewerModel()
    layers = layers_of(viewer)  # napari's window holds them; a model alone does not
    yield viewer
    layers.session.look_at(None)


@pytest.fixture
def panel(qtbot: Any, viewer: ViewerModel) -> EvidencePanel:
    panel = EvidencePanel(viewer)
    qtbot.addWidget(panel)
    panel.resize(380, 800)
    panel.show()
    return panel


@pytest.fixture
def session(panel: EvidencePanel, prediction: Prediction) -> Session:
    panel.session.look_at(prediction)
    panel.session.show("GENE5")
    return panel.session


def select(qtbot: Any, panel: EvidencePanel, *spots: int) -> None:
    panel.session.select(spots)
    qtbot.waitUntil(lambda: not panel.jobs.busy, timeout=60_000)


def texts(panel: EvidencePanel, column: int) -> list[str]:
    model = panel.neighbours
    return [model.data(model.index(row, column)) for row in range(model.rowCount())]


def test_an_empty_panel_says_what_to_do(panel: EvidencePanel) -> None:
    assert panel.empty.text().startswith("There is no prediction yet. Press Predict")
    assert panel.content.isHidden()


def test_without_a_selected_spot_it_asks_for_a_click(panel: EvidencePanel, session: Session) -> None:
    assert panel.empty.text() == CLICK
    assert panel.content.isHidden()


def test_a_selected_spot_shows_what_is_behind_its_value(
    qtbot: Any, panel: EvidencePanel, session: Session, prediction: Prediction
) -> None:
    select(qtbot, panel, 7)
    found = evidence(prediction, 7, "GENE5")
    assert panel.empty.isHidden()
    header = panel.header.text()
    measured = prediction.measured(["GENE5"])
    assert measured is not None
    for text in (
        prediction.spots.obs_names[7],
        "GENE5",
        f"predicted <b>{found.value:.2f}</b>",
        f"measured <b>{measured[7, 0]:.2f}</b>",
        f"deviation {found.spread:.2f}",
        f"best {prediction.similarity[7, 0]:.2f}",
    ):
        assert text in header
    assert "Unlike" not in header
    assert texts(panel, 0) == [str(rank) for rank in range(1, K + 1)]
    assert texts(panel, 1) == [f"{value:.2f}" for value in found.table["expression"]]
    for name, row in found.by_section.iterrows():
        assert f"{name} (patient {row['patient']}): <b>{100 * row['share']:.0f} %</b>" in panel.shares.text()


def test_it_says_how_much_each_neighbour_weighs(
    qtbot: Any,
    panel: EvidencePanel,
    weighted_checkpoint: Checkpoint,
    tmp_path: Path,
    write_section: Callable[..., Any],
    open_small: Callable[..., Any],
) -> None:
    section = open_small(*write_section(tmp_path / "weighted", "C", 3), name="C")
    prediction = finish(predict(section, weighted_checkpoint, PredictConfig(device="cpu")))
    panel.session.look_at(prediction)
    panel.session.show("GENE5")
    select(qtbot, panel, 7)
    table = evidence(prediction, 7, "GENE5").table
    assert f"the 20 most similar of the model's {len(prediction.bank.obs)} training spots" in panel.header.text()
    assert panel.neighbours.headerData(3, Qt.Orientation.Horizontal) == "Weight"
    assert texts(panel, 3) == [f"{weight:.2%}" for weight in table["weight"]]
    assert f"weight {table['weight'].iloc[0]:.2%}" in panel.pictures.data(
        panel.pictures.index(0, 0), Qt.ItemDataRole.AccessibleTextRole
    )


def test_the_pictures_are_of_the_neighbours(
    qtbot: Any, panel: EvidencePanel, session: Session, prediction: Prediction
) -> None:
    select(qtbot, panel, 7)
    model = panel.pictures
    assert model.rowCount() == K
    assert not panel.tabs.currentWidget().isHidden()
    assert "16 µm wide" in panel.caption.text()
    for place in (0, K - 1):
        icon: QIcon = model.data(model.index(place, 0), Qt.ItemDataRole.DecorationRole)
        grey = icon.pixmap(SIDE, SIDE).toImage().pixelColor(SIDE // 2, SIDE // 2).red()
        assert abs(grey - (60 + prediction.neighbours[7, place])) <= 2
    found = evidence(prediction, 7, "GENE5").table.iloc[K - 1]
    tip = model.data(model.index(K - 1, 0), Qt.ItemDataRole.ToolTipRole)
    assert f"No. {K}: section {found['section']}, patient {found['patient']}" in tip
    assert f"GENE5 {found['expression']:.2f}" in tip


def test_only_pictures_that_are_seen_are_decoded(
    qtbot: Any,
    panel: EvidencePanel,
    session: Session,
    prediction: Prediction,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded: list[int] = []
    read = Thumbnails.read
    monkeypatch.setattr(Thumbnails, "read", lambda self, rows: (decoded.extend(rows), read(self, rows))[1])
    panel.resize(380, 420)
    select(qtbot, panel, 7)
    panel.picture_view.viewport().repaint()
    last = int(prediction.neighbours[7, K - 1])
    assert decoded
    assert last not in decoded
    place = panel.picture_view.visualRect(panel.picture_view.model().index(0, 0))
    assert place.height() >= panel.picture_view.iconSize().height() + panel.picture_view.fontMetrics().height()
    panel.picture_view.scrollToBottom()
    panel.picture_view.viewport().repaint()
    assert last in decoded
    assert len(decoded) == len(set(decoded))


def test_the_spot_itself_is_shown_where_the_slide_is_open(
    qtbot: Any, panel: EvidencePanel, session: Session, open_small: Callable[..., Any], tmp_path: Path
) -> None:
    select(qtbot, panel, 7)
    assert panel.own.isHidden()
    section = open_small(tmp_path / "data" / "C.tif", tmp_path / "data" / "C.h5ad")
    session.look_at(session.prediction, section.slide)
    select(qtbot, panel, 7)
    assert not panel.own.isHidden()


def test_it_follows_the_gene(qtbot: Any, panel: EvidencePanel, session: Session, prediction: Prediction) -> None:
    select(qtbot, panel, 7)
    session.show("GENE8")
    assert "GENE8" in panel.header.text()
    assert texts(panel, 1) == [f"{value:.2f}" for value in evidence(prediction, 7, "GENE8").table["expression"]]
    assert panel.neighbours.headerData(1, Qt.Orientation.Horizontal) == "GENE8"


def test_of_a_panel_of_genes_the_mean_expression_is_shown(
    qtbot: Any, panel: EvidencePanel, session: Session, prediction: Prediction
) -> None:
    session.add_panel(Panel("mine", ("GENE3", "GENE4", "ABSENT")))
    session.show_panel(session.panels["mine"])
    select(qtbot, panel, 7)
    found = evidence(prediction, 7, ["GENE3", "GENE4"])
    assert f"mean log-normalised expression of its 2 genes, {found.value:.2f}" in panel.header.text()
    assert "(mean z)" in panel.header.text()
    assert texts(panel, 1) == [f"{value:.2f}" for value in found.table["expression"]]


def test_several_spots_show_their_mean(
    qtbot: Any, panel: EvidencePanel, session: Session, prediction: Prediction
) -> None:
    select(qtbot, panel, 3, 4, 9)
    said = panel.empty.text()
    assert said.startswith("3 spots are selected. Choose one")
    assert f"predicted {prediction.gene('GENE5')[[3, 4, 9]].mean():.2f}" in said
    assert panel.content.isHidden()


def test_a_spot_unlike_the_bank_is_called_so(qtbot: Any, panel: EvidencePanel, session: Session) -> None:
    assert session.prediction is not None
    session.prediction.provenance = replace(session.prediction.provenance, similarity_floor=2.0)
    select(qtbot, panel, 7)
    assert "Unlike the training tissue" in panel.header.text()


def test_without_pictures_the_table_says_why(
    qtbot: Any, panel: EvidencePanel, session: Session, checkpoint: Checkpoint
) -> None:
    assert checkpoint.thumbnail_file is not None
    checkpoint.thumbnail_file.unlink()
    select(qtbot, panel, 7)
    assert panel.note.text() == NO_PICTURES
    assert not panel.tabs.isTabVisible(0)
    assert panel.table.isVisible()
    assert panel.neighbours.rowCount() == K


def test_damaged_pictures_are_told_once(
    qtbot: Any, panel: EvidencePanel, session: Session, checkpoint: Checkpoint
) -> None:
    assert checkpoint.thumbnail_file is not None
    checkpoint.thumbnail_file.write_bytes(checkpoint.thumbnail_file.read_bytes() + b"x")
    select(qtbot, panel, 7)
    assert "thumbnails.h5 was changed or damaged" in panel.jobs.text
    assert panel.note.text() == NOT_OPENED
    assert panel.table.isVisible()


def test_pictures_that_go_while_they_are_looked_at(
    qtbot: Any, panel: EvidencePanel, session: Session, checkpoint: Checkpoint
) -> None:
    select(qtbot, panel, 7)
    assert checkpoint.thumbnail_file is not None
    checkpoint.thumbnail_file.unlink()
    select(qtbot, panel, 8)
    panel.picture_view.viewport().repaint()
    assert "thumbnails.h5" in panel.jobs.text
    assert panel.neighbours.rowCount() == K


def test_a_checkpoint_that_moved_is_asked_for(
    qtbot: Any, panel: EvidencePanel, prediction: Prediction, tmp_path: Path
) -> None:
    prediction.save(tmp_path / "C.h5ad")
    moved = shutil.move(tmp_path / "M.cmrcnet", tmp_path / "moved.cmrcnet")
    panel.session.look_at(Prediction.load(tmp_path / "C.h5ad"))
    select(qtbot, panel, 7)
    assert "needs its checkpoint for the training spots behind a value" in panel.empty.text()
    assert "Find checkpoint" in panel.empty.text()
    assert panel.find_button.isVisible()
    panel.session.look_at(Prediction.load(tmp_path / "C.h5ad", moved))
    select(qtbot, panel, 7)
    assert not panel.find_button.isVisible()
    assert panel.neighbours.rowCount() == K


def test_the_table_is_sorted_by_any_column(qtbot: Any, panel: EvidencePanel, session: Session) -> None:
    select(qtbot, panel, 7)
    panel.table.sortByColumn(1, Qt.SortOrder.DescendingOrder)
    values = [float(text) for text in texts(panel, 1)]
    assert values == sorted(values, reverse=True)
    assert values != sorted(values)
    select(qtbot, panel, 8)  # another spot keeps the order that was asked for
    values = [float(text) for text in texts(panel, 1)]
    assert values == sorted(values, reverse=True)


def test_sorting_the_table_leaves_each_picture_its_words(qtbot: Any, panel: EvidencePanel, session: Session) -> None:
    def said() -> list[str]:
        places = (panel.pictures.index(row, 0) for row in range(K))
        return [panel.pictures.data(place, Qt.ItemDataRole.AccessibleTextRole) for place in places]

    select(qtbot, panel, 7)
    before = said()
    panel.table.sortByColumn(1, Qt.SortOrder.AscendingOrder)
    assert said() == before


def test_a_hidden_panel_catches_up_when_it_is_shown(qtbot: Any, panel: EvidencePanel, session: Session) -> None:
    panel.hide()
    select(qtbot, panel, 7)
    assert panel.neighbours.rowCount() == 0
    panel.show()
    qtbot.waitUntil(lambda: not panel.jobs.busy, timeout=60_000)
    assert panel.neighbours.rowCount() == K


def test_a_closed_panel_leaves_the_session_in_peace(qtbot: Any, viewer: ViewerModel, prediction: Prediction) -> None:
    panel = EvidencePanel(viewer)
    panel.show()
    session = panel.session
    with qtbot.waitSignal(panel.destroyed):
        panel.deleteLater()
    session.look_at(prediction)
    session.select([3])


def test_it_fits_in_380_pixels(qtbot: Any, panel: EvidencePanel, session: Session) -> None:
    select(qtbot, panel, 7)
    assert panel.minimumSizeHint().width() <= 380
    assert panel.minimumSizeHint().height() <= 400


def by_section(names: list[str], shares: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"patient": "", "spots": range(len(names), 0, -1), "share": shares}, index=names)


def test_sections_beyond_the_colours_are_counted(qtbot: Any) -> None:
    names = [f"S{place}" for place in range(10)]
    colours = section_colours(names)
    assert list(colours.values()) == [*HUES, *[OTHER] * 4]
    shares = label(rich=True)
    qtbot.addWidget(shares)
    show_shares(shares, by_section(names, [0.1] * 10), colours)
    assert "S5" in shares.text()
    assert "S6" not in shares.text()
    assert "and 4 more sections" in shares.text()
    assert "S9" in shares.toolTip()


def test_of_a_value_of_zero_spots_are_counted(qtbot: Any) -> None:
    shares = label(rich=True)
    qtbot.addWidget(shares)
    show_shares(shares, by_section(["A<b>", "B"], [np.nan, np.nan]), section_colours(["A<b>", "B"]))
    assert shares.text().startswith("The value is 0")
    assert "A&lt;b&gt;: 2 spots" in shares.text()
    assert "<b>" not in shares.text()


def test_the_bar_is_divided_as_the_value_is(qtbot: Any) -> None:
    shares = label(rich=True)
    qtbot.addWidget(shares)
    shares.resize(400, 100)
    shares.show()
    show_shares(shares, by_section(["A", "B"], [0.75, 0.25]), section_colours(["A", "B"]))
    image = shares.grab().toImage()
    width, height = image.width(), image.height()
    first, second = ([image.pixelColor(int(x * width), y) for y in range(height)] for x in (0.7, 0.8))
    assert second[first.index(QColor(HUES[0])) + 2] == QColor(HUES[1])
