"""Each compared method has its published loss and start, learns what a patch shows, and predicts the same quantity."""

import math
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from napari_cmrcnet.benchmark.method_names import METHODS
from napari_cmrcnet.benchmark.methods import bleep as bleep_module
from napari_cmrcnet.benchmark.methods import features as features_module
from napari_cmrcnet.benchmark.methods.bleep import bleep_loss
from napari_cmrcnet.benchmark.methods.ctranspath import CTransPath
from napari_cmrcnet.benchmark.methods.eggn import EGGN, ExemplarBank, eggn_loss
from napari_cmrcnet.benchmark.methods.eggn_network import mean_of_sources, softmax_mean
from napari_cmrcnet.benchmark.methods.features import describe_patch, standardised_features
from napari_cmrcnet.benchmark.methods.histogene import HisToGene
from napari_cmrcnet.benchmark.methods.method import Fitted, Method, Task
from napari_cmrcnet.benchmark.methods.slide_regression import (
    SlideMethod,
    array_positions,
    nearest_neighbours,
)
from napari_cmrcnet.benchmark.methods.stnet import STNet, STNetwork, stnet_loss
from napari_cmrcnet.benchmark.methods.thitogene import THItoGene, squash
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.metrics import gene_sets, mean_pcc, pcc
from napari_cmrcnet.common.progress import Progress, finish
from napari_cmrcnet.model.frozen_encoders import encoder_named
from napari_cmrcnet.model.pretrained import with_weights
from napari_cmrcnet.retrieval.encode import to_input
from napari_cmrcnet.retrieval.frozen_features import field_features
from napari_cmrcnet.sections.expression import expression_of, shared_genes
from napari_cmrcnet.sections.nearby_spots import compact_blocks
from napari_cmrcnet.sections.panels import load_panel
from napari_cmrcnet.sections.section import Section, open_section
from napari_cmrcnet.sections.totals import TARGET_SUM, TargetSum
from napari_cmrcnet.slides.patch_cache import patch_cache
from napari_cmrcnet.slides.patches import PatchSpec

GENES = tuple(f"GENE{i}" for i in range(24))
SMALL = PatchSpec(32, 0.5)

# As published but for the sizes, and for learning rates that a few steps are enough for.
LEARNED: dict[str, dict[str, Any]] = {
    "stnet": {"encoder": "test_resnet", "batch_size": 16, "optimiser": "adam", "learning_rate": 3e-3, "epochs": 12},
    "histogene": {
        "dim": 32, "depth": 1, "heads": 2, "mlp_dim": 64, "dropout": 0.0, "learning_rate": 3e-3, "epochs": 200,
    },
    "bleep": {"encoder": "test_resnet", "dim": 32, "batch_size": 64, "accumulate": 1, "epochs": 20, "ks": (2,)},
    "eggn": {"dim": 32, "depth": 2, "learning_rate": 5e-3, "epochs": 40},
    "thitogene": {
        "capsules": 4, "capsule_dim": 16, "depth": 1, "heads": 2, "mlp_dim": 64, "graph_heads": 2, "graph_dim": 32,
        "graph_out": 64, "dropout": 0.0, "learning_rate": 3e-3, "epochs": 120,
    },
}  # fmt: skip

ELSEWHERE = {"cmrcnet", "cmrcnet-tuned", "cmrcnet-frozen", "frozen", "stnet-adam", "ctranspath"}
"""Methods with tests of their own: they need a checkpoint, an encoder or weights, or differ by a setting alone."""


@pytest.fixture(scope="module")
def sections(tmp_path_factory: pytest.TempPathFactory, write_section: Any, open_small: Any) -> tuple[Section, ...]:
    """Two sections of 64 spots, whose colour follows from their genes."""
    folder = tmp_path_factory.mktemp("baselines")
    return tuple(open_small(*write_section(folder, name, seed, side=8), name=name) for seed, name in enumerate("AB"))


def task(sections: tuple[Section, ...], **settings: Any) -> Task:
    return Task(sections, GENES, **({"patch": SMALL, "device": "cpu"} | settings))


def fitted(name: str, sections: tuple[Section, ...], settings: dict[str, Any] | None = None, **of_task: Any) -> Fitted:
    patch = PatchSpec(88, 0.5) if name == "thitogene" else SMALL  # its convolutions need 88 px
    return finish(METHODS[name](**(settings or LEARNED.get(name, {}))).fit(task(sections, patch=patch, **of_task)))


