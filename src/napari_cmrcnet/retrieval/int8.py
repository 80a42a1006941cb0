"""The image encoder in 8-bit whole numbers, on a CPU: about 1.5 times as fast, at a loss that is small and measured.

Weights are rounded to a scale of each output feature, once, and activations to a scale of each token, as they come
(vector-wise quantisation, Dettmers et al., LLM.int8(), NeurIPS 2022, section 3.1). So a patch's embedding does not
depend on the patches it is encoded with. docs/performance.md says what it costs in neighbours and in PCC.
"""

import copy
from itertools import chain

import torch
from torch import Tensor, nn

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.model.cmrcnet import CMRCNet

LARGEST_WEIGHT = 127
# Without VNNI, a CPU adds two products in 16 bits. With seven bits they cannot overflow: 2 · 127 · 127 < 2^15. All
# CPUs take seven, so that all give the same.
LARGEST_ACTIVATION = 63
ZERO = 64  # oneDNN takes activations without a sign
SMALLEST_SCALE = 1e-12


class Int8Linear(nn.Module):
    """A linear layer whose product is computed in whole numbers by oneDNN.

    Parameters
    ----------
    layer : nn.Linear
        The layer to stand in for.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach()  # (out, in)
        self.scale = (weight.abs().amax(dim=1) / LARGEST_WEIGHT).clamp_min_(SMALLEST_SCALE)  # (out,)
        rounded = (weight / self.scale[:, None]).round_().to(torch.int8)
        self.weight_zero = torch.zeros(len(weight), dtype=torch.int64)
        self.packed = torch.ops.onednn.qlinear_prepack(rounded, None)
        self.bias = None if layer.bias is None else layer.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        rows = x.reshape(-1, x.shape[-1])
        largest = torch.maximum(rows.amax(dim=1, keepdim=True), rows.amin(dim=1, keepdim=True).neg_())  # (rows, 1)
        scale = largest.div_(LARGEST_ACTIVATION).clamp_min_(SMALLEST_SCALE)
        rounded = (rows * scale.reciprocal()).add_(ZERO + 0.5).to(torch.uint8)
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            rounded, 1.0, ZERO, self.packed, self.scale, self.weight_zero, None, 1.0, 0, torch.float32, "none", [], ""
        )
        product.mul_(scale)  # in place: a fresh array of this size costs more than the arithmetic
        if self.bias is not None:
            product.add_(self.bias)
        return product.reshape(*x.shape[:-1], -1)


def linear_layers(model: CMRCNet) -> dict[str, nn.Linear]:
    """Return the layers of the image encoder that run in int8, by name.

    Raises
    ------
    UserError
        If there are none.
    """
    linear = {
        name: layer
        for name, layer in model.image_encoder.named_modules()
        if type(layer) is nn.Linear  # not a subclass, which computes something else
    }
    if not linear:
        raise UserError(
            f"The image encoder {model.config.image_encoder!r} has no linear layers to run in int8, as a vision "
            "transformer has; choose the precision fp32."
        )
    return linear


def in_int8(model: CMRCNet) -> CMRCNet:
    """Return the model with the linear layers of its image encoder in int8; all else is shared with the model.

    Raises
    ------
    UserError
        If the image encoder has no linear layers, or does not use them as a whole, but their weights.
    """
    shared = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    copied = copy.deepcopy(model, shared)
    encoder = copied.image_encoder
    for name, layer in linear_layers(copied).items():
        encoder.set_submodule(name, Int8Linear(layer))
    side = model.config.image_size
    try:
        with torch.inference_mode():
            copied.embed_image(torch.zeros(1, 3, side, side))
    except AttributeError as error:
        raise UserError(
            f"The image encoder {model.config.image_encoder!r} cannot be run in int8; choose the precision fp32."
        ) from error
    return copied
