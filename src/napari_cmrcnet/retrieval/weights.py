"""The file of a checkpoint's weights."""

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from napari_cmrcnet.common.errors import UserError, cannot_read, first_line
from napari_cmrcnet.model.cmrcnet import CMRCNet
from napari_cmrcnet.model.config import FROZEN, ModelConfig
from napari_cmrcnet.model.frozen import FrozenCMRCNet
from napari_cmrcnet.retrieval.card import CARD

Model = CMRCNet | FrozenCMRCNet


def write_model(path: Path, model: Model) -> None:
    """Write the weights that prediction needs."""
    path.write_bytes(save(model.inference_state()))  # not save_file(): its file can be read by its owner alone


def read_model(path: Path, config: ModelConfig) -> Model:
    """Build a network and fill in its weights, in evaluation mode. The part that only training needs is left out.

    Raises
    ------
    UserError
        If the file is damaged, or its weights are not those of the network.
    """
    config = replace(config, reconstruction=False)
    network = FrozenCMRCNet if config.image_encoder == FROZEN else CMRCNet
    try:
        weights = load_file(path)
    except Exception as error:  # safetensors and torch raise whatever the damaged part meets
        damaged = f"{path} is not a readable safetensors file ({first_line(error)}); get the checkpoint again."
        raise cannot_read(path, error, damaged) from error
    with torch.device("meta"):  # shapes only: a card must not ask for memory that its weights do not fill
        expected = {name: tuple(value.shape) for name, value in network(config).state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if found != expected:
        name = min(set(found.items()) ^ set(expected.items()))[0]
        raise UserError(
            f"{path} does not fit the model of {CARD}: {name} is {found.get(name, 'missing')}, "
            f"expected {expected.get(name, 'not there')}; get the checkpoint again."
        )
    with torch.random.fork_rng(devices=[]):  # the initial weights are replaced: leave the caller's numbers alone
        model = network(config)
    model.load_inference_state(weights)
    return model.eval()
