"""Patches to embeddings."""

import os
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_cmrcnet.common.device import autocast, choose_precision, enough_memory, release_memory, to_device
from napari_cmrcnet.common.errors import UserError, is_out_of_memory
from napari_cmrcnet.common.progress import Job, Progress, in_thread
from napari_cmrcnet.retrieval.protocol import IMAGENET_MEAN, IMAGENET_STD
from napari_cmrcnet.slides.patches import PatchBatch, unreadable_error

if TYPE_CHECKING:
    from napari_cmrcnet.sections.section import Section

GPU_READERS = 8  # threads, as a GPU encodes patches faster than two can read them


def readers(device: torch.device) -> int:
    """Return how many threads are to read patches for a device."""
    return 2 if device.type == "cpu" else min(GPU_READERS, os.cpu_count() or 1)


def to_input(
    pixels: NDArray[np.uint8] | torch.Tensor,
    mean: Sequence[float] | torch.Tensor = IMAGENET_MEAN,
    std: Sequence[float] | torch.Tensor = IMAGENET_STD,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Turn pixels into what the image encoder reads.

    Parameters
    ----------
    pixels : uint8 array or tensor, (b, h, w, 3)
        RGB patches.
    mean, std : sequence of 3 float, or float tensor, (b, 3)
        Of R, G, B in 0–1; the same for all patches, or each patch's.
    device : torch.device or str
        Where to; the bytes are copied there before they become floats.

    Returns
    -------
    float32 tensor, (b, 3, h, w)
    """
    device = torch.device(device)
    there = to_device(pixels, device)
    shift, scale = (
        to_device(torch.as_tensor(part, dtype=torch.float32).mul(255).view(-1, 3, 1, 1), device) for part in (mean, std)
    )
    return there.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).sub_(shift).div_(scale)


def encode_patches(
    model: Any,
    batches: Generator[PatchBatch],
    section: "Section",
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    device: torch.device | str = "cpu",
    precision: str = "auto",
    test_time_augmentation: bool = False,
) -> Job[NDArray[np.float32]]:
    """Encode the patches of a section in whichever order they come.

    Once a patch is unreadable the rest is read to find all that are, but no longer encoded. A batch takes seconds on a
    CPU; it is encoded in a thread, so that Cancel does not wait for it.

    Parameters
    ----------
    model : CMRCNet or another module that embeds patches
        Its ``embed_image`` takes patches (b, 3, h, w), shifted and scaled, and returns (b, d). Moved to the device and
        left in evaluation mode.
    batches : generator of PatchBatch
        As `read_patches`, which reads the next while this one is encoded. Closed when this job ends, however it does.
    section : Section
        Whose spots the patches are of.
    mean, std : sequence of 3 float
        As for `to_input`.
    device : torch.device or str
        Where to encode.
    precision : {"auto", "fp32", "bf16"}
        As for `choose_precision`.
    test_time_augmentation : bool
        Average the embeddings of the eight flips and turns of each patch.

    Returns
    -------
    float32 array, (n, d)
        One row per patch, not of unit length.

    Raises
    ------
    UserError
        If patches cannot be read (which, and how many), the device lacks the precision, not even one patch fits into
        its memory, or the embeddings are not finite.
    """
    device = torch.device(device)
    precision = choose_precision(device, precision)
    with enough_memory(device, "the model", "free some, or choose the CPU"):
        model.to(device).eval()
    encoder = _Encoder(model, mean, std, device, precision, test_time_augmentation)
    embeddings: NDArray[np.float32] | None = None
    unreadable: list[int] = []
    n, done, started = len(section.xy), 0, time.perf_counter()
    now = Progress("Encoding patches", 0, n, "patches")
    yield now
    with closing(batches):
        for batch in batches:
            unreadable += batch.unreadable.tolist()
            if not unreadable:
                encoded = yield from in_thread(partial(encoder.encode, batch.pixels), now)
                if embeddings is None:
                    embeddings = np.empty((n, encoded.shape[1]), np.float32)
                embeddings[batch.rows] = encoded
            done += len(batch.rows)
            speed = done / (time.perf_counter() - started)
            now = Progress("Encoding patches", done, n, "patches", {"patches/s": speed})
            yield now
    if unreadable:
        raise unreadable_error(section, unreadable)
    if embeddings is None:
        embeddings = np.empty((n, 0), np.float32)
    if not np.isfinite(embeddings).all():
        raise UserError("The model gives embeddings that are not finite; its weights are damaged or were not trained.")
    return embeddings


@dataclass
class _Encoder:
    """The model's forward pass, in smaller batches from when the device's memory first was not enough."""

    model: Any
    mean: Sequence[float]
    std: Sequence[float]
    device: torch.device
    precision: str
    turned: bool  # the mean over the eight symmetries of each patch
    most: int | None = None  # patches at a time

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the embeddings (b, d) of patches (b, h, w, 3)."""
        with enough_memory(self.device, "even one patch", "free some, or choose the CPU"):
            while True:
                size = min(self.most or len(pixels), len(pixels))
                try:
                    parts = [self._forward(pixels[start : start + size]) for start in range(0, len(pixels), size)]
                    return np.concatenate(parts)
                except (MemoryError, RuntimeError) as error:
                    if size == 1 or not is_out_of_memory(error):
                        raise
                    self.most = -(-size // 2)
                release_memory(self.device)  # outside the handler, which holds on to the tensors of the failed pass

    def _forward(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        # Inference mode belongs to the thread: entered for each batch, it never reaches who runs this job.
        with torch.inference_mode(), autocast(self.device, self.precision):
            inputs = to_input(pixels, self.mean, self.std, self.device)
            if self.turned:  # not by `apply_symmetries`: it chooses for each patch, in 1.7 times the CPU time
                both = inputs, inputs.transpose(2, 3)
                inputs = torch.cat([one.flip(axes) for one in both for axes in ((), (3,), (2,), (2, 3))])
            embeddings = self.model.embed_image(inputs).float()  # (symmetries * b, d)
            embedding = embeddings.reshape(-1, len(pixels), embeddings.shape[1]).mean(dim=0)
        result: NDArray[np.float32] = embedding.cpu().numpy()
        return result
