"""Small sound files of every format, made here: what is changed."""

import gzip
import io
import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import anndata
import h5py
import imagecodecs
import numpy as np
import pandas as pd
import tifffile
from scipy import sparse

SPOTS, GENES, SIDE = 16, 12, 256
Files = dict[str, bytes]
"""Content by name within a folder."""


def picture(side: int = SIDE, seed: int = 0) -> np.ndarray:
    """Return something like stained tissue, uint8 (side, side, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    waves = np.stack([200 + 40 * np.sin(9 * x), 120 + 60 * np.cos(7 * y), 170 + 30 * np.sin(5 * (x + y))], axis=-1)
    return (waves + rng.normal(0, 8, waves.shape)).clip(0, 255).astype(np.uint8)


def spots(seed: int = 1) -> anndata.AnnData:
    """Return a section with counts and positions on the picture."""
    counts = np.random.default_rng(seed).poisson(5, (SPOTS, GENES)).astype(np.float32)
    row, column = np.divmod(np.arange(SPOTS), 4)
    names = [f"SPOT{i}" for i in range(SPOTS)]
    table = anndata.AnnData(
        sparse.csr_matrix(counts),
        obs=pd.DataFrame({"in_tissue": 1, "array_row": row, "array_col": 2 * column + row % 2}, index=names),
        var=pd.DataFrame(
            {"gene_ids": [f"ENSG{i:011}" for i in range(GENES)]}, index=[f"GENE{i}" for i in range(GENES)]
        ),
        obsm={"spatial": np.stack([32.0 + 64 * column, 32.0 + 64 * row], axis=1)},
    )
    factors = {"spot_diameter_fullres": 40.0, "tissue_hires_scalef": 0.5}
    table.uns["spatial"] = {"lib": {"scalefactors": factors, "metadata": {"chemistry_description": "Visium"}}}
    table.obs["sample"] = pd.Categorical(["lib"] * SPOTS)
    table.layers["counts"] = table.X.copy()
    table.raw = table.copy()
    return table


def h5ad() -> Files:
    """Return a section as scanpy writes it."""
    table = spots()
    return {"s.h5ad": written(table.write_h5ad)}


def lean_h5ad() -> Files:
    """Return a section with nothing in its h5ad file but counts, names and positions."""
    table = spots()
    table.raw, table.layers["counts"] = None, table.X
    del table.layers["counts"], table.obs["sample"], table.uns["spatial"]
    return {"s.h5ad": written(table.write_h5ad)}


def tenx_h5() -> Files:
    """Return a matrix of Space Ranger alone."""
    name = "filtered_feature_bc_matrix.h5"
    return {name: space_ranger()[name]}


def positions() -> Files:
    """Return positions of Space Ranger alone, of each version."""
    return {
        "tissue_positions.csv": _positions(True).to_csv().encode(),
        "tissue_positions_list.csv": _positions(False).to_csv(header=False).encode(),
        "tissue_positions.parquet": _positions(True).reset_index().to_parquet(index=False),
    }


def hest() -> Files:
    """Return a section as HEST has it, with its JSON."""
    about = {"st_technology": "Visium", "inter_spot_dist": 100.0, "pixel_size_um_estimated": 0.5, "subseries": "x"}
    return {"st/s.h5ad": written(spots().write_h5ad), "metadata/s.json": json.dumps(about).encode()}


def written(write: Callable[[Path], object]) -> bytes:
    """Return what a function writes to a file."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "file.h5ad")
        return (Path(folder) / "file.h5ad").read_bytes()


def _positions(header: bool) -> pd.DataFrame:
    table = spots()
    place = pd.DataFrame(table.obsm["spatial"][:, ::-1], table.obs_names, ["pxl_row_in_fullres", "pxl_col_in_fullres"])
    columns = table.obs[["in_tissue", "array_row", "array_col"]].join(place)
    columns.index.name = "barcode" if header else None
    return columns


