"""Weights from a file for an image encoder: read without running anything in it, and fitted by timm's own filter."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, strided

from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.common.text import some_of
from napari_cmrcnet.model.dinov2_names import CLASS_TOKEN, dinov2_names

_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


def mismatches(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """Say how weights differ in name or shape from a model's own; an empty text if they do not."""
    differences = [f"{name} is missing" for name in own if name not in state]
    differences += [f"{name} is unknown" for name in state if name not in own]
    differences += [
        f"{name} is {tuple(state[name].shape)} but must be {tuple(value.shape)}"
        for name, value in own.items()
        if name in state and state[name].shape != value.shape
    ]
    return some_of(differences, 3)


def load_weights(backbone: Any, path: Path, name: str) -> None:
    """Load a weight file into a timm model; every weight of the model has to be in it, a classifier is left out.

    Parameters
    ----------
    backbone : timm model
        Made without a classifier.
    path : Path
        Its weights, mapped to it by timm's own filter; a DINOv2's may have transformers' names.
    name : str
        What the model is called in an error.

    Raises
    ------
    UserError
        If the file is missing, unreadable or of another model.
    """
    # timm keeps a family's filter for foreign key names and position grids beside its classes, by this name.
    to_timm = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
    state = read_weights(path)
    with readable(path, f"holds no weights of {name!r}"):
        if CLASS_TOKEN in state:
            state = dinov2_names(state, backbone.patch_embed.grid_size)
        state = to_timm(state, backbone) if to_timm is not None else state
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


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a file of weights without unpickling anything but tensors.

    Raises
    ------
    UserError
        If it is missing, unreadable, or holds anything else.
    """
    from timm.models import load_state_dict

    if not path.is_file():
        raise UserError(f"{path} does not exist; give the path of the weight file.")
    if path.suffix not in _SUFFIXES:
        raise UserError(f"{path} is not a weight file; it must end in {', '.join(_SUFFIXES)}.")
    with readable(path, "is not a readable weight file", "download it again"):
        state: dict[str, Tensor] = load_state_dict(str(path), weights_only=True)
    named = isinstance(state, dict) and all(isinstance(name, str) for name in state)
    if not (named and all(isinstance(value, Tensor) and value.layout is strided for value in state.values())):
        raise UserError(f"{path} holds more than named weights; save the network's state_dict() alone.")
    size = path.stat().st_size
    if large := [name for name, value in state.items() if value.numel() * value.element_size() > size]:
        raise UserError(f"{path} claims more numbers in {large[0][:80]!r} than it holds; download it again.")
    return state
