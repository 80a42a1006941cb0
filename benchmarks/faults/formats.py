"""Every format that is read: a sound base, how it is changed, and the public function that reads it."""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks.faults import bases, cells
from benchmarks.faults.binary import change_dicom, change_hdf5, change_jpeg, change_png, change_tiff
from benchmarks.faults.mutations import (
    Mutator,
    change_bytes,
    change_geojson,
    change_json,
    change_safetensors,
    change_table,
    packed,
)


@dataclass(frozen=True)
class Format:
    """One kind of input.

    Parameters
    ----------
    make : callable
        Returns sound files.
    changes : mapping of str to Mutator
        How a file is changed, by its name; one of them is changed at a time.
    read : callable
        Reads what is in a folder, of which the file given was changed, and looks at all of it.
    share : int
        Of a hundred inputs of a short run, about so many are of this format.
    further : int
        Of a thousand beyond a short run, so many: what is read in less time is read more often. Formats whose name
        ends in "parsed" are read only there, by the parser that the public function uses, and by nothing after it.
    """

    make: Callable[[], bases.Files]
    changes: Mapping[str, Mutator]
    read: Callable[[Path, str], None]
    share: int
    further: int = 1

    def changed(self, files: bases.Files, rng: random.Random) -> tuple[str, bytes]:
        """Return name and content of the file that is changed."""
        name = rng.choice(sorted(self.changes))
        return name, self.changes[name](rng, files[name])


def _spots(place: str = "") -> Callable[[Path, str], None]:
    """Return what opens spots and looks at them: a value that points outside would be found by these sums."""

    def read(folder: Path, _: str) -> None:
        from napari_cmrcnet.sections.spots import open_spots

        found = open_spots(folder / place)
        xy = found.obsm["spatial"]
        assert xy.shape == (found.n_obs, 2), "positions do not fit the spots"
        assert np.isfinite(xy).all(), "a position is not finite"
        assert found.obs_names.is_unique, "a spot is there twice"
        assert found.var_names.is_unique, "a gene is there twice"
        if found.X is not None:
            assert sparse.issparse(found.X), "counts are not sparse"
            assert found.X.shape == (found.n_obs, found.n_vars), "counts do not fit the spots"
            found.X.check_format()
            assert not found.X.nnz or found.X.data.min() >= 0, "a count is negative"
            assert (found.X @ np.ones(found.n_vars)).sum() == found.X.data.sum(dtype=float), "counts are lost"

    return read


def _slide(folder: Path, name: str) -> None:
    from napari_cmrcnet.slides.slide import open_slide

    with open_slide(folder / name) as slide:
        assert slide.thumbnail(64).dtype == np.uint8
        for level in range(len(slide.levels)):
            assert slide.read_region(0, 0, 80, 80, level).shape == (80, 80, 3)


def _sheet(folder: Path, name: str) -> None:
    from napari_cmrcnet.sections.sheet import read_sheet

    assert all(row.section and row.slide.exists() for row in read_sheet(folder / name))


def _panel(folder: Path, name: str) -> None:
    from napari_cmrcnet.sections.panels import load_panel

    assert load_panel(folder / name).genes


def _regions(folder: Path, name: str) -> None:
    from napari_cmrcnet.sections.geojson import read_geojson

    for region in read_geojson(folder / name):
        assert region.geometry.is_valid, "an outline is not valid"
        assert region.contains([[100.0, 100.0], [0.0, 0.0]]).shape == (2,)
        assert len(region.shown_colour) == 3


def _change_project(rng: random.Random, content: bytes) -> bytes:
    """Change a project, one of its cases, or its regions: of changes to the whole, few get past the head."""
    case = json.loads(content)["cases"][0]
    part, change = rng.choice(
        (
            (content, change_bytes),
            (json.dumps(case), change_json),
            (json.dumps(case["view"]["regions"]), change_geojson),
        )
    )
    whole = part if isinstance(part, bytes) else part.encode()
    return content.replace(whole, change(rng, whole), 1)


def _project(folder: Path, name: str) -> None:
    from napari_cmrcnet.retrieval.project import read_project, regions_of, write_project
    from napari_cmrcnet.viewer.display_settings import DisplaySettings
    from napari_cmrcnet.viewer.view_record import ticked_of

    found = read_project(folder / name)
    for case in found.cases:
        assert all("\0" not in path for path in (case.slide, case.spots, case.prediction))
        DisplaySettings.from_dict(case.view)
        ticked_of(case.view, ())
        assert all(region.geometry.is_valid for region in regions_of(case.view))
    write_project(found)


def _external(folder: Path, name: str) -> None:
    from napari_cmrcnet.retrieval.external import open_external
    from napari_cmrcnet.sections.spots import open_spots

    found = open_external(folder / name, open_spots(folder / "s.h5ad"))
    assert 0 < len(found) == len(found.xy)
    assert np.isfinite(found.expression(found.genes[:3])).all(), "a value is not finite"


