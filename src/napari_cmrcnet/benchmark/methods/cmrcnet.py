"""CMRCNet as a compared method: its predictions retrieved with several k."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.benchmark.method_names import KS
from napari_cmrcnet.benchmark.methods.image_inputs import weights_of
from napari_cmrcnet.benchmark.methods.method import EncoderWeights, Fitted, Task
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job
from napari_cmrcnet.model.frozen_encoders import DEFAULT, encoder_named
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.training.config import FitConfig, Variant
from napari_cmrcnet.training.fit import fit

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class CMRCNetMethod:
    """Train with `fit`, predict with `predict`.

    Parameters
    ----------
    preset : {"paper", "small", "tiny"}
        Size of the model.
    variant : {"paper", "released", "tuned", "frozen"}
        As `FitConfig` takes it.
    ks : tuple of int
        Neighbours behind a value, all counting alike, an output each; none: one output, as the checkpoint has it.
    model : mapping
        Settings of `ModelConfig` in place of the preset's: loss, target, mask rate, reconstruction.
    frozen_encoder : str
        Of the frozen variant: name of the `FrozenEncoder`.
    """

    preset: Literal["paper", "small", "tiny"] = "paper"
    variant: Variant = "paper"
    ks: tuple[int, ...] = KS
    model: Mapping[str, Any] = field(default_factory=dict)
    frozen_encoder: str = DEFAULT

    @property
    def title(self) -> str:
        """In tables; a frozen encoder is named where it is not the default."""
        own = f"CMRCNet ({self.variant})" if self.variant in ("tuned", "frozen") else "CMRCNet"
        return own if self.frozen_encoder == DEFAULT else f"{own} on {encoder_named(self.frozen_encoder).title}"

    @property
    def encoder_weights(self) -> EncoderWeights:
        """Whether a file of weights may or must be given."""
        return weights_of(self.frozen_encoder) if self.variant == "frozen" else "optional"

    def fit(self, task: Task) -> Job[Fitted]:
        """Train on the task's sections and genes; a training that stands is loaded."""
        spots = sum(section.spots.n_obs for section in task.training)
        ks = tuple(k for k in self.ks if k <= spots)
        if self.ks and not ks:
            raise UserError(
                f"{self.title} averages {min(self.ks)} training spots, and there are {spots}; give more sections."
            )
        scratch: dict[str, Any] = {
            "preset": self.preset,
            "epochs": task.epochs,
            "patch": task.patch,
            "model": self.model,
        }
        config = FitConfig(
            variant=self.variant,
            seed=task.seed,
            device=task.device,
            genes=task.genes,
            thumbnails=False,
            encoder=self.frozen_encoder,
            weights=task.weights,
            **({} if self.variant == "frozen" else scratch),
        )
        checkpoint = yield from fit(task.training, config, task.folder / f"{task.folder.name}.cmrcnet", resume=True)
        notes = [f"k = {k} was left out: the bank has {spots:,} spots." for k in self.ks if k > spots]
        return Fitted(partial(predict_each, checkpoint, task.genes, ks, task.device), notes)


def predict_each(
    checkpoint: Checkpoint, genes: Sequence[str], ks: Sequence[int], device: str, section: Section
) -> Job[dict[str, Float32]]:
    """Predict with each k from one search, the nearest of many being the nearest of few; or as the checkpoint does.

    Returns
    -------
    dict of str to float32 (n, len(genes))
        By k, or ``""`` without any.
    """
    config = PredictConfig(k=max(ks, default=None), device=device)
    found = yield from predict(section, checkpoint, config, checks=())
    if not ks:
        return {"": found.expression(genes)}
    nearest, bank = found.neighbours, checkpoint.bank
    return {str(k): bank.mean_expression(np.ascontiguousarray(nearest[:, :k]), genes) for k in ks}
