"""The compared networks against slow references in float64, written with loops from the equations."""

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_cmrcnet.evaluation.baselines.histogene import HisToGene
from napari_cmrcnet.evaluation.baselines.thitogene import CapsuleEncoder, DynamicConvolution, GraphAttention
from napari_cmrcnet.evaluation.baselines.transformer import Block

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


def squashed(vector: Array) -> Array:
    length = math.sqrt(sum(float(x) ** 2 for x in vector))
    return np.asarray((1 - math.exp(-length)) * vector / length)


def of(parameter: Tensor) -> Array:
    return parameter.detach().numpy()


# --- THItoGene


def test_capsules_are_routed_by_their_agreement_with_all_primary_capsules() -> None:
    """Mazzia et al. 2021, self-attention routing: A over pairs of primary capsules, softmax over the capsules."""
    encoder = randomise(CapsuleEncoder(20, capsules=3, dim=5))
    x = torch.rand(2, 16, 20, 20, dtype=torch.float64)
    primary = of(encoder.layers(x)).reshape(2, 16, 8)
    weight, prior = of(encoder.weight), of(encoder.bias)
    expected = np.zeros((2, 3, 5))
    for n in range(2):
        u = [squashed(primary[n, i]) for i in range(16)]
        votes = [[u[i] @ weight[k, i] for i in range(16)] for k in range(3)]
        heard = np.zeros((3, 16))  # the sum over j of A_ij
        for k, i, j in product(range(3), range(16), range(16)):
            heard[k, i] += votes[k][i] @ votes[k][j] / math.sqrt(5)
        for i in range(16):
            for k, coupling in enumerate(softmax(list(heard[:, i]))):
                expected[n, k] += (coupling + prior[k, i, 0]) * votes[k][i]
    agree(encoder(x), np.array([[squashed(capsule) for capsule in patch] for patch in expected]))


def graph_attention(layer: GraphAttention, x: Array, kept: Array, neighbours: Array) -> Array:
    """Veličković et al. 2018, equations 1 to 5, with the factor `kept` (n, k, heads) of each attention weight."""
    heads, size = layer.own.shape
    weight, own, other = of(layer.project.weight), of(layer.own), of(layer.other)
    result = np.zeros((len(x), heads * size))
    for head, i in product(range(heads), range(len(x))):
        of_head = weight[head * size : (head + 1) * size]
        scores = []
        for j in neighbours[i]:
            score = own[head] @ (of_head @ x[i]) + other[head] @ (of_head @ x[j])
            scores.append(max(score, 0.01 * score))
        total = np.zeros(size)
        for place, attention in enumerate(softmax(scores)):
            total += attention * kept[i, place, head] * (of_head @ x[neighbours[i][place]])
        result[i, head * size : (head + 1) * size] = np.where(total > 0, total, np.expm1(total))
    return result


@pytest.mark.parametrize("training", [False, True])
def test_graph_attention_drops_features_of_its_input_and_weights(training: bool) -> None:
    layer = randomise(GraphAttention(6, 4, heads=3, dropout=0.2)).train(training)
    x = torch.randn(7, 6, dtype=torch.float64)
    neighbours = torch.from_numpy(np.array([[j for j in range(7) if j != i][:4] for i in range(7)]))
    torch.manual_seed(1)
    found = layer(x, neighbours)
    torch.manual_seed(1)
    drop = nn.Dropout(0.2).train(training)
    dropped, kept = drop(x), drop(torch.ones(7, 4, 3, dtype=torch.float64))
    assert bool((dropped == 0).any()) == training
    agree(found, graph_attention(layer, of(dropped), of(kept), of(neighbours)))


def test_a_dynamic_convolution_is_that_of_its_own_kernel() -> None:
    """Li, Zhou & Yao 2022, equation 2: four kernels weighted by places, input and output channels, and kernel."""
    layer = randomise(DynamicConvolution(filters=5, size=2, kernels=3, hidden=4))
    x = torch.rand(2, 3, 5, 5, dtype=torch.float64)
    linear, norm = layer.squeeze[0], layer.squeeze[1]
    expected = np.zeros((2, 5, 2, 2))
    for n in range(2):
        context = of(linear.weight) @ of(x[n]).mean(axis=(1, 2))
        scaled = context / np.sqrt(of(norm.running_var) + norm.eps)
        context = np.maximum((scaled - of(norm.running_mean)) * of(norm.weight) + of(norm.bias), 0)

        def gate(linear: Any, context: Array = context) -> Array:
            return np.asarray(of(linear.weight) @ context + of(linear.bias))

        channel, filters, place = sigmoid(gate(layer.channel)), sigmoid(gate(layer.filter)), sigmoid(gate(layer.place))
        kernel = softmax(list(gate(layer.kernel)))
        for o, c, row, col, i, j, one in product(range(5), range(3), range(2), range(2), range(2), range(2), range(3)):
            weight = kernel[one] * filters[o] * channel[c] * place[2 * i + j] * of(layer.weight)[one, o, c, i, j]
            expected[n, o, row, col] += weight * float(x[n, c, 2 * row + i, 2 * col + j])
    agree(layer(x), expected)


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
    agree(network(patches, positions, torch.zeros(7, 4)), expected)
