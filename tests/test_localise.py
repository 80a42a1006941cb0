"""Thresholds, areas, outlines and agreement, against numbers computed here."""

from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.json_entries import read_entries
from napari_cmrcnet.common.metrics import mean_z
from napari_cmrcnet.evaluation.localise import agreement, example_threshold, otsu
from napari_cmrcnet.evaluation.shown import panel_score
from napari_cmrcnet.retrieval.genes import GeneNames
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.sections.panels import PANEL_MAY_LACK, Panel, load_panel, save_panel
from napari_cmrcnet.sections.regions import Region
from napari_cmrcnet.sections.spot_area import area_mm2, outline_of, spot_cell


def lattice(kind: str, pitch: float, turned: float = 0.0, n: int = 12) -> np.ndarray:
    """Return n × n spots of a lattice, turned by an angle, scattered by 3 % of the pitch."""
    row, column = np.mgrid[:n, :n].astype(float)
    if kind == "hexagonal":
        column, row = column + 0.5 * (row % 2), row * np.sqrt(3) / 2
    xy = np.stack([column.ravel(), row.ravel()], axis=1) * pitch
    turn = np.array([[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]])
    return xy @ turn.T + np.random.default_rng(1).normal(0, 0.03 * pitch, xy.shape) / 2 + 5000


def test_otsu_has_the_largest_variance_between_the_groups() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(1, 0.4, 130), rng.normal(3, 0.5, 50)])
    found = otsu([*values, np.nan])

    def between(threshold: float) -> float:
        low, high = values[values <= threshold], values[values > threshold]
        return len(low) * len(high) * (low.mean() - high.mean()) ** 2

    every = [(low + high) / 2 for low, high in pairwise(np.sort(values))]
    assert between(found) == pytest.approx(max(map(between, every)))
    assert 1.6 < found < 2.4
    assert otsu([0, 0, 0, 5]) == 2.5
    with pytest.raises(UserError, match="all spots have the same value"):
        otsu([2.0, 2.0, np.nan])


def test_agreement_is_dice_and_the_share_of_pairs_in_the_right_order() -> None:
    values = np.array([0.1, 0.9, 0.4, 0.4, 0.8, 0.2, np.nan, 5.0])
    known = np.array([0, 1, 1, 0, 1, 0, 1, 1], bool)
    counted = np.array([1, 1, 1, 1, 1, 1, 1, 0], bool)
    found = agreement(values, 0.3, known, counted)
    assert (found.n, found.inside, found.known, found.both) == (6, 4, 3, 3)
    assert found.dice == pytest.approx(2 * 3 / (4 + 3))
    pairs = [(a > b) + 0.5 * (a == b) for a in (0.9, 0.4, 0.8) for b in (0.1, 0.4, 0.2)]
    assert found.auc == pytest.approx(np.mean(pairs))
    said = "Dice 0.86, AUC 0.94. Of 6 spots 3 belong to the class, 4 are above the threshold, and 3 are both."
    assert said in found.in_words()
    assert np.isnan(agreement(values, 0.3, np.ones(8, bool)).auc)
    assert "AUC undefined" in agreement(values, 0.3, np.ones(8, bool)).in_words()


@pytest.mark.parametrize(("kind", "cell"), [("square", 1.0), ("hexagonal", np.sqrt(3) / 2)])
@pytest.mark.parametrize("turned", [0.0, 0.3])
def test_the_cell_of_a_spot_is_that_of_its_lattice(kind: str, cell: float, turned: float) -> None:
    xy = lattice(kind, 200.0, turned)
    assert spot_cell(xy, 200.0).area == pytest.approx(cell * 200**2, rel=0.03)
    # 100 µm of pitch at 0.5 µm a pixel: 84 spots of 0.01 mm², or 0.866 of it
    assert area_mm2(84, xy, 200.0, 0.5) == pytest.approx(84 * cell * 0.01, rel=0.03)


@pytest.mark.parametrize("kind", ["square", "hexagonal"])
@pytest.mark.parametrize("turned", [0.0, 0.3])
def test_an_outline_holds_the_chosen_spots_and_no_other(kind: str, turned: float) -> None:
    xy = lattice(kind, 200.0, turned)
    chosen = np.hypot(*(xy - xy.mean(axis=0)).T) < 700
    chosen |= xy[:, 0] == xy[:, 0].max()  # one far away
    chosen[np.argmin(np.hypot(*(xy - xy.mean(axis=0)).T))] = False  # and a hole
    outline = outline_of(xy, chosen, 200.0)
    np.testing.assert_array_equal(Region("R", "", outline).contains(xy), chosen)
    assert outline.area == pytest.approx(chosen.sum() * spot_cell(xy, 200.0).area, rel=0.03)
    parts = getattr(outline, "geoms", [outline])
    assert len(parts) == 2
    assert sum(len(part.interiors) for part in parts) == 1
    assert outline_of(xy, np.zeros(len(xy), bool), 200.0).is_empty


