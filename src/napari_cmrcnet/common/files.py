"""Files and folders that appear whole or not at all.

Each is written under a temporary name in the same folder, flushed to the disk, renamed over the old one, and
the folder itself is flushed: a process killed at any moment leaves the old file or the new one. What a killed process
left under its temporary name is removed by the next that writes there.
"""

import ctypes
import hashlib
import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from napari_cmrcnet.common.errors import UserError, cannot_write

ABANDONED = 7 * 86_400  # seconds since another machine last wrote to a temporary
REPLACED = ".replaced"  # what a folder is called for the moment in which another takes its name
AT_FDCWD = -100  # linux/fcntl.h: names are relative to the working folder
NAME_BYTES = 100  # of a name that its temporary carries: systems take 255


def is_there(path: str | os.PathLike[str]) -> bool:
    """Return whether a path that was noted down is still there.

    One that may not be looked at, in another's home or on a share that is gone, is not. `Path.exists` raises there.
    """
    return os.path.exists(path)


def seen_from(folder: Path, path: str | os.PathLike[str]) -> str:
    """Return the way from a folder to a path, as any system reads it; the path itself where it is on another drive."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return os.fspath(path)


def flush(path: Path) -> None:
    """Ask the system to write a file or folder to the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open a folder for flushing
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_output(path: Path, *, folder: bool = False) -> None:
    """Refuse a place where nothing can be written, before the work whose result would be lost there.

    Parameters
    ----------
    path : Path
        The file or folder to be written.
    folder : bool
        Whether files are written into it: it must not be a file then, nor a folder that is closed to the user.

    Raises
    ------
    UserError
        If its name is not UTF-8 or too long, it lies in a checkpoint, or its folder may not be written to.
    """
    check_name(path)
    inside = path.absolute() / "file" if folder else path.absolute()
    for parent in inside.parents:
        if parent.suffix == ".cmrcnet" and is_there(parent / "card.json"):
            raise UserError(f"{path} is inside the checkpoint {parent.name} and would damage it; choose another place.")
    try:
        place = inside.parent
        path.exists()  # raises for a name that is too long
        while not place.exists():
            place = place.parent
    except OSError as error:
        raise cannot_write(path, error) from error
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise UserError(
            f"{path} cannot be written: {place} is not a folder that you may write to; choose another place."
        )


def check_name(path: Path) -> None:
    """Refuse a path that is not UTF-8: it could not be written into a prediction, a project or a report.

    Raises
    ------
    UserError
        With the path, its odd bytes escaped.
    """
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:
        shown = str(path).encode("utf-8", "backslashreplace").decode("utf-8")
        raise UserError(f"{shown} has a name that is not UTF-8, as from an old share; rename it.") from error


def short_name(path: Path) -> str:
    """Return so much of a file's name that a name of our own with it in it is not too long for the system."""
    return path.name.encode()[:NAME_BYTES].decode(errors="ignore")


def _temporary(path: Path) -> Path:
    if not path.parent.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
    stem = short_name(path)
    with suppress(OSError, OverflowError):  # the latter for a number that no process has
        _clear_leftovers(path.parent, stem)
    return path.with_name(f".{stem}.{_machine()}-{_boot()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.part")


def _clear_leftovers(folder: Path, stem: str) -> None:
    """Remove temporaries of a name whose process is no more; those of another machine after a week."""
    import psutil  # which --help does not need

    for path in folder.iterdir():
        if not (path.name.startswith(f".{stem}.") and path.name.endswith(".part")):
            continue
        place = path.name.removesuffix(".part").rpartition(".")[2].split("-")
        if len(place) != 4 or not place[2].isdecimal():
            continue
        machine, boot, pid, _ = place
        mine = machine == _machine()
        ended = boot != _boot() or not psutil.pid_exists(int(pid))
        if (mine and ended) or time.time() - path.stat().st_mtime > ABANDONED:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@cache
def _machine() -> str:
    return hashlib.sha256(f"{uuid.getnode()} {socket.gethostname()}".encode()).hexdigest()[:6]


@cache
def _boot() -> str:
    """Return what tells this start of the machine from those before, "0" where the system does not say."""
    try:
        return hashlib.sha256(Path("/proc/sys/kernel/random/boot_id").read_bytes()).hexdigest()[:6]
    except OSError:
        return "0"


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name to write a file under, ``….part``, and rename it when the block ends well.

    Missing folders are made.

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
            flush(temporary)
            os.replace(temporary, path)
            flush(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Yield a folder beside a file that is to be written. It goes with the block.

    What a killed run left is removed by the next that writes the file.
    """
    temporary = _temporary(path)
    temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a folder to fill under a temporary name, and rename it when the block ends well.

    An existing folder of that name is replaced: the two exchange their names, and the old one is removed.

    Raises
    ------
    UserError
        If it cannot be written. The old folder is then as it was.
    """
    path = Path(path)
    try:
        with scratch_folder(path) as temporary:
            yield temporary
            for entry in sorted(temporary.rglob("*"), reverse=True):
                flush(entry)
            flush(temporary)
            _swap(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    except UserError as error:
        if isinstance(error.__cause__, OSError):  # of an atomic_file in it: name the folder that the user knows
            raise cannot_write(path, error.__cause__) from error
        raise


def _swap(new: Path, path: Path) -> None:
    """Give a folder its name; what has it is under the temporary name then, for the caller to remove."""
    finish_swap(path)
    if not path.exists():
        os.rename(new, path)
    elif not _exchange(new, path):
        old = path.with_name(f".{path.name}{REPLACED}")
        os.rename(path, old)
        try:
            os.rename(new, path)
        except OSError:
            os.rename(old, path)
            raise
        flush(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    flush(path.parent)


def finish_swap(path: Path) -> None:
    """Give a folder back to a name that a process has left without one, killed as it replaced what had it.

    That can happen only where the system cannot exchange two names at once. Called by who reads such a folder.
    """
    path = path.absolute()  # "." has no name
    old = path.with_name(f".{path.name}{REPLACED}")
    if is_there(old):
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.rename(old, path)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange the names of two folders at once; False where the system or the disk cannot."""
    if os.name != "posix":
        return False
    library, names = ctypes.CDLL(None), (os.fsencode(one), os.fsencode(other))
    if hasattr(library, "renameat2"):  # Linux; 2 is RENAME_EXCHANGE of linux/fs.h
        return bool(library.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], 2) == 0)
    return hasattr(library, "renamex_np") and bool(library.renamex_np(*names, 2) == 0)  # macOS; RENAME_SWAP


def write_content(path: str | os.PathLike[str], content: str | bytes | memoryview) -> Path:
    """Write bytes, or text in UTF-8 whose lines end as they do, whole or not at all; return the path."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return Path(path)


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write JSON, whole or not at all, with sorted keys left as they are given."""
    write_content(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the hexadecimal SHA-256 of a file's content, read in blocks."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_digest(path: Path) -> str:
    """Return a file's SHA-256, read once in a process as long as the file stays as it is: slides have gigabytes."""
    about = path.stat()
    return _digest_of(path, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=2**18)  # a Zarr store has thousands of files, and each is asked for more than once
def _digest_of(path: Path, _size: int, _changed: int) -> str:
    return sha256(path)