def _prediction(folder: Path, name: str) -> None:
    from napari_cmrcnet.common.hdf5_checks import check_hdf5
    from napari_cmrcnet.retrieval.describe import describe
    from napari_cmrcnet.retrieval.prediction import Prediction

    check_hdf5(folder / name)
    found = Prediction.load(folder / name, folder / "m.cmrcnet")
    assert len(found.confidence()) == len(found) == len(found.xy)
    assert np.isfinite(found.similarity).all()
    if found.genes:
        assert found.expression(found.genes[:2]).shape == (len(found), len(found.genes[:2]))
    if found.measured_genes:
        assert found.measured_means().shape == (len(found.genes),)
        assert found.totals is not None
    describe(folder / name)


def _checkpoint(folder: Path, name: str) -> None:
    """Load a checkpoint whose card has the right hashes: its files are read, whatever was changed."""
    from napari_cmrcnet.common.files import sha256
    from napari_cmrcnet.retrieval.checkpoint import Checkpoint
    from napari_cmrcnet.retrieval.search import nearest

    card = folder / "m.cmrcnet" / "card.json"
    changed = Path(name).name
    if changed != "card.json":
        about = json.loads(card.read_text("utf-8"))
        about["files"][changed] = sha256(folder / name)
        card.write_text(json.dumps(about), "utf-8")
    loaded = Checkpoint.load(card.parent)
    bank = loaded.bank
    neighbours, _ = nearest(bank.embeddings[:2], bank.embeddings, 1)
    assert bank.mean_expression(neighbours, bank.genes[:3]).shape == (2, len(bank.genes[:3]))
    pictures = loaded.thumbnails
    if pictures is not None:
        pictures.read(range(min(4, len(pictures))))


def _parsed_h5ad(folder: Path, name: str) -> None:
    from napari_cmrcnet.common.hdf5 import read_h5ad

    _check_counts(read_h5ad(folder / name).X)


def _parsed_matrix(folder: Path, name: str) -> None:
    from napari_cmrcnet.sections.formats.tenx_matrix import read_matrix

    _check_counts(read_matrix(folder / name)[0].X)


def _parsed_mtx(folder: Path, _: str) -> None:
    _parsed_matrix(folder, f"{OUTS_MTX}/matrix.mtx.gz")


def _check_counts(counts: Any) -> None:
    if sparse.issparse(counts):  # what else there is, and what is no count, are refused later
        counts.check_format()


def _parsed_positions(folder: Path, name: str) -> None:
    from napari_cmrcnet.sections.formats.spaceranger import read_positions

    assert read_positions(folder / name).index.is_unique


def _parsed_st(folder: Path, _: str) -> None:
    from napari_cmrcnet.sections.formats.legacy_st import read_legacy_st

    spots = read_legacy_st(folder / "s.tsv")[0]
    assert spots.obsm["spatial"].shape == (spots.n_obs, 2)
    _check_counts(spots.X)


OUTS_H5 = "filtered_feature_bc_matrix.h5"
OUTS_MTX = "filtered_feature_bc_matrix"

STORE_ATTRIBUTES = (
    "", "images/he/", "shapes/spots/", "tables/table/", "tables/table/X/", "tables/table/X/data/",
    "tables/table/X/indices/", "tables/table/X/indptr/", "tables/table/obs/", "tables/table/obs/spot_id/",
    "tables/table/obs/region/", "tables/table/obs/region/codes/", "tables/table/var/", "tables/table/var/_index/",
    "tables/table/uns/spatialdata_attrs/", "tables/table/uns/spatialdata_attrs/region/",
)  # fmt: skip
STORE_VALUES = (
    "shapes/spots/shapes.parquet",
    *(f"tables/table/X/{name}/c/0" for name in ("data", "indices", "indptr")),
    "tables/table/obs/spot_id/c/0",
    "tables/table/uns/spatialdata_attrs/region/c",
)
MTX_CHANGES = {f"{OUTS_MTX}/{name}.gz": packed(change_table) for name in ("matrix.mtx", "features.tsv", "barcodes.tsv")}
ST_CHANGES = {"s.tsv": change_table, "s_selection.tsv": change_table}

