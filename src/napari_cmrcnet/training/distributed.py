"""Several processes, one training: on the GPUs of one machine, or of several through torchrun.

The contrastive loss compares all pairs of a batch, so its meaning hangs on the batch's size. Every process
therefore computes its share of the embeddings, gathers those of the others with their gradient, and computes
the loss of the whole batch: one process with 64 spots and two with 32 do the same step. A convolutional encoder
normalises by the whole batch on GPUs; on CPUs, where torch cannot, each process normalises by its own share.
"""

import multiprocessing
import os
import queue
import signal
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.distributed as dist
from torch import nn

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.retrieval.device import autocast, choose_device, cuda_devices
from napari_cmrcnet.training.config import FitConfig

if TYPE_CHECKING:
    from napari_cmrcnet.training.loop import Plan

PATIENCE = timedelta(hours=6)  # the others wait while the first process cuts patches or saves


@dataclass(frozen=True)
class Process:
    """One of the processes of a training, and the device it works on."""

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files and reports progress."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.count > 1:
            dist.barrier()

    def wrap(self, model: nn.Module, all_used: bool = True) -> nn.Module:
        """Return the model with its gradients averaged over the processes in the backward pass.

        ``all_used`` is False where some weights may have no part in the loss, such as a timm model's pooling.
        """
        if self.count == 1:
            return model
        if self.device.type == "cuda":  # on CPUs torch has none: each process normalises by its own spots
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return nn.parallel.DistributedDataParallel(model, find_unused_parameters=not all_used)

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the rows of all processes, (b, d) to (count * b, d), through which gradients flow back."""
        return cast("torch.Tensor", _GatherRows.apply(rows)) if self.count > 1 else rows


class _GatherRows(torch.autograd.Function):
    """All-gather whose gradient is that of the sum of every process's loss.

    Each process computes the same loss of the whole batch, so that sum is ``count`` times the loss, and the
    average over processes that DDP takes of the parameters' gradients is the gradient of the loss itself.
    """

    @staticmethod
    def forward(_: Any, rows: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(_: Any, *gradients: torch.Tensor) -> torch.Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()]


def started_by_torchrun() -> bool:
    """Whether this process is one of several that torchrun started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def processes_of(config: FitConfig) -> int:
    """Return how many processes share a batch, on all machines together."""
    return int(os.environ["WORLD_SIZE"]) if started_by_torchrun() else config.devices


def check_devices(config: FitConfig) -> None:
    """Refuse devices that cannot train together, a precision they lack, and several machines without torchrun.

    Raises
    ------
    UserError
        With the number of devices found, or the command to use.
    """
    if config.num_nodes > 1 and not started_by_torchrun():
        raise UserError(
            f"A training on {config.num_nodes} machines is started on each of them by torchrun: "
            f"torchrun --nnodes {config.num_nodes} --nproc-per-node {config.devices} --rdzv-backend c10d "
            "--rdzv-endpoint FIRST_MACHINE:29500 -m napari_cmrcnet train …"
        )
    device = choose_device(config.device)
    autocast(device, config.precision)  # refuses what the device cannot do, before patches are cut
    if (count := processes_of(config)) == 1:
        return
    if device.type == "mps":
        raise UserError(f"A Mac has one GPU, and {count} processes cannot share it; give --devices 1, or --device cpu.")
    here = int(os.environ.get("LOCAL_WORLD_SIZE", config.devices)) if started_by_torchrun() else config.devices
    found = len(cuda_devices())
    if device.type == "cuda" and here > found:
        raise UserError(f"{here} GPUs are asked for and {found} found; give --devices {found}.")
    if config.device.startswith("cuda:"):
        raise UserError(f"{config.device} is one GPU, and {count} are asked for; give --devices 1, or --device cuda.")
    if device.type == "cuda" and not dist.is_nccl_available():
        raise UserError("Several GPUs need NCCL, which this build of torch lacks; give --devices 1.")
    if count > config.batch_size:
        raise UserError(
            f"{count} processes cannot share a batch of {config.batch_size} spots; give a --batch-size of at least "
            f"{count}, or fewer --devices."
        )


@contextmanager
def join(config: FitConfig) -> Iterator[Process]:
    """Be the process that torchrun started, or the only one."""
    device = choose_device(config.device)
    if not started_by_torchrun():
        yield Process(device)
        return
    rank, count, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    with _group(_local_device(device, local), rank, count, "env://") as process:
        yield process


def _local_device(device: torch.device, i: int) -> torch.device:
    """Return the device of the i-th process of a machine."""
    return torch.device("cuda", cuda_devices()[i]) if device.type == "cuda" else device


@contextmanager
def _group(device: torch.device, rank: int, count: int, meeting_point: str) -> Iterator[Process]:
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=meeting_point, rank=rank, world_size=count, timeout=PATIENCE)
    try:
        yield Process(device, rank, count)
    finally:
        dist.destroy_process_group()


def train_in_processes(plan: "Plan") -> Job[None]:
    """Run a training in ``config.devices`` processes of this machine.

    A script that calls this needs the usual ``if __name__ == "__main__":``, since each process imports it.

    Raises
    ------
    UserError
        The first one raised in a process.
    RuntimeError
        If a process ended otherwise.
    """
    context = multiprocessing.get_context("spawn")
    messages: multiprocessing.Queue[Progress | UserError | str | None] = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        meeting_point = (Path(folder) / "processes").as_uri()
        children = [
            context.Process(target=_child, args=(plan, rank, meeting_point, messages), daemon=True)
            for rank in range(plan.config.devices)
        ]
        try:
            for child in children:
                child.start()
            while (message := _next_message(messages, children)) is not None:
                yield message
            for child in children:
                child.join()
        finally:
            for child in children:
                if child.is_alive():
                    child.terminate()
                    child.join()


def _next_message(messages: Any, children: list[Any]) -> Progress | None:
    while True:
        ended = [child.exitcode for child in children if child.exitcode]
        try:
            message = messages.get(timeout=1)
        except queue.Empty:
            if ended:
                raise UserError(
                    f"A training process was ended from outside (code {ended[0]}), often for want of memory; resume "
                    "the training with fewer processes or smaller batches."
                ) from None
            continue
        if isinstance(message, UserError):
            raise message
        if isinstance(message, str):
            raise RuntimeError(f"A training process failed:\n{message}")
        return cast("Progress | None", message)


def _child(plan: "Plan", rank: int, meeting_point: str, messages: Any) -> None:
    from napari_cmrcnet.training.loop import train

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends its children
    config = plan.config
    device = _local_device(choose_device(config.device), rank)
    if device.type == "cpu":
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // config.devices))
    parent = multiprocessing.parent_process()
    try:
        with _group(device, rank, config.devices, meeting_point) as process:
            for progress in train(plan, process):
                if parent is None or not parent.is_alive():
                    return  # killed: nothing may write to its folder any more
                if process.first:
                    messages.put(progress)
            process.wait()
        if rank == 0:
            messages.put(None)
    except UserError as error:
        messages.put(error)
    except Exception:  # noqa: BLE001  sent to the parent, which raises it
        messages.put(traceback.format_exc())
