"""What is on the screen belongs to one prediction: title, slide, spots, regions and tables, whatever the user does."""

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
from napari.components import ViewerModel
from shapely.geometry import box

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.sections.regions import Region
from napari_cmrcnet.viewer import view_groups as drawing
from napari_cmrcnet.viewer.boundary import to_napari
from napari_cmrcnet.viewer.display_settings import LAYOUTS
from napari_cmrcnet.viewer.preview import PREVIEW, show_preview
from napari_cmrcnet.viewer.region_layer import REGIONS
from napari_cmrcnet.viewer.registry import layers_of, session_of
from napari_cmrcnet.viewer.slide_layer import slide_layer, slide_path
from one_prediction import Known, check, look_at, seen


@pytest.fixture
def viewer(known: dict[str, Known]) -> Iterator[ViewerModel]:
    """A viewer (without a window) that shows section C."""
    viewer = ViewerModel()
    look_at(viewer, known["C"])
    yield viewer
    for each in known.values():
        each.prediction.view = {}


def test_another_patient_s_slide_after_a_grid_was_previewed(napari_window: Any, known: dict[str, Known]) -> None:
    """The preview put a layer more into the cells; then the other was half shown, under the title of the first."""
    viewer = napari_window
    look_at(viewer, known["C"])
    session = session_of(viewer)
    show_preview(viewer, session, known["C"].section)
    assert PREVIEW in viewer.layers
    check(viewer)
    look_at(viewer, known["D"])
    assert PREVIEW not in viewer.layers
    check(viewer)
    look_at(viewer, known["C"])
    check(viewer)
    assert viewer.canvas.grid.enabled
    session.look_at(None)


def test_a_preview_never_lies_in_another_section_s_picture(viewer: ViewerModel, known: dict[str, Known]) -> None:
    session = session_of(viewer)
    assert not show_preview(viewer, session, known["D"].section)
    assert PREVIEW not in viewer.layers
    check(viewer)


def test_a_preview_goes_with_the_slide_that_it_has_brought(known: dict[str, Known]) -> None:
    viewer = ViewerModel()
    session = session_of(viewer)
    assert show_preview(viewer, session, known["C"].section)
    assert len(viewer.layers) == 2
    assert show_preview(viewer, session, known["D"].section)
    assert [slide_path(layer) for layer in viewer.layers] == [known["D"].section.slide.path.absolute(), None]
    look_at(viewer, known["C"])
    check(viewer)
    assert len(viewer.layers) == 4


