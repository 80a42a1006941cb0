"""Every benchmark runs in its small form and finds that all ways give the same result.

Those that are given a sheet have no small form; `test_frozen` runs them on sections whose features it has.
"""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # the benchmarks are no part of the package

from benchmarks.__main__ import BENCHMARKS  # noqa: E402
from benchmarks.harness import at_least, at_most, interleave, main  # noqa: E402

APART = ("gene_view", "many_spots", "gene_list", "live_window", "startup")  # those in a window, and of what is imported


@pytest.mark.parametrize("name", sorted({*BENCHMARKS} - {*APART}))
def test_small_form(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--small"])
    main(importlib.import_module(f"benchmarks.{name}").rows)
    assert capsys.readouterr().out.startswith("| ")


def test_small_form_in_a_process_of_their_own() -> None:
    modules = ", ".join(f"benchmarks.{name}" for name in APART)
    code = f"import {modules}\nfor each in ({modules}):\n  print(each.__name__)\n  benchmarks.harness.main(each.rows)"
    command = [sys.executable, "-c", code, "--small"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    skipped = [text for text in done.stdout.splitlines() if " is skipped: " in text]
    for name in APART:
        assert re.search(rf"^benchmarks\.{name}\n(\| |.* is skipped: )", done.stdout, re.MULTILINE)
    if skipped:
        pytest.skip("\n".join(skipped))


def test_a_wrong_result_ends_the_run() -> None:
    ways = {"ours": lambda _: np.array([1.0, 2.0]), "broken": lambda _: np.array([1.0, 2.5])}
    with pytest.raises(AssertionError, match="broken gives another result than ours"):
        interleave(ways, rounds=1)


def test_ways_are_run_in_turn() -> None:
    order = []
    ways = {name: lambda turn, name=name: order.append((name, turn)) for name in ("one", "two")}
    taken = interleave(ways, rounds=2, same=None)
    assert order == [("two", -1), ("one", -1), ("one", 0), ("two", 0), ("two", 1), ("one", 1)]
    row = taken.faster("nothing", "one", than="two", goal=at_least(0))
    assert row.met
    assert len(row.times["two"].wall) == 2


def test_goals() -> None:
    assert at_most(1.3).met(1.3)
    assert not at_most(1.3).met(1.31)
    assert at_least(2).met(2)
    assert not at_least(2).met(1.99)
