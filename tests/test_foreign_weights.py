"""Weights of histology encoders under the names they are published with: transformers' DINOv2, and CONCH."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as fn

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.model import frozen_encoders as listed
from napari_cmrcnet.model import pretrained
from napari_cmrcnet.model.conch import HEADS, Conch
from napari_cmrcnet.model.frozen_encoders import FrozenEncoder, encoder_named
from napari_cmrcnet.model.pretrained import FrozenNetwork, with_weights
from napari_cmrcnet.model.weights import read_weights

WIDTH, HIDDEN, DEPTH, HEADS_OF_DINO, PATCH, SIDE = 32, 48, 2, 2, 14, 56


def dinov2_state(grid: int, registers: int, gated: bool) -> dict[str, Tensor]:
    """Draw weights as `transformers.Dinov2Model` and `Dinov2WithRegistersModel` name them."""
    torch.manual_seed(5)
    state = {
        "embeddings.cls_token": (1, 1, WIDTH),
        "embeddings.mask_token": (1, WIDTH),
        "embeddings.position_embeddings": (1, 1 + grid * grid, WIDTH),
        "embeddings.patch_embeddings.projection.weight": (WIDTH, 3, PATCH, PATCH),
        "embeddings.patch_embeddings.projection.bias": (WIDTH,),
        "layernorm.weight": (WIDTH,),
        "layernorm.bias": (WIDTH,),
    }
    if registers:
        state["embeddings.register_tokens"] = (1, registers, WIDTH)
    mlp = {"weights_in": (2 * HIDDEN, WIDTH), "weights_out": (WIDTH, HIDDEN)}
    layers = {
        "norm1": (WIDTH,),
        "norm2": (WIDTH,),
        **{f"attention.attention.{part}": (WIDTH, WIDTH) for part in ("query", "key", "value")},
        "attention.output.dense": (WIDTH, WIDTH),
        **{f"mlp.{name}": of for name, of in (mlp if gated else {"fc1": (128, WIDTH), "fc2": (WIDTH, 128)}).items()},
    }
    for number in range(DEPTH):
        for name, shape in layers.items():
            state[f"encoder.layer.{number}.{name}.weight"] = shape
            state[f"encoder.layer.{number}.{name}.bias"] = shape[:1]
        for scale in (1, 2):
            state[f"encoder.layer.{number}.layer_scale{scale}.lambda1"] = (WIDTH,)
    return {name: 0.3 * torch.randn(shape) for name, shape in state.items()}


def dinov2_tokens(state: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """Run DINOv2 as transformers' `modeling_dinov2.py` has it, on its own names."""

    def linear(name: str, x: Tensor) -> Tensor:
        return fn.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(name: str, x: Tensor) -> Tensor:
        return fn.layer_norm(x, (WIDTH,), state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)

    def heads(x: Tensor) -> Tensor:
        return x.unflatten(2, (HEADS_OF_DINO, -1)).transpose(1, 2)

    projection = "embeddings.patch_embeddings.projection"
    x = fn.conv2d(pixels, state[f"{projection}.weight"], state[f"{projection}.bias"], stride=PATCH)
    grid, x = x.shape[2:], x.flatten(2).transpose(1, 2)
    positions = state["embeddings.position_embeddings"]
    side = int((positions.shape[1] - 1) ** 0.5)
    if (side, side) != tuple(grid):
        picture = positions[:, 1:].reshape(1, side, side, WIDTH).permute(0, 3, 1, 2)
        picture = fn.interpolate(picture, size=tuple(grid), mode="bicubic", align_corners=False)
        positions = torch.cat([positions[:, :1], picture.permute(0, 2, 3, 1).reshape(1, -1, WIDTH)], dim=1)
    x = torch.cat([state["embeddings.cls_token"].expand(len(x), -1, -1), x], dim=1) + positions
    if "embeddings.register_tokens" in state:
        x = torch.cat([x[:, :1], state["embeddings.register_tokens"].expand(len(x), -1, -1), x[:, 1:]], dim=1)
    for number in range(DEPTH):
        layer = f"encoder.layer.{number}"
        inside = norm(f"{layer}.norm1", x)
        query, key, value = (
            heads(linear(f"{layer}.attention.attention.{part}", inside)) for part in ("query", "key", "value")
        )
        attended = torch.softmax(query @ key.transpose(2, 3) / query.shape[3] ** 0.5, dim=3) @ value
        attended = linear(f"{layer}.attention.output.dense", attended.transpose(1, 2).flatten(2))
        x = x + state[f"{layer}.layer_scale1.lambda1"] * attended
        inside = norm(f"{layer}.norm2", x)
        if f"{layer}.mlp.weights_in.weight" in state:
            gate, value = linear(f"{layer}.mlp.weights_in", inside).chunk(2, dim=2)
            inside = linear(f"{layer}.mlp.weights_out", fn.silu(gate) * value)
        else:
            inside = linear(f"{layer}.mlp.fc2", fn.gelu(linear(f"{layer}.mlp.fc1", inside)))
        x = x + state[f"{layer}.layer_scale2.lambda1"] * inside
    return norm("layernorm", x)


