"""The two encoders: patches to tokens by a timm model, and the projection head both modalities share in form."""

import difflib
import inspect
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from napari_cmrcnet.common.errors import UserError, first_line, is_out_of_memory
from napari_cmrcnet.model.config import HUB, OWN_ENCODERS, ModelConfig
from napari_cmrcnet.model.convnet import ConvNet
from napari_cmrcnet.model.weights import load_weights, mismatches, not_fetched

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


def build_image_encoder(
    config: ModelConfig, weights: str | os.PathLike[str] | None = None, pretrained: bool = False
) -> ImageEncoder:
    """Build the image encoder that a configuration names.

    The paper's is trained from scratch, so both ways to start from weights are off by default. A gated model
    (UNI, H-optimus) needs the user's own login to the hub, or its weight file.

    Parameters
    ----------
    config : ModelConfig
        Names the encoder and, for ``"vit"``, its sizes; as `resolved` returns it.
    weights : path, optional
        A local weight file, mapped to the model by timm's own filter. A classifier in it is left out;
        everything else has to fit.
    pretrained : bool
        Let timm fetch the weights of the model named.

    Returns
    -------
    ImageEncoder
        In training mode.

    Raises
    ------
    UserError
        If the model is unknown to timm, the weight file is missing, unreadable or of another model, or the
        hub cannot be reached or refuses.
    """
    if weights is not None and pretrained:
        raise UserError("Choose either a weight file or pretrained weights for the image encoder, not both.")
    if pretrained and config.image_encoder in OWN_ENCODERS:
        raise UserError("The presets' sizes have no pretrained weights; name a timm model as the image encoder.")
    backbone = ConvNet(config.width) if config.image_encoder == "conv" else _create(config, pretrained)
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


def resolved(config: ModelConfig) -> ModelConfig:
    """Return a configuration with the architecture of its image encoder, asking the hub where it is the hub's model.

    Called once, before a training. With the architecture in a checkpoint's card, whoever loads it needs no network.

    Raises
    ------
    UserError
        If the hub cannot be reached or refuses, or this timm cannot build the model.
    """
    if not config.image_encoder.startswith(HUB) or config.architecture is not None:
        return config
    from timm.models import load_model_config_from_hf

    try:
        known, name, arguments = load_model_config_from_hf(config.image_encoder.removeprefix(HUB))
    except Exception as error:  # the hub's, and those of whichever HTTP library it stands on
        raise not_fetched(config.image_encoder, error) from error
    architecture = {"model_name": name, **(arguments or {}), "num_classes": 0, "in_chans": 3}
    if known.get("fixed_input_size"):
        architecture["img_size"] = config.image_size
    if config.layer_scale is not None:
        architecture["init_values"] = config.layer_scale
    return replace(config, architecture=architecture)


def _create(config: ModelConfig, pretrained: bool) -> Any:
    """Make the timm model; the network is used for pretrained weights alone."""
    import timm  # here, as it takes two seconds and imports triton

    arguments = _hub_arguments(config) if config.image_encoder.startswith(HUB) else _arguments(config)
    try:
        backbone = timm.create_model(**arguments)
    except Exception as error:  # timm raises whatever the settings meet in the model
        if is_out_of_memory(error):
            raise
        raise UserError(
            f"The image encoder {config.image_encoder!r} cannot be built with these settings ({first_line(error)}); "
            "leave out those that it does not have."
        ) from error
    if pretrained:
        fetched = _fetched(config.image_encoder, arguments)
        if differences := mismatches(fetched, backbone.state_dict()):
            raise UserError(f"The weights of {config.image_encoder!r} at the hub are of another model: {differences}.")
        backbone.load_state_dict(fetched)
    return backbone


def _fetched(name: str, arguments: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the pretrained weights of a timm model, fitted by timm to how it is built here."""
    import timm

    try:
        model: nn.Module = timm.create_model(**{**arguments, "model_name": name}, pretrained=True)
    except Exception as error:  # timm's own, the hub's, and those of whichever HTTP library it stands on
        if is_out_of_memory(error):
            raise
        raise not_fetched(name, error) from error
    return model.state_dict()


def _hub_arguments(config: ModelConfig) -> dict[str, Any]:
    """Return what timm builds a model of the hub from; nothing that reads a file or asks the network is among it."""
    import timm
    from timm.models import build_model_with_cfg

    if config.architecture is None:
        raise UserError(
            f"The settings name the image encoder {config.image_encoder!r} without its architecture; get the "
            "checkpoint again."
        )
    steering = {*inspect.signature(timm.create_model).parameters, *inspect.signature(build_model_with_cfg).parameters}
    steering = (steering | {"features_only", "device", "dtype"}) - {"model_name"}
    if refused := sorted(steering & set(config.architecture)):
        raise UserError(
            f"The architecture of the image encoder {config.image_encoder!r} has {', '.join(refused)}, which is no "
            "part of a model; get the checkpoint again."
        )
    if not timm.is_model(config.architecture["model_name"]):
        raise UserError(
            f"timm knows no {config.architecture['model_name']!r}, of which {config.image_encoder!r} is made; update "
            "timm."
        )
    return dict(config.architecture)


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
