"""The compared networks against slow references in float64, written with loops from the equations."""

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_cmrcnet.benchmark.methods.eggn import eggn_loss
from napari_cmrcnet.benchmark.methods.eggn_network import EGGNetwork, SlideGraph
from napari_cmrcnet.benchmark.methods.histogene import Block, HisToGene
from napari_cmrcnet.model.conv_stem import ConvStem

Array = NDArray[np.float64]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def randomise(network: nn.Module) -> Any:
    """Give every weight a value of its own, biases and norms too, in float64."""
    network.double().eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn_like(weight) * 0.3)
    return network


def agree(found: Tensor, expected: Array) -> None:
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-12, atol=1e-12)


def softmax(scores: list[float]) -> list[float]:
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def of(parameter: Tensor) -> Array:
    return parameter.detach().numpy()


# --- HisToGene


def layer_norm(x: Array, norm: Any) -> Array:
    return np.asarray((x - x.mean()) / math.sqrt(x.var() + 1e-5) * of(norm.weight) + of(norm.bias))


def transformer_block(block: Block, x: Array, heads: int) -> Array:
    """Dosovitskiy et al. 2021, equations 2 and 3, of spots (n, dim)."""
    query, key, value = np.split(np.array([of(block.qkv.weight) @ layer_norm(spot, block.norm) for spot in x]), 3, 1)
    size = query.shape[1] // heads
    mixed = np.zeros_like(query)
    for head, i in product(range(heads), range(len(x))):
        part = slice(head * size, (head + 1) * size)
        weights = softmax([float(query[i, part] @ key[j, part]) / math.sqrt(size) for j in range(len(x))])
        for j, weight in enumerate(weights):
            mixed[i, part] += weight * value[j, part]
    mlp: Any = block.mlp
    project: Any = block.out[0]
    rows = []
    for i, spot in enumerate(x):
        after = spot + of(project.weight) @ mixed[i] + of(project.bias)
        hidden = of(mlp[1].weight) @ layer_norm(after, mlp[0]) + of(mlp[1].bias)
        hidden = np.array([v * (1 + math.erf(v / math.sqrt(2))) / 2 for v in hidden])
        rows.append(after + of(mlp[4].weight) @ hidden + of(mlp[4].bias))
    return np.array(rows)


def test_histogene_is_a_vision_transformer_of_the_spots() -> None:
    settings = HisToGene(dim=6, depth=2, heads=2, mlp_dim=10)
    network = randomise(settings.build(5, 9, 4))
    patches = torch.randint(0, 256, (7, 3, 4, 4)).double() / 64
    positions = torch.randint(0, 9, (7, 2))
    x = []
    for patch, (column, row) in zip(of(patches), positions.tolist(), strict=True):
        spot = of(network.patch.weight) @ patch.ravel() + of(network.patch.bias)
        x.append(spot + of(network.position.column.weight)[column] + of(network.position.row.weight)[row])
    spots = np.array(x)
    for block in network.transformer:
        spots = transformer_block(block, spots, heads=2)
    norm, head = network.head
    expected = np.array([of(head.weight) @ layer_norm(spot, norm) + of(head.bias) for spot in spots])
    agree(network(patches, positions), expected)


# --- EGGN


def linear(layer: Any, x: Array) -> Array:
    return np.asarray(of(layer.weight) @ x + (0 if layer.bias is None else of(layer.bias)))


def leaky(x: Array) -> Array:
    return np.where(x > 0, x, 0.2 * x)


def mean(vectors: list[Array], size: int) -> Array:
    return sum(vectors, np.zeros(size)) / max(len(vectors), 1)