def small(name: str, **architecture: object) -> FrozenEncoder:
    """Return an encoder of the list with a network of the same kind, but small."""
    known = encoder_named(name)
    size = {"img_size": SIDE, "patch_size": PATCH, "embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS_OF_DINO}
    width = 2 * WIDTH if known.pooling == "class and patches" else WIDTH
    return replace(known, px=SIDE, width=width, architecture={**known.architecture, **size, **architecture})


def loaded(monkeypatch: pytest.MonkeyPatch, encoder: FrozenEncoder, path: Path) -> FrozenNetwork:
    monkeypatch.setattr(listed, "frozen_encoders", lambda: {encoder.name: encoder})
    return with_weights(encoder.name, path).network()


@pytest.mark.parametrize(
    ("name", "grid", "registers", "gated"),
    [("phikon-v2", 4, 0, False), ("hibou-b", 4, 4, True), ("hibou-l", 4, 4, True), ("midnight", 9, 0, True)],
)
def test_dinov2_under_the_names_of_transformers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, grid: int, registers: int, gated: bool
) -> None:
    state = dinov2_state(grid, registers, gated)
    save_file(state, tmp_path / "model.safetensors")
    encoder = small(name, mlp_ratio=2 * HIDDEN / WIDTH if gated else 128 / WIDTH)
    network = loaded(monkeypatch, encoder, tmp_path / "model.safetensors")
    pixels = torch.randn(3, 3, SIDE, SIDE)
    with torch.inference_mode():
        tokens = dinov2_tokens(state, pixels)
        patches = tokens[:, 1 + registers :].mean(dim=1)
        expected = torch.cat([tokens[:, 0], patches], dim=1) if name == "midnight" else tokens[:, 0]
        described = network.embed_image(pixels)
    assert described.shape == (3, encoder.width)
    torch.testing.assert_close(described, expected, rtol=1e-4, atol=1e-5)

    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):  # as on a GPU that has it
        short = network.embed_image(pixels)
    assert short.dtype == torch.float32
    assert torch.cosine_similarity(short, described).min() > 0.999

    save_file(network.backbone.state_dict(), tmp_path / "own.safetensors")  # as a checkpoint keeps them
    again = loaded(monkeypatch, encoder, tmp_path / "own.safetensors")
    with torch.inference_mode():
        torch.testing.assert_close(again.embed_image(pixels), described)


def test_dinov2_with_weights_missing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    state = dinov2_state(4, 0, gated=False)
    state.pop("encoder.layer.1.attention.attention.key.bias")
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"holds no weights of 'phikon-v2' .*layer\.1\.attention\.attention\.key\.bias"):
        loaded(monkeypatch, small("phikon-v2", mlp_ratio=4), tmp_path / "model.safetensors")
    save_file(dinov2_state(4, 4, gated=True), tmp_path / "other.safetensors")  # with registers
    with pytest.raises(UserError, match=r"holds no weights of 'phikon-v2'"):
        loaded(monkeypatch, small("phikon-v2", mlp_ratio=4), tmp_path / "other.safetensors")


