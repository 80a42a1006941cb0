"""The two encoders: patches to tokens by a timm model, and the projection head both modalities share in form."""

import difflib
import os
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from napari_cmrcnet.common.errors import UserError, first_sentence, is_out_of_memory
from napari_cmrcnet.model.config import ModelConfig
from napari_cmrcnet.model.convnet import ConvNet
from napari_cmrcnet.model.weights import load_weights

# timm's own function for a ViT-B/32; the preset's sizes replace its own, which are those of the paper.
_VIT = "vit_base_patch32_224"
# Deviations of the initial weights of the released variant: linear layers, patch convolution, class token
LINEAR_STD, CONVOLUTION_STD, CLASS_TOKEN_STD = 0.01, 0.0016, 0.019


class ProjectionHead(nn.Module):
    """A vector to an embedding: p = Linear(x), LayerNorm(Dropout(Linear(GELU(p))) + p).

    Parameters
    ----------
    in_features : int
        Length of the vector.
    dim : int
        Length D of the embedding.
    dropout : float
        Probability that a feature is dropped.
    """

    def __init__(self, in_features: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.projection = nn.Linear(in_features, dim)
        self.linear = nn.Linear(dim, dim)
        self.gelu = nn.GELU()
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Project (B, in_features) to (B, D)."""
        p = self.projection(x)  # (B, D)
        h = self.dropout(self.linear(self.gelu(p))) + p
        embedding: Tensor = self.norm(h)
        return embedding


class ImageEncoder(nn.Module):
    """A timm model without its classifier, whose features are given as tokens.

    Parameters
    ----------
    backbone : nn.Module
        A timm model. Its own final norm is kept.

    Attributes
    ----------
    width : int
        Features of a token.
    """

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self.backbone = backbone
        self.width = int(backbone.num_features)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode patches (B, 3, H, W); return tokens (B, N, width), the class token among them."""
        features: Tensor = self.backbone.forward_features(pixels)
        if features.ndim == 3:  # a transformer's tokens
            return features  # (B, N, width)
        if getattr(self.backbone, "output_fmt", "NCHW") == "NHWC":  # Swin
            return features.flatten(1, 2)  # (B, h, w, width) -> (B, h * w, width)
        return features.flatten(2).transpose(1, 2)  # (B, width, h, w) -> (B, h * w, width)


def build_image_encoder(config: ModelConfig, weights: str | os.PathLike[str] | None = None) -> ImageEncoder:
    """Build the image encoder that a configuration names.

    The paper's is trained from scratch. An encoder that starts from weights and is not trained further is a
    `FrozenEncoder`.

    Parameters
    ----------
    config : ModelConfig
        Names the encoder and, for ``"vit"``, its sizes.
    weights : path, optional
        A local weight file, mapped to the model by timm's own filter. A classifier in it is left out;
        everything else has to fit.

    Returns
    -------
    ImageEncoder
        In training mode.

    Raises
    ------
    UserError
        If the model is unknown to timm, or the weight file is missing, unreadable or of another model.
    """
    backbone = ConvNet(config.width) if config.image_encoder == "conv" else _create(config)
    if config.variant == "released" and config.image_encoder == "vit":
        _start_as_released(backbone)
    if weights is not None:
        load_weights(backbone, Path(weights), config.image_encoder)
    return ImageEncoder(backbone)


def _start_as_released(backbone: Any) -> None:
    """Give a ViT the initial weights of the authors' public code; positions keep timm's, which it does not state."""
    for module in backbone.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, std=LINEAR_STD if isinstance(module, nn.Linear) else CONVOLUTION_STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.normal_(backbone.cls_token, std=CLASS_TOKEN_STD)


def _create(config: ModelConfig) -> Any:
    """Make the timm model; the network is not used."""
    import timm  # here, as it takes two seconds and imports triton

    try:
        return timm.create_model(**_arguments(config))
    except Exception as error:  # timm raises whatever the settings meet in the model
        if is_out_of_memory(error):
            raise
        raise UserError(
            f"The image encoder {config.image_encoder!r} cannot be built with these settings "
            f"({first_sentence(error)}); leave out the settings that it does not have."
        ) from error


def _arguments(config: ModelConfig) -> dict[str, Any]:
    """Return what timm builds the model from."""
    import timm

    arguments: dict[str, Any] = {"model_name": config.image_encoder, "num_classes": 0}
    if config.layer_scale is not None:
        arguments["init_values"] = config.layer_scale
    if config.image_encoder == "vit":
        arguments |= {"model_name": _VIT, "img_size": config.image_size, "patch_size": config.patch_size}
        return arguments | {"embed_dim": config.width, "depth": config.depth, "num_heads": config.heads}
    architecture, _, _ = config.image_encoder.partition(".")
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        advice = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() gives their names."
        raise UserError(f"timm knows no image encoder named {config.image_encoder!r}; {advice}")
    known = timm.get_pretrained_cfg(architecture)
    if known is not None and known.fixed_input_size:
        arguments["img_size"] = config.image_size
    return arguments