def measured(section: Section, target_sum: TargetSum = TARGET_SUM) -> np.ndarray:
    dense: np.ndarray = expression_of(section.spots, GENES, target_sum).toarray()
    return dense


def predicted_by(predictor: Fitted, section: Section) -> Any:
    """Return what a method predicts, with the first of several numbers of neighbours."""
    predicted = finish(predictor.predict(section))
    return next(iter(predicted.values())) if isinstance(predicted, dict) else predicted


def score(section: Section, predicted: np.ndarray) -> float:
    return mean_pcc(pcc(measured(section), predicted))


# --- what all have in common


@pytest.mark.parametrize("name", sorted(METHODS.keys() - ELSEWHERE))
def test_a_method_predicts_log_normalised_expression_of_every_spot_and_gene(
    name: str, sections: tuple[Section, ...]
) -> None:
    settings = LEARNED.get(name, {}) | ({"epochs": 1} if name in LEARNED else {})
    predictor = fitted(name, sections[:1], settings)
    predicted = predicted_by(predictor, sections[1])
    assert predicted.shape == (64, 24)
    assert predicted.dtype == np.float32
    assert np.isfinite(predicted).all()
    assert all(note.endswith(".") for note in predictor.notes)


@pytest.mark.parametrize("name", LEARNED)
def test_a_learned_method_overfits_64_spots(name: str, sections: tuple[Section, ...]) -> None:
    settings = LEARNED[name] | ({"validation": 0} if name == "bleep" else {})
    predicted = predicted_by(fitted(name, sections[:1], settings), sections[0])
    assert score(sections[0], predicted) > 0.8
    if name != "bleep":  # whose loss is none of expression
        truth = measured(sections[0])
        assert np.square(predicted - truth).mean() < 0.5 * truth.var(axis=0).mean()


@pytest.mark.parametrize("name", LEARNED)
def test_the_same_seed_gives_the_same_prediction(name: str, sections: tuple[Section, ...]) -> None:
    settings = LEARNED[name] | {"epochs": 2}
    first, again, other = (
        predicted_by(fitted(name, sections[:1], settings, seed=seed), sections[1]) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4


@pytest.mark.parametrize("name", LEARNED)
def test_a_training_reports_every_batch_and_can_be_stopped_at_any(name: str, sections: tuple[Section, ...]) -> None:
    patch = PatchSpec(88, 0.5) if name == "thitogene" else SMALL
    job = METHODS[name](**LEARNED[name]).fit(task(sections, patch=patch, epochs=2))
    seen = [progress for progress in job if progress.unit == "batches" and progress.step.startswith("Training")]
    batches = {"stnet": 8, "bleep": 2}.get(name, 2)  # 128 spots by 16, 102 by 64, else a slide a batch
    assert {(progress.done, progress.total) for progress in seen} == {
        (i, 2 * batches) for i in range(1, 2 * batches + 1)
    }
    assert [progress.done for progress in seen] == sorted(progress.done for progress in seen)
    job = METHODS[name](**LEARNED[name]).fit(task(sections, patch=patch))
    for progress in job:
        if progress.step.startswith("Training"):
            break
    job.close()


def test_methods_have_titles_of_their_own_and_say_which_need_weights() -> None:
    methods: dict[str, Method] = {name: make() for name, make in METHODS.items()}
    assert len({method.title for method in methods.values()}) == len(methods)
    assert [name for name, method in methods.items() if method.encoder_weights == "needed"] == ["ctranspath"]


def test_a_method_says_when_its_encoder_was_not_pretrained(sections: tuple[Section, ...], tmp_path: Path) -> None:
    import timm

    for name in ("stnet", "bleep"):
        (note,) = fitted(name, sections[:1], LEARNED[name] | {"epochs": 1}).notes
        assert "trained from scratch; as published, its test_resnet starts from ImageNet" in note
    (note,) = fitted("eggn", sections[:1], LEARNED["eggn"] | {"epochs": 1}).notes
    assert "colour and texture features instead of those of a pretrained ResNet-18" in note
    torch.save(timm.create_model("test_resnet", num_classes=10).state_dict(), tmp_path / "weights.pth")
    for name in ("stnet", "bleep"):
        settings = LEARNED[name] | {"epochs": 1, "encoder": "test_resnet"}
        assert fitted(name, sections[:1], settings, weights=tmp_path / "weights.pth").notes == []


# --- baselines


def test_the_training_mean_is_the_mean_of_all_training_spots(sections: tuple[Section, ...]) -> None:
    predicted = finish(fitted("mean", sections).predict(sections[0]))
    expected = np.concatenate([measured(section) for section in sections]).mean(axis=0)
    np.testing.assert_allclose(predicted, np.tile(expected, (64, 1)), rtol=1e-6)
    assert np.isnan(pcc(measured(sections[0]), predicted)).all()


def test_features_of_a_patch_worked_by_hand() -> None:
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None, None], (64, 64, 3)).copy()  # row r has the grey r
    found = describe_patch(ramp)
    assert found.shape == (23,)
    np.testing.assert_allclose(found[:3], 31.5 / 255)
    np.testing.assert_allclose(found[3:6], np.arange(64).std() / 255)
    assert found[21:].tolist() == [1, 8]  # one grey value a row, eight every eighth row
    red = describe_patch(np.full((64, 64, 3), (200, 10, 10), np.uint8))
    np.testing.assert_allclose(red[:6], [200 / 255, 10 / 255, 10 / 255, 0, 0, 0], atol=1e-12)
    assert (red[6:9] == red[18:21]).all()  # of one colour, all percentiles are one
    assert red[21:].tolist() == [0, 0]


