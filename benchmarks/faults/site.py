"""A site on this machine that sends two files in small blocks: what downloads are tried with."""

import hashlib
import io
import os
import signal
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import imagecodecs

from benchmarks.faults.bases import picture
from napari_cmrcnet.catalogue.public_data import PublicSection
from napari_cmrcnet.common.public_files import PublicFile

ADDRESS = "FAULTS_SITE"  # the variable of the environment that holds it
BLOCK, PAUSE_S = 40_000, 0.01


def _archive() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name in ("tissue_positions_list.csv", "scalefactors_json.json"):
            text = b'{"a": 1}\n' if name.endswith("json") else b"a,b\n1,2\n"
            member = tarfile.TarInfo(f"spatial/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
    return content.getvalue()


FILES = {"image.png": imagecodecs.png_encode(picture(512)), "spatial.tar.gz": _archive()}


def section() -> PublicSection:
    """Return what the site has, as a public section."""
    files = tuple(
        PublicFile(name, (f"{os.environ[ADDRESS]}/{name}",), hashlib.sha256(content).hexdigest())
        for name, content in FILES.items()
    )
    return PublicSection("tumour", "A tumour", "nobody", files, measured=True)


class _Handler(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        content = self._head()
        with suppress(OSError):  # the client was killed
            for start in range(0, len(content), BLOCK):
                self.wfile.write(content[start : start + BLOCK])
                time.sleep(PAUSE_S)

    def _head(self) -> bytes:
        content = FILES[self.path[1:]]
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        return content[start:]

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served() -> Iterator[None]:
    """Serve the files from a process of its own while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    child = os.fork()
    if child == 0:
        try:
            server.serve_forever()
        finally:
            os._exit(0)
    os.environ[ADDRESS] = f"http://127.0.0.1:{server.server_port}"
    server.server_close()
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
