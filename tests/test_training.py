"""Training: what comes out, what is refused, what it learns."""

import csv
import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Progress, finish
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.protocol import Query
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.slides.patches import PatchSpec
from napari_cmrcnet.training import loop
from napari_cmrcnet.training.config import FitConfig
from napari_cmrcnet.training.data import epoch_batches, split
from napari_cmrcnet.training.fit import fit
from napari_cmrcnet.training.step import learning_rate

pytestmark = pytest.mark.usefixtures("one_thread")
Write = Callable[..., tuple[Path, Path]]
Open = Callable[..., Section]
SMALL: dict[str, Any] = {"patch_size": 16, "width": 32, "depth": 1, "heads": 2, "embedding_dim": 32}


def settings(**changes: Any) -> FitConfig:
    model = SMALL | changes.pop("model", {})
    given = {"preset": "tiny", "variant": "paper", "epochs": 2, "batch_size": 16, "device": "cpu"}
    return FitConfig(**(given | {"patch": PatchSpec(32, 0.5)} | changes), model=model)


@pytest.fixture(scope="module")
def sections(tmp_path_factory: pytest.TempPathFactory, write_section: Write, open_small: Open) -> list[Section]:
    folder = tmp_path_factory.mktemp("sections")
    return [open_small(*write_section(folder, f"S{i}", seed=i), patient=f"P{i // 2}") for i in range(3)]


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CMRCNET_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def read_log(out: Path) -> list[dict[str, str]]:
    with open(out.with_suffix(".training") / "log.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_training_leaves_a_checkpoint_and_a_log(sections: Sequence[Section], tmp_path: Path) -> None:
    out = tmp_path / "model.cmrcnet"
    seen: list[Progress] = []
    checkpoint = finish(fit(sections, settings(epochs=3), out), seen.append)
    log = read_log(out)
    assert [row["epoch"] for row in log] == ["1", "2", "3"]
    assert [row["step"] for row in log] == ["7", "14", "21"]
    assert all(float(row["patches_per_s"]) > 0 for row in log)
    assert {path.name for path in (tmp_path / "model.training").iterdir()} == {"log.csv", "run.json"}
    training = [progress for progress in seen if progress.step == "Training"]
    assert (training[-1].done, training[-1].total) == (21, 21)
    assert {"loss", "contrastive", "reconstruction"} <= training[-1].values.keys()
    assert len(checkpoint.bank) == 108
    assert checkpoint.card.epochs == 3
    loaded = Checkpoint.load(out)
    np.testing.assert_array_equal(loaded.bank.embeddings, checkpoint.bank.embeddings)
    assert loaded.card.genes == checkpoint.card.genes


def test_a_damaged_file_of_weights_is_told_before_any_work_and_leaves_nothing(
    sections: Sequence[Section], tmp_path: Path
) -> None:
    (tmp_path / "cut.pth").write_bytes(b"PK\3\4")
    seen: list[Progress] = []
    config = settings(weights=tmp_path / "cut.pth", model={"image_encoder": "test_vit"})
    with pytest.raises(UserError, match=r"cut\.pth is not a readable weight file"):
        finish(fit(sections, config, tmp_path / "model.cmrcnet"), seen.append)
    assert seen == []
    assert [path.name for path in tmp_path.iterdir()] == ["cut.pth"]


def test_a_checkpoint_can_show_and_judge_what_is_retrieved_from_it(sections: Sequence[Section], tmp_path: Path) -> None:
    out = tmp_path / "model.cmrcnet"
    checkpoint = finish(fit(sections, settings(validation=0.25), out))
    own = {section.name: finish(predict(section, checkpoint, PredictConfig(k=2, device="cpu"))) for section in sections}
    best = []
    for row, name, x, y in checkpoint.bank.obs[["section", "x", "y"]].itertuples():
        prediction = own[name]
        (spot,) = np.flatnonzero((prediction.xy == [x, y]).all(axis=1))
        best += [prediction.similarity[spot, int(prediction.neighbours[spot, 0] == row)]]
    assert checkpoint.card.similarity_floor == pytest.approx(np.percentile(best, 1), abs=1e-5)
    assert own["S0"].provenance.similarity_floor == checkpoint.card.similarity_floor
    assert set(checkpoint.card.usual_tissue) == {"stain and sharpness"}
    assert own["S0"].provenance.likeness is not None
    thumbnails = checkpoint.thumbnails
    assert thumbnails is not None
    assert len(thumbnails) == len(checkpoint.bank) == 81
    for row in (0, 27, 80):
        name, x, y = checkpoint.bank.obs.loc[row, ["section", "x", "y"]]
        (section,) = (section for section in sections if section.name == name)
        patch = section.slide.read_region(int(x) - 16, int(y) - 16, 32, 32).astype(float)
        assert thumbnails.read([row])[0].mean(axis=(0, 1)) == pytest.approx(patch.mean(axis=(0, 1)), abs=3)


def test_the_tuned_variant_is_kept_in_its_checkpoint(sections: Sequence[Section], tmp_path: Path) -> None:
    out = tmp_path / "tuned.cmrcnet"
    finish(fit(sections, settings(variant="tuned", model={"width": 48}), out))
    card = Checkpoint.load(out).card
    assert (card.model.image_encoder, card.model.contrast, card.model.temperature) == ("conv", "clip", 0.1)
    assert card.preprocessing.colour_normalisation
    assert card.query == Query(test_time_augmentation=True, neighbourhood_smoothing=1.0, k=200, weighted=True)
    assert card.weight_temperature == 0.1
    asked = {"test_time_augmentation": False, "k": 50, "weighted": None}
    single = settings(variant="tuned", model={"width": 48}, query=asked).asked_with
    assert single == Query(test_time_augmentation=False, neighbourhood_smoothing=1.0, k=50, weighted=True)
    with pytest.raises(UserError, match="--no-weighted"):
        settings(variant="tuned", model={"width": 48, "contrast": "soft"})
    settings(variant="tuned", model={"width": 48, "contrast": "soft"}, query={"weighted": False})
    with pytest.raises(UserError, match="Neighbourhood smoothing is -1; give a weight from 0 to 100"):
        settings(query={"neighbourhood_smoothing": -1.0})
    with pytest.raises(UserError, match="k is 0; give at least 1 training spot"):
        settings(query={"k": 0})


@pytest.mark.parametrize("variant", ["paper", "tuned"])
def test_a_checkpoint_judges_training_spots_as_it_does_new_ones(
    sections: Sequence[Section], tmp_path: Path, variant: Any
) -> None:
    out = tmp_path / "model.cmrcnet"
    checkpoint = finish(fit(sections[:2], settings(variant=variant, model={"width": 48}), out))
    best = []
    for section in sections[:2]:
        found = finish(predict(section, checkpoint, PredictConfig(k=2, device="cpu")))
        own = checkpoint.bank.obs.index[checkpoint.bank.obs["section"] == section.name].to_numpy()
        best += np.where(found.neighbours[:, 0] == own, found.similarity[:, 1], found.similarity[:, 0]).tolist()
    assert checkpoint.card.similarity_floor == pytest.approx(np.percentile(best, 1), abs=1e-4)


def test_without_thumbnails_no_picture_of_the_tissue_is_kept(sections: Sequence[Section], tmp_path: Path) -> None:
    out = tmp_path / "model.cmrcnet"
    finish(fit(sections[:1], settings(epochs=1, thumbnails=False), out))
    assert {path.name for path in out.iterdir()} == {"card.json", "model.safetensors", "bank.h5ad"}


@pytest.mark.parametrize("variant", ["paper", "tuned"])
def test_the_same_seed_gives_the_same_weights(sections: Sequence[Section], tmp_path: Path, variant: Any) -> None:
    def weights(name: str, seed: int) -> bytes:
        out = tmp_path / f"{name}.cmrcnet"
        finish(fit(sections, settings(seed=seed, variant=variant, model={"width": 48}), out))
        return (out / "model.safetensors").read_bytes()

    first = weights("first", 1)
    torch.rand(7)  # whatever happened before
    assert weights("again", 1) == first
    assert weights("other", 2) != first


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_it_learns_what_colour_says_of_expression(variant: str, sections: Sequence[Section], tmp_path: Path) -> None:
    config = settings(variant=variant, epochs=15, learning_rate=1e-3, validation="section:S2")
    checkpoint = finish(fit(sections, config, tmp_path / "model.cmrcnet"))
    log = read_log(tmp_path / "model.cmrcnet")
    assert float(log[-1]["loss"]) < float(log[0]["loss"])
    assert max(float(row["validation_pcc"]) for row in log) > 0.4
    assert set(checkpoint.bank.obs["section"]) == {"S0", "S1"}


def test_the_best_epoch_is_kept_and_the_last_beside_it(
    sections: Sequence[Section], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([(3.0, 0.1), (1.0, 0.4), (2.0, None), (1.0, 0.5)])
    monkeypatch.setattr(loop, "validate", lambda *_: next(found))
    out = tmp_path / "model.cmrcnet"
    held_out = finish(fit(sections, settings(epochs=4, validation="section:S2"), out))
    assert held_out.card.validated_on == ("S2",)
    assert held_out.card.patients == ("P0", "P1")  # also of the section that chose the epoch
    card = Checkpoint.load(out).card
    assert (card.epochs, card.validation_pcc) == (2, 0.4)
    last = Checkpoint.load(tmp_path / "model.training" / "last.cmrcnet")
    assert (last.card.epochs, last.card.validation_pcc) == (4, 0.5)
    best, after = (load_file(folder / "model.safetensors") for folder in (out, last.path))
    assert any(not torch.equal(best[name], after[name]) for name in best)


def test_a_share_of_the_spots_is_held_out_of_training_and_bank(sections: Sequence[Section], tmp_path: Path) -> None:
    config = settings(validation=0.25)
    training, validation = split(sections, config)
    for kept, held in zip(training, validation, strict=True):
        assert len(held.rows) == 9
        assert sorted([*kept.rows, *held.rows]) == list(range(36))
    checkpoint = finish(fit(sections, config, tmp_path / "model.cmrcnet"))
    assert len(checkpoint.bank) == 81
    assert checkpoint.card.validated_on == ()
    held_out = {tuple(xy) for part in validation for xy in part.section.xy} - {
        tuple(xy) for part in training for xy in part.section.xy
    }
    assert not held_out & set(zip(checkpoint.bank.obs["x"], checkpoint.bank.obs["y"], strict=True))


def test_a_spot_of_each_section_is_left_to_train_on(sections: Sequence[Section]) -> None:
    one = dataclasses.replace(sections[0], spots=sections[0].spots[:1].copy())
    training, validation = split([one, *sections[1:]], settings(validation=0.25))
    assert [len(part.rows) for part in training] == [1, 27, 27]
    assert [part.section.name for part in validation] == ["S1", "S2"]


@pytest.mark.parametrize(("validation", "asked"), [("section:S2", [36, 36]), (0.25, [27, 27, 27])])
def test_genes_are_chosen_on_the_spots_trained_on(
    validation: str | float,
    asked: list[int],
    sections: Sequence[Section],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def chosen(training: Sequence[Section], n_top: int = 1000) -> list[str]:
        assert [len(section.spots) for section in training] == asked
        assert n_top in (5, 1000)  # those to train on; the paper's, to score
        return ["GENE7", "GENE2"]

    monkeypatch.setattr(sys.modules[fit.__module__], "highly_variable_genes", chosen)
    config = settings(n_top_genes=5, validation=validation, epochs=1)
    checkpoint = finish(fit(sections, config, tmp_path / "model.cmrcnet"))
    assert checkpoint.card.genes == checkpoint.card.variable_genes == ("GENE7", "GENE2")
    assert len(checkpoint.bank) == sum(asked)
    assert len(checkpoint.bank.genes) == 24


def test_no_reconstruction_leaves_its_column_empty(sections: Sequence[Section], tmp_path: Path) -> None:
    out = tmp_path / "model.cmrcnet"
    finish(fit(sections[:1], settings(epochs=1, model={"reconstruction": False}), out))
    assert read_log(out)[0]["reconstruction"] == ""


@pytest.mark.parametrize(("n", "batch_size", "processes"), [(543, 64, 1), (65, 64, 1), (5, 4, 1), (129, 64, 2)])
def test_batches_are_of_equal_size_and_hold_every_spot(n: int, batch_size: int, processes: int) -> None:
    batches = epoch_batches(n, batch_size, processes, np.random.default_rng(0))
    sizes = [batch.size for batch in batches]
    assert max(sizes) - min(sizes) <= processes
    assert 2 <= min(sizes) <= max(sizes) <= batch_size
    spots = np.concatenate([batch.ravel() for batch in batches])
    assert len(set(spots)) == len(spots) == n - n % processes


def test_the_learning_rate_is_constant_and_of_the_published_code_falls_to_a_tenth() -> None:
    rates = [learning_rate(settings(variant="released", learning_rate=1e-4), step, 50) for step in range(50)]
    assert rates[0] == max(rates) == pytest.approx(1e-4)
    assert rates[-1] == pytest.approx(1e-5, rel=0.05)
    assert all(np.diff(rates) < 0)
    assert {learning_rate(settings(learning_rate=1e-4), step, 50) for step in range(50)} == {1e-4}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("frozen", None, None)),
        ({"preset": "paper"}, ("paper", "paper", 60)),
        ({"preset": "tiny"}, ("tuned", "tiny", 30)),
        ({"variant": "released"}, ("released", "small", 60)),
        ({"variant": "tuned", "epochs": 3}, ("tuned", "small", 3)),
    ],
)
def test_variant_preset_and_epochs_follow_from_what_is_given(
    given: dict[str, Any], expected: tuple[str, str | None, int | None]
) -> None:
    config = FitConfig(**given)
    assert (config.variant, config.preset, config.epochs) == expected
    assert replace(config, thumbnails=False).variant == config.variant


