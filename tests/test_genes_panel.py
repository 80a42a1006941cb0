"""The Genes panel lists every gene, finds what is typed, follows the session and is walked with the arrow keys."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QPoint, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QApplication

from dialogs import SaveDialog
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.evaluation.scores import Scores, pcc_job, score
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.sections.panels import Panel, load_panel
from napari_cmrcnet.viewer.gene_list import Column, GeneList
from napari_cmrcnet.viewer.registry import layers_of
from napari_cmrcnet.widgets import gene_panels
from napari_cmrcnet.widgets.gene_model import number
from napari_cmrcnet.widgets.genes import GenesPanel

pytestmark = pytest.mark.qt

MARKER = "GENE3"  # the first of the checkpoint's panel, and so what is shown first


@pytest.fixture(scope="module")
def prediction(predicted: Prediction) -> Prediction:
    """A prediction of which ERBB2 is the gene 7, GENE8 was not measured and GENE9 was always the same."""
    assert predicted.bank is not None
    genes = tuple("ERBB2" if gene == "GENE7" else gene for gene in predicted.genes)
    ids = tuple(f"ENSG{i:011}" for i in range(24))
    spots = predicted.spots.copy()
    spots.var_names = list(genes)
    counts = spots.X.toarray()
    counts[:, 9] = 0
    spots.X = type(spots.X)(counts)
    return made(predicted, replace(predicted.bank, genes=genes, gene_ids=ids), spots[:, spots.var_names != "GENE8"])


@pytest.fixture
def unmeasured(prediction: Prediction) -> Prediction:
    """Of a checkpoint that expects of each gene a PCC that falls from 0.9 to 0, and of GENE5 none; without counts."""
    assert prediction.bank is not None
    pcc = np.linspace(0.9, 0, len(prediction.bank.genes), dtype=np.float32)
    pcc[5] = np.nan
    bank = replace(prediction.bank, expected=np.column_stack([pcc, pcc / 2]))
    spots = prediction.spots.copy()
    spots.X = None
    about = replace(prediction.provenance, expected_over="patients")
    parts = spots, prediction.neighbours, prediction.similarity, prediction.confidence(), about
    return Prediction(*parts, bank=bank)


def test_an_unmeasured_slide_has_its_genes_by_expected_accuracy_markers_first(
    unmeasured: Prediction, panel: GenesPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat: set[float] = set()
    monkeypatch.setattr(
        "napari_cmrcnet.evaluation.colour_limits.hardly_varies", lambda values: float(np.ravel(values)[0]) in flat
    )
    flat.add(float(unmeasured.gene("GENE1")[0]))
    panel.session.look_at(unmeasured)
    listed = list(panel.session.listed)
    assert listed[:4] == [MARKER, "GENE4", "GENE0", "GENE1"]  # the two markers, then the best
    assert listed[-1] == "GENE5"
    assert not panel.table.isColumnHidden(Column.EXPECTED)
    assert panel.table.isColumnHidden(Column.PCC)
    assert cell(panel, "GENE0", Column.EXPECTED) == "● 0.90"
    assert cell(panel, "GENE1", Column.EXPECTED) == "◐ 0.86"  # its prediction hardly varies
    assert cell(panel, "GENE18", Column.EXPECTED) == "◐ 0.20"
    assert cell(panel, "GENE22", Column.EXPECTED) == "○ 0.04"
    assert cell(panel, "GENE5", Column.EXPECTED) == "○"  # too rare in training to expect anything of it
    tip = cell(panel, "GENE18", Column.GENE, Qt.ItemDataRole.ToolTipRole)
    assert "Expected PCC: 0.20, 0.10 given depth (from 0.3 good, below 0.1 do not use)" in tip
    assert "2 training patients, each left out in turn" in tip
    assert "15 good, 5 weak, 4 do not use" in panel.note.text()
    panel.session.show("GENE18")
    assert panel.session.shown is not None
    assert panel.session.shown.score.startswith("predicted only · weak")
    assert set(panel.session.shown.tip.splitlines()[1:]) <= set(tip.splitlines())
    panel.session.show("GENE22")
    assert panel.session.shown.score.startswith("predicted only · do not use")
    assert panel.trust.text() == f"{panel.session.shown.name}: do not use. {panel.session.shown.trust.reasons[0]}"


def test_a_measured_section_keeps_its_order_and_the_expected_pcc_is_shown_when_asked_for(
    unmeasured: Prediction, prediction: Prediction, panel: GenesPanel
) -> None:
    panel.session.look_at(made(unmeasured, unmeasured.bank, prediction.spots))
    assert panel.model.genes is not None
    assert panel.model.genes.sort == (Column.MEASURED, True)
    assert panel.table.isColumnHidden(Column.EXPECTED)
    panel.table.choose_column(Column.EXPECTED, True)
    assert not panel.table.isColumnHidden(Column.EXPECTED)
    panel.session.look_at(prediction)  # of a checkpoint that expects nothing
    assert panel.table.isColumnHidden(Column.EXPECTED)
    assert not offered(panel)["Expected PCC"].isVisible()


def made(like: Prediction, bank: Any, spots: Any) -> Prediction:
    return Prediction(
        spots.copy(), like.neighbours, like.similarity, like.confidence(), like.provenance, bank=bank,
        variable_genes=like.variable_genes,
    )  # fmt: skip


@pytest.fixture(scope="module")
def scores(prediction: Prediction) -> Scores:
    return score(prediction)


@pytest.fixture
def panel(qtbot: Any) -> GenesPanel:
    viewer = ViewerModel()
    panel = GenesPanel(viewer)
    panel.layers = layers_of(viewer)  # nothing else holds them here
    qtbot.addWidget(panel)
    panel.resize(380, 700)
    panel.show()
    panel.activateWindow()
    qtbot.waitUntil(panel.isActiveWindow)
    return panel


@pytest.fixture
def full(panel: GenesPanel, prediction: Prediction, scores: Scores) -> GenesPanel:
    panel.session.look_at(prediction, scores=scores)
    return panel


def listed(panel: GenesPanel) -> list[str]:
    return [panel.model.symbol(row) for row in range(panel.model.rowCount())]


def cell(panel: GenesPanel, gene: str, column: Column, role: Any = Qt.ItemDataRole.DisplayRole) -> Any:
    return panel.model.data(panel.model.index(panel.model.row_of(gene), column), role)


def offered(panel: GenesPanel) -> dict[str, Any]:
    """What the menu of the titles has."""
    return {action.text(): action for action in panel.table.horizontalHeader().actions()}


def current(panel: GenesPanel) -> str:
    index = panel.table.currentIndex()
    return panel.model.symbol(index.row()) if index.isValid() else ""


def choose(panel: GenesPanel, entry: str) -> None:
    panel.filter.setCurrentIndex(panel.filter.findText(entry))


def test_an_empty_panel_says_what_to_do(panel: GenesPanel) -> None:
    assert "Press Predict" in panel.empty.text()
    assert panel.empty.isVisible()
    assert not panel.table.isVisible()
    assert not panel.search.isVisible()


def test_every_gene_is_listed_with_what_is_known_of_it(
    full: GenesPanel, prediction: Prediction, scores: Scores
) -> None:
    assert sorted(listed(full)) == sorted(prediction.genes)
    row = scores.table.loc["GENE1"]
    mark = {"good": "●", "weak": "◐", "do not use": "○"}[row.trust]
    assert cell(full, "GENE1", Column.PCC) == f"{mark} {number(row.pcc)}"
    assert cell(full, "GENE1", Column.INTERVAL) == f"{number(row.low)}…{number(row.high)}"
    assert cell(full, "GENE1", Column.MEASURED) == f"{prediction.measured(['GENE1']).mean():.2f}"
    assert cell(full, "GENE1", Column.PREDICTED) == f"{prediction.gene('GENE1').mean():.2f}"
    assert cell(full, MARKER, Column.SETS) == "marker"
    assert cell(full, "GENE2", Column.SETS) == "HEG, HVG"
    assert full.status.text() == "24 genes, PCC of 22 over 36 spots"
    assert full.note.isHidden()


def test_an_undefined_correlation_has_its_reason_in_words(full: GenesPanel) -> None:
    assert cell(full, "GENE8", Column.INTERVAL) == "not measured"
    assert cell(full, "GENE8", Column.MEASURED) == ""
    assert cell(full, "GENE9", Column.INTERVAL) == "found at 0 of 36"
    assert "no score: found at 0 of 36 spots; at least 10" in cell(
        full, "GENE9", Column.GENE, Qt.ItemDataRole.ToolTipRole
    )
    assert "It was not measured" in cell(full, "GENE8", Column.GENE, Qt.ItemDataRole.ToolTipRole)
    assert cell(full, "ERBB2", Column.GENE, Qt.ItemDataRole.ToolTipRole).startswith("ERBB2 (ENSG00000000007)\nAlso")


def test_titles_say_over_which_spots_and_among_which_genes(panel: GenesPanel, prediction: Prediction) -> None:
    counts = prediction.spots.X.toarray()
    counts[:2] = 0
    spots = prediction.spots.copy()
    spots.X = type(spots.X)(counts)
    fewer = made(prediction, prediction.bank, spots)
    panel.session.look_at(fewer, scores=score(fewer))
    assert panel.status.text() == "24 genes, PCC of 22 over 34 of 36 spots"
    assert "scores of C, but not of its maps: 2 of 36 spots (fewer than 10 counts)" in panel.note.text()

    def tip(column: Column) -> str:
        return str(panel.model.headerData(column, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole))

    assert "Here 34 of 36 spots." in tip(Column.PCC)
    assert "not about other sections or patients" in tip(Column.INTERVAL)
    assert "ranked among the training sections' highly variable genes" in tip(Column.SETS)
    panel.session.look_at(fewer, scores=score(fewer, sets="all"))
    assert "ranked among all genes" in tip(Column.SETS)
    assert "ranked among all genes" in panel.filter.toolTip()


def test_columns_are_chosen_by_a_menu_of_the_titles_and_remembered(
    qtbot: Any, full: GenesPanel, scores: Scores
) -> None:
    table, row = full.table, scores.table.loc["GENE1"]
    tip = cell(full, "GENE1", Column.GENE, Qt.ItemDataRole.ToolTipRole)
    assert "Found at 36 spots; the PCC is over 36 spots." in tip
    assert table.horizontalHeader().contextMenuPolicy() == Qt.ContextMenuPolicy.ActionsContextMenu
    actions = offered(full)
    for column, name, value in (
        (Column.PARTIAL_PCC, "Partial PCC, given depth", row.partial_pcc),
        (Column.SPEARMAN, "Spearman's correlation", row.spearman),
        (Column.SPOTS_FOUND, "Spots where it was found", 36),
    ):
        assert table.isColumnHidden(column)
        assert not actions[name].isChecked()
        actions[name].trigger()
        assert not table.isColumnHidden(column)
        assert cell(full, "GENE1", column) == ("36" if column == Column.SPOTS_FOUND else number(value))
    actions["Mean predicted"].trigger()
    assert table.isColumnHidden(Column.PREDICTED)
    another = GenesPanel(full.viewer)
    qtbot.addWidget(another)
    for column in (Column.PARTIAL_PCC, Column.SPEARMAN, Column.SPOTS_FOUND):
        assert not another.table.isColumnHidden(column)
    assert another.table.isColumnHidden(Column.PREDICTED)


@pytest.mark.parametrize(
    ("column", "name"), [(Column.PCC, "pcc"), (Column.PARTIAL_PCC, "partial_pcc"), (Column.MEASURED, "measured_mean")]
)
def test_sorted_both_ways_what_is_not_known_stays_last(
    full: GenesPanel, scores: Scores, column: Column, name: str
) -> None:
    values = scores.table[name].dropna().sort_values()
    n = len(values)
    for order, expected in ((Qt.SortOrder.AscendingOrder, values), (Qt.SortOrder.DescendingOrder, values[::-1])):
        full.table.sortByColumn(column, order)
        assert listed(full)[:n] == list(expected.index)
        assert "GENE8" in listed(full)[n:]


def test_a_click_on_a_title_sorts_by_it_the_largest_first(qtbot: Any, full: GenesPanel, scores: Scores) -> None:
    header = full.table.horizontalHeader()
    for title in ("PCC▾", "PCC▴"):
        middle = header.sectionViewportPosition(Column.PCC) + header.sectionSize(Column.PCC) // 2
        qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(middle, 8))
        assert full.model.headerData(Column.PCC, Qt.Orientation.Horizontal) == title
        best = scores.table.pcc.idxmax() if title.endswith("▾") else scores.table.pcc.idxmin()
        assert listed(full)[0] == best


def test_typing_finds_genes_by_alias_and_enter_shows_the_first(qtbot: Any, full: GenesPanel) -> None:
    qtbot.keyClicks(full.search, "her-2")
    qtbot.waitUntil(lambda: listed(full) == ["ERBB2"])
    assert cell(full, "ERBB2", Column.GENE) == "ERBB2 (HER2)"
    assert full.status.text().startswith("her-2 → ERBB2. 24 genes")
    assert full.session.shown.name == MARKER  # nothing is shown that was not asked for
    qtbot.keyClick(full.search, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: full.session.shown.name == "ERBB2")
    qtbot.keyClick(full.search, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: len(listed(full)) == 24)
    assert current(full) == "ERBB2"


def test_what_is_not_found_is_said(qtbot: Any, full: GenesPanel) -> None:
    full.search.setText("xyz")
    qtbot.keyClick(full.search, Qt.Key.Key_Return)
    assert listed(full) == []
    assert "matches “xyz”" in full.status.text()
    assert full.session.shown.name == MARKER


def test_arrows_walk_through_the_list_and_the_session_follows(qtbot: Any, full: GenesPanel) -> None:
    full.table.sortByColumn(Column.GENE, Qt.SortOrder.AscendingOrder)
    order = listed(full)
    qtbot.keyClick(full.search, Qt.Key.Key_Down)
    assert full.table.hasFocus()
    place = order.index(MARKER)
    for key, step in ((Qt.Key.Key_Down, 1), (Qt.Key.Key_Up, -1)):
        qtbot.keyClick(full.table, key)
        place += step
        qtbot.waitUntil(lambda gene=order[place]: full.session.shown.name == gene)
    assert list(full.session.listed) == order  # what the arrows on the canvas walk through


def test_of_keys_held_down_only_the_last_gene_is_drawn(qtbot: Any, full: GenesPanel) -> None:
    drawn: list[str] = []
    full.session.shown_changed.connect(lambda: drawn.append(full.session.shown.name))
    full.table.setCurrentIndex(full.model.index(0, 1))
    for _ in range(10):
        press = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_Down, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(full.table, press)
    qtbot.waitUntil(lambda: bool(drawn))
    qtbot.wait(30)
    assert drawn == [listed(full)[10]]


def test_the_row_follows_what_is_shown_elsewhere(full: GenesPanel) -> None:
    assert current(full) == MARKER
    full.session.show("ERBB2")
    assert current(full) == "ERBB2"
    full.session.show_panel(Panel("pair", ("GENE1", "GENE2")))
    assert current(full) == ""
    choose(full, "Measured genes")
    full.session.show("GENE8")
    assert current(full) == ""  # it is not in the list
    assert full.session.shown.name == "GENE8"


def test_filters_list_sets_panels_and_ticks(full: GenesPanel, scores: Scores) -> None:
    choose(full, "Measured genes")
    assert len(listed(full)) == 23
    choose(full, "HEG: the 50 most expressed")
    assert set(listed(full)) == set(scores.table.index[scores.table.HEG])
    choose(full, "Markers of the checkpoint")
    assert sorted(listed(full)) == ["GENE3", "GENE4"]
    choose(full, "Ticked genes")
    assert listed(full) == []
    full.session.add_panel(Panel("mine", ("GENE5", "ENSG00000000006", "NOT_HERE")))
    choose(full, "Panel mine")
    assert sorted(listed(full)) == ["GENE5", "GENE6"]
    assert full.panels.current.name == "mine"
    assert "mine" in cell(full, "GENE6", Column.SETS)
    assert "Missing: NOT_HERE (1 of 3 genes)" in full.panels.choice.toolTip()
    full.session.add_panel(Panel("mine", ("GENE2",)))  # loaded again, from a file that was edited
    assert listed(full) == ["GENE2"]


def test_a_tick_is_set_by_a_click_and_by_the_space_bar(qtbot: Any, full: GenesPanel) -> None:
    qtbot.mouseClick(
        full.table.viewport(),
        Qt.MouseButton.LeftButton,
        pos=full.table.visualRect(full.model.index(2, Column.TICKED)).center(),
    )
    first = listed(full)[2]
    assert full.model.genes.ticked_symbols == (first,)
    full.table.setCurrentIndex(full.model.index(4, Column.GENE))
    qtbot.keyClick(full.table, Qt.Key.Key_Space)
    assert set(full.model.genes.ticked_symbols) == {first, listed(full)[4]}
    assert full.panels.new.text() == "New panel of 2 ticked…"
    full.panels.blend.click()
    assert full.session.display.blend
    full.session.set_display(blend=False)
    assert not full.panels.blend.isChecked()
    qtbot.keyClick(full.table, Qt.Key.Key_Space)
    assert full.model.genes.ticked_symbols == (first,)
    assert not full.panels.blend.isEnabled()  # one gene is no blend


def test_a_screen_reader_is_told_which_genes_can_be_ticked(full: GenesPanel) -> None:
    can_be = [bool(full.model.index(2, column).flags() & Qt.ItemFlag.ItemIsUserCheckable) for column in Column]
    assert can_be == [column == Column.TICKED for column in Column]


def test_a_panel_of_ticked_genes_is_saved_chosen_and_shown(
    full: GenesPanel, tmp_path: Path, save_dialog: SaveDialog
) -> None:
    assert not full.panels.new.isEnabled()
    for gene in ("GENE5", "GENE1"):
        full.model.toggle(full.model.row_of(gene))
    save_dialog.answer = tmp_path / "mine"
    full.panels.new.click()
    assert load_panel(tmp_path / "mine.txt") == Panel("mine", ("GENE1", "GENE5"))
    assert full.panels.current == full.session.panels["mine"]
    full.panels.show_score.click()
    assert (full.session.shown.name, full.session.shown.kind) == ("mine", "panel")


def test_the_next_panel_of_ticked_genes_is_proposed_under_another_name(
    full: GenesPanel, tmp_path: Path, save_dialog: SaveDialog
) -> None:
    for gene in ("GENE5", "GENE1", "GENE2"):
        full.model.toggle(full.model.row_of(gene))
        save_dialog.answer = None
        full.panels.new.click()
        save_dialog.answer = tmp_path / save_dialog.proposed[-1].name
        full.panels.new.click()
    assert [path.name for path in save_dialog.proposed[::2]] == ["panel.txt", "panel 2.txt", "panel 3.txt"]


def test_a_panel_is_loaded_and_a_bad_file_is_told(
    full: GenesPanel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.txt").write_text("GENE2\nGENE4\n")
    (tmp_path / "empty.txt").write_text("# nothing\n")
    monkeypatch.setattr(gene_panels, "choose_path", lambda *_, **__: tmp_path / "empty.txt")
    full.panels.load.click()
    assert "holds no gene" in full.message.text()
    monkeypatch.setattr(gene_panels, "choose_path", lambda *_, **__: tmp_path / "other.txt")
    full.panels.load.click()
    assert full.panels.current.genes == ("GENE2", "GENE4")
    assert "the gene panel other (2 genes)" in full.message.text()


def test_a_panel_without_a_gene_here_has_no_score(full: GenesPanel) -> None:
    full.panels.choose("SKCM")
    assert not full.panels.show_score.isEnabled()


def test_scores_that_come_later_fill_the_table(panel: GenesPanel, prediction: Prediction, scores: Scores) -> None:
    panel.session.look_at(prediction)
    panel.session.set_scoring(True)
    assert cell(panel, "GENE1", Column.PCC) == "…"
    assert "being computed" in panel.note.text()
    assert panel.compute.isHidden()
    order, gene = listed(panel), current(panel)
    panel.session.set_scores(finish(pcc_job(prediction)))
    assert cell(panel, "GENE1", Column.PCC).endswith(f" {number(scores.table.pcc['GENE1'])}")
    assert cell(panel, "GENE1", Column.INTERVAL) == "…"
    assert "intervals" in panel.note.text()
    panel.session.set_scores(scores)
    panel.session.set_scoring(False)
    assert "…" in cell(panel, "GENE1", Column.INTERVAL)
    assert len(cell(panel, "GENE1", Column.INTERVAL)) > 1
    assert panel.compute.isHidden()
    assert panel.note.isHidden()
    assert (listed(panel), current(panel)) == (order, gene)  # nothing moves under the reader's eyes


def test_scores_whose_computation_was_cancelled_can_be_asked_for(
    panel: GenesPanel, prediction: Prediction, scores: Scores
) -> None:
    session = panel.session
    session.look_at(prediction)
    session.set_scoring(True)
    session.set_scoring(False)
    assert panel.note.text() == "The PCC of all genes are not computed."
    panel.compute.click()  # without a window it is done at once
    assert session.scores is not None
    np.testing.assert_array_equal(session.scores.table["low"], scores.table["low"])
    assert not session.scoring
    assert panel.note.isHidden()
    assert panel.compute.isHidden()


def test_a_key_pressed_as_scores_come_is_not_lost(
    qtbot: Any, panel: GenesPanel, prediction: Prediction, scores: Scores
) -> None:
    session = panel.session
    session.look_at(prediction)
    panel._show_soon.setInterval(60_000)  # the scores come first
    panel.table.setFocus()
    qtbot.keyClick(panel.table, Qt.Key.Key_Down)
    wanted = panel.model.symbol(panel.table.currentIndex().row())
    assert session.shown is not None
    assert session.shown.name != wanted
    session.set_scores(scores)
    assert session.shown.name == wanted
    assert panel.model.symbol(panel.table.currentIndex().row()) == wanted


def test_without_measurements_their_columns_are_gone(panel: GenesPanel, prediction: Prediction) -> None:
    spots = prediction.spots.copy()
    spots.X = None
    panel.session.look_at(made(prediction, prediction.bank, spots))
    for column in (Column.PCC, Column.INTERVAL, Column.SPOTS_FOUND, Column.MEASURED):
        assert panel.table.isColumnHidden(column)
    assert "no measurements" in panel.note.text()
    assert panel.filter.findText("Measured genes") < 0
    markers = panel.model.genes.sets["markers"]  # type: ignore[union-attr]
    is_marker = [bool(markers[prediction.names.column(gene)]) for gene in listed(panel)]
    assert 0 < sum(is_marker) < len(is_marker)
    assert is_marker == sorted(is_marker, reverse=True)  # the markers first, and of either the most expressed
    means = np.array([prediction.gene(gene).mean() for gene in listed(panel)])
    for part in (means[: sum(is_marker)], means[sum(is_marker) :]):
        assert (np.diff(part) <= 1e-6).all()
    panel.model.genes.sort_by(Column.PREDICTED, descending=True)  # type: ignore[union-attr]
    panel._arrange()
    assert (np.diff([prediction.gene(gene).mean() for gene in listed(panel)]) <= 1e-6).all()


def test_without_its_checkpoint_only_the_stored_genes_are_predicted(
    panel: GenesPanel,
    untrained_checkpoint: Checkpoint,
    tmp_path: Path,
    write_section: Callable[..., Any],
    open_small: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("napari_cmrcnet.retrieval.prediction_file.GENES_PER_SET", 4)
    checkpoint = untrained_checkpoint.save(tmp_path / "M.cmrcnet")
    section = open_small(*write_section(tmp_path, "D", 4), name="D")
    finish(predict(section, checkpoint, PredictConfig(k=6, device="cpu"))).save(tmp_path / "D.predicted.h5ad")
    shutil.rmtree(tmp_path / "M.cmrcnet")
    opened = Prediction.load(tmp_path / "D.predicted.h5ad")
    panel.session.look_at(opened)
    genes = panel.model.genes
    assert genes is not None
    assert panel.model.rowCount() == 24  # all that were measured
    assert 2 <= np.isfinite(genes.predicted).sum() == len(opened.genes) < 24
    assert f"checkpoint of this prediction was not found. Only the {len(opened.genes)} genes" in panel.note.text()


def test_ticks_stay_with_the_next_prediction(full: GenesPanel, predicted: Prediction) -> None:
    full.model.toggle(full.model.row_of("ERBB2"))
    full.model.toggle(full.model.row_of("GENE5"))
    full.session.look_at(predicted)
    assert full.model.genes.ticked_symbols == ("GENE5",)


def test_a_closed_panel_does_not_hinder_the_others(full: GenesPanel, scores: Scores) -> None:
    other = GenesPanel(full.layers.viewer)
    other.deleteLater()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    full.session.show("GENE2")
    full.session.set_scores(scores)
    full.session.add_panel(Panel("mine", ("GENE5",)))
    full.session.look_at(None)
    assert full.empty.isVisible()


def test_slash_and_letters_in_the_list_go_to_the_search_box(qtbot: Any, full: GenesPanel) -> None:
    full.table.setFocus()
    qtbot.keyClick(full.table, "e")
    qtbot.waitUntil(full.search.hasFocus)
    assert full.search.text() == "e"
    qtbot.keyClicks(full.search, "r/b")
    assert full.search.text() == "er/b"  # a slash that is typed is a slash
    full.table.setFocus()
    qtbot.keyClick(full.table, "/")
    qtbot.waitUntil(full.search.hasFocus)
    assert full.search.selectedText() == "er/b"


def test_better_matches_come_first_whatever_the_sorting(prediction: Prediction) -> None:
    genes = GeneList(prediction)
    genes.sort_by(Column.GENE, True)
    genes.arrange("gene1")
    symbols = [prediction.genes[column] for column in genes.rows]
    assert symbols[0] == "GENE1"
    assert symbols[1:] == sorted((f"GENE1{i}" for i in range(10)), reverse=True)


def test_the_panel_fits_into_380_pixels(full: GenesPanel) -> None:
    assert full.minimumSizeHint().width() <= 380
    assert full.table.horizontalScrollBar().maximum() == 0
