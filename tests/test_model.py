"""One forward pass of every variant equals the equations, worked slowly in NumPy; each ablation trains."""

import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.json_entries import read_entries
from napari_cmrcnet.model.cmrcnet import CMRCNet, Outputs, inference_state
from napari_cmrcnet.model.config import ModelConfig, preset
from napari_cmrcnet.model.losses import contrastive_loss, reconstruction_loss, total_loss

GENES = 20
Weights = dict[str, np.ndarray]


def small_config(**settings: Any) -> ModelConfig:
    sizes = {"image_size": 32, "patch_size": 16, "width": 24, "depth": 2, "heads": 3, "embedding_dim": 16}
    return ModelConfig(GENES, **sizes | settings)


def build(config: ModelConfig, seed: int = 0) -> CMRCNet:
    torch.manual_seed(seed)
    return CMRCNet(config)


def batch(config: ModelConfig, size: int = 4, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    pixels = rng.normal(size=(size, 3, config.image_size, config.image_size))
    return torch.tensor(pixels, dtype=torch.float32), torch.tensor(rng.random((size, GENES)) * 3).float()


# The slow reference: one spot at a time, written from the equations.


def linear(x: np.ndarray, w: Weights, name: str) -> np.ndarray:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def layer_norm(x: np.ndarray, w: Weights, name: str, eps: float) -> np.ndarray:
    out = np.empty_like(x)
    for i, row in enumerate(x):
        out[i] = (row - row.mean()) / math.sqrt(row.var() + eps) * w[f"{name}.weight"] + w[f"{name}.bias"]
    return out


def gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def attend(q: np.ndarray, k: np.ndarray, v: np.ndarray, heads: int) -> np.ndarray:
    """softmax(Q Kᵀ / √d) V for each head's d columns."""
    out = np.zeros_like(q)
    d = q.shape[1] // heads
    for head in range(heads):
        columns = slice(head * d, (head + 1) * d)
        for i in range(len(q)):
            powers = np.exp([q[i, columns] @ k[j, columns] / math.sqrt(d) for j in range(len(k))])
            for j in range(len(k)):
                out[i, columns] += powers[j] / powers.sum() * v[j, columns]
    return out


def vit(pixels: np.ndarray, w: Weights, config: ModelConfig) -> np.ndarray:
    """Tokens of one image (3, H, W): patches, class token, pre-norm blocks, final norm."""
    p, name = config.patch_size, "image_encoder.backbone"
    kernel = w[f"{name}.patch_embed.proj.weight"]  # (width, 3, p, p)
    tokens = [w[f"{name}.cls_token"][0, 0]]
    for row in range(0, config.image_size, p):
        for column in range(0, config.image_size, p):
            patch = pixels[:, row : row + p, column : column + p]
            tokens.append((kernel * patch).sum(axis=(1, 2, 3)) + w[f"{name}.patch_embed.proj.bias"])
    x = np.array(tokens) + w[f"{name}.pos_embed"][0]
    for i in range(config.depth):
        block = f"{name}.blocks.{i}"
        q, k, v = np.split(linear(layer_norm(x, w, f"{block}.norm1", 1e-6), w, f"{block}.attn.qkv"), 3, axis=1)
        x = x + linear(attend(q, k, v, config.heads), w, f"{block}.attn.proj")
        hidden = gelu(linear(layer_norm(x, w, f"{block}.norm2", 1e-6), w, f"{block}.mlp.fc1"))
        x = x + linear(hidden, w, f"{block}.mlp.fc2")
    return layer_norm(x, w, f"{name}.norm", 1e-6)


def head(x: np.ndarray, w: Weights, name: str) -> np.ndarray:
    p = linear(x[None], w, f"{name}.projection")
    return layer_norm(linear(gelu(p), w, f"{name}.linear") + p, w, f"{name}.norm", 1e-5)[0]


def self_normalising(x: np.ndarray, variant: str) -> np.ndarray:
    scale, alpha = (1.0507009873554805, 1.6732632423543772) if variant == "paper" else (1.0, 1.0)
    return scale * np.where(x > 0, x, alpha * (np.exp(x) - 1))


def multi_head(x: np.ndarray, context: np.ndarray, w: Weights, name: str, heads: int) -> np.ndarray:
    q, k, v = linear(x, w, f"{name}.query"), linear(context, w, f"{name}.key"), linear(context, w, f"{name}.value")
    return linear(attend(q, k, v, heads), w, f"{name}.out")


def fuse(x: np.ndarray, guide: np.ndarray, w: Weights, name: str, variant: str) -> np.ndarray:
    normed = layer_norm(x, w, f"{name}.attention_norm", 1e-5)
    x = x + multi_head(normed, normed, w, f"{name}.attention", heads=8)
    hidden = gelu(linear(layer_norm(x, w, f"{name}.mlp_norm", 1e-5), w, f"{name}.mlp_in"))
    x = x + linear(hidden, w, f"{name}.mlp_out")
    cross = f"{name}.cross_attention"
    q, k = linear(x, w, f"{cross}.query"), linear(guide, w, f"{cross}.key")
    if variant == "paper":
        v_gene, v_img = linear(guide, w, f"{cross}.guide_value"), linear(x, w, f"{cross}.own_value")
        return attend(q, k, v_gene, heads=8) + v_img
    q, k = np.maximum(q, 0), np.maximum(k, 0)
    v_gene, v_img = linear(k, w, f"{cross}.guide_value"), linear(q, w, f"{cross}.own_value")
    return x + attend(q, k, v_gene, heads=8) + v_img


def reconstruct(
    tokens: np.ndarray, expression: np.ndarray, kept: np.ndarray, w: Weights, config: ModelConfig
) -> np.ndarray:
    name = "reconstruction"
    image = linear(tokens, w, f"{name}.image_tokens")
    gene = self_normalising(linear(expression[None], w, f"{name}.gene_tokens.0"), config.variant).reshape(8, -1)
    x, guide = (image, gene) if config.target == "image" else (gene, image)
    x = multi_head(x * kept, guide, w, f"{name}.cross_attention", heads=4)
    for module in (0, 1) if config.variant == "paper" else (0, 0):
        x = fuse(x, guide, w, f"{name}.fusion.{module}", config.variant)
    return x.mean(axis=0)


@pytest.mark.parametrize("target", ["image", "expression"])
@pytest.mark.parametrize("variant", ["paper", "released"])
def test_a_forward_pass_equals_the_equations(variant: str, target: str) -> None:
    config = small_config(variant=variant, target=target, mask_rate=0.3)
    model = build(config).double().eval()  # no dropout
    assert model.reconstruction is not None
    model.reconstruction.training = True  # the mask alone, not the dropout inside
    pixels, expression = (x.double() for x in batch(config, size=3))
    torch.manual_seed(7)
    with torch.no_grad():
        outputs = model(pixels, expression)

    shape = (3, 5 if target == "image" else 8, 16)  # 4 patches and the class token, or the gene tokens
    draw = torch.rand(shape, generator=torch.Generator().manual_seed(7)).numpy()
    kept = draw >= 0.3 if variant == "paper" else draw < 0.3
    w = {name: value.numpy() for name, value in model.state_dict().items()}
    for i in range(3):
        tokens = vit(pixels[i].numpy(), w, config)
        image, gene = head(tokens.mean(axis=0), w, "image_head"), head(expression[i].numpy(), w, "gene_head")
        rebuilt = reconstruct(tokens, expression[i].numpy(), kept[i], w, config)
        np.testing.assert_allclose(outputs.image[i], image, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(outputs.gene[i], gene, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(outputs.reconstructed[i], rebuilt, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(outputs.target[i], image if target == "image" else gene, atol=1e-10)


def test_the_released_fusion_drops_a_tenth_in_training_alone() -> None:
    for variant, share in (("paper", 0.0), ("released", 0.1)):
        model = build(small_config(variant=variant))
        assert model.reconstruction is not None
        for module in model.reconstruction.fusion:
            assert (module.attention.dropout, module.mlp_dropout.p) == (share, share)
            x = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))
            same = torch.equal(module.attention(x, x), module.attention(x, x))
            assert same == (variant == "paper")
            module.attention.eval()
            torch.testing.assert_close(module.attention(x, x), module.attention(x, x), rtol=0, atol=0)


def test_the_released_encoder_starts_as_its_code_does() -> None:
    backbone = build(preset("tiny", GENES, variant="released", width=384, heads=6)).image_encoder.backbone
    state = backbone.state_dict()
    weights = [value for name, value in state.items() if name.endswith("weight") and value.ndim == 2]
    assert torch.cat([value.flatten() for value in weights]).std() == pytest.approx(0.01, rel=0.02)
    assert state["patch_embed.proj.weight"].std() == pytest.approx(0.0016, rel=0.02)
    assert state["cls_token"].std() == pytest.approx(0.019, rel=0.2)
    assert all(not value.any() for name, value in state.items() if name.endswith("qkv.bias"))


def masked_share(model: CMRCNet) -> float:
    """The share of features that the cross-attention sees as zero."""
    assert model.reconstruction is not None
    seen: list[torch.Tensor] = []
    hook = model.reconstruction.cross_attention.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(*batch(model.config, size=64))
    hook.remove()
    return (seen[0] == 0).float().mean().item()


def test_the_mask_rate_is_what_is_masked_in_the_paper_and_what_is_kept_in_the_released_code() -> None:
    paper = build(small_config(mask_rate=0.3))
    assert masked_share(paper) == pytest.approx(0.3, abs=0.02)
    assert masked_share(paper.eval()) == 0  # validation sees everything
    released = build(small_config(mask_rate=0.3, variant="released"))
    assert masked_share(released) == pytest.approx(0.7, abs=0.02)
    assert masked_share(released.eval()) == pytest.approx(0.7, abs=0.02)


def test_the_released_fusion_modules_share_their_weights() -> None:
    def fusion_weights(variant: str) -> int:
        names = [name for name, _ in build(small_config(variant=variant)).named_parameters()]
        return sum(name.startswith("reconstruction.fusion.") for name in names)

    assert fusion_weights("paper") == 2 * fusion_weights("released")


def loss_of(outputs: Outputs, config: ModelConfig) -> torch.Tensor:
    contrastive = contrastive_loss(outputs.image, outputs.gene, config.temperature, config.variant)
    if outputs.reconstructed is None or outputs.target is None:
        return total_loss(contrastive, variant=config.variant)
    rebuilt = reconstruction_loss(outputs.reconstructed, outputs.target, config.reconstruction_loss)
    return total_loss(contrastive, rebuilt, config.variant)


ABLATIONS: list[dict[str, Any]] = [
    {"reconstruction": False},
    *({"reconstruction_loss": "cosine", "mask_rate": rate} for rate in (0.3, 0.5, 0.7)),
    {"reconstruction_loss": "cosine", "target": "expression"},
    *({"mask_rate": rate} for rate in (0.3, 0.5, 0.7)),
    {"target": "expression"},
]


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("ablation", ABLATIONS, ids=str)
def test_every_row_of_the_ablation_trains(ablation: dict[str, Any], variant: str) -> None:
    config = small_config(variant=variant, **ablation)
    model = build(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(12):
        loss = loss_of(model(*batch(config)), config)
        optimiser.zero_grad()
        loss.backward()
        # a weight without gradient would stop training on several GPUs
        assert [name for name, p in model.named_parameters() if p.grad is None] == []
        optimiser.step()
        losses.append(loss.item())
    assert all(map(math.isfinite, losses))
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


@pytest.mark.parametrize(("target", "side"), [("image", "image_head"), ("expression", "gene_head")])
@pytest.mark.parametrize("variant", ["paper", "released"])
def test_the_reconstruction_moves_its_target_too(variant: str, target: str, side: str) -> None:
    model = build(small_config(variant=variant, target=target))
    outputs = model(*batch(model.config))
    # only through the target: the last norm of its head is not on the way to F_r
    reconstruction_loss(outputs.reconstructed, outputs.target).backward()
    gradient = getattr(model, side).norm.weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_one_seed_gives_one_model_and_one_mask() -> None:
    config = small_config()
    first, second = build(config, seed=3), build(config, seed=3)
    outputs = []
    for model in (first, second):
        torch.manual_seed(5)
        outputs.append(model(*batch(config)))
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))
    torch.manual_seed(6)
    assert not torch.equal(first(*batch(config)).reconstructed, outputs[0].reconstructed)


def test_embedding_one_side_gives_what_the_forward_pass_gives() -> None:
    model = build(small_config()).eval()
    pixels, expression = batch(model.config)
    with torch.inference_mode():
        outputs = model(pixels, expression)
        assert torch.equal(outputs.image, model.embed_image(pixels))
        assert torch.equal(outputs.gene, model.embed_genes(expression))
    assert outputs.image.shape == outputs.gene.shape == (4, 16)


def test_bfloat16_autocast_stays_close() -> None:
    config = small_config()
    model = build(config).eval()
    pixels, expression = batch(config)
    plain = loss_of(model(pixels, expression), config)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = loss_of(model(pixels, expression), config)
    assert cast.dtype == torch.float32
    cast.backward()
    assert cast.item() == pytest.approx(plain.item(), rel=0.05)


def test_inference_weights_make_the_same_embeddings_elsewhere() -> None:
    model = build(small_config()).eval()
    state = inference_state(model)
    assert not any(name.startswith("reconstruction") for name in state)
    before = {name: value.clone() for name, value in state.items()}
    pixels, expression = batch(model.config)
    with torch.no_grad():
        image, gene = model.embed_image(pixels), model.embed_genes(expression)
        for parameter in model.parameters():
            parameter.add_(1)  # what was taken is a copy
    assert all(torch.equal(value, before[name]) for name, value in state.items())

    other = build(small_config(reconstruction=False), seed=99).eval()
    other.load_state_dict(state)
    with torch.no_grad():
        assert torch.equal(other.embed_image(pixels), image)
        assert torch.equal(other.embed_genes(expression), gene)


def count(model: CMRCNet, part: str = "") -> int:
    return sum(value.numel() for name, value in model.named_parameters() if name.startswith(part))


def test_the_presets_have_the_sizes_they_promise() -> None:
    for name, most in (("small", 12e6), ("tiny", 8e6)):
        model = build(preset(name, n_genes=2000)).eval()  # type: ignore[arg-type]
        assert count(model) < most
        with torch.inference_mode():
            assert model.image_encoder(torch.zeros(2, 3, 224, 224)).shape[:2] == (2, 50)
            assert model.embed_image(torch.zeros(2, 3, 224, 224)).shape == (2, 256)
    tiny = build(preset("tiny", n_genes=200))
    assert 0.6e6 < sum(value.numel() for value in inference_state(tiny).values()) < 0.8e6


def test_the_paper_preset_is_vit_b_32_with_twelve_blocks_or_the_released_eight() -> None:
    paper, released = preset("paper", 100), preset("paper", 100, variant="released")
    assert (paper.patch_size, paper.width, paper.depth, paper.heads) == (32, 768, 12, 12)
    assert (released.patch_size, released.width, released.depth, released.heads) == (32, 768, 8, 8)
    assert preset("paper", 100, variant="released", depth=12, heads=12).depth == 12
    assert preset("small", 100, image_size=112).patch_size == 16  # as many tokens of smaller patches
    assert preset("small", 100, image_size=96).patch_size == 32
    assert preset("small", 100, variant="released").depth == preset("small", 100).depth
    with torch.device("meta"):
        model = CMRCNet(paper)
    assert count(model, "image_encoder") == 87_455_232  # ViT-B/32 without its classifier


def test_a_configuration_survives_json_and_says_what_is_wrong_with_one() -> None:
    config = preset("small", 50, variant="released", target="expression")
    assert read_entries(ModelConfig, asdict(config)) == config
    for change, said in (
        ({"n_genes": 0}, "n_genes is 0; it must be a whole number from 1"),
        ({"n_genes": 10**9}, "n_genes is 1000000000"),
        ({"n_genes": True}, "n_genes is True"),
        ({"depth": 2.0}, r"depth is 2\.0"),
        ({"heads": 5}, r"width is 192; it must be a multiple of the heads \(5\)"),
        ({"patch_size": 30}, r"image_size is 224; it must be a multiple of the patch_size \(30\)"),
        ({"embedding_dim": 100}, "embedding_dim is 100; it must be a multiple of"),
        ({"mask_rate": 1.5}, r"mask_rate is 1\.5; it must be from 0\.0 to 1\.0"),
        ({"dropout": math.nan}, "dropout is nan"),
        ({"dropout": "0.1"}, "dropout is '0.1'"),
        ({"temperature": 0}, "temperature is 0"),
        ({"layer_scale": -1.0}, r"layer_scale is -1\.0"),
        ({"variant": "draft"}, "variant is 'draft'; it must be 'paper' or 'released'"),
        ({"target": ["image"]}, "target is"),
        ({"reconstruction_loss": None}, "reconstruction_loss is None; it must be 'mse' or 'cosine'"),
        ({"reconstruction": 1}, "reconstruction is 1; it must be true or false"),
        ({"image_encoder": ""}, "image_encoder is ''"),
        ({"colour": "blue"}, "no setting 'colour'"),
    ):
        with pytest.raises(UserError, match=said):
            preset("small", **{"n_genes": 50} | change)
    with pytest.raises(UserError, match="no preset 'huge'; choose one of paper, small, tiny"):
        preset("huge", 50)  # type: ignore[arg-type]
    assert replace(config, temperature=2).temperature == 2
