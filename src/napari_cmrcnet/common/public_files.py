"""Files that a site offers: received whole and checked, or refused in one sentence; what was received can be kept."""

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.parse import urlsplit

from napari_cmrcnet.common import downloads
from napari_cmrcnet.common.downloads import BrokenError, ask, chunks, patiently
from napari_cmrcnet.common.errors import UserError, cannot_write
from napari_cmrcnet.common.files import flush, short_name
from napari_cmrcnet.common.progress import REPORT
from napari_cmrcnet.common.text import size_text

FAILURES = 4  # after so many in a row without a single new byte, give up
BLOCK = 2**20


@dataclass(frozen=True)
class PublicFile:
    """A file that a site offers.

    Parameters
    ----------
    name : str
        In the folder that it is received into, with ``/`` between folders.
    urls : tuple of str
        Where it is; the later ones are copies of the first.
    sha256 : str
        Of its content; ``""`` where none was published.
    git : str
        SHA-1 that git has of it, of the word ``blob``, its size and its content; ``""`` where it is in no repository.
    size : int, optional
        Bytes, where the site has said them already.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str = ""
    git: str = ""
    size: int | None = None


def sizes_of(title: str, files: Sequence[PublicFile]) -> dict[PublicFile, int]:
    """Return the size of each file, as it is known or as its site says.

    Raises
    ------
    UserError
        If the network or the site cannot be reached.
    """
    return {file: _size(title, file) if file.size is None else file.size for file in files}


def check_room(title: str, size: int, folder: Path, otherwise: str = "choose a place on another disk") -> None:
    """Refuse a download that the disk of a folder, which is made, has no room for; ``otherwise`` says what to do.

    Raises
    ------
    UserError
        Before any of it is received.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if size > (free := shutil.disk_usage(folder).free):
        raise UserError(
            f"{title} has {size_text(size)} to download, but {folder} has room for {size_text(free)}; free some space, "
            f"or {otherwise}."
        )


def _size(title: str, file: PublicFile) -> int:
    reason: Exception | None = None
    for url in file.urls:
        try:
            with ask(url, method="HEAD") as answer:
                length = answer.headers.get("Content-Length", "")
            if not length.isdecimal():
                raise ValueError("it does not say how large the file is")
            return int(length)
        except (OSError, HTTPException, ValueError) as error:
            reason = error
            if isinstance(error, HTTPError):
                error.close()
    raise unreachable(title, file.urls, reason)


def go_on_with_file(title: str, file: PublicFile, path: Path, size: int) -> Iterator[int]:
    """Write a file, whole and checked, or not at all; yield how many bytes were received.

    What was received at a stop is kept, and the next call goes on from there. The part is kept under a name that has
    the size and the checksum, so that a file that has changed is begun again.

    Raises
    ------
    UserError
        If the site cannot be reached, the disk is full, or the file is not the published one.
    """
    mark = hashlib.sha256(f"{file.sha256}{file.git}{size}".encode()).hexdigest()[:8]
    part = path.with_name(f".{short_name(path)}.{mark}.part")
    digests = _Digests(size)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "ab") as stream:
            with open(part, "rb") as kept:
                while block := kept.read(BLOCK):
                    digests.update(block)
            yield from _receive(title, file, size, stream, digests)
        try:
            digests.check(title, file)
        except UserError:
            part.unlink()
            raise
        flush(part)
        os.replace(part, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if part.is_file() and not part.stat().st_size:  # nothing came
            part.unlink()


class _Digests:
    """The checksums of a file, block by block."""

    def __init__(self, size: int) -> None:
        self._sha256, self._git = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)

    def update(self, block: bytes) -> None:
        self._sha256.update(block)
        self._git.update(block)

    def check(self, title: str, file: PublicFile) -> None:
        if file.sha256 in ("", self._sha256.hexdigest()) and file.git in ("", self._git.hexdigest()):
            return
        raise UserError(
            f"{file.name} of {title} is not the file that was published (its checksum differs), and was deleted; "
            "try again. If that does not help, please report it."
        )


def _receive(title: str, file: PublicFile, size: int, stream: BinaryIO, digests: _Digests) -> Iterator[int]:
    """Receive a file into a stream; where the connection breaks, go on from there, from a copy if there is one."""
    failures, said = 0, time.monotonic()
    while (start := stream.tell()) < size:
        try:
            for chunk in patiently(chunks(file.urls[failures % len(file.urls)], start, size)):
                if chunk:
                    failures = 0
                stream.write(chunk)
                digests.update(chunk)
                if time.monotonic() - said > REPORT:
                    said = time.monotonic()
                    yield stream.tell()
        except BrokenError as broken:
            failures += 1
            if failures == FAILURES:
                raise unreachable(title, file.urls, broken.__cause__) from broken


def unreachable(title: str, urls: Sequence[str], error: BaseException | None) -> UserError:
    """Return the sentence for a site that cannot be reached, or refuses."""
    hosts = " or ".join(str(urlsplit(url).hostname) for url in urls)
    reason = getattr(error, "reason", error)
    if isinstance(error, HTTPError):
        reason = f"it answers {error.code} {error.reason}"
    elif isinstance(reason, TimeoutError):
        reason = f"no answer within {downloads.TIMEOUT:g} s"
    return UserError(
        f"{title} could not be downloaded from {hosts} ({reason}); check the connection to the network, then try again."
    )
