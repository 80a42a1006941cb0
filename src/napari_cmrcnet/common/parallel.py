"""Units of work spread over processes or machines: each stands or falls by itself."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from ctypes import c_bool
from multiprocessing.queues import SimpleQueue
from typing import Any, Protocol

import torch

from napari_cmrcnet.common.device import cuda_devices
from napari_cmrcnet.common.errors import NO_MEMORY, UserError, is_out_of_memory, system_error
from napari_cmrcnet.common.progress import Job, Progress, finish
from napari_cmrcnet.common.threads import set_blas_threads

logger = logging.getLogger(__name__)


class Unit(Protocol):
    """A piece of work, as it is sent to another process or machine. Its result is a file that it writes whole."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def run(self) -> Job[None]:
        """Do it."""


Failed = dict[str, UserError]
"""Why units could not be done, by name."""


def spread(
    units: Sequence[Unit],
    *,
    step: str,
    kind: str,
    total: int | None = None,
    workers: int = 1,
    scheduler: str | None = None,
) -> Job[Failed]:
    """Do all units, and return why some could not be done.

    Parameters
    ----------
    units : sequence of Unit
        What is to be done.
    step : str
        What is being done: ``"Predicting slides"``.
    kind : str
        The plural name of a unit: ``"slides"``.
    total : int, optional
        Units in all, where some are done already.
    workers : int
        Processes of this machine, among which its cores and GPUs are divided.
    scheduler : str, optional
        Address of a dask.distributed scheduler, to run on its workers instead. They must see the same paths.

    Yields
    ------
    Progress
        Once a unit; with one process also what the unit yields.

    Raises
    ------
    UserError
        If a process was ended from outside, or the scheduler does not answer. What is done stands.
    """
    total = len(units) if total is None else total
    if scheduler is not None:
        return (yield from _on_cluster(units, scheduler, step, kind, total))
    if workers > 1 and len(units) > 1:
        return (yield from _in_processes(units, min(workers, len(units)), step, kind, total))
    return (yield from _one_by_one(units, step, kind, total))


def _one_by_one(units: Sequence[Unit], step: str, kind: str, total: int) -> Job[Failed]:
    failed: Failed = {}
    for done, unit in enumerate(units, start=total - len(units) + 1):
        job = unit.run()
        try:
            for progress in job:
                name = f"{progress.step} of {unit.name}"
                yield Progress(name, progress.done, progress.total, progress.unit, progress.values)
        except Exception as error:  # noqa: BLE001 - each unit falls by itself
            failed[unit.name] = _reason(unit.name, error)
        finally:
            job.close()
        yield Progress(step, done, total, kind)
    return failed


_stop: c_bool | None = None  # without a lock, which a worker that is killed might hold for good
_number: int | None = None


def own_device(asked: str) -> str:
    """Return the device of this process: the processes of `spread` share the GPUs of their machine among them.

    Parameters
    ----------
    asked : str
        As `choose_device` takes it; a device that is named is not changed.
    """
    if _number is None or asked not in ("auto", "cuda") or not (usable := cuda_devices()):
        return asked
    return f"cuda:{usable[_number % len(usable)]}"


def _start_worker(threads: int, stop: c_bool, numbers: "SimpleQueue[int]") -> None:
    """Prepare a process of the pool: its share of the cores, and Ctrl-C left to the parent, which sets ``stop``."""
    global _stop, _number
    _stop, _number = stop, numbers.get()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    set_blas_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent is gone: a killed one cannot say so, and no worker may go on for nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class StoppedError(Exception):
    """The parent does not want the result any more."""


def check_stopped(_: Progress) -> None:
    """Raise `StoppedError` in a worker whose parent does not want its result any more."""
    if _stop is not None and _stop.value:
        raise StoppedError


def run_unit(unit: Unit) -> UserError | None:
    """Do one unit in a process of its own; return why it could not be done."""
    try:
        finish(unit.run(), check_stopped)
    except StoppedError:
        raise
    except Exception as error:  # noqa: BLE001 - each unit falls by itself
        return _reason(unit.name, error)
    return None


def _reason(name: str, error: Exception) -> UserError:
    """Say why a unit could not be done; details of a bug go to the log."""
    if isinstance(error, UserError):
        return error
    if is_out_of_memory(error):
        return UserError(NO_MEMORY)
    if isinstance(error, OSError) and error.filename:
        return UserError(system_error(error))
    logger.error("%s failed", name, exc_info=error)
    return UserError(
        f"an unexpected error ({type(error).__name__}: {error}); this is a bug, please report it with the log"
    )


def _in_processes(units: Sequence[Unit], workers: int, step: str, kind: str, total: int) -> Job[Failed]:
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    stop, numbers = context.RawValue(c_bool), context.SimpleQueue()
    for number in range(workers):
        numbers.put(number)
    threads = max(1, (os.cpu_count() or 1) // workers)
    with ProcessPoolExecutor(workers, context, _start_worker, (threads, stop, numbers)) as pool:
        try:
            futures = {pool.submit(run_unit, unit): unit for unit in units}
            return (yield from _collect(futures, as_completed(futures), step, kind, total))
        except BrokenProcessPool as error:
            raise UserError(
                "A worker process was stopped by the system, often because memory ran out; run again with fewer "
                f"workers ({kind} that are done are kept)."
            ) from error
        finally:
            stop.value = True
            pool.shutdown(cancel_futures=True)


def _on_cluster(units: Sequence[Unit], address: str, step: str, kind: str, total: int) -> Job[Failed]:
    try:
        from distributed import Client
        from distributed import as_completed as completed
    except ImportError as error:
        raise UserError("A cluster needs dask: pip install 'napari-cmrcnet[cluster]'.") from error
    try:
        client = Client(address, timeout=10, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UserError(f"No dask scheduler answers at {address} ({error}); check its address.") from error
    with client:
        futures = dict(zip(client.map(run_unit, units, pure=False), units, strict=True))
        try:
            return (yield from _collect(futures, completed(list(futures), loop=client.loop), step, kind, total))
        finally:
            client.cancel(list(futures))


def _collect(futures: dict[Any, Unit], finished: Iterable[Any], step: str, kind: str, total: int) -> Job[Failed]:
    """Wait for all units."""
    failed: Failed = {}
    for done, future in enumerate(finished, start=total - len(futures) + 1):
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            raise error
        name = futures[future].name
        reason = future.result() if error is None else _reason(name, error)
        if reason is not None:
            failed[name] = reason
        yield Progress(step, done, total, kind)
    return failed
