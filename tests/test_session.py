"""The session: what is shown and how, told to whoever listens; remembered by a saved prediction."""

import shutil
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shapely.geometry import MultiPolygon, Polygon, box

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.metrics import pcc
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.evaluation.figures import gene_map, ground_of
from napari_cmrcnet.evaluation.maps_figure import caption
from napari_cmrcnet.evaluation.scores import score
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.sections.panels import Panel
from napari_cmrcnet.sections.regions import Region
from napari_cmrcnet.viewer.coloring import colormap, colours, expression_limits, label, limits, values
from napari_cmrcnet.viewer.display_settings import DisplaySettings
from napari_cmrcnet.viewer.region_memory import STEPS
from napari_cmrcnet.viewer.reopen import open_prediction, slide_of
from napari_cmrcnet.viewer.session import Session
from napari_cmrcnet.viewer.view_record import record_of


@pytest.fixture
def prediction(
    untrained_checkpoint: Checkpoint, tmp_path: Path, write_section: Callable[..., Any], open_small: Callable[..., Any]
) -> Prediction:
    section = open_small(*write_section(tmp_path / "data", "C", 3), name="C", patient="P3")
    return finish(predict(section, untrained_checkpoint, PredictConfig(k=6, device="cpu")))


@pytest.fixture
def session(prediction: Prediction) -> Session:
    session = Session()
    session.look_at(prediction)
    return session


def test_genes_of_a_signature_that_are_low_count_against_its_score(session: Session, prediction: Prediction) -> None:
    session.show_panel(Panel("signature", ("GENE1", "GENE2"), down=("GENE2",)))
    assert session.shown is not None
    assert session.shown.measured is not None
    for shown, both in (
        (session.shown.predicted, prediction.expression(["GENE1", "GENE2"])),
        (session.shown.measured, np.asarray(prediction.measured(["GENE1", "GENE2"]))),
    ):
        z = (both - both.mean(axis=0)) / both.std(axis=0)
        np.testing.assert_allclose(shown, (z[:, 0] - z[:, 1]) / 2, atol=1e-4)


def heard(signal: Any) -> list[Any]:
    """Collect what a signal says."""
    said: list[Any] = []
    signal.connect(lambda *values: said.append(values))
    return said


def test_first_the_panel_s_first_marker_is_shown(session: Session) -> None:
    assert session.shown is not None
    assert session.shown.name == "GENE3"  # the checkpoint's panel is GENE3 and GENE4


def test_a_gene_comes_with_its_correlation_and_its_interval_once_scores_are_there(
    session: Session, prediction: Prediction
) -> None:
    session.show("GENE7")
    shown = session.shown
    assert shown is not None
    measured = np.asarray(prediction.measured(["GENE7"]))
    np.testing.assert_allclose(shown.pcc, pcc(measured, prediction.expression(["GENE7"]))[0])
    assert shown.flat == (np.ptp(np.percentile(shown.predicted, [1, 99])) < 0.5)
    varies = "   prediction hardly varies" * shown.flat
    word = shown.trust.word
    assert word
    assert shown.title == f"C, patient P3   GENE7  PCC {shown.pcc:.2f} · {word}{varies}   n = 36 spots"
    said = heard(session.shown_changed)
    scores = score(prediction)
    session.set_scores(scores)
    assert len(said) == 1
    low, high = scores.table.loc["GENE7", ["low", "high"]]
    assert session.shown is not None
    interval = f"(95 % {low:.2f} to {high:.2f})"
    said = f"PCC {shown.pcc:.2f} {interval} · {session.shown.trust.word}"
    assert session.shown.title == f"C, patient P3   GENE7  {said}{varies}   n = 36 spots"


def with_counts(like: Prediction, counts: np.ndarray) -> Prediction:
    spots = like.spots.copy()
    spots.X = type(spots.X)(counts)
    return Prediction(spots, like.neighbours, like.similarity, like.confidence(), like.provenance, bank=like.bank)


def test_spots_with_hardly_a_count_are_shown_and_not_scored(session: Session, prediction: Prediction) -> None:
    counts = prediction.spots.X.toarray()
    counts[:2] = 0
    counts[0, 7] = 9
    fresh = with_counts(prediction, counts)
    session.look_at(fresh)
    session.show("GENE7")
    shown = session.shown
    assert shown is not None
    assert shown.measured is not None
    assert len(shown.measured) == 36
    assert shown.pcc == pytest.approx(pcc(shown.measured[2:, None], shown.predicted[2:, None])[0])
    assert shown.title.endswith("n = 34 of 36 spots")
    assert "Left out of scores, not of maps: 2 of 36 spots (too few counts)." in shown.tip
    assert score(fresh).table.pcc["GENE7"] == pytest.approx(shown.pcc)  # one rule for window and table


