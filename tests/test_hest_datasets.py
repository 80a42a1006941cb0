"""The paper's datasets from a folder in HEST's exact layout, and their download."""

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata
import h5py
import numpy as np
import pytest
import tifffile

from napari_cmrcnet.benchmark.folds import make_folds
from napari_cmrcnet.benchmark.recipes import find_recipe, name_in_paper, paper_dataset, recipes
from napari_cmrcnet.catalogue.hest import download_hest
from napari_cmrcnet.catalogue.hest_folder import hest_rows, on_tissue
from napari_cmrcnet.catalogue.recipe import ModelRecipe, entries
from napari_cmrcnet.cli import main
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import sha256
from napari_cmrcnet.common.progress import Job, finish
from napari_cmrcnet.sections.sheet import read_sheet

Write = Callable[..., tuple[Path, Path]]
IDS = ("TENX115", "TENX117")
OFF_TISSUE = 5  # spots without a patch


@pytest.fixture(scope="module")
def hest(tmp_path_factory: pytest.TempPathFactory, write_section: Write) -> Path:
    """SKCM in small, as HEST has it: 36 spots a section, the slides' own pixel size wrong."""
    folder = tmp_path_factory.mktemp("hest")
    for name in ("wsis", "st", "metadata", "patches"):
        (folder / name).mkdir()
    for seed, name in enumerate(IDS):
        slide, spots = write_section(folder / "raw", name, seed)
        pixels = tifffile.imread(slide)
        tifffile.imwrite(
            folder / "wsis" / f"{name}.tif", pixels, tile=(64, 64), photometric="rgb",
            resolution=(10_000, 10_000), resolutionunit="CENTIMETER",
        )  # fmt: skip
        _write_spots(spots, folder / "st" / f"{name}.h5ad", pixels)
        _write_patches(folder / "st" / f"{name}.h5ad", folder / "patches" / f"{name}.h5", pixels)
    about = {"id": "TENX115", "patient": "Patient 2", "st_technology": "Xenium", "pixel_size_um_embedded": 1.0,
             "pixel_size_um_estimated": 0.5, "inter_spot_dist": 16.0, "spots_under_tissue": 36}  # fmt: skip
    (folder / "metadata" / "TENX115.json").write_text(json.dumps(about))
    about = {"id": "TENX117", "patient": "Patient 1", "pixel_size_um_embedded": 1.0, "pixel_size_um_estimated": 0.5}
    (folder / "metadata" / "TENX117.json").write_text(json.dumps(about), encoding="utf-8-sig")  # with a byte-order mark
    shutil.rmtree(folder / "raw")
    return folder


def _write_spots(source: Path, path: Path, pixels: np.ndarray) -> None:
    spots = anndata.read_h5ad(source)
    named = ["MIA", "PMEL", "BLANK_0069", "NegControlProbe_00042", "antisense_ULK3"]
    spots.var_names = [*named, *spots.var_names[len(named) :]]
    spots.obs_names = [f"{row:03d}x{column:03d}" for row in range(6) for column in range(6)]
    spots.obs["in_tissue"] = np.arange(36) % 2 == 0  # unreliable
    library = {
        "images": {"downscaled_fullres": pixels},
        "scalefactors": {"tissue_downscaled_fullres_scalef": 1.0, "spot_diameter_fullres": 20.0},
    }
    spots.uns["spatial"] = {"ST": library}
    spots.write_h5ad(path)


def _write_patches(spots_path: Path, path: Path, pixels: np.ndarray) -> None:
    spots = anndata.read_h5ad(spots_path)
    kept = np.random.default_rng(0).permutation(36)[OFF_TISSUE:]  # fewer than the spots, and in another order
    with h5py.File(path, "w") as file:
        file["img"] = np.zeros((len(kept), 8, 8, 3), np.uint8)
        file["coords"] = spots.obsm["spatial"][kept].astype(int) - 112
        file["barcode"] = np.array([[name.encode()] for name in spots.obs_names[kept]])


def download(recipe: ModelRecipe, out: Path) -> Job[Path]:
    return download_hest(name_in_paper(recipe), recipe.patients, out)


def skcm() -> ModelRecipe:
    recipe = find_recipe("SKCM")
    assert recipe is not None
    return recipe


def test_the_six_datasets_are_those_of_the_paper() -> None:
    found = recipes()
    assert {name_in_paper(recipe): len(recipe.patients) for recipe in found.values()} == {
        "COAD": 4, "IDC": 4, "IDC-LymphNode": 4, "PSC": 4, "READ": 4, "SKCM": 2,
    }  # fmt: skip
    assert found["read"].patients == {"ZEN36": "P7", "ZEN40": "P7", "ZEN48": "P1", "ZEN49": "P1"}
    assert found["coad"].patients == {"TENX111": "", "TENX147": "P5", "TENX148": "P2", "TENX149": "P1"}
    assert {key: (recipe.spots, entries()[key]["paper_genes"]) for key, recipe in found.items()} == {
        "idc_lymphnode": (19964, 3467), "skcm": (5716, 541), "read": (8407, 3355), "coad": (18523, 412),
        "idc": (44974, 500), "psc": (19968, 3355),
    }  # fmt: skip
    assert [entries()[key]["map_genes"] for key in ("read", "coad", "idc")] == [["ITLN1"], ["CD24"], ["GATA3"]]
    assert find_recipe("IDC-LymphNode") == found["idc_lymphnode"]
    assert find_recipe("sections.csv") is None


