"""Cancel long jobs at their yields: how long until the next yield, how long the job takes to clean up, what is left.

usage: python -m benchmarks.faults.cancels [N] [--seed S] [--jobs NAME …]

Each job runs on the sample once to its end, and N times in all (60 if not given) to a yield drawn at random, where it
is closed as Cancel and Ctrl-C do. After each, no file is there that was not before. Only what is meant to be gone on
with (a training, the finished slides of a sheet) may be there, whole. Ends with status 1 where that is not so; a pause
of more than 200 ms of computing between two yields is counted and is no error.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults.whole import whole
from napari_cmrcnet.common.progress import Job
from napari_cmrcnet.evaluation.demo import sample_folder

GOAL_S = 0.2


@dataclass(frozen=True)
class Cancelled:
    """What cancelling a job took.

    Parameters
    ----------
    pauses : list of (float, str)
        Seconds of computing between its yields, and what was done.
    closing : list of float
        Seconds from a yield at which it was closed to its end.
    left : list of str
        What was left and must not be.
    """

    pauses: list[tuple[float, str]]
    closing: list[float]
    left: list[str]


class Sample:
    """The sample's section, checkpoint and prediction, loaded once."""

    def __init__(self, folder: Path) -> None:
        from napari_cmrcnet.common.progress import finish
        from napari_cmrcnet.retrieval.checkpoint import Checkpoint
        from napari_cmrcnet.retrieval.predict import predict
        from napari_cmrcnet.retrieval.predict_config import PredictConfig
        from napari_cmrcnet.sections.sheet import read_sheet

        self.rows = read_sheet(sample_folder() / "sections.csv")
        self.path = sample_folder() / "sample.cmrcnet"
        self.checkpoint = Checkpoint.load(self.path)
        self.section = self.rows[0].open()
        self.prediction = finish(predict(self.section, self.checkpoint, PredictConfig(device="cpu")))
        self.prediction.save(folder / "p.h5ad")


def _jobs(sample: Sample) -> dict[str, Callable[[Path], Job[Any]]]:
    from napari_cmrcnet.evaluation.html_report import write_html_report
    from napari_cmrcnet.evaluation.report import evaluate
    from napari_cmrcnet.retrieval.export import to_csv, to_geojson
    from napari_cmrcnet.retrieval.export_tables import to_h5ad, to_spatialdata
    from napari_cmrcnet.retrieval.predict import predict
    from napari_cmrcnet.retrieval.predict_config import PredictConfig
    from napari_cmrcnet.retrieval.predict_sheet import predict_sheet
    from napari_cmrcnet.slides.patches import PatchSpec
    from napari_cmrcnet.synthetic.simulate import simulate
    from napari_cmrcnet.training.config import FitConfig
    from napari_cmrcnet.training.fit import fit

    prediction, on_cpu = sample.prediction, PredictConfig(device="cpu")
    tiny = FitConfig(preset="tiny", epochs=1, device="cpu", patch=PatchSpec(64, 0.5))
    return {
        "predict": lambda _: predict(sample.section, sample.checkpoint, on_cpu),
        "predict a sheet": lambda out: predict_sheet(sample.rows, sample.path, out / "sheet", on_cpu),
        "evaluate": lambda out: evaluate([prediction], out / "report"),
        "train": lambda out: fit([sample.section], tiny, out / "t.cmrcnet"),
        "CSV": lambda out: to_csv(prediction, out / "e.csv"),
        "QuPath detections": lambda out: to_geojson(prediction, out / "e.geojson"),
        "h5ad": lambda out: to_h5ad(prediction, out / "e.h5ad"),
        "SpatialData": lambda out: to_spatialdata(prediction, out / "e.zarr"),
        "HTML report": lambda out: write_html_report(prediction, out / "e.html"),
        "simulate": lambda out: simulate(out / "simulated", n_sections=1),
    }


GOES_ON = ("sheet/", "t.training/", "report/", "simulated/", "cache/")
"""Where files may be after Cancel, each of them whole."""


def cancel(job: Callable[[Path], Job[Any]], folder: Path, times: int, rng: random.Random) -> Cancelled:
    """Run a job to its end and to some of its yields."""
    pauses, closing, left = [], [], []
    begun, step = time.process_time(), "Beginning"
    for progress in job(folder / "whole"):
        pauses.append((time.process_time() - begun, step))
        begun, step = time.process_time(), progress.step
    pauses.append((time.process_time() - begun, step))
    for turn in range(times):
        place = folder / str(turn)
        place.mkdir()
        steps = job(place)
        for _ in range(rng.randint(1, len(pauses) - 1)):
            if next(steps, None) is None:
                break
        begun = time.perf_counter()
        steps.close()
        closing.append(time.perf_counter() - begun)
        for path in sorted(place.rglob("*")):
            name = path.relative_to(place).as_posix()
            if (path.is_file() and not name.startswith(GOES_ON)) or (
                path.is_file() and (path.suffix == ".part" or whole(name, path.read_bytes()))
            ):
                left.append(name)
    return Cancelled(pauses, closing, left)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("number", nargs="?", type=int, default=60)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--jobs", nargs="+")
    options = parser.parse_args(arguments)
    print("| job | yields | cancelled | pause, 95 % | longest pause | to clean up, longest | left |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    failed, every = False, []
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        os.environ["CMRCNET_CACHE"] = str(folder / "cache")
        jobs = _jobs(Sample(folder))
        for name in options.jobs or jobs:
            (folder / name).mkdir()
            share = -(-options.number // len(options.jobs or jobs))
            found = cancel(jobs[name], folder / name, share, random.Random(f"{options.seed} {name}"))
            failed |= bool(found.left)
            seconds = [pause for pause, _ in found.pauses]
            every += seconds
            pause, (longest, step) = 1e3 * np.percentile(seconds, 95), max(found.pauses)
            cells = (name, len(seconds) - 1, share, f"{pause:.0f} ms", f"{1e3 * longest:.0f} ms ({step})")
            print(
                "|",
                " | ".join(map(str, (*cells, f"{1e3 * max(found.closing, default=0):.0f} ms", len(found.left)))),
                "|",
            )
            for file in sorted(set(found.left)):
                print(f"left: {name}: {file}", file=sys.stderr)
    share = np.mean(np.array(every) <= GOAL_S)
    print(f"\n{share:.1%} of {len(every):,} pauses between yields were at most {1e3 * GOAL_S:.0f} ms.")
    if failed:
        raise SystemExit("something was left that must not be")


if __name__ == "__main__":
    main()
