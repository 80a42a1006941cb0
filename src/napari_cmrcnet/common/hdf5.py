"""HDF5 and h5ad files: those from outside read once they are checked, and all written whole or not at all."""

import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from napari_cmrcnet.common.errors import readable
from napari_cmrcnet.common.files import atomic_file
from napari_cmrcnet.common.hdf5_checks import bytes_of, check_hdf5, check_memory

if TYPE_CHECKING:
    from anndata import AnnData


PACKED = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
"""The fastest of gzip's levels; bytes of like places beside each other take half the time, and a fifth less room."""
UNUSED = ("obsp", "varp", "varm")  # parts of an AnnData that nothing here reads, and that may be huge
USED_UNS = ("spatial", "cmrcnet")


def read_h5ad(path: str | os.PathLike[str], without: Sequence[str] = ()) -> "AnnData":
    """Read a checked h5ad file into memory, without what nothing here uses: graphs, images, other tools' notes.

    Parameters
    ----------
    path : path
        The file.
    without : sequence of str
        Other parts that are left out, such as ``"X"``.

    Raises
    ------
    UserError
        As `check_hdf5`, if it would not fit into the memory, or if the content is not an AnnData.
    """
    import anndata

    check_hdf5(path)
    with readable(path, "is not a readable h5ad file", "write it again with anndata"):
        with h5py.File(path, "r") as file:
            if file.attrs.get("encoding-type") == "anndata":
                return read_parts(Path(path), file, without)
        return anndata.read_h5ad(path)  # of anndata before 0.7


def read_parts(path: Path, file: Any, without: Sequence[str] = ()) -> "AnnData":
    """Read an AnnData from a checked file of HDF5 or group of zarr, as `read_h5ad` does; ``path`` is for messages."""
    from anndata import AnnData
    from anndata.io import read_elem

    names = [name for name in file if name not in (*UNUSED, "uns", *without)]
    uns = file.get("uns", {})
    chosen = [*(file[name] for name in names), *(uns[name] for name in USED_UNS if name in uns)]
    check_memory(str(path), sum(map(bytes_of, chosen)))
    table = AnnData(**{name: with_scipys_indices(read_elem(file[name])) for name in names})
    for name in [name for name, layer in table.layers.items() if layer.ndim != 2]:
        del table.layers[name]  # anndata takes it; no table of spots and genes can be made of it
    for name in USED_UNS:
        if name in uns:
            table.uns[name] = _without_images(uns[name])
    return table


def with_scipys_indices(item: Any) -> Any:
    """Return a part of an AnnData with the indices of its sparse matrices as SciPy has them.

    Other languages write unsigned or mixed ones. They are read, and no product can then be taken.
    """
    from anndata import AnnData
    from scipy import sparse

    if isinstance(item, AnnData):  # raw
        item.X = with_scipys_indices(item.X)
        return item
    if isinstance(item, dict):
        return {name: with_scipys_indices(part) for name, part in item.items()}
    if not sparse.issparse(item) or item.format not in ("csr", "csc"):
        return item
    return type(item)((item.data, item.indices, item.indptr), shape=item.shape)


def _without_images(item: Any) -> Any:
    """Read a part of ``uns``; of the libraries in it, all but their pictures."""
    from anndata.io import read_elem

    if hasattr(item, "dtype") or item.attrs.get("encoding-type", "dict") != "dict":
        return read_elem(item)
    return {name: _without_images(item[name]) for name in item if name != "images"}


def write_h5ad(path: str | os.PathLike[str], table: "AnnData", packed: Mapping[str, Any] = PACKED) -> None:
    """Write an h5ad file, whole or not at all.

    Parameters
    ----------
    path : path
        The file.
    table : AnnData
        What to write; its text columns become categories, as in `AnnData.write_h5ad`.
    packed : mapping
        How h5py is to pack it.

    Raises
    ------
    UserError
        If the file cannot be written. Nothing is left behind.
    """
    from anndata.experimental import write_dispatched

    def write(function: Callable[..., None], group: Any, name: str, part: Any, **_: Any) -> None:
        function(group, name, part, dataset_kwargs={} if isinstance(part, str) else packed)

    table.strings_to_categoricals()
    with hdf5_file(path) as (file, check):
        write_dispatched(file, "/", table, write)
        check()


@contextmanager
def hdf5_file(path: str | os.PathLike[str]) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """Write an HDF5 file, whole or not at all.

    HDF5 that meets a full disk cannot close the file, and says so on standard error whenever Python collects what is
    left of it. So it is not told: the error is kept, and raised by the function that comes with the file.

    Parameters
    ----------
    path : path
        The file.

    Yields
    ------
    h5py.File
        Open for writing.
    callable
        Raises the error that writing has met; call it from time to time, so that a long job ends early.

    Raises
    ------
    UserError
        If the file cannot be written. Nothing is left behind.
    """
    with atomic_file(path) as temporary, _Patient(temporary, "w+") as stream:
        with h5py.File(stream, "w") as file:
            yield file, stream.check
        stream.check()


class _Patient(io.FileIO):
    """A file whose errors of writing are kept for later; after one, nothing more is written."""

    _error: OSError | None = None

    def check(self) -> None:
        if self._error is not None:
            raise self._error

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while rest and self._error is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self._error = error
        return size

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        read = super().readinto(view)
        view[read:] = bytes(len(view) - read)  # beyond the end is what an error kept from being written
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self._error = self._error or error
            return size or 0
