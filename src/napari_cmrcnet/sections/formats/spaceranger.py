"""The ``outs/`` folder of Space Ranger, version 1 to Visium HD's bins."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData

from napari_cmrcnet.common.errors import UserError, cannot_read, first_line
from napari_cmrcnet.common.hdf5_checks import check_hdf5
from napari_cmrcnet.common.text import parse_json
from napari_cmrcnet.sections.formats.origin import Origin, mapping, number, platform_of

POSITION_FILES = ("tissue_positions.parquet", "tissue_positions.csv", "tissue_positions_list.csv")
_MATRICES = tuple(f"{kind}_feature_bc_matrix{form}" for kind in ("filtered", "raw") for form in (".h5", ""))
_COLUMNS = {
    "in_tissue": int,
    "array_row": int,
    "array_col": int,
    "pxl_row_in_fullres": float,
    "pxl_col_in_fullres": float,
}
_DEFAULT_BIN = Path("binned_outputs", "square_016um")


def outs_folder(path: Path) -> Path | None:
    """Return the folder that holds matrix and ``spatial/``, if the path is or has one; None otherwise."""
    for folder in (path, path / "outs", path / _DEFAULT_BIN, path / "outs" / _DEFAULT_BIN):
        if any((folder / "spatial" / name).is_file() for name in POSITION_FILES):
            return folder
    return None


def read_spaceranger(path: Path) -> tuple[AnnData, Origin]:
    """Read a Space Ranger output folder: the filtered matrix (else the raw one) and the spots' positions.

    Raises
    ------
    UserError
        If a file is missing or damaged, or matrix and positions do not have the same barcodes.
    """
    folder = outs_folder(path)
    assert folder is not None, "the caller asked outs_folder"
    positions_path = next(p for name in POSITION_FILES if (p := folder / "spatial" / name).is_file())
    matrix_path = next((p for name in _MATRICES if (p := folder / name).exists()), None)
    if matrix_path is None:
        raise UserError(f"{folder} has no count matrix ({', '.join(_MATRICES)}); copy one beside spatial/.")
    positions = read_positions(positions_path)
    counts, attributes = _read_matrix(matrix_path)
    unknown = ~counts.obs_names.isin(positions.index)
    if unknown.any():
        raise UserError(
            f"{matrix_path} and {positions_path} do not match: {unknown.sum()} of {len(unknown)} barcodes have no "
            f"position (first: {counts.obs_names[unknown][0]}); take both from the same run."
        )
    scalefactors = _scalefactors(folder / "spatial" / "scalefactors_json.json")
    spots = _spots(counts, positions.loc[counts.obs_names], scalefactors)
    return spots, _origin(path, folder, positions_path, attributes, scalefactors)


def read_positions(path: Path) -> pd.DataFrame:
    """Read the positions of all spots of the array, indexed by barcode.

    ``tissue_positions_list.csv`` of version 1 has no header, files of that name with one exist too,
    ``tissue_positions.csv`` of version 2 has one, and Visium HD writes parquet.
    """
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        else:
            with path.open(encoding="utf-8-sig") as stream:
                header = "in_tissue" in stream.readline()
            names = None if header else ["barcode", *_COLUMNS]
            table = pd.read_csv(path, header=0 if header else None, names=names, encoding="utf-8-sig", index_col=False)
        table = table.set_index("barcode")[list(_COLUMNS)].astype(_COLUMNS)
    except Exception as error:  # pandas and pyarrow raise whatever the damaged part meets
        no_table = (
            f"{path} is not a table of spot positions (barcode, {', '.join(_COLUMNS)}); take it from Space Ranger."
        )
        raise cannot_read(path, error, no_table) from error
    table.index = table.index.astype(str)
    if not table.index.is_unique:
        raise UserError(f"{path} has a barcode twice ({table.index[table.index.duplicated()][0]}).")
    return table


def _read_matrix(path: Path) -> tuple[AnnData, dict[str, Any]]:
    """Return counts of all features (barcodes × features) and the attributes of the HDF5 file."""
    import scanpy

    if path.is_file():
        check_hdf5(path)
    attributes: dict[str, Any] = {}
    try:
        if path.is_file():
            with h5py.File(path, "r") as file:
                attributes = {name: value for name, value in file.attrs.items() if np.ndim(value) == 0}
            return scanpy.read_10x_h5(path, gex_only=False), attributes
        return scanpy.read_10x_mtx(path, make_unique=False, gex_only=False), attributes
    except Exception as error:  # scanpy raises whatever the damaged part meets
        unreadable = f"{path} is not a readable count matrix of Space Ranger ({first_line(error)})."
        raise cannot_read(path, error, unreadable) from error


def _scalefactors(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    try:
        content = mapping(parse_json(path.read_text("utf-8-sig")))
    except (OSError, ValueError) as error:
        unreadable = f"{path} is not readable JSON ({first_line(error)}); copy it again."
        raise cannot_read(path, error, unreadable) from error
    return {name: number(value) for name, value in content.items()}


def _spots(counts: AnnData, positions: pd.DataFrame, scalefactors: dict[str, float]) -> AnnData:
    obs = positions[["in_tissue", "array_row", "array_col"]]
    xy = positions[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy()
    return AnnData(
        X=counts.X,
        obs=obs,
        var=counts.var[[name for name in ("gene_ids", "feature_types") if name in counts.var]],
        obsm={"spatial": xy},
        uns={"spatial": {"Space Ranger": {"scalefactors": scalefactors, "metadata": {}}}},
    )


def _origin(
    path: Path, folder: Path, positions: Path, attributes: dict[str, Any], scalefactors: dict[str, float]
) -> Origin:
    software = str(attributes.get("software_version", ""))
    generation = "1" if positions.stem.endswith("_list") else "2"
    version = software.partition("-")[2] if software.startswith("spaceranger-") else generation
    mpp, bin_um = scalefactors.get("microns_per_pixel", 0.0), scalefactors.get("bin_size_um", 0.0)
    hd = bool(mpp or bin_um or positions.suffix == ".parquet")
    notes: tuple[str, ...] = ()
    if hd and folder.name == _DEFAULT_BIN.name and folder != path:
        notes = (f"Of Visium HD's bins those of 16 µm were read; give another folder of {folder.parent.name}.",)
    return Origin(
        source=f"Space Ranger {version}",
        path=path,
        platform="Visium HD" if hd else platform_of(str(attributes.get("chemistry_description", ""))) or "Visium",
        pitch_um=bin_um if hd else 0.0,
        given_mpp=mpp,
        given_mpp_source="Visium HD microns_per_pixel" if mpp else "",
        notes=notes,
    )
