"""The layers drawn from a session: cells side by side or overlaid, shared limits, clicks, and what users do to them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from anndata import AnnData
from napari.components import ViewerModel
from napari.layers import Points
from shapely.geometry import box

from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.evaluation.blend import RGB
from napari_cmrcnet.evaluation.colour_limits import colour_limits
from napari_cmrcnet.evaluation.headline import in_lines
from napari_cmrcnet.retrieval.case import Case
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.sections.panels import Panel
from napari_cmrcnet.sections.regions import Region
from napari_cmrcnet.viewer import spot_layer
from napari_cmrcnet.viewer.display_settings import VIEWS
from napari_cmrcnet.viewer.region_layer import REGIONS
from napari_cmrcnet.viewer.registry import layers_of, session_of
from napari_cmrcnet.viewer.session import Session
from napari_cmrcnet.viewer.slide_layer import slide_layer


@pytest.fixture
def viewer(
    untrained_checkpoint: Checkpoint, tmp_path: Path, write_section: Callable[..., Any], open_small: Callable[..., Any]
) -> Iterator[ViewerModel]:
    """A viewer (without a window) that shows section C."""
    section = open_small(*write_section(tmp_path / "data", "C", 3), name="C", patient="P3")
    viewer = ViewerModel()
    session_of(viewer).look_at(
        finish(predict(section, untrained_checkpoint, PredictConfig(k=6, device="cpu"))), section.slide
    )
    return viewer


@pytest.fixture
def session(viewer: ViewerModel) -> Session:
    return session_of(viewer)


def cells(viewer: ViewerModel) -> list[list[str]]:
    """Return the visible layers of each cell of the canvas, first word of each name."""
    grid, layers = viewer.canvas.grid, viewer.layers
    if not grid.enabled:
        return [[layer.name for layer in layers if layer.visible]]
    found: dict[tuple[int, int], list[str]] = {}
    for index, layer in enumerate(layers):
        if layer.visible:
            found.setdefault(grid.position(index, layers), []).append(layer.name)
    return [found[place] for place in sorted(found)]


def test_measured_and_predicted_are_side_by_side_over_the_slide(viewer: ViewerModel) -> None:
    left, right = cells(viewer)
    assert left == ["H&E", "GENE3 measured, log-norm."]
    assert right == ["H&E [1]", "GENE3 predicted, log-norm."]
    assert viewer.canvas.overlays.text.text.strip().startswith(in_lines(session_of(viewer).shown.title).splitlines()[0])  # type: ignore[union-attr]
    assert viewer.canvas.overlays.scale_bar.visible


def test_texts_and_colour_bars_are_small_where_views_are(viewer: ViewerModel, session: Session) -> None:
    bar = layers_of(viewer).points["predicted"].face_colorbar
    for views, canvas, text, height in (
        (VIEWS[:2], (500, 900), 9, 125),
        (VIEWS, (1000, 900), 9, 125),
        (VIEWS, (600, 700), 7, 75),
        (VIEWS[:2], (900, 300), 9, 112),  # one above the other
        (("predicted",), (600, 400), 9, 140),
    ):
        session.set_display(views=views)
        viewer.canvas.size = canvas
        assert (bar.font_size, bar.size[1]) == (text, height)
        assert viewer.canvas.overlays.text.font_size == text + 1


def test_views_are_arranged_so_that_the_section_is_largest(viewer: ViewerModel, session: Session) -> None:
    grid = viewer.canvas.grid
    for views, canvas, shape in (
        (VIEWS[:2], (500, 1200), (1, 2)),
        (VIEWS[:2], (1200, 500), (2, 1)),
        (VIEWS[:3], (400, 1800), (1, 3)),
        (VIEWS[:3], (900, 900), (2, 2)),
        (VIEWS[:4], (900, 900), (2, 2)),
        (VIEWS, (1600, 300), (5, 1)),
    ):
        session.set_display(views=views)
        viewer.canvas.size = canvas
        assert grid.shape == shape


def test_a_whole_section_stays_whole_and_below_the_title_while_the_canvas_changes(
    viewer: ViewerModel, session: Session
) -> None:
    """What the user has zoomed to stays where it is."""
    assert session.prediction is not None
    radius = session.prediction.spot_diameter / 2
    top, left = (session.prediction.xy.min(axis=0)[::-1] - radius) * 0.5
    bottom, right = (session.prediction.xy.max(axis=0)[::-1] + radius) * 0.5
    camera, canvas = viewer.scene.camera, viewer.canvas
    for size in ((500, 1200), (900, 400), (700, 700)):
        canvas.size = size
        height, width = size[0] / canvas.grid.shape[0], size[1] / canvas.grid.shape[1]
        y, x = camera.center[-2:]
        assert (top - y) * camera.zoom + height / 2 > 3 * canvas.overlays.text.font_size
        font = canvas.overlays.text.font_size  # of scale bars and names at the foot, and of colour bars at the side
        assert (bottom - y) * camera.zoom < height / 2 - 3 * font
        assert (right - x) * camera.zoom < width / 2 - 7 * font
        assert (x - left) * camera.zoom < width / 2
    camera.center, camera.zoom = (10, 20), 7.0
    canvas.size = (704, 704)
    assert camera.center[-2:] == (10, 20)
    assert camera.zoom == pytest.approx(7, rel=0.02)


def test_measured_and_predicted_share_one_colour_bar(viewer: ViewerModel, session: Session) -> None:
    points = layers_of(viewer).points
    for views, bars in (
        (VIEWS[:2], {"predicted"}),
        (("measured", "difference"), {"measured", "difference"}),
        (VIEWS[:4], {"predicted", "difference", "local PCC"}),
    ):
        session.set_display(views=views)
        assert {view for view in views if points[view].face_colorbar.visible} == bars
    session.set_display(layout="overlaid", front="measured")
    assert points["measured"].face_colorbar.visible


def test_every_layer_is_in_micrometres_at_the_spots_place(viewer: ViewerModel, session: Session) -> None:
    for layer in viewer.layers:
        assert layer.scale.tolist() == [0.5, 0.5]
        assert [str(unit) for unit in layer.units] == ["micrometer"] * 2
    points = layers_of(viewer).points["predicted"]
    assert session.prediction is not None
    np.testing.assert_array_equal(points.data, session.prediction.xy[:, ::-1])  # (row, column)


def test_a_gene_switch_recolours_all_visible_views_on_one_scale(viewer: ViewerModel, session: Session) -> None:
    session.show("GENE8")
    points = layers_of(viewer).points
    assert session.shown is not None
    np.testing.assert_array_equal(points["predicted"].features["predicted"], session.shown.predicted)
    np.testing.assert_array_equal(points["measured"].features["measured"], session.shown.measured)
    assert points["predicted"].face_contrast_limits == points["measured"].face_contrast_limits
    low, high = points["predicted"].face_contrast_limits
    for name in ("measured", "predicted"):
        ends = points[name].face_color[np.argsort(np.asarray(points[name].features[name]))[[0, -1]]]
        assert not np.allclose(*ends)  # colours follow the new limits
    assert low < high
    assert points["predicted"].name == "GENE8 predicted, log-norm."


def test_the_mouse_over_a_spot_says_the_values_of_ticked_genes(viewer: ViewerModel, session: Session) -> None:
    points, case = layers_of(viewer).points, session.case
    assert case is not None
    session.tick(("GENE5", "GENE3", "GENE8"))
    for view in ("measured", "predicted"):
        features = points[view].features
        assert next(iter(features)) == view  # not the "value": napari says that of the active view, over all views
        assert {f"GENE5 {view}", f"GENE8 {view}"} <= set(features)
        assert f"GENE3 {view}" not in features  # it is shown
        known = case.prediction.gene("GENE5") if view == "predicted" else case.measured(["GENE5"])[:, 0]  # type: ignore
        np.testing.assert_array_equal(features[f"GENE5 {view}"], known)
    status = points["predicted"].get_status(points["predicted"].data[7] * points["predicted"].scale, world=True)
    assert f"GENE5 predicted: {features['GENE5 predicted'][7]:.3}"[:19] in status["value"] + status["coordinates"]
    session.show("GENE5")
    assert "GENE3 measured" in points["measured"].features
    session.tick(())
    assert not any("GENE" in name for name in points["predicted"].features)


@pytest.mark.parametrize("most", [spot_layer.MOST_POINTS, 0])
def test_ticked_genes_are_shown_together_as_colours(
    viewer: ViewerModel, session: Session, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """As points and as a picture; with their names and limits, and no colour bar, which would be of another gene."""
    case, slide = session.case, session.slide
    session.look_at(None)
    monkeypatch.setattr(spot_layer, "MOST_POINTS", most)
    session.look_at(case, slide)
    points = layers_of(viewer).points
    one_gene = points["predicted"].face_color
    session.set_display(blend=True)
    session.tick(("GENE5",))
    np.testing.assert_array_equal(points["predicted"].face_color, one_gene)
    session.tick(("GENE5", "GENE8"))
    assert isinstance(case, Prediction)
    for view in ("measured", "predicted"):
        values = [case.gene(gene) if view == "predicted" else case.measured([gene])[:, 0] for gene in session.ticked]
        limits = [colour_limits(case.measured([gene])[:, 0], case.gene(gene)) for gene in session.ticked]
        rgb = np.ones((len(case), 3))
        for one, (low, high), ink in zip(values, limits, ("green", "magenta"), strict=True):
            rgb *= 1 - np.clip((one - low) / (high - low), 0, 1)[:, None] * (1 - np.array(RGB[ink]))
        np.testing.assert_allclose(points[view].face_color[:, :3], rgb, atol=1 / 255)
        assert points[view].name.split("\n") == [
            view,
            f"green: GENE5 {limits[0][0]:.2f} to {limits[0][1]:.2f}",
            f"magenta: GENE8 {limits[1][0]:.2f} to {limits[1][1]:.2f}",
        ]
        assert not points[view].face_colorbar.visible
    assert "GENE5, GENE8 as colours" in viewer.canvas.overlays.text.text
    session.set_display(blend=False)
    np.testing.assert_array_equal(points["predicted"].face_color, one_gene)
    assert points["predicted"].face_colorbar.visible


def test_spots_have_the_colours_that_napari_gives_to_their_values(viewer: ViewerModel, session: Session) -> None:
    session.set_display(views=("measured", "predicted", "difference", "confidence"))
    for change in (lambda: session.show("GENE8"), lambda: session.set_display(colormap="magma", percentiles=(10, 90))):
        change()
        for view, layer in layers_of(viewer).points.items():
            plain = Points(
                layer.data,
                features=layer.features,
                face_color=view,
                face_colormap="coolwarm" if view == "difference" else session.display.colormap,
                face_contrast_limits=layer.face_contrast_limits,
            )
            assert layer.face_colormap == plain.face_colormap  # of the colour bar
            np.testing.assert_allclose(layer.face_color, plain.face_color, atol=1 / 255)
            assert len(np.unique(layer.face_color, axis=0)) > 5


def test_a_gene_switch_draws_anew_all_that_is_seen(viewer: ViewerModel, napari_window: Any) -> None:
    window = napari_window
    shown, layers = session_of(window), layers_of(window)
    shown.look_at(session_of(viewer).prediction)
    drawn = [window.screenshot(canvas_only=True, flash=False)]
    shown.show("GENE8")
    drawn.append(window.screenshot(canvas_only=True, flash=False))
    for layer in layers.points.values():
        layer.events.face_color()  # napari uploads and draws all of it once more
        layer.face_contrast_limits, kept = (-1.0, 9.0), layer.face_contrast_limits
        layer.face_contrast_limits = kept
    drawn.append(window.screenshot(canvas_only=True, flash=False))
    assert not np.array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[1], drawn[2])


def test_views_appear_in_cells_of_their_own_and_hidden_ones_leave_none(viewer: ViewerModel, session: Session) -> None:
    session.set_display(views=("measured", "predicted", "difference", "confidence"))
    assert [names[-1].split(",")[0] for names in cells(viewer)] == [
        "GENE3 measured",
        "GENE3 predicted",
        "GENE3 difference",
        "mean cosine similarity",
    ]
    session.set_display(views=("predicted", "confidence"))
    assert [names[-1].split(",")[0] for names in cells(viewer)] == ["GENE3 predicted", "mean cosine similarity"]
    session.set_display(layout="overlaid", front="difference")
    assert [name.split(",")[0] for name in cells(viewer)[0]] == ["H&E [2]", "GENE3 difference"]


def test_flipping_shows_measured_and_predicted_in_one_place(viewer: ViewerModel, session: Session) -> None:
    session.flip()
    assert [names[-1] for names in cells(viewer)] == ["GENE3 measured, log-norm."]
    viewer.keymap["F"](viewer) if "F" in viewer.keymap else session.flip()
    assert [names[-1] for names in cells(viewer)] == ["GENE3 predicted, log-norm."]


def test_a_hidden_view_is_up_to_date_when_it_is_seen_again(viewer: ViewerModel, session: Session) -> None:
    session.set_display(layout="overlaid", front="predicted")
    session.show("GENE12")
    session.flip()
    measured = layers_of(viewer).points["measured"]
    assert session.shown is not None
    np.testing.assert_array_equal(measured.features["measured"], session.shown.measured)
    assert measured.name == "GENE12 measured, log-norm."


def test_a_view_without_values_is_empty_and_says_why(viewer: ViewerModel, session: Session) -> None:
    session.set_display(views=("predicted", "confidence"), confidence="spread")
    confidence = layers_of(viewer).points["confidence"]
    assert confidence.face_color[:, 3].all()
    session.show_panel(Panel("mine", ("GENE1", "GENE2")))
    assert not confidence.face_color[:, 3].any()
    assert "The spread is known for single genes only" in confidence.name
    session.show("GENE1")
    assert confidence.face_color[:, 3].all()
    assert confidence.name == "GENE1: SD over the neighbours"


def test_opacity_and_size_are_of_all_views(viewer: ViewerModel, session: Session) -> None:
    before = {view: layer.size.copy() for view, layer in layers_of(viewer).points.items()}
    session.set_display(opacity=0.4, spot_size=2.0)
    for view, layer in layers_of(viewer).points.items():
        assert layer.opacity == 0.4
        np.testing.assert_allclose(layer.size, 2 * before[view])


def test_a_click_on_a_spot_selects_it_and_a_click_beside_selects_none(viewer: ViewerModel, session: Session) -> None:
    layers = layers_of(viewer)
    assert session.prediction is not None
    x, y = session.prediction.xy[7] * 0.5  # in µm
    press(viewer, (y, x))
    assert session.selected.tolist() == [7]
    session.set_display(views=VIEWS)
    rings = [layer for layer in viewer.layers if layer.name.startswith("selected spots") and layer.visible]
    assert len(rings) == len(layers.session.shown_views) > 2
    for ring in rings:
        np.testing.assert_allclose(ring.data * ring.scale, [(y, x)] * 2)
        assert ring.border_color.tolist() == [[0, 0, 0, 1], [1, 1, 1, 1]]
        assert ring.border_width[0] > ring.border_width[1]
        assert ring.size[0] > layers.points["predicted"].size[0]
    cells = viewer.canvas.grid.iter_viewboxes(viewer.layers)
    assert [sum(viewer.layers[index] in rings for index in of) for _, of in cells if of] == [1] * len(rings)
    press(viewer, (y, x), moved=30)  # a drag pans
    press(viewer, (-50.0, -50.0))
    assert session.selected.tolist() == []
    assert not any(len(ring.data) for ring in rings)


def press(viewer: ViewerModel, position: tuple[float, float], moved: int = 0) -> None:
    event = SimpleNamespace(type="mouse_press", pos=(100, 100), position=position)
    for callback in viewer.mouse_drag_callbacks:
        if getattr(callback, "__name__", "") == "_on_press":
            steps = callback(viewer, event)
            next(steps)
            if moved:
                event.type, event.pos = "mouse_move", (100 + moved, 100)
                next(steps)
            event.type = "mouse_release"
            next(steps, None)


def test_the_spots_can_neither_be_moved_nor_deleted(viewer: ViewerModel) -> None:
    points = layers_of(viewer).points["predicted"]
    assert not points.editable
    points.mode = "select"
    assert points.mode == "pan_zoom"


def test_a_deleted_layer_comes_back_when_its_view_is_asked_for(viewer: ViewerModel, session: Session) -> None:
    viewer.layers.remove(layers_of(viewer).points["predicted"])
    session.show("GENE2")  # the window goes on
    assert [names[-1] for names in cells(viewer)][-1] == "GENE2 predicted, log-norm."
    viewer.layers.clear()
    session.show("GENE5")
    assert len(cells(viewer)) == 2


def test_the_layer_by_which_the_slide_was_opened_is_taken_over(viewer: ViewerModel, session: Session) -> None:
    prediction, slide = session.prediction, session.slide
    assert slide is not None
    session.look_at(None)
    assert not viewer.layers
    levels, settings, _ = slide_layer(slide, 0.5)
    viewer.add_image(levels, **settings)
    session.look_at(prediction, slide)
    assert [layer.name for layer in viewer.layers] == [
        "H&E", "GENE3 measured, log-norm.", "H&E [1]", "GENE3 predicted, log-norm."
    ]  # fmt: skip


def test_without_a_slide_the_spots_are_shown_alone(viewer: ViewerModel, session: Session) -> None:
    session.look_at(session.prediction, None)
    assert cells(viewer) == [["GENE3 measured, log-norm."], ["GENE3 predicted, log-norm."]]


def test_regions_are_seen_in_every_cell_and_follow_what_is_drawn(viewer: ViewerModel, session: Session) -> None:
    square = np.array([[10, 10], [10, 60], [60, 60], [60, 10]], float)
    regions = viewer.add_shapes([square], shape_type="polygon", name=REGIONS, scale=(0.5, 0.5), units=("um", "um"))
    left, right = cells(viewer)
    assert left == ["H&E", "GENE3 measured, log-norm.", REGIONS]
    assert right == ["H&E [1]", "GENE3 predicted, log-norm.", f"{REGIONS} (copy)"]
    regions.add([square + 50], shape_type="polygon")
    copy = viewer.layers[f"{REGIONS} (copy)"]
    np.testing.assert_array_equal(copy.data[1], square + 50)
    session.flip()
    assert REGIONS in cells(viewer)[0]
    viewer.layers.remove(regions)
    assert not any(layer.name.startswith(REGIONS) for layer in viewer.layers)


def test_another_case_takes_layers_away_at_once_and_keeps_measured_spots_that_are_the_same(
    viewer: ViewerModel, session: Session
) -> None:
    """Each that goes alone stops the window for a fifth of a second, and each new one until it is drawn."""
    told: list[str] = []
    events = viewer.layers.events
    for name in ("begin_batch", "removed", "end_batch"):
        getattr(events, name).connect(lambda _event, name=name: told.append(name))
    points, case = layers_of(viewer).points, session.prediction
    assert case is not None
    measured, slide = points["measured"], session.slide
    session.look_at(Case(case.spots, case.provenance), slide)  # as it was measured
    assert points == {"measured": measured}
    assert told[:3] == ["begin_batch", "removed", "end_batch"]
    session.look_at(case, slide)
    assert points["measured"] is measured
    assert measured.name == "GENE3 measured, log-norm."
    elsewhere = case.spots.copy()
    elsewhere.obsm["spatial"] = elsewhere.obsm["spatial"] + 1
    told.clear()
    session.look_at(Case.of(elsewhere, "another"))
    assert points["measured"] is not measured
    assert told[:6] == ["begin_batch", *["removed"] * 4, "end_batch"]


def test_a_layer_of_the_user_s_own_does_not_disturb_the_cells(viewer: ViewerModel) -> None:
    viewer.add_points([[1, 1]], name="mine", scale=(0.5, 0.5), units=("um", "um"))
    left, right = cells(viewer)
    assert left == ["H&E", "GENE3 measured, log-norm.", "mine"]
    assert right == ["H&E [1]", "GENE3 predicted, log-norm."]


def test_an_unmeasured_section_shows_the_prediction_alone(
    viewer: ViewerModel,
    session: Session,
    untrained_checkpoint: Checkpoint,
    tmp_path: Path,
    write_section: Callable[..., Any],
    open_small: Callable[..., Any],
) -> None:
    section = open_small(*write_section(tmp_path / "bare", "D", 4), name="D")
    spots = section.spots
    bare = replace(section, spots=AnnData(obs=spots.obs, obsm=dict(spots.obsm), uns=spots.uns))
    session.look_at(finish(predict(bare, untrained_checkpoint, PredictConfig(k=6, device="cpu"))), section.slide)
    assert cells(viewer) == [["H&E", "GENE3 predicted, log-norm."]]
    session.flip()
    assert cells(viewer) == [["H&E", "GENE3 predicted, log-norm."]]


def test_spots_unlike_the_bank_are_rings(viewer: ViewerModel, session: Session, monkeypatch: Any) -> None:
    unlike = np.zeros(36, bool)
    unlike[[3, 5]] = True
    monkeypatch.setattr(type(session.prediction), "out_of_distribution", lambda _self: unlike)
    session.look_at(session.prediction, session.slide)
    symbols = layers_of(viewer).points["predicted"].symbol
    assert [str(symbol) for symbol in symbols[[2, 3, 5]]] == ["disc", "ring", "ring"]
    session.set_display(mark_out_of_distribution=False)
    assert {str(symbol) for symbol in layers_of(viewer).points["predicted"].symbol} == {"disc"}


def test_a_viewer_that_is_gone_takes_its_session_with_it() -> None:
    import gc
    import weakref

    viewer = ViewerModel()
    gone = weakref.ref(session_of(viewer))
    del viewer
    gc.collect()
    assert gone() is None


def test_no_layer_of_the_cells_goes_with_the_delete_key(viewer: ViewerModel) -> None:
    """A group without its histology would shift every cell."""
    viewer.add_shapes([np.array([[10, 10], [10, 60], [60, 60]], float)], shape_type="polygon", name=REGIONS)
    before = cells(viewer)
    for layer in list(viewer.layers):
        if layer.name != REGIONS:
            viewer.layers.selection = {layer}
            viewer.layers.remove_selected()
    assert cells(viewer) == before


def test_a_histology_that_was_deleted_all_the_same_comes_back_too(viewer: ViewerModel, session: Session) -> None:
    before = cells(viewer)
    viewer.layers.remove("H&E")
    session.show("GENE3")
    assert sorted(map(len, cells(viewer))) == sorted(map(len, before))


def test_a_layer_of_another_kind_may_be_called_regions(viewer: ViewerModel, session: Session) -> None:
    viewer.add_points([[1, 1]], name=REGIONS, scale=(0.5, 0.5), units=("um", "um"))
    session.flip()
    assert [layer.name for layer in viewer.layers].count(f"{REGIONS} (copy)") == 0


def test_regions_whose_layer_was_deleted_are_gone(viewer: ViewerModel, session: Session) -> None:
    layers = layers_of(viewer)
    square = np.array([[10, 10], [10, 60], [60, 60], [60, 10]], float)
    regions = viewer.add_shapes([square], shape_type="polygon", name=REGIONS, scale=(0.5, 0.5), units=("um", "um"))
    layers.read_regions()
    assert len(session.regions) == 1
    viewer.layers.remove(regions)
    layers.read_regions()
    assert session.regions == ()


def test_the_number_of_warnings_stays_under_the_title(viewer: ViewerModel, session: Session) -> None:
    prediction = session.prediction
    assert prediction is not None
    prediction.provenance = replace(prediction.provenance, warnings=("Pixels are large.", "The stain is far."))
    session.look_at(prediction, session.slide)
    for gene in prediction.genes[:2]:
        session.show(gene)
        assert viewer.canvas.overlays.text.text.splitlines()[-1].strip() == "2 warnings: see View"
    prediction.provenance = replace(prediction.provenance, warnings=())
    session.show(prediction.genes[0])
    assert "warning" not in viewer.canvas.overlays.text.text


def test_regions_taken_back_without_their_panel_are_so_in_every_cell(viewer: ViewerModel, session: Session) -> None:
    one, two = (Region(name, "", box(0, 0, side, side)) for name, side in (("A", 40), ("B", 90)))
    session.set_regions([one])
    session.set_regions([one, two])
    names = [layer.name for layer in viewer.layers]
    layers_of(viewer).undo_regions()
    assert [layer.name for layer in viewer.layers] == names
    drawn = [layer for layer in viewer.layers if layer.name.startswith("Regions")]
    assert [len(layer.data) for layer in drawn] == [1, 1]


def test_rings_lie_over_the_regions_in_every_cell(viewer: ViewerModel, session: Session) -> None:
    session.set_regions([Region("A", "", box(0, 0, 40, 40))])
    session.select([0])
    for cell in cells(viewer):
        assert [name.split()[0] for name in cell[-2:]] == ["Regions", "selected"]


@pytest.mark.parametrize("left", [0, 1])
def test_regions_are_drawn_in_the_pixels_of_the_case_that_is_shown(
    viewer: ViewerModel, session: Session, left: int
) -> None:
    """Where none is left of those of the case before, its layer is not drawn in."""
    layers, case = layers_of(viewer), session.case
    assert case is not None
    session.set_regions([Region("A", "", box(0, 0, 40, 40))])
    session.set_regions(session.regions[:left])
    case.provenance = replace(case.provenance, mpp=0.25)
    session.look_at(case, session.slide)
    layers.start_drawing("Tumour")
    assert layers.regions.layer is not None
    assert np.allclose(layers.regions.layer.scale, 0.25)


def test_a_layer_of_the_second_case_that_was_deleted_comes_back(viewer: ViewerModel, session: Session) -> None:
    layers, case = layers_of(viewer), session.case
    assert case is not None
    layers.show_beside(case, None)
    names = [layer.name for layer in viewer.layers]
    spots = next(layer for layer in viewer.layers if layer.name.startswith(f"{case.name}: "))
    viewer.layers.remove(spots)
    session.show("GENE5")
    session.show("GENE3")
    assert [layer.name for layer in viewer.layers] == names
