"""Kill what writes, or let its disk fail, at each call and at any moment; what is left is looked at, and the next run.

usage: python -m benchmarks.faults.kills [N] [--failing M] [--seed S] [--jobs NAME …] [--out FILE]

The jobs of `jobs.WRITTEN` are killed (SIGKILL) N times in all (200 if not given): before, after or within a call that
changes a file, or, a fifth of them, at a random moment. In M more runs (N / 2 if not given) the disk is full or
read-only from one such call on, or one call fails (EIO) or writes half of what it was given. Then every file must be
the old one or the new one, whole; a run that was not killed must have said in a sentence what failed; and the next run
must succeed and leave nothing of the one before. Ends with status 1 where that is not so. With FILE each run is written
down, and a call that was stopped goes on. Linux only; takes a C compiler (`cc`).
"""

import argparse
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.faults.forked import (
    FAILING,
    FULL,
    KILL_AFTER,
    KILL_BEFORE,
    KILL_WITHIN,
    READ_ONLY,
    SHORT,
    interposed,
    warm_up,
)
from benchmarks.faults.jobs import WRITTEN, make
from benchmarks.faults.reference import RANDOM, Reference
from benchmarks.faults.site import served

NAMES = {
    KILL_BEFORE: "killed before a call", KILL_AFTER: "killed after a call", KILL_WITHIN: "killed within a call",
    RANDOM: "killed at any moment", FULL: "disk full", FAILING: "input/output error", READ_ONLY: "read-only",
    SHORT: "half a write",
}  # fmt: skip
AT_CALLS = (KILL_BEFORE, KILL_AFTER, KILL_WITHIN)
FAILURES = (FULL, FAILING, READ_ONLY, SHORT)
AT_ANY_MOMENT = 0.2  # of the kills
FEWEST = 10  # runs of a job
Tally = dict[tuple[str, str], Counter[str]]


def main() -> None:
    """Run it, in a process whose calls can be counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("number", nargs="?", type=int, default=200)
    parser.add_argument("--failing", type=int)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--jobs", nargs="+", choices=list(WRITTEN), default=list(WRITTEN))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    interposed("benchmarks.faults.kills", lambda folder: _main(options, folder))


def _main(options: argparse.Namespace, folder: Path) -> None:
    failing = options.number // 2 if options.failing is None else options.failing
    with served():
        warm_up()
        tally = run(options.number, failing, folder, seed=options.seed, names=options.jobs, out=options.out)
    print("", *table(tally), sep="\n")
    if bad := sum(counts.total() - counts["sound"] for counts in tally.values()):
        raise SystemExit(f"{bad} runs left what they must not, or did not say what failed")


def run(kills: int, failing: int, folder: Path, *, seed: str, names: Sequence[str], out: Path | None = None) -> Tally:
    """Repeat the jobs with faults, in a random order, and count what came of it by job and fault."""
    references = make_references(folder, names)
    rng = random.Random(f"{seed} {kills} {failing}")
    chosen = [
        (name, *fault)
        for number, faults in ((kills, AT_CALLS), (failing, FAILURES))
        for name, share in shares(references, number).items()
        for fault in draw(share, references[name].new_run.calls, faults, rng)
    ]
    rng.shuffle(chosen)
    lines = out.read_text().splitlines() if out is not None and out.exists() else []
    tally: Tally = {}
    for line in lines:
        done = json.loads(line)
        tally.setdefault((done["job"], done["fault"]), Counter())[done["outcome"]] += 1
    for name, how, call, part in chosen[len(lines) :]:
        outcome, said = references[name].bears(how, call, part)
        tally.setdefault((name, NAMES[how]), Counter())[outcome] += 1
        if outcome != "sound":
            print(f"  {name}: {NAMES[how]} {call}: {outcome}: {said}", flush=True)
        if out is not None:
            with open(out, "a") as stream:
                stream.write(json.dumps({"job": name, "fault": NAMES[how], "call": call, "outcome": outcome}) + "\n")
    return {(name, fault): tally[name, fault] for name in names for fault in NAMES.values() if (name, fault) in tally}


def make_references(folder: Path, names: Sequence[str]) -> dict[str, Reference]:
    """Run the jobs without a fault, in a folder with what they need."""
    sound = folder / "sound"
    sound.mkdir()
    make(sound)
    return {name: Reference.of(folder, sound, WRITTEN[name]) for name in names}


def shares(references: Mapping[str, Reference], total: int) -> dict[str, int]:
    """Divide a number of runs among jobs, fewer to slow ones."""
    weights = {name: max(0.1, reference.new_run.seconds) ** -0.5 for name, reference in references.items()}
    each = {name: max(FEWEST, round(total * weight / sum(weights.values()))) for name, weight in weights.items()}
    fastest = max(weights, key=weights.__getitem__)
    return each | {fastest: max(FEWEST, each[fastest] + total - sum(each.values()))}


def draw(number: int, calls: int, faults: Sequence[int], rng: random.Random) -> list[tuple[int, int, float]]:
    """Draw faults, each at a call; of kills some at a part of the run's time."""
    moments = round(number * AT_ANY_MOMENT) if faults is AT_CALLS else 0
    at_calls = [(rng.choice(faults), rng.randint(1, max(1, calls)), 0.0) for _ in range(number - moments)]
    return at_calls + [(RANDOM, 0, rng.random()) for _ in range(moments)]


def table(tally: Mapping[tuple[str, str], Counter[str]]) -> list[str]:
    """Return a table in Markdown: one row per job, one column per fault: runs that ended as promised, of all."""
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