def test_the_title_s_tip_has_what_the_title_leaves_out(session: Session, prediction: Prediction) -> None:
    session.show("GENE7")
    assert session.shown is not None
    said = f"Pearson correlation (PCC) of predicted and measured: {session.shown.pcc:z.2f}."
    assert session.shown.tip.splitlines()[-1] == said
    assert session.shown.tip.splitlines()[0] == session.shown.trust.word.capitalize()
    session.set_scores(score(prediction))
    row = score(prediction).table.loc["GENE7"]
    assert f"Spearman's: {row.spearman:z.2f}." in session.shown.tip
    assert f"sequencing depth removed: {row.partial_pcc:z.2f}." in session.shown.tip
    assert "not another section or patient" in session.shown.tip


def test_a_gene_found_at_hardly_any_spot_has_no_score(session: Session, prediction: Prediction) -> None:
    counts = prediction.spots.X.toarray()
    counts[9:, 7] = 0
    session.look_at(with_counts(prediction, counts))
    session.show("GENE7")
    assert session.shown is not None
    assert session.shown.undefined == "found at 9 of 36 spots"
    assert "PCC undefined (found at 9 of 36 spots)" in session.shown.title


def test_a_gene_that_was_not_measured_says_so(
    untrained_checkpoint: Checkpoint, tmp_path: Path, write_section: Callable[..., Any], open_small: Callable[..., Any]
) -> None:
    section = open_small(*write_section(tmp_path / "data", "C", 3), name="C")
    fewer = replace(section, spots=section.spots[:, [f"GENE{i}" for i in range(20)]].copy())
    session = Session()
    session.look_at(finish(predict(fewer, untrained_checkpoint, PredictConfig(k=6, device="cpu"))))
    session.show("GENE22")
    assert session.shown is not None
    assert session.shown.measured is None
    assert session.shown.title.startswith("C   GENE22, predicted only   ")
    assert "PCC" not in session.shown.title


def test_an_unknown_gene_leaves_what_was_shown(session: Session) -> None:
    before = session.shown
    with pytest.raises(UserError, match="no gene GENE99"):
        session.show("GENE99")
    assert session.shown is before


def test_a_panel_s_score_is_the_mean_of_z_scores(session: Session, prediction: Prediction) -> None:
    session.show_panel(Panel("mine", ("GENE1", "GENE2", "not in the bank")))
    shown = session.shown
    assert shown is not None
    assert (shown.name, shown.kind, shown.unit) == ("mine", "panel", "mean z")
    expected = []
    for gene in ("GENE1", "GENE2"):
        one = prediction.gene(gene).astype(float)
        expected.append((one - one.mean()) / one.std())
    np.testing.assert_allclose(shown.predicted, np.mean(expected, axis=0), atol=1e-5)
    with pytest.raises(UserError, match="none of the genes of the panel “other”"):
        session.show_panel(Panel("other", ("nothing",)))


def test_steps_walk_through_the_list_and_stop_at_its_ends(session: Session) -> None:
    session.listed = ("GENE5", "GENE3", "GENE9")
    visited = []
    for by in (1, 1, -1, -1, -1):
        session.step(by)
        assert session.shown is not None
        visited.append(session.shown.name)
    assert visited == ["GENE9", "GENE9", "GENE3", "GENE5", "GENE5"]


def test_a_look_that_changes_nothing_is_not_told(session: Session) -> None:
    said = heard(session.display_changed)
    session.set_display(colormap="viridis")
    assert said == []
    session.set_display(colormap="magma")
    assert [(new.colormap, old.colormap) for new, old in said] == [("magma", "viridis")]


def test_flipping_goes_back_and_forth_between_predicted_and_measured(session: Session) -> None:
    fronts = []
    for _ in range(3):
        session.flip()
        fronts.append((session.display.layout, session.display.front))
    assert fronts == [("overlaid", "measured"), ("overlaid", "predicted"), ("overlaid", "measured")]


def test_measured_and_predicted_share_their_limits(session: Session, prediction: Prediction) -> None:
    shown, display = session.shown, session.display
    assert shown is not None
    assert shown.measured is not None
    assert limits("predicted", shown.predicted, shown, replace(display, from_zero=True))[0] == 0
    both = np.concatenate([shown.measured, shown.predicted])
    expected = tuple(np.percentile(both, [1, 99]))
    for view, own in (("measured", shown.measured), ("predicted", shown.predicted)):
        np.testing.assert_allclose(limits(view, own, shown, display), expected, rtol=1e-6)
    by_hand = DisplaySettings(limits=(0.5, 2.0))
    assert limits("measured", shown.measured, shown, by_hand) == (0.5, 2.0)
    difference = values("difference", shown, prediction, display)
    low, high = limits("difference", difference, shown, display)
    assert low == -high < 0
    assert label("measured", shown, display) == "GENE3 measured, log-norm."


