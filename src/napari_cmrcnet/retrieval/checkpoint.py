"""Checkpoint: a trained model with its bank, in a folder that is verified before it is used."""

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from napari_cmrcnet.common.errors import UserError, cannot_read, first_line
from napari_cmrcnet.common.files import atomic_folder, sha256, write_json
from napari_cmrcnet.model.cmrcnet import CMRCNet
from napari_cmrcnet.model.config import FROZEN, ModelConfig
from napari_cmrcnet.model.frozen import FrozenCMRCNet
from napari_cmrcnet.retrieval.bank import Bank
from napari_cmrcnet.retrieval.card import BANK, CARD, MODEL, THUMBNAILS, Card, read_card, verify
from napari_cmrcnet.retrieval.thumbnails import Thumbnails


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained model, its bank, and what is known of them.

    Parameters
    ----------
    card : Card
        What the checkpoint is.
    model : CMRCNet or FrozenCMRCNet
        Its network.
    bank : Bank
        Its training spots.
    path : Path, optional
        The folder that it was saved to or loaded from.
    digest : str
        SHA-256 of that folder's card, which names the whole content; ``""`` before it is saved.
    thumbnails : Path, optional
        File of the bank spots' thumbnails, which `save` takes along. It is verified when they are looked at.
    """

    card: Card
    model: CMRCNet | FrozenCMRCNet
    bank: Bank
    path: Path | None = None
    digest: str = ""
    thumbnails: Path | None = None

    def save(self, path: str | os.PathLike[str]) -> "Checkpoint":
        """Write the checkpoint folder, whole or not at all; a checkpoint of that name is replaced.

        Parameters
        ----------
        path : path
            ``NAME.cmrcnet``.

        Returns
        -------
        Checkpoint
            This one, with its path and digest and the hashes of its files.

        Raises
        ------
        UserError
            If the folder cannot be written, another thing has its name, or the thumbnails were changed since the
            checkpoint was loaded.
        """
        path = Path(path)
        if path.exists() and not (path / CARD).is_file():
            raise UserError(f"{path} exists and is not a checkpoint; remove it or choose another name.")
        with atomic_folder(path) as folder:
            self.bank.save(folder / BANK)
            # Not save_file(), which makes a file that only its owner can read.
            (folder / MODEL).write_bytes(save(self.model.inference_state()))
            files = {name: sha256(folder / name) for name in (MODEL, BANK)}
            if self.thumbnails is not None:
                files[THUMBNAILS] = self._copy_thumbnails(self.thumbnails, folder / THUMBNAILS)
            card = replace(self.card, files=files)
            write_json(folder / CARD, card.to_dict())
            digest = sha256(folder / CARD)
        thumbnails = path / THUMBNAILS if self.thumbnails is not None else None
        return replace(self, card=card, path=path, digest=digest, thumbnails=thumbnails)

    def _copy_thumbnails(self, source: Path, target: Path) -> str:
        """Copy the thumbnails and return their hash."""
        if not source.is_file():
            raise UserError(f"{source} is gone since the checkpoint was loaded; load it again.")
        shutil.copyfile(source, target)
        found = sha256(target)
        if found != self.card.files.get(THUMBNAILS, found):
            raise UserError(f"{source} was changed or damaged (its hash is not that of {CARD}); copy it again.")
        return found

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str | torch.device = "cpu") -> "Checkpoint":
        """Read a checkpoint folder after verifying it. Nothing in it is ever unpickled.

        Parameters
        ----------
        path : path
            ``NAME.cmrcnet``.
        device : str or torch.device
            Where the model is put.

        Raises
        ------
        UserError
            If the folder or one of its files is missing, changed, of a newer format, or does not belong there, or
            the weights or bank do not fit the card. The message names the file.
        """
        path = Path(path)
        card, digest = read_card(path)
        verify(path, card)
        model = _load_model(path / MODEL, card.model)
        bank = Bank.load(path / BANK)
        if bank.embeddings.shape[1] != card.model.embedding_dim:
            raise UserError(
                f"{path / BANK} has embeddings of length {bank.embeddings.shape[1]}, the model gives "
                f"{card.model.embedding_dim}; get the checkpoint again."
            )
        thumbnails = path / THUMBNAILS if (path / THUMBNAILS).is_file() else None
        return cls(card, model.to(device).eval(), bank, path, digest, thumbnails)


def load_bank(path: str | os.PathLike[str], digest: str) -> Bank | None:
    """Read the bank of a checkpoint without its model; None if another checkpoint is there.

    Raises
    ------
    UserError
        If the folder is no checkpoint, or was changed.
    """
    card, found = read_card(Path(path))
    if found != digest:
        return None
    verify(Path(path), card, (BANK,))
    return Bank.load(Path(path) / BANK)


def load_thumbnails(path: str | os.PathLike[str], digest: str) -> Thumbnails | None:
    """Open the thumbnails of a checkpoint; None if another checkpoint is there, or it has none.

    They are verified here, and not whenever the checkpoint is loaded: they may be its largest file.

    Raises
    ------
    UserError
        If the folder is no checkpoint, or was changed.
    """
    folder = Path(path)
    card, found = read_card(folder)
    if found != digest or not (folder / THUMBNAILS).exists():
        return None
    verify(folder, card, (THUMBNAILS,))
    return Thumbnails.open(folder / THUMBNAILS)


def _network(config: ModelConfig) -> CMRCNet | FrozenCMRCNet:
    return FrozenCMRCNet(config) if config.image_encoder == FROZEN else CMRCNet(config)


def _load_model(path: Path, config: ModelConfig) -> CMRCNet | FrozenCMRCNet:
    """Build the network and fill in its weights. The part that only training needs is left out."""
    config = replace(config, reconstruction=False)
    try:
        weights = load_file(path)
    except Exception as error:  # safetensors and torch raise whatever the damaged part meets
        damaged = f"{path} is not a readable safetensors file ({first_line(error)}); get the checkpoint again."
        raise cannot_read(path, error, damaged) from error
    with torch.device("meta"):  # shapes only: a card must not ask for memory that its weights do not fill
        expected = {name: tuple(value.shape) for name, value in _network(config).state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if found != expected:
        name = min(set(found.items()) ^ set(expected.items()))[0]
        raise UserError(
            f"{path} does not fit the model of {CARD}: {name} is {found.get(name, 'missing')}, "
            f"expected {expected.get(name, 'not there')}; get the checkpoint again."
        )
    with torch.random.fork_rng(devices=[]):  # the initial weights are replaced: leave the caller's numbers alone
        model = _network(config)
    model.load_inference_state(weights)
    return model
