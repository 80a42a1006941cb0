"""A case for scanpy, squidpy and SpatialData: annotated tables with predicted and measured expression.

The values are written a few genes at a time into a table that was written without them, so memory does not grow with
the number of genes.
"""

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import atomic_folder, seen_from
from napari_cmrcnet.common.hdf5 import hdf5_file
from napari_cmrcnet.common.progress import REPORT, Job, Progress, in_thread
from napari_cmrcnet.retrieval.case import Case
from napari_cmrcnet.retrieval.export import Wanted
from napari_cmrcnet.retrieval.spatialdata_elements import Pixels, elements_of

if TYPE_CHECKING:
    from napari_cmrcnet.sections.regions import Region
    from napari_cmrcnet.slides.slide import Slide

PROVENANCE = "cmrcnet_provenance"  # its name in uns
HIRES_PX = 2000  # on the longer side, as Space Ranger's picture
SPOTS_A_CHUNK = 1024
GENES_A_CHUNK = 64


def to_h5ad(
    case: Case, path: str | os.PathLike[str], genes: Sequence[str] | None = None, *, slide: "Slide | None" = None
) -> Job[Path]:
    """Write an .h5ad file for other programs. What `Prediction.save` writes is another: it opens here again.

    ``layers["predicted"]``, where it is predicted, and ``layers["measured"]`` hold log-normalised expression, NaN where
    a gene was not measured; ``X`` is the first of them once more, by a link, for programs that look there. ``obs`` has
    the confidence of each spot, ``obsm["spatial"]`` the positions (x, y) in full-resolution pixels, ``uns["spatial"]``,
    as scanpy and squidpy plot by it, the size of a spot and of a pixel, where the slide lies, and a small picture of
    it; ``uns["cmrcnet_provenance"]`` what it was made from, as JSON.

    Parameters
    ----------
    case, path, genes
        As of `to_csv`, which returns and raises the same.
    slide : Slide, optional
        What the spots lie on.
    """
    from anndata.io import write_elem

    path = Path(path)
    wanted = Wanted.of(case, genes)
    yield Progress("Drawing a small picture of the slide", 0, 0)
    table = _table(case, wanted, path, slide)
    ((_, entry),) = table.uns["spatial"].items()
    if slide is not None:
        entry["images"] = {"hires": slide.thumbnail(HIRES_PX)}
        entry["scalefactors"]["tissue_hires_scalef"] = max(entry["images"]["hires"].shape) / max(slide.shape)
    table.strings_to_categoricals()
    with hdf5_file(path) as (file, check):
        write_elem(file, "/", table, dataset_kwargs={"compression": "gzip"})
        layers = {
            name: file.create_dataset(f"layers/{name}", compression="gzip", compression_opts=1, shuffle=True, **kind)
            for name, kind in _layers(table.shape, wanted).items()
        }
        for layer in layers.values():
            layer.attrs.update(_ENCODING)
        if "X" in file:
            del file["X"]
        file["X"] = layers[wanted.layers[0]]
        for progress in _fill(case, wanted, layers, f"Writing {path.name}"):
            check()
            yield progress
    return path