def test_pixel_size_is_hests_estimate_not_the_slides_tag(hest: Path) -> None:
    dataset = paper_dataset(skcm(), hest, all_spots=True)
    for name in IDS:
        section = dataset.open(name)
        with section.slide:
            assert section.mpp == 0.5
            assert section.slide.mpp == pytest.approx(1.0)
            assert any("1 µm according to the slide's" in note for note in section.notes)
            assert section.spots.n_obs == 36  # in_tissue is not trusted
    assert [row.patient for row in dataset.rows] == ["P2", "P1"]
    assert hest_rows(hest, {"TENX117": ""})[0].patient == "Patient 1"  # of the table, past its byte-order mark


def test_controls_are_no_genes_and_off_tissue_spots_are_joined_by_name(hest: Path) -> None:
    everything = anndata.read_h5ad(hest / "st" / "TENX115.h5ad")
    section = paper_dataset(skcm(), hest).open("TENX115")
    with section.slide:
        assert section.spots.n_vars == 24 - 3
        assert not [name for name in section.spots.var_names if name.startswith(("BLANK", "Neg", "anti"))]
        kept = np.random.default_rng(0).permutation(36)[OFF_TISSUE:]
        assert list(section.spots.obs_names) == list(everything.obs_names[np.sort(kept)])
        assert any("Dropped 3 of 24 names" in note for note in section.notes)
        assert any("5 of 36 spots: off the tissue according to HEST" in note for note in section.notes)


