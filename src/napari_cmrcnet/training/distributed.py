"""Several processes, one training: on the GPUs of one machine, or of several, each process started by torchrun.

The contrastive loss compares all pairs of a batch, so its meaning hangs on the batch's size. Every process
therefore computes its share of the embeddings, gathers those of the others with their gradient, and computes
the loss of the whole batch: one process with 64 spots and two with 32 do the same step. A convolutional encoder
normalises by the whole batch on GPUs; on CPUs, where torch cannot, each process normalises by its own share.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import nn

from napari_cmrcnet.common.device import autocast, choose_device, cuda_devices
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.training.config import FitConfig

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


def processes() -> int:
    """Return how many processes share a batch, on all machines together: as many as torchrun started, or one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def check_devices(config: FitConfig) -> None:
    """Refuse devices that cannot train together, and a precision they lack.

    Raises
    ------
    UserError
        With the number of devices found.
    """
    device = choose_device(config.device)
    autocast(device, config.precision)  # refuses what the device cannot do, before patches are cut
    if (count := processes()) == 1:
        return
    if device.type == "mps":
        raise UserError(f"A Mac has one GPU, and {count} processes cannot share it; start one, or give --device cpu.")
    here, found = int(os.environ.get("LOCAL_WORLD_SIZE", count)), len(cuda_devices())
    if device.type == "cuda" and here > found:
        raise UserError(f"{here} GPUs are asked for and {found} found; start torchrun with --nproc-per-node {found}.")
    if config.device.startswith("cuda:"):
        raise UserError(f"{config.device} is one GPU, and {count} are asked for; start one process, or --device cuda.")
    if device.type == "cuda" and not dist.is_nccl_available():
        raise UserError("Several GPUs need NCCL, which this build of torch lacks; start one process.")
    if count > config.batch_size:
        raise UserError(
            f"{count} processes cannot share a batch of {config.batch_size} spots; give a --batch-size of at least "
            f"{count}, or start fewer processes."
        )


@contextmanager
def join(config: FitConfig) -> Iterator[Process]:
    """Be the process that torchrun started, or the only one."""
    device = choose_device(config.device)
    if processes() == 1:
        yield Process(device)
        return
    rank, count, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    device = _local_device(device, local)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method="env://", rank=rank, world_size=count, timeout=PATIENCE)
    try:
        yield Process(device, rank, count)
    finally:
        dist.destroy_process_group()


def _local_device(device: torch.device, i: int) -> torch.device:
    """Return the device of the i-th process of a machine."""
    return torch.device("cuda", cuda_devices()[i]) if device.type == "cuda" else device
