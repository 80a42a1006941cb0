"""A web server on this machine, with files, that can be told to misbehave."""

import hashlib
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Site:
    """A web server with files, that can be told to misbehave."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.breaks_after: int | None = None  # bytes, of the first answer to each address
        self.ranges = True
        self.pause = 0.0  # seconds between blocks
        self.refuses = False
        self.says_size = True
        self.silence = 0.0  # seconds before any answer
        self.redirect = ""  # where each GET is sent
        self.size: int | None = None  # that it says of each file
        self.more = b""  # sent after the end
        self.asked: list[tuple[str, str, str | None]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.answer(head=True)

            def do_GET(self) -> None:
                self.answer(head=False)

            def answer(self, head: bool) -> None:
                first = not any(asked[:2] == (self.command, self.path) for asked in site.asked)
                asked = self.headers["Range"]
                site.asked.append((self.command, self.path, asked))
                time.sleep(site.silence)
                content = site.files.get(self.path)
                if content is None or site.refuses or "Python" in self.headers["User-Agent"]:
                    self.send_error(403, "Forbidden")
                    return
                if site.redirect and not head:
                    self.send_response(302)
                    self.send_header("Location", site.redirect)
                    self.end_headers()
                    return
                start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and site.ranges else 0
                self.send_response(206 if start else 200)
                if site.says_size:
                    self.send_header("Content-Length", str(len(content) - start if site.size is None else site.size))
                self.end_headers()
                if head:
                    return
                end = len(content) if site.breaks_after is None or not first else site.breaks_after
                for at in range(start, end, 50_000):
                    try:
                        self.wfile.write(content[at : min(at + 50_000, end)])
                    except OSError:  # the client has gone
                        return
                    time.sleep(site.pause)
                with suppress(OSError):
                    self.wfile.write(site.more)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def publish(self, name: str, content: bytes) -> tuple[str, str]:
        """Return address and checksum of a file."""
        self.files[f"/{name}"] = content
        return f"{self.address}/{name}", hashlib.sha256(content).hexdigest()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
