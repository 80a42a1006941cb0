"""Encoders that are not trained: what is known of them, where their weights come from, and what a checkpoint keeps."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors.torch import save_file

from napari_cmrcnet.catalogue.packing import pack, unpack_model
from napari_cmrcnet.cli import main
from napari_cmrcnet.common.cache import cache_folder
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.model import frozen_encoders as listed
from napari_cmrcnet.model import pretrained
from napari_cmrcnet.model.conv_stem import ConvStem
from napari_cmrcnet.model.frozen_encoders import FrozenEncoder, encoder_named, frozen_encoders
from napari_cmrcnet.model.pretrained import fetched, with_weights
from napari_cmrcnet.model.weights import load_weights
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.describe import describe
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.training.config import FitConfig
from napari_cmrcnet.training.fit import fit

HUB_FILE = "model.safetensors"
SMALL = FrozenEncoder(
    "small",
    "Small ViT",
    "histology",
    "CC-BY-NC-ND-4.0",
    gated=True,
    hub="someone/small",
    may_be_stored=False,
    px=64,
    mpp=0.5,
    mean=(0.7, 0.6, 0.7),
    std=(0.2, 0.2, 0.2),
    pooling="class and patches",
    width=128,
    architecture={"model_name": "test_vit", "img_size": 64, "reg_tokens": 2, "mlp_layer": "SwiGLUPacked"},
)


@pytest.fixture
def encoders(monkeypatch: pytest.MonkeyPatch) -> dict[str, FrozenEncoder]:
    """Return the list, to which a test may add."""
    known = {**frozen_encoders(), "small": SMALL, "free": replace(SMALL, name="free", may_be_stored=True, hub="")}
    monkeypatch.setattr(listed, "frozen_encoders", lambda: known)
    return known


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    path = tmp_path / "downloads" / HUB_FILE
    path.parent.mkdir()
    save_file(small_vit().state_dict(), path)
    return path


@pytest.fixture
def sections(
    tmp_path: Path,
    write_section: Callable[..., Any],
    open_small: Callable[..., Section],
    monkeypatch: pytest.MonkeyPatch,
) -> list[Section]:
    monkeypatch.setenv("CMRCNET_CACHE", str(tmp_path / "cache"))
    return [open_small(*write_section(tmp_path, name, seed, 4), name=name) for seed, name in enumerate("ABC")]


def small_vit() -> Any:
    model = timm.create_model(
        "test_vit", img_size=64, reg_tokens=2, mlp_layer=timm.layers.SwiGLUPacked, num_classes=0, pretrained=False
    )
    return model.eval()


PUBLISHED = {  # millions of parameters, as the model cards and lazyslide-models have them
    "uni": 303.4,
    "uni2-h": 681.4,
    "virchow2": 631.2,
    "h-optimus-0": 1134.8,
    "h-optimus-1": 1134.8,
    "h0-mini": 85.7,
    "prov-gigapath": 1134.9,
    "phikon-v2": 303.4,
    "hibou-b": 85.7,
    "hibou-l": 303.7,
    "midnight": 1136,
    "kaiko-s16": 21.7,
    "kaiko-s8": 21.7,
    "kaiko-b16": 85.8,
    "kaiko-b8": 85.8,
    "kaiko-l14": 304.4,
    "ctranspath": 27.5,
}


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
BIOPTIMUS = ((0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517))
HISTAI = ((0.7068, 0.5755, 0.722), (0.195, 0.2316, 0.1816))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
SOURCES = {
    # pixels, mean and deviation, width, gate: as the model cards' own code has them; the repositories lazyslide-models,
    # slide2vec and raw2features, which read the cards, agree
    "uni": (224, IMAGENET, 1024, True),
    "uni2-h": (224, IMAGENET, 1536, True),
    "virchow2": (224, IMAGENET, 2560, True),
    "h-optimus-0": (224, BIOPTIMUS, 1536, True),
    "h-optimus-1": (224, BIOPTIMUS, 1536, True),
    "h0-mini": (224, BIOPTIMUS, 1536, True),
    "prov-gigapath": (224, IMAGENET, 1536, True),
    "phikon-v2": (224, IMAGENET, 1024, False),
    "conch": (448, CLIP, 512, True),
    "hibou-b": (224, HISTAI, 768, True),
    "hibou-l": (224, HISTAI, 1024, True),
    "midnight": (224, HALF, 3072, False),
    "kaiko-s16": (224, HALF, 384, False),
    "kaiko-s8": (224, HALF, 384, False),
    "kaiko-b16": (224, HALF, 768, False),
    "kaiko-b8": (224, HALF, 768, False),
    "kaiko-l14": (224, HALF, 1024, False),
    "ctranspath": (224, IMAGENET, 768, False),
}


def test_patches_are_prepared_as_published() -> None:
    found = {
        name: (one.px, (one.mean, one.std), one.width, one.gated)
        for name, one in frozen_encoders().items()
        if not one.package
    }
    assert found == SOURCES
    assert {one.mpp for one in frozen_encoders().values()} == {0.5}


@pytest.mark.parametrize("name", PUBLISHED)
def test_architectures_have_the_published_sizes(name: str) -> None:
    encoder = encoder_named(name)
    with torch.device("meta"):
        backbone = pretrained._backbone(encoder)
    millions = sum(value.numel() for value in backbone.parameters()) / 1e6
    assert millions == pytest.approx(PUBLISHED[name], rel=0.004)  # positions are those of 224 pixels
    times = 2 if encoder.pooling == "class and patches" else 1
    assert encoder.width == times * backbone.num_features


def test_the_list_names_licence_and_gate() -> None:
    assert set(frozen_encoders()) == {*PUBLISHED, "conch", "efficientnet-lite0", "efficientnet-lite2"}
    assert encoder_named("uni").terms == (
        "UNI: trained on histology, licence CC-BY-NC-ND-4.0; its page asks for a login and for consent to its terms, "
        "https://huggingface.co/MahmoodLab/UNI."
    )
    not_free = [one for one in frozen_encoders().values() if "NC" in one.licence or "non-commercial" in one.licence]
    assert not_free
    assert not any(one.may_be_stored for one in not_free)
    with pytest.raises(UserError, match="There is no encoder 'unii'; choose one of efficientnet-lite2, efficient"):
        encoder_named("unii")


def test_help_and_guide_name_every_encoder(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = " ".join(capsys.readouterr().out.replace("-\n", "-").split()).replace("- ", "-")
    guide = (Path(__file__).parent.parent / "docs" / "guide" / "train.md").read_text("utf-8")
    for name in frozen_encoders():
        assert name in shown
        assert f"`{name}`" in guide


@pytest.mark.parametrize("pooling", ["class", "class and patches", "patches"])
def test_tokens_are_pooled_as_published(encoders: dict[str, FrozenEncoder], weights: Path, pooling: Any) -> None:
    encoders["small"] = replace(SMALL, pooling=pooling)
    network = with_weights("small", weights).network()
    own = small_vit()
    own.load_state_dict(network.backbone.state_dict())
    pixels = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        tokens, maps = own.forward_intermediates(pixels, norm=True)
        patches = maps[-1].mean(dim=(2, 3))
        expected = {"class": [tokens[:, 0]], "patches": [patches], "class and patches": [tokens[:, 0], patches]}
        torch.testing.assert_close(network.embed_image(pixels), torch.cat(expected[pooling], dim=1))


def trained(sections: list[Section], out: Path, name: str, weights: Path | None) -> Checkpoint:
    return finish(fit(sections[:2], FitConfig(variant="frozen", encoder=name, weights=weights), out))


def forget_features() -> None:
    shutil.rmtree(cache_folder("features"))


def test_weights_that_may_not_be_passed_on_are_found_where_they_were(
    sections: list[Section],
    tmp_path: Path,
    encoders: dict[str, FrozenEncoder],
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "m.cmrcnet"
    checkpoint = trained(sections, out, "small", weights)
    assert not list(out.glob("encoder*"))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_: pytest.fail("a download"))
    first = finish(predict(sections[2], checkpoint, PredictConfig(device="cpu")))
    facts = describe(out).facts
    assert facts["model"] == "linear heads on Small ViT, frozen, trained on histology (CC-BY-NC-ND-4.0)"
    assert facts["query"].startswith("32, 64 and 128 µm around the spot")
    assert str(weights) in facts["weights of the encoder"]

    content = weights.read_bytes()
    forget_features()
    weights.unlink()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(UserError, match=r"is missing\. The model needs them.*hf download someone/small"):
        finish(predict(sections[2], Checkpoint.load(out), PredictConfig(device="cpu")))
    there = tmp_path / "hub" / "models--someone--small"
    (there / "refs").mkdir(parents=True)
    (there / "refs" / "main").write_text("abc")
    (there / "snapshots" / "abc").mkdir(parents=True)
    (there / "snapshots" / "abc" / HUB_FILE).write_bytes(content)
    again = finish(predict(sections[2], Checkpoint.load(out), PredictConfig(device="cpu")))
    np.testing.assert_array_equal(again.neighbours, first.neighbours)

    forget_features()
    save_file({name: value + 1e-3 for name, value in small_vit().state_dict().items()}, weights)
    with pytest.raises(UserError, match="is not the weights file of Small ViT that"):
        finish(predict(sections[2], Checkpoint.load(out), PredictConfig(device="cpu")))


def test_weights_that_may_be_passed_on_go_along(
    sections: list[Section], tmp_path: Path, encoders: dict[str, FrozenEncoder], weights: Path
) -> None:
    checkpoint = trained(sections, tmp_path / "m.cmrcnet", "free", weights)
    first = finish(predict(sections[2], checkpoint, PredictConfig(device="cpu")))
    forget_features()
    weights.unlink()
    moved = Checkpoint.load(tmp_path / "m.cmrcnet").save(tmp_path / "n.cmrcnet")
    shutil.rmtree(tmp_path / "m.cmrcnet")
    again = finish(predict(sections[2], moved, PredictConfig(device="cpu")))
    np.testing.assert_array_equal(again.neighbours, first.neighbours)
    np.testing.assert_array_equal(again.similarity, first.similarity)

    finish(pack(tmp_path / "n.cmrcnet", tmp_path / "n.cmrcnet.zip"))
    unpacked = Checkpoint.load(finish(unpack_model(tmp_path / "n.cmrcnet.zip", tmp_path / "unpacked.cmrcnet")))
    assert (unpacked.digest, unpacked.card.terms) == (moved.digest, (encoders["free"].terms,))

    forget_features()
    copied = tmp_path / "n.cmrcnet" / "encoder.safetensors"
    content = bytearray(copied.read_bytes())
    content[-1] ^= 1
    copied.write_bytes(content)
    with pytest.raises(UserError, match="is not the weights file"):
        finish(predict(sections[2], Checkpoint.load(tmp_path / "n.cmrcnet"), PredictConfig(device="cpu")))
    copied.unlink()
    with pytest.raises(UserError, match="is missing; copy the whole checkpoint again"):
        finish(predict(sections[2], Checkpoint.load(tmp_path / "n.cmrcnet"), PredictConfig(device="cpu")))


def test_features_of_other_weights_are_others(
    sections: list[Section], tmp_path: Path, encoders: dict[str, FrozenEncoder], weights: Path
) -> None:
    trained(sections, tmp_path / "m.cmrcnet", "small", weights)
    kept = set(cache_folder("features").glob("*.npy"))
    encoders["small"] = replace(SMALL, mean=(0.5, 0.5, 0.5))
    trained(sections, tmp_path / "n.cmrcnet", "small", weights)
    assert len(set(cache_folder("features").glob("*.npy"))) == 2 * len(kept)
    with pytest.raises(UserError, match="uses the encoder small with other settings"):
        Checkpoint.load(tmp_path / "m.cmrcnet")


def test_train_says_licence_and_gate_before_it_fetches(
    sections: list[Section],
    tmp_path: Path,
    encoders: dict[str, FrozenEncoder],
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [f"{one.name},{one.slide.path},{one.spots.uns['cmrcnet']['path']},P,0.5" for one in sections[:2]]
    sheet = tmp_path / "sections.csv"
    sheet.write_text("\n".join(["section,slide,spots,patient,mpp", *rows]))
    said: list[str] = []

    def download(hub: str, file: str) -> str:
        said.append(" ".join(capsys.readouterr().out.split()))
        if file == HUB_FILE:
            raise EntryNotFoundError("no such file")
        assert (hub, file) == ("someone/small", "pytorch_model.bin")
        bin_file = weights.with_name("pytorch_model.bin")
        torch.save(small_vit().state_dict(), bin_file)
        return str(bin_file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    out = tmp_path / "m.cmrcnet"
    command = ["train", str(sheet), "--out", str(out), "--device", "cpu", "--encoder"]
    assert main([*command, "small"]) == 0
    assert "licence CC-BY-NC-ND-4.0; its page asks for a login" in said[0]
    entry = Checkpoint.load(out).card.encoder
    assert entry is not None
    assert (entry.name, entry.settings["fields"]) == ("small", [[64, 0.5], [64, 1.0], [64, 2.0]])

    def refused(*_: object) -> str:
        raise LocalEntryNotFoundError("401 Client Error. Access to model someone/small is restricted.")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refused)
    with pytest.raises(UserError, match=r"accept its terms on its page and log in with `hf auth login`"):
        fetched("small")
    with pytest.raises(UserError, match=r"Small ViT is not at the model hub; give the file of its weights \(--weights"):
        fetched("free")
    assert main(["train", str(sheet), "--out", str(tmp_path / "n.cmrcnet"), "--encoder", "nothing"]) == 1
    assert "There is no encoder 'nothing'" in " ".join(capsys.readouterr().err.split())


def test_what_does_not_go_together_is_refused(weights: Path, encoders: dict[str, FrozenEncoder]) -> None:
    with pytest.raises(UserError, match="EfficientNet-Lite2 are installed; leave out --weights"):
        FitConfig(variant="frozen", weights=weights)
    with pytest.raises(UserError, match="A network from scratch has no frozen encoder"):
        FitConfig(variant="paper", encoder="small")
    with pytest.raises(UserError, match="holds no weights of 'kaiko-s16'"):
        with_weights("kaiko-s16", weights).network()
    with pytest.raises(UserError, match="Small ViT needs its weights"):
        with_weights("small", None)


def small_ctranspath() -> Any:
    return timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, embed_layer=ConvStem, embed_dim=24).eval()


def test_ctranspath_weights_of_the_old_timm_fit_the_new(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = small_ctranspath()
    for value in source.state_dict().values():
        if value.is_floating_point():
            value.add_(0.01 * torch.randn_like(value).abs())
    old: dict[str, torch.Tensor] = {}
    for name, value in source.state_dict().items():
        parts = name.split(".")
        if parts[0] == "layers" and parts[2] == "downsample":  # at the end of a stage, not at the start of the next
            parts[1] = str(int(parts[1]) - 1)
        old[".".join(parts)] = value
    assert "layers.0.downsample.reduction.weight" in old
    old["layers.0.blocks.1.attn_mask"] = torch.zeros(64, 49, 49)
    old["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.int64)
    torch.save({"model": old}, tmp_path / "ctranspath.pth")
    network = small_ctranspath()
    load_weights(network, tmp_path / "ctranspath.pth", "ctranspath")
    pixels = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(network(pixels), source(pixels))
    assert network(pixels).shape == (1, 192)
    del old["patch_embed.proj.6.weight"]
    torch.save({"model": old}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"does not fit the image encoder 'ctranspath'.*proj\.6\.weight is missing"):
        load_weights(network, tmp_path / "other.pth", "ctranspath")
