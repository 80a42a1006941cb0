"""A SpatialData store of a prediction is what spatialdata itself reads: circles, their table, pixels and µm."""

import json
import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import spatialdata
from scipy import sparse
from shapely.geometry import Polygon, box
from spatialdata import get_extent
from spatialdata.transformations import get_transformation

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.retrieval import export, spatialdata_elements
from napari_cmrcnet.retrieval.bank import Bank
from napari_cmrcnet.retrieval.case import Case
from napari_cmrcnet.retrieval.export_tables import to_h5ad, to_spatialdata
from napari_cmrcnet.retrieval.external import open_external
from napari_cmrcnet.retrieval.predict import confidence_table
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.retrieval.provenance import Provenance
from napari_cmrcnet.sections.beside import slides_beside
from napari_cmrcnet.sections.formats.origin import Origin
from napari_cmrcnet.sections.regions import Region
from napari_cmrcnet.sections.spots import open_spots
from napari_cmrcnet.slides.slide import Slide, open_slide


@pytest.fixture
def prediction(monkeypatch: pytest.MonkeyPatch) -> Prediction:
    """30 spots and 5 genes of a bank, of which NEW was not measured."""
    monkeypatch.setattr(export, "GENES_A_PASS", 2)
    rng = np.random.default_rng(0)
    genes = ("ERBB2", "HLA-A", "NKX2-5", "NEW", "=EVIL/1")
    embeddings = rng.normal(size=(40, 8)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    obs = {"section": "B", "patient": "PB", "array_row": -1, "array_col": -1, "x": 0.0, "y": 0.0}
    bank = Bank(
        embeddings,
        sparse.csc_matrix(rng.gamma(2, size=(40, 5)).astype(np.float32)),
        genes,
        ("",) * 5,
        pd.DataFrame([obs] * 40),
    )
    neighbours = rng.integers(0, 40, (30, 5)).astype(np.int32)
    similarity = rng.random((30, 5)).astype(np.float32)
    spots = anndata.AnnData(
        sparse.csr_matrix(rng.poisson(4, (30, 4)).astype(np.int32)),
        obs=pd.DataFrame({"region": ["tumour"] * 30, "my class/2": ["a"] * 30}, index=[f"{i}x1" for i in range(30)]),
        var=pd.DataFrame(index=[gene for gene in genes if gene != "NEW"]),
    )
    spots.obsm["spatial"] = rng.random((30, 2)) * 1000
    spots.uns["spatial"] = {"C": {"scalefactors": {"spot_diameter_fullres": 55.0}}}
    spots.uns["cmrcnet"] = {"source": "test", "synthetic": False}
    provenance = Provenance(
        checkpoint="", checkpoint_digest="0" * 64, trained_on=("B",), trained_on_patients=("PB",), validated_on=(),
        section="C/1", patient="PC", slide="C.tif", spots="C.h5ad", k=5, min_umi=0, mpp=0.5, mpp_source="test",
        target_sum=1e4, panel=None,
    )  # fmt: skip
    confidence = confidence_table(neighbours, similarity, bank, spots.obs_names)
    return Prediction(spots, neighbours, similarity, confidence, provenance, bank=bank)


def test_circles_and_their_table(prediction: Prediction, tmp_path: Path) -> None:
    finish(to_spatialdata(prediction, tmp_path / "P.zarr"))
    store = spatialdata.read_zarr(tmp_path / "P.zarr")
    table, circles = store["table"], store["spots"]
    assert list(table.var_names) == list(prediction.genes)
    np.testing.assert_array_equal(np.asarray(table.X), prediction.expression(prediction.genes))
    known = list(prediction.measured_genes)
    np.testing.assert_array_equal(np.asarray(table[:, known].layers["measured"]), prediction.measured(known))
    assert np.isnan(np.asarray(table[:, "NEW"].layers["measured"])).all()
    np.testing.assert_array_equal(table.obs["best_similarity"], prediction.similarity[:, 0])
    assert set(table.obs["section"]) == {"C/1"}
    assert set(table.obs["region"]) == {"tumour"}
    assert json.loads(table.uns["cmrcnet_provenance"])["k"] == 5
    assert list(circles.index) == list(prediction.spots.obs_names)
    np.testing.assert_allclose(np.stack([circles.geometry.x, circles.geometry.y], axis=1), prediction.xy)
    assert set(circles["radius"]) == {27.5}


def test_the_table_follows_the_circles(prediction: Prediction, tmp_path: Path) -> None:
    finish(to_spatialdata(prediction, tmp_path / "P.zarr"))
    store = spatialdata.read_zarr(tmp_path / "P.zarr")
    box = {"axes": ("x", "y"), "min_coordinate": [0, 0], "max_coordinate": [500, 500]}
    within = spatialdata.bounding_box_query(store, **box, target_coordinate_system="global")
    shown = (prediction.xy < 500).all(axis=1)
    # A circle is found by its box, which reaches further than its centre.
    assert set(prediction.spots.obs_names[shown]) <= set(within["table"].obs_names)
    assert len(within["table"]) == len(within["spots"]) < 30


def test_pixels_and_microns(prediction: Prediction, tmp_path: Path) -> None:
    finish(to_spatialdata(prediction, tmp_path / "P.zarr"))
    store = spatialdata.read_zarr(tmp_path / "P.zarr")
    in_um = spatialdata.transform(store["spots"], to_coordinate_system="microns")
    np.testing.assert_allclose(np.stack([in_um.geometry.x, in_um.geometry.y], axis=1), prediction.xy * 0.5)
    np.testing.assert_allclose(in_um["radius"], 13.75)
    in_pixels = spatialdata.transform(store["spots"], to_coordinate_system="global")
    np.testing.assert_allclose(in_pixels.geometry.x, prediction.xy[:, 0])


def test_a_cancelled_export_leaves_the_old_store(prediction: Prediction, tmp_path: Path) -> None:
    finish(to_spatialdata(prediction, tmp_path / "P.zarr", ["ERBB2"]))
    job = to_spatialdata(prediction, tmp_path / "P.zarr")
    for _ in range(3):
        next(job)
    job.close()
    assert list(spatialdata.read_zarr(tmp_path / "P.zarr")["table"].var_names) == ["ERBB2"]
    assert os.listdir(tmp_path) == ["P.zarr"]


def test_a_folder_of_something_else_is_left_alone(prediction: Prediction, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="not a Zarr store"):
        finish(to_spatialdata(prediction, tmp_path / "notes"))
    assert (tmp_path / "notes" / "mine.txt").read_text() == "keep"


def test_a_full_disk_leaves_nothing(prediction: Prediction, tmp_path: Path, full_disk: Callable[[int], Any]) -> None:
    with full_disk(200), pytest.raises(UserError, match="could not be written"):
        finish(to_spatialdata(prediction, tmp_path / "P.zarr"))
    assert not os.listdir(tmp_path)


def test_writing_a_store_warns_of_nothing(prediction: Prediction, tmp_path: Path) -> None:
    """What a worker warns of, napari shows: anndata did, for every column, of its own next version."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        finish(to_spatialdata(prediction, tmp_path / "P.zarr"))
    assert [str(warning.message) for warning in warned] == []


@pytest.fixture
def on_slide(write_section: Callable[..., Any], open_small: Callable[..., Any], tmp_path: Path) -> tuple[Case, Slide]:
    """A measured section of 36 spots on its slide of 192 pixels."""
    section = open_small(*write_section(tmp_path / "data", "C", 3))
    case = Case.of(section.spots, "C", section.slide)
    case.provenance = replace(case.provenance, mpp=0.5)
    return case, section.slide


SQUARE = Region("a", "Tumour", box(10, 20, 90, 120))
REGIONS = (SQUARE, Region("b", "", box(100, 100, 150, 150) - box(110, 110, 120, 120)), Region("line", "", Polygon()))


@pytest.mark.parametrize("copy", [False, True])
def test_a_measured_section_comes_back_bit_by_bit(on_slide: tuple[Case, Slide], tmp_path: Path, copy: bool) -> None:
    """Values, positions, size of a pixel, regions with their holes, and the slide, by where it lies or copied."""
    case, slide = on_slide
    path = tmp_path / "out" / "P.zarr"
    path.parent.mkdir()
    finish(to_spatialdata(case, path, slide=slide, regions=REGIONS, copy_image=copy))
    again = open_spots(path, normalised=True)
    np.testing.assert_array_equal(again.obsm["spatial"], case.xy)
    assert list(again.obs_names) == list(case.spots.obs_names)
    np.testing.assert_array_equal(again.X.toarray(), case.measured(case.genes))
    assert again.uns["cmrcnet"]["given_mpp"] == 0.5
    found = list(slides_beside(path, again))
    assert [each.resolve() for each in found] == [slide.path.resolve(), path.resolve()][: 1 + copy]
    with open_slide(found[-1]) as opened:
        np.testing.assert_array_equal(opened.read_region(0, 0, 192, 192), slide.read_region(0, 0, 192, 192))
    store = spatialdata.read_zarr(path)
    assert list(store["regions"]["name"]) == ["a", "b"]
    assert [each.equals(region.geometry) for each, region in zip(store["regions"].geometry, REGIONS, strict=False)] == [
        True,
        True,
    ]
    assert set(get_transformation(store["regions"], get_all=True)) == {"global", "microns"}
    assert ("slide" in store.images) == copy
    whole = get_extent(store["spots"], coordinate_system="microns")
    assert whole["x"][1] == pytest.approx(0.5 * (case.xy[:, 0].max() + case.spot_diameter / 2))


def test_a_large_slide_is_copied_with_its_lower_resolutions(
    on_slide: tuple[Case, Slide], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spatialdata_elements, "TILE", 64)
    monkeypatch.setattr(spatialdata_elements, "SMALLEST", 50)
    case, slide = on_slide
    finish(to_spatialdata(case, tmp_path / "P.zarr", slide=slide, copy_image=True))
    with open_slide(tmp_path / "P.zarr") as opened:
        assert [(level.width, level.height) for level in opened.levels] == [(192, 192), (96, 96), (48, 48)]
        np.testing.assert_array_equal(opened.read_region(0, 0, 192, 192), slide.read_region(0, 0, 192, 192))


def test_a_prediction_comes_back_beside_its_measured_spots(prediction: Prediction, tmp_path: Path) -> None:
    Origin("test", tmp_path / "C.h5ad").keep_in(prediction.spots)
    finish(to_spatialdata(prediction, tmp_path / "P.zarr"))
    again = open_external(tmp_path / "P.zarr", prediction.spots)
    genes = [gene for gene in prediction.genes if gene in again.genes]
    np.testing.assert_array_equal(again.expression(genes), prediction.expression(genes))
    measured = open_spots(tmp_path / "P.zarr", normalised=True)
    known = [gene for gene in prediction.measured_genes if gene in measured.var_names]
    np.testing.assert_array_equal(measured[:, known].X.toarray(), prediction.measured(known))
    assert "NEW" not in measured.var_names


def test_an_h5ad_is_as_scanpy_and_squidpy_plot_it(on_slide: tuple[Case, Slide], tmp_path: Path) -> None:
    """The layout of ``uns["spatial"]`` that both document: images, scale factors, metadata."""
    case, slide = on_slide
    finish(to_h5ad(case, tmp_path / "P.h5ad", slide=slide))
    table = anndata.read_h5ad(tmp_path / "P.h5ad")
    ((_, entry),) = table.uns["spatial"].items()
    np.testing.assert_array_equal(entry["images"]["hires"], slide.thumbnail(2000))
    assert entry["scalefactors"]["tissue_hires_scalef"] == 1.0
    assert entry["scalefactors"]["spot_diameter_fullres"] == case.spot_diameter
    assert (tmp_path / entry["metadata"]["source_image_path"]).resolve() == slide.path.resolve()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scanpy's word that squidpy is the place now
        import scanpy

        axes = scanpy.pl.spatial(table, color="GENE7", show=False)
    assert axes[0].images  # the slide
    offsets = axes[0].collections[0]
    np.testing.assert_allclose(np.sort(offsets.get_array()), np.sort(case.measured(["GENE7"])[:, 0]))


def test_squidpy_plots_an_h5ad(on_slide: tuple[Case, Slide], tmp_path: Path) -> None:
    """squidpy is no part of what the tests install: it replaces packages by older ones (imagecodecs)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        squidpy = pytest.importorskip("squidpy", exc_type=ImportError)
        case, slide = on_slide
        finish(to_h5ad(case, tmp_path / "P.h5ad", slide=slide))
        axes = squidpy.pl.spatial_scatter(anndata.read_h5ad(tmp_path / "P.h5ad"), color="GENE7", return_ax=True)
        finish(to_h5ad(case, tmp_path / "Q.h5ad"))
        table = anndata.read_h5ad(tmp_path / "Q.h5ad")
        bare = squidpy.pl.spatial_scatter(table, color="GENE7", img=False, return_ax=True)
    assert axes.images
    assert not bare.images
    for drawn in (axes, bare):
        values = drawn.collections[0].get_array()
        np.testing.assert_allclose(np.sort(values), np.sort(case.measured(["GENE7"])[:, 0]))