def test_the_weight_decay_is_that_of_the_variant() -> None:
    assert (FitConfig(variant="paper").decay, FitConfig(variant="released").decay) == (1e-2, 1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 2}, "batch_size is 2; give at least 4"),
        ({"learning_rate": 0.0}, "learning rate is 0"),
        ({"validation": 1.5}, "validation share is 1.5"),
        ({"validation": "S2"}, "neither 'section:NAME'"),
        ({"validation": "section:S9"}, "no section 'S9'"),
        ({"validation": 0.01}, "3 spots left to validate"),
        ({"model": {"widht": 3}}, "widht"),
        ({"device": "cuda:99"}, "(?i)cuda"),
    ],
)
def test_settings_that_do_not_serve_are_refused(
    changes: dict[str, Any], message: str, sections: Sequence[Section], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        finish(fit(sections, settings(**changes), tmp_path / "model.cmrcnet"))
    assert not list(tmp_path.iterdir())


def test_sections_that_do_not_serve_are_refused(sections: Sequence[Section], tmp_path: Path) -> None:
    unmeasured = dataclasses.replace(sections[0], name="bare", spots=sections[0].spots[:, []].copy())
    for given, message in (
        ([], "no section"),
        ([sections[0], sections[0]], "called S0"),
        ([sections[0], unmeasured], "bare have no counts"),
    ):
        with pytest.raises(UserError, match=message):
            finish(fit(given, settings(), tmp_path / "model.cmrcnet"))


def test_a_loss_that_is_not_finite_ends_the_training(sections: Sequence[Section], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not finite in epoch"):
        finish(fit(sections, settings(learning_rate=1e30, epochs=3), tmp_path / "model.cmrcnet"))
    assert not (tmp_path / "model.cmrcnet").exists()


def test_a_finished_checkpoint_is_not_overwritten(sections: Sequence[Section], tmp_path: Path) -> None:
    out = tmp_path / "model.cmrcnet"
    finish(fit(sections, settings(), out))
    before = {path: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(UserError, match="exists; remove it or choose another name"):
        finish(fit(sections, settings(), out))
    assert finish(fit(sections, settings(), out, resume=True)).card.epochs == 2
    assert {path: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize("error", [torch.OutOfMemoryError(), RuntimeError("MPS backend out of memory"), MemoryError()])
def test_a_device_that_is_too_small_is_an_error_that_says_what_to_do(
    error: Exception, sections: Sequence[Section], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def does_not_fit(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(loop, "batch_losses", does_not_fit)
    with pytest.raises(UserError, match="batches of 16 spots; train again with a smaller --batch-size, more processes"):
        finish(fit(sections, settings(), tmp_path / "model.cmrcnet"))


def test_the_released_variant_keeps_out_a_fifth_of_the_spots_unless_told_otherwise() -> None:
    assert FitConfig(variant="released").validation == 0.2
    assert FitConfig(variant="released", validation="section:A").validation == "section:A"
    assert FitConfig(variant="paper").validation is None


@pytest.mark.parametrize("config", [FitConfig(), settings()], ids=lambda config: config.variant)
def test_sections_of_two_species_are_refused_before_any_work(
    sections: list[Section], tmp_path: Path, config: FitConfig
) -> None:
    mouse = sections[1].spots.copy()
    mouse.var_names = [f"Gene{i}" for i in range(mouse.n_vars)]
    sentence = (
        r"The sections S0 and S1 have no gene in common \(GENE0, .* and Gene0, .*\)\. The genes of S0 are named as "
        "those of human, those of S1 as of mouse: train on sections of one species"
    )
    with pytest.raises(UserError, match=sentence):
        next(fit([sections[0], replace(sections[1], spots=mouse)], config, tmp_path / "M.cmrcnet"))
    assert list(tmp_path.iterdir()) == []
