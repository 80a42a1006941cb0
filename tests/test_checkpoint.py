"""A checkpoint reads back exactly, and anything wrong with its folder is said in one sentence that names the file."""

import dataclasses
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import sha256
from napari_cmrcnet.common.json_entries import read_entries
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.retrieval.card import Card, read_card
from napari_cmrcnet.retrieval.checkpoint import Checkpoint, find_checkpoint
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.thumbnails import write_thumbnails


@pytest.fixture
def folder(untrained_checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """A copy of a checkpoint's folder, to be damaged."""
    assert untrained_checkpoint.path is not None
    return Path(shutil.copytree(untrained_checkpoint.path, tmp_path / "M.cmrcnet"))


@pytest.fixture
def pictured(untrained_checkpoint: Checkpoint, tmp_path: Path) -> Checkpoint:
    """A saved checkpoint with a thumbnail of each of its bank's spots: brighter from row to row."""
    patches = np.repeat(np.arange(72, dtype=np.uint8) * 3, 64 * 64 * 3).reshape(72, 64, 64, 3)
    finish(write_thumbnails(tmp_path / "t.h5", [patches], 72))
    return Checkpoint(
        untrained_checkpoint.card,
        untrained_checkpoint.model,
        untrained_checkpoint.bank,
        thumbnail_file=tmp_path / "t.h5",
    ).save(tmp_path / "pictured.cmrcnet")


def edit_card(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads((folder / "card.json").read_text("utf-8"))
    change(values)
    (folder / "card.json").write_text(json.dumps(values), "utf-8")


def accept_changes(folder: Path) -> None:
    """Write the hashes that the files have now, as who forges a checkpoint would."""
    edit_card(folder, lambda card: card["files"].update({name: sha256(folder / name) for name in card["files"]}))


def refuse(folder: Path, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        Checkpoint.load(folder)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_predicts_bit_identically_after_saving_and_loading(
    untrained_checkpoint: Checkpoint, tmp_path: Path, write_section: Any, open_small: Any
) -> None:
    section = open_small(*write_section(tmp_path, "C", 3))
    before = finish(predict(section, untrained_checkpoint, PredictConfig(k=5, device="cpu")))
    untrained_checkpoint.save(tmp_path / "again.cmrcnet")
    after = finish(predict(section, Checkpoint.load(tmp_path / "again.cmrcnet"), PredictConfig(k=5, device="cpu")))
    np.testing.assert_array_equal(after.neighbours, before.neighbours)
    np.testing.assert_array_equal(after.similarity, before.similarity)
    np.testing.assert_array_equal(after.expression(after.genes), before.expression(before.genes))


def test_the_card_reads_back_as_it_was(untrained_checkpoint: Checkpoint) -> None:
    assert untrained_checkpoint.path is not None
    card, digest = read_card(untrained_checkpoint.path)
    assert card == untrained_checkpoint.card
    assert digest == untrained_checkpoint.digest
    assert card.genes[:2] == ("GENE0", "GENE2")
    assert set(card.files) == {"model.safetensors", "bank.h5ad"}
    assert "torch" in card.packages


def test_only_what_prediction_needs_is_stored(untrained_checkpoint: Checkpoint) -> None:
    assert untrained_checkpoint.path is not None
    loaded = Checkpoint.load(untrained_checkpoint.path)
    assert loaded.model.reconstruction is None
    assert loaded.card.model.reconstruction
    assert not loaded.model.training


def test_loading_leaves_random_numbers_alone(untrained_checkpoint: Checkpoint) -> None:
    assert untrained_checkpoint.path is not None
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    Checkpoint.load(untrained_checkpoint.path)
    assert torch.equal(torch.rand(3), expected)


def test_the_bank_is_read_alone(untrained_checkpoint: Checkpoint) -> None:
    assert untrained_checkpoint.path is not None
    opened = Checkpoint.open(untrained_checkpoint.path)
    assert opened.summary.spots == len(untrained_checkpoint.bank)
    assert not {"model", "bank"} & set(vars(opened))
    assert opened.bank.genes == untrained_checkpoint.bank.genes
    assert "model" not in vars(opened)


def test_thumbnails_are_kept_wherever_the_checkpoint_goes(pictured: Checkpoint, tmp_path: Path) -> None:
    assert pictured.path is not None
    (tmp_path / "t.h5").unlink()
    loaded = Checkpoint.load(pictured.path)
    assert set(loaded.card.files) == {"model.safetensors", "bank.h5ad", "thumbnails.h5"}
    copy = loaded.save(tmp_path / "copy.cmrcnet").save(tmp_path / "copy.cmrcnet")
    shutil.rmtree(pictured.path)
    assert (copy.digest, copy.path) == (pictured.digest, tmp_path / "copy.cmrcnet")
    thumbnails = Checkpoint.open(tmp_path / "copy.cmrcnet").thumbnails
    assert thumbnails is not None
    assert len(thumbnails) == len(Checkpoint.load(tmp_path / "copy.cmrcnet").bank)
    assert thumbnails.read([70, 2]).mean(axis=(1, 2, 3)) == pytest.approx([210, 6], abs=2)


def test_another_checkpoint_or_none_is_not_taken(pictured: Checkpoint, untrained_checkpoint: Checkpoint) -> None:
    assert pictured.path is not None
    said = f"{pictured.path} is not the checkpoint that made this prediction."
    assert find_checkpoint([pictured.path], "another") == (None, said)
    assert find_checkpoint([pictured.path.parent / "gone"], pictured.digest) == (None, "")
    found, _ = find_checkpoint([pictured.path.parent, pictured.path], pictured.digest)
    assert found is not None
    assert found.thumbnails is not None
    assert untrained_checkpoint.path is not None
    assert Checkpoint.open(untrained_checkpoint.path).thumbnails is None


def test_changed_thumbnails_are_refused_when_they_are_looked_at_or_saved(pictured: Checkpoint, tmp_path: Path) -> None:
    assert pictured.path is not None
    content = bytearray((pictured.path / "thumbnails.h5").read_bytes())
    content[-1] ^= 1
    (pictured.path / "thumbnails.h5").write_bytes(content)
    loaded = Checkpoint.load(pictured.path)  # predicting needs none
    with pytest.raises(UserError, match=r"thumbnails\.h5 was changed or damaged"):
        _ = loaded.thumbnails
    with pytest.raises(UserError, match=r"thumbnails\.h5 was changed or damaged"):
        loaded.save(tmp_path / "copy.cmrcnet")
    assert not (tmp_path / "copy.cmrcnet").exists()


def test_thumbnails_can_be_removed_to_keep_tissue_in_the_house(pictured: Checkpoint, tmp_path: Path) -> None:
    assert pictured.path is not None
    (pictured.path / "thumbnails.h5").unlink()
    loaded = Checkpoint.load(pictured.path)
    assert loaded.digest == pictured.digest
    assert loaded.thumbnails is None
    assert set(loaded.save(tmp_path / "copy.cmrcnet").card.files) == {"model.safetensors", "bank.h5ad"}


def test_thumbnails_that_vanish_before_they_are_saved_are_named(pictured: Checkpoint, tmp_path: Path) -> None:
    assert pictured.path is not None
    loaded = Checkpoint.load(pictured.path)
    (pictured.path / "thumbnails.h5").unlink()
    with pytest.raises(UserError, match=r"pictured\.cmrcnet/thumbnails\.h5 is missing"):
        loaded.save(tmp_path / "copy.cmrcnet")


def test_a_missing_folder(tmp_path: Path) -> None:
    refuse(tmp_path / "none.cmrcnet", r"none\.cmrcnet does not exist")


def test_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "M.pth").write_bytes(b"weights")
    refuse(tmp_path / "M.pth", r"is a file, not a model; choose a folder whose name ends in")


def test_the_folder_of_a_checkpoint_names_the_checkpoint_in_it(folder: Path) -> None:
    refuse(folder.parent, rf"is not a model, but holds .*{folder.name}.*; choose .*\.cmrcnet")


@pytest.mark.parametrize("name", ["card.json", "model.safetensors", "bank.h5ad"])
def test_a_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    refuse(folder, f"({name} is missing|lacks {name})")


@pytest.mark.parametrize("name", ["model.safetensors", "bank.h5ad"])
@pytest.mark.parametrize("place", [0, 0.3, 0.999])
def test_a_changed_byte(folder: Path, name: str, place: float) -> None:
    content = bytearray((folder / name).read_bytes())
    content[int(place * len(content))] ^= 1
    (folder / name).write_bytes(content)
    refuse(folder, f"{name} was changed or damaged")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"format_version": NaN}', b"[" * 100_000])
def test_a_damaged_card(folder: Path, content: bytes) -> None:
    (folder / "card.json").write_bytes(content)
    refuse(folder, r"card\.json")


def test_a_newer_format(folder: Path) -> None:
    edit_card(folder, lambda card: card.update(format_version=2, something_new=1))
    refuse(folder, r"card\.json has format version 2, this software knows up to 1; update napari-cmrcnet")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda card: card.pop("genes"), "lacks the entry 'genes'"),
        (lambda card: card.update(extra=1), "unknown entry 'extra'"),
        (lambda card: card.update(seed="0"), "seed: .*which should be a valid integer"),
        (lambda card: card.update(seed=True), "seed: true, which should be a valid integer"),
        (lambda card: card.update(synthetic=1), "synthetic: 1, which should be a valid boolean"),
        (lambda card: card.update(genes=[1, 2]), r"genes\.0: 1, which should be a valid string"),
        (lambda card: card["genes"].pop(), "lists 11 genes for a model of 12"),
        (lambda card: card.update(genes=["A"] * 12), "lists 1 gene for a model of 12"),
        (lambda card: card["model"].update(width=-1), "holds what cannot be: The model's setting width is -1"),
        (lambda card: card["model"].update(width="64"), "width"),
        (lambda card: card["model"].pop("depth"), r"lacks the entry 'model\.depth'"),
        (lambda card: card["model"].update(more=1), r"unknown entry 'model\.more', perhaps of a newer version"),
        (lambda card: card["preprocessing"].update(log=False), "log: false"),
        (lambda card: card["preprocessing"].update(std=[0, 1, 1]), "std"),
        (lambda card: card["preprocessing"].update(mean=[0, 1]), r"lacks the entry 'preprocessing\.mean\.2'"),
        (lambda card: card["preprocessing"]["patch"].update(patch_px=10**9), "impossible"),
        (lambda card: card["query"].update(k=0), "holds what cannot be: k is 0"),
        (lambda card: card["query"].update(k=2.5), r"query\.k: 2\.5, which should be a valid integer"),
        (lambda card: card["preprocessing"].update(target_sum="x"), r"has preprocessing\.target_sum: \"x\", which"),
        (lambda card: card.update(panel={"name": "mine"}), "lacks the entry 'panel.genes'"),
        (lambda card: card["query"].update(weighted=True), "weighted by probabilities"),
        (lambda card: card["panel"].update(genes="TP53"), r"panel\.genes: \"TP53\", which should be a valid array"),
        (lambda card: card["files"].update({"../other": "0"}), "lists other files"),
        (lambda card: card.pop("similarity_floor"), "lacks the entry 'similarity_floor'"),
        (lambda card: card.update(similarity_floor="0.5"), "similarity_floor: .*which should be a valid number"),
        (
            lambda card: card.update(similarity_floor=float("nan")),
            "similarity_floor: NaN, which should be a finite number",
        ),
        (
            lambda card: card.update(usual_tissue={"stain": {"centre": [1]}}),
            r"lacks the entry 'usual_tissue\.stain\.scale'",
        ),
    ],
)
def test_a_card_with_a_wrong_entry(folder: Path, change: Callable[[dict[str, Any]], object], said: str) -> None:
    edit_card(folder, change)
    refuse(folder, said)


