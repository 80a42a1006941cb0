"""The network of EGGN, in plain torch: a graph is its edges, two rows of node numbers."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class SlideGraph:
    """A slide's spots and their exemplars.

    Parameters
    ----------
    spots : (n, f)
        Features of the spots' patches.
    exemplars, exemplar_expression : (m, f), (m, genes)
        Of the exemplars.
    near, close, refer : int64 (2, e)
        Edges from spot to spot, from exemplar to exemplar, and from exemplar to spot: source above target.
    """

    spots: Tensor
    exemplars: Tensor
    exemplar_expression: Tensor
    near: Tensor
    close: Tensor
    refer: Tensor

    def to(self, device: torch.device) -> "SlideGraph":
        """Return the graph on a device."""
        return SlideGraph(*(getattr(self, field.name).to(device) for field in fields(self)))


class EGGNetwork(nn.Module):
    """A `SlideGraph` to scaled expression of its n spots, (n, genes).

    Parameters
    ----------
    n_features, n_genes : int
        Of a patch, and of a spot.
    dim, depth : int
        Features of a node, and layers.
    """

    def __init__(self, n_features: int, n_genes: int, dim: int, depth: int) -> None:
        super().__init__()
        self.spot_in = nn.Linear(n_features, dim, bias=False)
        self.exemplar_in = nn.Linear(n_features + n_genes, dim, bias=False)
        self.expression_in = nn.Linear(n_genes, dim, bias=False)
        self.hidden = nn.Linear(dim, dim, bias=False)
        self.activation = nn.LeakyReLU(0.2)
        self.layers = nn.ModuleList(GraphLayer(dim) for _ in range(depth))
        self.attention = ExemplarAttention(dim)
        self.head = nn.Linear(dim, n_genes)

    def forward(self, graph: SlideGraph) -> Tensor:
        """Predict (n, genes)."""
        act = self.activation
        spots = act(self.hidden(act(self.spot_in(graph.spots))))  # (n, dim)
        described = torch.cat([graph.exemplars, graph.exemplar_expression], dim=1)
        exemplars = act(self.hidden(act(self.exemplar_in(described))))  # (m, dim)
        expression = self.expression_in(graph.exemplar_expression)  # (m, dim)
        for layer in self.layers:
            spots, exemplars = layer(spots, exemplars, expression, graph)
            spots, exemplars = act(spots), act(exemplars)
        predicted: Tensor = self.head(self.attention(spots, exemplars, graph.refer))
        return predicted


class GraphLayer(nn.Module):
    """Graph convolution among spots and among exemplars, and the bridge between them; the two are averaged."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.near, self.close = GraphConvolution(dim), GraphConvolution(dim)
        self.bridge = ExemplarBridge(dim)

    def forward(self, spots: Tensor, exemplars: Tensor, expression: Tensor, graph: SlideGraph) -> tuple[Tensor, Tensor]:
        """Return the new features of spots (n, dim) and exemplars (m, dim)."""
        to_spots, to_exemplars = self.bridge(spots, exemplars, expression, graph.refer)
        return (self.near(spots, graph.near) + to_spots) / 2, (self.close(exemplars, graph.close) + to_exemplars) / 2


class GraphConvolution(nn.Module):
    """GraphSAGE (Hamilton, Ying & Leskovec, NeurIPS 2017): W₁ mean of the sources + W₂ x."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.neighbours, self.own = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Convolve nodes (n, dim)."""
        mean = mean_of_sources(x[edges[0]], edges[1], len(x))
        convolved: Tensor = self.neighbours(mean) + self.own(x)
        return convolved


