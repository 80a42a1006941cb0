"""What the learned methods share: their spots, one training loop, and how patches are encoded in batches."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_cmrcnet.common.device import autocast, enough_memory
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.model.symmetries import SYMMETRIES, apply_symmetries
from napari_cmrcnet.retrieval.encode import to_input
from napari_cmrcnet.retrieval.protocol import IMAGENET
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.slides.patch_cache import patch_cache
from napari_cmrcnet.slides.patches import PatchSpec
from napari_cmrcnet.training.data import BatchReader

Float32 = NDArray[np.float32]
Rows = NDArray[np.int64]
B = TypeVar("B")

SECONDS_BETWEEN_FIGURES = 0.25  # a GPU is waited for when its loss is read


@dataclass(frozen=True, eq=False)
class PatchInputs:
    """What a network reads of spots: patches, flipped and turned in training, and expression."""

    reader: BatchReader
    patch: PatchSpec
    device: torch.device
    colour: tuple[Sequence[float], Sequence[float]] = (IMAGENET.mean, IMAGENET.std)

    def __len__(self) -> int:
        return len(self.reader.spots)

    @property
    def expression(self) -> Any:
        """Expression of all training spots, CSR (n, genes)."""
        return self.reader.spots.expression

    def read(self, rows: Rows, symmetries: NDArray[np.bool_] | None = None) -> tuple[Tensor, Tensor]:
        """Read patches (b, 3, side, side), shifted and scaled, and expression (b, genes) of some spots."""
        batch = self.reader.read(rows)
        pixels = batch.pixels.to(self.device)
        if symmetries is not None:
            pixels = apply_symmetries(pixels, symmetries)
        return to_input(pixels, *self.colour, device=self.device), batch.expression.to(self.device)

    def apply(
        self, network: nn.Module, forward: Callable[[Tensor], Tensor], section: Section, *, turned: bool = False
    ) -> Job[Float32]:
        """Apply a network to a section's patches, float32 (n, d); where ``turned``, the mean over their symmetries."""
        patches = yield from patch_cache(section, self.patch)

        def of_all(pixels: Tensor) -> Tensor:
            each = [
                forward(to_input(apply_symmetries(pixels, np.tile(one, (len(pixels), 1))), *self.colour, self.device))
                for one in (SYMMETRIES if turned else SYMMETRIES[:1])
            ]
            return torch.stack(each).float().mean(dim=0) if turned else each[0]

        return (yield from apply_in_batches("Encoding patches", network, of_all, patches, self.device))


def train(
    *,
    title: str,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    batches: Callable[[np.random.Generator], Sequence[B]],
    loss: Callable[[B, np.random.Generator], Tensor],
    epochs: int,
    seed: int,
    device: torch.device,
    accumulate: int = 1,
    after_epoch: Callable[[], Job[Mapping[str, float]]] | None = None,
) -> Job[None]:
    """Train a network on one device, and leave it in evaluation mode.

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
    epochs, seed : int
        How many epochs, and the start of their random numbers.
    device : torch.device
        Where the network is.
    accumulate : int
        Batches whose mean gradient makes a step; the last step of an epoch may have fewer.
    after_epoch : callable, optional
        Called after each epoch, with the network in evaluation mode; a job that returns figures for the progress.

    Raises
    ------
    UserError
        If the loss is not finite, or there is not enough memory.
    """
    values: Mapping[str, float]
    with enough_memory(device, f"the training of {title}"):
        for epoch in range(1, epochs + 1):
            rng = np.random.default_rng([seed, epoch])
            torch.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))  # dropout
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
            if after_epoch is not None:
                values = yield from after_epoch()
                yield Progress(step, before + n, epochs * n, "batches", {"epoch": epoch, **values})


def apply_in_batches(
    title: str,
    network: nn.Module,
    forward: Callable[[Tensor], Tensor],
    patches: NDArray[np.uint8] | Float32,
    device: torch.device,
    batch_size: int = 64,
) -> Job[Float32]:
    """Apply a network, in evaluation mode, to patches batch by batch.

    Parameters
    ----------
    title : str
        Of what is being done, for the progress.
    network : nn.Module
        On its device.
    forward : callable
        Patches, uint8 tensor (b, side, side, 3) on the device, or features (b, f), to (b, d).
    patches : uint8 array, (n, side, side, 3), or float32 array, (n, f)
        All patches, or features of them.

    Returns
    -------
    float32 array, (n, d)
    """
    network.eval()
    blocks = []
    for start in range(0, len(patches), batch_size):
        yield Progress(title, start, len(patches), "patches")
        pixels = torch.from_numpy(np.array(patches[start : start + batch_size])).to(device)
        # Inference mode belongs to the thread: entered for each batch, it never reaches who runs this job.
        with enough_memory(device, "a batch"), torch.inference_mode(), autocast(device):
            blocks.append(forward(pixels).float().cpu().numpy())
    yield Progress(title, len(patches), len(patches), "patches")
    result: Float32 = np.concatenate(blocks)
    return result