FORMATS = {
    "h5ad": Format(bases.h5ad, {"s.h5ad": change_hdf5}, _spots("s.h5ad"), 11, 0),
    "HEST": Format(bases.hest, {"st/s.h5ad": change_hdf5, "metadata/s.json": change_json}, _spots("st/s.h5ad"), 3, 0),
    "10x h5": Format(bases.space_ranger, {OUTS_H5: change_hdf5}, _spots(), 8, 0),
    "10x mtx": Format(
        bases.space_ranger_mtx,
        MTX_CHANGES,
        _spots(),
        5,
        0,
    ),
    "Visium positions": Format(
        bases.space_ranger,
        {"spatial/tissue_positions.csv": change_table, "spatial/scalefactors_json.json": change_json},
        _spots(),
        6,
        0,
    ),
    "Visium HD positions": Format(
        bases.visium_hd,
        {"spatial/tissue_positions.parquet": change_bytes, "spatial/scalefactors_json.json": change_json},
        _spots(),
        3,
        0,
    ),
    "Visium HD cells": Format(
        cells.segmented_cells,
        {
            "filtered_feature_cell_matrix.h5": change_hdf5,
            "cell_segmentations.geojson": change_geojson,
            "spatial/scalefactors_json.json": change_json,
        },
        _spots(),
        3,
        0,
    ),
    "Xenium": Format(
        cells.xenium,
        {
            **dict.fromkeys(("parquet/experiment.xenium", "csv/experiment.xenium"), change_json),
            **dict.fromkeys(("parquet/cells.parquet", "parquet/cell_feature_matrix.h5"), change_bytes),
            **dict.fromkeys(("csv/cells.csv", "csv/a_he_imagealignment.csv"), change_table),
            "parquet/a_he_imagealignment.csv": change_table,
            "csv/cell_feature_matrix.h5": change_hdf5,
        },
        lambda folder, name: _spots(name.partition("/")[0])(folder, name),
        5,
        0,
    ),
    "SpatialData": Format(
        cells.spatialdata_store,
        {
            **dict.fromkeys((f"s.zarr/{name}zarr.json" for name in STORE_ATTRIBUTES), change_json),
            **dict.fromkeys((f"s.zarr/{name}" for name in STORE_VALUES), change_bytes),
        },
        _spots("s.zarr"),
        4,
        0,
    ),
    "predicted table": Format(
        cells.predicted,
        {"p.h5ad": change_hdf5, "p.csv": change_table, "p.tsv": change_table, "p.parquet": change_bytes},
        _external,
        4,
        0,
    ),
    "first-generation ST": Format(bases.legacy_st, ST_CHANGES, _spots("s.tsv"), 4, 0),
    "sheet": Format(bases.sheet, {"sheet.csv": change_table}, _sheet, 6, 176),
    "gene list": Format(
        bases.panels, dict.fromkeys(("genes.txt", "genes.csv", "genes.gmt"), change_table), _panel, 6, 170
    ),
    "GeoJSON": Format(bases.geojson, {"r.geojson": change_geojson}, _regions, 10, 50),
    "project": Format(
        bases.project,
        {"p.cmrproj": _change_project},
        _project,
        6,
        50,
    ),
    "TIFF": Format(
        bases.tiff,
        dict.fromkeys(("pyramid.tif", "strips.tif", "lzw.tif", "slide.ome.tif", "slide.svs"), change_tiff),
        _slide,
        13,
        49,
    ),
    "DICOM": Format(bases.dicom, {"0.dcm": change_dicom, "1.dcm": change_dicom}, _slide, 6, 50),
    "OME-Zarr": Format(
        bases.ome_zarr,
        {
            **dict.fromkeys(("2.zarr/.zattrs", "2.zarr/0/.zarray", "2.zarr/1/.zarray"), change_json),
            **dict.fromkeys(("3.zarr/zarr.json", "3.zarr/0/zarr.json", "3.zarr/1/zarr.json"), change_json),
            **dict.fromkeys(("2.zarr/0/0.0.0", "3.zarr/0/c/0/0/0"), change_bytes),
        },
        lambda folder, name: _slide(folder, name.partition("/")[0]),
        4,
        30,
    ),
    "JPEG": Format(bases.jpeg, {"p.jpg": change_jpeg}, _slide, 8, 178),
    "PNG": Format(bases.png, {"p.png": change_png, "g.png": change_png}, _slide, 6, 178),
    "prediction": Format(bases.checkpoint, {"p.h5ad": change_hdf5}, _prediction, 3, 0),
    "checkpoint": Format(
        bases.checkpoint,
        {
            "m.cmrcnet/card.json": change_json,
            "m.cmrcnet/bank.h5ad": change_hdf5,
            "m.cmrcnet/thumbnails.h5": change_hdf5,
            "m.cmrcnet/model.safetensors": change_safetensors,
        },
        _checkpoint,
        2,
        0,
    ),
    "h5ad, parsed": Format(bases.lean_h5ad, {"s.h5ad": change_hdf5}, _parsed_h5ad, 0, 21),
    "10x h5, parsed": Format(bases.tenx_h5, {OUTS_H5: change_hdf5}, _parsed_matrix, 0, 25),
    "10x mtx, parsed": Format(bases.space_ranger_mtx, MTX_CHANGES, _parsed_mtx, 0, 25),
    "positions, parsed": Format(
        bases.positions,
        {
            "tissue_positions.csv": change_table,
            "tissue_positions_list.csv": change_table,
            "tissue_positions.parquet": change_bytes,
        },
        _parsed_positions,
        0,
        40,
    ),
    "first-generation ST, parsed": Format(bases.legacy_st, ST_CHANGES, _parsed_st, 0, 8),
}