def tenx_matrix(names: Sequence[str] | None = None) -> bytes:
    """Return a matrix of 10x Genomics as HDF5; its spots have other names where they are given."""
    table = spots()
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.attrs["software_version"], file.attrs["chemistry_description"] = "spaceranger-2.1.0", "Visium V4 Slide"
        matrix = file.create_group("matrix")
        matrix["barcodes"] = np.array(table.obs_names if names is None else names, "S")
        for name in ("data", "indices", "indptr"):
            matrix[name] = getattr(table.X, name).astype("i4" if name == "data" else "i8")
        matrix["shape"] = np.array([GENES, SPOTS], "i4")
        features = matrix.create_group("features")
        features["id"], features["name"] = (
            table.var["gene_ids"].to_numpy().astype("S"),
            table.var_names.to_numpy().astype("S"),
        )
        features["feature_type"] = np.array([b"Gene Expression"] * GENES)
        features["genome"] = np.array([b"GRCh38"] * GENES)
    return stream.getvalue()


def space_ranger() -> Files:
    """Return an ``outs`` folder of Space Ranger 2, its matrix as HDF5."""
    factors = {"spot_diameter_fullres": 40.0, "tissue_hires_scalef": 0.5, "fiducial_diameter_fullres": 60.0}
    return {
        "filtered_feature_bc_matrix.h5": tenx_matrix(),
        "spatial/tissue_positions.csv": _positions(True).to_csv().encode(),
        "spatial/scalefactors_json.json": json.dumps(factors).encode(),
    }


def space_ranger_mtx() -> Files:
    """Return an ``outs`` folder of Space Ranger 1, its matrix as gzipped text."""
    table = spots()
    entries = sparse.coo_matrix(table.X.T)
    lines = [
        f"{row + 1} {column + 1} {int(count)}" for row, column, count in zip(*entries.coords, entries.data, strict=True)
    ]
    head = ["%%MatrixMarket matrix coordinate integer general", f"{GENES} {SPOTS} {len(lines)}"]
    features = [f"{key}\t{name}\tGene Expression" for name, key in table.var["gene_ids"].items()]
    texts = {"matrix.mtx": [*head, *lines], "features.tsv": features, "barcodes.tsv": list(table.obs_names)}
    folder = "filtered_feature_bc_matrix"
    packed = {
        f"{folder}/{name}.gz": gzip.compress("\n".join(text).encode(), 1, mtime=0) for name, text in texts.items()
    }
    return packed | {"spatial/tissue_positions_list.csv": _positions(False).to_csv(header=False).encode()}


def visium_hd() -> Files:
    """Return a bin of Visium HD, its positions as parquet."""
    files = space_ranger()
    factors = {"bin_size_um": 16.0, "microns_per_pixel": 0.5, "spot_diameter_fullres": 32.0}
    return {
        "filtered_feature_bc_matrix.h5": files["filtered_feature_bc_matrix.h5"],
        "spatial/tissue_positions.parquet": _positions(True).reset_index().to_parquet(index=False),
        "spatial/scalefactors_json.json": json.dumps(factors).encode(),
    }


def legacy_st() -> Files:
    """Return counts and selection of first-generation Spatial Transcriptomics."""
    table = spots()
    row, column = np.divmod(np.arange(SPOTS), 4)
    counts = pd.DataFrame(
        table.X.toarray().astype(int), [f"{x}x{y}" for x, y in zip(column, row, strict=True)], table.var_names
    )
    x, y = table.obsm["spatial"].T
    selection = pd.DataFrame(
        {"x": column, "y": row, "new_x": column, "new_y": row, "pixel_x": x, "pixel_y": y, "selected": 1}
    )
    return {
        "s.tsv": counts.to_csv(sep="\t").encode(),
        "s_selection.tsv": selection.to_csv(sep="\t", index=False).encode(),
    }


def sheet() -> Files:
    """Return a sheet of two sections, whose files are there."""
    text = "section,slide,spots,patient,mpp\nA,a.tif,a.h5ad,P1,0.5\nB,a.tif,,P2,\n"
    return {"sheet.csv": text.encode(), "a.tif": b"x", "a.h5ad": b"x"}


def panels() -> Files:
    """Return lists of genes in each form that is read."""
    return {
        "genes.txt": b'# markers\nEPCAM 0.5\nCD3E\n"VIM"\nACTA2;1.2\n',
        "genes.csv": b"gene_id,gene,score\nENSG1,EPCAM,1\nENSG2,CD3E,2\n",
        "genes.gmt": b"SET_A\thttp://a\tEPCAM\tCD3E\tVIM\n",
    }


