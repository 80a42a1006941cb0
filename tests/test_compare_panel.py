"""The Compare panel, through its own controls: similar genes and differences, and a click shows the gene."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from scipy.stats import mannwhitneyu

from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.viewer.compare import SELECTED
from napari_cmrcnet.viewer.registry import session_of
from napari_cmrcnet.widgets.compare import BETWEEN, SIMILAR, ComparePanel

pytestmark = pytest.mark.qt
WAIT = 60_000


@pytest.fixture
def panel(qtbot: Any, predicted: Prediction) -> ComparePanel:
    viewer = ViewerModel()
    panel = ComparePanel(viewer)
    qtbot.addWidget(panel)
    panel.resize(380, 600)
    panel.show()
    session_of(viewer).look_at(predicted)
    session_of(viewer).show("GENE1")
    return panel


def computed(panel: ComparePanel, qtbot: Any) -> Any:
    panel.compute.click()
    qtbot.waitUntil(lambda: not panel.jobs.busy, timeout=WAIT)
    qtbot.waitUntil(panel.compute.isEnabled, timeout=WAIT)
    return panel.model.table.set_index("gene")


def test_genes_like_the_shown_one_come_first_and_a_click_shows_one(
    panel: ComparePanel, qtbot: Any, predicted: Prediction
) -> None:
    table = computed(panel, qtbot)
    values = predicted.expression(predicted.genes).astype(float)
    with np.errstate(invalid="ignore"):
        wanted = np.corrcoef(values.T)[predicted.genes.index("GENE1")]
    assert "GENE1" not in table.index
    spans = np.ptp(np.percentile(values, (1, 99), axis=0), axis=0)
    vary = {gene for gene, span in zip(predicted.genes, spans, strict=True) if span >= 0.5}
    assert 5 <= len(vary) < len(predicted.genes)  # the others would come first for no reason
    assert set(table.index) == vary - {"GENE1"}
    assert f"{len(table)} genes whose prediction varies" in panel.about.text()
    assert (np.diff(table["correlation"]) <= 0).all()
    for gene in table.index[:5]:
        assert table.loc[gene, "correlation"] == pytest.approx(wanted[predicted.genes.index(gene)], abs=1e-4)
    assert "share training spots" in panel.warning.text()
    assert panel.layers.warnings
    assert panel.warnings.listed.text().splitlines() == [f"• {text}" for text in panel.layers.warnings]
    place = panel.view.visualRect(panel.model.index(2, 0)).center()
    qtbot.mouseClick(panel.view.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert panel.session.shown is not None
    assert panel.session.shown.name == table.index[2]
    assert panel.about.text().startswith("Like GENE1, predicted")  # the table is still of what it was asked for


def test_groups_are_compared_with_a_warning_and_saved(
    panel: ComparePanel, qtbot: Any, predicted: Prediction, save_dialog: Any, tmp_path: Path
) -> None:
    panel.what.setCurrentText(BETWEEN)
    panel.what.activated.emit(1)
    assert "no groups yet" in panel.about.text()
    assert not panel.compute.isEnabled()
    panel.session.select(range(15))
    panel.kind.setCurrentText("measured")
    assert panel.first.currentText() == SELECTED
    table = computed(panel, qtbot)
    gene = table.index[0]
    values = np.asarray(predicted.measured([gene]))[:, 0]
    wanted = mannwhitneyu(values[:15], values[15:], method="asymptotic", use_continuity=False)
    assert table.loc[gene, "mean_first"] == pytest.approx(values[:15].mean(), rel=1e-5)
    assert np.sign(table.loc[gene, "z"]) == np.sign(wanted.statistic - 15 * 21 / 2)
    assert table.loc[gene, "p_adjusted"] >= wanted.pvalue * 0.999
    assert "not independent" in panel.warning.text()
    save_dialog.answer = tmp_path / "table.csv"
    panel.save.click()
    assert save_dialog.proposed[0].name == "selected_spots_against_all_other_spots_measured.csv"
    panel.session.select(())  # no groups: the table stays, and is called what it is
    assert "no groups yet" in panel.about.text()
    panel.save.click()
    assert save_dialog.proposed[1].name == save_dialog.proposed[0].name
    panel.what.setCurrentText(SIMILAR)
    panel.what.activated.emit(0)
    assert "against all other spots" in panel.about.text()
    saved = pd.read_csv(tmp_path / "table.csv", index_col="gene")
    assert list(saved.index) == list(table.index)
    np.testing.assert_allclose(saved["p_adjusted"], table["p_adjusted"], rtol=1e-5)
    panel.session.look_at(None)
    assert panel.model.table.empty
    assert not panel.save.isEnabled()
    assert not panel.warning.text()
