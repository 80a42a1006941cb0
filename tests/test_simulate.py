"""Synthetic sections: readable, honest about being synthetic, the same for the same seed, and learnable."""

import csv
from pathlib import Path

import anndata
import numpy as np
import pytest
import tifffile

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.sections.panels import PANELS
from napari_cmrcnet.synthetic.genes import CELL_TYPES, DRIVEN, GENES, draw_counts
from napari_cmrcnet.synthetic.simulate import MPP, simulate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    finish(simulate(folder, n_sections=2, seed=3, spots=60))
    return folder


def test_sheet_lists_every_section_relative_to_itself(folder: Path) -> None:
    with open(folder / "sections.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["section"] for row in rows] == ["S1", "S2"]
    assert [row["slide"] for row in rows] == ["S1.tif", "S2.tif"]
    assert all((folder / row["spots"]).is_file() for row in rows)
    assert len({row["patient"] for row in rows}) == 2


def test_slide_is_a_tiled_pyramid_with_its_pixel_size(folder: Path) -> None:
    with tifffile.TiffFile(folder / "S1.tif") as tiff:
        assert [page.is_tiled for page in tiff.pages] == [True] * 4
        widths = [page.imagewidth for page in tiff.pages]
        assert widths == sorted(widths, reverse=True)
        page = tiff.pages.first
        assert "SYNTHETIC" in page.description
        assert page.tags["ResolutionUnit"].value == 3  # centimetres
        pixels, cm = page.tags["XResolution"].value
        assert 1e4 * cm / pixels == pytest.approx(MPP)


def test_openslide_reads_the_slide(folder: Path) -> None:
    openslide = pytest.importorskip("openslide")
    with openslide.OpenSlide(folder / "S1.tif") as slide:
        assert slide.level_count == 4
        assert slide.read_region((0, 0), 0, (8, 8)).size == (8, 8)


def test_spots_follow_the_convention_and_say_synthetic(folder: Path) -> None:
    spots = anndata.read_h5ad(folder / "S1.h5ad")
    assert 40 <= spots.n_obs <= 80
    assert spots.X.format == "csr"
    assert spots.X.dtype.kind == "i"
    assert spots.X.data.min() > 0
    assert spots.obsm["spatial"].dtype == np.float64
    (library,) = spots.uns["spatial"].values()
    assert library["scalefactors"]["spot_diameter_fullres"] == 110
    assert library["metadata"]["synthetic"]
    row, column = spots.obs["array_row"], spots.obs["array_col"]
    assert ((row + column) % 2 == 0).all()
    xy = spots.obsm["spatial"]
    distance = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1))
    nearest = np.where(distance == 0, np.inf, distance).min(axis=1)
    assert nearest == pytest.approx(100 / MPP)
    with tifffile.TiffFile(folder / "S1.tif") as tiff:
        assert (xy < tiff.pages.first.imagewidth).all()


def test_genes_are_unique_and_hold_the_breast_markers() -> None:
    assert len(set(GENES)) == len(GENES)
    assert set(PANELS["idc"].genes) <= set(GENES[DRIVEN])
    assert (~DRIVEN).sum() == 40


def test_same_seed_same_files_and_another_seed_another_section(folder: Path, tmp_path: Path) -> None:
    finish(simulate(tmp_path / "again", n_sections=1, seed=3, spots=60))
    assert (tmp_path / "again" / "S1.tif").read_bytes() == (folder / "S1.tif").read_bytes()
    again, first = (anndata.read_h5ad(path / "S1.h5ad") for path in (tmp_path / "again", folder))
    assert (again.X != first.X).nnz == 0
    finish(simulate(tmp_path / "other", n_sections=1, seed=4, spots=60))
    other = anndata.read_h5ad(tmp_path / "other" / "S1.h5ad")
    assert not np.array_equal(other.X.sum(axis=0), first.X.sum(axis=0))
    assert (tmp_path / "other" / "S1.tif").read_bytes() != (folder / "S1.tif").read_bytes()


def test_colours_differ_between_sections(folder: Path) -> None:
    tissue = []
    for name in ("S1.tif", "S2.tif"):
        pixels = tifffile.imread(folder / name, key=1).reshape(-1, 3).astype(float)
        tissue.append(pixels[pixels.min(axis=1) < 200].mean(axis=0))
    assert np.abs(tissue[0] - tissue[1]).max() > 2


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    return (a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))


def test_driven_genes_follow_the_cells_and_the_others_nothing() -> None:
    rng = np.random.default_rng(0)
    fractions = rng.dirichlet(np.full(len(CELL_TYPES), 0.15), 3000)
    counts = draw_counts(fractions, rng).astype(float)
    expression = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    best = np.array([np.abs(correlation(fractions, gene[:, None])).max() for gene in expression.T])
    assert best[DRIVEN].min() > 0.3
    # The largest of 12 chance correlations at 3,000 spots; log-normalising must not add to it.
    assert best[~DRIVEN].max() < 0.08


def test_library_size_does_not_follow_the_cells() -> None:
    rng = np.random.default_rng(1)
    fractions = rng.dirichlet(np.full(len(CELL_TYPES), 0.15), 3000)
    totals = draw_counts(fractions, rng).sum(axis=1, keepdims=True)
    assert np.abs(correlation(fractions, np.log(totals))).max() < 0.08


@pytest.mark.parametrize("wrong", [{"n_sections": 0}, {"spots": 3}, {"seed": -1}])
def test_impossible_numbers_are_refused_before_anything_is_written(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(UserError):
        finish(simulate(tmp_path / "none", **wrong))
    assert not (tmp_path / "none").exists()


def test_smallest_section_can_be_made(tmp_path: Path) -> None:
    finish(simulate(tmp_path, n_sections=1, seed=5, spots=20))
    assert anndata.read_h5ad(tmp_path / "S1.h5ad").n_obs >= 10
