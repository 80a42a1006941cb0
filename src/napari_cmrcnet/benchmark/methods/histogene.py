"""HisToGene: a transformer over all spots of a slide (Pang, Su & Li, bioRxiv 2021.11.28.470212)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from napari_cmrcnet.benchmark.methods.slide_regression import SlideMethod
from napari_cmrcnet.benchmark.methods.transformer import PositionEmbedding, Transformer


@dataclass(frozen=True)
class HisToGene(SlideMethod):
    """HisToGene with its published settings (the paper, and the tutorial of the authors' public code).

    The middle of each patch, 112 px, is flattened with its values of 0–255 and projected to 1,024 features; learned
    embeddings of the spot's column and row are added; eight transformer blocks of 16 heads mix the spots of the
    slide; a linear layer predicts log10 expression. Mean squared error, Adam 1e-5, 100 epochs of one slide a batch,
    no augmentation.

    Attention over n spots costs n². The authors' slides have some 300 spots; those who compared with it on larger
    ones read windows of about 128 neighbouring spots, and so does this beyond `full_attention`, and says so.

    Parameters
    ----------
    epochs, learning_rate : int, float
        As published.
    dim, depth, heads, mlp_dim, dropout : int, int, int, int, float
        Of the transformer; the code's own default of 4 blocks is not what the paper used.
    window, full_attention : int
        As `SlideMethod` has them.
    """

    epochs: int = 100
    learning_rate: float = 1e-5
    dim: int = 1024
    depth: int = 8
    heads: int = 16
    mlp_dim: int = 2048
    dropout: float = 0.1

    title: ClassVar[str] = "HisToGene"

    def build(self, n_genes: int, n_positions: int, side: int) -> "HisToGeneNetwork":
        """Build the network."""
        return HisToGeneNetwork(self, n_genes, n_positions, side)


class HisToGeneNetwork(nn.Module):
    """Patches (n, 3, side, side) of 0–255 and array positions (n, 2) to log10 expression (n, genes)."""

    def __init__(self, settings: HisToGene, n_genes: int, n_positions: int, side: int) -> None:
        super().__init__()
        self.patch = nn.Linear(3 * side * side, settings.dim)
        self.position = PositionEmbedding(n_positions, settings.dim)
        self.dropout = nn.Dropout(settings.dropout)
        self.transformer = Transformer(settings.dim, settings.depth, settings.heads, settings.mlp_dim, settings.dropout)
        self.head = nn.Sequential(nn.LayerNorm(settings.dim), nn.Linear(settings.dim, n_genes))

    def forward(self, patches: Tensor, positions: Tensor, _: Tensor) -> Tensor:
        """Predict (n, genes); the neighbours are not used."""
        column, row = self.position(positions)
        x = self.patch(patches.flatten(1)) + column + row  # (n, dim)
        predicted: Tensor = self.head(self.transformer(self.dropout(x)))
        return predicted
