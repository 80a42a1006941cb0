"""The network that rebuilds one modality's embedding from its masked tokens and the other modality.

It is used in training alone: by asking for what is missing in the image from the genes (or the other way
round) it makes the two encoders keep what they share. B is the batch, G genes, N tokens that are masked and
rebuilt, M tokens that guide, D features of a token.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from napari_cmrcnet.model.config import CROSS_ATTENTION_HEADS, FUSION_HEADS, ModelConfig, Variant

GENE_TOKENS = 8
FUSION_DROPOUT = 0.1  # of the released fusion modules
FUSION_MODULES = 2
DROPOUT = 0.25  # of the gene network, and of the released query and key; the paper's dropout of 0.1 is elsewhere


class Attention(nn.Module):
    """Multi-head attention of a sequence over another one, or over itself; ``dropout`` is of the attention weights."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Attend from (B, N, D) over (B, M, D); return (B, N, D)."""
        dropout = self.dropout if self.training else 0.0
        attended = attend(self.query(x), self.key(context), self.value(context), self.heads, dropout)  # (B, N, D)
        out: Tensor = self.out(attended)
        return out


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int, dropout: float = 0.0) -> Tensor:
    """Return softmax(QKᵀ/√(D/heads))V head by head: (B, N, D), from Q (B, N, D), K and V (B, M, D)."""
    q, k, v = (x.reshape(*x.shape[:2], heads, -1).transpose(1, 2) for x in (query, key, value))
    attended = scaled_dot_product_attention(q, k, v, dropout_p=dropout)  # (B, heads, N, D / heads)
    return attended.transpose(1, 2).flatten(2)  # (B, N, D)


class ResidualCrossAttention(nn.Module):
    """Cross-attention that adds the sequence's own values to those attended.

    With x the sequence that is rebuilt, g its guide, W linear maps with bias, and the softmax in each of 8 heads,
    d = D/8 (32 in the paper and in its code)::

        paper:     Q = W_q x, K = W_k g, V_x = W_x x, V_g = W_g g
                   out = softmax(Q Kᵀ / √d) V_g + V_x

        released:  Q = dropout(relu(W_q x)), K = dropout(relu(W_k g)), V_x = W_x Q, V_g = W_g K
                   out = x + softmax(Q Kᵀ / √d) V_g + V_x

    Neither has an output projection.
    """

    def __init__(self, dim: int, variant: Variant) -> None:
        super().__init__()
        self.released = variant == "released"
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.own_value = nn.Linear(dim, dim)
        self.guide_value = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """Attend from (B, N, D) over (B, M, D); return (B, N, D)."""
        q = self.query(x)  # (B, N, D)
        k = self.key(guide)  # (B, M, D)
        if self.released:
            q, k = self.dropout(torch.relu(q)), self.dropout(torch.relu(k))
            own, guiding = self.own_value(q), self.guide_value(k)  # (B, N, D), (B, M, D)
            fused: Tensor = x + attend(q, k, guiding, FUSION_HEADS) + own
        else:
            own, guiding = self.own_value(x), self.guide_value(guide)  # (B, N, D), (B, M, D)
            fused = attend(q, k, guiding, FUSION_HEADS) + own
        return fused


class FusionModule(nn.Module):
    """Pre-norm self-attention and MLP, each with its residual, then residual cross-attention.

    The released code drops a tenth of the attention's weights, and of what either layer of the MLP gives.
    """

    def __init__(self, dim: int, variant: Variant) -> None:
        super().__init__()
        dropout = FUSION_DROPOUT if variant == "released" else 0.0
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, FUSION_HEADS, dropout)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp_in, self.mlp_out = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.mlp_dropout = nn.Dropout(dropout)
        self.cross_attention = ResidualCrossAttention(dim, variant)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """Fuse (B, N, D) with its guide (B, M, D); return (B, N, D)."""
        normed = self.attention_norm(x)
        x = x + self.attention(normed, normed)
        hidden = self.mlp_dropout(gelu(self.mlp_in(self.mlp_norm(x))))  # (B, N, 4 * D)
        x = x + self.mlp_dropout(self.mlp_out(hidden))
        fused: Tensor = self.cross_attention(x, guide)
        return fused


class ReconstructionNetwork(nn.Module):
    """Rebuild the embedding of one modality from its masked tokens, guided by the other modality.

    1. Image tokens to D features; expression through a self-normalising network to 8 gene tokens.
    2. The *features* (not whole tokens) of the target's tokens are set to zero at random.
    3. Cross-attention, query from the masked tokens, key and value from the guide.
    4. Two fusion modules (``"released"``: one, applied twice), then the mean over tokens: F_r.

    With ``target="image"`` the image tokens are masked and the gene tokens guide; with ``"expression"`` the
    two change places.

    Parameters
    ----------
    config : ModelConfig
        The model's hyperparameters.
    width : int
        Features of an image token.
    """

    def __init__(self, config: ModelConfig, width: int) -> None:
        super().__init__()
        self.config = config
        dim = config.embedding_dim
        released = config.variant == "released"
        self.image_tokens = nn.Linear(width, dim)
        self.gene_tokens = nn.Sequential(
            nn.Linear(config.n_genes, GENE_TOKENS * dim),
            nn.ELU() if released else nn.SELU(),
            nn.AlphaDropout(DROPOUT),
        )
        self.cross_attention = Attention(dim, CROSS_ATTENTION_HEADS)
        distinct = 1 if released else FUSION_MODULES
        self.fusion = nn.ModuleList(FusionModule(dim, config.variant) for _ in range(distinct))

    def forward(self, image_tokens: Tensor, expression: Tensor) -> Tensor:
        """Rebuild the target's embedding.

        Parameters
        ----------
        image_tokens : (B, N, width) tensor
            From the image encoder.
        expression : (B, G) tensor
            Log-normalised expression.

        Returns
        -------
        (B, D) tensor
            F_r.
        """
        image = self.image_tokens(image_tokens)  # (B, N, D)
        gene = self.gene_tokens(expression).reshape(len(expression), GENE_TOKENS, -1)  # (B, 8 * D) -> (B, 8, D)
        x: Tensor
        x, guide = (image, gene) if self.config.target == "image" else (gene, image)
        x = self._mask(x)
        x = self.cross_attention(x, guide)
        for i in range(FUSION_MODULES):
            x = self.fusion[i % len(self.fusion)](x, guide)
        return x.mean(dim=1)  # (B, N, D) -> (B, D)

    def _mask(self, x: Tensor) -> Tensor:
        """Set features of (B, N, D) to zero, without rescaling those kept."""
        released = self.config.variant == "released"
        if not (self.training or released):
            return x
        draw, rate = torch.rand(x.shape, device=x.device), self.config.mask_rate
        return x * (draw < rate if released else draw >= rate)
