"""The image encoder of CONCH (Lu et al., Nat Med 30:863, 2024): a vision transformer, and attention that pools it."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

HEADS = 8  # of the pooling attention, as all others here by its conch_ViT-B-16.json
_PARTS = ("trunk.", "attn_pool_contrast.", "ln_contrast.")


class AttentionPool(nn.Module):
    """One learned query that attends to all tokens of the trunk."""

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(1, width))
        self.attn = nn.MultiheadAttention(width, HEADS, kdim=tokens, vdim=tokens, batch_first=True)
        self.ln_q = nn.LayerNorm(width)
        self.ln_k = nn.LayerNorm(tokens)

    def forward(self, tokens: Tensor) -> Tensor:
        """Pool tokens (b, n, tokens) to (b, width)."""
        known, query = self.ln_k(tokens), self.ln_q(self.query).expand(len(tokens), -1, -1)
        pooled: Tensor = self.attn(query, known, known, need_weights=False)[0]
        return pooled[:, 0]


class Conch(nn.Module):
    """What CONCH says of a picture before its projection into the space of captions; names are those of its weights.

    Parameters
    ----------
    trunk : timm vision transformer
        Without a classifier.
    width : int
        How many numbers it gives.
    """

    pretrained_cfg: ClassVar[dict[str, Any]] = {}  # as timm's models have it: what is known of weights

    def __init__(self, trunk: Any, width: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.attn_pool_contrast = AttentionPool(width, trunk.num_features)
        self.ln_contrast = nn.LayerNorm(width)

    def forward(self, pixels: Tensor) -> Tensor:
        """Describe patches (b, 3, side, side), shifted and scaled; return (b, width)."""
        described: Tensor = self.ln_contrast(self.attn_pool_contrast(self.trunk.forward_features(pixels)))
        return described


def checkpoint_filter_fn(state: Mapping[str, Tensor], _: Conch) -> dict[str, Tensor]:
    """Take the image encoder's weights out of those of the whole model; `load_weights` finds this by its name."""
    own = {name.removeprefix("visual."): value for name, value in state.items()}
    return {name: value for name, value in own.items() if name.startswith(_PARTS)}