def test_features_are_standardised_in_each_section_and_described_once(
    sections: tuple[Section, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = finish(standardised_features(sections[0], SMALL))
    varying = first.std(axis=0) > 0
    assert varying.sum() >= 20
    np.testing.assert_allclose(first.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(first[:, varying].std(axis=0), 1)

    def not_again(_: object) -> None:
        raise AssertionError("described again")

    monkeypatch.setattr(features_module, "describe_patch", not_again)
    np.testing.assert_array_equal(finish(standardised_features(sections[0], SMALL)), first)


def test_ridge_is_the_solution_of_its_equation(sections: tuple[Section, ...]) -> None:
    predicted = finish(fitted("ridge", sections[:1], {"alpha": 3.0}).predict(sections[1]))
    x, y = finish(standardised_features(sections[0], SMALL)), measured(sections[0])
    weights = np.linalg.solve(x.T @ x + 3 * np.eye(23), x.T @ (y - y.mean(axis=0)))  # x is centred
    expected = finish(standardised_features(sections[1], SMALL)) @ weights + y.mean(axis=0)
    np.testing.assert_allclose(predicted, expected, atol=1e-4)
    assert score(sections[1], predicted) > 0.7  # colour follows from the genes


def test_nearest_averages_the_training_spots_of_most_similar_features(sections: tuple[Section, ...]) -> None:
    itself = finish(fitted("nearest", sections, {"k": 1}).predict(sections[1]))
    np.testing.assert_allclose(itself, measured(sections[1]), rtol=1e-6)
    predicted = finish(fitted("nearest", sections[:1], {"k": 2}).predict(sections[1]))
    bank, query = (finish(standardised_features(section, SMALL)) for section in sections)
    for spot in (0, 30, 63):
        order = np.argsort(((bank - query[spot]) ** 2).sum(axis=1))
        np.testing.assert_allclose(predicted[spot], measured(sections[0])[order[:2]].mean(axis=0), rtol=1e-5)
    everything = finish(fitted("nearest", sections[:1], {"k": 1000}).predict(sections[1]))
    np.testing.assert_allclose(everything[7], measured(sections[0]).mean(axis=0), rtol=1e-5)


def test_the_ceiling_averages_the_spots_around(sections: tuple[Section, ...]) -> None:
    predicted = finish(fitted("ceiling", sections).predict(sections[0]))
    truth = measured(sections[0])  # on a square of 8 × 8
    np.testing.assert_allclose(predicted[0], truth[[1, 8, 9]].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(predicted[9], truth[[0, 1, 2, 8, 10, 16, 17, 18]].mean(axis=0), rtol=1e-5)
    some = [0, 1, 2, 8, 9, 10, 63]  # the last has none around; the nearest is spot 10
    fewer = replace(sections[0], spots=sections[0].spots[some].copy())
    alone = finish(fitted("ceiling", sections).predict(fewer))[-1]
    np.testing.assert_allclose(alone, truth[10], rtol=1e-6)


def test_ridge_reproduces_the_known_scores_of_the_baseline_on_real_sections(real_data: Path) -> None:
    names = ("C2", "C3", "C4", "C5")
    *training, test = (
        open_section(real_data / "her2st" / f"{name}.tif", real_data / "her2st" / f"{name}.h5ad", name=name, mpp=0.5)
        for name in names  # as if pixels were the patches' own: the script takes them as they are
    )
    genes = shared_genes([*training, test])
    asked = Task(tuple(training), tuple(genes), PatchSpec(224, 0.5))
    predicted = finish(finish(METHODS["ridge"]().fit(asked)).predict(test))
    truth = expression_of(test.spots, genes).toarray()
    correlation = dict(zip(genes, pcc(truth, predicted), strict=True))
    sets = gene_sets(truth.mean(axis=0), truth.var(axis=0), genes, load_panel("idc").genes)
    scores = [mean_pcc([correlation[gene] for gene in chosen]) for chosen in sets.values()]
    # Of the script beside the data; its padding and rounding of the patches' corners differ a little.
    assert scores == pytest.approx([0.251, 0.333, 0.150], abs=0.003)
    for section in (*training, test):
        section.slide.close()


# --- ST-Net


def test_stnet_loss_sums_over_spots_and_averages_over_genes() -> None:
    predicted, truth = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.0, 2.0], [1.0, 1.0]])
    assert stnet_loss(predicted, truth).item() == (1 + 0 + 4 + 9) / 2


def test_stnet_starts_at_the_training_mean(sections: tuple[Section, ...]) -> None:
    network = STNetwork(STNet(encoder="test_resnet"), task(sections)).eval()
    mean = torch.linspace(0, 3, 24)
    network.start_at(mean)
    predicted = network(torch.randn(5, 3, 32, 32))
    torch.testing.assert_close(predicted, mean.expand(5, 24))
    # With the published rate, 64 spots hardly move it from there.
    settings = {"encoder": "test_resnet", "epochs": 1}
    predicted_late = finish(fitted("stnet", sections[:1], settings).predict(sections[1]))
    assert np.abs(predicted_late - measured(sections[0]).mean(axis=0)).max() < 0.05


def test_predicted_depth_is_a_ridge_on_log_totals_chosen_within_training(sections: tuple[Section, ...]) -> None:
    from sklearn.linear_model import Ridge

    changed = []
    for seed, section in enumerate(sections):
        latent = np.random.default_rng(seed).random(64)  # what `write_section` colours the spots by
        spots = section.spots.copy()
        counts = np.random.default_rng(9).poisson(np.exp(2 + 2 * latent)[:, None] / 5, spots.shape)
        spots.X = type(spots.X)(counts.astype(np.float32))
        changed.append(replace(section, spots=spots))
    depth = [np.log1p(section.spots.X.toarray().sum(axis=1)) for section in changed]
    features = [finish(standardised_features(section, SMALL)) for section in changed]
    penalties = (1e-3, 30.0, 1e6)
    predictor = finish(METHODS["depth"](penalties=penalties).fit(task(tuple(changed))))
    errors = {}
    for penalty in penalties:  # each training section is left out in turn
        rest = [
            depth[out] - Ridge(alpha=penalty).fit(features[1 - out], depth[1 - out]).predict(features[out])
            for out in (0, 1)
        ]
        errors[penalty] = sum(np.square(one - one.mean()).sum() for one in rest)
    best = min(errors, key=lambda penalty: errors[penalty])
    assert best == 30.0  # no end of the list
    expected = Ridge(alpha=best).fit(np.concatenate(features), np.concatenate(depth)).predict(features[1])
    unmeasured = changed[1].spots.copy()
    unmeasured.X = None  # what is predicted is read from the picture alone
    predicted = finish(predictor.predict(replace(changed[1], spots=unmeasured)))
    np.testing.assert_allclose(predicted, np.repeat(expected[:, None], len(GENES), axis=1), rtol=1e-5)
    assert np.corrcoef(predicted[:, 0], depth[1])[0, 1] > 0.8
    alone = finish(METHODS["depth"]().fit(task(tuple(changed[:1]))))  # its parts are left out in turn
    assert finish(alone.predict(changed[1])).shape == (64, 24)


def kept_networks(monkeypatch: pytest.MonkeyPatch, where: str) -> list[Any]:
    """Return a list that gets every network of a class that is made from now on."""
    module, _, name = where.rpartition(".")
    made: list[Any] = []
    network: Any = getattr(import_module(f"napari_cmrcnet.benchmark.methods.{module}"), name)

    def make(*given: Any) -> Any:
        made.append(network(*given))
        return made[-1]

    monkeypatch.setattr(f"napari_cmrcnet.benchmark.methods.{where}", make)
    return made


def test_stnet_averages_over_the_symmetries_of_a_patch(
    sections: tuple[Section, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = kept_networks(monkeypatch, "stnet.STNetwork")
    colours = [(0.6, 0.5, 0.4), (0.2, 0.3, 0.4)]
    monkeypatch.setattr("napari_cmrcnet.benchmark.methods.stnet._colour", lambda *_: colours)
    predictor = fitted("stnet", sections[:1], LEARNED["stnet"] | {"epochs": 1})
    patches = torch.from_numpy(np.array(finish(patch_cache(sections[1], SMALL))))
    turned = [each.rot90(turns, (1, 2)) for each in (patches, patches.flip(1)) for turns in range(4)]
    mean, deviation = (torch.tensor(part)[:, None, None] for part in colours)
    with torch.inference_mode():
        each = torch.stack([made[0]((one.permute(0, 3, 1, 2) / 255 - mean) / deviation) for one in turned])
    predicted = finish(predictor.predict(sections[1]))
    torch.testing.assert_close(torch.from_numpy(predicted), each.mean(dim=0), rtol=1e-4, atol=1e-5)
    assert (each[0] - each[1]).abs().max() > 1e-4


# --- BLEEP


def test_bleep_loss_worked_by_hand() -> None:
    # I = (1, 0)ᵀ, S = (0, 1)ᵀ: (I Iᵀ + S Sᵀ) / 2 = [[.5, 0], [0, .5]], so that the target is [[a, b], [b, a]] with
    # b = 1 / (e^.5 + 1). S Iᵀ = [[0, 0], [1, 0]]: CE = (log 2, log(1 + e) - b); I Sᵀ = [[0, 1], [0, 0]] the other way.
    image, gene = torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0], [1.0]])
    uneven = math.log(1 + math.e) - 1 / (math.exp(0.5) + 1)
    assert bleep_loss(image, gene).item() == pytest.approx((uneven + math.log(2)) / 2, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_bleep_loss_equals_a_slow_reference(temperature: float) -> None:
    rng = np.random.default_rng(0)
    image, gene = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))

    def log_softmax(row: np.ndarray) -> np.ndarray:
        return row - math.log(sum(math.exp(value) for value in row))

    logits = gene @ image.T / temperature
    target = np.array([np.exp(log_softmax(row)) for row in (image @ image.T + gene @ gene.T) / 2 * temperature])
    spots = [-(target[i] * log_softmax(logits[i])).sum() for i in range(5)]
    images = [-(target.T[i] * log_softmax(logits.T[i])).sum() for i in range(5)]
    expected = (np.mean(spots) + np.mean(images)) / 2
    found = bleep_loss(torch.tensor(image), torch.tensor(gene), temperature).item()
    assert found == pytest.approx(expected, rel=1e-12)


