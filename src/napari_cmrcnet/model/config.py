"""What a CMRCNet is made of: its hyperparameters, as a checkpoint stores them, and the size presets."""

import math
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.model.frozen_encoders import encoder_named

Variant = Literal["paper", "released"]
Distance = Literal["mse", "cosine"]
Contrast = Literal["soft", "clip"]
Target = Literal["image", "expression"]
Preset = Literal["paper", "small", "tiny"]

TOKENS_A_SIDE = 7  # of the presets' vision transformer, where they divide the image
CROSS_ATTENTION_HEADS = 4
FUSION_HEADS = 8  # of both attentions in a fusion module

# Limits that no sensible model meets; a damaged or hostile card must not ask for a terabyte.
_RANGES: dict[str, tuple[float, float]] = {
    "n_genes": (1, 200_000),
    "image_size": (1, 4096),
    "patch_size": (1, 1024),
    "width": (1, 8192),
    "depth": (1, 128),
    "heads": (1, 128),
    "embedding_dim": (1, 8192),
    "dropout": (0.0, 0.99),
    "mask_rate": (0.0, 1.0),
    "temperature": (1e-3, 1e3),
    "layer_scale": (0.0, 1.0),
}
FROZEN = "frozen:"
"""Before the name of the image encoder of a `FrozenCMRCNet`: it is no part of the network, see `pretrained`."""
OWN_ENCODERS = ("vit", "conv")  # built from the sizes in a configuration; all others have sizes of their own


@dataclass(frozen=True)
class ModelConfig:
    """The hyperparameters of a CMRCNet.

    Parameters
    ----------
    n_genes : int
        Length of an expression vector.
    image_encoder : str
        ``"vit"``, built from the four sizes below; ``"conv"``, a small convolutional network of that ``width`` (see
        `ConvNet`), which learns more from a few hundred spots; or the name of a timm model, which has its own sizes:
        ``"vit_large_patch16_224"``, ``"swin_tiny_patch4_window7_224"``, ``"resnet50"``.
        `FROZEN` and the name of a `FrozenEncoder` is that of a `FrozenCMRCNet`.
    layer_scale : float or None
        Start value of LayerScale for a timm ViT that is built with it: 1e-5 for UNI's weights in
        ``"vit_large_patch16_224"``.
    image_size : int
        Side of the square input, in pixels.
    patch_size, width, depth, heads : int
        Of the ``"vit"``: side of a patch in pixels, features of a token, blocks, heads of a block.
    embedding_dim : int
        Length D of an embedding, and features of a token in the reconstruction network.
    dropout : float
        In the projection heads.
    variant : {"paper", "released"}
        Whose equations, where the paper and the authors' public code differ.
    contrast : {"soft", "clip"}
        What the two embeddings of a batch are compared with: soft targets from the batch itself, as both variants
        have it, or spot by spot, as CLIP does; see `contrastive_loss`.
    reconstruction : bool
        Train with the reconstruction network, or with the contrastive loss alone.
    target : {"image", "expression"}
        Which embedding is reconstructed with the help of the other one; "spatial transcription" in the paper's
        ablation is ``"expression"``.
    reconstruction_loss : {"mse", "cosine"}
        Its distance.
    mask_rate : float
        ``"paper"``: the share of features set to zero, in training alone. ``"released"``: the probability that
        a feature is kept, in validation too.
    temperature : float
        τ of the contrastive loss. CLIP's cosines are divided by it: 0.1 is a good start there.

    Raises
    ------
    UserError
        If a value is of the wrong kind or out of range, with its name, the value and what it may be.
    """

    n_genes: int
    image_encoder: str = "vit"
    layer_scale: float | None = None
    image_size: int = 224
    patch_size: int = 32
    width: int = 768
    depth: int = 12
    heads: int = 12
    embedding_dim: int = 256
    dropout: float = 0.1
    variant: Variant = "paper"
    contrast: Contrast = "soft"
    reconstruction: bool = True
    target: Target = "image"
    reconstruction_loss: Distance = "mse"
    mask_rate: float = 0.5
    temperature: float = 1.0

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(ModelConfig).items():
            value = getattr(self, name)
            if choices := get_args(kind) if get_origin(kind) is Literal else ():
                _require(name, value, isinstance(value, str) and value in choices, " or ".join(map(repr, choices)))
            elif name in _RANGES and not (name == "layer_scale" and value is None):
                low, high = _RANGES[name]
                number, what = ((int,), "a whole number ") if kind is int else ((int, float), "")
                _require(name, value, _is_number(value, number) and low <= value <= high, f"{what}from {low} to {high}")
        _require("reconstruction", self.reconstruction, isinstance(self.reconstruction, bool), "true or false")
        encoder = self.image_encoder
        _require("image_encoder", encoder, isinstance(encoder, str) and bool(encoder), "the name of a timm model")
        if self.frozen:
            encoder_named(encoder.removeprefix(FROZEN))
        if encoder == "vit":
            _require_multiple(self, "image_size", "patch_size", self.patch_size)
            _require_multiple(self, "width", "heads", self.heads)
        if encoder == "conv":
            _require_multiple(self, "width", "layers of its encoder", 12)
        _require_multiple(self, "embedding_dim", "attention heads", FUSION_HEADS)

    @property
    def frozen(self) -> bool:
        """Whether it is of a `FrozenCMRCNet`."""
        return self.image_encoder.startswith(FROZEN)


