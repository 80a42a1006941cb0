"""Changed inputs of every format are read or refused in a sentence; the runner sees what is neither."""

import random
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # the benchmarks are no part of the package

from benchmarks.faults import inputs, worker  # noqa: E402
from benchmarks.faults.formats import FORMATS  # noqa: E402

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of a process are read from Linux's /proc")


def test_every_base_is_read_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMRCNET_CACHE", str(tmp_path / "cache"))
    for name, kind in FORMATS.items():
        folder = tmp_path / name
        for file, content in kind.make().items():
            worker._write(folder / file, content)
        for file in kind.changes:
            kind.read(folder, file)


def test_a_change_is_the_same_for_the_same_number() -> None:
    for name, kind in FORMATS.items():
        if name in ("checkpoint", "prediction"):
            continue
        files = kind.make()
        one, other = (kind.changed(files, random.Random(f"1 {name} 7")) for _ in range(2))
        assert one == other
        assert any(kind.changed(files, random.Random(n))[1] != files[one[0]] for n in range(5))


def test_a_part_of_the_long_run_has_no_defect(tmp_path: Path) -> None:
    tally = inputs.run(400, tmp_path, seed="tests", jobs=1, formats=list(FORMATS), report=lambda _: None)
    assert not tally.bad, "\n".join(tally.lines())
    counted = sum(sum(counts.values()) for counts in tally.counts.values())
    assert counted >= 400
    assert all(counts["refused"] for counts in tally.counts.values())
    again = inputs.run(400, tmp_path, seed="tests", jobs=2, formats=list(FORMATS), report=pytest.fail)
    assert again.counts == tally.counts, "what was read is read again"


def test_formats_that_a_long_run_does_not_read_more_often_may_be_read_alone() -> None:
    assert sum(last - first for _, first, last in inputs.chunks_of(100_000, ["Xenium"])) == inputs.SHORT


ODD = """
import os, signal, sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from benchmarks.faults import worker
from benchmarks.faults.formats import FORMATS, Format
from napari_cmrcnet.common.errors import UserError

def hang():
    while True:
        pass

def refuse():
    raise UserError("no.")

def let_in():
    assert False, "a count is negative"

ACTS = {{
    "refused": refuse,
    "traceback": lambda: 1 / 0,
    "let in": let_in,
    "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "hang": hang,
    "memory": lambda: len(b"x" * (2**30 + 2**28)),
    "left files": lambda: Path("left").touch(),
}}

def read(folder, name):
    os.chdir(folder)
    number = int(Path(name).read_text())
    if number % 2:
        ACTS[{outcomes!r}[number // 2]]()

FORMATS["odd"] = Format(lambda: {{}}, {{"a": lambda rng, data: str(rng.number).encode()}}, read, 1)
worker.random.Random = lambda text: Numbered(text)

class Numbered:
    def __init__(self, text):
        self.number = text.rpartition(" ")[2]
    def choice(self, of):
        return of[0]

worker.MEMORY = 2**30
worker.main()
"""


def test_each_outcome_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second input is read, if need be by a process that takes the place of one that ended."""
    outcomes = ["refused", "traceback", "let in", "crash", "hang", "memory", "left files"]
    monkeypatch.setattr(inputs, "HANG_S", 3.0)  # a busy machine takes one to fill 1 GB
    inputs.write_base(tmp_path / "odd.zip", {"a": b"a"})
    (tmp_path / "odd.py").write_text(ODD.format(root=str(ROOT), outcomes=outcomes))
    reader = inputs.Worker(tmp_path / "work", tmp_path, "1", (sys.executable, str(tmp_path / "odd.py")))
    try:
        found = list(reader.run(("odd", 0, 2 * len(outcomes) + 1)))
    finally:
        reader.stop()
    assert [number for number, _, _ in found] == list(range(2 * len(outcomes) + 1))
    assert [came_of for _, came_of, _ in found[::2]] == ["read"] * (len(outcomes) + 1)
    assert [came_of for _, came_of, _ in found[1::2]] == outcomes
    bad = {f"odd {number}": outcome for number, outcome, _ in found if outcome in inputs.BAD}
    assert {kept.name for kept in (tmp_path / "failures").iterdir()} == {*bad}
    for name, outcome in bad.items():
        kept = tmp_path / "failures" / name
        assert (kept / "a").read_text() == name.removeprefix("odd ")
        assert outcome in (kept / "what.txt").read_text()