def bridge(block: Any, spots: list[Array], exemplars: list[Array], known: list[Array], refer: Any) -> Any:
    """The messages of one exemplar bridge to spots and to exemplars, edge by edge."""
    dim = len(spots[0])
    to_spot: list[list[Array]] = [[] for _ in spots]
    to_exemplar: list[list[Array]] = [[] for _ in exemplars]
    for source, target in refer:
        spot, exemplar = linear(block.spot, spots[target]), linear(block.exemplar, exemplars[source])
        expression = linear(block.expression, known[source])
        compared = [linear(block.compare[1], leaky(x)) for x in (exemplar, spot)]
        gates = sigmoid(linear(block.score[1], leaky(compared[0] - compared[1])))
        n = len(gates) // 2
        for messages, parts, gate in (
            (to_spot[target], (exemplar, expression, spot), gates[:n]),
            (to_exemplar[source], (spot, exemplar, expression), gates[n:]),
        ):
            message = np.zeros(dim)
            for place, value in enumerate(np.concatenate(parts)):
                message[place % dim] += value * gate[place // (3 * dim // n)] / 3
            messages.append(message)
    return (
        [linear(block.to_spot, mean(one, dim) + of(block.spot_bias)) for one in to_spot],
        [linear(block.to_exemplar, mean(one, dim) + of(block.exemplar_bias)) for one in to_exemplar],
    )


def convolved(layer: Any, x: list[Array], edges: Any) -> list[Array]:
    heard = [[x[source] for source, target in edges if target == i] for i in range(len(x))]
    return [linear(layer.neighbours, mean(heard[i], len(x[i]))) + linear(layer.own, x[i]) for i in range(len(x))]


def test_eggn_passes_messages_along_the_edges_of_its_graph() -> None:
    dim, genes = 4, 3
    network = randomise(EGGNetwork(5, genes, dim, depth=2))
    near, close = ((0, 1), (1, 0), (2, 1)), ((0, 1), (1, 2), (2, 0), (0, 2))
    refer = ((0, 0), (1, 0), (1, 1), (2, 2), (0, 2))  # exemplar, spot
    x, described, expression = (torch.randn(3, size, dtype=torch.float64) for size in (5, 5, genes))
    edges = [torch.tensor(one).T for one in (near, close, refer)]
    spots = [leaky(linear(network.hidden, leaky(linear(network.spot_in, row)))) for row in of(x)]
    joined = np.concatenate([of(described), of(expression)], axis=1)
    exemplars = [leaky(linear(network.hidden, leaky(linear(network.exemplar_in, row)))) for row in joined]
    known = [linear(network.expression_in, row) for row in of(expression)]
    for layer in network.layers:
        to_spots, to_exemplars = bridge(layer.bridge, spots, exemplars, known, refer)
        spots = [leaky((a + b) / 2) for a, b in zip(convolved(layer.near, spots, near), to_spots, strict=True)]
        new = convolved(layer.close, exemplars, close)
        exemplars = [leaky((a + b) / 2) for a, b in zip(new, to_exemplars, strict=True)]
    attention, rows = network.attention, []
    for i, spot in enumerate(spots):
        projected = linear(attention.project, spot)
        own = [exemplars[source] for source, target in refer if target == i]
        attended = np.zeros(dim)
        for feature in range(dim):
            weights = softmax([0.1 * (one[feature] - projected[feature]) for one in own])
            attended[feature] = sum(w * one[feature] for w, one in zip(weights, own, strict=True))
        rows.append(linear(network.head, projected + attention.weight.item() * attended))
    agree(network(SlideGraph(x, described, expression, *edges)), np.array(rows))


def test_eggn_loss_is_squared_error_and_half_of_one_minus_the_mean_correlation() -> None:
    predicted, measured = torch.randn(9, 4).double(), torch.randn(9, 4).double()
    a, b = of(predicted), of(measured)
    correlation = np.mean([np.corrcoef(a[:, gene], b[:, gene])[0, 1] for gene in range(4)])
    expected = ((a - b) ** 2).mean() + (1 - correlation) / 2
    assert eggn_loss(predicted, measured).item() == pytest.approx(expected, rel=1e-11)


# --- cTransPath


def convolution(x: Array, layer: Any) -> Array:
    """Convolve (channels, side, side) at the layer's stride, zeros around."""
    weight, stride, pad = of(layer.weight), layer.stride[0], layer.padding[0]
    size, padded = weight.shape[2], np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    side = (padded.shape[1] - size) // stride + 1
    result = np.zeros((len(weight), side, side))
    for o, row, col in product(range(len(weight)), range(side), range(side)):
        square = padded[:, row * stride : row * stride + size, col * stride : col * stride + size]
        result[o, row, col] = (weight[o] * square).sum() + (0 if layer.bias is None else layer.bias[o].item())
    return result


def test_the_stem_of_ctranspath_is_three_convolutions() -> None:
    stem = randomise(ConvStem(8, 4, 3, 16, nn.LayerNorm))
    x = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    expected = of(x[0])
    assert [tuple(layer.weight.shape) for layer in stem.proj[::3]] == [(2, 3, 3, 3), (4, 2, 3, 3), (16, 4, 1, 1)]
    for convolve, norm in (stem.proj[:2], stem.proj[3:5]):
        values = convolution(expected, convolve)
        scale = of(norm.weight) / np.sqrt(of(norm.running_var) + norm.eps)
        values = (values - of(norm.running_mean)[:, None, None]) * scale[:, None, None]
        expected = np.maximum(values + of(norm.bias)[:, None, None], 0)
    expected = convolution(expected, stem.proj[6])
    rows = [[layer_norm(expected[:, row, col], stem.norm) for col in range(2)] for row in range(2)]
    agree(stem(x)[0], np.array(rows))
