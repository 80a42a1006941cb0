"""The Threshold panel, through its own controls: counts, areas, regions, what is hidden, and agreement."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
from anndata import AnnData
from napari.components import ViewerModel
from qtpy.QtCore import QPoint, Qt
from shapely.geometry import Point

from napari_cmrcnet.evaluation.localise import agreement, example_threshold, otsu
from napari_cmrcnet.evaluation.region_scores import annotations
from napari_cmrcnet.retrieval.case import Case
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.retrieval.trust import Trust
from napari_cmrcnet.sections.panels import Panel
from napari_cmrcnet.sections.regions import Region
from napari_cmrcnet.viewer.registry import layers_of, session_of
from napari_cmrcnet.viewer.threshold import MEASURED
from napari_cmrcnet.widgets.plot_canvas import style_of
from napari_cmrcnet.widgets.threshold import ThresholdPanel

pytestmark = pytest.mark.qt


@pytest.fixture(scope="module")
def predicted(predicted: Prediction) -> Prediction:
    predicted.spots.obs["annotation"] = ["tumour", "stroma", "fat", None] * 9
    return predicted


@pytest.fixture
def panel(qtbot: Any, predicted: Prediction) -> ThresholdPanel:
    viewer = ViewerModel()
    panel = ThresholdPanel(viewer)
    qtbot.addWidget(panel)
    layers_of(viewer)
    panel.resize(380, 700)
    panel.show()
    session_of(viewer).look_at(predicted)
    session_of(viewer).show("GENE1")
    qtbot.wait(50)
    return panel


def test_otsu_divides_each_gene_that_is_shown(panel: ThresholdPanel, predicted: Prediction) -> None:
    for gene in ("GENE1", "GENE7"):
        panel.session.show(gene)
        values = predicted.gene(gene)
        assert panel.value.value() == pytest.approx(otsu(values), abs=5e-4)
        n = int((values > panel.value.value()).sum())
        assert panel.count.text().startswith(f"{n} of 36 spots ({100 * n / 36:.0f} %) are above ")
    panel.kind.setCurrentText("measured")
    panel.kind.activated.emit(1)
    assert panel.value.value() == pytest.approx(otsu(np.asarray(predicted.measured(["GENE7"]))), abs=5e-4)
    panel.session.show_panel(Panel("signature", ("GENE1", "GENE2"), ("GENE2",)))
    assert "signature, mean z" in panel.title.text()
    assert panel.session.shown is not None
    assert panel.value.value() == pytest.approx(otsu(panel.session.shown.measured), abs=5e-4)


def test_spots_that_do_not_count_do_not_move_the_threshold_of_measured_values(panel: ThresholdPanel) -> None:
    shown = panel.session.shown
    assert shown is not None
    assert shown.measured is not None
    counted, measured = np.arange(36) > 1, shown.measured.copy()
    measured[:2] = 40.0  # normalised from a handful of counts
    panel.session._set_shown(replace(shown, measured=measured, counted=counted))
    panel.kind.setCurrentText("measured")
    panel.kind.activated.emit(1)
    assert panel.value.value() == pytest.approx(otsu(measured[2:]), abs=5e-4)
    assert otsu(measured) > measured[2:].max()


def test_the_area_is_that_of_the_cells_of_the_lattice(panel: ThresholdPanel, predicted: Prediction) -> None:
    panel.value.setValue(-1)
    steps = np.unique(np.round(predicted.xy[:, 0], 3))
    side = float(np.diff(steps).min()) * predicted.provenance.mpp / 1000
    said = float(panel.count.text().split("\n")[0].split(": ")[1].removesuffix(" mm²."))
    assert said == pytest.approx(36 * side**2, rel=0.15, abs=0.01)


def test_it_says_where_a_threshold_means_little(panel: ThresholdPanel) -> None:
    shown = panel.session.shown
    assert shown is not None
    sure = replace(shown, flat=False, trust=Trust("good", ("Well.",)))
    avoid, why = Trust("do not use", ("Expected PCC: 0.01.",)), "▲ Trust: do not use. Expected PCC: 0.01."
    for changed, said in ((sure, ""), (replace(sure, flat=True), "hardly varies"), (replace(sure, trust=avoid), why)):
        panel.session._set_shown(replace(changed, predicted=shown.predicted.copy()))
        assert said in panel.count.text()
        assert ("▲" in panel.count.text()) == bool(said)
        panel.kind.setCurrentText("measured")
        panel.kind.activated.emit(1)
        assert "▲" not in panel.count.text()
        panel.kind.setCurrentText("predicted")
        panel.kind.activated.emit(0)


def test_only_the_spots_above_are_shown_until_another_gene_is(panel: ThresholdPanel, predicted: Prediction) -> None:
    layers = layers_of(panel.viewer)
    above = predicted.gene("GENE1") > panel.value.value()
    panel.hide_others.click()
    for layer in layers.points.values():
        np.testing.assert_array_equal(layer.face_color[:, 3] > 0, above)
    assert f"{int((~above).sum())} spots hidden" in layers.title
    higher = float(np.sort(predicted.gene("GENE1"))[-5])
    panel.value.setValue(higher)
    drawn = layers.points["predicted"].face_color[:, 3] > 0
    assert drawn.sum() == (predicted.gene("GENE1") > panel.value.value()).sum() < above.sum()
    panel.session.show("GENE7")
    assert all(layer.face_color[:, 3].all() for layer in layers.points.values())
    assert not panel.hide_others.isChecked()
    assert "hidden" not in layers.title
    panel.hide_others.click()
    panel.hide_others.click()
    assert all(layer.face_color[:, 3].all() for layer in layers.points.values())


def test_regions_are_the_outline_and_are_replaced(panel: ThresholdPanel, predicted: Prediction) -> None:
    for threshold in (panel.value.value(), float(np.sort(predicted.gene("GENE1"))[-8])):
        panel.value.setValue(threshold)
        panel.regions.click()
        (region,) = panel.session.regions
        above = predicted.gene("GENE1") > panel.value.value()
        np.testing.assert_array_equal(region.contains(predicted.xy), above)
        assert region.classification == "GENE1 high, predicted"
        assert region.name == f"GENE1 > {panel.value.value():.3f}"  # as the box has it
        pieces = len(shapely.get_parts(region.geometry))
        assert panel.message.text() == (
            f"The outline ({pieces} pieces) is in the Regions panel and over the section."
            if pieces > 1
            else "The outline is in the Regions panel and over the section."
        )
        drawn = layers_of(panel.viewer).regions.read()  # without the Regions panel
        assert [one.name for one in drawn] == [region.name]
    panel.select.click()
    np.testing.assert_array_equal(panel.session.selected, np.flatnonzero(above))
    panel.value.setValue(999)
    panel.regions.click()
    assert "No spot is above 999.000" in panel.message.text()
    panel.source.setCurrentText("regions")
    panel.source.activated.emit(0)
    assert panel.classes.item(0).text() == "GENE1 high, predicted"


def test_a_single_spot_has_an_outline(panel: ThresholdPanel, predicted: Prediction) -> None:
    panel.session.look_at(Case.of(predicted.spots[:1].copy(), "one", None))
    panel.value.setValue(-1)
    panel.regions.click()
    (region,) = panel.session.regions
    assert region.geometry.area == pytest.approx((2 * predicted.spot_diameter) ** 2)


def test_agreement_is_with_the_classes_that_are_chosen(panel: ThresholdPanel, predicted: Prediction) -> None:
    assert panel.source.currentText() == MEASURED
    truth = np.asarray(predicted.measured(["GENE1"]))[:, 0]
    counted = panel.session.shown.counted  # type: ignore[union-attr]
    values, threshold = predicted.gene("GENE1"), panel.value.value()
    wanted = agreement(values, threshold, truth > otsu(truth), counted)
    assert panel.agreement.text() == wanted.in_words("are above Otsu's threshold of the measured values")
    panel.source.setCurrentText("annotation")
    panel.source.activated.emit(1)
    assert [panel.classes.item(row).text() for row in range(3)] == ["fat", "stroma", "tumour"]
    assert "Choose one or more classes" in panel.agreement.text()
    panel.classes.item(0).setSelected(True)
    panel.classes.item(2).setSelected(True)
    known = np.tile([True, False, True, False], 9)
    assert panel.agreement.text() == agreement(values, threshold, known, counted).in_words()


def test_a_threshold_is_found_from_a_drawn_example(panel: ThresholdPanel, predicted: Prediction) -> None:
    values = predicted.gene("GENE1")
    panel.source.setCurrentText("annotation")
    panel.source.activated.emit(0)
    panel.example.click()
    assert "Choose one or more classes or regions" in panel.message.text()
    corner = predicted.xy[np.argmax(values)]
    panel.session.set_regions([Region("mine", "example", Point(*corner).buffer(40))])
    panel.source.setCurrentText("regions")
    panel.source.activated.emit(0)
    panel.classes.item(0).setSelected(True)
    panel.example.click()
    example = np.hypot(*(predicted.xy - corner).T) < 40
    assert 1 <= example.sum() < 36
    assert panel.value.value() == pytest.approx(example_threshold(values, example), abs=5e-4)
    assert panel.count.text().startswith(f"{(values > panel.value.value()).sum()} of 36 spots")
    assert panel.message.text() == ""


def test_lines_are_dragged(panel: ThresholdPanel, qtbot: Any) -> None:
    plot, canvas, changes = panel.plot, panel.canvas, []
    canvas.draw()
    panel.session.display_changed.connect(lambda new, old: changes.append((new.limits, old.limits)))

    def drag(start: float, end: float) -> None:
        ratio, y = canvas.devicePixelRatioF(), canvas.height() // 2
        first, last = (round(plot.axis.transData.transform((x, 0))[0] / ratio) for x in (start, end))
        qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=QPoint(first, y))
        qtbot.mouseMove(canvas, QPoint(last, y))
        qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=QPoint(last, y))

    left, right = plot.axis.get_xlim()
    goal = left + 0.5 * (right - left)
    plot.move("low", left + 0.2 * (right - left))
    plot.move("high", left + 0.8 * (right - left))
    drag(plot.at["threshold"], goal)
    assert panel.value.value() == pytest.approx(goal, abs=0.02 * (right - left))
    assert not changes
    high = left + 0.9 * (right - left)
    drag(plot.at["high"], high)
    ((limits, before),) = changes
    assert before is None
    assert limits[1] == pytest.approx(high, abs=0.02 * (right - left))
    assert panel.session.display.limits == limits


def test_another_theme_leaves_values_and_lines_where_they_are(panel: ThresholdPanel) -> None:
    panel.value.setValue(0.4)
    before = panel.plot
    panel.viewer.theme = "light"
    assert panel.plot.style == style_of(panel.viewer) != before.style
    assert panel.plot.at == before.at
    assert panel.plot.at["threshold"] == panel.value.value() == 0.4
    assert [text.get_text() for text in panel.plot.axis.get_legend().get_texts()] == ["predicted", "measured"]


def test_without_a_case_it_says_what_to_do(panel: ThresholdPanel) -> None:
    panel.session.look_at(None)
    assert "nothing to look at" in panel.empty.text()
    assert not panel.inside.isVisible()


def test_classes_are_found_in_the_spots_file() -> None:
    obs = pd.DataFrame(
        {
            "label": pd.Categorical(["a", "b", None, "a"]),
            "cluster": [0, 1, 1, 0],
            "depth": [0.1, 0.2, 0.3, 0.4],
            "patient": ["P", "Q", "P", "P"],
            "same": ["x"] * 4,
            "good": [True, False, True, True],
        }
    )
    about: Any = None
    found = annotations(Case(AnnData(obs=obs.set_axis(list("wxyz")), obsm={"spatial": np.zeros((4, 2))}), about), ())
    assert set(found) == {"label", "cluster", "good"}
    assert found["label"]["a"].tolist() == [True, False, False, True]
    assert found["label"]["b"].tolist() == [False, True, False, False]
    assert found["cluster"]["1"].tolist() == [False, True, True, False]