class ExemplarBridge(nn.Module):
    """Passes features between a spot and its exemplars, gated by how the two differ (the paper's GEB block).

    From the difference of the two nodes of an edge follow gates, one for each direction. Along the edge go the features
    of exemplar, exemplar's expression and spot, each gated, and their mean.

    Parameters
    ----------
    dim, gates : int
        Features of a node, and gates of a message: a gate is of neighbouring features of its 3 · dim.
    """

    def __init__(self, dim: int, gates: int = 128) -> None:
        super().__init__()
        gates = min(gates, dim)
        self.dim, self.gates = dim, gates
        self.spot, self.exemplar = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.expression = nn.Linear(dim, dim, bias=False)
        self.compare = nn.Sequential(nn.LeakyReLU(0.2), nn.Linear(dim, gates, bias=False))
        self.score = nn.Sequential(nn.LeakyReLU(0.2), nn.Linear(gates, 2 * gates), nn.Sigmoid())
        self.to_spot, self.to_exemplar = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.spot_bias, self.exemplar_bias = nn.Parameter(torch.zeros(dim)), nn.Parameter(torch.zeros(dim))
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
        nn.init.zeros_(self.to_spot.bias)
        nn.init.zeros_(self.to_exemplar.bias)

    def forward(self, spots: Tensor, exemplars: Tensor, expression: Tensor, refer: Tensor) -> tuple[Tensor, Tensor]:
        """Return messages to the spots (n, dim) and to the exemplars (m, dim)."""
        source, target = refer
        spot, exemplar, known = self.spot(spots), self.exemplar(exemplars), self.expression(expression)
        gates = self.score(self.compare(exemplar)[source] - self.compare(spot)[target])  # (e, 2 gates)
        gate_spot, gate_exemplar = gates.split(self.gates, dim=1)
        parts = exemplar[source], known[source], spot[target]
        to_spot = mean_of_sources(self._message(parts, gate_spot), target, len(spots))
        parts = spot[target], exemplar[source], known[source]
        to_exemplar = mean_of_sources(self._message(parts, gate_exemplar), source, len(exemplars))
        return self.to_spot(to_spot + self.spot_bias), self.to_exemplar(to_exemplar + self.exemplar_bias)

    def _message(self, parts: tuple[Tensor, Tensor, Tensor], gate: Tensor) -> Tensor:
        """Gate three features of an edge, each (e, dim), and average them."""
        joined = torch.cat(parts, dim=1)  # (e, 3 dim)
        # Gate i is of the i-th stretch of the joined features.
        gated = joined * gate.repeat_interleave(joined.shape[1] // self.gates, dim=1)
        return gated.view(len(joined), 3, self.dim).mean(dim=1)


class ExemplarAttention(nn.Module):
    """Adds to a spot the attention over its exemplars, feature by feature (after CSRA, Zhu & Wu, ICCV 2021)."""

    def __init__(self, dim: int, temperature: float = 0.1) -> None:
        super().__init__()
        self.temperature = temperature
        self.project = nn.Linear(dim, dim)
        self.weight = nn.Parameter(torch.tensor(0.1))

    def forward(self, spots: Tensor, exemplars: Tensor, refer: Tensor) -> Tensor:
        """Return (n, dim)."""
        source, target = refer
        spot = self.project(spots)
        score = (exemplars[source] - spot[target]) * self.temperature  # (e, dim)
        attended = softmax_mean(exemplars[source], score, target, len(spots))
        result: Tensor = spot + self.weight * attended
        return result


def mean_of_sources(messages: Tensor, target: Tensor, n: int) -> Tensor:
    """Return the mean of the messages (e, d) to each of n nodes, (n, d); zero where there is none."""
    total = messages.new_zeros(n, messages.shape[1]).index_add(0, target, messages)
    counts = torch.bincount(target, minlength=n).clamp(min=1)
    return total / counts[:, None]


def softmax_mean(values: Tensor, scores: Tensor, target: Tensor, n: int) -> Tensor:
    """Return the mean of values (e, d) over each node's edges, weighted by the softmax of scores (e, d), (n, d)."""
    index = target[:, None].expand_as(scores)
    most = scores.new_full((n, scores.shape[1]), -torch.inf).scatter_reduce(0, index, scores, "amax")
    weights = (scores - most.detach()[target]).exp()
    total = weights.new_zeros(n, scores.shape[1]).index_add(0, target, weights)
    summed = weights.new_zeros(n, scores.shape[1]).index_add(0, target, weights * values.to(weights.dtype))
    return summed / total.clamp(min=1e-12)
