"""Reads changed inputs of every format in processes of their own, and counts what came of them."""

import contextlib
import hashlib
import json
import os
import queue
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import napari_cmrcnet
from benchmarks.faults.formats import FORMATS
from benchmarks.faults.worker import DUMP

SHORT = 20_000  # inputs of a run in CI; what a longer one reads beyond is shared out otherwise
CHUNK = 250  # inputs after which the result is written down
LIFE = 60  # chunks read by one process: memory that libraries keep must not count against a later input
HANG_S = 10.0  # of computing for one input
WAIT_S = 1200.0  # for an answer, on a machine that does other things too: a process that waits computes nothing
STARTING_S = 120.0  # of computing for the first, which imports everything
GOOD = ("read", "refused")
BAD = ("traceback", "let in", "crash", "hang", "memory", "left files", "not made")
ROOT = Path(__file__).parents[2]

Chunk = tuple[str, int, int]


def chunks_of(total: int, formats: list[str]) -> list[Chunk]:
    """Share a number of inputs out among formats, in parts that are the same for any larger number.

    The parts of all come by turns, so that what a run has read when it is stopped is shared out as the whole is.
    """
    short, shares = min(total, SHORT), sum(FORMATS[name].share for name in formats)
    further, parts = total - short, sum(FORMATS[name].further for name in formats) or 1
    found = []
    for name in formats:
        count = -(-short * FORMATS[name].share // shares) + -(-further * FORMATS[name].further // parts)
        found += [(first / count, (name, first, min(first + CHUNK, count))) for first in range(0, count, CHUNK)]
    return [chunk for _, chunk in sorted(found)]


@dataclass
class Worker:
    """One process that reads inputs, replaced when it has to be ended."""

    work: Path
    kept: Path
    seed: str
    command: tuple[str, ...] = (sys.executable, "-m", "benchmarks.faults.worker")
    process: "subprocess.Popen[str] | None" = None
    _buffer: str = field(default="", init=False)
    _chunks: int = field(default=0, init=False)

    def run(self, chunk: Chunk) -> Iterator[tuple[int, str, str]]:
        """Yield number, outcome and words for each input of a chunk."""
        name, first, end = chunk
        self._chunks += 1
        if self._chunks % LIFE == 0:
            self.stop()
        while first < end:
            warm = self.process is not None
            process = self._started()
            assert process.stdin is not None
            process.stdin.write(f"{name}\t{first}\t{end}\n")
            process.stdin.flush()
            while first < end:
                answer = self._answer(process, HANG_S if warm else STARTING_S)
                if answer is None:
                    outcome = "hang" if process.poll() is None else "crash"
                    yield first, outcome, self._end(process, f"{name} {first}", outcome)
                    first += 1
                    break
                warm = True
                number, outcome, said = answer.split("\t", 2)
                first = int(number) + 1
                yield int(number), outcome, said

    def _started(self) -> "subprocess.Popen[str]":
        if self.process is None:
            command = [*self.command, str(self.work), str(self.kept), self.seed]
            self._buffer = ""
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                errors="replace",
            )  # fmt: skip
        return self.process

    def _answer(self, process: "subprocess.Popen[str]", patience: float) -> str | None:
        """Return the next line, or None where the process ended or does not answer."""
        assert process.stdout is not None
        since, computed = time.monotonic(), None
        while "\n" not in self._buffer:
            if select.select([process.stdout], [], [], 0.5)[0]:
                got = os.read(process.stdout.fileno(), 2**16).decode("utf-8", "replace")
                if not got:
                    process.wait()
                    return None
                self._buffer += got
            elif computed is None:
                computed = _computed(process.pid)
            elif _computed(process.pid) - computed > patience or time.monotonic() - since > max(WAIT_S, patience):
                return None
        line, _, self._buffer = self._buffer.partition("\n")
        return line

    def _end(self, process: "subprocess.Popen[str]", name: str, outcome: str) -> str:
        """End the process, keep what it was reading, and return what is known of where it was."""
        if outcome == "hang":
            process.send_signal(signal.SIGUSR1)  # it writes down where it is
            time.sleep(0.5)
        self.stop()
        code = process.returncode
        place = self.kept / "failures" / name
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.work / "input", place)
        stacks = (self.work / DUMP).read_text("utf-8", "replace") if (self.work / DUMP).is_file() else ""
        (place / "what.txt").write_text(
            f"{name} of seed {self.seed}\n{outcome} (exit code {code})\n{stacks}\n", "utf-8"
        )
        ours = [line.strip() for line in stacks.splitlines() if "napari_cmrcnet" in line]
        return f"exit code {code} {ours[0].rpartition('napari_cmrcnet/')[2] if ours else ''}"

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            with contextlib.suppress(BrokenPipeError):
                self.process.communicate()
            self.process = None


