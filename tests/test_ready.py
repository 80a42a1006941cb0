"""STPath and DeepSpot-M with stand-ins for the packages they run through, of the same names and signatures.

Read from lazyslide-models 0.1.0 (`feature_prediction/stpath`) and deepspotm 1.0.0 (`model.py`).
"""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_cmrcnet.cli import main
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.model import frozen_encoders as listed
from napari_cmrcnet.model.frozen_encoders import encoder_named
from napari_cmrcnet.model.pretrained import with_weights
from napari_cmrcnet.retrieval.deepspot_m import PATCH
from napari_cmrcnet.retrieval.frozen_features import field_features
from napari_cmrcnet.retrieval.inspection import Request, inspect
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.retrieval.ready import predict_ready
from napari_cmrcnet.retrieval.ready_folder import DEEPSPOT_M, STPATH, ready_in
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.slides.patch_cache import patch_cache

CPU = PredictConfig(device="cpu")
FEATURES = 1536
SYMBOLS = {
    "GATA3-OLD": "ENSG00000000001",
    "GATA3": "ENSG00000000001",
    "OTHER": "ENSG00000000003",
    "GENE7": "ENSG00000000002",
}


class STPath:
    """As the package's: all spots of a section at once, from features and places."""

    features_model_name = "gigapath"

    def __init__(
        self,
        organ_type: str | None = None,
        tech_type: str | None = None,
        genes: Any = None,
        model_path: str | None = None,
        gene_voc_path: str | None = None,
        token: str | None = None,
        max_spots: int = 8000,
    ) -> None:
        assert (organ_type, tech_type, genes, token) == (None,) * 4
        assert model_path is not None, "it would be fetched"
        assert gene_voc_path is not None, "it would be fetched"
        known = json.loads(Path(gene_voc_path).read_text())
        self.vocab = SimpleNamespace(symbol2ensembl=known)
        self.gene_names = tuple(sorted(set(known.values())))
        self.weight = torch.load(model_path, map_location="cpu", weights_only=True)["weight"]
        self.max_spots = max_spots

    def to(self, device: Any) -> "STPath":
        self.weight = self.weight.to(device)
        return self

    def predict(self, features: Any, coords: Any = None) -> dict[str, np.ndarray]:
        features, coords = np.asarray(features, np.float32), np.asarray(coords, np.float32)
        assert features.shape[1] == FEATURES
        assert coords.shape == (len(features), 2)
        values = features @ self.weight.numpy().T + coords[:, :1] / coords[:, :1].max()
        return dict(zip(self.gene_names, values.astype(np.float32).T, strict=True))


class DeepSpotM(torch.nn.Module):
    """As the package's: patches in, one number a gene out, with two more things that are not used here."""

    def __init__(self, gene_names: list[str]) -> None:
        super().__init__()
        self.gene_names = gene_names
        self.head = torch.nn.Linear(3, len(gene_names))

    @classmethod
    def from_pretrained(
        cls, repo_id_or_path: str, *, source: str | None = None, device: Any = None, revision: str | None = None
    ) -> tuple["DeepSpotM", Any]:
        folder = Path(repo_id_or_path)
        assert folder.is_dir(), "it would be fetched"
        assert revision is None
        if source not in json.loads((folder / "config.json").read_text())["bio_dims"]:
            raise ValueError(f"Unknown source {source!r}")
        lines = (folder / "tokens.csv").read_text().splitlines()[1:]
        model = cls([line.split(",")[0] for line in lines])
        model.load_state_dict(load_file(folder / "model.safetensors"))
        return model.to(device).eval(), None

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return self.head(pixel_values.mean(dim=(2, 3))), None, None


def install(name: str, monkeypatch: pytest.MonkeyPatch, **content: Any) -> None:
    """Put a stand-in for a package where Python finds it."""
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    vars(module).update(content)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    install("einops", monkeypatch)
    install("lazyslide_models", monkeypatch)
    install("lazyslide_models.feature_prediction", monkeypatch, STPath=STPath)
    install("deepspotm", monkeypatch, DeepSpotM=DeepSpotM)


