"""Runs in copies of a process that has imported everything, with a fault at one of their calls.

The process is loaded with `interpose.c`, which counts the calls by which a run changes a file. It keeps to one thread,
so that a copy of it (fork) is whole.
"""

import ctypes
import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.jobs import Act

COUNT, KILL_BEFORE, KILL_AFTER, KILL_WITHIN, FULL, FAILING, READ_ONLY, SHORT = range(8)
HANG_S = 60.0  # of computing; a machine that does other work, too, may take long
HANG_WALL_S = 1800.0
HERE = Path(__file__).parent
Listing = dict[str, bytes]


def interposed(module: str, main: Callable[[Path], None]) -> None:
    """Run the module once more in a process whose calls can be counted, there with a folder in memory."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as text:
        folder = Path(text)
        if "FAULTS_INTERPOSED" in os.environ:
            main(folder)
            return
        library = folder / "interpose.so"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, HERE / "interpose.c", "-ldl"], check=True)
        environment = os.environ | {
            "LD_PRELOAD": str(library), "FAULTS_INTERPOSED": "1", "OMP_NUM_THREADS": "1", "NO_COLOR": "1",
        }  # fmt: skip
        done = subprocess.run([sys.executable, "-m", module, *sys.argv[1:]], env=environment, check=False)
        if done.returncode:
            raise SystemExit(done.returncode)


def warm_up() -> None:
    """Import what the jobs need, so that a copy of this process begins at once."""
    import anndata  # noqa: F401
    import matplotlib.backends.backend_agg
    import matplotlib.backends.backend_svg
    import matplotlib.figure
    import matplotlib.pyplot  # noqa: F401
    import scanpy  # noqa: F401
    import spatialdata  # noqa: F401
    import torch

    import napari_cmrcnet.benchmark.run
    import napari_cmrcnet.cli.commands
    import napari_cmrcnet.evaluation.html_report
    import napari_cmrcnet.evaluation.report
    import napari_cmrcnet.retrieval.predict_sheet
    import napari_cmrcnet.training.fit  # noqa: F401

    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # so that a collection in a copy leaves the memory shared


@dataclass(frozen=True)
class Ended:
    """How a run ended: exit code (below 0 for a signal), what it printed, its calls, its seconds of computing."""

    code: int
    said: str
    calls: int
    seconds: float

    @property
    def problem(self) -> str:
        """What is wrong with how it ended, "" where it succeeded, said a sentence, or was killed."""
        if self.code == -signal.SIGALRM:
            return "hang"
        if self.code == 1 and "Traceback" in self.said:
            return "traceback"
        return "crash" if self.code not in (0, 1, -signal.SIGKILL) else ""


class Running:
    """A run in a copy of this process.

    Parameters
    ----------
    act : callable
        What runs.
    folder : Path
        Where, and below which calls are counted.
    how, call : int
        The fault, and at which call; none if not given.
    name : str
        Tells runs at one time apart.
    """

    def __init__(self, act: Act, folder: Path, how: int = COUNT, call: int = -1, name: str = "") -> None:
        self.said, self.counted = folder.with_name(f"said{name}.txt"), folder.with_name(f"calls{name}.txt")
        self.counted.unlink(missing_ok=True)
        self.start = time.monotonic()
        self.child = os.fork()
        if self.child == 0:
            _child(act, folder, how, call, self.said, self.counted)

    def computed(self, seconds: float) -> bool:
        """Wait until it has computed for so long; False if it ended before."""
        while os.waitid(os.P_PID, self.child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            # Its clock, as clock_getcpuclockid(3) numbers it: moments do not depend on what else the machine does.
            if time.clock_gettime(~self.child << 3 | 2) >= seconds:
                return True
            if time.monotonic() > self.start + HANG_WALL_S:
                return True
            time.sleep(0.001)
        return False

    def ended(self, after_s: float | None = None) -> Ended:
        """Wait until it ends; it is killed after seconds of computing if they are given."""
        if self.computed(HANG_S if after_s is None else after_s):
            os.kill(self.child, signal.SIGALRM if after_s is None else signal.SIGKILL)
        _, status, used = os.wait4(self.child, 0)
        code = os.waitstatus_to_exitcode(status)
        calls = int(self.counted.read_text() or 0) if self.counted.exists() else 0
        said = self.said.read_text("utf-8", "replace") if self.said.exists() else ""
        return Ended(code, said, calls, used.ru_utime + used.ru_stime)


def fork(act: Act, folder: Path, how: int = COUNT, call: int = -1, after_s: float | None = None) -> Ended:
    """Run something to its end in a copy of this process, with a fault at one of its calls or killed after a time."""
    return Running(act, folder, how, call).ended(after_s)


def _child(act: Act, folder: Path, how: int, call: int, said: Path, counted: Path) -> None:
    library = ctypes.CDLL(None)
    code = 1
    try:
        words = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(words, 1)
        os.dup2(words, 2)
        os.environ["CMRCNET_CACHE"] = str(folder / "cache")
        library.faults_arm(os.fsencode(folder), how, ctypes.c_long(call))
        code = _run(act, folder)
    finally:
        calls = ctypes.c_long.in_dll(library, "faults_seen").value
        library.faults_arm(b"", COUNT, ctypes.c_long(-1))
        sys.stdout.flush()
        sys.stderr.flush()
        counted.write_text(str(calls))
        os._exit(code)


def _run(act: Act, folder: Path) -> int:
    """Run something as the command line does: what the user or the system did is a sentence, all else a traceback."""
    from napari_cmrcnet.common.errors import UserError, system_error

    try:
        return act(folder)
    except UserError as error:
        print(f"error: {error}")
    except OSError as error:
        print(f"error: {system_error(error)}")
    except BaseException:  # noqa: BLE001  whatever it is, it is what is counted
        traceback.print_exc()
    return 1


def renew(place: Path, template: Path) -> None:
    """Make a folder as another is."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(template, place)


def listing(folder: Path) -> Listing:
    """Return the content of all files by name, but for the cache."""
    files = (path for path in folder.rglob("*") if path.is_file())
    named = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: path.read_bytes() for name, path in named.items() if not name.startswith("cache/")}


def leftovers(folder: Path) -> list[str]:
    """Return the names of temporaries, in the cache too."""
    return sorted(path.name for path in folder.rglob(".*") if path.name.endswith((".part", ".replaced")))