def test_a_patient_that_hest_does_not_name_is_one_of_their_own(hest: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(hest, tmp_path / "hest")
    path = folder / "metadata" / "TENX115.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"patient": None}))
    dataset = paper_dataset(replace(skcm(), patients={"TENX115": "", "TENX117": ""}), folder)
    assert [row.patient for row in dataset.rows] == ["of TENX115", "Patient 1"]
    assert any("HEST does not name the patient of TENX115: each such section" in note for note in dataset.notes)
    assert [fold.test for fold in make_folds(dataset.rows, "patient")] == [("TENX115",), ("TENX117",)]
    assert not any("does not name" in note for note in paper_dataset(skcm(), hest).notes)


def test_a_dataset_by_its_name(hest: Path, tmp_path: Path) -> None:
    arguments = ("--methods", "ridge,mean", "--no-figures", "--out", str(tmp_path / "out"))
    assert main(["benchmark", "skcm", "--data", str(hest), *arguments]) == 0
    report = (tmp_path / "out" / "report.md").read_text()
    assert "# Benchmark of SKCM" in report
    assert "tested on TENX115; 21 genes" in report
    assert "Beside it is the paper's value" in report
    assert "The paper has 5,716 spots and 541 genes of SKCM; here are 62 spots and, by fold, 21 to 21" in report
    assert "include the platform's controls" in report
    assert main(["benchmark", "skcm", "--data", str(hest), *arguments, "--panel", "idc"]) == 1  # other markers


def test_what_is_missing_or_wrong_is_named(hest: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ZEN36\.tif does not exist"):
        paper_dataset(recipes()["read"], hest)
    with pytest.raises(UserError, match=r"none does not exist; download SKCM"):
        paper_dataset(skcm(), tmp_path / "none")
    names = anndata.read_h5ad(hest / "st" / "TENX115.h5ad").obs_names
    with pytest.raises(UserError, match="patch of none of the section's spots"):
        on_tissue(hest / "patches" / "TENX115.h5", names + "-1")
    with h5py.File(tmp_path / "bare.h5", "w") as file:
        file["img"] = np.zeros((1, 2, 2, 3), np.uint8)
    with pytest.raises(UserError, match="has no barcodes"):
        on_tissue(tmp_path / "bare.h5", names)


@pytest.fixture
def hub(hest: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """HEST's repository, served from the small folder; TENX117 has no patches there. Returns what was fetched."""
    import huggingface_hub

    fetched: list[str] = []

    def infos(_: Any, repository: str, paths: list[str], *, repo_type: str) -> list[Any]:
        assert (repository, repo_type) == ("MahmoodLab/hest", "dataset")
        there = [path for path in paths if (hest / path).is_file() and path != "patches/TENX117.h5"]
        return [
            SimpleNamespace(
                path=path, size=(hest / path).stat().st_size, lfs=SimpleNamespace(sha256=sha256(hest / path))
            )
            for path in there
        ]

    def fetch(_: str, path: str, *, repo_type: str, local_dir: Path, tqdm_class: Any) -> str:
        (local_dir / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(hest / path, local_dir / path)
        tqdm_class(total=10).update(10)
        fetched.append(path)
        return str(local_dir / path)

    monkeypatch.setattr(huggingface_hub.HfApi, "get_paths_info", infos)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    return fetched


def test_download_gives_the_layout_and_a_sheet(hub: list[str], tmp_path: Path) -> None:
    sheet = finish(download(skcm(), tmp_path / "skcm"))
    assert hub == ["metadata/TENX115.json", "st/TENX115.h5ad", "patches/TENX115.h5", "wsis/TENX115.tif",
                   "metadata/TENX117.json", "st/TENX117.h5ad", "wsis/TENX117.tif"]  # fmt: skip
    assert [(row.section, row.patient) for row in read_sheet(sheet)] == [("TENX115", "P2"), ("TENX117", "P1")]
    with paper_dataset(skcm(), tmp_path / "skcm", all_spots=True).open("TENX117").slide as slide:
        assert slide.shape == (192, 192)
    with pytest.raises(UserError, match=r"TENX117\.h5 does not exist, which says .*--all-spots"):
        paper_dataset(skcm(), tmp_path / "skcm")


def test_a_closed_gate_says_the_two_steps(
    hub: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError

    def closed(*_: Any, **__: Any) -> str:
        error = GatedRepoError.__new__(GatedRepoError)
        error.response = SimpleNamespace(status_code=403)
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", closed)
    assert main(["download", "skcm", "--out", str(tmp_path / "skcm")]) == 1
    said = capsys.readouterr().err
    assert "(1) log in at https://huggingface.co/datasets/MahmoodLab/hest and accept the terms" in said
    assert "(2) make a token" in said
    assert "hf auth login" in said


def test_a_network_that_is_down_and_a_file_that_is_gone(
    hub: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    with pytest.raises(UserError, match=r"HEST no longer has metadata/ZEN36\.json"):
        finish(download(recipes()["read"], tmp_path / "read"))

    def down(*_: Any, **__: Any) -> str:
        raise ConnectionError("[Errno -2] Name or service not known")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", down)
    with pytest.raises(UserError, match=r"could not be downloaded from huggingface\.co"):
        finish(download(skcm(), tmp_path / "skcm"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(UserError, match=r"has room for 1 kB"):
        finish(download(skcm(), tmp_path / "skcm"))


def test_a_download_stops_when_it_is_not_wanted_any_more(
    hub: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading
    import time

    import huggingface_hub

    ended = threading.Event()

    def endless(*_: Any, tqdm_class: Any, **__: Any) -> str:
        bar = tqdm_class(total=10**9)
        try:
            while True:
                bar.update(10**6)
                time.sleep(0.01)
        finally:
            ended.set()

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", endless)
    job = download(skcm(), tmp_path / "skcm")
    for progress in job:
        if progress.step.startswith("Downloading"):
            break
    job.close()
    assert ended.wait(10)


def test_a_file_that_is_not_the_published_one_is_thrown_away(
    hub: list[str], hest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def another(_: str, path: str, *, local_dir: Path, **__: Any) -> str:
        content = bytearray((hest / path).read_bytes())
        content[0] ^= 1  # of the same size
        (local_dir / path).parent.mkdir(parents=True, exist_ok=True)
        (local_dir / path).write_bytes(content)
        return path

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", another)
    with pytest.raises(UserError, match=r"TENX115\.json is not the file that HEST published"):
        finish(download(skcm(), tmp_path / "skcm"))
    assert not (tmp_path / "skcm" / "metadata" / "TENX115.json").exists()


@pytest.mark.parametrize("fault", ["cut", "refused", "file:"])
def test_a_bad_server_ends_in_a_sentence(
    fault: str, hub: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's own client, with a server on this machine that announces a file and does not send it."""
    import huggingface_hub
    from huggingface_hub.file_download import hf_hub_download

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()
            if fault == "cut":
                self.wfile.write(b"half")

        def answer(self) -> None:
            self.send_response({"cut": 200, "refused": 500, "file:": 302}[fault])
            self.send_header("Content-Length", "0" if fault != "cut" else "1000")
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("ETag", '"0"')
            if fault == "file:":
                self.send_header("Location", "file:///etc/passwd")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("time.sleep", lambda _: None)  # the client tries again and again
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", partial(hf_hub_download, endpoint=endpoint))
    try:
        with pytest.raises(UserError, match=r"could not be downloaded from huggingface\.co|lacks a file"):
            finish(download(skcm(), tmp_path / "skcm"))
    finally:
        server.shutdown()
        server.server_close()
    assert not (tmp_path / "skcm" / "metadata" / "TENX115.json").exists()
