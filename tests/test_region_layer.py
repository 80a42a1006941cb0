"""What is drawn over the slide is what is counted: regions go into napari's shapes and come back as edited."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import shapely
from napari.components import ViewerModel
from napari.utils._proxies import ReadOnlyWrapper
from napari.utils.interactions import (
    mouse_double_click_callbacks,
    mouse_move_callbacks,
    mouse_press_callbacks,
    mouse_release_callbacks,
)
from shapely.affinity import translate
from shapely.geometry import MultiPolygon, Point, Polygon, box

from napari_cmrcnet.sections.regions import Region
from napari_cmrcnet.viewer.boundary import layer_placement, to_napari
from napari_cmrcnet.viewer.region_layer import REGIONS, RegionLayer
from napari_cmrcnet.viewer.region_outline import area, outline

HOLED = Point(300, 500).buffer(200).difference(Point(300, 560).buffer(60)).difference(Point(300, 380).buffer(30))
ISLANDS = MultiPolygon([HOLED, box(700, 100, 800, 150)])


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def regions() -> tuple[Region, ...]:
    return (
        Region("core", "Tumour", ISLANDS, (10, 20, 30)),
        Region("rim", "Stroma", box(0, 0, 50, 90)),
        Region("spare", "", box(100, 0, 150, 90)),
    )


def same(geometry: shapely.Geometry, other: shapely.Geometry, tolerance: float = 1.0) -> bool:
    return bool(geometry.is_valid and geometry.symmetric_difference(other).area < tolerance)


@pytest.mark.parametrize("geometry", [box(0, 0, 9, 4), HOLED, ISLANDS, Polygon()])
def test_an_outline_comes_back_with_holes_and_islands(geometry: Polygon) -> None:
    assert same(area(outline(geometry), "polygon"), geometry, 1e-6)


def test_a_long_outline_is_drawn_with_fewer_corners() -> None:
    rng = np.random.default_rng(0)
    angle = np.sort(rng.random(20_000)) * 2 * np.pi
    rough = Polygon(np.column_stack([np.cos(angle), np.sin(angle)]) * (1000 + rng.normal(0, 1, (20_000, 1)))).buffer(0)
    drawn = outline(rough, 500)
    assert len(drawn) <= 520
    assert area(drawn, "polygon").symmetric_difference(rough).area < 0.02 * rough.area


def test_drawn_in_micrometres_over_the_slide(viewer: ViewerModel, regions: tuple[Region, ...]) -> None:
    regions_layer = RegionLayer(viewer)
    regions_layer.draw(regions, mpp=0.5, width=8)
    (layer,) = viewer.layers
    assert layer.name == REGIONS
    assert np.allclose(layer.scale, 0.5)
    assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
    assert list(layer.features["name"]) == ["core", "rim", "spare"]
    assert list(layer.features["classification"]) == ["Tumour", "Stroma", ""]
    assert list(layer.text.values) == ["core", "rim", "spare"]
    assert not layer.face_color[:, 3].any()  # the tissue is seen
    np.testing.assert_allclose(layer.edge_color[0], np.array([10, 20, 30, 255]) / 255, atol=1e-3)
    assert layer.edge_width == [8, 8, 8]
    regions_layer.draw(regions, mpp=0.25, width=8)
    assert np.allclose(layer.scale, 0.25)


def test_without_a_prediction_the_slide_gives_the_scale(viewer: ViewerModel, regions: tuple[Region, ...]) -> None:
    viewer.add_image(np.zeros((8, 8, 3), np.uint8), rgb=True, **layer_placement(0.3))
    regions_layer = RegionLayer(viewer)
    regions_layer.draw(regions)
    assert regions_layer.layer is not None
    assert np.allclose(regions_layer.layer.scale, 0.3)
    assert regions_layer.layer.units == viewer.layers[0].units


def test_what_was_not_edited_keeps_its_exact_geometry(viewer: ViewerModel) -> None:
    exact = box(0.123456789, 0, 99999.987654321, 7)
    regions_layer = RegionLayer(viewer)
    regions_layer.draw([Region("A", "", exact), Region("B", "", ISLANDS)])
    assert regions_layer.layer is not None
    regions_layer.layer.add(to_napari([[0, 0], [10, 0], [0, 10]]), shape_type="polygon")
    first, second, third = regions_layer.read()
    assert first.geometry is exact
    assert second.geometry is ISLANDS
    assert third.geometry.equals(Polygon([[0, 0], [10, 0], [0, 10]]))


def test_each_kind_of_shape_is_a_region(viewer: ViewerModel) -> None:
    regions_layer = RegionLayer(viewer)
    layer = viewer.add_shapes(name=REGIONS)
    corners = to_napari([[0, 0], [20, 0], [20, 10], [0, 10]])
    for kind in ("rectangle", "ellipse", "polygon", "path"):
        layer.add(corners, shape_type=kind)
    layer.add(corners[:2], shape_type="line")
    rectangle, ellipse, polygon, path, line = regions_layer.read()
    assert rectangle.geometry.equals(box(0, 0, 20, 10))
    assert ellipse.geometry.area == pytest.approx(np.pi * 10 * 5, rel=0.01)
    assert ellipse.geometry.bounds == pytest.approx((0, 0, 20, 10))
    assert polygon.geometry.equals(path.geometry)
    assert path.geometry.equals(box(0, 0, 20, 10))
    assert line.geometry.is_empty
    assert [region.name for region in regions_layer.read()] == [f"Region {i}" for i in range(1, 6)]


def edit(layer: object, row: int, data: np.ndarray) -> None:
    """Change one shape, as dragging does."""
    everything = [np.array(each) for each in layer.data]  # type: ignore[attr-defined]
    everything[row] = data
    layer.data = everything  # type: ignore[attr-defined]


def test_moving_and_stretching_takes_the_holes_along(viewer: ViewerModel, regions: tuple[Region, ...]) -> None:
    regions_layer = RegionLayer(viewer)
    regions_layer.draw(regions)
    assert regions_layer.layer is not None
    before = np.array(regions_layer.layer.data[0])
    edit(regions_layer.layer, 0, before + np.array([30, -20]))
    moved = regions_layer.read()[0]
    assert same(moved.geometry, translate(ISLANDS, -20, 30))
    assert len(shapely.get_coordinates(moved.geometry)) == len(shapely.get_coordinates(ISLANDS))
    assert (moved.name, moved.classification, moved.colour) == ("core", "Tumour", (10, 20, 30))
    edit(regions_layer.layer, 0, before * 1.5)
    assert regions_layer.read()[0].geometry.area == pytest.approx(ISLANDS.area * 2.25, rel=1e-4)


def test_moving_a_corner_keeps_the_holes(viewer: ViewerModel) -> None:
    holed = box(0, 0, 100, 100).difference(box(40, 40, 60, 60))
    regions_layer = RegionLayer(viewer)
    regions_layer.draw([Region("A", "", holed), Region("B", "", box(200, 0, 210, 10))])
    layer = regions_layer.layer
    assert layer is not None
    drawn = np.array(layer.data[0])
    for corner in range(len(drawn)):  # those where the outline meets itself, too
        changed = drawn.copy()
        changed[corner] += 5
        edit(layer, 0, changed)
        region, other = regions_layer.read()
        (polygon,) = shapely.get_parts(region.geometry)
        assert len(polygon.interiors) == 1
        assert len(shapely.get_coordinates(polygon)) == 10  # no sliver
        assert other.name == "B"
        regions_layer.draw([region, other])
        assert same(area(np.asarray(layer.data[0], float), "polygon"), region.geometry, 1e-3)  # what is seen is counted
        regions_layer.draw([replace(region, geometry=holed), other])
        assert np.array_equal(layer.data[0], drawn)


def test_removing_and_pasting(viewer: ViewerModel, regions: tuple[Region, ...]) -> None:
    regions_layer = RegionLayer(viewer)
    regions_layer.draw(regions)
    layer = regions_layer.layer
    assert layer is not None
    layer.selected_data = {1}
    layer.remove_selected()
    assert regions_layer.read() == (regions[0], regions[2])
    layer.feature_defaults = {"name": ["spare"], "classification": ["Tumour"]}  # as pasting does
    layer.add(to_napari([[0, 0], [10, 0], [0, 10]]), shape_type="polygon")
    assert [(each.name, each.classification) for each in regions_layer.read()] == [
        ("core", "Tumour"), ("spare", ""), ("Tumour 1", "Tumour"),
    ]  # fmt: skip


def test_drawing_again_leaves_alone_what_is_right(viewer: ViewerModel, regions: tuple[Region, ...]) -> None:
    regions_layer = RegionLayer(viewer)
    regions_layer.draw(regions)
    layer = regions_layer.layer
    assert layer is not None
    changes: list[object] = []
    layer.events.data.connect(changes.append)
    layer.selected_data = {2}
    layer.mode = "direct"
    renamed = replace(regions[2], name="kept", classification="Tumour", colour=None)
    regions_layer.draw([*regions[:2], renamed])
    assert not changes
    assert layer.selected_data == {2}
    assert layer.mode == "direct"
    assert layer.features["name"][2] == "kept"
    assert regions_layer.read() == (*regions[:2], renamed)
    regions_layer.draw([regions[2], regions[0]])  # another order, one fewer
    assert regions_layer.read() == (regions[2], regions[0])
    regions_layer.draw([])
    assert len(layer.data) == 0
    assert regions_layer.read() == ()


def test_a_class_changed_in_the_layer_changes_the_colour(viewer: ViewerModel, regions: tuple[Region, ...]) -> None:
    regions_layer = RegionLayer(viewer)
    regions_layer.draw(regions)
    assert regions_layer.layer is not None
    regions_layer.layer.features = {"name": ["core", "rim", " "], "classification": ["Stroma", "Stroma", ""]}
    core, rim, spare = regions_layer.read()
    assert (core.classification, core.colour) == ("Stroma", None)
    assert rim == regions[1]
    assert (spare.name, spare.classification) == ("Region 1", "")


def test_only_the_users_changes_are_told(viewer: ViewerModel, regions: tuple[Region, ...]) -> None:
    regions_layer = RegionLayer(viewer)
    edits: list[str] = []
    regions_layer.edited.connect(lambda: edits.append("edited"))
    regions_layer.selected.connect(lambda: edits.append("selected"))
    regions_layer.draw(regions)
    regions_layer.start_drawing("Tumour", None, 10)
    regions_layer.select([1])
    assert edits == []
    layer = regions_layer.layer
    assert layer is not None
    layer.selected_data = {0}
    assert edits == ["selected"]
    assert regions_layer.selection == (0,)
    layer.add(to_napari([[0, 0], [10, 0], [0, 10]]), shape_type="polygon")
    assert "edited" in edits
    edits.clear()
    viewer.layers.remove(layer)
    assert edits == ["edited"]
    assert regions_layer.read() == ()
    regions_layer.draw(regions)
    assert len(viewer.layers) == 1
    assert edits == ["edited"]


def test_one_region_more_leaves_the_others_as_they_are_drawn(viewer: ViewerModel, regions: tuple[Region, ...]) -> None:
    regions_layer = RegionLayer(viewer)
    regions_layer.draw(regions[:2])
    assert regions_layer.layer is not None
    removed: list[Any] = []
    drawn: list[int] = []
    regions_layer.layer.events.data.connect(lambda event: removed.append(event) if event.action == "removed" else None)
    regions_layer.drawn.connect(lambda: drawn.append(1))
    regions_layer.draw(regions)
    assert regions_layer.read() == regions
    assert removed == []
    assert len(drawn) == 1  # all copies of the layer are drawn again by it


def test_drawing_by_hand_starts_with_the_class(viewer: ViewerModel) -> None:
    regions_layer = RegionLayer(viewer)
    regions_layer.start_drawing("Stroma", 0.5, 12)
    layer = regions_layer.layer
    assert layer is not None
    assert viewer.layers.selection.active is layer
    assert layer.mode == "add_polygon"
    layer.add(to_napari([[0, 0], [10, 0], [0, 10]]), shape_type="polygon")
    (region,) = regions_layer.read()
    assert (region.name, region.classification) == ("Stroma 1", "Stroma")
    assert layer.edge_width == [12]


def test_a_class_keeps_the_colour_that_its_file_gave(viewer: ViewerModel, regions: tuple[Region, ...]) -> None:
    regions_layer = RegionLayer(viewer)
    regions_layer.draw(regions)
    regions_layer.start_drawing("Tumour", None, 10)
    assert regions_layer.layer is not None
    regions_layer.layer.add(to_napari([[0, 0], [10, 0], [0, 10]]), shape_type="polygon")
    np.testing.assert_allclose(regions_layer.layer.edge_color[3], np.array([10, 20, 30, 255]) / 255, atol=1e-3)
    assert regions_layer.read()[3].colour == (10, 20, 30)


class Mouse:
    """Does to a layer what napari's canvas does on the user's clicks."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def _event(self, kind: str, at: tuple[float, float], dragging: bool = False) -> Any:
        event = SimpleNamespace(
            type=kind, position=at, pos=at, modifiers=(), button=1, buttons=[1], is_dragging=dragging,
            view_direction=None, up_direction=None, dims_displayed=[0, 1], dims_point=[0, 0], handled=False,
        )  # fmt: skip
        return ReadOnlyWrapper(event, exceptions=("handled",))

    def click(self, at: tuple[float, float], double: bool = False) -> None:
        mouse_move_callbacks(self.layer, self._event("mouse_move", at))
        act = mouse_double_click_callbacks if double else mouse_press_callbacks
        act(self.layer, self._event("mouse_double_click" if double else "mouse_press", at))
        mouse_release_callbacks(self.layer, self._event("mouse_release", at))

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        mouse_press_callbacks(self.layer, self._event("mouse_press", start))
        for at in (start, end):
            mouse_move_callbacks(self.layer, self._event("mouse_move", at, dragging=True))
        mouse_release_callbacks(self.layer, self._event("mouse_release", end))


