"""Two sections, and what must hold of a window that shows the prediction of either."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_cmrcnet.evaluation.headline import in_lines
from napari_cmrcnet.evaluation.shown import panel_genes
from napari_cmrcnet.retrieval.case import Case
from napari_cmrcnet.retrieval.evidence import evidence, patch_of
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.viewer.boundary import to_napari
from napari_cmrcnet.viewer.preview import PREVIEW
from napari_cmrcnet.viewer.region_layer import REGIONS
from napari_cmrcnet.viewer.registry import layers_of, session_of
from napari_cmrcnet.viewer.session import Session
from napari_cmrcnet.viewer.slide_layer import slide_path
from napari_cmrcnet.widgets.evidence import OWN_SIDE, header_words
from napari_cmrcnet.widgets.evidence_pictures import in_square, pixmap_of
from napari_cmrcnet.widgets.plot_gene_sets import CorrelationView
from napari_cmrcnet.widgets.plot_views import SpotView


@dataclass
class Known:
    """A section, and what is looked at of it: its prediction, or what was measured."""

    section: Section
    case: Case

    @property
    def prediction(self) -> Prediction:
        """Its prediction."""
        assert self.case.prediction is not None
        return self.case.prediction


def look_at(viewer: Any, which: Known) -> None:
    session_of(viewer).look_at(which.case, which.section.slide)


def check(viewer: Any, previewed: int | None = None) -> None:
    """Assert that all that is drawn is of the session's case, a preview with as many spots if not said."""
    session, layers = session_of(viewer), layers_of(viewer)
    case, shown = session.case, session.shown
    text = viewer.canvas.overlays.text
    assert text.visible == (case is not None)
    if case is None:
        assert not layers.points
        return
    assert shown is not None
    assert [line.strip() for line in text.text.splitlines()] == layers.title.splitlines()
    assert layers.title.startswith(in_lines(shown.title))
    assert shown.title.startswith(f"{case.name}, patient P3" if case.name == "C" else f"{case.name}  ")
    assert len(shown) == len(case)
    assert (shown.predicted is None) == (case.prediction is None)
    if shown.kind == "gene" and case.prediction is not None:
        np.testing.assert_array_equal(shown.predicted, case.prediction.gene(shown.name))
    assert (shown.measured is None) == (not case.measured_genes)
    assert session.slide is not None
    assert str(session.slide.path) == case.provenance.slide
    for view, layer in layers.points.items():
        if layer in viewer.layers:
            np.testing.assert_array_equal(layer.data, to_napari(case.xy))
            if layer.visible and view in ("measured", "predicted"):
                np.testing.assert_array_equal(np.asarray(layer.features[view]), getattr(shown, view))
                assert shown.name in layer.name
    for layer in viewer.layers:
        ours = any(layer == one for one in (*layers.points.values(), *layers.slides.values()))
        if layer.name.startswith("H&E") or "view" in layer.metadata.get("cmrcnet", {}) or ours:
            assert ours, f"{layer.name} is of another prediction"
        if slide_path(layer) is not None:
            assert not layer.visible
        if layer.name == PREVIEW:
            assert len(layer.data) == (len(case) if previewed is None else previewed)
    for layer in layers.slides.values():
        assert getattr(layer, "__wrapped__", layer).data[0]._slide is session.slide
    for left in region_edges(viewer):
        assert (left < 95) == (case.name == "C")
    visible = {view for kind in (layers.slides, layers.points) for view, layer in kind.items() if layer.visible}
    seen = visible.intersection(layers.session.shown_views)
    grid = viewer.canvas.grid
    assert grid.enabled == (session.display.layout == "side by side" and len(seen) > 1)


