"""Run all benchmarks, one after another, each in a process of its own, and print the whole table.

usage: python -m benchmarks [--small] [NAME ...]

Every row also becomes a line of JSON in build/benchmarks.jsonl. With --small, seconds of work that fail only on wrong
results. Ends with status 1 if a result was wrong; a missed goal is printed and is no error.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.harness import HEADER, line

BENCHMARKS = (
    "retrieval",
    "export_all",
    "second_slide",
    "opening",
    "many_spots",
    "reading",
    "predicting",
    "encoder",
    "training",
    "frozen_fit",
    "gene_switch",
    "gene_view",
    "gene_list",
    "live_window",
    "felt",
    "startup",
)  # in the order of the table of docs/performance.md
ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "build" / "benchmarks.jsonl"


def main() -> None:
    """Run them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="which; all if none is named")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.unlink(missing_ok=True)
    # Two threads on every machine, unless asked otherwise: the goals are for two cores.
    environment = {"OMP_NUM_THREADS": "2"} | os.environ
    wrong = []
    for name in options.names or BENCHMARKS:
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(RESULTS)]
        start = time.perf_counter()
        done = subprocess.run(command + ["--small"] * options.small, cwd=ROOT, env=environment, check=False)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
        wrong += [name] * (done.returncode != 0)
    records = [json.loads(text) for text in RESULTS.read_text("utf-8").splitlines()] if RESULTS.exists() else []
    print("", *HEADER, *map(line, records), "", sep="\n")
    if not options.small:
        judged = [record["met"] for record in records if record["goal"]]
        print(f"{sum(judged)} of {len(judged)} goals met")
    if wrong:
        raise SystemExit(f"wrong result or error in {', '.join(wrong)}")


if __name__ == "__main__":
    main()