def attention_pool(state: dict[str, Tensor], tokens: Tensor, width: int) -> Tensor:
    """Pool tokens as CONCH's `AttentionalPooler` does, head by head."""

    def norm(name: str, x: Tensor) -> Tensor:
        return fn.layer_norm(x, x.shape[-1:], state[f"visual.{name}.weight"], state[f"visual.{name}.bias"])

    pool = "visual.attn_pool_contrast"
    known, query = norm("attn_pool_contrast.ln_k", tokens), norm("attn_pool_contrast.ln_q", state[f"{pool}.query"])
    biases = state[f"{pool}.attn.in_proj_bias"].chunk(3)
    query, key, value = (
        (x @ state[f"{pool}.attn.{part}_proj_weight"].T + bias).unflatten(-1, (HEADS, -1))
        for part, x, bias in zip("qkv", (query, known, known), biases, strict=True)
    )
    weights = torch.softmax(torch.einsum("qhd,bnhd->bhqn", query, key) / (width / HEADS) ** 0.5, dim=3)
    pooled = torch.einsum("bhqn,bnhd->bqhd", weights, value).flatten(2)[:, 0]
    pooled = fn.linear(pooled, state[f"{pool}.attn.out_proj.weight"], state[f"{pool}.attn.out_proj.bias"])
    return norm("ln_contrast", pooled)


def test_conch_is_taken_out_of_the_whole_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch.manual_seed(6)
    encoder = replace(small("conch", patch_size=16, img_size=64), width=64, px=64)
    source = Conch(timm.create_model(**encoder.architecture, num_classes=0), encoder.width)
    state = {f"visual.{name}": torch.randn_like(value) * 0.3 for name, value in source.state_dict().items()}
    rest = {  # what the file has beside it
        "visual.proj_contrast": torch.zeros(64, 64),
        "visual.attn_pool_caption.query": torch.zeros(256, 768),
        "visual.ln_caption.weight": torch.zeros(768),
        "text.cls_emb": torch.zeros(768),
        "logit_scale": torch.zeros(()),
    }
    torch.save({**state, **rest}, tmp_path / "pytorch_model.bin")
    network = loaded(monkeypatch, encoder, tmp_path / "pytorch_model.bin")
    trunk = timm.create_model(**encoder.architecture, num_classes=0).eval()
    trunk.load_state_dict({n.removeprefix("visual.trunk."): v for n, v in state.items() if "trunk" in n})
    pixels = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        described = network.embed_image(pixels)
        expected = attention_pool(state, trunk.forward_features(pixels), encoder.width)
    assert described.shape == (2, 64)
    torch.testing.assert_close(described, expected, rtol=1e-4, atol=1e-5)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        short = network.embed_image(pixels)
    assert short.dtype == torch.float32
    assert torch.cosine_similarity(short, described).min() > 0.999
    state.pop("visual.ln_contrast.bias")
    torch.save({**state, **rest}, tmp_path / "other.bin")
    with pytest.raises(UserError, match=r"does not fit the image encoder 'conch': ln_contrast\.bias is missing"):
        loaded(monkeypatch, encoder, tmp_path / "other.bin")


def test_conch_has_the_published_shapes() -> None:
    """By its conch_ViT-B-16.json: 448 pixels, patches of 16, 768 and 512 wide, one query."""
    with torch.device("meta"):
        backbone = pretrained._backbone(encoder_named("conch"))
    shapes = {name: tuple(value.shape) for name, value in backbone.state_dict().items()}
    assert shapes["trunk.pos_embed"] == (1, 1 + 28 * 28, 768)
    assert shapes["trunk.blocks.11.mlp.fc1.weight"] == (3072, 768)
    assert {name: shape for name, shape in shapes.items() if not name.startswith("trunk.")} == {
        "attn_pool_contrast.query": (1, 512),
        "attn_pool_contrast.attn.q_proj_weight": (512, 512),
        "attn_pool_contrast.attn.k_proj_weight": (512, 768),
        "attn_pool_contrast.attn.v_proj_weight": (512, 768),
        "attn_pool_contrast.attn.in_proj_bias": (1536,),
        "attn_pool_contrast.attn.out_proj.weight": (512, 512),
        "attn_pool_contrast.attn.out_proj.bias": (512,),
        **{f"attn_pool_contrast.ln_{part}.{of}": (n,) for part, n in (("q", 512), ("k", 768)) for of in BOTH},
        **{f"ln_contrast.{of}": (512,) for of in BOTH},
    }


BOTH = ("weight", "bias")


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({1: torch.zeros(2)}, "is not a readable weight file"),
        ({"a": torch.zeros(2).to_sparse()}, "(is not a readable weight file|more than named weights)"),
        ({"a": torch.zeros(1, 1).expand(10**6, 10**6)}, "claims more numbers in 'a' than it holds"),
    ],
)
def test_a_hostile_weight_file_is_refused_before_its_numbers_are_touched(
    tmp_path: Path, state: dict[Any, torch.Tensor], said: str
) -> None:
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError, match=said):
        read_weights(tmp_path / "w.pth")
