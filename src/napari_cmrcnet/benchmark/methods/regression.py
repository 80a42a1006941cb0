"""What the learned methods share: one training loop."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from napari_cmrcnet.benchmark.methods.method import Task
from napari_cmrcnet.common.device import autocast, enough_memory
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress

B = TypeVar("B")

SECONDS_BETWEEN_FIGURES = 0.25  # a GPU is waited for when its loss is read


def train(
    title: str,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    batches: Callable[[np.random.Generator], Sequence[B]],
    loss: Callable[[B, np.random.Generator], Tensor],
    task: Task,
    epochs: int,
    *,
    accumulate: int = 1,
    validate: Callable[[], Job[float]] | None = None,
) -> Job[None]:
    """Train a network on the device where it is, and leave it in evaluation mode.

    Parameters
    ----------
    title : str
        Of the method, for the progress.
    network : nn.Module
        On its device.
    optimiser : torch.optim.Optimizer
        Of the network's parameters.
    batches : callable
        Given an epoch's random numbers, returns its batches; every epoch has as many.
    loss : callable
        Given a batch and the epoch's random numbers, returns the loss to descend, a scalar tensor.
    task : Task
        Whose seed is the start of the random numbers.
    epochs : int
        How many, unless the task says it.
    accumulate : int
        Batches whose mean gradient makes a step; the last step of an epoch may have fewer.
    validate : callable, optional
        Called after each epoch, with the network in evaluation mode; a job that returns the loss on spots that are not
        trained on. The network ends with the weights of the epoch of least such loss, in place of the last one's.

    Raises
    ------
    UserError
        If the loss is not finite, or there is not enough memory.
    """
    values: Mapping[str, float]
    best: dict[str, Tensor] = {}
    least, epochs, device = math.inf, task.epochs or epochs, next(network.parameters()).device
    with enough_memory(device, f"the training of {title}"):
        for epoch in range(1, epochs + 1):
            rng = np.random.default_rng([task.seed, epoch])
            torch.manual_seed(int(np.random.SeedSequence([task.seed, epoch]).generate_state(1)[0]))  # dropout
            network.train()
            of_epoch = batches(rng)
            n, step = len(of_epoch), f"Training {title}"
            before = (epoch - 1) * n
            total = torch.zeros((), device=device)
            values = {}
            shown = time.perf_counter()
            for i, batch in enumerate(of_epoch):
                first = i - i % accumulate
                with autocast(device):
                    cost = loss(batch, rng)
                (cost / min(accumulate, n - first)).backward()  # type: ignore[no-untyped-call]
                if (i + 1) % accumulate == 0 or i + 1 == n:
                    optimiser.step()
                    optimiser.zero_grad(set_to_none=True)
                total += cost.detach()
                if time.perf_counter() - shown > SECONDS_BETWEEN_FIGURES:
                    shown, values = time.perf_counter(), {"loss": float(cost.detach())}
                yield Progress(step, before + i + 1, epochs * n, "batches", {"epoch": epoch, **values})
            if not math.isfinite(float(total)):
                raise UserError(f"The loss of {title} is not finite in epoch {epoch}; give a lower learning rate.")
            network.eval()
            if validate is not None:
                found = yield from validate()
                if found < least:
                    least, best = found, {name: value.detach().clone() for name, value in network.state_dict().items()}
                yield Progress(step, before + n, epochs * n, "batches", {"epoch": epoch, "validation loss": found})
    if best:
        network.load_state_dict(best)