@pytest.fixture
def section(
    tmp_path: Path, write_section: Callable[..., Any], open_small: Callable[..., Section], monkeypatch: Any
) -> Section:
    monkeypatch.setenv("CMRCNET_CACHE", str(tmp_path / "cache"))
    return open_small(*write_section(tmp_path, "A", 1, 3), name="A", mpp=4.0)


@pytest.fixture
def stpath_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that STPath and GigaPath publish, small; GigaPath as wide as it is, but one layer of one head deep."""
    import timm

    known = encoder_named("prov-gigapath")
    shallow = replace(known, architecture={**known.architecture, "depth": 1, "num_heads": 1, "mlp_ratio": 0.125})
    monkeypatch.setattr(listed, "frozen_encoders", lambda: {"prov-gigapath": shallow})
    folder = tmp_path / "stpath"
    folder.mkdir()
    torch.manual_seed(2)
    state = timm.create_model(**shallow.architecture, num_classes=0).state_dict()
    torch.save(state, folder / "pytorch_model.bin")
    torch.save({"weight": torch.randn(3, FEATURES) / 40}, folder / "stfm.pth")
    (folder / "symbol2ensembl.json").write_text(json.dumps(SYMBOLS))
    return folder


@pytest.fixture
def deepspot_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "deepspot"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"bio_dims": {"scgpt": 512}}))
    (folder / "tokens.csv").write_text("token,token_type,token_id\nGENE3,gene,0\nNEW,gene,1\n")
    torch.manual_seed(1)
    save_file(DeepSpotM(["GENE3", "NEW"]).state_dict(), folder / "model.safetensors")
    return folder


def test_stpath_predicts_all_spots_at_once_by_gigapaths_features(
    packages: None, section: Section, stpath_folder: Path
) -> None:
    assert ready_in(stpath_folder) is STPATH
    seen = finish(inspect(Request(checkpoint=stpath_folder)))  # what the Predict panel does
    assert seen.lines["checkpoint"] == "STPath, a ready predictor for many organs; it uses no training spots"
    assert not seen.problems
    found = finish(predict_ready(section, stpath_folder, STPATH, CPU))
    encoder = with_weights("prov-gigapath", stpath_folder / "pytorch_model.bin")
    features = finish(field_features(section, PATCH, encoder))
    model = STPath(model_path=str(stpath_folder / "stfm.pth"), gene_voc_path=str(stpath_folder / "symbol2ensembl.json"))
    wanted = model.predict(features, section.xy)
    assert np.std(list(wanted.values()), axis=1).min() > 0.01
    assert found.genes == ("GATA3-OLD", "GENE7", "OTHER")  # by symbol: the measured one, else the first of the file
    for symbol in found.genes:
        np.testing.assert_allclose(found.gene(symbol), wanted[SYMBOLS[symbol]], rtol=1e-6)
    np.testing.assert_array_equal(found.gene("ENSG00000000002"), found.gene("GENE7"))
    assert found.neighbours.shape == (9, 0)
    assert "Predicted by STPath; no value has training spots behind it." in found.provenance.notes


def test_deepspot_m_predicts_each_patch(packages: None, section: Section, deepspot_folder: Path) -> None:
    assert ready_in(deepspot_folder) is DEEPSPOT_M
    found = finish(predict_ready(section, deepspot_folder, DEEPSPOT_M, CPU))
    patches = torch.from_numpy(np.array(finish(patch_cache(section, PATCH)))).float() / 255
    model, _ = DeepSpotM.from_pretrained(str(deepspot_folder), source="scgpt", device="cpu")
    with torch.no_grad():
        wanted = model((patches.permute(0, 3, 1, 2) - 0.5) / 0.5)[0].numpy()
    assert wanted.std(axis=0).min() > 0.001
    np.testing.assert_allclose(found.gene("GENE3"), wanted[:, 0], rtol=1e-4)
    np.testing.assert_allclose(found.gene("NEW"), wanted[:, 1], rtol=1e-4)
    assert found.neighbours.shape == (9, 0)


def test_predict_takes_their_folders_and_the_result_opens(
    packages: None, section: Section, deepspot_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, spots = tmp_path / "A_predicted.h5ad", section.spots.uns["cmrcnet"]["path"]
    command = ["predict", "--checkpoint", str(deepspot_folder), "--device", "cpu", "--slide", str(section.slide.path)]
    assert main([*command, "--spots", str(spots), "--mpp", "4", "--out", str(out)]) == 0
    assert "2 genes at 9 spots" in " ".join(capsys.readouterr().out.split())
    assert Prediction.load(out).genes == ("GENE3", "NEW")


def test_a_missing_package_is_told_before_any_work(
    section: Section, stpath_folder: Path, deepspot_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("einops", "lazyslide_models", "deepspotm"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("napari_cmrcnet.retrieval.ready_folder.find_spec", lambda _: None)
    said = "STPath needs lazyslide-models and einops; install what is missing: pip install lazyslide-models einops."
    for folder, predictor, sentence in (
        (stpath_folder, STPATH, said),
        (deepspot_folder, DEEPSPOT_M, "DeepSpot-M needs deepspotm; install what is missing: pip install deepspotm."),
    ):
        with pytest.raises(UserError) as raised:
            finish(predict_ready(section, folder, predictor, CPU))
        assert str(raised.value) == sentence
        seen = finish(inspect(Request(checkpoint=folder)))
        assert str(seen.problems["checkpoint"]) == sentence  # in the window, before Predict is pressed


@pytest.mark.parametrize(
    ("error", "reason"),
    [(KeyError("ENSG00000000009"), "'ENSG00000000009'"), (RuntimeError("size mismatch\nat layer 3"), "size mismatch")],
)
def test_an_error_within_stpath_is_one_sentence_that_names_the_folder(
    packages: None,
    section: Section,
    stpath_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    reason: str,
) -> None:
    def predict(*_: Any) -> None:
        raise error

    monkeypatch.setattr(STPath, "predict", predict)
    with pytest.raises(UserError) as raised:
        finish(predict_ready(section, stpath_folder, STPATH, CPU))
    advice = "check its files, or its packages (pip install lazyslide-models einops)."
    assert str(raised.value) == f"{stpath_folder} could not be run as STPath ({reason}); {advice}"


def test_a_gene_that_stpaths_list_lacks_is_told(
    packages: None, section: Section, stpath_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(STPath, "predict", lambda *given: {"ENSG9": np.zeros(len(given[2]), np.float32)})
    with pytest.raises(UserError, match=r"stpath could not be run as STPath \('ENSG9'\)"):
        finish(predict_ready(section, stpath_folder, STPATH, CPU))


def test_an_error_within_deepspot_m_is_one_sentence_that_names_the_folder(
    packages: None, section: Section, deepspot_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DeepSpotM, "forward", lambda self, pixels: (self.head(pixels.flatten(1)), None, None))
    with pytest.raises(UserError, match=r"deepspot could not be run as DeepSpot-M \(mat1 .+\); check its files"):
        finish(predict_ready(section, deepspot_folder, DEEPSPOT_M, CPU))


def test_what_does_not_fit_is_told_in_one_sentence(
    packages: None, section: Section, stpath_folder: Path, deepspot_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(folder: Path, config: PredictConfig = CPU) -> str:
        predictor = ready_in(folder)
        assert predictor is not None
        with pytest.raises(UserError) as raised:
            finish(predict_ready(section, folder, predictor, config))
        return str(raised.value)

    assert said(stpath_folder, PredictConfig(k=5)) == "STPath averages no training spots; leave k out."
    monkeypatch.setattr(STPath.__init__, "__defaults__", (*STPath.__init__.__defaults__[:-1], 8))
    assert "at most 8, and A has 9; set the spots farther apart." in said(stpath_folder)
    (stpath_folder / "symbol2ensembl.json").write_text("{")
    assert "could not be opened as STPath (" in said(stpath_folder)
    (stpath_folder / "pytorch_model.bin").unlink()
    assert "pytorch_model.bin does not exist; give the path of the weights of Prov-GigaPath." in said(stpath_folder)
    (deepspot_folder / "config.json").write_text('{"bio_dims": {"evo2": 1}}')
    told = said(deepspot_folder)
    assert "could not be opened as DeepSpot-M (Unknown source 'scgpt'); check its files, or its package" in told
