"""Frozen encoders with their weights: from an installed package, a file, or the model hub by the user's own login."""

import hashlib
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_cmrcnet.common.errors import UserError, first_sentence, is_out_of_memory
from napari_cmrcnet.common.files import file_digest
from napari_cmrcnet.model.conch import Conch
from napari_cmrcnet.model.conv_stem import ConvStem
from napari_cmrcnet.model.frozen_encoders import DEFAULT, FrozenEncoder, encoder_named
from napari_cmrcnet.model.weights import load_weights

AT_ONCE_ON_CPU = 8
"""Patches that an encoder reads at a time on a CPU.

The memory of larger batches is got from the system, and cleared, for each layer again: EfficientNet-Lite2 took 3.9 s of
CPU time for 64 patches at once, 1.5 s in eights, and 1.3 s with the channels of a pixel beside each other.
"""
HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # the names of timm and transformers, in timm's order


class FrozenNetwork(nn.Module):
    """An encoder that is not trained; of a patch it gives what its pooling says."""

    def __init__(self, backbone: Any, encoder: FrozenEncoder) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False)
        self.encoder = encoder

    def embed_image(self, pixels: Tensor) -> Tensor:
        """Describe patches (b, 3, side, side), shifted and scaled; return (b, ``encoder.width``)."""
        if pixels.device.type != "cpu":
            return self._described(pixels)
        pixels, step = pixels.contiguous(memory_format=torch.channels_last), AT_ONCE_ON_CPU
        return torch.cat([self._described(pixels[start : start + step]) for start in range(0, len(pixels), step)])

    def _described(self, pixels: Tensor) -> Tensor:
        if self.encoder.pooling == "layers":
            return self._layer_statistics(pixels)
        if self.encoder.pooling == "attention":
            pooled: Tensor = self.backbone(pixels)
            return pooled.float()
        tokens: Tensor = self.backbone.forward_features(pixels)  # (b, n, width), or (b, h, w, width) of a Swin
        if tokens.ndim == 4:
            tokens = tokens.flatten(1, 2)
        patches: Tensor = tokens[:, getattr(self.backbone, "num_prefix_tokens", 0) :].mean(dim=1)
        if self.encoder.pooling == "patches":
            return patches.float()
        if self.encoder.pooling == "class":
            return tokens[:, 0].float()
        return torch.cat([tokens[:, 0], patches], dim=1).float()

    def _layer_statistics(self, pixels: Tensor) -> Tensor:
        """Return mean and deviation of each channel: early layers tell tissue apart as well as late ones do."""
        x, statistics = self.backbone.bn1(self.backbone.conv_stem(pixels)), []
        for number, stage in enumerate(self.backbone.blocks):
            x = stage(x)
            if number in self.encoder.layers:
                statistics += [x.mean(dim=(2, 3)), x.std(dim=(2, 3))]
        return torch.cat(statistics, dim=1).float()


@dataclass(frozen=True)
class Pretrained:
    """An encoder and the file of its weights, which is read when a patch is to be encoded.

    Parameters
    ----------
    encoder : FrozenEncoder
        Which.
    path : Path
        Its weights.
    weights : str
        SHA-256 of the file that was trained on; features are kept under it.
    copied : str
        SHA-256 of the file at ``path`` where that is a checkpoint's own copy; else it is that file.
    """

    encoder: FrozenEncoder
    path: Path
    weights: str
    copied: str = ""

    @property
    def key(self) -> str:
        """What its features are kept under: a hash of the weights and of all that is done with them."""
        settings = json.dumps([self.weights, self.encoder.settings()], sort_keys=True)
        return hashlib.sha256(settings.encode()).hexdigest()[:16]

    def network(self) -> FrozenNetwork:
        """Build the encoder, after verifying its weights.

        Raises
        ------
        UserError
            If the file is missing, another, or of another model.
        """
        path = self._found()
        if file_digest(path) != (self.copied or self.weights):
            raise UserError(
                f"{path} is not the weights file of {self.encoder.title} that the model was trained with; get it "
                "again, or train again with this one."
            )
        backbone = _backbone(self.encoder)
        if self.encoder.package and not self.copied:
            state = torch.load(path, map_location="cpu", weights_only=True)
            # The package's entries come in the order of timm's, under other names (Tan & Le, ICML 2019).
            backbone.load_state_dict(dict(zip(backbone.state_dict(), state.values(), strict=True)))
        else:
            load_weights(backbone, path, self.encoder.name)
        return FrozenNetwork(backbone, self.encoder).eval()

    def _found(self) -> Path:
        if self.path.is_file():
            return self.path
        if not self.copied and (there := _in_hub_cache(self.encoder)) is not None:
            return there
        raise self._missing()

    def _missing(self) -> UserError:
        encoder = self.encoder
        if encoder.package:
            package = encoder.package["name"]
            return UserError(f"The weights of {encoder.title} are missing; install the package {package}.")
        if self.copied:
            return UserError(
                f"{self.path}, the weights of {encoder.title}, is missing; copy the whole checkpoint again."
            )
        hub = f", or get it with `hf download {encoder.hub}` and your own login" if encoder.hub else ""
        return UserError(
            f"{self.path}, the weights of {encoder.title}, is missing. The model needs them, and their licence "
            f"({encoder.licence}) keeps them out of checkpoints; put the file back{hub}."
        )


