"""Many slides: each is predicted by itself and its file stands when it is done; what stands is not made again."""

import multiprocessing
import os
import signal
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import torch

from napari_cmrcnet.common.errors import Setting, UserError
from napari_cmrcnet.common.progress import Job, Progress, finish
from napari_cmrcnet.retrieval.card import read_card, verify
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.prediction_file import read_provenance
from napari_cmrcnet.retrieval.search import Engine
from napari_cmrcnet.sections.panels import Panel
from napari_cmrcnet.sections.sheet import SheetRow

STEP = "Predicting slides"


@dataclass(frozen=True)
class Task:
    """One slide to predict, as it is sent to another process or machine."""

    row: SheetRow
    checkpoint: Path
    digest: str
    out: Path
    k: int
    device: str
    batch_size: int
    panel: Panel | None
    min_umi: int
    engine: Engine

    @property
    def path(self) -> Path:
        """The file to write."""
        return self.out / f"{self.row.section}.h5ad"

    def run(self, checkpoint: Checkpoint) -> Job[None]:
        """Predict the slide and write its file."""
        section = self.row.open(min_umi=self.min_umi)
        with closing(section.slide):
            prediction = yield from predict(
                section,
                checkpoint,
                k=self.k,
                device=self.device,
                batch_size=self.batch_size,
                panel=self.panel,
                engine=self.engine,
            )
        prediction.save(self.path)


def predict_sheet(
    rows: Sequence[SheetRow],
    checkpoint: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    k: int = 50,
    device: str = "auto",
    batch_size: int = 64,
    panel: Panel | None = None,
    min_umi: int = 0,
    engine: Engine = "built-in",
    workers: int = 1,
    scheduler: str | None = None,
) -> Job[list[Path]]:
    """Predict the slides of a sheet.

    A slide whose file stands already is skipped. A file that another checkpoint, k, slide or spots made is never
    overwritten and never taken for a result: it is refused before any work.

    Parameters
    ----------
    rows : sequence of SheetRow
        The slides.
    checkpoint : path
        The trained model.
    out : path
        Folder for the results, ``SECTION.h5ad``.
    k, device, batch_size, panel
        As `predict`.
    min_umi : int
        Spots with fewer counts are dropped.
    engine : {"built-in", "faiss"}
        What searches the bank.
    workers : int
        Processes of this machine, among which its cores are divided.
    scheduler : str, optional
        Address of a dask.distributed scheduler, to run on its workers instead. They must see the same paths.

    Yields
    ------
    Progress
        Once a slide; with one process also once a batch.

    Returns
    -------
    list of Path
        The files, in the order of the rows.

    Raises
    ------
    UserError
        Before any work, or at the end with the reason for each slide that could not be predicted. The files of the
        others stand.
    """
    folder, out = Path(checkpoint).resolve(), Path(out).resolve()
    card, digest = read_card(folder)
    verify(folder, card)
    tasks = [
        Task(row, folder, digest, out, k, device, batch_size, panel or card.panel, min_umi, engine) for row in rows
    ]
    waiting = [task for task in tasks if not _stands(task)]
    yield Progress(STEP, len(tasks) - len(waiting), len(tasks), "slides")
    if scheduler is not None:
        failed = yield from _on_cluster(waiting, scheduler, len(tasks))
    elif workers > 1 and len(waiting) > 1:
        failed = yield from _in_processes(waiting, min(workers, len(waiting)), len(tasks))
    else:
        failed = yield from _one_by_one(waiting, len(tasks))
    if failed:
        reasons = "; ".join(f"{section}: {str(reason).rstrip('.')}" for section, reason in failed.items())
        setting: Setting = next((reason.setting for reason in failed.values() if reason.setting), "")
        raise UserError(f"{len(failed)} of {len(tasks)} slides could not be predicted: {reasons}.", setting)
    return [task.path for task in tasks]


Failed = dict[str, UserError]
"""Why slides could not be predicted, by section."""


