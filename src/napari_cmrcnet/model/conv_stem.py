"""The convolutional stem of cTransPath (Wang et al., Med Image Anal 81:102559, 2022)."""

from typing import Any

import numpy as np
from torch import Tensor, nn


class ConvStem(nn.Module):
    """cTransPath's stem: two 3 × 3 convolutions of stride 2 to 12 and 24 channels, one of 1 × 1 to `embed_dim`.

    The parameters are those by which timm makes a Swin's stem; the patch is 4 pixels whatever is given.
    """

    def __init__(
        self, img_size: int | tuple[int, int], patch_size: int, in_chans: int, embed_dim: int, norm_layer: Any, **_: Any
    ) -> None:
        super().__init__()
        height, width = np.broadcast_to(img_size, 2).tolist()  # one number or two
        self.grid_size = (height // patch_size, width // patch_size)
        self.proj = nn.Sequential(
            nn.Conv2d(in_chans, embed_dim // 8, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(embed_dim // 8),
            nn.ReLU(),
            nn.Conv2d(embed_dim // 8, embed_dim // 4, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(embed_dim // 4),
            nn.ReLU(),
            nn.Conv2d(embed_dim // 4, embed_dim, 1),
        )
        self.norm = norm_layer(embed_dim) if norm_layer is not None else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Embed (b, 3, side, side) to (b, side / 4, side / 4, embed_dim), the order that timm's Swin reads."""
        embedded: Tensor = self.norm(self.proj(x).permute(0, 2, 3, 1))
        return embedded
