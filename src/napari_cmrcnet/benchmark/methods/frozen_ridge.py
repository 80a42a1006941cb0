"""Frozen features of a network trained on photographs, and reduced-rank ridge regression on them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.benchmark.methods.image_inputs import weights_of
from napari_cmrcnet.benchmark.methods.method import EncoderWeights, Fitted, Task
from napari_cmrcnet.common.device import choose_device
from napari_cmrcnet.common.metrics import highest, pcc
from napari_cmrcnet.common.progress import Job, in_turn
from napari_cmrcnet.model.frozen_encoders import DEFAULT, encoder_named
from napari_cmrcnet.model.pretrained import with_weights
from napari_cmrcnet.retrieval.frozen_features import spot_features
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.training.data import left_out_parts
from napari_cmrcnet.training.reduced_rank import Solver, Spots

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class FrozenRidge:
    """Ridge regression of few components on what a frozen encoder sees (`spot_features`).

    Nothing of the encoder is trained. Of the fitted values only some principal components are kept (reduced-rank
    regression, Izenman, J Multivar Anal 5:248, 1975): what many genes share is told from what chance gave one of them.

    Parameters
    ----------
    frozen_encoder : str
        Name of the `FrozenEncoder`.
    ranks : tuple of int
        Components to choose from.
    penalties : tuple of float
        Weights of the penalty, a feature, to choose from. Both are chosen on the training sections alone: the pair of
        highest mean PCC of the 50 highest expressed and the 50 most variable genes when each section, or patient, is
        left out in turn (`left_out_parts`); of a single section, each of some compact parts of it.
    """

    frozen_encoder: str = DEFAULT
    ranks: tuple[int, ...] = (5, 10, 20)
    penalties: tuple[float, ...] = (0.3, 1.0, 3.0)

    @property
    def title(self) -> str:
        """In tables."""
        return f"Frozen {encoder_named(self.frozen_encoder).title}, ridge"

    @property
    def encoder_weights(self) -> EncoderWeights:
        """Whether a file of weights must be given."""
        return weights_of(self.frozen_encoder)

    def fit(self, task: Task) -> Job[Fitted]:
        """Describe the training spots, choose rank and penalty, and fit."""
        device, encoder = choose_device(task.device), with_weights(self.frozen_encoder, task.weights)
        blocks = yield from in_turn(spot_features(section, encoder, device) for section in task.training)
        spots = Spots(np.concatenate(blocks), task.expression().toarray())
        found = yield from spots.without_each(
            left_out_parts(task.training),
            lambda part, solver: self._scores(solver, spots, part, task),
            "Choosing rank and penalty",
        )
        scores = sum(found, np.zeros((len(self.penalties), len(self.ranks))))
        penalty, rank = np.unravel_index(int(np.argmax(scores)), scores.shape)
        fitted = yield from spots.fitted(self.penalties[penalty], self.ranks[rank])
        note = f"Frozen features: rank {self.ranks[rank]}, penalty {self.penalties[penalty]:g} a feature."

        def predict(section: Section) -> Job[Float32]:
            features = yield from spot_features(section, encoder, device)
            return fitted.predict(features).astype(np.float32)

        return Fitted(predict, [note])

    def _scores(self, solver: Solver, spots: Spots, part: NDArray[np.int64], task: Task) -> Array:
        """Score each penalty and rank on a part of the spots, trained on the others."""
        truth = spots.expression[part]
        sets = [
            [task.genes.index(gene) for gene in chosen]
            for chosen in (highest(values, task.genes) for values in (truth.mean(axis=0), truth.var(axis=0)))
        ]
        scores = np.empty((len(self.penalties), len(self.ranks)))
        for row, penalty in enumerate(self.penalties):
            fitted = solver.fitted(penalty, max(self.ranks))
            for column, components in enumerate(self.ranks):
                found = np.nan_to_num(pcc(truth, fitted.predict(spots.features[part], components)))
                scores[row, column] = np.mean([found[chosen].mean() for chosen in sets])
        return scores
