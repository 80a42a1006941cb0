"""The pixel size comes from the best source there is, and the source is named."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.sections.pixel_size import lattice, pixel_size
from napari_cmrcnet.sections.spots import open_spots


def slide(mpp=None):
    return SimpleNamespace(path=Path("slide.svs"), mpp=mpp, mpp_source="Aperio tag" if mpp else "none", mpp_note="")


def hexagonal(pitch: float, rows=12, columns=14, angle=0.1):
    """A Visium array: row + column even, neighbours at (0, ±2) and (±1, ±1)."""
    row, column = (grid.ravel() for grid in np.mgrid[:rows, :columns])
    row, column = row[(row + column) % 2 == 0], column[(row + column) % 2 == 0]
    xy = np.column_stack([column * pitch / 2, row * pitch * np.sqrt(3) / 2])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return xy @ turn + 500, row, column


def square(pitch: float, side=12):
    row, column = (grid.ravel() for grid in np.mgrid[:side, :side])
    return np.column_stack([column, row]) * pitch + 300.0, row, column


def spots(pitch=200.0, stated=None, **about) -> AnnData:
    xy, row, column = hexagonal(pitch)
    known = {
        "source": "test",
        "path": "spots.h5ad",
        "platform": "Visium",
        "pitch_um": 100.0,
        "pitch_px": pitch,
        "notes": [],
    }
    metadata = {} if stated is None else {"pixel_size_um": stated}
    library = {"scalefactors": {"spot_diameter_fullres": 110.0}, "metadata": metadata}
    obs = pd.DataFrame({"array_row": row, "array_col": column}, index=[str(n) for n in range(len(xy))])
    return AnnData(obs=obs, obsm={"spatial": xy}, uns={"spatial": {"lib": library}, "cmrcnet": {**known, **about}})


@pytest.mark.parametrize("pattern", [hexagonal, square])
@pytest.mark.parametrize("indexed", [True, False])
def test_the_pitch_is_found_despite_holes_and_scatter(pattern, indexed):
    xy, row, column = pattern(137.0)
    random = np.random.default_rng(0)
    kept = random.random(len(xy)) < 0.6
    xy = (xy + random.normal(0, 2, xy.shape))[kept]
    assert lattice(xy, *((row[kept], column[kept]) if indexed else ())).pitch == pytest.approx(137, rel=0.02)


def test_indices_that_do_not_explain_the_positions_are_not_believed():
    xy, row, column = hexagonal(100.0)
    assert lattice(xy, row, column).kind == "hexagonal"
    assert lattice(xy, column, row).kind == ""  # swapped
    assert lattice(xy, column, row).pitch == pytest.approx(100)
    shuffled = np.random.default_rng(0).permutation(len(xy))
    assert lattice(xy, row[shuffled], column[shuffled]).pitch == pytest.approx(100)
    assert lattice(xy, np.zeros(len(xy)), np.zeros(len(xy))).pitch == pytest.approx(100)
    xy, row, column = square(100.0)
    assert lattice(xy, row, column).kind == "square"
    assert np.isnan(lattice(xy[:1]).pitch)


def test_the_order_of_the_sources():
    everything = spots(given_mpp=0.51, given_mpp_source="HEST metadata pixel_size_um_estimated", stated=0.503)
    assert pixel_size(everything, slide(0.499), 0.505).source == "the user"
    assert pixel_size(everything, slide(0.499)).um == 0.51
    assert "HEST" in pixel_size(everything, slide(0.499)).source
    lattice_known = spots(stated=0.503)
    assert pixel_size(lattice_known, slide(0.499)).um == pytest.approx(0.5)
    assert "Visium lattice (100 µm pitch, 200 px)" in pixel_size(lattice_known, slide(0.499)).source
    assert pixel_size(spots(pitch_um=0.0, stated=0.503), slide(0.499)).um == 0.503
    assert pixel_size(spots(pitch_um=0.0), slide(0.499)).um == 0.499
    assert pixel_size(None, slide(0.499)).source == "the slide's Aperio tag"
    assert pixel_size(None, slide(), 0.25).um == 0.25


def test_sources_that_disagree_by_more_than_five_percent_are_named():
    assert pixel_size(spots(), slide(0.52)).disagreements == ()
    (said,) = pixel_size(spots(), slide(1.0)).disagreements
    assert "0.5 µm" in said
    assert "1 µm according to the slide's Aperio tag" in said
    assert len(pixel_size(spots(stated=0.7), slide(1.0), 0.25).disagreements) == 3


def test_an_unknown_pixel_size_is_asked_for_and_not_taken_from_the_spot_diameter():
    with pytest.raises(UserError, match=r"slide\.svs is not known; give it") as known:
        pixel_size(spots(pitch_um=0.0), slide())
    assert known.value.setting == "pixel size"
    with pytest.raises(UserError, match="not known"):
        pixel_size(None, slide())
    printers = slide()
    printers.mpp_note = "its tag says 353 µm"
    with pytest.raises(UserError, match=r"not known \(its tag says 353 µm\)"):
        pixel_size(None, printers)


@pytest.mark.parametrize("given", [0.0, -0.5, float("nan"), float("inf"), 0.01, 50.0])
def test_an_impossible_pixel_size_is_refused(given):
    with pytest.raises(UserError, match="impossible"):
        pixel_size(None, slide(0.5), given)


def test_an_impossible_lattice_is_refused():
    with pytest.raises(UserError, match=r"slide\.svs: the pixel size from the spots' Visium lattice .*impossible"):
        pixel_size(spots(pitch=10.0), slide(0.5))


def test_real_sections_have_the_pixel_size_that_their_study_states(real_data):
    for name in ("C2.h5ad", "C5.h5ad", "raw"):
        section = open_spots(real_data / "her2st" / name)
        found = pixel_size(section, slide())
        assert found.um == pytest.approx(0.688, rel=0.01)
        assert "ST lattice" in found.source
        assert found.disagreements == ()
