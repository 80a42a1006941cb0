"""A SpatialData zarr store, as spatialdata-io writes Visium, Visium HD and Xenium: a table, on its image in colour.

Read with zarr and anndata, not with spatialdata. The table says which shapes its rows annotate; shapes and image meet
in a coordinate system, so that positions are in pixels of the image whatever lies between them.
"""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.common.hdf5 import read_parts
from napari_cmrcnet.common.hdf5_checks import check_claim, check_sparse
from napari_cmrcnet.common.spatialdata_store import attributes, find_store, pictures_of, systems_of, tables_of
from napari_cmrcnet.sections.formats.geoparquet import read_shapes
from napari_cmrcnet.sections.formats.h5ad import with_counts
from napari_cmrcnet.sections.formats.origin import Origin, mapping, size_in

DEFAULT_BIN = "square_016um"
_BIN = re.compile(r"square_(\d+)um")
_CELLS = re.compile(r"cell_(segmentations|circles|boundaries|labels)$")
_OF_XENIUM = {"transcript_counts", "control_probe_counts"}  # columns that only its cells have


def read_spatialdata(path: Path, library: str = "", normalised: bool = False) -> tuple[AnnData, Origin]:
    """Read the table of a store, of several the one that is called so, or annotates the shapes that are called so.

    Raises
    ------
    UserError
        If there is no table, several, or it does not say where its rows lie; or if a part is damaged.
    """
    store = find_store(path)
    assert store is not None, "the caller asked find_store"
    table, region = _chosen(path, store, library)
    with readable(table, "is damaged", "write it again"):
        spots, places = _read_table(store, table, region)
        to_pixels, unit_px, notes = _on_image(store, places.attrs["folder"])
    xy = places[["x", "y"]].to_numpy(np.float64) @ to_pixels[:2, :2].T + to_pixels[:2, 2]
    diameter = 2 * float(np.sqrt(size_in(places["area"].median()) / np.pi)) * unit_px
    factors = {"spot_diameter_fullres": diameter}
    spots.obsm["spatial"] = xy
    about = mapping(next(iter(mapping(spots.uns.get("spatial")).values()), None))  # as scanpy has it, if it is there
    mpp = size_in(mapping(about.get("scalefactors")).get("microns_per_pixel"))
    spots.uns = {"spatial": {region: {"scalefactors": factors, "metadata": dict(mapping(about.get("metadata")))}}}
    counted, more, logs = with_counts(table, spots, normalised)
    bins = _BIN.search(f"{table.name} {region}")
    xenium = set(spots.obs.columns) >= _OF_XENIUM
    cells = xenium or any(map(_CELLS.search, (table.name, region)))
    origin = Origin(
        source=f"SpatialData, table {table.name}",
        path=path,
        platform="Visium HD" if bins else "Xenium" if xenium else "",
        unit="bin" if bins else "cell" if cells else "spot",
        pitch_um=float(bins[1]) if bins else 0.0,
        given_mpp=1.0 / unit_px if xenium else mpp,  # its shapes are in µm
        given_mpp_source="the shapes of Xenium, which are in µm" if xenium else "scalefactors microns_per_pixel",
        notes=(*notes, *more),
        normalised=logs,
    )
    return counted, origin


def _chosen(path: Path, store: Path, library: str) -> tuple[Path, str]:
    """Return the table and the name of the shapes that it annotates."""
    pairs = []
    for table in tables_of(store):
        regions = attributes(table).get("region")
        pairs += [(table, str(region)) for region in (regions if isinstance(regions, list) else [regions]) if region]
    if not pairs:
        held = ", ".join(folder.name for folder in sorted(store.iterdir()) if folder.is_dir()) or "nothing"
        raise UserError(f"{store} holds {held}, but no table that annotates shapes; write it again with its table.")
    if path.parent.name in ("tables", "table"):
        pairs = [pair for pair in pairs if pair[0] == path]
    found = [pair for pair in pairs if library in ("", pair[0].name, pair[1])]
    if len(found) > 1 and not library:
        found = [pair for pair in found if pair[0].name == DEFAULT_BIN] or found
    if len(found) == 1:
        return found[0]
    names = [region if sum(t == table for t, _ in pairs) > 1 else table.name for table, region in pairs]
    said = f"holds no {library!a}, but" if library and not found else "holds several tables:"
    raise UserError(f"{store} {said} {', '.join(names)}; choose one.", "library", names)


