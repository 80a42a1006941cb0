"""Jobs that are killed, each in a process of its own; what they import is imported once for all."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

EACH = """
import faulthandler, os, sys
for word in sys.stdin:
    if (child := os.fork()) == 0:
        faulthandler.dump_traceback_later(300, exit=True)  # one that stands still says where
        print(os.getpid(), flush=True)
        job(word.strip())
        os._exit(0)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
TRAINING = "import scanpy, timm, torch, torch._dynamo\n"
"""What a training imports."""


class Jobs:
    """A Python that runs its ``job(word)`` in copies of itself."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.pid, self.code = 0, 0

    def run(self, word: str = "") -> Iterator[str]:
        """Start a job, yield what it prints until it ends, and keep its exit code: below 0 for a signal."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(word, file=self._process.stdin, flush=True)
        self.pid = int(self._process.stdout.readline())
        for line in self._process.stdout:
            what, _, code = line.rstrip("\n").partition(" ")
            if what == "ended":
                self.code = int(code)
                return
            yield line.rstrip("\n")

    def kill(self) -> None:
        """Kill the job."""
        os.kill(self.pid, signal.SIGKILL)


@contextmanager
def forked(code: str, *arguments: object) -> Iterator[Jobs]:
    """Start a Python that runs some code, which defines ``job(word)``."""
    command = [sys.executable, "-c", code + EACH, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Jobs(process)
