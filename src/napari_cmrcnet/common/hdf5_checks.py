"""HDF5 files from outside: checked before anything is read from them.

HDF5 can store a dataset's bytes in another file of the machine (external storage, external links, virtual
datasets), so a hostile file could copy what the user can read into its own content. Such files are refused.
"""

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil

from napari_cmrcnet.common.errors import UserError, readable, undamaged
from napari_cmrcnet.common.hdf5_texts import check_texts, longest_text
from napari_cmrcnet.common.text import size_text

MAX_EXPANSION = 2000  # bytes of a dataset for one in the file: the packing that h5ad files use ends at about 1,000
SMALL = 2**24  # bytes of a dataset that needs no such check
INDICES_AT_ONCE = 2**23


def check_hdf5(path: str | os.PathLike[str]) -> None:
    """Refuse a file that is not HDF5, is cut short, reaches into other files, or whose numbers must not be trusted.

    Compiled code believes the indices of a sparse matrix: one that points outside reads or writes foreign memory. HDF5
    makes up what a file does not store, so that a few kilobytes may claim to be gigabytes. And where texts are stored,
    or the kind of an attribute, is damaged, the library itself never ends or ends the process.

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
    if path.is_dir():
        raise UserError(f"{path} is a folder; give an .h5ad or .h5 file.")
    if not path.is_file():
        raise UserError(f"{path} does not exist; check the path.")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty; copy or download it again.")
    with readable(path, "could not be read", errors=(OSError,)), open(path, "rb"):
        pass
    if not h5py.is_hdf5(path):
        raise UserError(f"{path} is not an HDF5 file (.h5ad, .h5); check that it is the right file.")
    about = path.stat()
    _check_content(path, about.st_ino, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=256)
def _check_content(path: Path, _inode: int, _size: int, _changed: int) -> None:
    """Check what a file holds; once in a process as long as the file stays as it is, as banks have gigabytes."""
    with undamaged(path):
        longest = longest_text(path)
        with h5py.File(path, "r") as file, open(path, "rb") as stream:
            base = file.userblock_size

            def check(item: Any) -> None:
                _check_kinds(path, item)
                check_texts(stream, item, longest, base)

            check(file)
            root = h5py.h5o.get_info(file.id).addr
            _check_group(path, file, {root}, {root}, check)


def _check_kinds(path: Path, item: Any) -> None:
    """Refuse lists of varying length other than texts: nothing of ours has them, and HDF5 trusts what they claim."""
    attributes = (h5py.h5a.open(item.id, index=index) for index in range(h5py.h5a.get_num_attrs(item.id)))
    for part in (*attributes, *((item.id,) if isinstance(item, h5py.Dataset) else ())):
        if not _is_plain(part.get_type()):
            name = part.name.decode("utf-8", "replace") if isinstance(part, h5py.h5a.AttrID) else "values"
            raise UserError(f"{path} holds lists of varying length ({item.name}, {name}), which are not read here.")


def _is_plain(kind: Any) -> bool:
    if isinstance(kind, h5py.h5t.TypeCompoundID):
        return all(_is_plain(kind.get_member_type(index)) for index in range(kind.get_nmembers()))
    if isinstance(kind, h5py.h5t.TypeArrayID):
        return _is_plain(kind.get_super())
    return not isinstance(kind, h5py.h5t.TypeVlenID)


def _check_group(path: Path, group: h5py.Group, above: set[int], seen: set[int], check: Callable[[Any], None]) -> None:
    """Check what a group holds; each object once, as links may lead to one object in ever so many ways."""
    for name in group.id:
        if group.id.links.get_info(name).type != h5py.h5l.TYPE_HARD:
            place = f"{group.name}/{name.decode('utf-8', 'replace')}"
            raise UserError(f"{path} links to other places ({place}), which is not safe to follow.")
        item = group[name]
        address = h5py.h5o.get_info(item.id).addr
        if address in above:
            raise UserError(f"{path} holds {group.name} in itself ({item.name}), so reading it would never end.")
        if address in seen:
            continue
        seen.add(address)
        if isinstance(item, h5py.Dataset):
            _check_stored(path, item)
        check(item)
        if isinstance(item, h5py.Group):
            _check_group(path, item, above | {address}, seen, check)
            check_sparse(path, item)


def _check_stored(path: Path, item: h5py.Dataset) -> None:
    if item.external or item.is_virtual:
        raise UserError(f"{path} stores {item.name} in other files, which is not safe to read.")
    check_claim(path, item.name, bytes_of(item), item.id.get_storage_size())


def check_claim(path: Path, name: str, claimed: int, stored: int) -> None:
    """Refuse an array that claims more bytes than the stored ones can be unpacked to."""
    if claimed > max(SMALL, MAX_EXPANSION * stored):
        raise UserError(
            f"{path} claims {size_text(claimed)} of {name}, but stores {stored:,} bytes of it; it is damaged: write it "
            "again."
        )


def check_sparse(path: Path, group: Any) -> None:
    """Refuse a group of HDF5 or zarr that holds a damaged sparse matrix, as h5ad and 10x files have it."""
    if problem := _sparse_problem(group):
        raise UserError(f"{path} holds a damaged sparse matrix, {group.name}: {problem}; write it again.")


def _sparse_problem(group: Any) -> str | None:
    """Say what is wrong with a compressed sparse matrix; None for any other group."""
    if not all(name in group for name in ("indptr", "indices", "data")):
        return None
    parts = [group[name] for name in ("indptr", "indices", "data")]
    stated = group.attrs.get("shape", group.attrs.get("h5sparse_shape"))
    shape = stated if stated is not None else group.get("shape")
    if shape is None or not all(hasattr(part, "dtype") for part in parts):  # else they are groups
        return None
    indptr, indices, data = parts
    sides = [int(side) for side in shape[:]] if np.ndim(shape) == 1 and len(shape) == 2 else []
    whole = all(part.ndim == 1 and part.dtype.kind in "iu" for part in (indptr, indices)) and data.ndim == 1
    if len(sides) != 2 or min(sides) < 0 or not whole:
        return "it is not made of lists of numbers"
    by_row = "csr" in str(group.attrs.get("encoding-type", group.attrs.get("h5sparse_format", "csc")))
    return _compressed_problem(indptr, indices, data, *(sides if by_row else sides[::-1]))


def _compressed_problem(indptr: Any, indices: Any, data: Any, rows: int, columns: int) -> str | None:
    """Say what is wrong with the parts of a matrix that is compressed by row, or else by column; None if nothing."""
    n = indices.shape[0]
    if indptr.shape[0] != rows + 1 or data.shape[0] != n:
        return "its parts are of different lengths"
    starts = indptr[:].astype(np.int64)
    if starts[0] != 0 or starts[-1] != n or (np.diff(starts) < 0).any():
        return "its rows do not follow each other"
    for start in range(0, n, INDICES_AT_ONCE):
        some = indices[start : start + INDICES_AT_ONCE]
        if not 0 <= int(some.min()) <= int(some.max()) < columns:
            return "its indices point outside"
    return None


def bytes_of(item: Any) -> int:
    """Return the bytes of memory that an array of HDF5 or zarr takes, or all in a group but pictures."""
    if hasattr(item, "dtype"):
        return int(item.size or 0) * int(item.dtype.itemsize)
    return sum(bytes_of(item[name]) for name in item if name != "images")


def check_memory(what: str, needed: int) -> None:
    """Refuse what takes more bytes of memory than the machine has."""
    if needed > (there := psutil.virtual_memory().total):
        raise UserError(
            f"{what} takes {size_text(needed)} of memory, and this machine has {size_text(there)}; open it on a larger "
            "one, or leave spots or genes out."
        )
