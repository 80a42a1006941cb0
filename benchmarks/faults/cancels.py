"""Cancel long jobs at their yields: how long until the next yield, how long the job takes to clean up, what is left.

usage: python -m benchmarks.faults.cancels [N] [--seed S] [--jobs NAME …]

Each job runs once to its end, on the sample (S4 and its checkpoint) where it can, for the time between its yields. Then
the jobs run on two sections of 16 spots, to a yield drawn at random, where they are closed as Cancel and Ctrl-C do,
until N were closed in all (60 if not given). After each, no file is there that was not before. Only what is meant to be
gone on with (a training, the finished slides of a sheet) may be there, whole. A job may end before that yield, since it
makes more yields where the machine is busy: it is counted apart, its result must be whole, and it runs again to an
earlier yield. Ends with status 1 where that is not so; a pause of more than 200 ms of computing between two yields is
counted and is no error.
"""

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults.jobs import make
from benchmarks.faults.site import section, served
from benchmarks.faults.whole import whole
from napari_cmrcnet.common.progress import Job, finish
from napari_cmrcnet.common.sample import sample_folder
from napari_cmrcnet.retrieval.predict_config import PredictConfig

GOAL_S = 0.2
FEWEST = 10  # times that a job is cancelled
GOES_ON = ("sheet/", "t.training/", "report/", "simulated/", "benchmark/", "cache/")
"""Where files may be after Cancel, each of them whole."""

ON_CPU = PredictConfig(k=4, device="cpu")
Make = Callable[[Path], Job[Any]]


@dataclass(frozen=True)
class Timed:
    """A job that ran to its end: seconds of computing between its yields, and what was done."""

    pauses: list[tuple[float, str]]

    @property
    def seconds(self) -> float:
        """Of all of it."""
        return sum(pause for pause, _ in self.pauses)


@dataclass(frozen=True)
class Cancelled:
    """Seconds from each yield at which a job was closed to its end, and what was left and must not be.

    Jobs that had ended before they could be closed are counted apart; what they wrote is left only if it is not whole.
    """

    closing: list[float]
    left: list[str]
    ended: int


class Inputs:
    """What the jobs work on: the rows of a sheet, a checkpoint, and the first section with its prediction.

    Parameters
    ----------
    sheet, checkpoint : Path
        The files.
    folder : Path
        Where the prediction is saved.
    """

    def __init__(self, sheet: Path, checkpoint: Path, folder: Path) -> None:
        from napari_cmrcnet.retrieval.checkpoint import Checkpoint
        from napari_cmrcnet.retrieval.predict import predict
        from napari_cmrcnet.sections.sheet import read_sheet

        self.rows, self.path = read_sheet(sheet), checkpoint
        self.checkpoint = Checkpoint.load(checkpoint)
        self.section = self.rows[0].open()
        self.prediction = finish(predict(self.section, self.checkpoint, ON_CPU))
        self.prediction.save(folder / "prediction.h5ad")


def jobs_of(of: Inputs) -> dict[str, Make]:
    """Return the jobs, each of which writes into a folder."""
    from napari_cmrcnet.benchmark.dataset import Dataset
    from napari_cmrcnet.benchmark.plan import Plan
    from napari_cmrcnet.benchmark.run import benchmark
    from napari_cmrcnet.catalogue.public_data import download
    from napari_cmrcnet.evaluation.html_report import write_html_report
    from napari_cmrcnet.evaluation.maps_figure import write_maps_figure
    from napari_cmrcnet.evaluation.report import evaluate
    from napari_cmrcnet.evaluation.shown import gene_shown
    from napari_cmrcnet.retrieval.export import to_csv, to_geojson
    from napari_cmrcnet.retrieval.export_tables import to_h5ad, to_spatialdata
    from napari_cmrcnet.retrieval.predict import predict
    from napari_cmrcnet.retrieval.predict_sheet import predict_sheet
    from napari_cmrcnet.slides.patches import PatchSpec
    from napari_cmrcnet.synthetic.simulate import simulate
    from napari_cmrcnet.training.config import FitConfig
    from napari_cmrcnet.training.fit import fit

    prediction, patch = of.prediction, PatchSpec(64, 0.5)
    tiny = FitConfig(preset="tiny", variant="paper", epochs=1, device="cpu", patch=patch, batch_size=8)
    plan = Plan(methods=("mean", "depth"), preset="tiny", patch=patch, device="cpu")
    drawn = gene_shown(prediction, prediction.genes[0], None)
    jobs: dict[str, Make] = {
        "predict": lambda _: predict(of.section, of.checkpoint, ON_CPU),
        "predict a sheet": lambda out: predict_sheet(of.rows, of.path, out / "sheet", ON_CPU),
        "evaluate": lambda out: evaluate([prediction], out / "report"),
        "train": lambda out: fit([of.section], tiny, out / "t.cmrcnet"),
        "CSV": lambda out: to_csv(prediction, out / "e.csv"),
        "QuPath detections": lambda out: to_geojson(prediction, out / "e.geojson"),
        "h5ad": lambda out: to_h5ad(prediction, out / "e.h5ad"),
        "SpatialData": lambda out: to_spatialdata(prediction, out / "e.zarr"),
        "HTML report": lambda out: write_html_report(prediction, out / "e.html"),
        "figure": lambda out: write_maps_figure(prediction, out / "e.png", drawn),
        "simulate": lambda out: simulate(out / "simulated", n_sections=1, spots=20),
        "download": lambda _: download(section()),
    }
    if len(of.rows) > 1:
        jobs["benchmark"] = lambda out: benchmark(Dataset("two sections", tuple(of.rows)), plan, out / "benchmark")
    return jobs


