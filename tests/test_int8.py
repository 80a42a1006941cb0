"""int8: the arithmetic that is meant, close to fp32, and refused where it cannot be."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.model.cmrcnet import CMRCNet
from napari_cmrcnet.model.config import ModelConfig, preset
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.device import choose_precision
from napari_cmrcnet.retrieval.int8 import Int8Linear, in_int8
from napari_cmrcnet.retrieval.predict import predict

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model() -> CMRCNet:
    torch.manual_seed(0)
    return CMRCNet(preset("small", 20, reconstruction=False)).eval()


def run_linear(weight: np.ndarray, bias: np.ndarray | None, x: np.ndarray) -> np.ndarray:
    """Return what `Int8Linear` gives."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
    with torch.inference_mode():
        layer.weight.copy_(torch.from_numpy(weight))
        if bias is not None:
            layer.bias.copy_(torch.from_numpy(bias))
        return Int8Linear(layer)(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("kind", ["random", "as large as can be", "without bias"])
def test_a_product_in_whole_numbers_is_exact(kind: str) -> None:
    """With the largest numbers, too, where a sum of two products in eight bits would leave the 16 that it has."""
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(3, 50, 96)).astype(np.float32), rng.normal(size=(40, 96)).astype(np.float32)
    if kind == "as large as can be":
        x, weight = np.full_like(x, 3), np.full_like(weight, -2)
    bias = None if kind == "without bias" else rng.normal(size=40).astype(np.float32)
    scale = np.abs(x).max(axis=-1, keepdims=True) / 63
    weight_scale = np.abs(weight).max(axis=1) / 127
    product = np.rint(x.astype(np.float64) / scale) @ np.rint(weight.astype(np.float64) / weight_scale[:, None]).T
    expected = product * scale * weight_scale + (0 if bias is None else bias)
    found = run_linear(weight, bias, x)
    differing = ~np.isclose(found, expected, rtol=1e-5, atol=1e-5)
    assert differing.mean() < 0.01, "a number exactly between two others may be rounded either way"
    np.testing.assert_allclose(found, expected, atol=0.1)


def test_tokens_of_zeros_give_the_bias() -> None:
    bias = np.arange(8, dtype=np.float32)
    found = run_linear(np.ones((8, 16), np.float32), bias, np.zeros((2, 16), np.float32))
    np.testing.assert_array_equal(found, [bias, bias])


def test_embeddings_are_close_to_those_in_fp32(model: CMRCNet) -> None:
    pixels = torch.randn(6, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        exact, rounded = model.embed_image(pixels), in_int8(model).embed_image(pixels)
    cosine = nn.functional.cosine_similarity(exact, rounded)
    assert 0.995 < cosine.min() < 1
    assert not torch.equal(exact, rounded)


def test_an_embedding_does_not_depend_on_the_patches_beside_it(model: CMRCNet) -> None:
    pixels = torch.randn(4, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    pixels[1:] *= 100
    rounded = in_int8(model)
    with torch.inference_mode():
        alone, among = rounded.embed_image(pixels[:1]), rounded.embed_image(pixels)[:1]
    assert nn.functional.cosine_similarity(alone, among).item() > 0.9999


def test_the_model_itself_stays_as_it_was(model: CMRCNet) -> None:
    rounded = in_int8(model)
    assert not any(isinstance(layer, Int8Linear) for layer in model.modules())
    assert sum(isinstance(layer, Int8Linear) for layer in rounded.modules()) == 16  # four a block
    assert rounded.image_head.linear.weight is model.image_head.linear.weight


def test_an_encoder_that_takes_its_layers_apart_is_refused(model: CMRCNet) -> None:
    class Apart(nn.Module):
        num_features = 8

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 8)

        def forward_features(self, pixels: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(pixels.flatten(2).transpose(1, 2), self.layer.weight)

    other = CMRCNet(model.config)
    other.image_encoder.backbone = Apart()
    with pytest.raises(UserError, match="'vit' cannot be run in int8; choose the precision fp32"):
        in_int8(other)


def test_an_encoder_without_linear_layers_is_refused() -> None:
    config = ModelConfig(n_genes=5, image_encoder="conv", image_size=64, width=48)
    with pytest.raises(UserError, match="'conv' has no linear layers to run in int8"):
        in_int8(CMRCNet(config))


def test_an_encoder_without_linear_layers_is_refused_before_any_work(
    untrained_checkpoint: Checkpoint, tmp_path: Path, write_section: Callable[..., Any], open_small: Callable[..., Any]
) -> None:
    section = open_small(*write_section(tmp_path, "C", 3), name="C")
    config = replace(untrained_checkpoint.card.model, image_encoder="conv", image_size=64, width=48)
    convolutional = replace(untrained_checkpoint, model=CMRCNet(config))
    with pytest.raises(UserError, match="'conv' has no linear layers to run in int8"):
        next(predict(section, convolutional, k=5, device="cpu", precision="int8"))


def test_a_gpu_has_no_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="int8 is for the CPU only; choose the precision auto for cuda"):
        choose_precision(torch.device("cuda"), "int8")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    with pytest.raises(UserError, match="int8 needs oneDNN"):
        choose_precision(CPU, "int8")


@pytest.mark.parametrize(("asked", "used"), [("auto", "fp32"), ("fp32", "fp32"), ("int8", "int8")])
def test_a_prediction_records_device_and_precision(
    asked: str,
    used: str,
    untrained_checkpoint: Checkpoint,
    tmp_path: Path,
    write_section: Callable[..., Any],
    open_small: Callable[..., Any],
) -> None:
    section = open_small(*write_section(tmp_path, "C", 3), name="C")
    made_from = finish(predict(section, untrained_checkpoint, k=5, device="cpu", precision=asked)).provenance
    assert (made_from.device, made_from.precision) == ("cpu", used)


def test_bf16_without_hardware_is_refused_before_any_work(
    monkeypatch: pytest.MonkeyPatch,
    untrained_checkpoint: Checkpoint,
    tmp_path: Path,
    write_section: Callable[..., Any],
    open_small: Callable[..., Any],
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    section = open_small(*write_section(tmp_path, "C", 3), name="C")
    with pytest.raises(UserError, match="no hardware for bf16, and emulating it takes 8 times as long as fp32"):
        next(predict(section, untrained_checkpoint, k=5, device="cpu", precision="bf16"))
