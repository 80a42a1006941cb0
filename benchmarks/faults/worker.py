"""A process that reads changed files, many one after another, and says of each what came of it.

It is told ``FORMAT<tab>FIRST<tab>END`` on standard input and answers a line for each input: its number, the outcome,
and what was said. Whoever started it waits for each line, and ends this process where one does not come. What libraries
print goes nowhere.
"""

import contextlib
import ctypes
import faulthandler
import os
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
import traceback
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

MEMORY = 2 * 2**30  # bytes of memory in use at which an input counts as too large
ADDRESSES = 24 * 2**30  # bytes of addresses: a guard of this machine
DUMP = "stacks.txt"
PROBED_S = 4.0
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Answer until standard input ends."""
    work, kept, seed = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace")  # a file may name half a letter
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ["CMRCNET_CACHE"] = str(work / "cache")
    work.mkdir(parents=True, exist_ok=True)
    stacks = open(work / DUMP, "w")  # noqa: SIM115  open as long as the process
    faulthandler.enable(stacks)
    faulthandler.register(signal.SIGUSR1, stacks)
    _probe_in_one_process()
    for line in sys.stdin:
        name, first, end = line.rstrip("\n").split("\t")
        _read_all(name, range(int(first), int(end)), work, kept, seed, answers)


def _read_all(name: str, numbers: range, work: Path, kept: Path, seed: str, answers: Any) -> None:
    from benchmarks.faults.formats import FORMATS

    kind = FORMATS[name]
    with zipfile.ZipFile(kept / f"{name}.zip") as base:
        files = {file: base.read(file) for file in base.namelist()}
    folder = work / "input"
    shutil.rmtree(folder, ignore_errors=True)
    for file, content in files.items():
        _write(folder / file, content)
    for number in numbers:
        rng = random.Random(f"{seed} {name} {number}")
        try:
            file, content = kind.changed(files, rng)
        except Exception:  # noqa: BLE001  a change that cannot be made is the runner's own fault
            print(number, "not made", _short(traceback.format_exc()), sep="\t", file=answers, flush=True)
            continue
        before = set(os.listdir(folder))
        (folder / file).write_bytes(content)
        outcome, said = _read(lambda: kind.read(folder, file))  # noqa: B023  called here
        after = set(os.listdir(folder))
        if after != before:
            outcome, said = "left files", " ".join(sorted(after))
        if outcome not in ("read", "refused"):
            place = kept / "failures" / f"{name} {number}"
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(folder, place)
            (place / "what.txt").write_text(f"{file} of seed {seed}\n{outcome}\n{said}\n", "utf-8", "backslashreplace")
        print(number, outcome, _short(said), sep="\t", file=answers, flush=True)
        for extra in after - before:
            (folder / extra).unlink()
        (folder / file).write_bytes(files[file])
        if "m.cmrcnet/card.json" in files:
            (folder / "m.cmrcnet/card.json").write_bytes(files["m.cmrcnet/card.json"])
        if number % 32 == 0:  # a folder of many files takes longer to write into
            shutil.rmtree(work / "cache", ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _read(read: Any) -> tuple[str, str]:
    """Return what came of reading, and what was said."""
    from napari_cmrcnet.common.errors import UserError

    try:
        read()
        outcome, said = "read", ""
    except UserError as error:
        outcome, said = "refused", str(error)
    except AssertionError:
        outcome, said = "let in", traceback.format_exc()
    except BaseException:  # noqa: BLE001  whatever it is, it is what is counted
        outcome, said = "traceback", traceback.format_exc()
    peak = _peak()
    if peak > MEMORY:
        _forget_peak()
    if peak > MEMORY or "does not fit into the memory" in said or "MemoryError" in said:
        outcome, said = "memory", f"{peak / 1e9:.1f} GB; {said}"
    return outcome, said


def _short(said: str) -> str:
    """Return what tells one defect from another: the error, and the line of ours in which it came up."""
    lines = said.strip().splitlines() or [""]
    places = [line.strip() for line in lines if line.strip().startswith("File ") and "napari_cmrcnet" in line]
    where = places[-1].rpartition("napari_cmrcnet/")[2].replace('", line ', ":").split(",")[0] if places else ""
    return f"{where} {lines[-1][:200]}".strip().replace("\t", " ")


def _forget_peak() -> None:
    try:
        with open("/proc/self/clear_refs", "w") as control:  # 5: forget the largest memory so far (proc(5))
            control.write("5")
    except OSError:
        return


def _peak() -> int:
    """Return the largest memory in use since it was forgotten, in bytes; not that of who started this process."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _probe_in_one_process() -> None:
    """Let slides be looked at by one process, replaced where it ends, in place of a new one for each."""
    from napari_cmrcnet.slides import probe

    prober = _Prober()

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        *_, reader, path = command
        code = prober.code(reader, Path(path))
        if code is None:
            raise subprocess.TimeoutExpired(command, probe.TIMEOUT_S)
        return subprocess.CompletedProcess(command, code)

    probe.subprocess = SimpleNamespace(run=run, TimeoutExpired=subprocess.TimeoutExpired)


class _Prober:
    """A copy of this process that looks at slides."""

    def __init__(self) -> None:
        self.process = 0

    def code(self, reader: str, path: Path) -> int | None:
        """Return the exit code that a process of its own would have had, None if it did not end."""
        if not self.process:
            self._start()
        os.write(self.asks, f"{reader}\t{path}\n".encode())
        if not select.select([self.answers], [], [], PROBED_S)[0]:
            self._end()
            return None
        answer = os.read(self.answers, 1)
        if not answer:
            return self._end()
        return answer[0]

    def _start(self) -> None:
        asked, self.asks = os.pipe()
        self.answers, answered = os.pipe()
        self.process = os.fork()
        if self.process == 0:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # it does not outlive this one
            faulthandler.disable()
            os.close(self.asks)
            try:
                _look_at_slides(asked, answered)
            finally:
                os._exit(0)
        os.close(asked)
        os.close(answered)

    def _end(self) -> int:
        """End the process, and return why it ended if it had."""
        os.close(self.asks)
        os.close(self.answers)
        until = time.monotonic() + 1  # one whose pipe is closed may still be ending
        ended, status = os.waitpid(self.process, os.WNOHANG)
        while not ended and time.monotonic() < until:
            time.sleep(0.001)
            ended, status = os.waitpid(self.process, os.WNOHANG)
        if not ended:
            os.kill(self.process, signal.SIGKILL)
            status = os.waitpid(self.process, 0)[1]
        self.process = 0
        return os.waitstatus_to_exitcode(status)


def _look_at_slides(asked: int, answered: int) -> None:
    from napari_cmrcnet.slides import probe

    with os.fdopen(asked, encoding="utf-8") as lines:
        for line in lines:
            reader, path = line.rstrip("\n").split("\t")
            code = probe.FAILED  # as Python ends where there is an exception
            with contextlib.suppress(Exception):
                code = probe.main(reader, path)
            os.write(answered, bytes([code]))


if __name__ == "__main__":
    main()
