"""The card of a checkpoint: what the model is, what it was trained on, and the hashes of the files beside it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.common.files import check_name, finish_swap
from napari_cmrcnet.common.json_entries import read_entries
from napari_cmrcnet.common.text import count_text, parse_json, some_of
from napari_cmrcnet.common.versions import package_versions
from napari_cmrcnet.model.config import FROZEN, ModelConfig
from napari_cmrcnet.retrieval.encoder_entry import EncoderEntry
from napari_cmrcnet.retrieval.expected import Over
from napari_cmrcnet.retrieval.likeness import Usual
from napari_cmrcnet.retrieval.protocol import Preprocessing, Query
from napari_cmrcnet.sections.panels import PANEL_MAY_LACK, Panel

FORMAT_VERSION = 1
CARD, MODEL, BANK, THUMBNAILS = "card.json", "model.safetensors", "bank.h5ad", "thumbnails.h5"
ENCODER = "encoder.safetensors"  # weights of a frozen encoder, where its licence lets them go along
LARGEST_CARD = 64 * 2**20
# What file managers leave in every folder they show.
LITTER = {".DS_Store", "Thumbs.db", "desktop.ini"}
UNSAFE = (".pkl", ".pickle", ".pth", ".pt", ".ckpt", ".bin", ".joblib", ".npy", ".npz")


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a checkpoint is.

    Parameters
    ----------
    format_version : int
        Of the checkpoint folder.
    model : ModelConfig
        Hyperparameters.
    genes : tuple of str
        The genes that the model reads, in its order.
    sections : tuple of str
        What it was trained on.
    patients : tuple of str
        Of these sections and of those that it was validated on; ``""`` where one is unknown.
    seed, epochs : int
        Of the training.
    encoder : EncoderEntry or None
        The frozen encoder that the model stands on.
    preprocessing : Preprocessing
        What the model expects of its input.
    query : Query
        How the bank is asked and averaged.
    validation_pcc : float or None
        Mean PCC on the validation spots, if there were any.
    validated_on : tuple of str
        Sections held out of training, by whose loss the epoch was chosen.
    panel : Panel or None
        Marker genes that predictions show first.
    similarity_floor : float or None
        Best similarity below which a spot is unlike anything in the bank, see `similarity_floor`; None where it was
        not found out.
    variable_genes : tuple of str
        The union of each training section's 1,000 highly variable genes, among which the paper ranks the genes that
        it scores.
    usual_tissue : mapping of str to Usual
        What the training sections look like, by kind of features; see `usual_tissue`.
    total_genes : mapping of str to int
        Over how many genes the totals of each training section's spots are taken, see `totals_of`.
    expected_over : {"", "sections", "patients"}
        What was left out in turn to measure the expected accuracy of genes, which the bank has, see `Bank`; "" where
        it was not measured.
    terms : tuple of str
        The training data, where they are public, and the frozen encoder, each with its licence, a sentence each.
    synthetic : bool
        Whether the training sections are simulated.
    packages : mapping of str to str
        Versions that it was made with.
    files : mapping of str to str
        SHA-256 of the other files; filled in when the checkpoint is saved. The thumbnails are among them where it
        has some.

    Raises
    ------
    UserError
        If its parts do not fit each other.
    """

    format_version: int = FORMAT_VERSION
    model: ModelConfig
    genes: tuple[str, ...]
    sections: tuple[str, ...]
    patients: tuple[str, ...]
    seed: int
    epochs: int
    encoder: EncoderEntry | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    query: Query = field(default_factory=Query)
    validation_pcc: float | None = None
    validated_on: tuple[str, ...] = ()
    panel: Panel | None = None
    similarity_floor: float | None = None
    variable_genes: tuple[str, ...] = ()
    usual_tissue: Mapping[str, Usual] = field(default_factory=dict)
    total_genes: Mapping[str, int] = field(default_factory=dict)
    expected_over: Over = ""
    terms: tuple[str, ...] = ()
    synthetic: bool = False
    packages: Mapping[str, str] = field(default_factory=package_versions)
    files: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.genes) != self.model.n_genes or len(set(self.genes)) != len(self.genes):
            listed = count_text(len(set(self.genes)), "gene")
            raise UserError(f"It lists {listed} for a model of {self.model.n_genes:,}.")
        named = self.encoder.name if self.encoder is not None else ""
        if self.model.frozen and self.model.image_encoder != FROZEN + named:
            raise UserError(f"A model on {self.model.image_encoder} is said to be on {named or 'none'}.")
        if self.query.weighted and self.model.contrast != "clip":
            raise UserError("Neighbours are weighted by probabilities that a model trained without CLIP's loss lacks.")

    @property
    def weight_temperature(self) -> float | None:
        """By what similarities are divided before the softmax that weighs neighbours; None where all count alike."""
        return self.model.temperature if self.query.weighted else None