def test_local_pcc_is_shown_where_a_window_has_enough_spots(session: Session, prediction: Prediction) -> None:
    """What has no value has no colour: it must not look like a 0."""
    from napari.utils.colormaps import ensure_colormap

    shown = session.shown
    assert shown is not None
    whole = replace(session.display, window_um=5000.0)
    of_all = values("local PCC", shown, prediction, whole)
    np.testing.assert_allclose(of_all, shown.pcc, atol=1e-5)
    of_few = values("local PCC", shown, prediction, replace(whole, window_um=20.0))
    assert np.isnan(of_few).all()
    between = limits("local PCC", of_few, shown, whole)
    assert between == (-1, 1)
    table = ensure_colormap(colormap("local PCC", whole))
    assert not colours(of_few, between, table)[:, 3].any()
    assert colours(of_all, between, table)[:, 3].all()
    assert label("local PCC", shown, whole) == "GENE3 PCC within 5000 µm"
    assert "local PCC" in session.views
    session.shown = replace(shown, measured=None)
    assert "local PCC" not in session.views


@pytest.mark.parametrize("flat", [False, True])
def test_window_figure_and_report_have_the_same_limits(session: Session, prediction: Prediction, flat: bool) -> None:
    """ESR1 on HER2ST's C5, predicted between 0 and 0.04, had all colours."""
    assert session.shown is not None
    predicted = np.linspace(0, 0.04 if flat else 3, len(prediction), dtype=np.float32)
    session.shown = replace(session.shown, predicted=predicted, measured=np.zeros_like(predicted), flat=flat)
    in_window = limits("predicted", predicted, session.shown, session.display)
    figure = gene_map(ground_of(prediction), session.shown, caption=caption(prediction, session.shown))
    maps = [axis.collections[0] for axis in figure.axes if axis.get_title() in ("measured", "predicted")]
    assert [spots.get_clim() for spots in maps] == [in_window] * 2
    assert f"colours from {in_window[0]:.2f} to {in_window[1]:.2f}" in caption(prediction, session.shown)
    share = float(np.ptp(maps[-1].norm(predicted[1:-1])))  # of the colours, by nearly all spots
    assert share < 0.1 if flat else share > 0.9
    for said in (session.shown.title, figure.get_suptitle(), caption(prediction, session.shown)):
        assert ("hardly varies" in said) == flat


def test_limits_of_a_constant_or_empty_gene_are_apart(session: Session) -> None:
    shown = session.shown
    assert shown is not None
    flat = replace(shown, predicted=np.ones(5, np.float32), measured=None)
    assert expression_limits(flat, DisplaySettings()) == (0.75, 1.25)
    empty = replace(shown, predicted=np.empty(0, np.float32), measured=None)
    assert expression_limits(empty, DisplaySettings()) == (0.0, 0.5)


def test_a_saved_prediction_is_looked_at_as_before(session: Session, prediction: Prediction, tmp_path: Path) -> None:
    session.show("GENE11")
    session.set_display(limits=(0.25, 1.5), from_zero=True, colormap="cividis", layout="overlaid", front="difference")
    prediction.view = record_of(session)
    prediction.save(tmp_path / "C.h5ad")
    opened = finish(open_prediction(tmp_path / "C.h5ad"))
    again = Session()
    told = heard(again.display_changed)
    again.look_at(opened.case, opened.slide)
    assert opened.slide is not None
    opened.slide.close()
    assert again.display == session.display
    assert len(told) == 1  # panels that are open follow
    assert again.shown is not None
    assert again.shown.name == "GENE11"


def test_regions_and_ticked_genes_come_back_with_a_saved_prediction(
    session: Session, prediction: Prediction, tmp_path: Path
) -> None:
    ring = Polygon([(10, 10), (150, 10), (150, 150), (10, 150)], [[(40, 40), (80, 40), (80, 80)]])
    drawn = [Region("", "Tumour", ring), Region("mine", "", MultiPolygon([box(0, 0, 5, 5), box(9, 9, 12.5, 30)]))]
    session.set_regions(drawn)
    session.ticked = ("GENE5", "GENE1")
    prediction.view = record_of(session)
    prediction.save(tmp_path / "C.h5ad")
    again = Session()
    opened = finish(open_prediction(tmp_path / "C.h5ad")).case
    again.look_at(opened)
    assert [(each.name, each.classification) for each in again.regions] == [("Tumour 1", "Tumour"), ("mine", "")]
    assert all(one.geometry.equals(two.geometry) for one, two in zip(again.regions, drawn, strict=True))
    assert again.ticked == ("GENE5", "GENE1")
    assert again.display == session.display
    for damaged in ({"type": "Polygon"}, 7, {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [3]}}):
        opened.view = {"regions": damaged, "ticked": [1]}
        other = Session()
        other.look_at(opened)
        assert (other.regions, other.ticked) == ((), ())


