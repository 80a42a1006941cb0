"""Tables of predicted values that other tools write: h5ad, zarr, CSV, TSV or parquet, spots × genes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from numpy.typing import NDArray
from scipy import sparse

from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.common.hdf5 import with_scipys_indices
from napari_cmrcnet.common.hdf5_checks import bytes_of, check_hdf5, check_memory
from napari_cmrcnet.common.parquet import read_matrix
from napari_cmrcnet.common.spatialdata_store import attributes, tables_of
from napari_cmrcnet.common.suffixes import ends_in
from napari_cmrcnet.common.text import count_text, read_text, size_text
from napari_cmrcnet.retrieval.prediction_checks import no_checkpoint
from napari_cmrcnet.sections.formats.spatialdata_zarr import open_table

H5AD, TEXTS = ".h5ad", (".csv", ".tsv")
KNOWN = (H5AD, *TEXTS, ".parquet")
NAMES_IN_UNS = ("{}", "{}_names", "{}_genes", "{}_columns", "{}_var_names")
"""Under what ``uns`` may hold the names of the columns of a matrix in ``obsm``."""
SAYS_SO = "pred"  # in the name of a matrix


@dataclass(frozen=True, eq=False)
class ExternalTable:
    """Predicted values as a file has them.

    Parameters
    ----------
    values : float32 (n, g)
        As they are there.
    spots : Index
        Names of the rows.
    genes : DataFrame
        One row per column, by its name, with what else is known of it.
    xy : float64 (n, 2), optional
        Positions of the rows, where the file has them.
    """

    values: NDArray[np.float32]
    spots: pd.Index
    genes: pd.DataFrame
    xy: NDArray[np.float64] | None = None


def predicted_in(path: Path) -> list[str]:
    """Return the matrices of an h5ad file whose names say that they are predicted; none of a store."""
    import h5py

    if path.is_dir():
        return []
    check_hdf5(path)
    with h5py.File(path, "r") as file:
        return _telling(list(_matrices(file)))


def read_table(path: Path, layer: str = "") -> ExternalTable:
    """Read a table of predicted values.

    Parameters
    ----------
    path : Path
        h5ad, an AnnData or SpatialData zarr (its only table, or ``STORE/tables/NAME``), or a table of numbers whose
        rows are named: CSV, TSV or parquet.
    layer : str
        Of an AnnData which matrix: ``X``, or the name of one in ``layers`` or ``obsm``; ``""`` takes the only one, or
        the only one whose name says that it is predicted.

    Raises
    ------
    UserError
        If the file is of another kind, damaged, has no such matrix or several, or too large.
    """
    no_checkpoint(path)
    if path.is_dir():
        return _read_zarr(path, layer)
    if not path.is_file():
        raise UserError(f"{path} does not exist; check the path.")
    if ends_in(path.name, (H5AD,)):
        return _read_h5ad(path, layer)
    if not ends_in(path.name, KNOWN):
        raise UserError(f"{path} is not a table of predicted values; give one that ends in {', '.join(KNOWN)}.")
    if layer:
        raise UserError(f"{path} holds one table only; leave the name of the matrix out.")
    return _read_flat(path)


def _read_flat(path: Path) -> ExternalTable:
    kind = "parquet" if ends_in(path.name, (".parquet",)) else "text"
    if kind == "text" and path.stat().st_size > (most := psutil.virtual_memory().total // 4):
        raise UserError(f"{path} is larger than {size_text(most)}, which this machine can read; write an .h5ad.")
    with readable(path, "is not a readable table", "write it again with one row per spot"):
        table = read_matrix(path) if kind == "parquet" else _read_text(path)
    if table.shape[1] == 0:
        raise UserError(
            f"{path} has no column of numbers beside the spots' names; write one row per spot, one column per gene."
        )
    odd = [str(name) for name in table.columns if not pd.api.types.is_numeric_dtype(table[name].dtype)]
    if odd:
        raise UserError(
            f"{path} has columns that are not numbers ({', '.join(odd[:3])}); write the spots' names first, then one "
            "column of numbers per gene."
        )
    genes = pd.DataFrame(index=pd.Index([str(name) for name in table.columns], dtype=object))
    return ExternalTable(table.to_numpy(np.float32), _texts(table.index), genes)


def _read_text(path: Path) -> pd.DataFrame:
    from io import StringIO

    text = read_text(path)
    separator = max(",;\t", key=text.partition("\n")[0].count)
    return pd.read_csv(StringIO(text), sep=separator, index_col=0, low_memory=False)


def _read_h5ad(path: Path, layer: str) -> ExternalTable:
    import h5py

    check_hdf5(path)
    with readable(path, "is not a readable h5ad file", "write it again with anndata"), h5py.File(path, "r") as file:
        return _read_anndata(path, file, layer)


def _read_zarr(path: Path, layer: str) -> ExternalTable:
    tables = [path] if attributes(path).get("encoding-type") == "anndata" else tables_of(path)
    if len(tables) != 1:
        held = ", ".join(str(table.relative_to(path)) for table in tables) or "no table"
        raise UserError(f"{path} holds {held}; give the folder of one table of AnnData.")
    with readable(path, "is not a readable table of AnnData", "write it again with anndata"):
        return _read_anndata(path, open_table(tables[0]), layer)


def _read_anndata(path: Path, file: Any, layer: str) -> ExternalTable:
    """Read an HDF5 file or zarr group that was checked."""
    from anndata.io import read_elem

    matrices = _matrices(file)
    name = _chosen(path, {name: genes for name, (_, genes, _) in matrices.items()}, layer)
    item, genes, names = matrices[name]
    spots = _texts(read_elem(file["obs"]).index)
    check_memory(f"{path}: {name}", bytes_of(item) + 4 * len(spots) * genes)
    var = read_elem(file["var"]) if names is None else pd.DataFrame(index=names)
    places = read_elem(file["obsm/spatial"]) if "obsm/spatial" in file else None
    values = _dense(path, name, read_elem(item), (len(spots), len(var)))
    return ExternalTable(values, spots, var, _positions(places))


def _matrices(file: Any) -> dict[str, tuple[Any, int, pd.Index | None]]:
    """Return the matrices of a file whose columns have names: as stored, how many genes, and names other than var's."""
    found: dict[str, tuple[Any, int, pd.Index | None]] = {}
    own = {"X": file["X"]} if "X" in file else {}
    for name, item in (own | _members(file, "layers")).items():
        if genes := _columns(item):
            found[name] = (item, genes, None)
    for name, item in _members(file, "obsm").items():
        if (names := _names_of(file, name, item)) is not None:
            found[name] = (item, len(names), names)
    return found


