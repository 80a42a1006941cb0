"""THItoGene: capsules, a transformer and a spot graph (Jia et al., Brief Bioinform 25:bbad464, 2024)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from napari_cmrcnet.benchmark.methods.method import Fitted, Task
from napari_cmrcnet.benchmark.methods.slide_regression import SlideMethod
from napari_cmrcnet.benchmark.methods.transformer import PositionEmbedding, Transformer
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job

LEAST_SIDE = 44  # pixels of the middle of a patch, below which the convolutions leave nothing


@dataclass(frozen=True)
class THItoGene(SlideMethod):
    """THItoGene with its published settings (the paper, and the README of the authors' public code).

    The middle of each patch, 112 px, passes a dynamic convolution whose kernel depends on the patch, four convolutions,
    and a layer of capsules; with the embeddings of column and row it passes a transformer over the slide's spots
    and graph attention over the four nearest spots. Mean squared error of log10 expression, Adam 1e-5, 200 epochs of
    one slide a batch, pixels of 0–255. Layers and sizes give the parameter counts that the authors' own log prints.
    Slides too large for attention are read in windows, as by HisToGene.

    Parameters
    ----------
    epochs, learning_rate : int, float
        As published.
    capsules, capsule_dim : int
        Capsules of a patch and their features.
    depth, heads, mlp_dim : int
        Of the transformer.
    graph_heads, graph_dim, graph_out : int
        Heads of the graph attention, features of each, and features of its second layer.
    dropout : float
        Of the transformer, and of input and weights of each layer of graph attention.
    window, full_attention : int
        As `SlideMethod` has them.
    """

    epochs: int = 200
    learning_rate: float = 1e-5
    capsules: int = 20
    capsule_dim: int = 64
    depth: int = 4
    heads: int = 16
    mlp_dim: int = 2048
    graph_heads: int = 8
    graph_dim: int = 1024
    graph_out: int = 512
    dropout: float = 0.2

    title: ClassVar[str] = "THItoGene"

    def fit(self, task: Task) -> Job[Fitted]:
        """Train the network.

        Raises
        ------
        UserError
            If the patches are too small for the convolutions.
        """
        if task.patch.patch_px // 2 < LEAST_SIDE:
            raise UserError(f"THItoGene needs patches of at least {2 * LEAST_SIDE} px, not {task.patch.patch_px}.")
        return (yield from super().fit(task))

    def build(self, n_genes: int, n_positions: int, side: int) -> "THItoGeneNetwork":
        """Build the network."""
        return THItoGeneNetwork(self, n_genes, n_positions, side)


class THItoGeneNetwork(nn.Module):
    """Patches (n, 3, side, side), array positions (n, 2) and neighbours (n, k) to log10 expression (n, genes)."""

    def __init__(self, settings: THItoGene, n_genes: int, n_positions: int, side: int) -> None:
        super().__init__()
        dim = (settings.capsules + 2) * settings.capsule_dim
        self.patch = nn.Sequential(
            DynamicConvolution(), nn.ReLU(), CapsuleEncoder(side // 4, settings.capsules, settings.capsule_dim)
        )
        self.position = PositionEmbedding(n_positions, settings.capsule_dim)
        self.dropout = nn.Dropout(settings.dropout)
        self.transformer = Transformer(dim, settings.depth, settings.heads, settings.mlp_dim, settings.dropout)
        heads = settings.graph_heads
        self.graph = GraphAttention(dim, settings.graph_dim, heads, settings.dropout)
        self.graph_out = GraphAttention(heads * settings.graph_dim, settings.graph_out, 1, settings.dropout)
        self.head = nn.Sequential(
            nn.Linear(settings.graph_out, 1024), nn.ReLU(), nn.LayerNorm(1024), nn.Linear(1024, n_genes)
        )

    def forward(self, patches: Tensor, positions: Tensor, neighbours: Tensor) -> Tensor:
        """Predict (n, genes)."""
        x = torch.cat([self.patch(patches).flatten(1), *self.position(positions)], dim=1)  # (n, dim)
        x = self.transformer(self.dropout(x))
        x = self.graph_out(self.graph(x, neighbours), neighbours)
        predicted: Tensor = self.head(x)
        return predicted


class DynamicConvolution(nn.Module):
    """Omni-dimensional dynamic convolution (Li, Zhou & Yao, ICLR 2022), 3 to 16 channels, 4 × 4 pixels at stride 4.

    From the patch's mean colour follow weights of the input channels, the output channels, the places within the
    kernel, and of the four kernels that are added up.
    """

    def __init__(self, channels: int = 3, filters: int = 16, size: int = 4, kernels: int = 4, hidden: int = 16) -> None:
        super().__init__()
        self.size = size
        self.squeeze = nn.Sequential(nn.Linear(channels, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU())
        self.channel, self.filter = nn.Linear(hidden, channels), nn.Linear(hidden, filters)
        self.place, self.kernel = nn.Linear(hidden, size * size), nn.Linear(hidden, kernels)
        self.weight = nn.Parameter(torch.empty(kernels, filters, channels, size, size))
        for kernel in self.weight:
            nn.init.kaiming_normal_(kernel, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (n, 3, side, side) to (n, 16, side / 4, side / 4); pixels beyond a multiple of 4 are left out."""
        n, size = len(x), self.size
        context = self.squeeze(x.mean(dim=(2, 3)))  # (n, hidden)
        channel, filters = self.channel(context).sigmoid(), self.filter(context).sigmoid()
        place = self.place(context).sigmoid().view(n, size, size)
        kernel = self.kernel(context).softmax(dim=1)
        side = x.shape[2] // size
        # Kernels do not overlap, so that a convolution is a product with each square of pixels.
        squares = x[:, :, : side * size, : side * size].reshape(n, -1, side, size, side, size)
        weight = torch.einsum("nk,kocij,nij,nc,no->nocij", kernel, self.weight, place, channel, filters)
        return torch.einsum("ncyixj,nocij->noyx", squares, weight)


class CapsuleEncoder(nn.Module):
    """Efficient capsules (Mazzia, Salvetti & Chiaberge, Sci Rep 11:14634, 2021): (n, 16, side, side) to (n, K, d)."""

    def __init__(self, side: int, capsules: int, dim: int, primary: int = 16, primary_dim: int = 8) -> None:
        super().__init__()
        self.primary, self.primary_dim = primary, primary_dim
        widths, sizes, strides = (16, 32, 64, 64, primary * primary_dim), (5, 3, 3, 3), (1, 1, 1, 2)
        layers: list[nn.Module] = []
        for i, (size, stride) in enumerate(zip(sizes, strides, strict=True)):
            convolution = nn.Conv2d(widths[i], widths[i + 1], size, stride)
            nn.init.kaiming_normal_(convolution.weight)
            layers += [convolution, nn.BatchNorm2d(widths[i + 1]), nn.ReLU()]
            side = (side - size) // stride + 1
        # What is left of the patch, 9 × 9 of 112 px, is one kernel of each channel.
        layers.append(nn.Conv2d(widths[-1], widths[-1], side, groups=widths[-1]))
        self.layers = nn.Sequential(*layers)
        self.weight = nn.Parameter(torch.empty(capsules, primary, primary_dim, dim))
        self.bias = nn.Parameter(torch.zeros(capsules, primary, 1))
        nn.init.kaiming_normal_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Encode (the paper's self-attention routing).

        Each of the primary capsules votes for what each capsule k is. It divides itself among the capsules by how far
        its vote agrees with those of all primary capsules for the same k.
        """
        lower = squash(self.layers(x).view(len(x), self.primary, self.primary_dim))  # (n, j, i)
        votes = torch.einsum("nji,kjid->nkjd", lower, self.weight)
        agreement = (votes * votes.sum(dim=2, keepdim=True)).sum(dim=-1, keepdim=True)  # (n, k, j, 1)
        coupling = torch.softmax(agreement / votes.shape[-1] ** 0.5, dim=1) + self.bias
        return squash((votes * coupling).sum(dim=2))  # (n, k, d)


def squash(x: Tensor) -> Tensor:
    """Shorten vectors (…, d) to below length one, (1 - e^-|x|) x / |x|."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    short: Tensor = -torch.expm1(-length) * x / (length + 1e-12)
    return short


class GraphAttention(nn.Module):
    """Graph attention (Veličković et al., ICLR 2018) over each spot's neighbours, heads side by side, then ELU.

    Dropout is of the input and of the attention's weights.
    """

    def __init__(self, in_features: int, out_features: int, heads: int, dropout: float, slope: float = 0.01) -> None:
        super().__init__()
        self.heads, self.slope = heads, slope
        self.project = nn.Linear(in_features, heads * out_features, bias=False)
        self.own = nn.Parameter(torch.empty(heads, out_features))
        self.other = nn.Parameter(torch.empty(heads, out_features))
        self.dropout = nn.Dropout(dropout)
        for weight in (self.project.weight, self.own, self.other):
            nn.init.xavier_uniform_(weight, gain=1.414)

    def forward(self, x: Tensor, neighbours: Tensor) -> Tensor:
        """Average (n, in) over neighbours (n, k) to (n, heads · out)."""
        h = self.project(self.dropout(x)).view(len(x), self.heads, -1)  # (n, heads, out)
        own, other = (h * self.own).sum(dim=-1), (h * self.other).sum(dim=-1)  # (n, heads)
        score = nn.functional.leaky_relu(own[:, None] + other[neighbours], self.slope)  # (n, k, heads)
        weight = self.dropout(torch.softmax(score, dim=1))
        # Neighbour by neighbour: (n, k, heads, out) at once is gigabytes on a large slide.
        mixed = sum(weight[:, i, :, None] * h[neighbours[:, i]] for i in range(neighbours.shape[1]))
        return nn.functional.elu(torch.as_tensor(mixed).flatten(1))
