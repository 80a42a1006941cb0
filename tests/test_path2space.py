"""Path2Space with a small stand-in for its weights, in the layout that its archive has."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import timm
import torch
from PIL import Image
from sklearn.linear_model import Lasso

from napari_cmrcnet.cli import main
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.model import frozen_encoders as listed
from napari_cmrcnet.model.conv_stem import ConvStem
from napari_cmrcnet.model.frozen_encoders import encoder_named
from napari_cmrcnet.retrieval import path2space
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.retrieval.ready import predict_ready
from napari_cmrcnet.retrieval.ready_folder import PATH2SPACE, ready_in
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.slides.stain_normalisation import SPARSITY, TARGET, TARGET_MOST, normalise_stain, stain_amounts
from napari_cmrcnet.viewer.registry import session_of
from napari_cmrcnet.widgets.job_run import _RUNNING

FEATURES, FOLDS = 192, (2, 3)
MPP, GLASS = 4.0, (7, 18)
GENES = ("GENE3", "GENE1", "OTHER", "GENE7")


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder as the archive unpacks, of 2 × 3 networks on a narrow cTransPath."""
    known = encoder_named("ctranspath")
    narrow = replace(known, width=FEATURES, architecture={**known.architecture, "embed_dim": FEATURES // 8})
    monkeypatch.setattr(listed, "frozen_encoders", lambda: {"ctranspath": narrow})
    monkeypatch.setattr(path2space, "FOLDS", FOLDS)
    folder = tmp_path / "weights"
    folder.mkdir()
    torch.manual_seed(2)
    state = swin().state_dict()  # a new network says nearly the same of all patches
    torch.save(
        {"model": {name: 4 * one if one.ndim > 1 else one for name, one in state.items()}}, folder / "ctranspath.pth"
    )
    (folder / "genes.txt").write_text("\n".join(GENES) + "\n")
    for outer in range(FOLDS[0]):
        for inner in range(FOLDS[1]):
            place = folder / "mlp_ensemble" / f"result_{outer}_{inner}_0"
            place.mkdir(parents=True)
            torch.save(
                {
                    "layer0.0.weight": torch.randn(FEATURES, FEATURES),
                    "layer0.0.bias": torch.randn(FEATURES),
                    "layer1.0.weight": torch.randn(len(GENES), FEATURES) / 14,
                    "layer1.0.bias": torch.randn(len(GENES)),
                },
                place / "model_trained.pth",
            )
    return folder


def swin() -> Any:
    return timm.create_model(
        "swin_tiny_patch4_window7_224", num_classes=0, embed_layer=ConvStem, embed_dim=FEATURES // 8
    ).eval()


@pytest.fixture
def section(
    tmp_path: Path,
    write_section: Callable[..., Any],
    open_small: Callable[..., Section],
    monkeypatch: pytest.MonkeyPatch,
) -> Section:
    """A section of 5 × 5 spots with pixels of 4 µm; a patch has 25 of them. Spots 7 and 18 lie on glass."""
    monkeypatch.setenv("CMRCNET_CACHE", str(tmp_path / "cache"))
    slide, spots = write_section(tmp_path, "A", 1, 5)
    image = tifffile.imread(slide)
    for row, column in (divmod(spot, 5) for spot in GLASS):
        image[32 * row : 32 * row + 32, 32 * column : 32 * column + 20] = 240  # 20 of the 32 pixels around it
    tifffile.imwrite(slide, image, tile=(64, 64), photometric="rgb")
    return open_small(slide, spots, name="A", mpp=MPP)


def expected(section: Section, weights: Path) -> np.ndarray:
    """Predict as published: features, each network, the mean of the inner folds, then of the outer, smoothed."""
    image = tifffile.imread(section.slide.path)
    patches = []
    for x, y in np.delete(section.xy, GLASS, axis=0).astype(int):
        normalised = normalise_stain(image[y - 12 : y + 13, x - 12 : x + 13])
        patches.append(np.asarray(Image.fromarray(normalised).resize((224, 224), Image.Resampling.BILINEAR)))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    network = swin()
    network.load_state_dict(torch.load(weights / "ctranspath.pth", weights_only=True)["model"])
    with torch.inference_mode():
        x = network(((torch.from_numpy(np.array(patches)) / 255 - mean) / std).permute(0, 3, 1, 2))
    outer_means = []
    for outer in range(FOLDS[0]):
        inner = []
        for number in range(FOLDS[1]):
            file = weights / "mlp_ensemble" / f"result_{outer}_{number}_0" / "model_trained.pth"
            own = torch.load(file, weights_only=True)
            hidden = torch.relu(x @ own["layer0.0.weight"].T + own["layer0.0.bias"])
            inner.append(torch.relu(hidden @ own["layer1.0.weight"].T + own["layer1.0.bias"]))
        outer_means.append(torch.stack(inner).mean(dim=0))
    predicted = torch.stack(outer_means).mean(dim=0).numpy()
    cells = np.delete(section.xy, GLASS, axis=0)
    cells = ((cells - cells.min(axis=0)) / 25 + 1).astype(int)
    near = ((cells[:, None] - cells[None]) ** 2).sum(axis=2) <= 4
    assert near.sum(axis=1).min() > 1
    assert near.sum(axis=1).max() < len(cells)
    return np.array([predicted[rows].mean(axis=0) for rows in near])


def test_it_predicts_what_its_networks_say(section: Section, weights: Path, tmp_path: Path) -> None:
    assert ready_in(weights) is PATH2SPACE
    assert ready_in(tmp_path) is None
    values = expected(section, weights)
    assert values.std(axis=0).min() > 0.01
    found = finish(predict_ready(section, weights, PATH2SPACE, PredictConfig(device="cpu")))
    for column, gene in enumerate(GENES):
        np.testing.assert_allclose(found.gene(gene), values[:, column], rtol=1e-4, atol=1e-4)
    assert found.neighbours.shape == (23, 0)
    assert (found.name, found.provenance.mpp) == ("A", section.mpp)
    assert found.provenance.external == str(weights.resolve())
    notes = " ".join(found.provenance.notes)
    assert "Left out 2 of 25 measured spots: no value" in notes
    assert "Predicted by Path2Space; no value has training spots behind it." in notes


def test_predict_takes_the_folder_and_its_result_opens(
    section: Section, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, spots = tmp_path / "A_predicted.h5ad", section.spots.uns["cmrcnet"]["path"]
    command = ["predict", "--checkpoint", str(weights), "--device", "cpu"]
    asked = [*command, "--slide", str(section.slide.path), "--mpp", str(MPP), "--out", str(out)]
    assert main([*asked, "--spots", str(spots)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"{len(GENES)} genes at 23 spots" in said
    again = Prediction.load(out)
    np.testing.assert_allclose(again.gene("GENE7"), expected(section, weights)[:, 3], rtol=1e-4, atol=1e-4)
    assert again.neighbours.size == 0
    assert main([*asked, "--spots", str(spots), "--overwrite", "--k", "5"]) == 1
    assert "averages no training spots; leave k out" in " ".join(capsys.readouterr().err.split())
    (tmp_path / "sheet.csv").write_text("section,slide,spots,patient\n")
    with pytest.raises(SystemExit):
        main([*command, str(tmp_path / "sheet.csv")])
    assert "predicts one slide at a time; give --slide" in " ".join(capsys.readouterr().err.split())


@pytest.mark.qt("pyside6")
@pytest.mark.usefixtures("undrawn")
def test_the_predict_panel_takes_the_folder(napari_window: Any, qtbot: Any, section: Section, weights: Path) -> None:
    panel = napari_window.window.add_plugin_dock_widget("napari-cmrcnet", "Predict")[1]
    session = session_of(napari_window)
    panel.form.choose(Path(section.slide.path), Path(section.spots.uns["cmrcnet"]["path"]))
    panel.form.checkpoint.set_path(weights)
    panel.form.mpp.setValue(MPP)
    qtbot.waitUntil(panel.run.isEnabled, timeout=60_000)
    assert "it uses no training spots" in panel.inspection.lines["checkpoint"]
    panel.run.click()
    qtbot.waitUntil(lambda: session.prediction is not None and not panel.jobs.busy, timeout=60_000)
    np.testing.assert_allclose(session.prediction.gene("GENE7"), expected(section, weights)[:, 3], rtol=1e-4, atol=1e-4)
    qtbot.waitUntil(lambda: not _RUNNING)  # the intervals of its genes


def test_what_is_missing_or_another_is_told(section: Section, weights: Path) -> None:
    def predict() -> Prediction:
        return finish(predict_ready(section, weights, PATH2SPACE, PredictConfig(device="cpu")))

    one = weights / "mlp_ensemble" / "result_1_2_0" / "model_trained.pth"
    (weights / "genes.txt").write_text("\n".join(GENES[:3]))
    with pytest.raises(
        UserError, match=r"is not a network of Path2Space with the genes of genes\.txt: layer1\.0\.weight"
    ):
        predict()
    (weights / "genes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"genes\.txt is not a readable list of genes"):
        predict()
    one.unlink()
    with pytest.raises(UserError, match=r"result_1_2_0.model_trained\.pth: Path2Space lacks 1 of 6 networks"):
        predict()


def test_a_patch_without_edges_is_left_out() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)
    assert path2space._has_edges(noise)  # these two as in the authors' own test
    assert not path2space._has_edges(np.full((224, 224, 3), 240, np.uint8))
    ramp = np.repeat(np.arange(0, 224, 1, np.uint8)[None], 224, axis=0)
    for steepness, kept in ((3, False), (4, True)):  # by Sobel 8 a step, of which half counts: 12 and 16
        assert path2space._has_edges(np.stack([(ramp % 60) * steepness] * 3, axis=2)) is kept


def test_stains_of_a_patch_become_those_of_the_target() -> None:
    rng = np.random.default_rng(0)
    stains = np.array([[0.75, 0.60, 0.28], [0.05, 0.95, 0.30]])
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    amounts = rng.gamma(1.0, (0.2, 0.2), (64 * 64, 2)) * (rng.random((64 * 64, 2)) < 0.7)
    drawn = (255 * np.exp(-amounts @ stains)).round().astype(np.uint8).reshape(64, 64, 3)
    normalised = normalise_stain(drawn)
    assert normalised is not None
    scaled = amounts * (TARGET_MOST / np.percentile(amounts, 99, axis=0))
    wanted = 255 * np.exp(-scaled @ TARGET).reshape(64, 64, 3)
    before, after = np.abs(drawn - wanted).mean(), np.abs(normalised - wanted).mean()
    assert after < before / 4, (after, before)
    assert normalise_stain(np.full((64, 64, 3), 255, np.uint8)) is None
    assert normalise_stain(np.zeros((64, 64, 3), np.uint8)) is None


def test_amounts_are_those_of_a_lasso_without_negative_ones() -> None:
    rng = np.random.default_rng(1)
    stains = TARGET / np.linalg.norm(TARGET, axis=1, keepdims=True)
    density = rng.normal(0.3, 0.5, (200, 3))
    lasso = Lasso(alpha=SPARSITY / 3, fit_intercept=False, positive=True, tol=1e-10, max_iter=100_000)
    wanted = np.array([lasso.fit(stains.T, one).coef_ for one in density])
    np.testing.assert_allclose(stain_amounts(density, stains), wanted, atol=1e-5)