@pytest.mark.parametrize("what", ["spots", "colours", "slide", "grid"])
def test_what_cannot_be_shown_leaves_what_was_there(
    viewer: ViewerModel, known: dict[str, Known], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    session = session_of(viewer)
    session.show("GENE7")
    session.select([3])
    session.set_regions([Region("C left", "Tumour", box(0, 0, 90, 90))])
    before = session.shown
    name = {"spots": "add_spots", "colours": "colour", "slide": "add_histology", "grid": "set_cells"}[what]
    original, failed = getattr(drawing, name), []

    def fails_once(*arguments: Any, **settings: Any) -> Any:
        if not failed:
            failed.append(True)
            raise TypeError("cannot unpack non-iterable NoneType")
        return original(*arguments, **settings)

    monkeypatch.setattr(drawing, name, fails_once)
    with pytest.raises(UserError, match=r"D could not be shown \(TypeError: cannot unpack.*\); C is shown as before"):
        look_at(viewer, known["D"])
    assert session.shown is before
    assert session.selected.tolist() == [3]
    assert [region.name for region in session.regions] == ["C left"]
    check(viewer)
    look_at(viewer, known["D"])
    check(viewer)


def test_what_cannot_be_shown_leaves_layers_as_visible_as_they_were(
    viewer: ViewerModel, known: dict[str, Known], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Today's eyes, of spots, slides, regions and another slide, are those from before."""
    session, layers = session_of(viewer), layers_of(viewer)
    levels, settings, _ = slide_layer(known["D"].section.slide, 0.5)
    other = viewer.add_image(levels, **settings)
    session.set_regions([Region("C left", "Tumour", box(0, 0, 90, 90))])
    other.visible = True
    layers.points["measured"].visible = layers.slides["predicted"].visible = viewer.layers[REGIONS].visible = False
    before = seen(viewer)
    assert before == {("spots", "predicted"), ("slide", "measured"), other}
    original, broken = drawing.colour, []

    def fails(layer: Any, view: Any, shown: Any, *others: Any) -> None:
        if shown.section in broken or shown.name in broken:
            broken.clear()
            raise MemoryError
        original(layer, view, shown, *others)

    monkeypatch.setattr(drawing, "colour", fails)
    broken.append("D")
    with pytest.raises(UserError, match="C is shown as before"):
        look_at(viewer, known["D"])
    assert seen(viewer) == before
    broken.append("GENE8")
    with pytest.raises(UserError, match="C is shown as before"):
        session.show("GENE8")
    assert seen(viewer) == before
    look_at(viewer, known["D"])
    assert other not in viewer.layers
    assert seen(viewer) == {("spots", "predicted"), ("slide", "predicted")}  # another section begins with all of it


def test_a_view_opened_by_its_eye_stays_open_until_others_are_chosen(viewer: ViewerModel) -> None:
    session, layers = session_of(viewer), layers_of(viewer)
    session.set_display(layout="overlaid", front="predicted")
    layers.points["measured"].visible = True
    viewer.add_points([[1, 1]], name="mine")
    assert layers.points["measured"].visible
    session.flip()
    session.flip()
    assert not layers.points["measured"].visible


def test_regions_are_hidden_by_one_eye_in_every_view(viewer: ViewerModel) -> None:
    session = session_of(viewer)
    session.set_regions([Region("C left", "Tumour", box(0, 0, 90, 90))])
    shapes = [layer for layer in viewer.layers if layer.name.startswith(REGIONS)]
    assert [layer.visible for layer in shapes] == [True, True]
    viewer.layers[REGIONS].visible = False
    assert [layer.visible for layer in shapes] == [False, False]
    viewer.layers[REGIONS].visible = True
    assert [layer.visible for layer in shapes] == [True, True]


def test_one_who_cannot_follow_does_not_leave_the_others_on_another_prediction(
    viewer: ViewerModel, known: dict[str, Known]
) -> None:
    session, heard = session_of(viewer), []

    def fails() -> None:
        if session.prediction is known["D"].prediction:
            raise ValueError("no")

    session.case_changed.connect(fails)
    session.case_changed.connect(lambda: heard.append(session.prediction))
    with pytest.raises(UserError, match="C is shown as before"):
        look_at(viewer, known["D"])
    assert heard[-1] is known["C"].prediction
    check(viewer)


def test_where_not_even_the_former_can_be_shown_nothing_is(
    viewer: ViewerModel, known: dict[str, Known], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise TypeError

    monkeypatch.setattr(drawing, "colour", fails)
    with pytest.raises(UserError, match=r"D could not be shown \(TypeError\); nothing is shown now"):
        look_at(viewer, known["D"])
    assert session_of(viewer).prediction is None
    check(viewer)


def test_a_first_prediction_that_fails_leaves_the_slide_that_was_open(
    known: dict[str, Known], monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = ViewerModel()
    levels, settings, _ = slide_layer(known["C"].section.slide, 0.5)
    viewer.add_image(levels, **settings)
    monkeypatch.setattr(drawing, "colour", lambda *_: 1 / 0)
    with pytest.raises(UserError, match="nothing is shown now"):
        look_at(viewer, known["C"])
    assert [slide_path(layer) for layer in viewer.layers] == [known["C"].section.slide.path.absolute()]


def test_a_gene_that_cannot_be_drawn_leaves_the_one_before(
    viewer: ViewerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, original = session_of(viewer), drawing.colour
    session.show("GENE7")

    def fails(layer: Any, view: Any, shown: Any, *others: Any) -> None:
        if shown.name == "GENE8" and view == "predicted":
            raise MemoryError
        original(layer, view, shown, *others)

    monkeypatch.setattr(drawing, "colour", fails)
    with pytest.raises(UserError, match="GENE8 could not be shown"):
        session.show("GENE8")
    assert session.shown is not None
    assert session.shown.name == "GENE7"
    check(viewer)


def test_a_layer_that_is_made_visible_shows_the_gene_of_the_title(viewer: ViewerModel) -> None:
    session, points = session_of(viewer), layers_of(viewer).points
    session.set_display(layout="overlaid", front="predicted")
    session.show("GENE9")
    points["measured"].visible = True  # by its eye
    check(viewer)
    assert points["measured"].name.startswith("GENE9")


def test_a_view_that_is_hidden_by_its_eye_stays_hidden(viewer: ViewerModel) -> None:
    session, points = session_of(viewer), layers_of(viewer).points
    points["predicted"].visible = False
    for change in (
        lambda: session.show("GENE9"),
        lambda: session.set_display(views=("measured", "predicted", "difference")),
        session.flip,
        session.flip,
        lambda: session.set_display(layout="side by side", colormap="magma"),
    ):
        change()
        assert not points["predicted"].visible
        check(viewer)
    points["predicted"].visible = True
    session.show("GENE3")
    assert points["predicted"].visible
    check(viewer)


def test_measured_and_predicted_are_side_by_side_after_any_other_layout(
    viewer: ViewerModel, known: dict[str, Known]
) -> None:
    session = session_of(viewer)
    look_at(viewer, known["D"])
    session.set_display(layout="overlaid", views=("predicted", "confidence"), front="confidence", colormap="magma")
    look_at(viewer, known["C"])
    assert session.display.colormap == "magma"
    assert layers_of(viewer).session.shown_views == ("measured", "predicted")
    assert viewer.canvas.grid.enabled
    known["D"].prediction.view = {"layout": "overlaid", "front": "confidence", "shown": "GENE5", "kind": "gene"}
    look_at(viewer, known["D"])
    assert layers_of(viewer).session.shown_views == ("confidence",)  # as it was saved
    check(viewer)


def test_regions_stay_with_their_section(viewer: ViewerModel, known: dict[str, Known]) -> None:
    session = session_of(viewer)
    session.set_regions([Region("C left", "Tumour", box(0, 0, 90, 90))])
    viewer.layers[REGIONS].add(to_napari([[0, 0], [96, 0], [96, 192]]), shape_type="polygon")  # drawn a moment ago
    look_at(viewer, known["D"])
    assert session.regions == ()
    assert REGIONS not in viewer.layers
    check(viewer)
    look_at(viewer, known["C"])
    assert [region.name for region in session.regions][:1] == ["C left"]
    assert len(session.regions) == len(viewer.layers[REGIONS].data) == 2


def test_regions_drawn_over_an_open_slide_are_of_that_slide(known: dict[str, Known]) -> None:
    for drawn_over, stay in (("C", 1), ("D", 0)):
        viewer = ViewerModel()
        session = session_of(viewer)
        levels, settings, _ = slide_layer(known[drawn_over].section.slide, 0.5)
        viewer.add_image(levels, **settings)
        session.set_regions([Region("C left", "Tumour", box(0, 0, 90, 90))])
        look_at(viewer, known["C"])
        assert len(session.regions) == stay


def test_another_slide_that_is_open_is_hidden(viewer: ViewerModel, known: dict[str, Known]) -> None:
    levels, settings, _ = slide_layer(known["D"].section.slide, 0.5)
    other = viewer.add_image(levels, **settings)
    assert not other.visible
    check(viewer)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layers_may_be_renamed_reordered_and_deleted(viewer: ViewerModel, known: dict[str, Known], layout: str) -> None:
    session = session_of(viewer)
    look_at(viewer, known["C"])
    session.set_display(layout=layout, views=("measured", "predicted", "confidence"))
    session.set_regions([Region("C left", "Tumour", box(0, 0, 90, 90))])
    genes = cycle(known["C"].prediction.genes)
    for number, layer in enumerate(list(viewer.layers)):
        layer.name = f"mine {number}"
        session.show(next(genes))
        check(viewer)
    for place in range(len(viewer.layers)):  # each to the top, and to the bottom
        viewer.layers.move(place, len(viewer.layers))
        session.show(next(genes))
        check(viewer)
        viewer.layers.move(len(viewer.layers) - 1, 0)
        check(viewer)
    for layer in list(viewer.layers):
        if layer in viewer.layers:  # copies of the regions go with them
            viewer.layers.remove(layer)
        session.show(next(genes))
        check(viewer)
    look_at(viewer, known["D"])
    check(viewer)
