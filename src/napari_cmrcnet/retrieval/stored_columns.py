"""A large bank's expression, left in its file: a gene is read when it is asked for."""

from collections.abc import Sequence
from copy import copy
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.common.hdf5_checks import bytes_of
from napari_cmrcnet.sections.expression import rescaled

LARGE = 2**30  # bytes of expression: as much is read into memory at most
READ_AHEAD = 2**24  # bytes of a file kept unpacked: genes that follow each other share blocks of it
AGAIN = "open the checkpoint again"


class StoredColumns:
    """A CSC matrix in an HDF5 file: of ``scipy.sparse.csc_matrix`` what averages over columns need.

    Rows are compared with the number of spots each time they are read: compiled code believes them, and a file may be
    changed while it is open.

    Parameters
    ----------
    path : path
        An h5ad file that `check_hdf5` has let pass, and whose ``X`` is in CSC.
    """

    format = "csc"

    def __init__(self, path: Path) -> None:
        self.path, self.group = path, h5py.File(path, "r", rdcc_nbytes=READ_AHEAD)["X"]
        rows, columns = map(int, self.group.attrs["shape"])
        self.shape = rows, columns
        self.indptr: NDArray[np.int64] = self.group["indptr"][:].astype(np.int64)
        self.dtype = self.group["data"].dtype
        self.factors: NDArray[np.float64] | None = None

    def __getitem__(self, key: tuple[slice, slice | Sequence[int]]) -> sparse.csc_matrix:
        """Return some columns of all rows, in memory."""
        columns = np.arange(self.shape[1])[key[1]]
        runs = np.split(columns, np.flatnonzero(np.diff(columns) != 1) + 1)  # each is read at once
        entries = [slice(self.indptr[run[0]], self.indptr[run[-1] + 1]) for run in runs]
        with readable(self.path, "cannot be read any more", AGAIN):
            data, rows = (np.concatenate([self.group[name][part] for part in entries]) for name in ("data", "indices"))
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < self.shape[0]:
            raise UserError(f"{self.path} was changed while it was open; {AGAIN}.")
        if self.factors is not None:
            data = rescaled(data, self.factors[rows])
        ends = np.cumsum([0, *(self.indptr[columns + 1] - self.indptr[columns])])
        return sparse.csc_matrix((data, rows, ends), shape=(self.shape[0], len(columns)))

    def rescaled(self, factors: NDArray[np.float64]) -> "StoredColumns":
        """Return the matrix with the totals of its spots divided by factors, (rows,), when they are read."""
        new = copy(self)
        new.factors = factors if self.factors is None else self.factors * factors
        return new


def left_in_file(path: Path) -> StoredColumns | None:
    """Return the expression of a bank's checked file where it is too large to be read whole; else None."""
    with readable(path, "is not a bank", "get the checkpoint again"):
        with h5py.File(path, "r") as file:
            x = file.get("X")
            sparse_columns = isinstance(x, h5py.Group) and x.attrs.get("encoding-type") == "csc_matrix"
            if not sparse_columns or bytes_of(x) <= LARGE:
                return None
        return StoredColumns(path)