def epochs_in_words(card: Card) -> str:
    """Say how long a model was trained."""
    return count_text(card.epochs, "epoch") if card.epochs else "solved without epochs"


def read_card(folder: Path) -> tuple[Card, str]:
    """Read the card of a checkpoint folder.

    Returns
    -------
    card : Card
        What the checkpoint is.
    digest : str
        SHA-256 of ``card.json``. As the card holds the hashes of the other files, it names the whole checkpoint.

    Raises
    ------
    UserError
        If the folder is not a checkpoint or its card cannot be read.
    """
    check_name(folder)
    finish_swap(folder)
    if not folder.exists():
        raise UserError(f"{folder} does not exist; check the path of the checkpoint.")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file, not a model; choose a folder whose name ends in .cmrcnet.")
    path = folder / CARD
    if not path.is_file():
        if folder.suffix.lower() == ".cmrcnet":
            raise UserError(f"{folder} is not a complete model: it lacks {CARD}; copy it again.")
        if inside := sorted(card.parent.name for card in folder.glob(f"*/{CARD}")):
            raise UserError(f"{folder} is not a model, but holds {some_of(inside)}; choose {folder / inside[0]}.")
        raise UserError(f"{folder} is not a model; choose a folder whose name ends in .cmrcnet.")
    with readable(path, "is damaged", "get the checkpoint again", (OSError, ValueError)):
        if path.stat().st_size > LARGEST_CARD:
            raise UserError(f"{path} is too large to be a card; get the checkpoint again.")
        content = path.read_bytes()
        values = parse_json(content)
    if not isinstance(values, dict):
        raise UserError(f"{path} is damaged (not a JSON object); get the checkpoint again.")
    newest = values.get("format_version")
    if isinstance(newest, int) and newest > FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {newest}, this software knows up to {FORMAT_VERSION}; update napari-cmrcnet."
        )
    try:
        card = read_entries(Card, values, PANEL_MAY_LACK)
    except UserError as error:
        raise UserError(f"{path} {error}".removesuffix(".") + ".") from error
    return card, hashlib.sha256(content).hexdigest()


def check_files(folder: Path, card: Card) -> None:
    """Check that a checkpoint folder holds its files and nothing else, without reading them.

    The thumbnails may have been removed, to pass a checkpoint on without pictures of its patients' tissue.

    Parameters
    ----------
    folder : Path
        The checkpoint.
    card : Card
        As `read_card` gives it.

    Raises
    ------
    UserError
        If a file is missing or does not belong there. The message names it.
    """
    if set(card.files) - {THUMBNAILS, ENCODER} != {MODEL, BANK}:
        known = ", ".join((MODEL, BANK, THUMBNAILS, ENCODER))
        raise UserError(f"{folder / CARD} lists other files than {known}; get the checkpoint again.")
    for entry in sorted(folder.iterdir()):
        if entry.suffix.lower() in UNSAFE:
            raise UserError(f"{entry} does not belong in a checkpoint and may run code when opened; do not use it.")
        if entry.name not in {CARD, *card.files} | LITTER:
            raise UserError(f"{entry} does not belong in a checkpoint; move it away if you put it there.")
    for name in (MODEL, BANK):
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} is missing; copy the whole checkpoint again.")
