"""CMRCNet as a compared method: its predictions retrieved with several k, and read in other ways."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job
from napari_cmrcnet.evaluation.baselines.method import EncoderWeights, Task
from napari_cmrcnet.evaluation.experiments.methods import CMRCNET, KS
from napari_cmrcnet.evaluation.experiments.readouts import QUERIES, Embedded, read_out
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.device import choose_device
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.queries import queries_of
from napari_cmrcnet.retrieval.search import unit_length
from napari_cmrcnet.sections.expression import expression_of
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.training.config import FitConfig, Variant, epochs_of
from napari_cmrcnet.training.fit import fit

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class CMRCNetMethod:
    """Train with `fit`, predict with `predict`.

    Parameters
    ----------
    folder : Path
        Where the training lives; a stopped one goes on there.
    preset : {"paper", "small", "tiny"}
        Size of the model.
    variant : {"paper", "released", "tuned"}
        As `FitConfig` takes it.
    ks : tuple of int
        Neighbours behind a value, all counting alike, an output each; none: one output, as the checkpoint has it.
    model : mapping
        Settings of `ModelConfig` in place of the preset's: loss, target, mask rate, reconstruction.
    colour_augmentation : float
        As `FitConfig` has it.
    members : int
        Trainings, each with a seed of its own, whose predictions are averaged.
    readouts : bool
        Whether predictions have an output for each of `QUERIES` and `READOUTS`, too; of the first member.
    name, title : str
        As of every method.
    """

    folder: Path
    preset: Literal["paper", "small", "tiny"] = "paper"
    variant: Variant = "paper"
    ks: tuple[int, ...] = KS
    model: Mapping[str, Any] = field(default_factory=dict)
    colour_augmentation: float = 0.0
    members: int = 1
    readouts: bool = False
    name: str = CMRCNET
    encoder_weights: EncoderWeights = "optional"

    @property
    def title(self) -> str:
        """In tables."""
        return "CMRCNet (tuned)" if self.variant == "tuned" else "CMRCNet"

    def fit(self, task: Task) -> Job["CMRCNetPredictor"]:
        """Train on the task's sections and genes; a training that stands is loaded."""
        spots = sum(section.spots.n_obs for section in task.training)
        ks = tuple(k for k in self.ks if k <= spots)
        if self.ks and not ks:
            raise UserError(
                f"{self.title} averages {min(self.ks)} training spots, and there are {spots}; give more sections."
            )
        config = FitConfig(
            preset=self.preset,
            variant=self.variant,
            epochs=task.epochs or epochs_of(self.variant),
            seed=task.seed * self.members,
            device=task.device,
            patch=task.patch,
            genes=task.genes,
            colour_augmentation=self.colour_augmentation,
            thumbnails=False,
            weights=task.weights,
            model=self.model,
        )
        checkpoints = []
        for member in range(self.members):
            path = self.folder / f"{self.name}{f'_{member}' if member else ''}.cmrcnet"
            one = replace(config, seed=config.seed + member)
            checkpoints.append((yield from fit(task.training, one, path, resume=True)))
        notes = [f"k = {k} was left out: the bank has {spots:,} spots." for k in self.ks if k > spots]
        read_from = task.training if self.readouts else ()
        return CMRCNetPredictor(tuple(checkpoints), task.genes, ks, task.device, tuple(notes), read_from)


@dataclass(frozen=True, eq=False)
class CMRCNetPredictor:
    """A trained CMRCNet, or several, and the genes asked for; with the sections it was trained on, for `READOUTS`."""

    checkpoints: tuple[Checkpoint, ...]
    genes: Sequence[str]
    ks: tuple[int, ...]
    device: str
    notes: tuple[str, ...] = ()
    training: tuple[Section, ...] = ()

    def predict(self, section: Section) -> Job[Float32]:
        """Predict with the first k, or as the checkpoint has it."""
        return (yield from self._mean_of_members(section, self.ks[:1]))[str(self.ks[0]) if self.ks else ""]

    def predict_each(self, section: Section) -> Job[dict[str, Float32]]:
        """Predict with each k from one search: the nearest of many are the nearest of few.

        Returns
        -------
        dict of str to float32 (n, len(genes))
            By k, or ``""`` without any; and by the name of each of `QUERIES` and `READOUTS` where they are asked for.
        """
        values = yield from self._mean_of_members(section, self.ks)
        if self.training:
            checkpoint = self.checkpoints[0]
            for name, query in QUERIES.items():
                asked = replace(checkpoint, card=replace(checkpoint.card, query=query))
                values[name] = (yield from self._retrieved(section, asked, ()))[""]
            values |= read_out((yield from self._embedded(section, checkpoint)))
        return values

    def _mean_of_members(self, section: Section, ks: Sequence[int]) -> Job[dict[str, Float32]]:
        each = []
        for checkpoint in self.checkpoints:
            each.append((yield from self._retrieved(section, checkpoint, ks)))
        return {name: np.asarray(np.mean([one[name] for one in each], axis=0), np.float32) for name in each[0]}

    def _retrieved(self, section: Section, checkpoint: Checkpoint, ks: Sequence[int]) -> Job[dict[str, Float32]]:
        """Return the mean of the k nearest for each k, or what the checkpoint makes of its own number of them."""
        found = yield from predict(section, checkpoint, k=max(ks, default=None), device=self.device, checks=())
        if not ks:
            return {"": found.expression(self.genes)}
        nearest, bank = found.neighbours, checkpoint.bank
        return {str(k): bank.mean_expression(np.ascontiguousarray(nearest[:, :k]), self.genes) for k in ks}

    def _embedded(self, section: Section, checkpoint: Checkpoint) -> Job[Embedded]:
        """Embed the section and the training spots, in the order of the bank."""
        device, bank = choose_device(self.device), checkpoint.bank
        queries = yield from queries_of(section, checkpoint, device=device)
        patches = []
        for one in self.training:
            patches.append((yield from queries_of(one, checkpoint, device=device)))
        return Embedded(
            unit_length(queries),
            bank.embeddings,
            unit_length(np.concatenate(patches)),
            np.repeat(np.arange(len(self.training)), [len(one.spots) for one in self.training]),
            np.concatenate([expression_of(one.spots, self.genes).toarray() for one in self.training]),
        )
