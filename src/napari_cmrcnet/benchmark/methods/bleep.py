"""BLEEP: expression by retrieval from a joint embedding of patches and genes (Xie et al., NeurIPS 2023)."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_cmrcnet.benchmark.methods.image_inputs import ImageMethod, Inputs
from napari_cmrcnet.benchmark.methods.method import Fitted, Task
from napari_cmrcnet.benchmark.methods.regression import train
from napari_cmrcnet.common.device import autocast, choose_device
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.model.encoders import ProjectionHead
from napari_cmrcnet.model.losses import contrastive_loss
from napari_cmrcnet.model.symmetries import draw_symmetries
from napari_cmrcnet.retrieval.bank import Bank
from napari_cmrcnet.retrieval.build_bank import gene_embeddings
from napari_cmrcnet.retrieval.search import nearest, unit_length
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.sections.totals import MEDIAN
from napari_cmrcnet.training.data import epoch_batches

Float32 = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class BLEEP(ImageMethod):
    """BLEEP with its published settings (the paper, the authors' public code, and what they answered to its users).

    A ResNet-50 and a projection head embed patches, a projection head alone embeds expression, both to 256 features;
    the contrastive loss of `bleep_loss` pulls the two of a spot together. AdamW with learning rate and weight decay
    1e-3; steps of 512 spots, in four batches of 128 whose losses are computed apart (they were on four GPUs; without
    that, users found correlations near zero); the weights of the epoch of least loss on a random fifth of the spots
    are kept. Users found the best epoch between 30 and 38 (issues 6 and 12 of the code, whose own default is 4), so
    that 40 are run. A spot is predicted from the 50 training spots whose gene embedding is most similar
    to its patch's embedding.

    Counts are read as the authors do, scaled to the median total of each section; the values that are averaged are of
    10,000 counts, as those of all methods here.

    Three things differ. Patches are RGB and standardised as ImageNet's, where the first public code left BGR at
    0–255; they are flipped and turned in training alone; and expression is not corrected with Harmony across slides,
    which the authors call optional and slightly better.

    Parameters
    ----------
    encoder : str
        timm model.
    frozen_encoder : str
        Name of a `FrozenEncoder` to use in its place; only the heads are trained then. ``""`` for none.
    dim, dropout, temperature : int, float, float
        Of the embeddings and the loss.
    epochs, batch_size, accumulate, learning_rate, weight_decay : int, int, int, float, float
        As published.
    validation : float
        Share of spots by whose loss the epoch is chosen; 0 keeps the last.
    ks : tuple of int
        Spots averaged, an output each; the first stays where there are fewer spots, and is then the mean of all.
    """

    encoder: str = "resnet50"
    frozen_encoder: str = ""
    dim: int = 256
    dropout: float = 0.1
    temperature: float = 1.0
    epochs: int = 40
    batch_size: int = 128
    accumulate: int = 4
    learning_rate: float = 1e-3
    weight_decay: float = 1e-3
    validation: float = 0.2
    ks: tuple[int, ...] = (50,)

    @property
    def title(self) -> str:
        """In tables; the encoder is named where it is not the published one."""
        return self.named("BLEEP")

    def fit(self, task: Task) -> Job[Fitted]:
        """Train the two encoders and embed the training spots."""
        device = choose_device(task.device)
        torch.manual_seed(task.seed)
        network = BLEEPNetwork(self, task)
        inputs = yield from self.inputs(task, MEDIAN)
        network.to(device)
        yield from self._train(network, inputs, task, device)
        embeddings = unit_length(gene_embeddings(network, inputs.expression, device))
        nowhere = pd.DataFrame(index=range(len(embeddings)))  # nobody asks where its spots lie
        bank = Bank(embeddings, task.expression().tocsc(), task.genes, ("",) * len(task.genes), nowhere)
        spots = len(bank)
        notes = [f"k = {k} was left out: the bank has {spots:,} spots." for k in self.ks[1:] if k > spots]
        notes += self.scratch_notes(self.title, task)
        ks = (self.ks[0], *(k for k in self.ks[1:] if k <= spots))

        def predict(section: Section) -> Job[dict[str, Float32]]:
            queries = yield from inputs.apply(network, network.embed_image, section)
            found, _ = nearest(queries, embeddings, min(max(ks), spots), device=device)
            return {str(k): bank.mean_expression(np.ascontiguousarray(found[:, :k]), bank.genes) for k in ks}

        return Fitted(predict, notes)

    def _train(self, network: "BLEEPNetwork", inputs: Inputs, task: Task, device: torch.device) -> Job[None]:
        """Train on all spots but those that choose the epoch."""
        n = len(inputs.images)
        order = np.random.default_rng(task.seed).permutation(n)
        n_held_out = round(self.validation * n)
        held_out, trained = np.sort(order[:n_held_out]), np.sort(order[n_held_out:])

        def batches(rng: np.random.Generator) -> list[Rows]:
            return [trained[rows[0]] for rows in epoch_batches(len(trained), self.batch_size, 1, rng)]

        def loss(rows: Rows, rng: np.random.Generator | None) -> Tensor:
            patches, expression = inputs.read(rows, None if rng is None else draw_symmetries(rng, len(rows)))
            image, gene = network.embed_image(patches), network.embed_genes(expression)
            return bleep_loss(image.float(), gene.float(), self.temperature)

        def validate() -> Job[float]:
            parts = np.array_split(held_out, -(-n_held_out // self.batch_size))
            total = 0.0
            for done, rows in enumerate(parts):
                yield Progress("Validating", done, len(parts), "batches")
                with torch.inference_mode(), autocast(device):
                    total += float(loss(rows, None)) * len(rows)
            return total / n_held_out

        optimiser = torch.optim.AdamW(network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        yield from train(
            self.title,
            network,
            optimiser,
            batches,
            loss,
            task,
            self.epochs,
            accumulate=self.accumulate,
            validate=validate if n_held_out else None,
        )


class BLEEPNetwork(nn.Module):
    """Two encoders into one space; embeddings are not of unit length."""

    def __init__(self, settings: BLEEP, task: Task) -> None:
        super().__init__()
        self.encoder, width = settings.image_encoder(task)
        self.image_head = ProjectionHead(width, settings.dim, settings.dropout)
        self.gene_head = ProjectionHead(len(task.genes), settings.dim, settings.dropout)

    def embed_image(self, patches: Tensor) -> Tensor:
        """Embed standardised patches (b, 3, side, side), or features of a frozen encoder (b, f), to (b, D)."""
        embedding: Tensor = self.image_head(self.encoder(patches))
        return embedding

    def embed_genes(self, expression: Tensor) -> Tensor:
        """Embed expression (b, genes) to (b, D)."""
        embedding: Tensor = self.gene_head(expression)
        return embedding


def bleep_loss(image: Tensor, gene: Tensor, temperature: float = 1.0) -> Tensor:
    """Return BLEEP's contrastive loss, with soft targets from the batch itself.

    With I, S of shape (B, D) and τ the temperature::

        target = softmax_row((I Iᵀ + S Sᵀ) / 2 · τ)
        loss = mean over the batch of [CE(S Iᵀ / τ, target) + CE(I Sᵀ / τ, targetᵀ)] / 2

    It is half of CMRCNet's loss (`contrastive_loss`) with image and gene exchanged, on embeddings divided by √τ; the
    target of these is sharpened by τ², to come out as that of the embeddings themselves times τ.
    """
    return contrastive_loss(gene / temperature**0.5, image / temperature**0.5, temperature**2) / 2
