"""The cache folder: what can be made again, such as decoded patches, within a limit."""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import platformdirs
from numpy.typing import DTypeLike, NDArray

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import atomic_file
from napari_cmrcnet.common.locks import when_free
from napari_cmrcnet.common.progress import Job
from napari_cmrcnet.common.sample import sample_folder

STILL_NEEDED = 86_400  # seconds since the last use of a part of the cache


def cache_folder(name: str) -> Path:
    """Return a folder for things that can be made again, such as decoded patches.

    ``CMRCNET_CACHE`` names another place than the system's own cache folder.
    """
    root = os.environ.get("CMRCNET_CACHE") or platformdirs.user_cache_dir("napari-cmrcnet", appauthor=False)
    folder = Path(root) / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def mark_used(path: Path) -> None:
    """Note that a file or folder of the cache was used now, so that others are removed before it."""
    with suppress(OSError):  # the cache of somebody else
        os.utime(path)


def trim_cache(name: str) -> None:
    """Remove from a folder of the cache what was used longest ago, until it is within its limit.

    What was used within the last day is kept even so: this or another process may need it.

    Parameters
    ----------
    name : str
        As for `cache_folder`. ``CMRCNET_CACHE_LIMIT`` is the limit of each such folder in GB, 20 if it is not set.

    Raises
    ------
    UserError
        If the limit is not a number.
    """
    text = os.environ.get("CMRCNET_CACHE_LIMIT") or "20"
    try:
        limit = float(text) * 1e9
    except ValueError:
        raise UserError(f"CMRCNET_CACHE_LIMIT is {text!r}, not a number of GB; set it to one, such as 20.") from None
    with suppress(OSError):  # another process removes things, too
        kept = sorted((path.stat().st_mtime, _size(path), path) for path in cache_folder(name).iterdir())
        total = sum(size for _, size, _ in kept)
        for used, size, path in kept:
            if total <= limit or time.time() - used < STILL_NEEDED:
                break
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            total -= size


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def kept_array(
    part: str, name: str, shape: tuple[int, ...], dtype: DTypeLike, write: Callable[[BinaryIO], Job[None]]
) -> Job[NDArray[Any]]:
    """Open an array that comes with the sample, or of the cache; where it is not there, one process makes it.

    Others wait for it.

    Parameters
    ----------
    part : str
        Of the cache, as for `cache_folder`.
    name : str
        Of the array: a hash of all that decides its values.
    shape, dtype : tuple of int, dtype
        What it must be.
    write : callable
        Writes it, as ``numpy.save`` does, to a stream.

    Yields
    ------
    Progress
        What `write` yields.

    Returns
    -------
    read-only memory map
        Its ``filename`` is the file.

    Raises
    ------
    UserError
        What `write` raises; or if the disk is full. No file is left then.
    """
    path = cache_folder(part) / f"{name}.npy"
    if (shipped := _open_array(sample_folder() / part / path.name, shape, dtype)) is not None:
        return shipped
    if (kept := _open_array(path, shape, dtype)) is None:
        with (yield from when_free(path)):
            if (kept := _open_array(path, shape, dtype)) is None:  # another process may have made it meanwhile
                with atomic_file(path) as temporary, open(temporary, "wb") as stream:
                    yield from write(stream)
                trim_cache(part)
                kept = _open_array(path, shape, dtype)
    if kept is None:
        raise UserError(f"{path} was removed while it was read; start again.")
    mark_used(path)
    return kept


def _open_array(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any] | None:
    try:
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except Exception:  # noqa: BLE001  absent, or damaged: NumPy raises whatever it meets
        return None
    return array if array.shape == shape and array.dtype == dtype else None
