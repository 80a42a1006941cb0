"""HDF5 and h5ad files from outside: checked before anything is read from them.

HDF5 can store a dataset's bytes in another file of the machine (external storage, external links, virtual
datasets), so a hostile file could copy what the user can read into its own content. Such files are refused.
"""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from napari_cmrcnet.common.errors import UserError, cannot_read, first_line
from napari_cmrcnet.common.files import atomic_file

if TYPE_CHECKING:
    from anndata import AnnData


def check_hdf5(path: str | os.PathLike[str]) -> None:
    """Refuse a file that is not HDF5, is cut short, or reaches into other files.

    Parameters
    ----------
    path : path
        The file.

    Raises
    ------
    UserError
        If the file is missing, empty, not HDF5, truncated, or has external storage, external links or
        virtual datasets.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist; check the path.")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty; copy or download it again.")
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise cannot_read(path, error, "") from error
    if not h5py.is_hdf5(path):
        raise UserError(f"{path} is not an HDF5 file (.h5ad, .h5); check that it is the right file.")
    try:
        with h5py.File(path, "r") as file:
            _check_group(path, file, set())
    except (OSError, RuntimeError, KeyError) as error:
        damaged = f"{path} is damaged or cut short ({first_line(error)}); copy or download it again."
        raise cannot_read(path, error, damaged) from error


def _check_group(path: Path, group: h5py.Group, seen: set[int]) -> None:
    """Check what a group holds; each object once, as links may lead to one object in ever so many ways."""
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise UserError(f"{path} links to other places ({group.name}/{name}), which is not safe to follow.")
        item = group[name]
        address = h5py.h5o.get_info(item.id).addr
        if address in seen:
            continue
        seen.add(address)
        if isinstance(item, h5py.Group):
            _check_group(path, item, seen)
        elif isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
            raise UserError(f"{path} stores {item.name} in other files, which is not safe to read.")


def read_h5ad(path: str | os.PathLike[str]) -> "AnnData":
    """Read a checked h5ad file into memory.

    Raises
    ------
    UserError
        As `check_hdf5`, or if the content is not an AnnData.
    """
    import anndata

    check_hdf5(path)
    try:
        return anndata.read_h5ad(path)
    except Exception as error:
        unreadable = f"{path} is not a readable h5ad file ({first_line(error)}); write it again with anndata."
        raise cannot_read(path, error, unreadable) from error


def write_h5ad(path: str | os.PathLike[str], table: "AnnData") -> None:
    """Write an h5ad file, whole or not at all.

    Parameters
    ----------
    path : path
        The file.
    table : AnnData
        What to write; its text columns become categories, as in `AnnData.write_h5ad`.

    Raises
    ------
    UserError
        If the file cannot be written. Nothing is left behind.
    """
    from anndata.io import write_elem

    table.strings_to_categoricals()
    with hdf5_file(path) as (file, check):
        write_elem(file, "/", table, dataset_kwargs={"compression": "gzip"})
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
    with atomic_file(path) as temporary, open(temporary, "w+b", buffering=0) as raw:
        stream = _Patient(raw)
        with h5py.File(stream, "w") as file:
            yield file, stream.check
        stream.check()


class _Patient(io.RawIOBase):
    """A file whose errors of writing are kept for later; after one, nothing more is written."""

    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw
        self._error: OSError | None = None

    def check(self) -> None:
        if self._error is not None:
            raise self._error

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while rest and self._error is None:
                rest = rest[self._raw.write(rest) :]
        except OSError as error:
            self._error = error
        return size

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        read = self._raw.readinto(view)
        view[read:] = bytes(len(view) - read)  # beyond the end is what an error kept from being written
        return len(view)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        return self._raw.tell()

    def truncate(self, size: int | None = None) -> int:
        try:
            return self._raw.truncate(size)
        except OSError as error:
            self._error = self._error or error
            return size or 0
