"""What the benchmarks share: ways timed in turn, their results compared, and a row of the table for each goal.

A benchmark is a module of this folder with ``rows(small)``, which yields a `Row` for each line of the table, and
ends in ``if __name__ == "__main__": main(rows)``. It is listed in ``__main__.py``, whose runner gives each a process
of its own::

    def rows(small: bool) -> Iterator[Row]:
        data = make(100 if small else 100_000)
        taken = interleave({"ours": lambda _: ours(data), "plain": lambda _: plain(data)}, rounds=1 if small else 5)
        yield taken.faster("what was done", "ours", than="plain", goal=at_least(2), sizes={"spots": len(data)})

With ``small`` it takes seconds, and tells only whether the results are right.
"""

import argparse
import ctypes
import gc
import importlib.metadata
import json
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

VERSIONS_OF = ("anndata", "faiss-cpu", "napari", "numpy", "openslide-bin", "scipy", "tifffile", "timm", "torch", "zarr")

Way = Callable[[int], Any]
"""Does the work once and returns the result. It is given the round, and waits for a GPU before it returns."""


@dataclass(frozen=True)
class Goal:
    """What a figure should be."""

    sign: Literal["≤", "≥"]
    value: float

    def met(self, figure: float) -> bool:
        """Say whether a figure is as it should be."""
        return figure <= self.value if self.sign == "≤" else figure >= self.value


def at_most(value: float) -> Goal:
    """Return the goal of a figure that should not exceed a value."""
    return Goal("≤", value)


def at_least(value: float) -> Goal:
    """Return the goal of a figure that should reach a value."""
    return Goal("≥", value)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Parameters
    ----------
    what, against : str
        What was done, and the way it is compared with (``""`` where the goal is a plain figure).
    figure : float
        The measured figure that the goal is about.
    unit : str
        ``"×"``, ``"ms"``, ``"MB"``, ...
    goal : Goal, optional
        Without one, the figure is for information.
    sizes : mapping
        How large the work was, and other settings: spots, k, threads, ...
    times : mapping of str to Times
        By way.
    seed : int
        Of the random data.
    note : str
        What a reader must know to judge the figure: what was scaled, what the floor is.
    """

    what: str
    against: str
    figure: float
    unit: str = "×"
    goal: Goal | None = None
    sizes: Mapping[str, Any] = field(default_factory=dict)
    times: Mapping[str, "Times"] = field(default_factory=dict)
    seed: int = 0
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        return None if self.goal is None else self.goal.met(self.figure)


@dataclass(frozen=True)
class Times:
    """Seconds that one way took in each round."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median of the wall seconds."""
        return statistics.median(self.wall)


@dataclass(frozen=True)
class Timings:
    """Seconds that several ways took, measured in turn."""

    ways: Mapping[str, Times]

    def ratio(self, slow: str, fast: str, by: Literal["wall", "cpu"] = "wall") -> float:
        """Return the ratio of the medians of two ways."""
        return statistics.median(getattr(self.ways[slow], by)) / statistics.median(getattr(self.ways[fast], by))

    def faster(self, what: str, ours: str, *, than: str, by: Literal["wall", "cpu"] = "wall", **row: Any) -> Row:
        """Return a row that says how many times faster our way is; ``row`` as the other parameters of `Row`."""
        return self._row(what, ours, than, self.ratio(than, ours, by), row)

    def slower(self, what: str, ours: str, *, than: str, by: Literal["wall", "cpu"] = "wall", **row: Any) -> Row:
        """Return a row that says how many times as long our way takes as another, such as a floor."""
        return self._row(what, ours, than, self.ratio(ours, than, by), row)

    def milliseconds(self, what: str, ours: str, **row: Any) -> Row:
        """Return a row that says how long our way takes."""
        return Row(what, "", 1e3 * self.ways[ours].median, "ms", times={ours: self.ways[ours]}, **row)

    def _row(self, what: str, ours: str, other: str, ratio: float, row: dict[str, Any]) -> Row:
        return Row(what, other, ratio, times={ours: self.ways[ours], other: self.ways[other]}, **row)


def identical(expected: Any, found: Any) -> None:
    """Check that two results, arrays or tuples of arrays, are the same in every bit.

    Raises
    ------
    AssertionError
        If they are not.
    """
    pairs = zip(expected, found, strict=True) if isinstance(expected, tuple) else [(expected, found)]
    for one, other in pairs:
        np.testing.assert_array_equal(other, one, strict=True)


