"""Jobs that are killed, each in a process of its own; what a training imports is imported once for all of them.

A job kills itself: on a busy machine who watches it may be late, and the job at its end.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

EACH = """
import faulthandler, json, os, sys, traceback
import scanpy, timm, torch, torch._dynamo
torch.set_num_threads(1)
for line in sys.stdin:
    if (child := os.fork()) == 0:
        faulthandler.dump_traceback_later(300, exit=True)  # one that stands still says where
        code, sys.argv[1:], word, environment = json.loads(line)
        os.environ.clear()
        os.environ.update(environment)
        names = {"__name__": "__main__"}
        try:
            exec(code, names)
            names["job"](word)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    # On a line of its own: what is killed may have written half a line, as print does by part with PYTHONUNBUFFERED.
    print("\\nended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Jobs:
    """A Python that runs some code, which defines ``job(word)``, in copies of itself."""

    def __init__(self, process: "subprocess.Popen[str]", code: str, arguments: tuple[object, ...]) -> None:
        self._process, self._code, self._arguments = process, code, [*map(str, arguments)]
        self.code = 0

    def run(self, word: str = "") -> Iterator[str]:
        """Start a job, yield what it prints until it ends, and keep its exit code: below 0 for a signal."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = json.dumps([self._code, self._arguments, word, dict(os.environ)])
        print(asked, file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            what, _, code = line.rstrip("\n").partition(" ")
            if what == "ended":
                self.code = int(code)
                return
            if line != "\n":
                yield line.rstrip("\n")
        raise AssertionError("the Python that runs the jobs has ended")


class Forked:
    """Makes jobs of code and its arguments, which they have as ``sys.argv``; starts the Python with the first."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, code: str, *arguments: object) -> Jobs:
        if self._process is None:
            alone = os.environ | {"OMP_NUM_THREADS": "1"}
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(
                [sys.executable, "-c", EACH], env=alone, stdin=pipe, stdout=pipe, text=True
            )
        return Jobs(self._process, code, arguments)


@contextmanager
def python() -> Iterator[Forked]:
    """Yield what makes jobs, and end it."""
    forked = Forked()
    yield forked
    if forked._process is not None:
        with forked._process as process:
            process.kill()
