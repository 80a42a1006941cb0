"""Weights of a DINOv2 network as transformers names them, brought to DINOv2's own names, which timm reads.

Phikon-v2, Hibou and Midnight are published so; their networks are timm's.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import interpolate

CLASS_TOKEN = "embeddings.cls_token"
"""By this name weights are known to be transformers'."""
_NAMES = {  # of Dinov2Model and Dinov2WithRegistersModel
    r"^embeddings\.patch_embeddings\.projection\.": "patch_embed.proj.",
    r"^embeddings\.position_embeddings$": "pos_embed",
    r"^embeddings\.": "",
    r"^encoder\.layer\.": "blocks.",
    r"^layernorm\.": "norm.",
    r"\.attention\.output\.dense\.": ".attn.proj.",
    r"\.layer_scale(\d)\.lambda1$": r".ls\1.gamma",
    r"\.mlp\.weights_in\.": ".mlp.fc1.",
    r"\.mlp\.weights_out\.": ".mlp.fc2.",
}
_QUERY, _PARTS = ".attention.attention.query.", ("query", "key", "value")


def dinov2_names(state: Mapping[str, Tensor], grid: tuple[int, int]) -> dict[str, Tensor]:
    """Rename weights, join queries, keys and values, and fit the positions to a grid.

    Parameters
    ----------
    state : mapping
        As `transformers.Dinov2Model` saves it.
    grid : (int, int)
        Rows and columns of the patches that are to be read.

    Returns
    -------
    dict
        Under the names of DINOv2. Positions of another grid are interpolated as transformers does at each call:
        bicubic, without a low-pass filter.

    Raises
    ------
    KeyError
        If weights are missing.
    """
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        if _QUERY in name:
            joined = [state[name.replace(_QUERY, f".attention.attention.{part}.")] for part in _PARTS]
            name, value = name.replace(_QUERY, ".attn.qkv."), torch.cat(joined)
        elif ".attention.attention." in name:
            continue
        for known, own in _NAMES.items():
            name = re.sub(known, own, name)
        renamed[name] = value
    renamed["pos_embed"] = _positions(renamed["pos_embed"], grid)
    return renamed


def _positions(known: Tensor, grid: tuple[int, int]) -> Tensor:
    """Fit (1, 1 + n, width) to a grid; the first is the class token's."""
    side = round((known.shape[1] - 1) ** 0.5)
    if (side, side) == tuple(grid):
        return known
    picture = known[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2).float()
    fitted = interpolate(picture, size=tuple(grid), mode="bicubic", align_corners=False)
    return torch.cat([known[:, :1], fitted.flatten(2).transpose(1, 2).to(known.dtype)], dim=1)