def interleave(
    ways: Mapping[str, Way], rounds: int, same: Callable[[Any, Any], None] | None = identical, warm_up: bool = True
) -> Timings:
    """Time several ways in turn, so that what else the machine does falls upon all of them.

    Parameters
    ----------
    ways : mapping of str to Way
        By name. Every other round runs them in the reverse order.
    rounds : int
        How many are counted.
    same : callable, optional
        Given the first way's result and another's, raises AssertionError where they differ. Called in every round.
        None only where there is nothing to compare.
    warm_up : bool
        Run one round more, before the others, that is checked but not counted.

    Raises
    ------
    AssertionError
        If a way gave another result.
    """
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(-1 if warm_up else 0, rounds):
        results = {}
        for name in ways if turn % 2 == 0 else reversed(ways):
            start, start_cpu = time.perf_counter(), _cpu_seconds()
            results[name] = ways[name](turn)
            if turn >= 0:
                wall[name].append(time.perf_counter() - start)
                cpu[name].append(_cpu_seconds() - start_cpu)
        expected = next(iter(ways))
        for name in ways if same is not None else ():
            try:
                if name != expected:
                    same(results[expected], results[name])
            except AssertionError as error:
                raise AssertionError(f"{name} gives another result than {expected}: {error}") from error
    return Timings({name: Times(tuple(wall[name]), tuple(cpu[name])) for name in ways})


def _cpu_seconds() -> float:
    """Return CPU seconds of this process, all its threads, and the processes it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def extra_memory(prepare: Callable[..., Callable[[], object]], *arguments: Any) -> float:
    """Return the MB that some work takes at its peak, beyond what is held before it (Linux).

    Parameters
    ----------
    prepare : callable
        A function of a module, called with the arguments in a process of its own. Returns the work, a callable.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_extra_memory, (prepare, arguments))


def _extra_memory(prepare: Callable[..., Callable[[], object]], arguments: tuple[Any, ...]) -> float:
    work = prepare(*arguments)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was let go must not be there to be used again
    Path("/proc/self/clear_refs").write_text("5")  # the peak, VmHWM, begins anew
    before = _status_mb("VmRSS")
    work()
    return _status_mb("VmHWM") - before


def _status_mb(name: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024 / 1e6


def main(rows: Callable[[bool], Iterator[Row]]) -> None:
    """Run one benchmark: print its rows, and append them to a file as lines of JSON where one is named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true", help="seconds of work, which fails only on wrong results")
    parser.add_argument("--json", type=Path, help="append a line of JSON for each row to this file")
    options = parser.parse_args()
    name = Path(sys.argv[0]).stem
    for row in rows(options.small):
        record = to_record(name, row, options.small)
        print(line(record), flush=True)
        if options.json is not None:
            with open(options.json, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(record, ensure_ascii=False) + "\n")


def to_record(benchmark: str, row: Row, small: bool) -> dict[str, Any]:
    """Return a row as JSON can hold it, with the machine it was measured on."""
    record = asdict(row) | {"benchmark": benchmark, "small": small, "met": row.met}
    return record | {"machine": machine()}


@cache
def machine() -> dict[str, Any]:
    """Return the kind of machine and the versions that a figure depends on."""
    import torch

    info = Path("/proc/cpuinfo")
    models = [text for text in info.read_text().splitlines() if text.startswith("model name")] if info.exists() else []
    versions = {"python": platform.python_version()}
    for package in VERSIONS_OF:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0)))),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "load": round(os.getloadavg()[0], 1),
        "versions": versions,
    }


def line(record: Mapping[str, Any]) -> str:
    """Return a row of the table, in Markdown."""
    goal, figure = record["goal"], f"{record['figure']:.3g} {record['unit']}"
    judged = {True: "met", False: "**missed**", None: ""}[None if record["small"] else record["met"]]
    wanted = f"{goal['sign']} {goal['value']:g} {record['unit']}" if goal else ""
    times = "; ".join(f"{way} {_span(times['wall'])}" for way, times in record["times"].items())
    return f"| {record['what']} | {record['against']} | {figure} | {wanted} | {judged} | {times} | {record['note']} |"


HEADER = (
    "| what | against | measured | goal | | median (min–max) | note |",
    "|---|---|---|---|---|---|---|",
)


def _span(seconds: list[float]) -> str:
    unit, scale = ("s", 1.0) if statistics.median(seconds) >= 1 else ("ms", 1e3)
    low, middle, high = (f"{scale * value:.3g}" for value in (min(seconds), statistics.median(seconds), max(seconds)))
    return f"{middle} ({low}–{high}) {unit}"