def test_changes_of_the_regions_are_taken_back_and_made_again(session: Session, prediction: Prediction) -> None:
    states = [()]
    for n in range(1, STEPS + 3):
        session.set_regions([*session.regions, Region(f"{n}", "", box(0, 0, n, n))])
        states.append(session.regions)
    session.set_regions(session.regions)  # no change, and no step
    for _ in range(STEPS + 5):
        session.undo_regions()
    assert session.regions == states[2]
    session.undo_regions(forth=True)
    assert session.regions == states[3]
    session.set_regions(())
    session.undo_regions(forth=True)  # nothing is after the last change
    assert session.regions == ()
    other = copy(prediction)
    other.provenance = replace(prediction.provenance, slide="/elsewhere.tif", spots="/elsewhere.h5ad")
    session.look_at(other)
    session.undo_regions()  # of another section
    assert session.regions == ()


def test_what_a_file_says_of_the_look_is_checked(session: Session) -> None:
    odd = {"layout": "upside down", "opacity": 7, "limits": [3, 1], "views": [], "colormap": "jet", "from_zero": 1}
    assert DisplaySettings.from_dict(odd) == DisplaySettings()


def test_a_moved_slide_is_told_and_another_slide_is_refused(
    prediction: Prediction, tmp_path: Path, write_section: Callable[..., Any]
) -> None:
    prediction.save(tmp_path / "C.h5ad")
    slide = Path(prediction.provenance.slide)
    moved = slide.rename(tmp_path / "moved.tif")
    opened = finish(open_prediction(tmp_path / "C.h5ad"))
    assert opened.slide is None
    assert opened.missing == f"The slide of C is no longer at {slide}."
    slide.write_bytes(b"")
    assert "is empty" in finish(open_prediction(tmp_path / "C.h5ad")).missing
    small, _ = write_section(tmp_path / "small", "small", side=1)
    with pytest.raises(UserError, match=r"small\.tif is not the slide of C: 35 of 36 spots lie outside it"):
        slide_of(opened.case, small)
    with slide_of(opened.case, moved):
        assert opened.case.provenance.slide == str(moved)


def test_a_slide_that_may_not_be_looked_at_is_told_like_one_that_has_moved(
    prediction: Prediction, tmp_path: Path, forbidden: Callable[[Path], None]
) -> None:
    prediction.save(tmp_path / "C.h5ad")
    slide = Path(prediction.provenance.slide)
    forbidden(slide)
    opened = finish(open_prediction(tmp_path / "C.h5ad"))
    assert opened.slide is None
    assert opened.missing == f"The slide of C is no longer at {slide}."


def test_a_checkpoint_that_may_not_be_looked_at_is_looked_for_elsewhere(
    prediction: Prediction, tmp_path: Path, forbidden: Callable[[Path], None]
) -> None:
    prediction.save(tmp_path / "C.h5ad")
    checkpoint = Path(prediction.provenance.checkpoint)
    shutil.copytree(checkpoint, tmp_path / checkpoint.name, dirs_exist_ok=True)
    for path in (checkpoint / "card.json", checkpoint):  # another's folder may be seen, but not what is in it
        forbidden(path)
        assert Prediction.load(tmp_path / "C.h5ad").bank is not None  # beside the file


def test_of_two_predictions_whose_panels_have_one_name_each_has_its_own(
    session: Session, prediction: Prediction
) -> None:
    own = prediction.panel
    assert own is not None
    session.look_at(None)
    session.add_panel(Panel(own.name, ("GENE8",)))  # of the prediction before, or of a file
    session.look_at(prediction)
    assert session.panels[own.name] == own


def test_a_panel_of_the_user_s_stays_when_the_slide_is_found(session: Session, prediction: Prediction) -> None:
    own = prediction.panel
    assert own is not None
    session.add_panel(Panel(own.name, ("GENE8",)))
    session.look_at(prediction)  # the same, as by Find slide
    assert session.panels[own.name].genes == ("GENE8",)


def test_a_panel_that_is_replaced_while_its_score_is_shown_is_shown_anew(session: Session) -> None:
    session.add_panel(Panel("mine", ("GENE1", "GENE2")))
    session.show_panel(session.panels["mine"])
    before = session.shown
    session.add_panel(Panel("mine", ("GENE5",)))
    assert before is not None
    assert session.shown is not None
    assert session.shown.name == "mine"
    assert not np.allclose(session.shown.predicted, before.predicted)
    session.add_panel(Panel("mine", ("ELSEWHERE",)))
    assert session.shown.kind == "gene"
