"""Files that a site offers: received whole and checked, or refused in one sentence; what was received can be kept."""

import hashlib
import os
import shutil
import ssl
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO
from urllib.error import HTTPError
from urllib.parse import urlsplit

from napari_cmrcnet.common.errors import UserError, cannot_write
from napari_cmrcnet.common.files import flush, sha256, short_name
from napari_cmrcnet.common.progress import Job, Progress, in_thread
from napari_cmrcnet.common.text import size_text

TIMEOUT = 20.0  # seconds without an answer
FAILURES = 4  # after so many in a row without a single new byte, give up
BLOCK = 2**20  # bytes read at a time


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


def sizes_of(title: str, files: Sequence[PublicFile]) -> Job[dict[PublicFile, int]]:
    """Return the size of each file, as it is known or as its site says.

    Raises
    ------
    UserError
        If the network or the site cannot be reached.
    """
    return (
        yield from in_thread(
            lambda: {file: _size(title, file) if file.size is None else file.size for file in files},
            Progress(f"Asking for {title}", 0, 0),
        )
    )


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
    for url in file.urls:
        try:
            with ask(url, method="HEAD") as answer:
                length = answer.headers.get("Content-Length", "")
                if not length.isdecimal():
                    raise ValueError("it does not say how large the file is")
                return int(length)
        except BrokenError as error:
            broken = error
    raise unreachable(title, file.urls, broken)


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
    stopped = Event()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "ab") as stream:
            try:
                # In a thread, so that Cancel is noticed while the site is silent.
                for _ in in_thread(partial(_receive, title, file, size, stream, stopped), None):
                    yield stream.tell()
            finally:
                stopped.set()
        if not (yield from in_thread(partial(_is_published, file, part), size)):
            part.unlink()
            raise UserError(
                f"{file.name} of {title} is not the file that was published (its checksum differs), and was deleted; "
                "try again. If that does not help, please report it."
            )
        flush(part)
        os.replace(part, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if part.is_file() and not part.stat().st_size:  # nothing came
            part.unlink()


def _is_published(file: PublicFile, path: Path) -> bool:
    """Whether what was received has the checksums that were published."""
    git = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with open(path, "rb") as stream:
        while file.git and (block := stream.read(BLOCK)):
            git.update(block)
    return file.git in ("", git.hexdigest()) and file.sha256 in ("", sha256(path))


def _receive(title: str, file: PublicFile, size: int, stream: BinaryIO, stopped: Event) -> None:
    """Receive a file into a stream; where the connection breaks, go on from there, from a copy if there is one."""
    failures = 0
    while stream.tell() < size:
        before = stream.tell()
        try:
            for chunk in chunks(file.urls[failures % len(file.urls)], before, size):
                if stopped.is_set():
                    return
                stream.write(chunk)
        except BrokenError as broken:
            failures = failures + 1 if stream.tell() == before else 1
            if failures == FAILURES:
                raise unreachable(title, file.urls, broken) from broken


class BrokenError(Exception):
    """The connection broke, or the site refused; raised from the error that says why."""


def unreachable(title: str, urls: Sequence[str], broken: BrokenError) -> UserError:
    """Return the sentence for a site that cannot be reached, or refuses."""
    hosts = " or ".join(str(urlsplit(url).hostname) for url in urls)
    error = broken.__cause__
    reason = getattr(error, "reason", error)
    if isinstance(error, HTTPError):
        reason = f"it answers {error.code} {error.reason}"
    elif isinstance(reason, TimeoutError):
        reason = f"no answer within {TIMEOUT:g} s"
    return UserError(
        f"{title} could not be downloaded from {hosts} ({reason}); check the connection to the network, then try again."
    )


def chunks(url: str, start: int, size: int) -> Iterator[bytes]:
    """Yield what a site sends of a file of a known size, from a byte on."""
    with ask(url, start=start) as answer:
        skip = 0 if answer.status == 206 or not start else start  # it sends all again
        left = size - start
        while left > 0 and (chunk := answer.read1(BLOCK)):
            part = chunk[skip : skip + left]
            skip = max(0, skip - len(chunk))
            left -= len(part)
            if part:
                yield part
        if left:
            raise ConnectionError("the connection was closed before the end of the file")


@contextmanager
def ask(url: str, start: int = 0, method: str = "GET") -> Iterator[HTTPResponse]:
    """Ask a site for a file, from a byte on.

    Raises
    ------
    BrokenError
        If it cannot be reached, refuses, or breaks off while the block reads.
    """
    headers = {"User-Agent": "napari-cmrcnet"}  # 10x Genomics refuses Python's own
    if start:
        headers["Range"] = f"bytes={start}-"
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=certificates()), _Redirects)
    try:
        with opener.open(urllib.request.Request(url, headers=headers, method=method), timeout=TIMEOUT) as answer:
            yield answer
    except (OSError, HTTPException, ValueError) as error:  # ValueError: no address, or a redirect to none
        if isinstance(error, HTTPError):
            error.close()
        raise BrokenError from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows as Python's own does, and closes the connection where it does not follow."""

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except BaseException:
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def certificates() -> ssl.SSLContext:
    """Return the system's certificates; Python from python.org has none on macOS."""
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"]:
        import certifi

        context.load_verify_locations(certifi.where())
    return context
