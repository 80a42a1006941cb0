"""Two processes at once that write to one place; one of them may be killed.

usage: python -m benchmarks.faults.together [N] [--seed S] [--jobs NAME …]

Two runs of a job of `jobs.WRITTEN` begin within the time that one takes, N times in all (60 if not given); in a third
of the cases one of them is killed at a random moment. The second may wait, write as well, or be refused in a sentence:
another process writes there, or (of train, which overwrites nothing) it has written what is there.
One that was not killed must have succeeded, unless it was refused while the killed one lived. What is there must be
whole, and the next run must succeed and leave nothing. Ends with status 1 where that is not so. Linux only.
"""

import argparse
import random
import signal
from collections import Counter
from pathlib import Path

from benchmarks.faults.forked import Ended, Running, interposed, listing, renew, warm_up
from benchmarks.faults.jobs import WRITTEN
from benchmarks.faults.kills import make_references
from benchmarks.faults.reference import Reference
from benchmarks.faults.site import served

KILLED = 1 / 3
CAME = ("both wrote or waited", "one was refused", "one was killed")
BUSY = "being written by another process"
THERE = "exists; remove it or choose another name for --out."


def main() -> None:
    """Run it, in a process whose calls can be counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("number", nargs="?", type=int, default=60)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--jobs", nargs="+", choices=list(WRITTEN), default=list(WRITTEN))
    options = parser.parse_args()
    interposed("benchmarks.faults.together", lambda folder: _main(options, folder))


def _main(options: argparse.Namespace, folder: Path) -> None:
    bad = 0
    lines = [f"| what was written | {' | '.join(CAME)} | as promised |", "|---|---:|---:|---:|---:|"]
    with served():
        warm_up()
        references = make_references(folder, options.jobs)
        total: Counter[str] = Counter()
        for name, reference in references.items():
            rng, counts = random.Random(f"{options.seed} {name}"), Counter[str]()
            for _ in range(-(-options.number // len(references))):
                came, problem = both(reference, rng)
                counts.update([came] if problem else [came, "sound"])
                if problem:
                    bad += 1
                    print(f"  {name}: {came}: {problem}", flush=True)
            total += counts
            lines.append(_row(name, counts))
            print(lines[-1], flush=True)
    print("", *lines, _row("all", total), sep="\n")
    if bad:
        raise SystemExit(f"{bad} pairs left what they must not, or did not say what was wrong")


def _row(name: str, counts: Counter[str]) -> str:
    runs = sum(counts[came] for came in CAME)
    return f"| {name} | {' | '.join(str(counts[came]) for came in CAME)} | {counts['sound']} of {runs} |"


def both(reference: Reference, rng: random.Random) -> tuple[str, str]:
    """Run a job twice at once; return what came of it, and what is wrong, "" if nothing."""
    renew(reference.place, reference.template)
    seconds = reference.new_run.seconds
    begun = [Running(reference.job.run, reference.place, name="1")]
    begun[0].computed(rng.random() * seconds)
    begun.append(Running(reference.job.run, reference.place, name="2"))
    ends: list[Ended] = []
    if rng.random() < KILLED:
        rng.shuffle(begun)
        one = begun.pop()
        ends.append(one.ended(rng.random() * seconds))
    ends += [one.ended() for one in begun]
    killed = [one for one in ends if one.code == -signal.SIGKILL]
    ends = [one for one in ends if one not in killed]
    refused = [one for one in ends if one.code]
    came = CAME[2] if killed else CAME[1] if refused else CAME[0]
    for one in ends:
        if one.problem:
            return came, f"{one.problem}: {one.said[-400:]}"
    allowed = [BUSY] if reference.job.again is None else [BUSY, THERE]
    for one in refused:
        if not any(sentence in " ".join(one.said.split()) for sentence in allowed):
            return came, f"said: {one.said[-400:]}"
    if len(refused) == 2:
        return came, "both were refused"
    if problem := reference.problem(listing(reference.place)):
        return came, problem
    outcome, said = reference.next_run()
    return came, "" if outcome == "sound" else f"{outcome}: {said}"


if __name__ == "__main__":
    main()
