"""The two encoders: patches to tokens by a timm model, and the projection head both modalities share in form."""

import difflib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from napari_cmrcnet.common.errors import UserError, cannot_read, first_line, is_out_of_memory
from napari_cmrcnet.model.config import OWN_ENCODERS, ModelConfig
from napari_cmrcnet.model.convnet import ConvNet

# timm's own function for a ViT-B/32; the preset's sizes replace its own, which are those of the paper.
_VIT = "vit_base_patch32_224"
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
# Deviations of the initial weights of the released variant: linear layers, patch convolution, class token
LINEAR_STD, CONVOLUTION_STD, CLASS_TOKEN_STD = 0.01, 0.0016, 0.019
_HUB = "hf-hub:"


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
        Names the encoder and, for ``"vit"``, its sizes.
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


def mismatches(state: Mapping[str, Tensor], own: Mapping[str, Tensor], shown: int = 3) -> str:
    """Say how weights differ in name or shape from a model's own; an empty text if they do not."""
    differences = [f"{name} is missing" for name in own if name not in state]
    differences += [f"{name} is unknown" for name in state if name not in own]
    differences += [
        f"{name} is {tuple(state[name].shape)} but must be {tuple(value.shape)}"
        for name, value in own.items()
        if name in state and state[name].shape != value.shape
    ]
    rest = len(differences) - shown
    return ", ".join(differences[:shown]) + (f" and {rest} more differences" if rest > 0 else "")


def _create(config: ModelConfig, pretrained: bool) -> Any:
    """Make the timm model, fetching what it needs."""
    import timm  # here, as it takes two seconds and imports triton

    name = _VIT if config.image_encoder == "vit" else config.image_encoder
    arguments = _arguments(config)
    try:
        return timm.create_model(name, pretrained=pretrained, **arguments)
    except Exception as error:  # timm's own, the hub's, and those of whichever HTTP library it stands on
        if is_out_of_memory(error):
            raise
        if pretrained or name.startswith(_HUB):
            raise UserError(
                f"The image encoder {name!r} could not be fetched ({first_line(error)}); check the network, and "
                "if the model is gated, accept its terms on its page and log in with `hf auth login`, or give "
                "its downloaded file as weights."
            ) from error
        raise UserError(
            f"The image encoder {name!r} cannot be built with these settings ({first_line(error)}); leave out "
            "those that it does not have."
        ) from error


def _arguments(config: ModelConfig) -> dict[str, Any]:
    """Return what timm needs beside the name."""
    import timm

    arguments: dict[str, Any] = {"num_classes": 0}
    if config.layer_scale is not None:
        arguments["init_values"] = config.layer_scale
    if config.image_encoder == "vit":
        arguments |= {"img_size": config.image_size, "patch_size": config.patch_size}
        arguments |= {"embed_dim": config.width, "depth": config.depth, "num_heads": config.heads}
    elif not config.image_encoder.startswith(_HUB):
        architecture, _, _ = config.image_encoder.partition(".")
        if not timm.is_model(architecture):
            near = difflib.get_close_matches(architecture, timm.list_models(), n=3)
            advice = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() gives their names."
            raise UserError(f"timm knows no image encoder named {config.image_encoder!r}; {advice}")
        known = timm.get_pretrained_cfg(architecture)
        if known is not None and known.fixed_input_size:
            arguments["img_size"] = config.image_size
    return arguments


def load_weights(backbone: Any, path: Path, name: str) -> None:
    """Load a weight file into a timm model; every weight of the model has to be in it, a classifier is left out.

    Parameters
    ----------
    backbone : timm model
        Made without a classifier.
    path : Path
        Its weights, mapped to it by timm's own filter.
    name : str
        What the model is called in an error.

    Raises
    ------
    UserError
        If the file is missing, unreadable or of another model.
    """
    # timm keeps a family's filter for foreign key names and position grids beside its classes, by this name.
    to_timm = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
    state = _read_weights(path)
    try:
        state = to_timm(state, backbone) if to_timm is not None else state
    except Exception as error:  # a filter raises whatever a foreign file meets in it
        raise cannot_read(path, error, f"{path} holds no weights of {name!r} ({first_line(error)}).") from error
    classifiers = backbone.pretrained_cfg.get("classifier") or "head"
    prefixes = tuple(f"{part}." for part in ([classifiers] if isinstance(classifiers, str) else classifiers))
    own = backbone.state_dict()
    state = {key: value for key, value in state.items() if key in own or not key.startswith(prefixes)}
    if differences := mismatches(state, own):
        raise UserError(
            f"{path} does not fit the image encoder {name!r}: {differences}; choose the encoder "
            "that the file was made with."
        )
    backbone.load_state_dict(state)


def _read_weights(path: Path) -> dict[str, Tensor]:
    """Read a file of weights without unpickling anything but tensors."""
    from timm.models import load_state_dict

    if not path.is_file():
        raise UserError(f"{path} does not exist; give the path of the image encoder's weight file.")
    if path.suffix not in _SUFFIXES:
        raise UserError(f"{path} is not a weight file; it must end in {', '.join(_SUFFIXES)}.")
    try:
        state: dict[str, Tensor] = load_state_dict(str(path), weights_only=True)
    except Exception as error:  # torch and safetensors raise whatever the damaged part meets
        unreadable = f"{path} is not a readable weight file ({first_line(error)}); download it again."
        raise cannot_read(path, error, unreadable) from error
    if not (isinstance(state, dict) and all(isinstance(value, Tensor) for value in state.values())):
        raise UserError(f"{path} holds more than named weights; save the encoder's state_dict() alone.")
    return state
