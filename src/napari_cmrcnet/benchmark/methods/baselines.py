"""Baselines: what any method must beat, and what the measured spots themselves would give."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.benchmark.methods.features import standardised_features
from napari_cmrcnet.benchmark.methods.method import EncoderWeights, Fitted, Task
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress, in_turn
from napari_cmrcnet.sections.expression import expression_of
from napari_cmrcnet.sections.nearby_spots import spots_around
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.sections.totals import totals_of
from napari_cmrcnet.training.data import left_out_parts

SPOTS_A_BLOCK = 256  # the expression of all neighbours of a block is in memory at once

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class TrainingMean:
    """Every spot is predicted as the mean of all training spots.

    Its PCC is undefined, since it does not vary; its RMSE is what a method must be below.
    """

    title: ClassVar[str] = "Training mean"
    encoder_weights: ClassVar[EncoderWeights] = "none"

    def fit(self, task: Task) -> Job[Fitted]:
        """Average the training spots."""
        yield Progress("Averaging training spots", 0, 1)
        mean = task.expression().toarray().mean(axis=0).astype(np.float32)
        yield Progress("Averaging training spots", 1, 1)

        def predict(section: Section) -> Job[Float32]:
            n = len(section.spots)
            yield Progress("Predicting", n, n, "spots")
            return np.tile(mean, (n, 1))

        return Fitted(predict, ["The training mean is the same at every spot, so its PCC is undefined."])


@dataclass(frozen=True)
class ColourRidge:
    """Ridge regression on 23 colour and texture features, standardised in each section (`features`).

    Parameters
    ----------
    alpha : float
        Weight of the penalty.
    """

    alpha: float = 10.0

    title: ClassVar[str] = "Ridge on colour and texture"
    encoder_weights: ClassVar[EncoderWeights] = "none"

    def fit(self, task: Task) -> Job[Fitted]:
        """Solve the regression."""
        from sklearn.linear_model import Ridge

        return (yield from _fit_on_features(Ridge(alpha=self.alpha), task))


@dataclass(frozen=True)
class ColourNearest:
    """The mean expression of the training spots nearest in 23 colour and texture features (`features`).

    It retrieves as CMRCNet and BLEEP do, without learning what to compare.

    Parameters
    ----------
    k : int
        Spots averaged, 50 as in the paper; all there are, if fewer.
    """

    k: int = 50

    title: ClassVar[str] = "Nearest in colour and texture"
    encoder_weights: ClassVar[EncoderWeights] = "none"

    def fit(self, task: Task) -> Job[Fitted]:
        """Keep the training spots."""
        from sklearn.neighbors import KNeighborsRegressor

        spots = sum(len(section.spots) for section in task.training)
        return (yield from _fit_on_features(KNeighborsRegressor(min(self.k, spots)), task))


@dataclass(frozen=True)
class PredictedDepth:
    """The log of a spot's total count, predicted from its patch, for every gene.

    A spot's total is written all over its log-normalised expression, so that on a shallow section a prediction of the
    total alone correlates with many genes. A method that is not above this row may have learned no more than
    where much was counted. The total, log(1 + counts), is predicted by ridge regression on the features of
    `ColourRidge`.

    Parameters
    ----------
    penalties : tuple of float
        Weights of the penalty to choose from: the one of least squared error, each section's mean error taken out, when
        each training section, or patient, is left out in turn (`left_out_parts`); of a single section, each of some
        compact parts of it.
    """

    penalties: tuple[float, ...] = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)

    title: ClassVar[str] = "Predicted depth"
    encoder_weights: ClassVar[EncoderWeights] = "none"

    def fit(self, task: Task) -> Job[Fitted]:
        """Choose the penalty on the training sections alone, and fit."""
        from sklearn.linear_model import Ridge

        features = yield from _training_features(task)
        depth = np.concatenate([log_totals(section) for section in task.training])
        errors = dict.fromkeys(self.penalties, 0.0)
        parts = left_out_parts(task.training)
        for done, part in enumerate(parts):
            yield Progress("Choosing the penalty", done, len(parts))
            others = np.setdiff1d(np.arange(len(depth)), part)
            for penalty in self.penalties:
                guess = Ridge(alpha=penalty).fit(features[others], depth[others]).predict(features[part])
                errors[penalty] += float(np.var(depth[part] - guess)) * len(part)
        best = min(errors, key=errors.__getitem__)
        yield Progress("Choosing the penalty", len(parts), len(parts))
        note = "Predicted depth gives every gene one value, the log of the total that it predicts for the spot."
        return _on_features(
            Ridge(alpha=best).fit(features, depth), task, f"{note} Read its correlations, not its RMSE."
        )


def log_totals(section: Section) -> NDArray[np.float64]:
    """Return log(1 + total count) of each spot, float64 (n,)."""
    assert section.spots.X is not None  # a Task has none without counts
    return np.log1p(totals_of(section.spots))


@dataclass(frozen=True)
class NeighbourCeiling:
    """Each spot is predicted as the mean of the spots around it, measured in the test section itself.

    It shows how much of a gene's variation is smooth enough to be told from next door, above the noise of counting.
    Where few transcripts are counted that noise is in the neighbours too, and a method that has learned from
    many spots can be above it: it is a ceiling for smooth genes only.
    Six spots lie around one in a hexagonal array and eight in a square one; a spot with none takes the nearest.
    """

    title: ClassVar[str] = "Measured neighbours"
    encoder_weights: ClassVar[EncoderWeights] = "none"

    def fit(self, task: Task) -> Job[Fitted]:
        """Note the genes: there is nothing to learn."""
        yield Progress("Nothing to fit", 1, 1)
        note = "Measured neighbours reads the expression of the test section's other spots."
        return Fitted(partial(_mean_around, task.genes), [f"{note} It is not a prediction from images."])


def _mean_around(genes: Sequence[str], section: Section) -> Job[Float32]:
    """Average the measured spots around each spot; NaN for genes that the section does not have.

    Raises
    ------
    UserError
        If the section has no counts, or a single spot.
    """
    n = len(section.spots)
    if n < 2:
        raise UserError(f"{section.name} has a single spot, so none has a measured neighbour.")
    yield Progress("Averaging neighbours", 0, n, "spots")
    around = spots_around(section)
    measured = section.spots.var_names.get_indexer(list(genes)) >= 0
    expression = expression_of(section.spots, list(compress(genes, measured)))
    mean: Float32 = np.full((n, len(genes)), np.nan, np.float32)
    mean[:, measured] = (around @ expression).toarray() / np.asarray(around.sum(axis=1), np.float32)
    yield Progress("Averaging neighbours", n, n, "spots")
    return mean


def _training_features(task: Task) -> Job[NDArray[np.float64]]:
    features = yield from in_turn(standardised_features(section, task.patch) for section in task.training)
    return np.concatenate(features)


def _fit_on_features(regressor: Any, task: Task) -> Job[Fitted]:
    features = yield from _training_features(task)
    yield Progress("Fitting", 0, 1)
    regressor.fit(features, task.expression().toarray())
    yield Progress("Fitting", 1, 1)
    return _on_features(regressor, task)


def _on_features(regressor: Any, task: Task, *notes: str) -> Fitted:
    """Return a fitted scikit-learn regressor as a method; where it predicts one number, all genes get that."""

    def predict(section: Section) -> Job[Float32]:
        features = yield from standardised_features(section, task.patch)
        blocks = [features[start : start + SPOTS_A_BLOCK] for start in range(0, len(features), SPOTS_A_BLOCK)]
        values = np.concatenate([np.asarray(regressor.predict(block), np.float32) for block in blocks])
        return values if values.ndim == 2 else np.repeat(values[:, None], len(task.genes), axis=1)

    return Fitted(predict, list(notes))
