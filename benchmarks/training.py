"""A step of training from the cached patches beside the bare computation, and an epoch beside decoding the slide anew.

usage: python -m benchmarks.training [--small]

ViT-B/32 with its reconstruction network. The bare step has a batch of floats ready on the device: forward, losses,
backward, AdamW. The training's own step reads patches from the cache, turns and normalises them. Both draw dropout and
masks of their own, so there is no result to compare. An epoch reads its spots in random order, from the cache or, the
same pixels, from the slide; on a CPU it trains the preset ``small``, on a GPU ViT-B/32.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from scipy import sparse

from benchmarks.harness import Row, Timings, Way, at_least, at_most, identical, interleave, main
from benchmarks.slides import jpeg_slide
from benchmarks.untrained import opened
from napari_cmrcnet.common.device import autocast, to_device
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.model.cmrcnet import CMRCNet
from napari_cmrcnet.retrieval.encode import to_input
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.sections.totals import TARGET_SUM
from napari_cmrcnet.slides.patch_cache import patch_cache
from napari_cmrcnet.slides.patches import PatchSpec, read_patches
from napari_cmrcnet.training.config import FitConfig
from napari_cmrcnet.training.data import Batch, BatchReader, Part, Pixels, Rows, epoch_batches
from napari_cmrcnet.training.distributed import join
from napari_cmrcnet.training.loop import Plan, train
from napari_cmrcnet.training.step import batch_losses

GENES = 1000
NAMES = [f"G{gene}" for gene in range(GENES)]
SPEC = PatchSpec()


def rows(small: bool) -> Iterator[Row]:
    """Return the rows of the table."""
    side, n = (2500, 64) if small else (5000, 256)
    with opened(jpeg_slide(side), n) as section:
        spots = counted(section)
        settings = ("tiny", 16, 1, 1) if small else ("paper", 16, 1, 2)
        yield _step(spots, "cpu", *settings, at_most(1.05))
        yield _epoch(spots, "cpu", "tiny" if small else "small", 1 if small else 2, None)
    if torch.cuda.is_available():
        with opened(jpeg_slide(side if small else 20_000), n if small else 8192) as section:
            spots = counted(section)
            yield _step(spots, "cuda", *(settings if small else ("paper", 64, 10, 5)), at_most(1.15))
            yield _epoch(spots, "cuda", "tiny" if small else "paper", 1 if small else 3, at_least(5))
    else:
        print("training on a GPU is skipped: torch finds no CUDA device")


def counted(section: Section) -> Part:
    """Return all spots of a section, with random counts."""
    n = len(section.xy)
    counts = 10 * sparse.random(n, GENES, 0.1, "csr", np.float32, rng=np.random.default_rng(0))
    known = section.spots
    spots = AnnData(counts, known.obs, pd.DataFrame(index=NAMES), uns=known.uns, obsm=known.obsm)
    return Part(replace(section, spots=spots), np.arange(n), TARGET_SUM)


def given(spots: Part) -> tuple[list[Part], dict[str, Pixels], list[str], FitConfig]:
    """Return what a reader of these spots is made from, with their cached patches."""
    patches = finish(patch_cache(spots.section, SPEC))
    return [spots], {spots.section.name: patches}, NAMES, FitConfig(variant="paper")


class Steps:
    """Bare steps of training."""

    def __init__(self, preset: str, device: torch.device) -> None:
        config = FitConfig(preset=preset, variant="paper")
        torch.manual_seed(0)
        self.settings, self.device = config.model_config(GENES), device
        self.model = CMRCNet(self.settings).to(device).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=config.learning_rate, weight_decay=config.decay)

    def take(self, pixels: torch.Tensor, expression: torch.Tensor) -> None:
        """Take one: forward, losses, backward, optimiser."""
        with autocast(self.device):
            total, _, _ = batch_losses(self.model, self.settings, pixels, expression)
        total.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def _step(spots: Part, kind: str, preset: str, batch: int, steps: int, rounds: int, goal: object) -> Row:
    device = torch.device(kind)
    bare = Steps(preset, device)
    ready = BatchReader(*given(spots)).read(np.arange(batch))
    inputs, expression = to_input(ready.pixels, device=device), ready.expression.to(device)

    def run_bare(_: int) -> None:
        for _step in range(steps):
            bare.take(inputs, expression)
        _wait(device)

    with training(spots, preset, batch, kind, steps * (rounds + 1)) as advance:

        def run_ours(_: int) -> None:
            for _step in range(steps):
                advance()
            _wait(device)

        taken = interleave({"bare step": run_bare, "training": run_ours}, rounds, same=None)
    what = f"training step, {preset} preset, batch of {batch}, {kind}"
    cpu = f"by CPU seconds × {taken.ratio('training', 'bare step', by='cpu'):.4g}"
    return taken.slower(what, "training", than="bare step", goal=goal, note=cpu, sizes={"batch": batch, "genes": GENES})


@contextmanager
def training(spots: Part, preset: str, batch: int, device: str, steps: int) -> Iterator[Callable[[], object]]:
    """Begin a training, and give what advances it by one step; it ends in the middle of its first epoch."""
    parts, *rest = given(spots)
    times = -(-batch * (steps + 1) // len(spots.rows))
    config = FitConfig(preset=preset, variant="paper", batch_size=batch, device=device)
    with tempfile.TemporaryDirectory() as folder, join(config) as process:
        reader = BatchReader(parts * times, *rest, pin=device == "cuda")
        job = train(Plan(config, config.model_config(GENES), NAMES, NAMES, reader, (), Path(folder)), process)
        try:
            yield lambda: next(job)
        finally:
            job.close()


class FromSlide(BatchReader):
    """Reads each batch from the slide, as training would without a cache."""

    def pixels(self, chosen: Rows) -> Pixels:
        """Decode the patches of some spots."""
        section = self.parts[0].section
        pixels = np.empty((len(chosen), SPEC.patch_px, SPEC.patch_px, 3), np.uint8)
        for batch in read_patches(section.slide, section.xy[chosen], SPEC, section.mpp, len(chosen)):
            pixels[batch.rows] = batch.pixels
        return pixels


def _epoch(spots: Part, kind: str, preset: str, rounds: int, goal: object) -> Row:
    n = len(spots.rows)
    device, batch = torch.device(kind), min(64, n // 2)
    pin = kind == "cuda"
    readers = {"cache": BatchReader(*given(spots), pin), "slide": FromSlide(*given(spots), pin)}
    step = Steps(preset, device)
    order = [rows[0] for rows in epoch_batches(n, batch, 1, np.random.default_rng(0))]

    def epoch(reader: BatchReader) -> np.ndarray:
        seen = []
        for read in reader.batches(order):
            step.take(*_on_device(read, device))
            seen.append(read.pixels[:, ::16, ::16].numpy())
        _wait(device)
        return np.concatenate(seen)

    ways: dict[str, Way] = {name: lambda _, reader=reader: epoch(reader) for name, reader in readers.items()}
    taken: Timings = interleave(ways, rounds, same=identical)
    what = f"training epoch from the cache, {n:,} spots, {preset} preset, {kind}"
    return taken.faster(what, "cache", than="slide", goal=goal, sizes={"spots": n, "batch": batch})


def _on_device(batch: Batch, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    return to_input(batch.pixels, device=device), to_device(batch.expression, device)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main(rows)