def _stands(task: Task) -> bool:
    """Whether the file of a slide is there; refuses one that was made otherwise."""
    if not task.path.exists():
        return False
    made = read_provenance(task.path)
    spots = task.row.spots or task.row.slide
    min_umi = task.min_umi if task.row.spots else 0  # a grid has no counts
    now = (task.digest, task.k, str(task.row.slide.resolve()), str(spots.resolve()), min_umi, task.panel)
    then = (made.checkpoint_digest, made.k, made.slide, made.spots, made.min_umi, made.panel)
    names = ("checkpoint", "k", "slide", "spots", "min-umi", "panel")
    if other := [name for name, a, b in zip(names, now, then, strict=True) if a != b]:
        raise UserError(f"{task.path} was made with another {' and '.join(other)}; remove it or choose another --out.")
    return True


def _one_by_one(tasks: Sequence[Task], total: int) -> Job[Failed]:
    failed: Failed = {}
    checkpoint: Checkpoint | None = None
    for done, task in enumerate(tasks, start=total - len(tasks) + 1):
        checkpoint = checkpoint or Checkpoint.load(task.checkpoint)
        job = task.run(checkpoint)
        try:
            for progress in job:
                name = f"{progress.step} of {task.row.section}"
                yield Progress(name, progress.done, progress.total, progress.unit, progress.values)
        except UserError as error:
            failed[task.row.section] = error
        finally:
            job.close()
        yield Progress(STEP, done, total, "slides")
    return failed


@lru_cache(maxsize=1)
def _checkpoint_of_this_worker(path: Path, digest: str) -> Checkpoint:
    checkpoint = Checkpoint.load(path)
    if checkpoint.digest != digest:
        raise UserError(f"{path} was replaced meanwhile; start again.")
    return checkpoint


_stop: Event | None = None


def _start_worker(threads: int, stop: Event) -> None:
    """Prepare a process of the pool: its share of the cores, and Ctrl-C left to the parent, which sets ``stop``."""
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)


class _StoppedError(Exception):
    """The parent does not want the result any more."""


def _check_stopped(_: Progress) -> None:
    if _stop is not None and _stop.is_set():
        raise _StoppedError


def run_task(task: Task) -> UserError | None:
    """Predict one slide in a process of its own; return why it could not be done."""
    try:
        finish(task.run(_checkpoint_of_this_worker(task.checkpoint, task.digest)), _check_stopped)
    except UserError as error:
        return error
    return None


def _in_processes(tasks: Sequence[Task], workers: int, total: int) -> Job[Failed]:
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    stop = context.Event()
    threads = max(1, (os.cpu_count() or 1) // workers)
    with ProcessPoolExecutor(workers, context, _start_worker, (threads, stop)) as pool:
        try:
            futures = {pool.submit(run_task, task): task for task in tasks}
            return (yield from _collect(futures, as_completed(futures), total))
        except BrokenProcessPool as error:
            raise UserError(
                "A worker process was ended from outside, often for want of memory; run again with fewer --workers "
                "(slides that are done are kept)."
            ) from error
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def _on_cluster(tasks: Sequence[Task], address: str, total: int) -> Job[Failed]:
    try:
        from distributed import Client
        from distributed import as_completed as completed
    except ImportError as error:
        raise UserError("--scheduler needs dask: pip install 'napari-cmrcnet[cluster]'.") from error
    try:
        client = Client(address, timeout=10, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UserError(f"No dask scheduler answers at {address} ({error}); check --scheduler.") from error
    with client:
        futures = dict(zip(client.map(run_task, tasks, pure=False), tasks, strict=True))
        try:
            return (yield from _collect(futures, completed(list(futures), loop=client.loop), total))
        finally:
            client.cancel(list(futures))


def _collect(futures: dict[Any, Task], finished: Iterable[Any], total: int) -> Job[Failed]:
    """Wait for all slides. What is no UserError is raised when the others are done."""
    failed: Failed = {}
    defects: list[BaseException] = []
    for done, future in enumerate(finished, start=total - len(futures) + 1):
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            raise error
        if error is not None:
            defects.append(error)
        elif (reason := future.result()) is not None:
            failed[futures[future].row.section] = reason
        yield Progress(STEP, done, total, "slides")
    if defects:
        raise defects[0]
    return failed