def test_few_spots_have_square_cells() -> None:
    xy = np.array([[0.0, 0.0], [200.0, 0.0], [400.0, 0.0]])
    assert spot_cell(xy, 200.0).area == 200.0**2
    assert outline_of(xy, np.array([True, True, False]), 200.0).area == pytest.approx(2 * 200.0**2)


def test_a_signature_counts_genes_against_its_score(
    tmp_path: Path, predicted: Prediction, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(2).gamma(2, size=(30, 4))
    values[:, 3] = 1.0  # constant
    z = (values[:, :3] - values[:, :3].mean(axis=0)) / values[:, :3].std(axis=0)
    np.testing.assert_allclose(mean_z(values, [1, -1, 1, -1]), (z[:, 0] - z[:, 1] + z[:, 2]) / 3, rtol=1e-5)
    panel = Panel("tumour", ("ERBB2", "KRT19", "COL1A1"), ("COL1A1",))
    genes = predicted.genes[:2]
    ids = tuple(f"ENSG{place}" for place in range(len(predicted.genes)))
    named = GeneNames(predicted.genes, ids)
    monkeypatch.setattr(Prediction, "names", named)
    score = panel_score(predicted, Panel("p", ("ENSG0", "ENSG1"), ("ENSG1.3",)))
    np.testing.assert_array_equal(score.predicted, mean_z(predicted.expression(genes), [1, -1]))
    np.testing.assert_array_equal(score.measured, mean_z(predicted.measured(genes), [1, -1]))
    save_panel(panel, tmp_path / "tumour.txt")
    assert (tmp_path / "tumour.txt").read_text("utf-8") == "ERBB2\nKRT19\n-COL1A1\n"
    assert load_panel(tmp_path / "tumour.txt") == panel
    assert read_entries(Panel, asdict(panel)) == panel
    assert read_entries(Panel, {"name": "idc", "genes": ["A", "B"]}, PANEL_MAY_LACK) == Panel("idc", ("A", "B"))


def test_up_and_down_sets_of_a_gmt_are_one_signature(tmp_path: Path) -> None:
    gmt = tmp_path / "sets.gmt"
    gmt.write_text("BASAL_UP\tx\tKRT5\tKRT14\nBASAL_DN\tx\tESR1\n", "utf-8")
    wanted = Panel("BASAL", ("KRT5", "KRT14", "ESR1"), ("ESR1",))
    assert load_panel(gmt) == wanted
    assert load_panel(f"{gmt}:BASAL") == wanted
    assert load_panel(f"{gmt}:BASAL_UP").genes == ("KRT5", "KRT14")
    gmt.write_text("A_UP\tx\tKRT5\nA_DOWN\tx\tESR1\nOTHER\tx\tVIM\n", "utf-8")
    assert load_panel(f"{gmt}:A") == Panel("A", ("KRT5", "ESR1"), ("ESR1",))
    with pytest.raises(UserError, match="3 gene sets"):
        load_panel(gmt)


def test_a_threshold_from_an_example_is_the_best_of_all() -> None:
    """Also where the example is only a part of what is high: the others that are high change nothing."""
    rng = np.random.default_rng(0)
    high = np.arange(200) < 60
    values = np.round(rng.normal(high * 2.0, 1.0), 1)
    for example in (high, high & (np.arange(200) % 3 == 0)):
        found = example_threshold(values, example)
        cuts = np.unique(values)[:-1] + 0.05
        index = [(values[example] > cut).mean() - (values[~example] > cut).mean() for cut in cuts]
        assert (values[example] > found).mean() - (values[~example] > found).mean() == pytest.approx(max(index))
    gone = np.append(values, np.nan)
    assert example_threshold(gone, np.append(high, True)) == example_threshold(values, high)
    with pytest.raises(UserError, match="are not higher in the example"):
        example_threshold(-high.astype(float), high)
    with pytest.raises(UserError, match="inside and outside"):
        example_threshold(values, np.ones(200, bool))
