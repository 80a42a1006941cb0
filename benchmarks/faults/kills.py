"""Kill what writes, or let its disk fail, at each call and at any moment; what is left is looked at, and the next run.

usage: python -m benchmarks.faults.kills [N] [--seed S] [--jobs NAME …]

The jobs of `jobs.WRITTEN` are run N times in all (300 if not given). A run is killed (SIGKILL) before, after or within
a call that changes a file, or at a random moment; or from one such call on the disk is full or read-only, or one call
fails (EIO) or writes half of what it was given. Then every file must be the old one or the new one, whole; a run that
was not killed must have said in a sentence what failed; and the next run must succeed and leave nothing of the one
before. Ends with status 1 where that is not so. Linux only; takes a C compiler (`cc`).
"""

import argparse
import ctypes
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.jobs import WRITTEN, Act, Written, make
from benchmarks.faults.whole import whole

COUNT, KILL_BEFORE, KILL_AFTER, KILL_WITHIN, FULL, FAILING, READ_ONLY, SHORT = range(8)
RANDOM = 8  # killed at any moment
NAMES = {
    KILL_BEFORE: "killed before a call", KILL_AFTER: "killed after a call", KILL_WITHIN: "killed within a call",
    RANDOM: "killed at any moment", FULL: "disk full", FAILING: "input/output error", READ_ONLY: "read-only",
    SHORT: "half a write",
}  # fmt: skip
KILLS = (KILL_BEFORE, KILL_AFTER, KILL_WITHIN, RANDOM)
GOOD = ("sound",)
HANG_S = 180.0
SLOW_S = 2.0  # jobs that take longer are run less often
HERE = Path(__file__).parent
Listing = dict[str, bytes]


@dataclass(frozen=True)
class Ended:
    """How a run ended: its exit code (below 0 for a signal), what it printed, its calls, and its seconds."""

    code: int
    said: str
    calls: int
    seconds: float


