"""The files of a checkpoint's weights."""

import shutil
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.model.cmrcnet import CMRCNet, FrozenCMRCNet, inference_state
from napari_cmrcnet.model.config import ModelConfig
from napari_cmrcnet.model.pretrained import Pretrained, packaged
from napari_cmrcnet.model.weights import mismatches
from napari_cmrcnet.retrieval.card import CARD, ENCODER, Card

Model = CMRCNet | FrozenCMRCNet


def write_model(path: Path, model: Model) -> None:
    """Write the weights that prediction needs."""
    path.write_bytes(save(inference_state(model)))  # not save_file(): its file can be read by its owner alone


def read_model(path: Path, config: ModelConfig) -> Model:
    """Build a network and fill in its weights, in evaluation mode. The part that only training needs is left out.

    Raises
    ------
    UserError
        If the file is damaged, or its weights are not those of the network.
    """
    config = replace(config, reconstruction=False)
    network = FrozenCMRCNet if config.frozen else CMRCNet
    with readable(path, "is not a readable safetensors file", "get the checkpoint again"):
        weights = load_file(path)
    with torch.device("meta"):  # shapes only: a card must not ask for memory that its weights do not fill
        expected = network(config).state_dict()
    if differences := mismatches(weights, expected):
        raise UserError(f"{path} does not fit the model of {CARD}: {differences}; get the checkpoint again.")
    with torch.random.fork_rng(devices=[]):  # the initial weights are replaced: leave the caller's numbers alone
        model = network(config)
    model.load_state_dict(weights)
    return model.eval()


def write_encoder(path: Path, encoder: Pretrained) -> bool:
    """Write the weights of a frozen encoder, as safetensors; return False where they do not go along.

    They do where the licence allows it and no package ships them.
    """
    if encoder.encoder.package or not encoder.encoder.may_be_stored:
        return False
    if encoder.copied:
        shutil.copyfile(encoder.path, path)
    else:
        path.write_bytes(save(encoder.network().backbone.state_dict()))
    return True


def find_encoder(folder: Path, card: Card) -> Pretrained | None:
    """Return the frozen encoder of a checkpoint with the place of its weights, which are not read yet."""
    entry = card.encoder
    if entry is None:
        return None
    if entry.encoder.package:
        return replace(packaged(entry.name), weights=entry.weights)
    if ENCODER in card.files:
        return Pretrained(entry.encoder, folder / ENCODER, entry.weights, card.files[ENCODER])
    return Pretrained(entry.encoder, Path(entry.source), entry.weights)