def time_yields(job: Make, folder: Path) -> Timed:
    """Run a job to its end."""
    folder.mkdir(parents=True)
    os.environ["CMRCNET_CACHE"] = str(folder / "cache")
    pauses, begun, step = [], time.process_time(), "Beginning"
    for progress in job(folder):
        pauses.append((time.process_time() - begun, step))
        begun, step = time.process_time(), progress.step
    pauses.append((time.process_time() - begun, step))
    return Timed(pauses)


def cancel(job: Make, folder: Path, times: int, yields: int, rng: random.Random) -> Cancelled:
    """Run a job to some of its yields, until it was closed so many times."""
    closing: list[float] = []
    left, ended = [], 0
    while len(closing) < times:
        place = folder / f"{len(closing)} {ended}"
        place.mkdir(parents=True)
        os.environ["CMRCNET_CACHE"] = str(place / "cache")
        steps, before, at = job(place), set(threading.enumerate()), rng.randint(1, yields)
        made = sum(1 for _ in islice(steps, at))
        if made == at:
            begun = time.perf_counter()
            steps.close()
            closing.append(time.perf_counter() - begun)
        else:
            ended, yields = ended + 1, max(1, made)
        for thread in set(threading.enumerate()) - before:  # which nobody waits for elsewhere
            if not thread.name.startswith("asyncio"):  # zarr's, which wait for work without end
                thread.join(30)
        left += leftovers(place, ended=made < at)
    return Cancelled(closing, left, ended)


def leftovers(place: Path, ended: bool) -> list[str]:
    """Name the files that must not be where a job was closed, or where it had ended."""
    files = {path.relative_to(place).as_posix(): path for path in sorted(place.rglob("*")) if path.is_file()}
    return [
        name
        for name, path in files.items()
        if not (ended or name.startswith(GOES_ON))
        or (path.suffix == ".part" and "/public/" not in name)  # a download goes on there
        or whole(name, path.read_bytes())
    ]


def shares(small: Mapping[str, Timed], total: int) -> dict[str, int]:
    """Divide a number of runs among jobs, fewer to slow ones."""
    weights = {name: max(0.05, timed.seconds) ** -0.5 for name, timed in small.items()}
    each = {name: max(FEWEST, round(total * weight / sum(weights.values()))) for name, weight in weights.items()}
    fastest = max(weights, key=weights.__getitem__)
    return each | {fastest: max(FEWEST, each[fastest] + total - sum(each.values()))}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("number", nargs="?", type=int, default=60)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--jobs", nargs="+")
    options = parser.parse_args(arguments)
    site = served() if "download" in (options.jobs or ["download"]) else nullcontext()
    with tempfile.TemporaryDirectory() as text, site:
        failed = _main(Path(text), options)
    if failed:
        raise SystemExit("something was left that must not be")


def _main(folder: Path, options: argparse.Namespace) -> bool:
    os.environ["CMRCNET_CACHE"] = str(folder / "cache")
    for name in ("sample", "two"):
        (folder / name).mkdir()
    make(folder / "two")
    sample = jobs_of(Inputs(sample_folder() / "sections.csv", sample_folder() / "sample.cmrcnet", folder / "sample"))
    small = jobs_of(Inputs(folder / "two" / "sheet.csv", folder / "two" / "m.cmrcnet", folder / "two"))
    names = options.jobs or list(small)
    timed = {name: time_yields(sample.get(name, small[name]), folder / "timed" / name) for name in names}
    short = {name: time_yields(small[name], folder / "short" / name) for name in names}
    every, closing, failed = [], [], False
    print(
        "| job | yields | longest pause | pauses over 200 ms | cancelled | to clean up, longest | left | ended before |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, times in shares(short, options.number).items():
        rng = random.Random(f"{options.seed} {name}")
        found = cancel(small[name], folder / "cancelled" / name, times, max(1, len(short[name].pauses) - 1), rng)
        longest, step = max(timed[name].pauses)
        seconds = [pause for pause, _ in timed[name].pauses]
        late = sum(pause > GOAL_S for pause in seconds)
        cells = (name, len(seconds) - 1, f"{1e3 * longest:.0f} ms ({step})", f"{late} of {len(seconds)}", times)
        cells = (*cells, f"{1e3 * max(found.closing):.0f} ms", len(found.left), found.ended)
        print("|", " | ".join(map(str, cells)), "|", flush=True)
        every += seconds
        closing += found.closing
        failed |= bool(found.left)
        for file in sorted(set(found.left)):
            print(f"left: {name}: {file}", file=sys.stderr, flush=True)
    share = np.mean(np.array(every) <= GOAL_S)
    pause, close = 1e3 * np.percentile(every, 95), 1e3 * np.percentile(closing, 95)
    print(f"\n{share:.1%} of {len(every):,} pauses between yields were at most {1e3 * GOAL_S:.0f} ms of computing;")
    print(f"the 95th percentile is {pause:.0f} ms. {len(closing):,} jobs were closed; the 95th percentile of")
    print(f"the time to clean up is {close:.0f} ms, the longest {1e3 * max(closing):.0f} ms.")
    return failed


if __name__ == "__main__":
    main()
