"""Any timm model encodes patches to tokens; weights come from a file, or the error says what to do."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.model.cmrcnet import CMRCNet
from napari_cmrcnet.model.config import ModelConfig, preset
from napari_cmrcnet.model.encoders import build_image_encoder


def timm_config(name: str, **settings: Any) -> ModelConfig:
    return preset("small", 30, image_encoder=name, **({"image_size": 64} | settings))


def timm_model(name: str = "test_vit", **arguments: Any) -> torch.nn.Module:
    import timm

    torch.manual_seed(1)
    model: torch.nn.Module = timm.create_model(name, **arguments)
    return model


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("test_vit", 17),  # 4 × 4 patches and the class token
        ("test_resnet", 4),  # a map, channels first
        ("test_mambaout", 4),  # a map, channels last, as Swin's
        ("swin_tiny_patch4_window7_224", 49),
    ],
)
def test_any_timm_model_gives_tokens(name: str, tokens: int) -> None:
    config = timm_config(name, image_size=224 if "swin" in name else 64)
    model = CMRCNet(config).eval()
    pixels = torch.randn(2, 3, config.image_size, config.image_size)
    with torch.inference_mode():
        features = model.image_encoder(pixels)
        assert features.shape == (2, tokens, model.image_encoder.width)
        outputs = model(pixels, torch.rand(2, 30))
    assert outputs.image.shape == outputs.reconstructed.shape == (2, 256)


@pytest.mark.parametrize("name", ["test_resnet", "test_mambaout"])
def test_the_tokens_of_a_map_are_its_places(name: str) -> None:
    encoder = build_image_encoder(timm_config(name)).eval()
    with torch.no_grad():
        pixels = torch.randn(1, 3, 64, 96)
        features = encoder.backbone.forward_features(pixels)
        tokens = encoder(pixels)
    for row in range(2):
        for column in range(3):
            place = features[0, :, row, column] if name == "test_resnet" else features[0, row, column]
            assert torch.equal(tokens[0, row * 3 + column], place)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".bin"])
def test_a_weight_file_is_taken_over_and_its_classifier_left_out(suffix: str, tmp_path: Path) -> None:
    source = timm_model(img_size=64, num_classes=7)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(source.state_dict(), path)
    else:
        torch.save({"model": {f"module.{k}": v for k, v in source.state_dict().items()}}, path)
    encoder = build_image_encoder(timm_config("test_vit"), weights=path)
    loaded = encoder.backbone.state_dict()
    assert "head.weight" not in loaded
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in loaded.items())


def test_weights_made_at_another_image_size_are_mapped_by_timm(tmp_path: Path) -> None:
    source = timm_model(num_classes=0)  # 160 px: a grid of 10 × 10
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    encoder = build_image_encoder(timm_config("test_vit"), tmp_path / "w.safetensors")
    assert encoder.backbone.pos_embed.shape[1] == 4 * 4 + 1
    assert torch.equal(encoder.backbone.blocks[0].mlp.fc1.weight, source.blocks[0].mlp.fc1.weight)


def test_a_layer_scale_has_to_be_asked_for_as_the_file_has_it(tmp_path: Path) -> None:
    path = tmp_path / "uni-like.pth"
    torch.save(timm_model("test_vit2", img_size=64, num_classes=0, init_values=1e-5).state_dict(), path)
    build_image_encoder(timm_config("test_vit2", layer_scale=1e-5), path)
    save_file(timm_model(img_size=64, num_classes=0, init_values=1e-5).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"ls1\.gamma is unknown"):
        build_image_encoder(timm_config("test_vit"), tmp_path / "w.safetensors")


def test_presets_take_weight_files_too(tmp_path: Path) -> None:
    config = preset("tiny", 30)
    torch.manual_seed(1)
    source = build_image_encoder(config).backbone.state_dict()
    save_file(source, tmp_path / "w.safetensors")
    torch.manual_seed(2)
    loaded = CMRCNet(config, weights=tmp_path / "w.safetensors").image_encoder.backbone.state_dict()
    assert all(torch.equal(value, source[name]) for name, value in loaded.items())


def test_a_weight_file_that_does_not_fit_is_named_with_the_difference(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    state = timm_model(img_size=64, num_classes=0).state_dict()
    save_file({k: v for k, v in state.items() if k != "norm.bias"}, path)
    with pytest.raises(
        UserError, match=r"w\.safetensors does not fit the image encoder 'test_vit': norm\.bias is missing"
    ):
        build_image_encoder(timm_config("test_vit"), path)
    save_file(state | {"norm.bias": torch.zeros(5)}, path)
    with pytest.raises(UserError, match=r"norm\.bias is \(5,\) but must be \(64,\)"):
        build_image_encoder(timm_config("test_vit"), path)
    save_file(state, path)
    with pytest.raises(UserError, match="does not fit the image encoder 'test_resnet'"):
        build_image_encoder(timm_config("test_resnet"), path)


class Hostile:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (os.environ["HOSTILE_FOLDER"],)


def test_weights_that_do_not_fit_into_the_memory_are_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")

    (tmp_path / "sound.pth").touch()
    monkeypatch.setattr("timm.models.load_state_dict", full)
    with pytest.raises(UserError, match="does not fit into the memory; close other programs"):
        build_image_encoder(preset("tiny", 30, image_encoder="conv"), tmp_path / "sound.pth")


def test_bad_weight_files_are_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = tmp_path / "ran"
    monkeypatch.setenv("HOSTILE_FOLDER", str(marker))
    (tmp_path / "text.safetensors").write_text("not weights")
    (tmp_path / "empty.pth").touch()
    (tmp_path / "cut.pth").write_bytes(b"PK\3\4")
    (tmp_path / "weights.npz").touch()
    torch.save({"state_dict": Hostile()}, tmp_path / "pickle.pth")
    torch.save({"norm.weight": "text"}, tmp_path / "strings.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    for name, said in (
        ("missing.pth", "does not exist"),
        ("text.safetensors", "not a readable weight file"),
        ("empty.pth", "not a readable weight file"),
        ("cut.pth", "not a readable weight file"),
        ("weights.npz", "must end in"),
        ("pickle.pth", "not a readable weight file"),
        ("strings.pth", "more than named weights"),
        ("list.pth", "not a readable weight file|more than named weights"),
    ):
        with pytest.raises(UserError, match=said) as caught:
            build_image_encoder(timm_config("test_vit"), tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
        assert ". " not in str(caught.value)  # nor torch's advice to read it in a way that runs it
    assert not marker.exists()


def test_a_model_of_the_hub_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A card may name any: loading it asks nobody."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    for name in ("socket.socket.connect", "socket.getaddrinfo", "timm.models._hub.hf_hub_download"):
        monkeypatch.setattr(name, refuse)
    with pytest.raises(UserError, match="timm knows no image encoder named 'hf-hub:ORG/encoder'"):
        CMRCNet(timm_config("hf-hub:ORG/encoder"))


def test_impossible_wishes_are_refused() -> None:
    with pytest.raises(UserError, match=r"did you mean .*vit_base_patch16_224"):
        build_image_encoder(timm_config("vit_base_patch16_2244"))
    with pytest.raises(UserError, match="'test_mambaout' cannot be built with these settings"):
        build_image_encoder(timm_config("test_mambaout", layer_scale=1e-5))


@pytest.mark.parametrize("side", [224, 56, 32])
def test_the_convolutional_encoder_gives_sixteen_tokens_of_any_patch(side: int) -> None:
    model = CMRCNet(preset("small", 30, image_encoder="conv", image_size=side)).eval()
    with torch.inference_mode():
        assert model.image_encoder(torch.zeros(2, 3, side, side)).shape == (2, 16, 192)
    with pytest.raises(UserError, match="width is 100; it must be a multiple of the layers of its encoder"):
        preset("small", 30, image_encoder="conv", width=100, heads=2)


def test_the_convolutional_encoder_starts_from_a_file(tmp_path: Path) -> None:
    config = preset("tiny", 30, image_encoder="conv")
    trained = CMRCNet(config).image_encoder.backbone
    save_file(trained.state_dict(), tmp_path / "conv.safetensors")
    started = CMRCNet(config, tmp_path / "conv.safetensors").image_encoder.backbone
    for name, value in trained.state_dict().items():
        assert torch.equal(started.state_dict()[name], value)