@pytest.mark.parametrize("name", ["weights.pkl", "model.pth", "optimizer.pt", "bank.npy"])
def test_a_pickle_is_never_opened(folder: Path, tmp_path: Path, name: str) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "harm",)

    (folder / name).write_bytes(pickle.dumps(Harm()))
    refuse(folder, f"{name} does not belong in a checkpoint and may run code")
    assert not (tmp_path / "harm").exists()


def test_a_pickle_in_place_of_the_weights(folder: Path) -> None:
    torch.save({"weight": torch.ones(2)}, folder / "model.safetensors")
    accept_changes(folder)
    refuse(folder, r"model\.safetensors is not a readable safetensors file")


@pytest.mark.parametrize("name", ["notes.txt", "thumbnails.h5"])
def test_a_file_that_the_card_does_not_list(folder: Path, name: str) -> None:
    (folder / name).write_text("mine")
    refuse(folder, f"{name} does not belong in a checkpoint")


def test_what_file_managers_leave_behind_does_no_harm(folder: Path) -> None:
    (folder / ".DS_Store").write_bytes(b"\x00")
    Checkpoint.load(folder)


def test_weights_of_another_model(folder: Path) -> None:
    """Larger than its weights, the model would otherwise be built before anything is noticed."""
    edit_card(folder, lambda card: card["model"].update(width=8184, heads=3, depth=128))
    refuse(folder, r"model\.safetensors does not fit the model of card\.json: .* is missing")