def to_spatialdata(
    case: Case,
    path: str | os.PathLike[str],
    genes: Sequence[str] | None = None,
    *,
    slide: "Slide | None" = None,
    regions: "Sequence[Region]" = (),
    copy_image: bool = False,
) -> Job[Path]:
    """Write a SpatialData Zarr store: the spots as circles, the table that annotates them, regions, and the slide.

    ``shapes["spots"]`` are circles in full-resolution pixels. As in spatialdata-io's Visium reader, the coordinate
    system ``global`` is these pixels; ``microns`` is them times the pixel's size. ``tables["table"]`` has predicted
    log-normalised expression as ``X``, measured as ``layers["measured"]`` (NaN where a gene was not measured; as ``X``
    where nothing is predicted), and the
    confidence of each spot in ``obs``; columns of ``obs`` whose names SpatialData does not take are renamed.

    Parameters
    ----------
    case, genes
        As of `to_csv`.
    path : path
        The .zarr folder; a store of that name is replaced.
    slide : Slide, optional
        What the spots lie on.
    regions : sequence of Region
        Which become shapes of their own.
    copy_image : bool
        Write the pixels of the slide, too, not only where it lies.

    Raises
    ------
    UserError
        If spatialdata is not installed, a gene is not known, the folder is there and holds something else, or it cannot
        be written.
    """
    path = Path(path)
    if path.exists() and not (path / "zarr.json").is_file() and not (path / ".zgroup").is_file():
        raise UserError(f"{path} exists and is not a Zarr store; choose another name.")
    wanted = Wanted.of(case, genes)
    step = Progress("Loading spatialdata", 0, 0)
    table = _table(case, wanted, path, slide)
    pixels = Pixels(slide) if slide is not None and copy_image else None
    store = yield from in_thread(partial(elements_of, case, table, regions, pixels), step)
    with atomic_folder(path) as temporary:
        import anndata
        import zarr

        temporary.rmdir()  # spatialdata wants to make it
        with anndata.settings.override(auto_shard_zarr_v3=False):  # undecided, it warns for every column
            yield from _write(store, temporary, pixels)
        table = zarr.open_group(temporary / "tables" / "table", mode="r+")
        places = {"measured": "layers/measured"} | {wanted.layers[0]: "X"}
        layers = {}
        for name, kind in _layers((len(case), len(wanted.genes)), wanted).items():
            layers[name] = table.create_array(places[name], overwrite=True, **kind)
            layers[name].attrs.update(_ENCODING)
        yield from _fill(case, wanted, layers, f"Writing {path.name}")
        store.write_consolidated_metadata()
    return path


def _write(store: Any, folder: Path, pixels: Pixels | None) -> Job[None]:
    """Write a store in a thread that ends before this does: where it is cancelled, the folder is then removed."""
    step = Progress("Writing the store" if pixels is None else "Copying the slide", 0, 0)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(store.write, folder)
        try:
            while not writing.done():
                wait([writing], timeout=REPORT)
                yield step
        finally:
            if pixels is not None:
                pixels.stopped.set()
    writing.result()


_ENCODING = {"encoding-type": "array", "encoding-version": "0.2.0"}


def _layers(shape: tuple[int, int], wanted: Wanted) -> dict[str, dict[str, Any]]:
    """Return how each layer is stored: in pieces that one gene and a region of spots touch few of."""
    chunks = (max(1, min(shape[0], SPOTS_A_CHUNK)), max(1, min(shape[1], GENES_A_CHUNK)))
    return {name: {"shape": shape, "chunks": chunks, "dtype": "float32"} for name in wanted.layers}


def _fill(case: Case, wanted: Wanted, layers: dict[str, Any], step: str) -> Iterator[Progress]:
    total = len(wanted.genes)
    yield Progress(step, 0, total, "genes")
    for block, values in wanted.blocks(case):
        for name, layer in layers.items():
            layer[:, block] = values[name]
        yield Progress(step, block.stop, total, "genes")


def _table(case: Case, wanted: Wanted, path: Path, slide: "Slide | None") -> AnnData:
    """Return all of the table but its values."""
    names = case.all_names
    panel = names.known(case.panel.genes if case.panel is not None else ())
    columns = names.columns(wanted.genes, case.name)
    var = pd.DataFrame(
        {
            "gene_ids": [names.ids[column] for column in columns],
            "measured": [gene in wanted.measured for gene in wanted.genes],
            "panel": np.isin(columns, panel),
        },
        index=list(wanted.genes),
    )
    confidence = case.confidence().set_axis(case.spots.obs_names, axis=0)
    own = case.spots.obs.drop(columns=["section", *confidence.columns], errors="ignore")
    obs = pd.concat([own, confidence], axis=1)
    obs.insert(0, "section", pd.Categorical([case.name] * len(obs)))
    record = json.dumps(asdict(case.provenance), ensure_ascii=False)
    ((library, about),) = case.spots.uns["spatial"].items()
    factors = {"tissue_hires_scalef": 1.0, **about["scalefactors"]}  # squidpy asks for it without a picture, too
    metadata = dict(about.get("metadata", {}))
    if case.provenance.mpp:
        factors["microns_per_pixel"] = case.provenance.mpp
    if slide is not None:  # both may be moved together
        metadata["source_image_path"] = seen_from(path.resolve().parent, slide.path.resolve())
    spatial = {library: {"scalefactors": factors, "metadata": metadata, "images": {}}}
    return AnnData(obs=obs, var=var, obsm={"spatial": case.xy}, uns={PROVENANCE: record, "spatial": spatial})
