"""A large bank's expression, left in its file: a gene is read when it is asked for."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """A CSC matrix in an HDF5 file: of ``scipy.sparse.csc_matrix`` what averages over columns read.

    Its values and rows are read by slices, and the rows are compared with the number of spots each time: compiled code
    believes them, and a file may be changed while it is open.

    Parameters
    ----------
    path : path
        An h5ad file that `check_hdf5` has let pass, and whose ``X`` is in CSC.
    """

    format = "csc"

    def __init__(self, path: Path) -> None:
        group = h5py.File(path, "r", rdcc_nbytes=READ_AHEAD)["X"]
        rows, columns = map(int, group.attrs["shape"])
        self.shape = rows, columns
        self.indptr: NDArray[np.int64] = group["indptr"][:].astype(np.int64)
        self.data: _Slices | _Rescaled = _Slices(path, group["data"])
        self.indices = _Slices(path, group["indices"], rows)
        self.dtype = group["data"].dtype

    def __getitem__(self, key: tuple[slice, Sequence[int]]) -> sparse.csc_matrix:
        """Return some columns of all rows, in memory."""
        entries = [slice(self.indptr[column], self.indptr[column + 1]) for column in key[1]]
        parts = (np.concatenate([part[entry] for entry in entries]) for part in (self.data, self.indices))
        ends = np.cumsum([0, *(entry.stop - entry.start for entry in entries)])
        return sparse.csc_matrix((*parts, ends), shape=(self.shape[0], len(entries)))

    def rescaled(self, factors: NDArray[np.float64]) -> "StoredColumns":
        """Return the matrix with the totals of its spots divided by factors, (rows,), when they are read."""
        new = copy(self)
        new.data = _Rescaled(self.data, self.indices, factors)
        return new


class _Slices:
    """A list of numbers in a file; those that are rows are below a limit."""

    def __init__(self, path: Path, stored: h5py.Dataset, limit: int | None = None) -> None:
        self.path, self.stored, self.limit = path, stored, limit

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, entries: slice) -> NDArray[Any]:
        with readable(self.path, "cannot be read any more", AGAIN):
            values: NDArray[Any] = self.stored[entries]
        if self.limit is None or not len(values):
            return values
        if not 0 <= int(values.min()) <= int(values.max()) < self.limit:
            raise UserError(f"{self.path} was changed while it was open; {AGAIN}.")
        return values.astype(np.int32, copy=False)


@dataclass(frozen=True, eq=False)
class _Rescaled:
    """Values whose spots have other totals, see `rescaled`."""

    data: "_Slices | _Rescaled"
    rows: _Slices
    factors: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, entries: slice) -> NDArray[Any]:
        return rescaled(self.data[entries], self.factors[self.rows[entries]])


def left_in_file(path: Path) -> StoredColumns | None:
    """Return the expression of a bank's checked file where it is too large to be read whole; else None."""
    with readable(path, "is not a bank", "get the checkpoint again"):
        with h5py.File(path, "r") as file:
            x = file.get("X")
            sparse_columns = isinstance(x, h5py.Group) and x.attrs.get("encoding-type") == "csc_matrix"
            if not sparse_columns or bytes_of(x) <= LARGE:
                return None
        return StoredColumns(path)