def project() -> Files:
    """Return a project of two cases, with regions."""
    regions = json.loads(geojson()["r.geojson"])
    view = {"layout": "overlaid", "ticked": ["ERBB2"], "limits": [0.5, 2.0], "regions": regions}
    texts = dict.fromkeys(("slide", "spots", "prediction", "library", "patient", "model", "notes"), "")
    one = {"name": "A", **texts, "slide": "a.tif", "measured": True, "pcc": 0.25, "view": view}
    two = {"name": "B", **texts, "prediction": "../b.h5ad", "measured": False, "pcc": None, "view": {}}
    content = {"format": "napari-cmrcnet project", "version": 1, "cases": [one, two]}
    return {"p.cmrproj": json.dumps(content).encode()}


def geojson() -> Files:
    """Return regions as QuPath exports them."""
    outer = [[20, 20], [220, 20], [220, 220], [20, 220], [20, 20]]
    hole = [[60, 60], [60, 90], [90, 90], [90, 60], [60, 60]]
    kinds = ({"name": "Tumor", "color": [200, 0, 0]}, {"names": ["Tumor", "Positive"], "colorRGB": -3670016})
    shapes = (
        {"type": "Polygon", "coordinates": [outer, hole]},
        {"type": "MultiPolygon", "coordinates": [[outer], [[[x + 300, y] for x, y in hole]]]},
    )
    features = [
        {"type": "Feature", "id": "1", "geometry": shape, "properties": {"objectType": "annotation", "name": f"R{i}",
         "classification": kind, "isLocked": False, "childObjects": []}}
        for i, (shape, kind) in enumerate(zip(shapes, kinds, strict=True))
    ]  # fmt: skip
    return {"r.geojson": json.dumps({"type": "FeatureCollection", "features": features}).encode()}


def tiff() -> Files:
    """Return slides as TIFF: a pyramid of JPEG tiles, strips, OME-TIFF, BigTIFF, SVS."""
    full = picture()
    levels = (full, full[::2, ::2], full[::4, ::4])
    resolution = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}
    svs = "Aperio Image Library v10.0.51\n256x256 [0,0 256x256] (64x64) JPEG/RGB Q=30|AppMag = 20|MPP = 0.4990"
    made = {}
    with _Stream(made, "pyramid.tif") as stream, tifffile.TiffWriter(stream) as writer:
        for index, level in enumerate(levels):
            writer.write(
                level, tile=(64, 64), compression="jpeg", photometric="rgb", subfiletype=int(index > 0), **resolution
            )
    with _Stream(made, "strips.tif") as stream:
        tifffile.imwrite(stream, full, rowsperstrip=32, compression="zlib", predictor=True, photometric="rgb")
    with _Stream(made, "lzw.tif") as stream:
        tifffile.imwrite(stream, full[:128, :128], tile=(64, 64), compression="lzw", photometric="rgb", bigtiff=True)
    with _Stream(made, "slide.ome.tif") as stream, tifffile.TiffWriter(stream, ome=True) as writer:
        about = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
        writer.write(full, tile=(64, 64), subifds=1, compression="jpeg", photometric="rgb", metadata=about)
        writer.write(full[::2, ::2], tile=(64, 64), compression="jpeg", photometric="rgb", subfiletype=1)
    with _Stream(made, "slide.svs") as stream, tifffile.TiffWriter(stream) as writer:
        for index, level in enumerate((full, full[::4, ::4])):
            text = svs if not index else f"{svs.partition('|')[0]} -> 64x64"
            writer.write(level, tile=(64, 64), compression="jpeg", photometric="rgb", description=text, metadata=None)
    return made


class _Stream(io.BytesIO):
    """Bytes that are kept under a name when they are written."""

    def __init__(self, kept: Files, name: str) -> None:
        super().__init__()
        self._kept, self._name = kept, name

    def __exit__(self, *error: object) -> None:
        self._kept[self._name] = self.getvalue()
        super().__exit__(*error)


def jpeg() -> Files:
    """Return a picture as JPEG."""
    return {"p.jpg": imagecodecs.jpeg_encode(picture(96), level=80)}