def _members(file: Any, name: str) -> dict[str, Any]:
    return {part: file[name][part] for part in file[name]} if name in file else {}


def _columns(item: Any) -> int:
    """Return how many columns a matrix has; 0 of what is none."""
    shape = item.attrs.get("shape", getattr(item, "shape", None))  # sparse matrices are groups
    return int(shape[1]) if shape is not None and len(shape) == 2 else 0


def _names_of(file: Any, name: str, item: Any) -> pd.Index | None:
    """Return the names of the columns of a matrix of ``obsm``: its own, or those that ``uns`` has for it."""
    from anndata.io import read_elem

    if item.attrs.get("encoding-type") == "dataframe":
        own = [str(column) for column in item.attrs.get("column-order", ())]
        return pd.Index(own, dtype=object) if own else None
    for key in (f"uns/{kind.format(name)}" for kind in NAMES_IN_UNS):
        if (columns := _columns(item)) and key in file and getattr(file[key], "shape", None) == (columns,):
            return _texts(read_elem(file[key]))
    return None


def _chosen(path: Path, matrices: Mapping[str, int], layer: str) -> str:
    """Return the name of the matrix that is asked for, or of the one that it must be."""
    listed = ", ".join(f"{name} ({count_text(genes, 'gene')})" for name, genes in matrices.items())
    if not matrices:
        raise UserError(f"{path} holds no matrix whose columns have names; write the prediction as X, genes in var.")
    if layer and layer not in matrices:
        raise UserError(f"{path} has no matrix {layer}; it has {listed}.")
    if layer:
        return layer
    for among in (list(matrices), _telling(list(matrices))):
        if len(among) == 1:
            return among[0]
    raise UserError(
        f"{path} was not written by predict. If another tool's prediction is in it, say in which of its matrices: "
        f"{listed}.",
        "layer",
        list(matrices),
    )


def _telling(names: list[str]) -> list[str]:
    """Return the matrices that their names call predicted: by themselves, or as the other one beside the measured."""
    said = [name for name in names if SAYS_SO in name.casefold()]
    return said or ([name for name in names if name != "measured"] if len(names) == 2 and "measured" in names else [])


def _dense(path: Path, name: str, values: Any, shape: tuple[int, int]) -> NDArray[np.float32]:
    if isinstance(values, pd.DataFrame):
        values = values.select_dtypes("number").to_numpy()
    if sparse.issparse(values) and values.shape == shape:  # else it would take memory that was not asked for
        values = with_scipys_indices(values)
        values.check_format(full_check=True)
        values = values.toarray()
    array = np.asarray(values)
    if array.dtype.kind not in "buif" or array.shape != shape:
        raise UserError(f"{path}: {name} is not a matrix of numbers with one row per spot and one column per gene.")
    return np.asarray(array, np.float32)


def _positions(places: Any) -> NDArray[np.float64] | None:
    array = np.asarray(places) if places is not None else np.empty(0)
    fit = array.ndim == 2 and array.shape[1:] == (2,) and array.dtype.kind in "iuf" and np.isfinite(array).all()
    return array.astype(np.float64) if fit else None


def _texts(names: Any) -> pd.Index:
    return pd.Index([str(name) for name in names], dtype=object)
