"""A small convolutional image encoder, for a few hundred spots and no pretrained weights."""

from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

SEEN_PX = 56
"""What it sees of a patch, pixels on a side: 2 µm each of a patch of 112 µm."""


class ConvNet(nn.Module):
    """Seven convolutions with batch normalisation, on patches averaged down to 56 pixels.

    A vision transformer has to learn from data what a convolution is built with: that tissue looks the same wherever
    it lies in a patch. Four real sections of 180 spots do not teach it that.

    Parameters
    ----------
    width : int
        Features of a token, a multiple of 12; those of the layers before are a sixth, a quarter and a half.

    Attributes
    ----------
    num_features : int
        The width, by timm's name for it.
    """

    pretrained_cfg: ClassVar[dict[str, Any]] = {}  # as timm's models have it: what is known of weights

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width
        sizes = (width // 6, width // 4, width // 2, width)
        blocks = [_block(before, after) for before, after in pairwise(sizes)]
        self.layers = nn.Sequential(*_convolution(3, sizes[0], kernel=7, stride=2), *blocks)

    def forward_features(self, pixels: Tensor) -> Tensor:
        """Encode patches (B, 3, H, W), normalised; return (B, width, 4, 4)."""
        features: Tensor = self.layers(shrink(pixels))
        return features


def shrink(pixels: Tensor) -> Tensor:
    """Average patches (B, C, H, W) down to 56 pixels on a side, as adaptive pooling does; (B, C, 56, 56).

    Where 56 does not divide a side it is done by two products of matrices, since MPS pools none but whole windows.
    """
    height, width = pixels.shape[-2:]
    if height % SEEN_PX == 0 and width % SEEN_PX == 0:
        return adaptive_avg_pool2d(pixels, SEEN_PX)
    return _windows(height, pixels) @ pixels @ _windows(width, pixels).T


def _windows(side: int, like: Tensor) -> Tensor:
    """Return how much each pixel of a line counts in each of its averages, (56, side)."""
    shares = torch.zeros(SEEN_PX, side, dtype=like.dtype)
    for i in range(SEEN_PX):
        first, end = i * side // SEEN_PX, -(-(i + 1) * side // SEEN_PX)
        shares[i, first:end] = 1 / (end - first)
    return shares.to(like.device)


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(*_convolution(before, after, kernel=3, stride=2), *_convolution(after, after, 3, 1))


def _convolution(before: int, after: int, kernel: int, stride: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)