def main() -> None:
    """Run it, in a process whose calls can be counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("number", nargs="?", type=int, default=300)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--jobs", nargs="+", choices=list(WRITTEN), default=list(WRITTEN))
    options = parser.parse_args()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        if "FAULTS_INTERPOSED" not in os.environ:
            library = Path(folder) / "interpose.so"
            subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, HERE / "interpose.c", "-ldl"], check=True)
            environment = os.environ | {
                "LD_PRELOAD": str(library), "FAULTS_INTERPOSED": "1", "OMP_NUM_THREADS": "1", "NO_COLOR": "1",
            }  # fmt: skip
            command = [sys.executable, "-m", "benchmarks.faults.kills", *sys.argv[1:]]
            raise SystemExit(subprocess.run(command, env=environment, check=False).returncode)
        tally = run(options.number, Path(folder), seed=options.seed, names=options.jobs)
    print("", *table(tally), sep="\n")
    if bad := sum(counts[outcome] for counts in tally.values() for outcome in counts if outcome not in GOOD):
        raise SystemExit(f"{bad} runs left what they must not, or did not say what failed")


def run(total: int, folder: Path, *, seed: str, names: list[str]) -> dict[tuple[str, str], Counter[str]]:
    """Repeat the jobs with faults, and count what came of it by job and fault."""
    warm_up()
    sound = folder / "sound"
    sound.mkdir()
    make(sound)
    references = {name: Reference.of(folder, sound, WRITTEN[name]) for name in names}
    weights = {name: 4 if reference.new_run.seconds < SLOW_S else 1 for name, reference in references.items()}
    tally: dict[tuple[str, str], Counter[str]] = {}
    for name, reference in references.items():
        share = -(-total * weights[name] // sum(weights.values()))
        rng = random.Random(f"{seed} {name}")
        calls = reference.new_run.calls
        faults = [(how, call) for how in NAMES if how != RANDOM for call in range(1, calls + 1)]
        rng.shuffle(faults)
        chosen = faults[: share - share // 5] + [(RANDOM, 0)] * (share // 5)
        print(f"{name}: {calls} calls, {reference.new_run.seconds:.1f} s; {len(chosen)} runs", flush=True)
        for how, call in chosen:
            outcome, said = reference.bears(how, call, rng.random())
            tally.setdefault((name, NAMES[how]), Counter())[outcome] += 1
            if outcome not in GOOD:
                print(f"  {NAMES[how]} {call}: {outcome}: {said}", flush=True)
    return tally


def warm_up() -> None:
    """Import what the jobs need, so that a copy of this process begins at once."""
    import anndata  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import scanpy  # noqa: F401
    import spatialdata  # noqa: F401
    import torch

    import napari_cmrcnet.cli.commands
    import napari_cmrcnet.evaluation.report
    import napari_cmrcnet.retrieval.preflight
    import napari_cmrcnet.training.fit  # noqa: F401

    torch.set_num_threads(1)


def listing(folder: Path) -> Listing:
    """Return the content of all files by name, but for the cache."""
    files = (path for path in folder.rglob("*") if path.is_file())
    named = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: path.read_bytes() for name, path in named.items() if not name.startswith("cache/")}


def leftovers(folder: Path) -> list[str]:
    """Return the names of temporaries, in the cache too."""
    return sorted(path.name for path in folder.rglob(".*") if path.name.endswith((".part", ".replaced")))


@dataclass(frozen=True)
class Reference:
    """A job that ran without a fault, and what to compare with.

    Parameters
    ----------
    place : Path
        Where each run takes place: always the same, as paths are part of what is written.
    template : Path
        The folder before the run.
    job : Written
        What runs.
    new_run : Ended
        The run without a fault.
    old, new : dict
        Files before and after it.
    """

    place: Path
    template: Path
    job: Written
    new_run: Ended
    old: Listing
    new: Listing

    @classmethod
    def of(cls, folder: Path, sound: Path, job: Written) -> "Reference":
        """Run the job without a fault."""
        place, template = folder / "place", folder / f"before {id(job)}"
        _renew(place, sound)
        before = fork(job.before, place)
        assert before.code == 0, before.said
        shutil.copytree(place, template)
        ended = fork(job.run, place)
        assert ended.code == 0, ended.said
        reference = cls(place, template, job, ended, listing(template), listing(place))
        for name, content in reference.new.items():
            assert (problem := whole(name, content)) is None, f"{name}: {problem}"
        assert not leftovers(place)
        return reference

    def bears(self, how: int, call: int, part: float) -> tuple[str, str]:
        """Run the job with a fault, and return what came of it: "sound", or what is wrong, and details."""
        _renew(self.place, self.template)
        if how == RANDOM:
            ended = fork(self.job.run, self.place, after_s=part * self.new_run.seconds)
        else:
            ended = fork(self.job.run, self.place, how, call)
        if ended.code == -signal.SIGALRM:
            return "hang", ended.said
        if ended.code == 1 and "Traceback" in ended.said:
            return "traceback", ended.said[-400:]
        if how not in KILLS and ended.code not in (0, 1):
            return "crash", f"exit code {ended.code}: {ended.said[-200:]}"
        found = listing(self.place)
        if problem := self._problem(found):
            return "not whole", problem
        if ended.code == 1 and how in (FULL, FAILING) and (left := leftovers(self.place)) and how == FULL:
            return "left files", " ".join(left)
        if how == SHORT and ended.code != 0:
            return "gave up", ended.said[-200:]
        after = fork(self.job.again or self.job.run, self.place)
        if after.code != 0:
            return "next run fails", after.said[-300:]
        if left := leftovers(self.place):
            return "next run leaves", " ".join(left)
        found = listing(self.place)
        if problem := self._problem(found):
            return "next run not whole", problem
        if set(found) != set(self.new):
            return "next run differs", " ".join(sorted(set(found) ^ set(self.new)))
        return "sound", ""

    def _problem(self, found: Mapping[str, bytes]) -> str:
        """Say what is neither old nor new."""
        for name, content in found.items():
            hidden = any(part.startswith(".") for part in name.split("/"))
            if hidden or content == self.old.get(name) or content == self.new.get(name):
                continue
            if (problem := whole(name, content)) is not None:
                return f"{name} {problem}"
        marker = self.job.marker
        for name in self.old:
            if name in self.new and name not in found and name != marker:
                return f"{name} is gone"
        if marker and found.get(marker) == self.old[marker]:
            changed = [name for name in self.old if found.get(name) != self.old[name]]
            return f"{changed[0]} is new beside an old {marker}" if changed else ""
        return ""


def _renew(place: Path, template: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(template, place)


def fork(act: Act, folder: Path, how: int = COUNT, call: int = -1, after_s: float | None = None) -> Ended:
    """Run something in a copy of this process, with a fault at one of its calls or killed after a time."""
    library = ctypes.CDLL(None)
    said, counted = folder.with_name("said.txt"), folder.with_name("calls.txt")
    start = time.monotonic()
    child = os.fork()
    if child == 0:
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
    until = start + (HANG_S if after_s is None else after_s)
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL if after_s is not None else signal.SIGALRM)
            ended = os.waitpid(child, 0)
            break
        time.sleep(0.001)
    calls = int(counted.read_text()) if counted.exists() else 0
    code = os.waitstatus_to_exitcode(ended[1])
    return Ended(code, said.read_text("utf-8", "replace"), calls, time.monotonic() - start)


def _run(act: Act, folder: Path) -> int:
    """Run something as the command line does: what the user or the system did is a sentence, all else a traceback."""
    import traceback

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


def table(tally: Mapping[tuple[str, str], Counter[str]]) -> list[str]:
    """Return a table in Markdown: a row a job, a column a fault, runs that were sound of all."""
    jobs = list(dict.fromkeys(name for name, _ in tally))
    faults = [name for name in NAMES.values() if any(fault == name for _, fault in tally)]
    lines = [f"| what was written | {' | '.join(faults)} |", f"|---|{'---:|' * len(faults)}"]
    for name in [*jobs, "all"]:
        cells = []
        for fault in faults:
            counts: Counter[str] = Counter()
            for (job, kind), counted in tally.items():
                if kind == fault and name in (job, "all"):
                    counts.update(counted)
            cells.append(f"{counts['sound']} of {counts.total()}" if counts else "–")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