def test_bleep_averages_the_nearest(sections: tuple[Section, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    made = kept_networks(monkeypatch, "bleep.BLEEPNetwork")
    settings = LEARNED["bleep"] | {"epochs": 3}
    each = finish(fitted("bleep", sections[:1], settings | {"ks": (5, 9)}).predict(sections[1]))  # one search for all k
    truth = measured(sections[0])
    assert list(each) == ["5", "9"]
    embed = made[0].eval()
    patches = finish(patch_cache(sections[1], SMALL))
    with torch.inference_mode():
        image = embed.embed_image(to_input(torch.from_numpy(np.array(patches)))).numpy()
        gene = embed.embed_genes(torch.from_numpy(measured(sections[0], "median"))).numpy()
    cosine = image @ gene.T / np.linalg.norm(image, axis=1)[:, None] / np.linalg.norm(gene, axis=1)
    for spot in (0, 40):
        five = np.argsort(-cosine[spot])[:5]
        np.testing.assert_allclose(each["5"][spot], truth[five].mean(axis=0), rtol=1e-4)
    alone = finish(fitted("bleep", sections[:1], settings | {"ks": (9,)}).predict(sections[1]))
    np.testing.assert_array_equal(each["9"], alone["9"])


def test_bleep_keeps_the_epoch_of_least_validation_loss(
    sections: tuple[Section, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def predicted(*losses: float) -> np.ndarray:
        left = list(losses)

        def scripted(image: torch.Tensor, *rest: Any) -> torch.Tensor:
            if torch.is_grad_enabled():
                return bleep_loss(image, *rest)
            return torch.tensor(left.pop(0))  # of all 13 spots that are held out, one batch

        monkeypatch.setattr(bleep_module, "bleep_loss", scripted)
        settings = LEARNED["bleep"] | {"epochs": len(losses)}
        return np.asarray(predicted_by(fitted("bleep", sections[:1], settings), sections[1]))

    np.testing.assert_array_equal(predicted(3, 1, 2), predicted(2, 1))
    assert np.abs(predicted(3, 1, 2) - predicted(3, 2, 1)).max() > 1e-3


def test_bleeps_validation_loss_is_that_of_a_fifth_of_the_spots(
    sections: tuple[Section, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = kept_networks(monkeypatch, "bleep.BLEEPNetwork")
    losses: list[float] = []
    job = METHODS["bleep"](**LEARNED["bleep"] | {"epochs": 2}).fit(task(sections[:1]))

    def note(progress: Progress) -> None:
        if "validation loss" in progress.values:
            losses.append(progress.values["validation loss"])

    finish(job, note)
    assert len(losses) == 2
    held_out = np.sort(np.random.default_rng(0).permutation(64)[:13])
    patches = finish(patch_cache(sections[0], SMALL))[held_out]
    with torch.inference_mode():
        image = made[0].embed_image(to_input(torch.from_numpy(np.array(patches))))
        gene = made[0].embed_genes(torch.from_numpy(measured(sections[0], "median")[held_out]))
    assert bleep_loss(image, gene).item() == pytest.approx(min(losses), rel=1e-4)


# --- HisToGene and THItoGene


class Constant(nn.Module):
    """Predicts the same for every spot: its best is the mean of the target."""

    def __init__(self, n_genes: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(n_genes))

    def forward(self, patches: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return self.values.expand(len(patches), -1)


def built_by(build: Callable[[int], nn.Module], **settings: Any) -> SlideMethod:
    class Other(SlideMethod):
        name = title = "other"

        def build(self, n_genes: int, *_: int) -> nn.Module:
            return build(n_genes)

    return Other(**settings)


def test_slides_are_regressed_to_log10_and_predicted_as_natural_logarithms(sections: tuple[Section, ...]) -> None:
    network = Constant(24)
    predictor = finish(built_by(lambda _: network, epochs=200, learning_rate=0.05).fit(task(sections[:1])))
    share = np.expm1(measured(sections[0]))  # counts of 10,000
    expected = np.log10(1 + share).mean(axis=0)
    np.testing.assert_allclose(network.values.detach().numpy(), expected, atol=1e-3)
    np.testing.assert_allclose(finish(predictor.predict(sections[1]))[5], expected * np.log(10), atol=3e-3)


def test_a_window_that_covers_the_slide_is_full_attention(sections: tuple[Section, ...]) -> None:
    settings = LEARNED["histogene"] | {"epochs": 2}
    full = fitted("histogene", sections[:1], settings)
    covering = fitted("histogene", sections[:1], settings | {"window": 64, "full_attention": 10})
    divided = fitted("histogene", sections[:1], settings | {"window": 16, "full_attention": 10})
    predicted = [finish(predictor.predict(sections[1])) for predictor in (full, covering, divided)]
    np.testing.assert_array_equal(predicted[0], predicted[1])
    assert np.abs(predicted[0] - predicted[2]).max() > 1e-3
    assert full.notes == []
    assert [note.split(":")[0] for note in divided.notes] == [
        "HisToGene read A in windows of at most 16 neighbouring spots",
        "HisToGene read B in windows of at most 16 neighbouring spots",
    ]


def test_windows_are_compact_and_hold_every_spot_once() -> None:
    rows, columns = np.divmod(np.arange(400), 20)
    xy = np.stack([columns, rows], axis=1) * 10.0
    parts = compact_blocks(xy, 50)
    assert sorted(np.concatenate(parts).tolist()) == list(range(400))
    assert all(25 <= len(part) <= 50 for part in parts)
    assert all(np.ptp(xy[part], axis=0).max() <= 90 for part in parts)
    assert len(compact_blocks(xy, 400)) == 1


def test_array_positions_come_from_the_array_or_from_the_lattice(sections: tuple[Section, ...]) -> None:
    counted = array_positions(sections[0])
    assert counted[:3].tolist() == [[0, 0], [1, 0], [2, 0]]
    assert counted[-1].tolist() == [7, 7]
    spots = sections[0].spots.copy()
    spots.obs["array_row"], spots.obs["array_col"] = np.arange(64) + 3, 100
    assert array_positions(replace(sections[0], spots=spots))[2].tolist() == [100, 5]


def test_positions_beyond_those_learned_are_said(sections: tuple[Section, ...]) -> None:
    spots = sections[1].spots.copy()
    spots.obs["array_row"], spots.obs["array_col"] = np.arange(64) + 10, 5
    predictor = fitted("histogene", sections[:1], LEARNED["histogene"] | {"epochs": 1})
    assert np.isfinite(finish(predictor.predict(replace(sections[1], spots=spots)))).all()
    assert "B has 10 spots beyond the array positions" in predictor.notes[0]


def test_histogene_reads_raw_values_of_the_middle_of_a_patch(sections: tuple[Section, ...]) -> None:
    seen: list[torch.Tensor] = []

    class Spy(Constant):
        def forward(self, patches: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
            seen.append(patches)
            return super().forward(patches, *rest)

    finish(built_by(Spy, epochs=1, learning_rate=0.1).fit(task(sections[:1])))
    patches = finish(patch_cache(sections[0], SMALL))
    expected = np.array(patches[:, 8:24, 8:24]).transpose(0, 3, 1, 2).astype(np.float32)
    np.testing.assert_array_equal(seen[0].numpy(), expected)


def test_the_published_sizes_are_those_of_the_authors() -> None:
    with torch.device("meta"):
        network = THItoGene().build(1000, 64, 112)
        histogene = HisToGene().build(785, 64, 112)

    def parameters(*modules: nn.Module) -> int:
        return sum(weights.numel() for module in modules for weights in module.parameters())

    # as their log prints them: 3.8 K, 317 K, twice 4.1 K, 46.2 M, 15.7 M and 1.6 M
    assert parameters(network.patch[0]) == 3815
    assert parameters(network.patch[2]) == pytest.approx(317_000, rel=0.002)
    assert parameters(network.position) == 2 * 4096
    assert parameters(network.transformer) == pytest.approx(46.2e6, rel=0.002)
    assert parameters(network.graph, network.graph_out) == pytest.approx(15.7e6, rel=0.004)
    assert parameters(network.head) == pytest.approx(1.6e6, rel=0.05)
    assert histogene.patch.weight.shape == (1024, 37632)
    assert len(histogene.transformer) == 8


def test_squash_worked_by_hand() -> None:
    short = squash(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(short, [[0.6 * (1 - math.exp(-5)), 0.8 * (1 - math.exp(-5))], [0, 0]], rtol=1e-6)


def test_neighbours_leave_the_spot_itself_out() -> None:
    xy = np.array([[0.0, 0.0], [1.0, 0.0], [3.0, 0.0], [3.0, 0.0]])
    assert nearest_neighbours(xy, 1).ravel().tolist() == [1, 0, 3, 2]
    assert sorted(nearest_neighbours(xy, 9)[0].tolist()) == [1, 2, 3]
    assert nearest_neighbours(xy[:1], 4).tolist() == [[0]]


def test_thitogene_refuses_patches_that_its_convolutions_use_up(sections: tuple[Section, ...]) -> None:
    with pytest.raises(UserError, match="at least 88 px, not 32"):
        finish(THItoGene().fit(task(sections)))


# --- EGGN


def test_eggn_loss_worked_by_hand() -> None:
    truth = torch.tensor([[0.0], [1.0]])
    assert eggn_loss(truth, truth).item() == pytest.approx(0, abs=1e-5)
    assert eggn_loss(1 - truth, truth).item() == pytest.approx(1 + (1 + 1) / 2, abs=1e-5)
    constant = torch.tensor([[0.5], [0.5]])
    assert eggn_loss(constant, truth).item() == pytest.approx(0.25 + 1 / 2, abs=1e-5)


def test_messages_are_averaged_by_node() -> None:
    messages = torch.tensor([[1.0], [3.0], [7.0]])
    target = torch.tensor([0, 0, 2])
    assert mean_of_sources(messages, target, 3).ravel().tolist() == [2, 0, 7]
    scores = torch.tensor([[0.0], [math.log(3)], [100.0]])
    np.testing.assert_allclose(softmax_mean(messages, scores, target, 3).ravel(), [(1 + 3 * 3) / 4, 0, 7], rtol=1e-6)


@pytest.mark.parametrize("alone", [False, True])
def test_exemplars_never_hold_the_spot_that_is_learned(sections: tuple[Section, ...], alone: bool) -> None:
    training = sections[:1] if alone else sections
    features = [finish(standardised_features(section, SMALL)).astype(np.float32) for section in training]
    bank = ExemplarBank(features, list(map(measured, training)), 3, torch.device("cpu"))
    graph = finish(bank.graph(sections[0], features[0], training=0))
    exemplar, spot = graph.refer
    assert torch.bincount(spot).tolist() == [3] * 64
    same = (graph.exemplars[exemplar] == graph.spots[spot]).all(dim=1)
    assert not same.any()
    if not alone:  # of the other section
        other = features[1]
        nearest = np.argsort(np.abs(other - features[0][5]).sum(axis=1))[:3]
        np.testing.assert_array_equal(
            np.sort(graph.exemplars[exemplar[spot == 5]].numpy()[:, 0]), np.sort(other[nearest, 0])
        )
    around = graph.near[0][graph.near[1] == 0]
    assert sorted(around.tolist()) == [1, 8, 9]


def test_eggn_has_the_settings_of_its_readme() -> None:
    eggn = EGGN()
    assert (eggn.epochs, eggn.learning_rate, eggn.weight_decay) == (300, 5e-4, 1e-4)
    assert (eggn.dim, eggn.exemplars, eggn.depth) == (512, 6, 4)


# --- cTransPath


def test_ctranspaths_regression_is_that_of_hest_bench(
    sections: tuple[Section, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import timm
    from sklearn.decomposition import PCA

    architecture = {"model_name": "test_vit", "img_size": 64}
    small = replace(encoder_named("ctranspath"), name="small", px=64, width=64, architecture=architecture)
    monkeypatch.setattr("napari_cmrcnet.model.frozen_encoders.frozen_encoders", lambda: {"small": small})
    torch.manual_seed(0)
    torch.save(timm.create_model("test_vit", img_size=64, num_classes=10).state_dict(), tmp_path / "weights.pth")
    asked = task(sections[:1], weights=tmp_path / "weights.pth")
    predictor = finish(CTransPath("small", components=10).fit(asked))
    predicted = finish(predictor.predict(sections[1]))
    encoder, patch = with_weights("small", tmp_path / "weights.pth"), PatchSpec(64, 0.25)  # as wide as `SMALL`
    each = (finish(field_features(section, patch, encoder)) for section in sections)
    train, test = (features.astype(np.float64) for features in each)
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    deviation[deviation == 0] = 1
    components = PCA(10, random_state=0).fit((train - mean) / deviation)
    x, y = components.transform((train - mean) / deviation), measured(sections[0])
    weights = np.linalg.solve(x.T @ x + 100 / (10 * 24) * np.eye(10), x.T @ y)  # hest-bench's, without an intercept
    expected = components.transform((test - mean) / deviation) @ weights + y.mean(axis=0)
    np.testing.assert_allclose(predicted, expected, atol=0.02)
    assert score(sections[1], predicted) > 0.6


def test_ctranspath_asks_for_its_weights(sections: tuple[Section, ...], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cTransPath needs its weights; give their file"):
        finish(CTransPath().fit(task(sections)))
    with pytest.raises(UserError, match=r"none\.pth does not exist"):
        finish(CTransPath().fit(task(sections, weights=tmp_path / "none.pth")))
    assert CTransPath("uni").title == encoder_named("uni").title


# --- ST-Net


def test_stnet_knows_two_optimisers() -> None:
    assert METHODS["stnet"]().title == "ST-Net"
    assert METHODS["stnet-adam"]().title == "ST-Net (Adam)"


def test_a_loss_that_is_not_finite_ends_the_training(sections: tuple[Section, ...]) -> None:
    settings = LEARNED["stnet"] | {"optimiser": "sgd", "learning_rate": 1e20}
    with pytest.raises(UserError, match="loss of ST-Net is not finite in epoch 1"):
        fitted("stnet", sections[:1], settings)