def test_a_bank_of_another_model(folder: Path, untrained_checkpoint: Checkpoint) -> None:
    import anndata

    bank = anndata.read_h5ad(folder / "bank.h5ad")
    bank.obsm["gene_embedding"] = np.eye(72, 16, dtype=np.float32)
    bank.write_h5ad(folder / "bank.h5ad")
    accept_changes(folder)
    refuse(folder, r"bank\.h5ad has embeddings of length 16, the model gives 32")


def test_another_folder_is_not_replaced(untrained_checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "precious.csv").write_text("1")
    with pytest.raises(UserError, match="exists and is not a checkpoint"):
        untrained_checkpoint.save(tmp_path / "results")
    assert (tmp_path / "results" / "precious.csv").exists()


def test_a_checkpoint_is_replaced(untrained_checkpoint: Checkpoint, folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    untrained_checkpoint.save(folder)
    assert Checkpoint.load(folder).digest == untrained_checkpoint.digest
    assert [entry.name for entry in folder.parent.iterdir()] == ["M.cmrcnet"]


@pytest.mark.parametrize("limit", [1000, 500_000])
def test_a_full_disk_leaves_the_old_checkpoint(
    untrained_checkpoint: Checkpoint, folder: Path, full_disk: Callable[[int], Any], limit: int
) -> None:
    before = {entry.name: entry.read_bytes() for entry in folder.iterdir()}
    with full_disk(limit), pytest.raises(UserError, match=r"M\.cmrcnet could not be written"):
        untrained_checkpoint.save(folder)
    assert {entry.name: entry.read_bytes() for entry in folder.iterdir()} == before
    assert [entry.name for entry in folder.parent.iterdir()] == ["M.cmrcnet"]


@pytest.mark.parametrize("limit", [1000, 20_000, 60_000])
def test_a_full_disk_leaves_no_half_bank(
    untrained_checkpoint: Checkpoint, tmp_path: Path, full_disk: Callable[[int], Any], limit: int
) -> None:
    with full_disk(limit), pytest.raises(UserError, match=r"bank\.h5ad could not be written"):
        untrained_checkpoint.bank.save(tmp_path / "bank.h5ad")
    assert list(tmp_path.iterdir()) == []


def test_a_card_is_json(untrained_checkpoint: Checkpoint) -> None:
    evidence = {"similarity_floor": 0.25}
    card = dataclasses.replace(untrained_checkpoint.card, **evidence)
    values = json.loads(json.dumps(dataclasses.asdict(card)))
    assert read_entries(Card, values) == card
    assert values["preprocessing"]["patch"] == {"patch_px": 32, "model_mpp": 0.5}
