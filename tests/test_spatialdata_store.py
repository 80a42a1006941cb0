"""SpatialData stores, written by spatialdata itself in spatialdata-io's layouts, open with positions on their image."""

import json
import shutil
import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pyarrow
import pytest
from pyarrow import parquet
from scipy import sparse

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.retrieval.describe import describe
from napari_cmrcnet.sections.beside import slides_beside
from napari_cmrcnet.sections.section import open_section
from napari_cmrcnet.sections.spots import is_spots, open_spots
from napari_cmrcnet.slides.slide import open_slide
from test_spots import check_convention

PIXEL_UM = 0.2125
MATRIX = np.array([[0.0, 1.29, -20.0], [-1.29, 0.0, 900.0], [0, 0, 1]])  # H&E pixels to morphology pixels
UM = np.array([[85.0, 42.5], [170.0, 42.5], [85.0, 127.5], [121.7, 93.2]])
CELLS = ["aaaaadnb-1", "aaaaihnj-1", "aaabbaka-1", "aaabbjoo-1"]
COUNTS = np.array([[5, 0, 1], [0, 7, 0], [3, 3, 3], [0, 0, 9]])


def colour(side: int, **kwargs):
    from spatialdata.models import Image2DModel

    pixels = np.full((3, side, side), 235, np.uint8)
    pixels[:, side // 8 : -side // 8, side // 8 : -side // 8] = np.array([180, 90, 150], np.uint8)[:, None, None]
    kwargs.setdefault("c_coords", ["r", "g", "b"])
    return Image2DModel.parse(pixels, dims=("c", "y", "x"), scale_factors=[2, 2], **kwargs)


def table(region: str, instances, key: str, **columns):
    from spatialdata.models import TableModel

    obs = pd.DataFrame({key: instances, "region": pd.Categorical([region] * len(instances)), **columns})
    obs.index = [f"row{n}" for n in range(len(instances))]
    var = pd.DataFrame({"gene_ids": ["ENSG1", "ENSG2", "ENSG3"]}, index=["EPCAM", "CD3E", "ERBB2"])
    counts = anndata.AnnData(sparse.csr_matrix(COUNTS.astype(np.float32)), obs=obs, var=var)
    return TableModel.parse(counts, region=region, region_key="region", instance_key=key)


def write(path: Path, version: str = "", **elements) -> Path:
    import spatialdata
    from spatialdata._io.format import SpatialDataContainerFormatV01

    formats = {"sdata_formats": SpatialDataContainerFormatV01()} if version == "zarr 2" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spatialdata.SpatialData(**elements).write(path, **formats)
    return path


def boxes(centres: np.ndarray, half: float, names, transformations):
    import geopandas
    import shapely
    from spatialdata.models import ShapesModel

    outlines = shapely.box(*(centres - half).T, *(centres + half).T)
    frame = geopandas.GeoDataFrame({"geometry": outlines}, index=pd.Index(names))
    return ShapesModel.parse(frame[::-1], transformations=transformations)  # in another order than the table


def xenium(path: Path, region: str = "cell_circles", image=True, version: str = "") -> Path:
    from spatialdata.models import Labels2DModel, ShapesModel
    from spatialdata.transformations import Affine, Identity, Scale

    to_global = Scale([1 / PIXEL_UM, 1 / PIXEL_UM], axes=("x", "y"))
    circles = ShapesModel.parse(
        UM[::-1], geometry=0, radius=4.0, index=pd.Index(CELLS[::-1]), transformations={"global": to_global}
    )
    he = colour(800, transformations={"global": Affine(MATRIX, input_axes=("x", "y"), output_axes=("x", "y"))})
    labels = Labels2DModel.parse(np.zeros((64, 64), np.uint32), dims=("y", "x"), transformations={"global": Identity()})
    columns = {"transcript_counts": 5, "control_probe_counts": 0, "cell_area": 50.0}
    key, names = ("cell_id", CELLS) if region == "cell_circles" else ("cell_labels", [1, 2, 3, 4])
    if key != "cell_id":
        columns["cell_id"] = CELLS
    return write(
        path,
        version,
        images={"he_image": he} if image else {},
        labels={"cell_labels": labels},
        shapes={"cell_circles": circles}
        if region == "cell_circles"
        else {"cell_boundaries": boxes(UM, 3.0, CELLS, {"global": to_global})},
        tables={"table": table(region, names, key, **columns)},
    )


def check_on_image(spots) -> None:
    check_convention(spots)
    assert list(spots.var_names) == ["EPCAM", "CD3E", "ERBB2"]
    assert np.array_equal(spots.X.toarray(), COUNTS)
    expected = [np.linalg.solve(MATRIX, [*(um / PIXEL_UM), 1.0])[:2] for um in UM]
    np.testing.assert_allclose(spots.obsm["spatial"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("region", "version"),
    [("cell_circles", ""), ("cell_labels", ""), ("cell_circles", "zarr 2"), ("cell_labels", "zarr 2")],
)
def test_cells_of_xenium_lie_on_the_image(tmp_path: Path, region: str, version: str) -> None:
    store = xenium(tmp_path / "x.zarr", region, version=version)
    for path in (store, store / "tables" / "table"):
        assert is_spots(path)
        check_on_image(open_spots(path))
    assert next(slides_beside(store, open_spots(store))) == store
    about = open_spots(store).uns["cmrcnet"]
    assert (about["platform"], about["unit"]) == ("Xenium", "cell")
    assert about["given_mpp"] == pytest.approx(PIXEL_UM * 1.29)
    with (section := open_section(store, store)).slide:
        assert section.slide.shape == (800, 800)
        assert len(section.slide.levels) == 3
        assert section.origin.pitch_um == 55  # pooled
        assert section.mpp == pytest.approx(PIXEL_UM * 1.29)
    assert describe(store).facts["spots"] == "4"


def test_visium_on_the_largest_of_its_images(tmp_path: Path) -> None:
    from spatialdata.models import ShapesModel
    from spatialdata.transformations import Identity, Scale

    xy = np.array([[100.5, 200.0], [150.5, 286.6], [200.5, 200.0], [250.5, 286.6]])
    systems = {"S1": Identity(), "S1_downscaled_hires": Scale([0.5, 0.5], axes=("x", "y"))}
    circles = ShapesModel.parse(xy, geometry=0, radius=30.0, index=pd.RangeIndex(4), transformations=systems)
    array = {"in_tissue": 1, "array_row": [0, 1, 0, 1], "array_col": [0, 1, 2, 3]}
    images = {
        "S1_full_image": colour(400, transformations={"S1": Identity()}),
        "S1_hires_image": colour(200, transformations={"S1_downscaled_hires": Identity()}),
    }
    tables = {"table": table("S1", range(4), "spot_id", **array)}
    spots = open_spots(write(tmp_path / "v.zarr", images=images, shapes={"S1": circles}, tables=tables))
    np.testing.assert_allclose(spots.obsm["spatial"], xy)
    about = spots.uns["cmrcnet"]
    assert (about["platform"], about["unit"], about["pitch_um"]) == ("Visium", "spot", 100)
    assert spots.uns["spatial"]["S1"]["scalefactors"]["spot_diameter_fullres"] == pytest.approx(60)
    file = tmp_path / "v.zarr" / "shapes" / "S1" / "shapes.parquet"
    stored = parquet.read_table(file)
    place = stored.column_names.index("radius")
    parquet.write_table(stored.set_column(place, "radius", pyarrow.array([-30.0] * 4)), file)
    unsized = open_spots(tmp_path / "v.zarr")  # half the pitch, as where nothing is known
    assert unsized.uns["spatial"]["S1"]["scalefactors"]["spot_diameter_fullres"] == pytest.approx(50, rel=0.01)
    del images["S1_full_image"]
    small = open_spots(write(tmp_path / "h.zarr", images=images, shapes={"S1": circles}, tables=tables))
    np.testing.assert_allclose(small.obsm["spatial"], xy / 2)
    assert any("pixels of the store's image S1_hires_image" in note for note in small.uns["cmrcnet"]["notes"])


def test_the_bins_of_visium_hd_are_tables(tmp_path: Path) -> None:
    from spatialdata.transformations import Identity

    xy = np.array([[100.0, 100.0], [132.0, 100.0], [100.0, 132.0], [132.0, 132.0]])
    array = {"array_row": [0, 0, 1, 1], "array_col": [0, 1, 0, 1]}
    shapes, tables = {}, {}
    for size in ("002", "008", "016"):
        name = f"square_{size}um"
        shapes[f"D_{name}"] = boxes(xy, 16.0, range(4), {"D": Identity()})
        tables[name] = table(f"D_{name}", range(4), "location_id", **array)
    images = {"D_full_image": colour(256, transformations={"D": Identity()})}
    store = write(tmp_path / "hd.zarr", images=images, shapes=shapes, tables=tables)
    about = open_spots(store).uns["cmrcnet"]
    assert (about["platform"], about["unit"], about["pitch_um"]) == ("Visium HD", "bin", 16)
    np.testing.assert_allclose(open_spots(store).obsm["spatial"], xy)
    assert open_spots(store, library="square_008um").uns["cmrcnet"]["pitch_um"] == 8
    assert open_spots(store, library="D_square_002um").uns["cmrcnet"]["pitch_um"] == 2
    with (section := open_section(store, store, pool="no")).slide:
        assert section.mpp == pytest.approx(0.5)
    with pytest.raises(UserError, match=r"holds no '4', but square_002um, square_008um, square_016um") as error:
        open_spots(store, library="4")
    assert error.value.choices == ("square_002um", "square_008um", "square_016um")
    shutil.rmtree(store / "tables" / "square_016um")
    with pytest.raises(UserError, match="holds several tables: square_002um, square_008um; choose one"):
        open_spots(store)


@pytest.mark.parametrize(
    "notes",
    [
        None,
        b"{",
        b"[]",
        b'{"index_columns": ["gone"]}',
        b'{"index_columns": [{"start": 1e300, "step": 1}]}',
        b'{"index_columns": [{"start": Infinity, "step": 1}]}',
        b"[" * 100_000,
        b'{"index_columns": ["__index_level_0__"], "columns": 3}',
        b'{"index_columns": ["__index_level_0__"], "columns": [{"name": null, "numpy_type": "odd"}]}',
    ],
)
def test_shapes_are_read_whatever_pandas_notes_of_them(tmp_path: Path, notes: bytes | None) -> None:
    store = xenium(tmp_path / "x.zarr")
    file = store / "shapes" / "cell_circles" / "shapes.parquet"
    stored = parquet.read_table(file)
    about = {key: value for key, value in stored.schema.metadata.items() if key != b"pandas"}
    parquet.write_table(stored.replace_schema_metadata(about if notes is None else about | {b"pandas": notes}), file)
    if notes is not None and b"gone" in notes:
        with pytest.raises(UserError, match="does not say where the rows of cell_circles lie"):
            open_spots(store)
        return
    spots = open_spots(store)
    np.testing.assert_allclose(spots.obsm["spatial"], open_spots(xenium(tmp_path / "sound.zarr")).obsm["spatial"])


def test_a_store_without_an_image_says_so(tmp_path: Path) -> None:
    store = xenium(tmp_path / "x.zarr", image=False)
    spots = open_spots(store)
    np.testing.assert_allclose(spots.obsm["spatial"], UM / PIXEL_UM)
    assert any("no image in colour" in note for note in spots.uns["cmrcnet"]["notes"])
    with pytest.raises(UserError, match="is a SpatialData store without an image in colour; give the H&E image"):
        open_slide(store)


def change(path: Path, **values) -> None:
    content = json.loads(path.read_text())
    for name, value in values.items():
        content["attributes"][name] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda store: shutil.rmtree(store / "tables" / "table"), "but no table that annotates shapes"),
        (lambda store: shutil.rmtree(store / "shapes"), "does not say where the rows of cell_circles lie"),
        (lambda store: (store / "shapes/cell_circles/shapes.parquet").write_bytes(b"PAR1"), "is damaged"),
        (lambda store: (store / "tables/table/X/data/c/0").write_bytes(b"x"), "is damaged"),
        (lambda store: change(store / "tables/table/zarr.json", region="other"), "has no row of other"),
        (lambda store: change(store / "tables/table/zarr.json", instance_key="other"), "is damaged"),
        (lambda store: change(store / "tables/table/X/zarr.json", shape=[4, 2]), "its indices point outside"),
        (lambda store: change(store / "tables/table/X/zarr.json", shape=[3, 3]), "its parts are of different lengths"),
        (
            lambda store: change(store / "shapes/cell_circles/zarr.json", coordinateTransformations=[{"type": "x"}]),
            "is damaged",
        ),
    ],
)
def test_damage_is_named(tmp_path: Path, damage, said: str) -> None:
    store = xenium(tmp_path / "x.zarr")
    damage(store)
    with pytest.raises(UserError, match=said) as error:
        open_spots(store)
    assert "\n" not in str(error.value)


def test_what_a_store_claims_is_compared_with_its_files(tmp_path: Path) -> None:
    store = xenium(tmp_path / "x.zarr")
    path = store / "tables/table/X/data/zarr.json"
    content = json.loads(path.read_text())
    content["shape"] = [10**10]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"claims 40\.?0? GB of X/data, but stores"):
        open_spots(store)


def test_nothing_of_a_store_is_run(tmp_path: Path) -> None:
    """An array of zarr 2 whose codec is pickle would run what it holds."""
    store = xenium(tmp_path / "x.zarr")
    column = store / "tables/table/obs/cell_id"
    shutil.rmtree(column)
    column.mkdir()
    about = {"zarr_format": 2, "shape": [4], "chunks": [4], "dtype": "|O", "fill_value": 0, "order": "C"}
    (column / ".zarray").write_text(json.dumps(about | {"filters": [{"id": "pickle"}], "compressor": None}))
    ran = tmp_path / "ran"
    (column / "0").write_bytes(b"cos\nsystem\n(S'touch " + str(ran).encode() + b"'\ntR.")
    with pytest.raises(UserError):
        open_spots(store)
    assert not ran.exists()
