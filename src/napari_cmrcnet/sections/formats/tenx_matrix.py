"""The count matrices of 10x Genomics: HDF5, and Matrix Market with barcodes and features beside it."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.common.hdf5_checks import check_hdf5
from napari_cmrcnet.common.text import open_packed

_MTX = "matrix.mtx"


def read_matrix(path: Path) -> tuple[AnnData, dict[str, Any]]:
    """Read counts of all features.

    Parameters
    ----------
    path : Path
        ``*_feature_bc_matrix.h5``, ``cell_feature_matrix.h5``, or ``matrix.mtx``, packed or not.

    Returns
    -------
    AnnData
        Barcodes × features, CSR; ``var["gene_ids"]``, and ``var["feature_types"]`` where they are told.
    dict
        Attributes of the HDF5 file; empty for Matrix Market.

    Raises
    ------
    UserError
        If a file is missing or damaged, or they do not fit each other.
    """
    if path.suffix == ".h5":
        check_hdf5(path)
    with readable(path, "is not a readable count matrix of 10x Genomics"):
        return _read_h5(path) if path.suffix == ".h5" else (_read_mtx(path), {})


def _read_h5(path: Path) -> tuple[AnnData, dict[str, Any]]:
    """Read a matrix of Cell Ranger 3 and later: features × barcodes by columns, which are barcodes × features by rows.

    Not through scanpy, whose import and whose copies take longer than the reading.
    """
    with h5py.File(path, "r") as file:
        attributes = {name: value for name, value in file.attrs.items() if np.ndim(value) == 0}
        group = file["matrix"]
        features, barcodes = group["features"], _names(group["barcodes"])
        var = pd.DataFrame({"gene_ids": _names(features["id"])}, index=pd.Index(_names(features["name"])))
        if "feature_type" in features:
            var["feature_types"] = _names(features["feature_type"])
        shape = (len(barcodes), len(var))
        if tuple(group["shape"][:])[::-1] != shape:
            raise ValueError(f"its matrix has the shape {tuple(group['shape'][:])}, its names {shape[::-1]}")
        entries = len(group["data"])
        whole = np.int32 if max(entries, *shape) <= np.iinfo(np.int32).max else np.int64
        parts = group["data"][:], group["indices"].astype(whole)[:], group["indptr"].astype(whole)[:]
    return AnnData(
        sparse.csr_matrix(parts, shape=shape), obs=pd.DataFrame(index=pd.Index(barcodes)), var=var
    ), attributes


def _names(texts: h5py.Dataset) -> list[str]:
    return [text.decode("utf-8") if isinstance(text, bytes) else str(text) for text in texts[:].tolist()]


def _read_mtx(path: Path) -> AnnData:
    barcodes = _table(_beside(path, "barcodes.tsv"))
    features = _table(_beside(path, "features.tsv", "genes.tsv"))
    counts = _entries(path, (len(features), len(barcodes)))
    var = pd.DataFrame({"gene_ids": features[0].to_numpy()}, index=pd.Index(features[min(1, features.shape[1] - 1)]))
    if features.shape[1] > 2:
        var["feature_types"] = features[2].to_numpy()
    var.index.name = None
    return AnnData(counts, obs=pd.DataFrame(index=pd.Index(barcodes[0], name=None)), var=var)


def _entries(path: Path, shape: tuple[int, int]) -> sparse.csr_matrix:
    """Read the entries of a matrix, features × barcodes, into barcodes × features.

    By pandas: the parser of ``scipy.io.mmread`` (1.16) ends the process on some damaged files.
    """
    with open_packed(path) as stream:
        if not stream.readline(1000).lower().startswith(b"%%matrixmarket matrix coordinate"):
            raise UserError(f"{path} is not a sparse matrix of the Matrix Market format (.mtx); copy it again.")
        table = pd.read_csv(
            stream, sep=r"\s+", comment="%", header=None, names=["row", "column", "count"], dtype=np.float64
        )
    values = table.to_numpy()
    if not len(values):
        raise UserError(f"{path} ends before the line of its sizes; copy it again.")
    (n_rows, n_columns, entries), (rows, columns, counts) = values[0], values[1:].T  # after the line of sizes
    if (n_rows, n_columns) != shape:
        raise UserError(
            f"{path} has {n_rows:,.0f} features and {n_columns:,.0f} barcodes, but the files beside it list "
            f"{shape[0]:,} and {shape[1]:,}; take all three from one folder."
        )
    if len(counts) != entries:
        raise UserError(f"{path} has {len(counts):,} of {entries:,.0f} entries; copy it again.")
    inside = (rows >= 1) & (rows <= shape[0]) & (columns >= 1) & (columns <= shape[1])
    if not inside.all() or not np.isfinite(counts).all() or (rows % 1).any() or (columns % 1).any():
        raise UserError(f"{path} has entries outside the matrix, or that are not numbers; copy it again.")
    places = columns.astype(np.int64) - 1, rows.astype(np.int64) - 1
    return sparse.csr_matrix((counts, places), shape=shape[::-1])


def _beside(matrix: Path, *names: str) -> Path:
    """Return the file of one of these names, with the matrix's prefix or without, packed or not."""
    prefix = matrix.name.partition(_MTX)[0]
    for start in dict.fromkeys((prefix, "")):
        for name in names:
            for ending in ("", ".gz"):
                if (found := matrix.with_name(f"{start}{name}{ending}")).is_file():
                    return found
    raise UserError(f"{matrix} needs {prefix}{names[0]} (or .gz) beside it; copy it there.")


def _table(path: Path) -> pd.DataFrame:
    """Return the columns of a list without a header, as texts."""
    with readable(path, "is not a readable list", "copy it again"), open_packed(path) as stream:
        return pd.read_csv(
            stream, sep="\t", header=None, dtype=str, keep_default_na=False, quoting=3, encoding="utf-8-sig"
        )