def _read_table(store: Path, table: Path, region: str) -> tuple[AnnData, pd.DataFrame]:
    """Return the rows that annotate a region, and where they lie in its coordinates."""
    spots, about = read_parts(table, open_table(table)), attributes(table)
    of_region = spots.obs[about["region_key"]].astype(str) == region
    if not of_region.any():
        raise UserError(f"{table} has no row of {region}; write it again.")
    spots = spots[of_region.to_numpy()].copy()
    places = _places(store, region, spots.obs, str(about["instance_key"]))
    return spots, places


def _places(store: Path, region: str, obs: pd.DataFrame, key: str) -> pd.DataFrame:
    """Return the row of the shapes that each row of the table annotates.

    A table of labels, which are a picture, is placed by the outlines of the same cells where the store has them.
    """
    names = [obs[key], *(obs[name] for name in ("cell_id",) if name in obs), obs.index.to_series()]
    folders = [store / "shapes" / region]
    if not folders[0].is_dir():
        folders = sorted((store / "shapes").glob("*")) if (store / "shapes").is_dir() else []
    for folder in folders:
        file = folder / "shapes.parquet"
        if not file.is_file():
            continue
        shapes = read_shapes(file)
        for name in names if folder.name != region else names[:1]:
            rows = shapes.index.get_indexer(pd.Index(name.astype(str))) if shapes.index.is_unique else np.array([-1])
            if (rows >= 0).all():
                places = shapes.iloc[rows]
                places.attrs["folder"] = folder
                return places
    raise UserError(
        f"{store} does not say where the rows of {region} lie: no shapes have their names; write it with its shapes."
    )


def open_table(table: Path) -> Any:
    """Open the group of zarr that a table is, once what it claims is compared with what the store holds of it."""
    if find_spec("zarr") is None:
        raise UserError(f"{table} needs one more package to be read: pip install zarr")
    import zarr

    group = zarr.open_group(str(table), mode="r", use_consolidated=False)
    _check_stored(table, group)
    return group


def _check_stored(table: Path, item: Any) -> None:
    """Refuse arrays that claim more than the store holds of them, and sparse matrices whose indices point outside."""
    import zarr

    if isinstance(item, zarr.Array):
        claimed = int(np.prod(item.shape, dtype=object)) * max(1, item.dtype.itemsize)
        stored = sum(file.stat().st_size for file in (table / item.path).rglob("*") if file.is_file())
        check_claim(table, item.path, claimed, stored)
        return
    for _, part in item.members():
        _check_stored(table, part)
    check_sparse(table, item)


def _on_image(store: Path, shapes: Path) -> tuple[NDArray[np.float64], float, tuple[str, ...]]:
    """Return the matrix from the shapes' coordinates to pixels of the image, pixels a unit, and what to know of it."""
    systems = systems_of(attributes(shapes)["coordinateTransformations"])
    pictures = pictures_of(store)
    if not pictures:
        name = "global" if "global" in systems else min(systems)
        matrix = systems[name]
        notes: tuple[str, ...] = (
            f"The store has no image in colour. Positions are in its coordinate system {name}, and fit only a slide "
            "with the same pixels.",
        )
    else:
        picture = pictures[0]
        shared = sorted(set(systems) & set(picture.systems), key=lambda name: name != "global")
        if not shared:
            raise UserError(
                f"{store}: the image {picture.folder.name} and the shapes {shapes.name} have no coordinate system in "
                "common; align them, and write the store again."
            )
        matrix = np.linalg.inv(picture.systems[shared[0]]) @ systems[shared[0]]
        notes = (f"Positions are in pixels of the store's image {picture.folder.name}.",)
    return matrix, float(np.sqrt(abs(np.linalg.det(matrix[:2, :2])))), notes
