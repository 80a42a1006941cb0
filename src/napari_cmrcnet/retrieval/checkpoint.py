"""Checkpoint: a trained model with its bank, in a folder whose files are verified before they are used."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cmrcnet.common.errors import UserError, readable, system_error
from napari_cmrcnet.common.files import atomic_folder, is_there, sha256, write_json
from napari_cmrcnet.common.text import count_text, some_of
from napari_cmrcnet.retrieval.bank import Bank
from napari_cmrcnet.retrieval.card import BANK, CARD, ENCODER, MODEL, THUMBNAILS, Card, check_files, read_card
from napari_cmrcnet.retrieval.known_genes import BankSummary
from napari_cmrcnet.retrieval.thumbnails import Thumbnails

if TYPE_CHECKING:
    from napari_cmrcnet.model.pretrained import Pretrained
    from napari_cmrcnet.retrieval.weights import Model


class Checkpoint:
    """A trained model, its bank, and what is known of them.

    Parameters
    ----------
    card : Card
        What the checkpoint is.
    model : CMRCNet or FrozenCMRCNet, optional
        Its network. Model and bank of a folder are read from there when they are first asked for.
    bank : Bank, optional
        Its training spots.
    thumbnail_file : Path, optional
        File of the bank spots' thumbnails, which `save` takes along.
    encoder : Pretrained, optional
        The frozen encoder that the model stands on; of a folder, its weights are verified when a patch is to be
        encoded.
    path : Path, optional
        The folder that it was saved to or opened from.
    digest : str
        SHA-256 of that folder's card, which names the whole content; ``""`` before it is saved.
    """

    def __init__(
        self,
        card: Card,
        model: "Model | None" = None,
        bank: Bank | None = None,
        *,
        thumbnail_file: Path | None = None,
        encoder: "Pretrained | None" = None,
        path: Path | None = None,
        digest: str = "",
    ) -> None:
        self.card, self.thumbnail_file, self.path, self.digest = card, thumbnail_file, path, digest
        if model is not None:
            self.model = model
        if bank is not None:
            self.bank = bank
        if path is None:
            self.encoder = encoder

    def __repr__(self) -> str:
        name = self.path.name if self.path else "not saved"
        bank = self.__dict__.get("bank")  # not read for this
        size = [] if bank is None else [count_text(len(bank), "spot"), count_text(len(bank.names.symbols), "gene")]
        return f"<Checkpoint {name}: {', '.join([*size, f'trained on {some_of(self.card.sections)}'])}>"

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Checkpoint":
        """Open a checkpoint folder: read its card, and check that its files are there and no others.

        Each other part is compared with its hash and read when it is first asked for: ``bank``, ``model`` and
        ``thumbnails`` then raise what `load` raises. Nothing in a checkpoint is ever unpickled.

        Parameters
        ----------
        path : path
            ``NAME.cmrcnet``.

        Raises
        ------
        UserError
            If the folder or one of its files is missing, of a newer format, or does not belong there. The message
            names the file.
        """
        path = Path(path)
        card, digest = read_card(path)
        check_files(path, card)
        thumbnails = path / THUMBNAILS
        return cls(card, thumbnail_file=thumbnails if thumbnails.is_file() else None, path=path, digest=digest)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Checkpoint":
        """Read a whole checkpoint folder after verifying it; the thumbnails are verified when they are looked at.

        Parameters
        ----------
        path : path
            ``NAME.cmrcnet``.

        Raises
        ------
        UserError
            If the folder or one of its files is missing, changed, of a newer format, or does not belong there, or
            the weights or bank do not fit the card. The message names the file.
        """
        checkpoint = cls.open(path)
        _ = checkpoint.model, checkpoint.bank
        return checkpoint

    @cached_property
    def model(self) -> "Model":
        """Its network, in evaluation mode."""
        from napari_cmrcnet.retrieval.weights import read_model  # torch comes with it

        return read_model(self._verified(MODEL), self.card.model)

    @cached_property
    def bank(self) -> Bank:
        """Its training spots."""
        path = self._verified(BANK)
        bank = Bank.load(path)
        if bank.embeddings.shape[1] != self.card.model.embedding_dim:
            raise UserError(
                f"{path} has embeddings of length {bank.embeddings.shape[1]}, the model gives "
                f"{self.card.model.embedding_dim}; get the checkpoint again."
            )
        if (bank.expected is None) != (self.card.expected_over == ""):
            raise UserError(f"{path} and {CARD} differ in whether they know an expected PCC; train again.")
        return bank

    @cached_property
    def encoder(self) -> "Pretrained | None":
        """The frozen encoder that its model stands on; None where it has none."""
        from napari_cmrcnet.retrieval.weights import find_encoder

        assert self.path is not None
        return find_encoder(self.path, self.card)

    @cached_property
    def summary(self) -> BankSummary:
        """The size of its bank and its genes; read without the bank's content, and unverified, if that is all."""
        if "bank" in self.__dict__ or self.path is None:
            return self.bank.summary
        return BankSummary.of_file(self.path / BANK)

    def neighbours(self, asked: int | None = None) -> int:
        """Return how many neighbours are behind a value: what is asked for, else its own as far as the bank goes.

        Raises
        ------
        UserError
            If the bank has not as many as are asked for.
        """
        spots = self.summary.spots
        if asked is not None and not 1 <= asked <= spots:
            said = f"k is {asked}, but the checkpoint's bank has {count_text(spots, 'spot')}; choose a smaller k."
            raise UserError(said, setting="k")
        return min(self.card.query.k, spots) if asked is None else asked

    @cached_property
    def thumbnails(self) -> Thumbnails | None:
        """The thumbnails of its bank's spots; None where it has none. They may be its largest file."""
        return None if self.thumbnail_file is None else Thumbnails.open(self._verified(THUMBNAILS))

    def verify(self, names: Sequence[str] = (MODEL, BANK)) -> None:
        """Compare files of the folder with their hashes.

        Raises
        ------
        UserError
            If one was changed. The message names it.
        """
        for name in names:
            self._verified(name)

    def _verified(self, name: str) -> Path:
        """Return the path of a file of the folder, whose content is compared with its hash."""
        assert self.path is not None, "a checkpoint without a folder has its model and bank from the start"
        path = self.path / name
        if not path.is_file():
            raise UserError(f"{path} is missing; copy the whole checkpoint again.")
        with readable(path, "could not be read"):
            found = sha256(path)
        if found != self.card.files.get(name):
            raise UserError(f"{path} was changed or damaged (its hash is not that of {CARD}); copy it again.")
        return path

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
            checkpoint was opened.
        """
        from napari_cmrcnet.retrieval.weights import write_encoder, write_model

        path, model, bank = Path(path), self.model, self.bank
        if path.exists() and not (path / CARD).is_file():
            raise UserError(f"{path} exists and is not a checkpoint; remove it or choose another name.")
        with atomic_folder(path) as folder:
            bank.save(folder / BANK)
            write_model(folder / MODEL, model)
            files = {name: sha256(folder / name) for name in (MODEL, BANK)}
            if self.thumbnail_file is not None:
                source = self.thumbnail_file if self.path is None else self._verified(THUMBNAILS)
                files[THUMBNAILS] = sha256(shutil.copyfile(source, folder / THUMBNAILS))
            if self.encoder is not None and write_encoder(folder / ENCODER, self.encoder):
                files[ENCODER] = sha256(folder / ENCODER)
            card = replace(self.card, files=files)
            write_json(folder / CARD, asdict(card))
            digest = sha256(folder / CARD)
        thumbnails = path / THUMBNAILS if self.thumbnail_file is not None else None
        return Checkpoint(card, model, bank, thumbnail_file=thumbnails, path=path, digest=digest)


def find_checkpoint(places: Sequence[Path], digest: str) -> tuple[Checkpoint | None, str]:
    """Open the checkpoint of a prediction in the first place that has it.

    Parameters
    ----------
    places : sequence of Path
        Folders, the most likely first.
    digest : str
        SHA-256 of its card, by which it is known.

    Returns
    -------
    checkpoint : Checkpoint or None
        None where no place has it.
    reason : str
        Then why the last place that exists was not taken; ``""`` where none exists.
    """
    reason = ""
    for place in filter(is_there, places):
        try:
            checkpoint = Checkpoint.open(place)
        except UserError as error:
            reason = str(error)
        except OSError as error:  # the folder is another's
            reason = system_error(error)
        else:
            if checkpoint.digest == digest:
                return checkpoint, ""
            reason = f"{place} is not the checkpoint that made this prediction."
    return None, reason
