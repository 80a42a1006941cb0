"""The training loop: epochs of batches, and after each a validation and a saved state."""

import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from napari_cmrcnet.common.device import autocast, enough_memory, to_device
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.model.cmrcnet import CMRCNet, inference_state
from napari_cmrcnet.model.config import OWN_ENCODERS, ModelConfig
from napari_cmrcnet.model.symmetries import apply_symmetries, draw_symmetries
from napari_cmrcnet.retrieval.encode import to_input
from napari_cmrcnet.training.config import FitConfig
from napari_cmrcnet.training.data import Batch, BatchReader, epoch_batches
from napari_cmrcnet.training.distributed import Process
from napari_cmrcnet.training.state import Epoch, State, write_log
from napari_cmrcnet.training.step import batch_losses, learning_rate
from napari_cmrcnet.training.validation import validate

STATE, LOG = "state.pt", "log.csv"
SECONDS_BETWEEN_FIGURES = 0.25  # a GPU is waited for when its loss is read


@dataclass(frozen=True, eq=False)
class Plan:
    """What a training does: the model reads ``genes``; ``variable`` are the paper's, among which scores are ranked.

    ``validation`` has one reader a section; ``folder`` holds the state and the log.
    """

    config: FitConfig
    settings: ModelConfig
    genes: Sequence[str]
    variable: Sequence[str]
    training: BatchReader
    validation: Sequence[BatchReader]
    folder: Path


def train(plan: Plan, process: Process) -> Job[State]:
    """Train until the last epoch, from the saved state where there is one; return the state after it.

    After each epoch ``plan.folder`` holds the state and the log. A training that is stopped loses the epoch it was in,
    and comes to the same weights.

    Raises
    ------
    UserError
        If the loss is not finite any more, there is not enough memory on the device, or the disk is full.
    """
    what = f"batches of {plan.config.batch_size} spots"
    with enough_memory(process.device, what, "train again with a smaller --batch-size, more processes, or on another"):
        return (yield from _Loop(plan, process).run())


class _Loop:
    def __init__(self, plan: Plan, process: Process) -> None:
        self.plan, self.process = plan, process
        config, saved = plan.config, plan.folder / STATE
        self.n_batches = len(self._order(np.random.default_rng(0)))  # an epoch
        torch.manual_seed(config.seed)
        model = CMRCNet(plan.settings, None if saved.exists() else config.weights)  # what is saved has them all
        model.to(process.device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.decay)
        self.state = State(model, optimizer)
        if saved.exists():
            self.state.load(saved)
        process.wait()  # nobody writes the state while another still reads it
        self.network = process.wrap(model, all_used=plan.settings.image_encoder in OWN_ENCODERS)

    def run(self) -> Job[State]:
        while self.state.epochs < self.plan.config.epochs:
            epoch = self._validated((yield from self._epoch()))
            self.state.history.append(epoch)
            if self.process.first:
                write_log(self.plan.folder / LOG, self.state.history)
                self.state.save(self.plan.folder / STATE)
            yield self._progress(0, epoch.values())
        return self.state

    def _order(self, rng: np.random.Generator) -> list[np.ndarray]:
        return epoch_batches(len(self.plan.training), self.plan.config.batch_size, self.process.count, rng)

    def _progress(self, batches: int, values: dict[str, float]) -> Progress:
        epochs = self.state.epochs
        done, total = epochs * self.n_batches + batches, self.plan.config.epochs * self.n_batches
        return Progress("Training", done, total, "batches", {"epoch": epochs + (batches > 0), **values})

    def _epoch(self) -> Job[Epoch]:
        """Run one epoch. Its random numbers follow from seed and epoch, so that none need to be saved."""
        config, rank, number = self.plan.config, self.process.rank, self.state.epochs + 1
        rng = np.random.default_rng([config.seed, number])
        # Dropout and masks; every process has spots of its own, and so numbers of its own.
        torch.manual_seed(int(np.random.SeedSequence([config.seed, number, rank]).generate_state(1)[0]))
        order = self._order(rng)
        symmetries = [draw_symmetries(rng, batch.size).reshape(-1, self.process.count, 3)[:, rank] for batch in order]
        self.network.train()
        sums = torch.zeros(3, device=self.process.device)
        values: dict[str, float] = {}
        started = shown = time.perf_counter()
        with closing(self.plan.training.batches([batch[rank] for batch in order])) as reader:
            for i, (batch, drawn) in enumerate(zip(reader, symmetries, strict=True)):
                figures = self._backward(batch, drawn)
                rate = self._step()
                sums += figures * order[i].size
                if time.perf_counter() - shown > SECONDS_BETWEEN_FIGURES:
                    shown, values = time.perf_counter(), {"loss": float(figures[0])}
                yield self._progress(i + 1, values)
        n = sum(batch.size for batch in order)
        loss, contrastive, reconstruction = (sums / n).tolist()
        if not math.isfinite(loss):
            raise UserError(
                f"The loss is not finite in epoch {number}; train again with a lower learning rate than "
                f"{config.learning_rate:g}, a warm-up, or fp32."
            )
        seconds = time.perf_counter() - started
        reconstructed = None if math.isnan(reconstruction) else reconstruction
        return Epoch(number, self.state.step, loss, contrastive, reconstructed, None, None, rate, n / seconds, seconds)

    def _backward(self, batch: Batch, symmetries: np.ndarray) -> torch.Tensor:
        device = self.process.device
        pixels = apply_symmetries(to_device(batch.pixels, device), symmetries)
        expression = to_device(batch.expression, device)
        with autocast(device, self.plan.config.precision):
            mean, std = batch.colours.unbind(1)
            inputs = to_input(pixels, mean, std, device)
            settings, gather = self.plan.settings, self.process.gather
            total, figures, _ = batch_losses(self.network, settings, inputs, expression, gather=gather)
        total.backward()  # type: ignore[no-untyped-call]
        return figures

    def _step(self) -> float:
        state, config = self.state, self.plan.config
        rate = learning_rate(config, state.step, config.epochs * self.n_batches)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        state.step += 1
        return rate

    def _validated(self, epoch: Epoch) -> Epoch:
        """Add the figures on held-out spots. Every process computes them, which costs no waiting."""
        plan = self.plan
        if not plan.validation:
            return epoch
        loss, pcc = validate(self.state.model, plan.training, plan.validation, plan.config, self.process.device)
        if loss < self.state.best_loss:
            self.state.best_loss, self.state.best_epoch = loss, epoch.epoch
            self.state.best = inference_state(self.state.model)
        return replace(epoch, validation_loss=loss, validation_pcc=pcc)
