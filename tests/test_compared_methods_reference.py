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
from napari_cmrcnet.benchmark.methods.histogene import HisToGene
from napari_cmrcnet.benchmark.methods.thitogene import CapsuleEncoder, DynamicConvolution, GraphAttention, THItoGene
from napari_cmrcnet.benchmark.methods.transformer import Block
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


def test_thitogene_puts_its_layers_together() -> None:
    settings = THItoGene(
        capsules=2, capsule_dim=3, depth=1, heads=2, mlp_dim=5, graph_heads=2, graph_dim=4, graph_out=6
    )
    network = randomise(settings.build(5, 9, 44))
    patches, positions = torch.rand(5, 3, 44, 44, dtype=torch.float64), torch.randint(0, 9, (5, 2))
    neighbours = np.array([[j for j in range(5) if j != i][:2] for i in range(5)])
    capsules = of(network.patch(patches)).reshape(5, 6)
    column, row = (of(one.weight) for one in (network.position.column, network.position.row))
    x = np.array([np.concatenate([capsules[i], column[a], row[b]]) for i, (a, b) in enumerate(positions.tolist())])
    x = transformer_block(network.transformer[0], x, heads=2)
    for layer in (network.graph, network.graph_out):
        x = graph_attention(layer, x, np.ones((5, 2, 2)), neighbours)
    first, _, norm, last = network.head
    expected = [linear(last, layer_norm(np.maximum(linear(first, spot), 0), norm)) for spot in x]
    agree(network(patches, positions, torch.from_numpy(neighbours)), np.array(expected))


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