def packaged(name: str = DEFAULT) -> Pretrained:
    """Return an encoder whose weights a Python package ships, whether or not it is installed."""
    encoder = encoder_named(name)
    spec = find_spec(encoder.package["module"])
    folders = spec.submodule_search_locations if spec is not None else None
    path = Path(folders[0] if folders else encoder.package["module"]) / encoder.package["file"]
    return Pretrained(encoder, path, encoder.package["sha256"])


def with_weights(name: str, path: Path | None) -> Pretrained:
    """Return an encoder with weights from a package or a file; nothing is fetched.

    Raises
    ------
    UserError
        If there is no such encoder, it needs a file and has none, has no use for the one given, or it does not exist.
    """
    encoder = encoder_named(name)
    if encoder.package:
        if path is not None:
            raise UserError(f"The weights of {encoder.title} are installed; leave their file out.")
        return packaged(name)
    if path is None:
        raise UserError(f"{encoder.title} needs its weights; give their file.")
    if not path.is_file():
        raise UserError(f"{path} does not exist; give the path of the weights of {encoder.title}.")
    return Pretrained(encoder, path.resolve(), file_digest(path))


def fetched(name: str) -> Pretrained:
    """Return an encoder with weights from the model hub, by the user's own login; what was fetched before is used.

    Raises
    ------
    UserError
        If the hub does not have it, cannot be reached, or refuses.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    encoder = encoder_named(name)
    if not encoder.hub:
        raise UserError(f"{encoder.title} is not at the model hub; give the file of its weights (--weights).")
    if (there := _in_hub_cache(encoder)) is not None:
        return Pretrained(encoder, there, file_digest(there))
    for file in HUB_FILES:
        try:
            path = Path(hf_hub_download(encoder.hub, file))
        except Exception as error:  # the hub's own, and those of whichever HTTP library it stands on
            if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
                continue  # the hub was reached, and has no such file
            if is_out_of_memory(error):
                raise
            raise UserError(
                f"The image encoder {encoder.title!r} could not be downloaded ({first_sentence(error)}). Check the "
                "network. If the model is gated, accept its terms on its page and log in with `hf auth login`, or "
                "give its downloaded file as weights."
            ) from error
        return Pretrained(encoder, path, file_digest(path))
    raise UserError(f"{encoder.page} has neither {' nor '.join(HUB_FILES)}; give the file of the weights (--weights).")


def _in_hub_cache(encoder: FrozenEncoder) -> Path | None:
    """Return the weights where the user fetched them before, without asking the hub."""
    from huggingface_hub import try_to_load_from_cache

    for file in HUB_FILES if encoder.hub else ():
        if isinstance(found := try_to_load_from_cache(encoder.hub, file), str):
            return Path(found)
    return None


def _backbone(encoder: FrozenEncoder) -> Any:
    import timm
    from timm.layers import SwiGLUPacked

    parts = {"SwiGLUPacked": SwiGLUPacked, "ConvStem": ConvStem}
    architecture = {
        name: parts.get(value, value) if isinstance(value, str) else value
        for name, value in encoder.architecture.items()
    }
    classes = {} if encoder.package else {"num_classes": 0}  # the packages' weights have their classifier
    network = timm.create_model(**architecture, **classes, pretrained=False)
    return Conch(network, encoder.width) if encoder.pooling == "attention" else network