def png() -> Files:
    """Return pictures as PNG: RGB, and grey with transparency in 16 bits."""
    grey = np.ascontiguousarray(picture(64)[..., :2]).astype(np.uint16) * 256
    return {"p.png": imagecodecs.png_encode(picture(64)), "g.png": imagecodecs.png_encode(grey)}


def dicom() -> Files:
    """Return a DICOM slide of two levels, as supplement 145 has it, its frames as JPEG."""
    full = picture(128)
    return {f"{level}.dcm": _instance(full[:: 2**level, :: 2**level], level) for level in range(2)}


def _instance(image: np.ndarray, number: int) -> bytes:
    uid, tile = "1.2.826.0.1.3680043.8.498.1", 64
    height, width, _ = image.shape
    frames = [
        imagecodecs.jpeg_encode(np.ascontiguousarray(image[y : y + tile, x : x + tile]), level=80)
        for y in range(0, height, tile)
        for x in range(0, width, tile)
    ]
    kind = f"{'ORIGINAL' if number == 0 else 'DERIVED'}\\PRIMARY\\VOLUME\\{'NONE' if number == 0 else 'RESAMPLED'}"
    storage, syntax = "1.2.840.10008.5.1.4.1.1.77.1.6", "1.2.840.10008.1.2.4.50"
    spacing = 0.0005 * 2**number
    measures = _element(0x0028, 0x0030, "DS", f"{spacing}\\{spacing}") + _element(0x0018, 0x0050, "DS", "0.001")
    shared = _sequence(0x0028, 0x9110, measures)
    data = b"".join((
        _element(0x0008, 0x0008, "CS", kind), _element(0x0008, 0x0016, "UI", storage),
        _element(0x0008, 0x0018, "UI", f"{uid}.{number + 1}"), _element(0x0008, 0x0060, "CS", "SM"),
        _element(0x0020, 0x000D, "UI", f"{uid}.90"), _element(0x0020, 0x000E, "UI", f"{uid}.91"),
        _element(0x0020, 0x0013, "IS", str(number + 1)), _element(0x0020, 0x0052, "UI", f"{uid}.92"),
        _element(0x0020, 0x9311, "CS", "TILED_FULL"), _element(0x0028, 0x0002, "US", 3),
        _element(0x0028, 0x0004, "CS", "YBR_FULL_422"), _element(0x0028, 0x0006, "US", 0),
        _element(0x0028, 0x0008, "IS", str(len(frames))), _element(0x0028, 0x0010, "US", tile),
        _element(0x0028, 0x0011, "US", tile), _element(0x0028, 0x0100, "US", 8), _element(0x0028, 0x0101, "US", 8),
        _element(0x0028, 0x0102, "US", 7), _element(0x0028, 0x0103, "US", 0),
        _element(0x0048, 0x0006, "UL", width), _element(0x0048, 0x0007, "UL", height),
        _element(0x0048, 0x0302, "UL", 1), _element(0x0048, 0x0303, "UL", 1),
        _sequence(0x5200, 0x9229, shared),
    ))  # fmt: skip
    offsets = np.cumsum([0] + [8 + len(frame) + len(frame) % 2 for frame in frames[:-1]]).astype("<u4").tobytes()
    items = b"".join(_item(part + b"\0" * (len(part) % 2)) for part in (offsets, *frames))
    pixels = (
        struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 2**32 - 1) + items + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    )
    meta = b"".join((
        _element(0x0002, 0x0002, "UI", storage), _element(0x0002, 0x0003, "UI", f"{uid}.{number + 1}"),
        _element(0x0002, 0x0010, "UI", syntax), _element(0x0002, 0x0012, "UI", uid),
    ))  # fmt: skip
    return bytes(128) + b"DICM" + _element(0x0002, 0x0000, "UL", len(meta)) + meta + data + pixels


