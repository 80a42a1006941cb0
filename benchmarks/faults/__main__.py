"""Read damaged files of every format, and count what comes of them.

usage: python -m benchmarks.faults [N] [--seed S] [--jobs J] [--out FOLDER] [--formats NAME …] [--resume]

N inputs (20,000 if not given) are made by changing the structure of sound files, and read by the package's public
functions in processes of their own. Each may be read or be refused in a sentence. Anything else is a defect: a
traceback, the end of the process, ten seconds of computing, 2 GB of memory. It is counted, its files are kept in
FOLDER/failures, and the run ends with status 1. A run that was stopped goes on where it was, unless the code was
changed (with --resume, then too); the same seed makes the same inputs.
"""

import argparse
import os
import sys
from pathlib import Path

from benchmarks.faults import inputs
from benchmarks.faults.formats import FORMATS


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("number", nargs="?", type=int, default=20_000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("--out", type=Path, default=inputs.ROOT / "build" / "faults")
    parser.add_argument("--formats", nargs="+", choices=list(FORMATS), default=list(FORMATS))
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")

    def report(line: str) -> None:
        print(f"\r{line}", end="" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)

    tally = inputs.run(
        options.number,
        options.out,
        seed=options.seed,
        jobs=options.jobs,
        formats=options.formats,
        resume=options.resume,
        report=report,
    )
    print("", *tally.lines(), sep="\n")
    if tally.bad:
        raise SystemExit(f"{tally.bad} inputs ended otherwise than read or refused; see {options.out / 'failures'}")


if __name__ == "__main__":
    main()
