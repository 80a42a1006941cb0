"""What is asked of a site: a file block by block, with Cancel noticed while the site is silent."""

import queue
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.error import HTTPError

from napari_cmrcnet.common.progress import REPORT

TIMEOUT = 20.0  # seconds without an answer
CHUNK = 2**20
_AHEAD = 4  # chunks received and not yet written


def patiently(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Read a connection in a thread; yield nothing (``b""``) now and then while it is silent."""
    received: queue.Queue[bytes | Exception | None] = queue.Queue(_AHEAD)
    stopped = threading.Event()

    def put(item: bytes | Exception | None) -> None:
        while not stopped.is_set():
            with suppress(queue.Full):
                received.put(item, timeout=REPORT)
                return

    def read() -> None:
        try:
            for block in blocks:
                put(block)
                if stopped.is_set():
                    return
            put(None)
        except Exception as error:  # noqa: BLE001  raised again where the chunks are used
            put(error)

    threading.Thread(target=read, name="download", daemon=True).start()
    try:
        while True:
            try:
                item = received.get(timeout=REPORT)
            except queue.Empty:
                yield b""
                continue
            if isinstance(item, Exception):
                raise item
            if item is None:
                return
            yield item
    finally:
        stopped.set()


class BrokenError(Exception):
    """The connection broke, or the site refused."""


def chunks(url: str, start: int, size: int) -> Iterator[bytes]:
    """Yield what a site sends of a file of a known size, from a byte on."""
    try:
        with ask(url, start=start) as answer:
            skip = 0 if answer.status == 206 or not start else start  # it sends all again
            left = size - start
            while left > 0 and (chunk := answer.read1(CHUNK)):
                skipped = min(skip, len(chunk))
                skip -= skipped
                part = chunk[skipped : skipped + left]
                left -= len(part)
                if part:
                    yield part
            if left:
                raise ConnectionError("the connection was closed before the end of the file")
    except HTTPError as error:
        error.close()
        raise BrokenError from error
    except (OSError, HTTPException, ValueError) as error:  # ValueError: a redirect to what is no address
        raise BrokenError from error


def ask(url: str, start: int = 0, method: str = "GET") -> HTTPResponse:
    """Ask a site for a file, from a byte on."""
    headers = {"User-Agent": "napari-cmrcnet"}  # 10x Genomics refuses Python's own
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers, method=method)
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=certificates()), _Redirects)
    answer: HTTPResponse = opener.open(request, timeout=TIMEOUT)
    return answer


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