def _computed(pid: int) -> float:
    """Return the seconds that a process has computed, 0 where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return 0.0


@dataclass
class Tally:
    """What came of inputs, by format."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    defects: dict[tuple[str, str, str], list[int]] = field(default_factory=dict)

    def add(self, record: dict[str, Any]) -> None:
        """Count a chunk."""
        self.counts.setdefault(record["format"], Counter()).update(record["counts"])
        for number, outcome, said in record["defects"]:
            self.defects.setdefault((record["format"], outcome, said), []).append(number)

    @property
    def bad(self) -> int:
        """How many inputs ended otherwise than read or refused."""
        return sum(counts[outcome] for counts in self.counts.values() for outcome in BAD)

    def lines(self) -> Iterator[str]:
        """Yield a table in Markdown, and the defects."""
        shown = (*GOOD, *BAD[:5], *(name for name in BAD[5:] if any(counts[name] for counts in self.counts.values())))
        yield f"| format | inputs | {' | '.join(shown)} |"
        yield f"|---|{'---:|' * (len(shown) + 1)}"
        everything: Counter[str] = Counter()
        for name in FORMATS:
            if counts := self.counts.get(name):
                everything.update(counts)
                yield f"| {name} | {counts.total():,} | {' | '.join(f'{counts[each]:,}' for each in shown)} |"
        yield f"| all | {everything.total():,} | {' | '.join(f'{everything[each]:,}' for each in shown)} |"
        for (name, outcome, said), numbers in sorted(self.defects.items(), key=lambda item: -len(item[1])):
            yield f"{len(numbers):6} × {name}: {outcome}: {said} (first: {name} {min(numbers)})"


def _begin(out: Path, resume: bool) -> None:
    """Make the folder, emptied of what other code has read unless that is to count too."""
    digest = hashlib.sha256()
    for folder in (Path(napari_cmrcnet.__file__).parent, Path(__file__).parent):
        for file in sorted(folder.rglob("*.py")):
            digest.update(file.read_bytes())
    code = out / "code.txt"
    if not resume and (not code.exists() or code.read_text() != digest.hexdigest()):
        for path in (*out.glob("*.zip"), out / "results.jsonl"):
            path.unlink(missing_ok=True)
        shutil.rmtree(out / "failures", ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    code.write_text(digest.hexdigest())


def write_base(path: Path, files: Mapping[str, bytes]) -> None:
    """Write the sound files that are changed."""
    with zipfile.ZipFile(path, "w") as base:
        for name, content in files.items():
            base.writestr(name, content)


def run(
    total: int, out: Path, *, seed: str, jobs: int, formats: list[str], resume: bool = False, report: Any = print
) -> Tally:
    """Read inputs that are not read yet, and return the tally of all.

    Parameters
    ----------
    total : int
        How many inputs, over all formats.
    out : Path
        Where bases, results and failing inputs are kept; a run of the same code that was stopped goes on there.
    seed : str
        What the changes are drawn from.
    jobs : int
        Processes beside each other.
    formats : list of str
        Which.
    resume : bool
        Count what other code has read there, too, and go on.
    report : callable
        Called with a line from time to time.
    """
    _begin(out, resume)
    for name in sorted({chunk[0] for chunk in chunks_of(total, formats)}):
        if not (out / f"{name}.zip").exists():
            write_base(out / f"{name}.zip", FORMATS[name].make())
    tally, results = Tally(), out / "results.jsonl"
    wanted, done = chunks_of(total, formats), set()
    for line in results.read_text("utf-8").splitlines() if results.exists() else ():
        record = json.loads(line)
        chunk = (record["format"], record["first"], record["end"])
        if record["seed"] == seed and chunk in set(wanted) - done:
            done.add(chunk)
            tally.add(record)
    waiting: queue.SimpleQueue[Chunk] = queue.SimpleQueue()
    for chunk in wanted:
        if chunk not in done:
            waiting.put(chunk)
    start, lock, read = time.monotonic(), threading.Lock(), 0

    def work(place: Path) -> None:
        nonlocal read
        worker = Worker(place, out.absolute(), seed)
        try:
            while True:
                try:
                    chunk = waiting.get_nowait()
                except queue.Empty:
                    return
                begun = time.monotonic()
                answers = list(worker.run(chunk))
                seconds = time.monotonic() - begun
                defects = [answer for answer in answers if answer[1] not in GOOD]
                counts = Counter(outcome for _, outcome, _ in answers)
                record = {
                    "seed": seed, "format": chunk[0], "first": chunk[1], "end": chunk[2], "counts": counts,
                    "defects": defects, "seconds": round(seconds, 2),
                }  # fmt: skip
                with lock:
                    with results.open("a", encoding="utf-8") as stream:
                        stream.write(json.dumps(record) + "\n")
                    tally.add(record)
                    read += len(answers)
                    passed = time.monotonic() - start
                    report(f"{read:,} inputs in {passed:.0f} s ({read / passed:.0f} a second), {tally.bad} defects")
        finally:
            worker.stop()

    memory = Path("/dev/shm")  # a disk would be what is waited for
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        threads = [threading.Thread(target=work, args=(Path(folder) / str(job),), daemon=True) for job in range(jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return tally