def test_what_was_drawn_by_hand_can_be_edited(viewer: ViewerModel) -> None:
    regions_layer = RegionLayer(viewer)
    regions_layer.start_drawing("Tumour", None, 1)
    layer = regions_layer.layer
    assert layer is not None
    mouse = Mouse(layer)
    for left in (0.0, 300.0):
        corners = [(0.0, left), (0.0, left + 200), (100.0, left + 200), (100.0, left)]
        for corner in corners:
            mouse.click(corner)
        mouse.click(corners[-1], double=True)
        regions_layer.draw(regions_layer.read())
    assert [region.geometry.bounds for region in regions_layer.read()] == [(0, 0, 200, 100), (300, 0, 500, 100)]
    assert layer.selected_data == {1}
    layer.mode = "direct"
    layer.selected_data = {0}
    mouse.drag((0, 0), (-50, -50))  # the first corner of the first: an IndexError of napari else
    first, second = regions_layer.read()
    assert first.geometry.equals(Polygon([(-50, -50), (200, 0), (200, 100), (0, 100)]))
    assert second.geometry.equals(box(300, 0, 500, 100))


def test_a_region_half_drawn_is_not_disturbed(viewer: ViewerModel, regions: tuple[Region, ...]) -> None:
    regions_layer = RegionLayer(viewer)
    regions_layer.draw(regions)
    regions_layer.start_drawing("Tumour", None, 1)
    layer = regions_layer.layer
    assert layer is not None
    mouse = Mouse(layer)
    corners = [(0.0, 0.0), (0.0, 200.0), (100.0, 200.0)]
    for corner in corners:
        mouse.click(corner)
        regions_layer.draw(regions_layer.read())  # as any edit of a name does
    mouse.click(corners[-1], double=True)
    read = regions_layer.read()
    assert read[:3] == regions
    assert read[3].geometry.equals(Polygon([(0, 0), (200, 0), (200, 100)]))
    for corner in corners:
        mouse.click(corner)
    regions_layer.draw(regions[1:])  # this ends it
    for corner in corners:
        mouse.click(corner)
    assert regions_layer.read()[:2] == regions[1:]


def test_a_layer_that_is_there_already_is_taken_over(viewer: ViewerModel, regions: tuple[Region, ...]) -> None:
    RegionLayer(viewer).draw(regions)
    read = RegionLayer(viewer).read()
    assert [each.name for each in read] == ["core", "rim", "spare"]
    assert all(same(a.geometry, b.geometry, 50) for a, b in zip(read, regions, strict=True))


def test_of_a_region_in_many_parts_the_largest_are_drawn() -> None:
    """As an outline that crosses itself thousands of times is repaired; napari cannot draw so many as one shape."""
    spots = [box(x, y, x + 2 + (x == 0), y + 3) for x in range(0, 200, 4) for y in range(0, 200, 5)]
    region = MultiPolygon(spots)
    drawn = outline(region)
    assert len(drawn) < 3000
    assert area(drawn, "polygon").area < region.area
    assert drawn[:, 1].max() >= 3
    from napari.layers import Shapes

    assert len(Shapes([drawn], shape_type="polygon").data) == 1
