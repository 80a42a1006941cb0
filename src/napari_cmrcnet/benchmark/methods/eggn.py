"""EGGN: a graph of a slide's patches and the training patches most like them (Yang et al., Pattern Recognit 2024)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_cmrcnet.benchmark.methods.eggn_network import EGGNetwork, SlideGraph
from napari_cmrcnet.benchmark.methods.features import standardised_features
from napari_cmrcnet.benchmark.methods.image_inputs import weights_of
from napari_cmrcnet.benchmark.methods.method import EncoderWeights, Fitted, Task
from napari_cmrcnet.benchmark.methods.regression import train
from napari_cmrcnet.benchmark.methods.slide_regression import nearest_neighbours, without_self
from napari_cmrcnet.common.device import autocast, choose_device, enough_memory
from napari_cmrcnet.common.progress import Job, Progress, in_turn
from napari_cmrcnet.model.frozen_encoders import encoder_named
from napari_cmrcnet.model.pretrained import with_weights
from napari_cmrcnet.retrieval.frozen_features import spot_features
from napari_cmrcnet.sections.pixel_size import spots_lattice
from napari_cmrcnet.sections.section import Section

Float32 = NDArray[np.float32]
Rows = NDArray[np.int64]

SPOTS_AROUND, REACH = 5, 1.5  # up to five spots, within the diagonal of a square array
EXEMPLARS_AROUND = 3
QUERY_BLOCK, BANK_BLOCK = 256, 4096


@dataclass(frozen=True)
class EGGN:
    """EGGN with its published settings (the paper, and the README of its authors' public code).

    A frozen encoder describes every patch. Each spot is joined to its neighbours on the slide and to the `exemplars`
    training spots of other sections whose features are nearest in the L1 distance, and these to one another; four
    layers of graph convolution pass features along these edges, and the exemplars' expression with them; attention
    over a spot's exemplars and a linear layer predict its expression, scaled to 0–1 gene by gene. The loss is the
    mean squared error plus half of 1 - PCC, the mean over genes (`eggn_loss`); AdamW, 300 epochs of one slide a batch.

    The public code differs from the paper where it reads the exemplars' expression from features already mixed,
    applies the activation to it after every layer, and changes the messages by an activation done in place. Here the
    paper is followed. The last epoch is taken, where the code keeps the one that correlates most with the sections
    tested on. Expression is log-normalised, where the code has log10(1 + count). Spots are joined by their distance,
    where the code counts it in squares of 256 pixels.

    Parameters
    ----------
    frozen_encoder : str
        Name of the `FrozenEncoder` whose features are used, a ResNet-18 in the public code. Without one the 23 colour
        and texture features (`features`) take its place.
    exemplars : int
        Training spots joined to each spot.
    dim, depth : int
        Features of a node, and layers.
    epochs, learning_rate, weight_decay : int, float, float
        Of the training, as the README gives them; the code's own default is 30 epochs.
    """

    frozen_encoder: str = ""
    exemplars: int = 6
    dim: int = 512
    depth: int = 4
    epochs: int = 300
    learning_rate: float = 5e-4
    weight_decay: float = 1e-4

    @property
    def title(self) -> str:
        """In tables."""
        return f"EGGN on {encoder_named(self.frozen_encoder).title}" if self.frozen_encoder else "EGGN"

    @property
    def encoder_weights(self) -> EncoderWeights:
        """Whether a file of weights must be given."""
        return weights_of(self.frozen_encoder) if self.frozen_encoder else "none"

    def fit(self, task: Task) -> Job[Fitted]:
        """Describe the training patches, find their exemplars and train the network."""
        device = choose_device(task.device)
        encoder = with_weights(self.frozen_encoder, task.weights) if self.frozen_encoder else None

        def describe(section: Section) -> Job[Float32]:
            if encoder is not None:
                return (yield from spot_features(section, encoder, device))
            return (yield from standardised_features(section, task.patch)).astype(np.float32)

        features = yield from in_turn(map(describe, task.training))
        expression = task.expression().toarray()
        least, largest = expression.min(axis=0), expression.max(axis=0)
        span = np.where(largest > least, largest - least, np.float32(1))
        of_sections = np.split((expression - least) / span, np.cumsum([len(each) for each in features])[:-1])
        bank = ExemplarBank(features, of_sections, self.exemplars, device)
        network = yield from self._trained(bank, task, device)

        def predict(section: Section) -> Job[Float32]:
            graph = yield from bank.graph(section, (yield from describe(section)))
            yield Progress("Predicting", 0, 1)
            with enough_memory(device, "a slide"), torch.inference_mode(), autocast(device):
                scaled = network(graph.to(device)).float().cpu().numpy()
            yield Progress("Predicting", 1, 1)
            predicted: Float32 = scaled * span + least
            return predicted

        note = "EGGN got 23 colour and texture features instead of those of a pretrained ResNet-18."
        return Fitted(predict, [] if self.frozen_encoder else [note])

    def _trained(self, bank: "ExemplarBank", task: Task, device: torch.device) -> Job[EGGNetwork]:
        """Train the network on the graph of each training section."""
        graphs = []
        for i, section in enumerate(task.training):
            graphs.append((yield from bank.graph(section, bank.features[i], training=i)))
        torch.manual_seed(task.seed)
        network = EGGNetwork(bank.features[0].shape[1], len(task.genes), self.dim, self.depth).to(device)

        def loss(slide: int, _: np.random.Generator) -> Tensor:
            measured = torch.from_numpy(bank.expression[slide]).to(device)
            return eggn_loss(network(graphs[slide].to(device)).float(), measured)

        def batches(rng: np.random.Generator) -> Sequence[int]:
            return list(rng.permutation(len(graphs)))

        optimiser = torch.optim.AdamW(network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        yield from train(self.title, network, optimiser, batches, loss, task, self.epochs)
        return network


def eggn_loss(predicted: Tensor, measured: Tensor) -> Tensor:
    """Return the mean squared error plus (1 - PCC) / 2, of the PCC over spots averaged over genes; both (n, G).

    A gene that is constant in either counts as PCC 0.
    """
    a, b = predicted - predicted.mean(dim=0), measured - measured.mean(dim=0)
    length = a.square().sum(dim=0) * b.square().sum(dim=0)
    correlation = (a * b).sum(dim=0) / (length + 1e-12).sqrt()
    return nn.functional.mse_loss(predicted, measured) + (1 - correlation.mean()) / 2


@dataclass(frozen=True, eq=False)
class ExemplarBank:
    """The training sections, from which the exemplars are drawn.

    Parameters
    ----------
    features : sequence of float32 (n, f)
        Of the spots of each section.
    expression : sequence of float32 (n, genes)
        Of these, scaled to 0–1 gene by gene.
    exemplars : int
        Of each spot.
    device : torch.device
        Where they are found.
    """

    features: Sequence[Float32]
    expression: Sequence[Float32]
    exemplars: int
    device: torch.device

    def graph(self, section: Section, features: Float32, training: int | None = None) -> Job[SlideGraph]:
        """Join a section's spots to each other and to their exemplars.

        Parameters
        ----------
        training : int, optional
            Which of the training sections it is: it takes no exemplars from itself or, if it is the only one, no spot
            takes itself.
        """
        alone = training is not None and len(self.features) == 1
        used = [i for i in range(len(self.features)) if alone or i != training]
        bank_features = np.concatenate([self.features[i] for i in used])
        bank_expression = np.concatenate([self.expression[i] for i in used])
        found = yield from self._nearest(features, bank_features, self.exemplars, 1, itself=alone)
        exemplars, column = np.unique(found, return_inverse=True)
        refer = np.stack([column.ravel(), np.repeat(np.arange(len(features)), found.shape[1])])
        of_exemplars = np.concatenate([bank_features[exemplars], bank_expression[exemplars]], axis=1)
        close = yield from self._nearest(of_exemplars, of_exemplars, EXEMPLARS_AROUND, 2, itself=True)
        return SlideGraph(
            torch.from_numpy(features),
            torch.from_numpy(bank_features[exemplars]),
            torch.from_numpy(bank_expression[exemplars]),
            torch.from_numpy(_spot_edges(section)),
            torch.from_numpy(_edges(close)),
            torch.from_numpy(refer),
        )

    def _nearest(self, features: Float32, bank: Float32, k: int, norm: int, itself: bool) -> Job[Rows]:
        """Return the k rows of the bank nearest to each of the features, int64 (n, k); less, if there are less.

        Where the features are the bank, ``itself`` is true and no row is near itself.
        """
        k = min(k + itself, len(bank))
        on_device = torch.from_numpy(bank).to(self.device)
        found = np.empty((len(features), k), np.int64)
        for start in range(0, len(features), QUERY_BLOCK):
            yield Progress("Finding exemplars", start, len(features), "spots")
            block = torch.from_numpy(features[start : start + QUERY_BLOCK]).to(self.device)
            distances = torch.cat([torch.cdist(block, part, p=norm) for part in torch.split(on_device, BANK_BLOCK)], 1)
            found[start : start + QUERY_BLOCK] = distances.topk(k, largest=False).indices.cpu().numpy()
        return without_self(found) if itself else found


def _spot_edges(section: Section) -> Rows:
    """Return edges (2, e) to each spot from those around it on the slide."""
    neighbours = nearest_neighbours(section.xy, SPOTS_AROUND)
    distance = np.linalg.norm(section.xy[neighbours] - section.xy[:, None], axis=2)
    edges = _edges(neighbours)
    return edges[:, (distance <= REACH * spots_lattice(section.spots).pitch).ravel()]


def _edges(neighbours: Rows) -> Rows:
    """Return edges (2, n · k) from neighbours (n, k) to their spot."""
    return np.stack([neighbours.ravel(), np.repeat(np.arange(len(neighbours)), neighbours.shape[1])])