def preset(name: Preset, n_genes: int, **overrides: Any) -> ModelConfig:
    """Return a configuration by its size.

    ``"paper"`` is the paper's ViT-B/32 (12 blocks, 12 heads; 8 and 8 with ``variant="released"``), 87 million
    parameters in the image encoder. ``"small"`` trains on a laptop: 3 million that prediction needs with 2,000
    genes, 10 million in training. ``"tiny"`` is for tests and samples: 0.7 million that prediction needs with
    200 genes. All see 7 × 7 patches, 50 tokens with the class token: 32 px each of the paper's 224.

    Parameters
    ----------
    name : {"paper", "small", "tiny"}
        The size.
    n_genes : int
        Length of an expression vector.
    **overrides
        Any other parameter of `ModelConfig`.

    Raises
    ------
    UserError
        If the name or a setting is unknown, or as `ModelConfig`.
    """
    sizes: dict[str, dict[str, int]] = {
        "paper": {"width": 768, "depth": 12, "heads": 12},
        "small": {"width": 192, "depth": 4, "heads": 6},
        "tiny": {"width": 96, "depth": 2, "heads": 3},
    }
    if name not in sizes:
        raise UserError(f"There is no preset {name!r}; choose one of {', '.join(sizes)}.")
    values: dict[str, Any] = sizes[name]
    if name == "paper" and overrides.get("variant") == "released":
        values |= {"depth": 8, "heads": 8}
    side = overrides.get("image_size", ModelConfig.image_size)
    if isinstance(side, int) and side % TOKENS_A_SIDE == 0:
        values |= {"patch_size": side // TOKENS_A_SIDE}
    known = [field.name for field in fields(ModelConfig)]
    if unknown := sorted(set(overrides) - set(known)):
        raise UserError(f"The model has no setting {', '.join(map(repr, unknown))}; it has {', '.join(known)}.")
    return ModelConfig(**{"n_genes": n_genes} | values | overrides)


def _is_number(value: object, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)  # type: ignore[arg-type]


def _require(name: str, value: object, met: bool, expected: str) -> None:
    if not met:
        raise UserError(f"The model's setting {name} is {value!r}; it must be {expected}.")


def _require_multiple(config: ModelConfig, name: str, of: str, divisor: int) -> None:
    value: int = getattr(config, name)
    _require(name, value, value % divisor == 0, f"a multiple of the {of} ({divisor})")