def _item(content: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


def _sequence(group: int, element: int, content: bytes) -> bytes:
    item = _item(content)
    return struct.pack("<HH2sHI", group, element, b"SQ", 0, len(item)) + item


def _element(group: int, element: int, kind: str, value: str | int) -> bytes:
    if isinstance(value, int):
        content = value.to_bytes(2 if kind == "US" else 4, "little")
    else:
        content = value.encode() + (b"\0" if kind == "UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", group, element, kind.encode(), len(content)) + content


def ome_zarr() -> Files:
    """Return a picture as OME-Zarr 0.5 and one as 0.4, of two levels each."""
    import tempfile

    import zarr

    full = picture(128)
    with tempfile.TemporaryDirectory() as folder:
        for version in (2, 3):
            group = zarr.open_group(Path(folder) / f"{version}.zarr", mode="w", zarr_format=version)
            for level in range(2):
                values = full[:: 2**level, :: 2**level].transpose(2, 0, 1)
                group.create_array(str(level), data=np.ascontiguousarray(values), chunks=(3, 64, 64))
            sizes = [[{"type": "scale", "scale": [1.0, 0.5 * 2**level, 0.5 * 2**level]}] for level in range(2)]
            about = {
                "axes": [
                    {"name": "c", "type": "channel"},
                    *({"name": n, "type": "space", "unit": "micrometer"} for n in "yx"),
                ],
                "datasets": [{"path": str(i), "coordinateTransformations": size} for i, size in enumerate(sizes)],
            }
            group.attrs.update({"multiscales": [about]} if version == 2 else {"ome": {"multiscales": [about]}})
        return all_files(Path(folder))


def checkpoint() -> Files:
    """Return a checkpoint with random weights and a bank of two sections, with thumbnails, and a prediction of it."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        make_checkpoint(Path(folder))
        inputs = ("a.tif", "a.h5ad", "t.h5")
        return {name: content for name, content in all_files(Path(folder)).items() if name not in inputs}


def all_files(folder: Path) -> Files:
    """Return all that is in a folder."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def make_checkpoint(folder: Path) -> None:
    """Write ``m.cmrcnet``, the section ``a.tif`` and ``a.h5ad``, and its prediction ``p.h5ad`` into a folder."""
    import torch

    from napari_cmrcnet.common.progress import finish
    from napari_cmrcnet.model.cmrcnet import CMRCNet
    from napari_cmrcnet.model.config import preset
    from napari_cmrcnet.retrieval.build_bank import build_bank
    from napari_cmrcnet.retrieval.card import Card
    from napari_cmrcnet.retrieval.checkpoint import Checkpoint
    from napari_cmrcnet.retrieval.predict import predict
    from napari_cmrcnet.retrieval.predict_config import PredictConfig
    from napari_cmrcnet.retrieval.protocol import Preprocessing
    from napari_cmrcnet.retrieval.thumbnails import write_thumbnails
    from napari_cmrcnet.sections.panels import Panel
    from napari_cmrcnet.sections.section import open_section
    from napari_cmrcnet.slides.patches import PatchSpec

    tifffile.imwrite(folder / "a.tif", picture(), tile=(64, 64), photometric="rgb", compression="zlib")
    spots().write_h5ad(folder / "a.h5ad")
    genes = tuple(f"GENE{i}" for i in range(0, GENES, 2))
    torch.manual_seed(0)
    config = preset("tiny", len(genes), image_size=32, patch_size=16, embedding_dim=8)
    section = open_section(folder / "a.tif", folder / "a.h5ad", name="A", patient="P1", mpp=1.0)
    with section.slide:
        model = CMRCNet(config).eval()
        card = Card(
            model=config,
            genes=genes,
            sections=("A",),
            patients=("P1",),
            seed=0,
            epochs=1,
            preprocessing=Preprocessing(patch=PatchSpec(32, 1.0)),
            panel=Panel("two genes", ("GENE3", "GENE4")),
            variable_genes=genes[:3],
            similarity_floor=0.1,
        )
        patches = [picture(64)[None, y : y + 16, x : x + 16] for y in range(0, 64, 16) for x in range(0, 64, 16)]
        finish(write_thumbnails(folder / "t.h5", patches, SPOTS))
        bank = build_bank(model, [section], genes)
        made = Checkpoint(card, model, bank, thumbnail_file=folder / "t.h5").save(folder / "m.cmrcnet")
        finish(predict(section, made, PredictConfig(k=3, device="cpu"))).save(folder / "p.h5ad")
