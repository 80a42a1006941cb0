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
import numpy as np

from napari_cmrcnet.common.errors import UserError, cannot_read, first_line
from napari_cmrcnet.common.files import atomic_file, size_text

if TYPE_CHECKING:
    from anndata import AnnData


MAX_EXPANSION = 2000  # bytes of a dataset for one in the file: the packing that h5ad files use ends at about 1,000
SMALL = 2**24  # bytes of a dataset that needs no such check
INDICES_AT_ONCE = 2**23
UNUSED = ("obsp", "varp", "varm")  # parts of an AnnData that nothing here reads, and that may be huge
USED_UNS = ("spatial", "cmrcnet")


def check_hdf5(path: str | os.PathLike[str]) -> None:
    """Refuse a file that is not HDF5, is cut short, reaches into other files, or whose numbers must not be trusted.

    Compiled code believes the indices of a sparse matrix: one that points outside reads or writes foreign memory. And
    HDF5 makes up what a file does not store, so that a few kilobytes may claim to be gigabytes.

    Parameters
    ----------
    path : path
        The file.

    Raises
    ------
    UserError
        If the file is missing, empty, not HDF5, truncated, or has external storage, external links, virtual
        datasets, datasets that it does not store, or sparse matrices whose indices point outside.
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
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
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
            if problem := _sparse_problem(item):
                raise UserError(f"{path} holds a damaged sparse matrix, {item.name}: {problem}; write it again.")
        elif isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise UserError(f"{path} stores {item.name} in other files, which is not safe to read.")
            claimed, stored = _bytes_of(item), item.id.get_storage_size()
            if claimed > max(SMALL, MAX_EXPANSION * stored):
                raise UserError(
                    f"{path} claims {size_text(claimed)} of {item.name}, but stores {stored:,} bytes of it; it is "
                    "damaged: write it again."
                )


def _sparse_problem(group: h5py.Group) -> str | None:
    """Say what is wrong with a compressed sparse matrix, as h5ad and 10x files hold it; None for any other group."""
    parts = [group.get(name) for name in ("indptr", "indices", "data")]
    stated = group.attrs.get("shape", group.attrs.get("h5sparse_shape"))
    shape = stated if stated is not None else group.get("shape")
    if shape is None or not all(isinstance(part, h5py.Dataset) for part in parts):
        return None
    indptr, indices, data = parts
    sides = [int(side) for side in shape[:]] if np.ndim(shape) == 1 and len(shape) == 2 else []
    whole = all(part.ndim == 1 and part.dtype.kind in "iu" for part in (indptr, indices)) and data.ndim == 1
    if len(sides) != 2 or min(sides) < 0 or not whole:
        return "it is not made of lists of numbers"
    by_row = "csr" in str(group.attrs.get("encoding-type", group.attrs.get("h5sparse_format", "csc")))
    rows, columns = sides if by_row else sides[::-1]
    if len(indptr) != rows + 1 or len(data) != len(indices):
        return "its parts are of different lengths"
    starts = indptr[:].astype(np.int64)
    if starts[0] != 0 or starts[-1] != len(indices) or (np.diff(starts) < 0).any():
        return "its rows do not follow each other"
    for start in range(0, len(indices), INDICES_AT_ONCE):
        some = indices[start : start + INDICES_AT_ONCE]
        if not 0 <= int(some.min()) <= int(some.max()) < columns:
            return "its indices point outside"
    return None


def read_h5ad(path: str | os.PathLike[str]) -> "AnnData":
    """Read a checked h5ad file into memory, without what nothing here uses: graphs, images, other tools' notes.

    Raises
    ------
    UserError
        As `check_hdf5`, if it would not fit into the memory, or if the content is not an AnnData.
    """
    import anndata

    check_hdf5(path)
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("encoding-type") == "anndata":
                return _read_parts(Path(path), file)
        return anndata.read_h5ad(path)  # of anndata before 0.7
    except UserError:
        raise
    except Exception as error:
        unreadable = f"{path} is not a readable h5ad file ({first_line(error)}); write it again with anndata."
        raise cannot_read(path, error, unreadable) from error


def _read_parts(path: Path, file: h5py.File) -> "AnnData":
    from anndata import AnnData
    from anndata.io import read_elem

    names = [name for name in file if name not in (*UNUSED, "uns")]
    uns = file.get("uns", {})
    chosen = [*(file[name] for name in names), *(uns[name] for name in USED_UNS if name in uns)]
    needed, memory = sum(map(_bytes_of, chosen)), _memory()
    if memory and needed > memory:
        raise UserError(
            f"{path} takes {size_text(needed)} of memory, and this machine has {size_text(memory)}; open it on a "
            "larger one, or leave spots or genes out."
        )
    table = AnnData(**{name: read_elem(file[name]) for name in names})
    for name in USED_UNS:
        if name in uns:
            table.uns[name] = _without_images(uns[name])
    return table


def _without_images(item: Any) -> Any:
    """Read a part of ``uns``; of the libraries in it, all but their pictures."""
    from anndata.io import read_elem

    if not isinstance(item, h5py.Group) or item.attrs.get("encoding-type", "dict") != "dict":
        return read_elem(item)
    return {name: _without_images(item[name]) for name in item if name != "images"}


def _bytes_of(item: Any) -> int:
    if isinstance(item, h5py.Dataset):
        return int(item.size or 0) * int(item.dtype.itemsize)
    return sum(_bytes_of(item[name]) for name in item if name != "images")


def _memory() -> int:
    """Return the machine's bytes of memory, 0 where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


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
