"""Files and folders that appear whole or not at all.

Each is written under a temporary name in the same folder, flushed to the disk, renamed over the old one, and
the folder itself is flushed: a process killed at any moment leaves the old file or the new one.
"""

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import platformdirs

from napari_cmrcnet.common.errors import UserError

STILL_NEEDED = 86_400  # seconds since the last use of a part of the cache


def is_there(path: str | os.PathLike[str]) -> bool:
    """Return whether a path that was noted down is still there.

    One that may not be looked at, in another's home or on a share that is gone, is not. `Path.exists` raises there.
    """
    return os.path.exists(path)


def _flush(path: Path) -> None:
    """Ask the system to write a file or folder to the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open a folder for flushing
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary(path: Path) -> Path:
    if not path.parent.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file under a temporary name and rename it when the block ends well.

    Parameters
    ----------
    path : path
        The file to write; missing parent folders are made.

    Yields
    ------
    Path
        The temporary file to write to. It ends in ``.part``.

    Raises
    ------
    UserError
        If the file cannot be written (full disk, no permission). Nothing is left behind.
    """
    path = Path(path)
    try:
        temporary = _temporary(path)
        try:
            yield temporary
            _flush(temporary)
            os.replace(temporary, path)
            _flush(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _cannot_write(path, error) from error


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Fill a folder under a temporary name and rename it when the block ends well.

    An existing folder of that name is replaced: it is renamed away, and removed when the new one stands.

    Parameters
    ----------
    path : path
        The folder to write.

    Yields
    ------
    Path
        The temporary folder to fill.

    Raises
    ------
    UserError
        If it cannot be written. The old folder is then as it was.
    """
    path = Path(path)
    try:
        temporary = _temporary(path)
        temporary.mkdir()
        try:
            yield temporary
            for entry in sorted(temporary.rglob("*"), reverse=True):
                _flush(entry)
            _flush(temporary)
            _swap(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise _cannot_write(path, error) from error
    except UserError as error:
        if isinstance(error.__cause__, OSError):  # of an atomic_file in it: name the folder that the user knows
            raise _cannot_write(path, error.__cause__) from error
        raise


def _swap(new: Path, path: Path) -> None:
    old = _temporary(path)
    if path.exists():
        os.rename(path, old)
    try:
        os.rename(new, path)
    except OSError:
        if old.exists():
            os.rename(old, path)
        raise
    _flush(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def _cannot_write(path: Path, error: OSError) -> UserError:
    reason = error.strerror or str(error)
    return UserError(f"{path} could not be written ({reason}); free some space or choose another place.")


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write JSON, whole or not at all, with sorted keys left as they are given."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the hexadecimal SHA-256 of a file's content, read in blocks."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def size_text(size: float) -> str:
    """Return a number of bytes as people say it: ``1.8 GB``, ``32 MB``, ``4 kB``."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}" if size < 10 * unit else f"{size / unit:.0f} {name}"
    return f"{max(1, round(size / 1e3))} kB"


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
