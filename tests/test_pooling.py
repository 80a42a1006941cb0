"""Cells and bins pooled to spots: counts, centres, areas and the lattice, each computed again the slow way."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from napari_cmrcnet.cli import main
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.sections.formats.origin import Origin
from napari_cmrcnet.sections.pixel_size import spots_lattice
from napari_cmrcnet.sections.pooling import Pool, pool_for, pool_from, pool_spots
from napari_cmrcnet.sections.section import open_section
from napari_cmrcnet.sections.sheet import read_sheet
from test_xenium import make_xenium, write_image

MPP = 0.5


def cells(n=4000, side_um=600.0, seed=0) -> AnnData:
    rng = np.random.default_rng(seed)
    spots = AnnData(
        sparse.csr_matrix(rng.poisson(0.5, (n, 7)).astype(np.int32)),
        obs=pd.DataFrame({"cell_area": rng.uniform(40, 90, n)}, index=[f"c{i}" for i in range(n)]),
        var=pd.DataFrame({"gene_ids": ""}, index=[f"G{i}" for i in range(7)]),
        obsm={"spatial": 1000 + rng.uniform(0, side_um, (n, 2)) / MPP},
        uns={"spatial": {"Xenium": {"scalefactors": {"spot_diameter_fullres": 20.0}, "metadata": {}}}},
    )
    Origin("Xenium 3", Path("xenium"), "Xenium", "cell", given_mpp=MPP).keep_in(spots)
    return spots


def bins(size_um=16.0, side=40, turn=0.3) -> AnnData:
    """Bins of an array that is turned on the slide, a corner of it out of tissue."""
    rng = np.random.default_rng(1)
    row, column = (grid.ravel() for grid in np.mgrid[100 : 100 + side, 60 : 60 + side])
    kept = row + column > 165
    row, column = row[kept], column[kept]
    cos, sin = np.cos(turn), np.sin(turn)
    xy = np.column_stack([column * cos - row * sin, column * sin + row * cos]) * size_um / MPP + 5000
    spots = AnnData(
        sparse.csr_matrix(rng.poisson(0.3, (len(row), 5)).astype(np.int32)),
        obs=pd.DataFrame({"array_row": row, "array_col": column}, index=[f"s_{i}" for i in range(len(row))]),
        obsm={"spatial": xy},
        uns={"spatial": {"Space Ranger": {"scalefactors": {}, "metadata": {}}}},
    )
    Origin("Space Ranger 4", Path("hd"), "Visium HD", "bin", pitch_um=size_um, given_mpp=MPP).keep_in(spots)
    return spots


@pytest.mark.parametrize("pool", [Pool(55, 55, "square"), Pool(50, 80, "square"), Pool(55, 100, "hex")])
def test_a_spot_is_the_sum_of_the_cells_in_it(pool: Pool) -> None:
    spots = cells()
    pooled = pool_spots(spots, MPP, pool)
    counts, xy = spots.X.toarray(), spots.obsm["spatial"]
    used = np.zeros(len(xy), int)
    for n, centre in enumerate(pooled.obsm["spatial"]):
        away = (xy - centre) * MPP
        if pool.lattice == "square":
            inside = (np.abs(away) <= pool.size_um / 2).all(axis=1)
        else:
            inside = np.linalg.norm(away, axis=1) <= pool.size_um / 2
        used += inside
        assert np.array_equal(pooled.X[n].toarray()[0], counts[inside].sum(axis=0))
        assert pooled.obs["n_cells"].iloc[n] == inside.sum()
        area = spots.obs["cell_area"].to_numpy()[inside].sum()
        assert pooled.obs["area_share"].iloc[n] == pytest.approx(area / pool.area_um2)
    assert used.max() == 1
    if pool.size_um == pool.pitch_um:
        assert used.min() == 1
        assert pooled.X.sum() == counts.sum()
    lattice = spots_lattice(pooled)
    assert lattice.pitch == pytest.approx(pool.pitch_um / MPP)
    assert lattice.kind.startswith(pool.lattice)
    about = Origin.of(pooled)
    assert (about.unit, about.pitch_um, about.platform) == ("spot", pool.pitch_um, "Xenium")
    (library,) = pooled.uns["spatial"].values()
    assert library["scalefactors"]["spot_diameter_fullres"] == pool.size_um / MPP
    assert pooled.X.dtype == np.int32
    assert pooled.obs_names.is_unique


def test_squares_hold_whole_bins_of_a_turned_array() -> None:
    spots = bins()
    pool = pool_for("", Origin.of(spots))
    assert (pool.size_um, pool.lattice) == (48, "square")  # three bins of 16 µm
    pooled = pool_spots(spots, MPP, pool)
    assert pooled.obs["n_bins"].max() == 9
    np.testing.assert_allclose(pooled.obs["area_share"], pooled.obs["n_bins"] / 9)
    assert pooled.X.sum() == spots.X.sum()
    full = pooled[pooled.obs["n_bins"] == 9]
    row, column = spots.obs["array_row"].to_numpy(), spots.obs["array_col"].to_numpy()
    for name in full.obs_names[:20]:
        at = 100 + 3 * full.obs.loc[name, "array_row"], 60 + 3 * full.obs.loc[name, "array_col"]
        inside = (row >= at[0]) & (row < at[0] + 3) & (column >= at[1]) & (column < at[1] + 3)
        assert inside.sum() == 9
        np.testing.assert_allclose(full[name].obsm["spatial"][0], spots.obsm["spatial"][inside].mean(axis=0))
        assert np.array_equal(full[name].X.toarray()[0], spots.X.toarray()[inside].sum(axis=0))


@pytest.mark.parametrize(
    ("text", "unit", "pitch", "size"),
    [
        ("", "cell", 0, "55/55 square"),
        ("", "bin", 2, "56/56 square"),
        ("", "bin", 8, "56/56 square"),
        ("", "bin", 16, "48/48 square"),
        ("", "bin", 50, None),
        ("", "spot", 0, None),
        ("no", "cell", 0, None),
        ("visium", "cell", 0, "55/100 hex"),
        ("100", "bin", 8, "100/100 square"),
        ("100 µm", "spot", 8, "100/100 square"),
        ("55/100 hex", "cell", 0, "55/100 hex"),
        ("55/100", "cell", 0, "55/100 square"),
    ],
)
def test_what_is_asked_for_and_what_is_not(text: str, unit, pitch: float, size: str | None) -> None:
    found = pool_for(text, Origin("", Path(), unit=unit, pitch_um=pitch))
    assert (None if found is None else str(found)) == size
    assert found is None or str(pool_for(str(found), Origin("", Path()))) == size


@pytest.mark.parametrize("text", ["0", "-3", "100/55", "1e9", "big", "55 hexagons", "nan", "5000", "hex"])
def test_what_cannot_be_understood_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="does not say how to pool"):
        pool_from(text)


def test_a_section_of_cells_is_pooled_unless_it_is_asked_not_to(tmp_path: Path) -> None:
    folder = make_xenium(tmp_path / "xenium")
    image = write_image(folder / "S1_he_image.ome.tif")
    with (pooled := open_section(image, folder)).slide:
        assert pooled.origin.pitch_um == 55
        assert pooled.spots.X.sum() == 31
        assert any("4 cells were pooled to" in note for note in pooled.notes)
        np.testing.assert_allclose(pooled.origin.pitch_px * pooled.mpp, 55)
    with (each := open_section(image, folder, pool="no")).slide:
        assert each.spots.n_obs == 4
        assert not any("were pooled" in note for note in each.notes)
    with (one := open_section(image, folder, pool="300", min_umi=30)).slide:  # of the spot, not of its cells
        assert one.spots.n_obs == 1
        assert one.spots.obs["n_cells"].tolist() == [4]
    with pytest.raises(UserError, match="does not say how to pool"):
        open_section(image, folder, pool="fine")


def test_the_sheet_says_how_to_pool(tmp_path: Path) -> None:
    folder = make_xenium(tmp_path / "xenium")
    write_image(folder / "S1_he_image.ome.tif")
    sheet = tmp_path / "sheet.csv"
    line = "A,xenium/S1_he_image.ome.tif,{},P1,{}\n"
    sheet.write_text("section,slide,spots,patient,pool\n" + line.format("xenium", "100"))
    (row,) = read_sheet(sheet)
    with row.open().slide:
        assert (row.open().origin.pool, row.open().origin.pitch_um) == ("100", 100)
    sheet.write_text("section,slide,spots,patient,pool\n" + line.format("xenium", "fine"))
    with pytest.raises(UserError, match="line 2: 'fine' does not say how to pool"):
        read_sheet(sheet)
    sheet.write_text("section,slide,spots,patient,pool\n" + line.format("", "100"))
    with pytest.raises(UserError, match="line 2: there are no spots to pool"):
        read_sheet(sheet)


def test_pooled_spots_can_be_saved_and_opened_again(tmp_path: Path) -> None:
    spots = cells(side_um=300.0)
    spots.obsm["spatial"] -= 950
    pooled = pool_spots(spots, MPP, Pool(100, 100, "square"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pooled.write_h5ad(tmp_path / "p.h5ad")
    with (again := open_section(write_image(tmp_path / "s.tif"), tmp_path / "p.h5ad", mpp=MPP, pool="no")).slide:
        assert np.array_equal(again.spots.X.toarray(), pooled.X.toarray())


def test_squares_that_hold_no_cell_are_refused() -> None:
    spots = cells(2)
    spots.obsm["spatial"] = np.array([[10.0, 10.0], [11.0, 11.0]])  # the corner is in no square of 1 µm amid 100
    with pytest.raises(UserError, match="none of its 2 cells lies in squares of 1 µm, 100 µm apart; pool to a larger"):
        pool_spots(spots, MPP, Pool(1, 100, "square"))


def test_no_count_is_lost_of_many_cells() -> None:
    spots = cells(50_000, 3000.0)
    pooled = pool_spots(spots, MPP, Pool(55, 55, "square"))
    assert np.array_equal(np.asarray(pooled.X.sum(axis=0)), np.asarray(spots.X.sum(axis=0)))
    assert pooled.obs["n_cells"].sum() == 50_000


SAMPLE = Path(__file__).parent.parent / "sample_data" / "sample.cmrcnet"


def test_cells_are_predicted_as_spots_by_the_command_line(tmp_path: Path, capsys) -> None:
    folder = make_xenium(tmp_path / "xenium")
    image = write_image(folder / "S1_he_image.ome.tif")
    command = ["predict", "--checkpoint", str(SAMPLE), "--slide", str(image), "--out", str(tmp_path)]
    out = tmp_path / "S1_he_image_predicted.h5ad"  # as the guide says
    with pytest.raises(SystemExit):
        main([*command, "--pool", "100"])
    assert "--pool is for --spots; give both" in capsys.readouterr().err
    command += ["--spots", str(folder)]
    assert main([*command, "--pool", "fine"]) == 1
    assert "'fine' does not say how to pool cells or bins" in capsys.readouterr().err
    assert not out.exists()
    assert main([*command, "--pool", "no"]) == 0
    said = " ".join("".join(capsys.readouterr()).split())
    assert "Each value comes from 448 µm around a cell, not from the cell alone: the cells are not pooled." in said
    out.unlink()
    assert main([*command, "--pool", "visium"]) == 0
    said = " ".join("".join(capsys.readouterr()).split())
    assert "4 cells were pooled to" in said
    assert "circles of 55 µm, 100 µm apart" in said
    prediction = Prediction.load(out)
    assert prediction.provenance.pool == "visium"
    assert prediction.spots.obs["n_cells"].sum() <= 4
    assert 1 <= len(prediction) <= 4
