"""ST-Net: expression by regression from a patch with a DenseNet-121 (He et al., Nat Biomed Eng 4:827, 2020)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_cmrcnet.benchmark.methods.image_inputs import ImageMethod
from napari_cmrcnet.benchmark.methods.method import Fitted, Task
from napari_cmrcnet.benchmark.methods.regression import train
from napari_cmrcnet.common.device import choose_device
from napari_cmrcnet.common.progress import Job
from napari_cmrcnet.model.symmetries import draw_symmetries
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.sections.stain import PatchColours
from napari_cmrcnet.training.data import epoch_batches

Float32 = NDArray[np.float32]

CALIBRATION_BATCHES = 12


@dataclass(frozen=True)
class STNet(ImageMethod):
    """ST-Net with its published settings (the paper's methods and the authors' public code).

    A DenseNet-121 whose last layer starts with zero weights and the training mean as its bias, all layers trained; the
    squared error summed over the batch and averaged over genes; SGD with learning rate 1e-6 and momentum 0.9,
    50 epochs of batches of 32; flips and right-angle turns in training, and the mean over all eight of them in
    prediction; colours standardised by the mean and deviation of 12 training batches.

    Two things differ. The target is log-normalised expression, as for all methods here, not log((1 + c) / (N + Σc)):
    both are natural logarithms of a spot's share, so that the learning rate keeps its meaning. And the last epoch is
    taken, where the authors chose one by an inner cross-validation. The published rate is made for 30,000 spots, 250
    genes (the loss is divided by their number, and so is the step of a gene's own weights) and a pretrained network:
    on a few hundred spots and thousands of genes it hardly leaves its start. ``optimiser="adam"`` with 1e-4, as later
    comparisons have it, is the method ``stnet-adam``.

    Parameters
    ----------
    encoder : str
        timm model.
    frozen_encoder : str
        Name of a `FrozenEncoder` to use in its place; only the last layer is trained then. ``""`` for none.
    epochs, batch_size : int
        As published.
    optimiser : {"sgd", "adam"}
        The published one is SGD.
    learning_rate : float, optional
        By default 1e-6 of SGD, 1e-4 of Adam.
    """

    encoder: str = "densenet121"
    frozen_encoder: str = ""
    epochs: int = 50
    batch_size: int = 32
    optimiser: Literal["sgd", "adam"] = "sgd"
    learning_rate: float | None = None

    @property
    def title(self) -> str:
        """In tables; optimiser and encoder are named where they are not the published ones."""
        return self.named("ST-Net" if self.optimiser == "sgd" else "ST-Net (Adam)")

    def fit(self, task: Task) -> Job[Fitted]:
        """Train the network."""
        device = choose_device(task.device)
        torch.manual_seed(task.seed)
        network = STNetwork(self, task)
        inputs = yield from self.inputs(task)
        if not self.frozen_encoder:
            inputs = replace(inputs, colour=_colour(inputs.images, self.batch_size, task.seed))
        mean_expression = np.asarray(inputs.expression.mean(axis=0)).ravel()
        network.start_at(torch.from_numpy(mean_expression).float())
        network.to(device)

        def loss(rows: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
            patches, expression = inputs.read(rows, draw_symmetries(rng, len(rows)))
            return stnet_loss(network(patches).float(), expression)

        def batches(rng: np.random.Generator) -> list[NDArray[np.int64]]:
            return [rows[0] for rows in epoch_batches(len(inputs.images), self.batch_size, 1, rng)]

        yield from train(self.title, network, self._optimiser(network), batches, loss, task, self.epochs)

        def predict(section: Section) -> Job[Float32]:
            return (yield from inputs.apply(network, network, section, turned=True))  # the mean over the symmetries

        return Fitted(predict, self.scratch_notes(self.title, task))

    def _optimiser(self, network: nn.Module) -> torch.optim.Optimizer:
        if self.optimiser == "sgd":
            return torch.optim.SGD(network.parameters(), lr=self.learning_rate or 1e-6, momentum=0.9)
        return torch.optim.Adam(network.parameters(), lr=self.learning_rate or 1e-4)


class STNetwork(nn.Module):
    """A timm encoder, or a frozen one's features, and one linear layer to expression (b, genes)."""

    def __init__(self, settings: STNet, task: Task) -> None:
        super().__init__()
        self.encoder, width = settings.image_encoder(task)
        self.head = nn.Linear(width, len(task.genes))

    def start_at(self, mean: Tensor) -> None:
        """Let every patch be predicted as the mean, (genes,): the last layer's weight is zero, its bias the mean."""
        nn.init.zeros_(self.head.weight)
        with torch.no_grad():
            self.head.bias.copy_(mean)

    def forward(self, patches: Tensor) -> Tensor:
        """Predict (b, genes)."""
        predicted: Tensor = self.head(self.encoder(patches))
        return predicted


def stnet_loss(predicted: Tensor, measured: Tensor) -> Tensor:
    """Return Σ_batch Σ_g (ŷ - y)² / G: a sum over the b spots, a mean over the G genes; both (b, G)."""
    return (predicted - measured).square().sum() / measured.shape[1]


def _colour(patches: Sequence[NDArray[np.uint8]], batch_size: int, seed: int) -> PatchColours:
    """Return mean and deviation of R, G, B in 0–1 over a few batches of training patches."""
    n = min(len(patches), CALIBRATION_BATCHES * batch_size)
    rows = np.random.default_rng(seed).choice(len(patches), n, replace=False)
    pixels = np.stack([patches[row][::4, ::4] for row in np.sort(rows)]).reshape(-1, 3)  # one in 16 is enough
    mean, deviation = pixels.mean(axis=0) / 255, pixels.std(axis=0) / 255
    return PatchColours(tuple(mean.tolist()), tuple(np.maximum(deviation, 1 / 255).tolist()))
