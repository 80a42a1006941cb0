"""The transformer over the spots of a slide that HisToGene and THItoGene share (Dosovitskiy et al., ICLR 2021)."""

from torch import Tensor, nn


class Transformer(nn.Sequential):
    """Blocks of attention and MLP over the n spots of a slide, (n, dim) to (n, dim).

    Parameters
    ----------
    dim, depth, heads : int
        Width, blocks, and heads of 64 features each whatever the width.
    mlp_dim : int
        Hidden features of the MLP.
    dropout : float
        After the attention's output and in the MLP.
    """

    def __init__(self, dim: int, depth: int, heads: int, mlp_dim: int, dropout: float) -> None:
        super().__init__(*(Block(dim, heads, mlp_dim, dropout) for _ in range(depth)))


class Block(nn.Module):
    """x + Attention(LN(x)), then x + MLP(LN(x)); no bias in query, key and value."""

    def __init__(self, dim: int, heads: int, mlp_dim: int, dropout: float, head_dim: int = 64) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.out = nn.Sequential(nn.Linear(heads * head_dim, dim), nn.Dropout(dropout))
        self.mlp = nn.Sequential(
            nn.LayerNorm(dim),
            nn.Linear(dim, mlp_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(mlp_dim, dim),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Mix the spots (n, dim)."""
        n = len(x)
        query, key, value = self.qkv(self.norm(x)).view(n, 3, self.heads, -1).permute(1, 2, 0, 3)  # (heads, n, 64)
        # With a batch of one: torch's kernels that never hold all n² weights take four dimensions.
        mixed = nn.functional.scaled_dot_product_attention(query[None], key[None], value[None])[0]
        x = x + self.out(mixed.transpose(0, 1).reshape(n, -1))
        result: Tensor = x + self.mlp(x)
        return result


class PositionEmbedding(nn.Module):
    """Learned vectors of a spot's column and of its row on the array."""

    def __init__(self, positions: int, dim: int) -> None:
        super().__init__()
        self.column = nn.Embedding(positions, dim)
        self.row = nn.Embedding(positions, dim)

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Look up columns and rows, (n, 2), each to (n, dim)."""
        return self.column(positions[:, 0]), self.row(positions[:, 1])