def check_panels(viewer: Any, panels: dict[str, Any]) -> None:
    """Assert that the panels are of the session's prediction."""
    session, genes = session_of(viewer), panels["Genes"].model.genes
    case, shown = session.case, session.shown
    if case is None or shown is None:
        assert genes is None
        assert "nothing to look at" in panels["View"].title.text()
        return
    assert genes.any_measured == (case.name == "C")
    assert genes.any_predicted == (case.prediction is not None)
    if case.prediction is not None:
        np.testing.assert_array_equal(genes.predicted, case.prediction.predicted_means)
    assert panels["View"].title.text().startswith(f"<b>{shown.section} · {shown.name}")
    scores = panels["Regions"].model.scores
    assert (scores["spots"] <= len(case)).all()
    assert bool(len(scores)) == bool(session.regions)
    assert panels["Export"].default_name().startswith(f"{case.name}_")
    for name, check_panel in (("Plots", check_plot), ("Evidence", check_evidence)):
        if name in panels:
            assert panels[name].isVisible()  # else it waits until it is
            check_panel(session, panels[name])


def check_plot(session: Session, panel: Any) -> None:
    """Assert that the plot that is seen is of the prediction and the gene, or says why there is none."""
    prediction, shown = session.prediction, session.shown
    assert prediction is not None
    assert shown is not None
    (canvas,) = [one for one in panel.canvases.values() if not one.isHidden()] or [None]
    assert (canvas is None) == bool(panel.empty.text())
    if canvas is None and panel.view is panel.correlation:
        return  # its reasons are many
    if canvas is None:
        assert "measured" in panel.empty.text() or (session.scores is None and "scores" in panel.empty.text())
        return
    assert shown.measured is not None
    plot = canvas.plot
    assert shown.section in [text.get_text() for text in plot.figure.texts]
    match panel.view:
        case SpotView():
            np.testing.assert_array_equal(plot.x, shown.measured)
            np.testing.assert_array_equal(plot.y, shown.predicted)
            assert shown.score in " ".join(text.get_text() for text in (plot.axis.title, *plot.axis.texts))
        case CorrelationView() as view:
            assert view._of is prediction
            assert plot.source is view._results[view.choice.genes()]
        case _:
            assert plot.source is session.scores


def check_evidence(session: Session, panel: Any) -> None:
    """Assert that the evidence is of the selected spot, if it is one."""
    prediction, shown = session.prediction, session.shown
    assert prediction is not None
    assert shown is not None
    assert panel.content.isHidden() == (len(session.selected) != 1)
    if panel.content.isHidden():
        return
    (spot,) = session.selected.tolist()
    genes = [shown.name] if shown.kind == "gene" else panel_genes(prediction, session.panels[shown.name])
    found = evidence(prediction, spot, genes)
    assert panel.header.text() == header_words(prediction, shown, found)
    assert panel.pictures._neighbours == found.table.reset_index().to_dict("records")
    assert panel.neighbours.table["expression"].tolist() == found.table["expression"].tolist()
    pixels = patch_of(prediction, session.slide, spot)  # type: ignore[arg-type]
    assert panel.own.pixmap().toImage() == in_square(pixmap_of(pixels), OWN_SIDE).toImage()


def seen(viewer: Any) -> set[Any]:
    """Return which layers can be seen: ours by view and kind, others' as they are; the regions' copies follow them."""
    layers = layers_of(viewer)
    ours = {("spots", view): layer for view, layer in layers.points.items()}
    ours |= {("slide", view): layer for view, layer in layers.slides.items()}
    visible = [layer for layer in viewer.layers if layer.visible and layer.name != PREVIEW and len(layer.data)]
    names = {what for what, layer in ours.items() for one in visible if one == layer}
    others = [layer for layer in visible if not any(layer == one for one in ours.values())]
    copies = [layer for layer in others if layer.name.startswith(f"{REGIONS} (copy)")]
    return names | {REGIONS if layer.name == REGIONS else layer for layer in others if layer not in copies}


def region_edges(viewer: Any) -> list[float]:
    """Return the left edge of each region, in the session, its layer and the layer's copies: C's are left of 95."""
    shapes = [layer for layer in viewer.layers if layer.name.startswith(REGIONS) and hasattr(layer, "shape_type")]
    drawn = [float(np.min(data[:, 1])) for layer in shapes for data in layer.data]
    return [*drawn, *(region.geometry.bounds[0] for region in session_of(viewer).regions)]
