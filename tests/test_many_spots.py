"""Very many spots are drawn as a picture, which does all that a Points layer does. A few spots are many here."""

import gc
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from npe2 import PluginManifest
from scipy.spatial import cKDTree

from napari_cmrcnet.retrieval.case import Case
from napari_cmrcnet.sections.formats.origin import Origin
from napari_cmrcnet.sections.panels import Panel
from napari_cmrcnet.viewer import raster, spot_layer
from napari_cmrcnet.viewer.layers import _spot_at
from napari_cmrcnet.viewer.raster import Raster, raster_of
from napari_cmrcnet.viewer.registry import layers_of, session_of
from napari_cmrcnet.viewer.writer import write_csv, write_geojson
from one_prediction import Known, look_at

TURN = np.array([[np.cos(0.1), np.sin(0.1)], [-np.sin(0.1), np.cos(0.1)]])


@pytest.fixture
def as_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let any number of spots be many."""
    monkeypatch.setattr(spot_layer, "MOST_POINTS", 0)


def with_spots(case: Case, xy: Any, **obs: Any) -> Case:
    """Return a measured case whose spots lie elsewhere."""
    spots = case.spots.copy()
    spots.obsm["spatial"] = np.asarray(xy, float)
    spots.obs = spots.obs.assign(**obs)
    return Case(spots, case.provenance)


@pytest.fixture
def bins(known: dict[str, Known]) -> Case:
    """A turned grid of 6 by 6 bins, one of which is left out."""
    row, column = np.divmod(np.arange(36), 6)
    whole = with_spots(
        known["C"].case, np.column_stack([column, row]) * 32.0 @ TURN + 50, array_row=row + 4, array_col=column + 9
    )
    return Case(whole.spots[np.arange(36) != 8].copy(), whole.provenance)


def covered(found: Raster, xy: Any) -> list[int | None]:
    """Return the spot at each position."""
    at = np.linalg.solve(found.place, np.column_stack([np.asarray(xy)[:, ::-1], np.ones(len(xy))]).T)[:2].T
    return [found.spot_at(*place) for place in at.tolist()]


def test_a_grid_of_bins_has_a_pixel_a_bin_however_it_is_turned(bins: Case) -> None:
    found = raster_of(bins, 32.0, None)
    assert found.spots.shape == (6, 6)
    assert covered(found, bins.xy) == list(range(35))
    corners = bins.xy[:, None] + np.array([[15.5, 15.5], [-15.5, 15.5], [15.5, -15.5], [-15.5, -15.5]]) @ TURN
    assert covered(found, corners.reshape(-1, 2)) == np.repeat(np.arange(35), 4).tolist()
    assert covered(found, [(bins.xy[7] + bins.xy[8]) / 2, bins.xy[0] - 20]) == [None, None]
    assert raster_of(bins, 32.0, None) is found  # for the other views


def test_bins_that_are_unlike_the_bank_have_a_hole(bins: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    unlike = np.arange(35) == 3
    found = raster_of(bins, 32.0, unlike)
    assert found.spots.shape == (18, 18)
    assert covered(found, bins.xy) == [None if spot == 3 else spot for spot in range(35)]
    beside = bins.xy + np.array([11.0, 0]) @ TURN
    assert covered(found, beside) == list(range(35))
    monkeypatch.setattr(raster, "MOST_PIXELS", 100)  # there is no room for holes
    assert raster_of(bins, 32.0, unlike & (np.arange(35) < 4)).spots.shape == (18, 18)  # known
    assert raster_of(bins, 31.0, unlike).spots.shape == (6, 6)


@pytest.mark.parametrize("why", ["cells", "hexagonal", "two in one place", "no numbers"])
def test_other_spots_are_discs_of_which_the_nearest_is_seen(known: dict[str, Known], why: str) -> None:
    rng = np.random.default_rng(1)
    row, column = np.divmod(np.arange(36), 6)
    xy = np.column_stack([column, row]) * 32.0
    match why:
        case "cells":
            xy = rng.uniform(0, 150, (36, 2))
        case "hexagonal":
            row, column = row, 2 * column + row % 2
            xy = np.column_stack([column * 16.0, row * 27.7])
        case "two in one place":
            row[1], column[1], xy[1] = row[0], column[0], xy[0] + 1
        case "no numbers":
            row = np.where(row == 2, np.nan, row)
    case = with_spots(known["C"].case, xy, array_row=row, array_col=column)
    found = raster_of(case, 24.0, np.arange(36) == 20)
    pixel = found.place[0, 0]
    assert pixel == pytest.approx(24 / raster.ACROSS)
    places = np.argwhere(np.ones(found.spots.shape))
    distances, nearest = cKDTree(xy[:, ::-1]).query(places * pixel + found.place[:2, 2], k=2)
    clear = np.abs(distances[:, 0] - distances[:, 1]) > 1.5 * pixel
    inside = distances[:, 0] < 12 - pixel
    at = found.spots.ravel()
    own = clear & inside & (nearest[:, 0] != 20)
    assert own.sum() > 100
    np.testing.assert_array_equal(at[own], nearest[own, 0])
    assert (at[distances[:, 0] > 12 + pixel] == 36).all()
    assert covered(found, xy[[20]])[0] != 20
    assert (at == 20).any()


def test_a_picture_has_no_more_pixels_than_asked(known: dict[str, Known], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raster, "MOST_PIXELS", 900)
    case = known["C"].case
    found = raster_of(case, 2.0, None)
    assert found.spots.size < 1100
    assert set(range(36)) <= set(found.spots.ravel().tolist())
    monkeypatch.setattr(raster, "LONGEST", 10)
    assert max(raster_of(case, 2.1, None).spots.shape) <= 13


CHANGES: dict[str, Callable[[Any], object]] = {
    "a gene": lambda session: session.show("GENE8"),
    "limits": lambda session: session.set_display(limits=(0.5, 2.0)),
    "a colormap": lambda session: session.set_display(limits=None, percentiles=(10, 90), colormap="magma"),
    "views": lambda session: session.set_display(views=("measured", "predicted", "difference", "confidence")),
    "a threshold": lambda session: session.hide(session.shown.predicted < np.median(session.shown.predicted)),
    "no values": lambda session: (
        session.set_display(confidence="spread"),
        session.show_panel(Panel("two", ("GENE1", "GENE2"))),
    ),
    "classes": lambda session: session.set_display(views=("predicted", "classes"), classes="kind"),
    "size": lambda session: session.set_display(spot_size=1.5, opacity=0.4),
    "overlaid": lambda session: session.flip(),
}


def drawn(viewer: Any) -> dict[str, Any]:
    """Return what is seen of each visible layer of spots."""
    seen = {}
    for view, layer in layers_of(viewer).points.items():
        if layer.visible:
            features = {name: list(values) for name, values in dict(layer.features).items()}
            of_bar = (layer.face_colormap.name, tuple(layer.face_contrast_limits), layer.face_colorbar.visible)
            settings = (layer.name, layer.opacity, layer.editable, layer.locked, *of_bar, float(np.max(layer.size)))
            seen[view] = (settings, features, np.asarray(layer.face_color))
    return seen


def test_a_picture_shows_what_points_show(known: dict[str, Known], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}
    case = known["C"].case
    kinds = pd.Categorical(["tumour", None, "stroma", "stroma"] * 9)
    monkeypatch.setitem(case.spots.obs, "kind", kinds)  # type: ignore[arg-type]
    case.__dict__.pop("classes", None)
    for most in (10**6, 0):
        monkeypatch.setattr(spot_layer, "MOST_POINTS", most)
        viewer = ViewerModel()
        look_at(viewer, known["C"])
        seen[most] = []
        for change in CHANGES.values():
            change(session_of(viewer))
            seen[most].append(drawn(viewer))
    case.__dict__.pop("classes", None)
    for what, points, picture in zip(CHANGES, *seen.values(), strict=True):
        assert points.keys() == picture.keys(), what
        for view, (settings, features, colours) in points.items():
            assert picture[view][:2] == (settings, features), (what, view)
            np.testing.assert_allclose(picture[view][2], colours, atol=1 / 255, err_msg=f"{what}, {view}")


@pytest.mark.usefixtures("as_picture")
def test_hover_click_selection_and_regions_are_of_the_spot_under_the_mouse(known: dict[str, Known]) -> None:
    viewer = ViewerModel()
    look_at(viewer, known["C"])
    session, layers = session_of(viewer), layers_of(viewer)
    case, shown, layer = session.case, session.shown, layers.points["predicted"]
    assert case is not None
    assert shown is not None
    for spot in (0, 7, 35):
        position = case.xy[spot, ::-1] * 0.5
        said = layer.get_status(position, view_direction=None, dims_displayed=[0, 1], world=True)["value"]
        value = f"{shown.predicted[spot]:.3g}"  # type: ignore[index]
        assert said.startswith(f"{spot}; predicted: {value}, measured: ")
        assert "similarity: " in said
        assert _spot_at(layers.session, position) == layer.get_value(position, world=True) == spot
    assert layer.get_value((-20.0, 0.0), world=True) is None
    assert layer.get_status((-20.0, 0.0), world=True)["value"] in ("", "None")
    layer.visible = False
    assert layer.get_value(case.xy[7, ::-1] * 0.5, world=True) is None
    layer.visible = True
    session.select([7])
    ring = next(one for one in viewer.layers if one.name.startswith("selected spots") and one.visible)
    np.testing.assert_allclose(ring.data_to_world(ring.data[0]), case.xy[7, ::-1] * 0.5)
    session.select([3, 4])
    assert len(ring.data) == 4
    session.select([])
    assert not len(ring.data)


@pytest.mark.usefixtures("as_picture")
def test_it_is_saved_as_the_points_that_it_stands_for(
    known: dict[str, Known], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, npe2pm: Any
) -> None:
    npe2pm.register(PluginManifest.from_file(str(files("napari_cmrcnet") / "napari.yaml")))
    for most, name in ((0, "picture"), (10**6, "points")):
        monkeypatch.setattr(spot_layer, "MOST_POINTS", most)
        viewer = ViewerModel()
        look_at(viewer, known["C"])
        layer = layers_of(viewer).points["predicted"]
        data, attributes, kind = layer.as_layer_data_tuple()
        assert kind == layer._type_string == "points"
        write_csv(str(tmp_path / f"{name}.csv"), data, attributes)
        write_geojson(str(tmp_path / f"{name}.geojson"), data, attributes)
        layer.save(str(tmp_path / f"saved_{name}.csv"), plugin="napari-cmrcnet")
    for left, right in (("picture.csv", "points.csv"), ("saved_picture.csv", "saved_points.csv")):
        assert (tmp_path / left).read_bytes() == (tmp_path / right).read_bytes()
    assert (tmp_path / "picture.geojson").read_bytes() == (tmp_path / "points.geojson").read_bytes()


@pytest.mark.usefixtures("as_picture")
def test_the_window_shows_sharp_squares_another_gene_and_leaves_nothing_behind(
    bins: Case, known: dict[str, Known], napari_window: Any
) -> None:
    window = napari_window
    window.window.resize(900, 700)
    session, layers = session_of(window), layers_of(window)
    bins.provenance = replace(bins.provenance, mpp=0.5)
    session.look_at(bins)
    session.set_display(opacity=1.0)
    layer = layers.points["measured"]
    pictures = []
    for gene in ("GENE3", "GENE8"):
        session.show(gene)
        pictures.append(window.screenshot(canvas_only=True, flash=False))
        picture, camera = pictures[-1], window.scene.camera

        def seen(xy: Any) -> Any:
            at = (np.asarray(xy)[..., ::-1] * 0.5 - camera.center[-2:]) * camera.zoom  # noqa: B023
            at = at + np.array(picture.shape[:2]) / 2  # noqa: B023
            return picture[tuple(np.rint(at).astype(int).T)][..., :3] / 255  # noqa: B023

        middle = np.arange(12, 18)  # the title and the bars are over others
        for corner in ((0.0, 0.0), (13.0, 13.0), (-13.0, 13.0), (13.0, -13.0)):
            found = seen(bins.xy[middle] + np.array(corner) @ TURN)
            np.testing.assert_allclose(found, layer.face_color[middle, :3], atol=0.02)
        np.testing.assert_array_equal(seen((bins.xy[7] + bins.xy[8]) / 2), 0)  # no bin is there
    assert not np.array_equal(*pictures)
    assert np.ptp(layer.face_color[12:18, :3]) > 0.1
    known_rasters = len(raster._KNOWN)
    look_at(window, known["C"])
    assert layer not in window.layers
    assert set(layers.points) == {"measured", "predicted"}
    session.look_at(None)
    assert not window.layers
    del bins, layer
    gc.collect()
    assert len(raster._KNOWN) <= known_rasters


def test_only_more_than_50_000_spots_are_a_picture() -> None:
    assert spot_layer.MOST_POINTS == 50_000
    n = 50_001
    row, column = np.divmod(np.arange(n), 224)
    obs = pd.DataFrame({"array_row": row, "array_col": column}, index=pd.RangeIndex(n).astype(str))
    spots = anndata.AnnData(np.ones((n, 2), np.float32), obs, pd.DataFrame({"gene_ids": ""}, index=["A", "B"]))
    spots.obsm["spatial"] = np.column_stack([column, row]) * 8.0
    spots.uns["spatial"] = {"S": {"scalefactors": {"spot_diameter_fullres": 8.0}}}
    for rows, kind in ((slice(None), "SpotImage"), (slice(0, 50_000), "Points")):
        part = spots[rows].copy()
        Origin("bins", Path("bins")).keep_in(part)
        viewer = ViewerModel()
        session_of(viewer).look_at(Case.of(part, "bins"))
        assert type(layers_of(viewer).points["measured"]).__name__ == kind
