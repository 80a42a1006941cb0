"""A measured section without a checkpoint: opened with the slide beside it, looked at, predicted later."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import imageio.v3 as imageio
import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from scipy import sparse

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.evaluation.figures import ground_on
from napari_cmrcnet.evaluation.maps_figure import gene_maps
from napari_cmrcnet.evaluation.region_scores import groups
from napari_cmrcnet.evaluation.report import evaluate
from napari_cmrcnet.evaluation.scores import score
from napari_cmrcnet.retrieval.case import Case
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.export import to_csv, to_geojson
from napari_cmrcnet.retrieval.export_tables import to_h5ad
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.retrieval.trust import Trust
from napari_cmrcnet.sections.beside import section_name, slides_beside
from napari_cmrcnet.sections.classes import NO_CLASS, Classes
from napari_cmrcnet.sections.panels import Panel
from napari_cmrcnet.sections.spots import open_spots
from napari_cmrcnet.slides.slide import open_slide
from napari_cmrcnet.viewer.coloring import PREDICT_FIRST
from napari_cmrcnet.viewer.gene_list import GeneList
from napari_cmrcnet.viewer.registry import layers_of, session_of
from napari_cmrcnet.viewer.reopen import open_measured
from one_prediction import Known, check, look_at
from test_spots import make_outs


@pytest.fixture
def measured(known: dict[str, Known]) -> Known:
    """Section C, measured only."""
    section = known["C"].section
    case = Case.of(section.spots, "C", section.slide)
    case.provenance = replace(case.provenance, patient="P3", mpp=0.5)
    return Known(section, case)


@pytest.fixture
def viewer(measured: Known) -> ViewerModel:
    window = ViewerModel()
    look_at(window, measured)
    return window


def test_all_measured_genes_are_there_at_once(measured: Known, known: dict[str, Known]) -> None:
    case = measured.case
    assert case.prediction is None
    assert len(case.genes) == 24
    assert case.measured_genes == case.genes
    both = known["C"].prediction.measured_genes
    np.testing.assert_array_equal(case.measured(both), known["C"].prediction.measured(both))
    genes = GeneList(case)
    assert genes.any_measured
    assert not genes.any_predicted
    assert not genes.scores_due
    assert genes.note(scoring=False).startswith("Measured only.")
    genes.arrange("gene7")
    assert genes.listed[0] == "GENE7"


def test_its_highest_genes_and_the_maps_of_a_panel_are_measured(measured: Known) -> None:
    case = measured.case
    values = np.asarray(case.measured(case.genes))
    assert case.measured_sets["HEG"][0] == case.genes[int(values.mean(axis=0).argmax())]
    assert case.measured_sets["HVG"][0] == case.genes[int(values.var(axis=0).argmax())]
    genes = GeneList(case)
    assert genes.sets["HVG"].sum() == 24
    (drawn,) = gene_maps(case, ["GENE3"])
    assert list(drawn.maps) == ["measured"]


def test_only_the_measured_view_is_shown(viewer: ViewerModel) -> None:
    session, layers = session_of(viewer), layers_of(viewer)
    means = session.case.measured_means()  # type: ignore[union-attr]
    assert session.shown is not None
    assert session.shown.name == session.case.genes[int(means.argmax())]  # type: ignore[union-attr]
    assert session.shown.title.endswith(", measured only   n = 36 spots")
    check(viewer)
    for change in (
        {"layout": "side by side"},
        {"layout": "overlaid", "front": "predicted"},
        {"views": ("difference", "confidence"), "layout": "side by side"},
    ):
        session.set_display(**change)
        assert layers.session.shown_views == ("measured",)
        check(viewer)
    assert session.views == ("measured",)
    front = session.display.front
    session.flip()
    assert session.display.front == front
    session.show_panel(Panel("two", ("GENE3", "GENE4")))
    check(viewer)
    assert "similarity" not in layers.points["measured"].features
    layers.groups.add("confidence")
    layers.groups.colour()
    with pytest.raises(UserError, match="has no gene GENE99"):
        session.show("GENE99")


def test_a_view_that_needs_a_prediction_says_so(viewer: ViewerModel) -> None:
    from napari_cmrcnet.viewer.coloring import values

    session = session_of(viewer)
    assert session.shown is not None
    assert session.case is not None
    for view in ("predicted", "difference", "local PCC", "confidence"):
        with pytest.raises(UserError, match=PREDICT_FIRST):
            values(view, session.shown, session.case, session.display)


def test_predicting_adds_to_what_is_open(viewer: ViewerModel, known: dict[str, Known]) -> None:
    session, layers = session_of(viewer), layers_of(viewer)
    session.show("GENE9")
    session.set_display(colormap="magma")
    look_at(viewer, known["C"])
    assert session.shown is not None
    assert session.shown.name == "GENE9"
    assert session.display.colormap == "magma"
    assert layers.session.shown_views == ("measured", "predicted")
    check(viewer)


def test_the_histology_stays_where_the_slide_is_the_same_file(
    viewer: ViewerModel, measured: Known, known: dict[str, Known]
) -> None:
    """To read and upload it again would be most of the time that the window stands still."""
    session, layers = session_of(viewer), layers_of(viewer)
    slide, drawn = session.slide, layers.slides["measured"]
    assert slide is not None
    for case, views in ((known["C"].case, ["measured", "predicted"]), (measured.case, ["measured"])):
        session.look_at(case, open_slide(slide.path))
        assert session.slide is slide
        assert sorted(layers.slides) == views
        assert layers.slides["measured"] is drawn
        check(viewer)
    look_at(viewer, known["D"])
    assert drawn not in viewer.layers
    check(viewer)


def test_what_was_measured_and_cannot_be_predicted_is_there_too(
    viewer: ViewerModel, known: dict[str, Known], tmp_path: Path
) -> None:
    made, session = known["C"].prediction, session_of(viewer)
    counts = made.spots.X.tocsc()
    var = pd.concat([made.spots.var, made.spots.var.iloc[:1].set_axis(["EXTRA"])])
    if "gene_ids" in var:
        var["gene_ids"] = [*made.spots.var["gene_ids"], ""]
    spots = anndata.AnnData(sparse.hstack([counts, counts[:, [7]]]).tocsr(), made.spots.obs, var)
    spots.uns, spots.obsm["spatial"] = made.spots.uns, made.xy
    wider = Prediction(spots, made.neighbours, made.similarity, made.confidence(), made.provenance, bank=made.bank)
    assert "EXTRA" not in wider.genes
    assert wider.measured_genes == made.measured_genes  # scores are of what is both
    session.look_at(wider, known["C"].section.slide)
    session.show("EXTRA")
    assert session.shown is not None
    assert session.shown.predicted is None
    np.testing.assert_array_equal(session.shown.measured, wider.measured(["EXTRA"])[:, 0])  # type: ignore[index]
    assert layers_of(viewer).session.shown_views == ("measured",)
    genes = GeneList(wider)
    column = genes.names.column("EXTRA")
    assert column == len(genes) - 1
    assert genes.reason(column) == "not predicted"
    assert genes.trust(column) == Trust()
    assert genes.measured[column] == pytest.approx(float(session.shown.measured.mean()), rel=1e-5)  # type: ignore[union-attr]
    assert np.isnan(genes.predicted[column])
    genes.set_scores(score(wider))
    finish(to_csv(wider, tmp_path / "a.csv", ["EXTRA", "GENE3"]))
    table = pd.read_csv(tmp_path / "a.csv")
    assert list(table.columns)[-3:] == ["EXTRA measured", "GENE3 predicted", "GENE3 measured"]
    np.testing.assert_allclose(table["GENE3 predicted"], wider.gene("GENE3"), rtol=1e-6)
    finish(to_h5ad(wider, tmp_path / "a.h5ad", ["EXTRA", "GENE3"]))
    written = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert np.isnan(written.layers["predicted"][:, 0]).all()
    np.testing.assert_array_equal(written.layers["measured"], wider.measured(["EXTRA", "GENE3"]))
    session.show("GENE3")
    assert layers_of(viewer).session.shown_views == ("measured", "predicted")


def test_nothing_of_another_section_stays(viewer: ViewerModel, measured: Known, known: dict[str, Known]) -> None:
    session = session_of(viewer)
    session.select([3])
    for which in (known["D"], measured, known["C"], measured):
        look_at(viewer, which)
        assert not session.selected.size
        check(viewer)


def test_classes_of_the_spots_are_shown_and_are_rows_of_the_regions(viewer: ViewerModel, measured: Known) -> None:
    case, session, layers = measured.case, session_of(viewer), layers_of(viewer)
    assert session.classes is None
    assert "classes" not in session.views
    obs = case.spots.obs.copy()
    obs["cluster"] = np.arange(36) % 3
    obs["kind"] = pd.Categorical(["tumour", None, "stroma", "stroma"] * 9, ["tumour", "stroma", "unused"])
    obs["name"], obs["depth"], obs["one"] = case.spots.obs_names, np.linspace(0, 1, 36), "same"
    spots = anndata.AnnData(case.spots.X, obs, case.spots.var, dict(case.spots.uns), obsm=dict(case.spots.obsm))
    with_classes = Case(spots, case.provenance)
    assert tuple(with_classes.classes) == ("cluster", "kind")
    assert all(of.codes.nbytes == 36 for of in with_classes.classes.values())  # all are kept while the case is open
    session.look_at(with_classes, measured.section.slide)
    session.set_display(layout="side by side", views=("measured", "classes"), classes="kind")
    check(viewer)
    assert layers.session.shown_views == ("measured", "classes")
    classes, layer = session.classes, layers.points["classes"]
    assert classes is not None
    assert (classes.names, classes.counts) == (("tumour", "stroma"), [9, 18])
    assert list(layer.features["class"][:4]) == ["tumour", "", "stroma", "stroma"]
    colours = np.rint(255 * np.asarray(layer.face_color)[:4, :3]).astype(int).tolist()
    assert colours == [list(colour) for colour in (classes.colours[0], NO_CLASS, *2 * classes.colours[1:2])]
    assert layer.name == "kind"
    session.show("GENE5")  # another gene changes nothing of them
    assert list(layer.features["class"][:2]) == ["tumour", ""]
    session.set_display(classes="cluster")
    assert list(layer.features["class"][:3]) == ["0", "1", "2"]
    rows = groups(case.xy, (), session.classes)
    assert [(row.kind, row.name, row.classification, int(row.spots.sum())) for row in rows] == [
        *(("of spots", str(code), "cluster", 12) for code in range(3)),
        ("all", "all spots", "", 36),
    ]
    session.look_at(case, measured.section.slide)
    assert layers.session.shown_views == ("measured",)
    assert "classes" not in layers.points


def test_more_classes_have_colours_that_differ() -> None:
    classes = Classes("x", tuple(map(str, range(40))), np.arange(40, dtype=np.int8))
    assert len(set(classes.colours)) == 40


def test_what_is_exported_is_measured(measured: Known, tmp_path: Path) -> None:
    case = measured.case
    finish(to_csv(case, tmp_path / "a.csv", ["GENE3", "GENE5"]))
    table = pd.read_csv(tmp_path / "a.csv")
    assert list(table.columns) == ["spot", "section", "x", "y", "x_um", "y_um", "GENE3 measured", "GENE5 measured"]
    np.testing.assert_allclose(table["GENE5 measured"], case.measured(["GENE5"])[:, 0], rtol=1e-6)  # type: ignore[index]
    finish(to_geojson(case, tmp_path / "a.geojson", ["GENE3"]))
    feature = json.loads((tmp_path / "a.geojson").read_text())["features"][0]
    assert list(feature["properties"]["measurements"]) == ["GENE3 measured"]
    finish(to_h5ad(case, tmp_path / "a.h5ad"))
    written = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert list(written.layers) == ["measured"]
    np.testing.assert_array_equal(written.X, case.measured(case.genes))
    with pytest.raises(UserError, match="no gene GENE99"):
        finish(to_csv(case, tmp_path / "b.csv", ["GENE99"]))


@pytest.mark.parametrize(
    ("spots", "slide"),
    [
        ("S.h5ad", "S.tif"),
        ("S.h5ad", "images/S.tif"),
        ("st/S.h5ad", "wsis/S.tif"),
        ("S.h5ad", "any name.tif"),
    ],
)
def test_the_slide_is_found_beside_the_spots(
    tmp_path: Path, write_section: Callable[..., Any], spots: str, slide: str
) -> None:
    image, table = write_section(tmp_path / "made", "C", 3)
    for source, name in ((image, slide), (table, spots)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.move(source, tmp_path / name)
    opened = finish(open_measured(tmp_path / spots))
    assert opened.missing == ""
    assert opened.slide is not None
    with opened.slide:
        assert opened.slide.path.resolve() == tmp_path / slide
        assert opened.case.provenance.slide == str(tmp_path / slide)
        assert opened.case.name == Path(slide).stem


def test_of_several_slides_none_is_guessed(tmp_path: Path, write_section: Callable[..., Any]) -> None:
    image, table = write_section(tmp_path, "C", 3)
    shutil.copy(image, tmp_path / "one.tif")
    image.rename(tmp_path / "another.tif")
    opened = finish(open_measured(table))
    assert opened.slide is None
    assert opened.missing == f"No slide was found beside {table}."
    assert opened.case.name == "C"


def test_a_slide_that_does_not_fit_is_not_shown(tmp_path: Path, write_section: Callable[..., Any]) -> None:
    image, _ = write_section(tmp_path / "small", "C", 3, side=3)
    _, table = write_section(tmp_path / "large", "C", 3)
    shutil.copy(image, table.with_suffix(".tif"))
    opened = finish(open_measured(table))
    assert opened.slide is None
    assert "spots outside" in opened.missing


def test_without_pixel_size_a_section_is_shown_in_pixels(tmp_path: Path, write_section: Callable[..., Any]) -> None:
    _, table = write_section(tmp_path, "C", 3)
    opened = finish(open_measured(table))
    assert opened.case.provenance.mpp == 0
    assert any("pixel size" in note for note in opened.case.provenance.notes)
    viewer = ViewerModel()
    session_of(viewer).look_at(opened.case, opened.slide)
    assert layers_of(viewer).points["measured"].scale.tolist() == [1, 1]
    assert opened.slide is not None
    opened.slide.close()


def test_real_outs_are_shown_over_their_small_picture(real_data: Path) -> None:
    outs = real_data / "spaceranger" / "outs"
    opened = finish(open_measured(outs))
    assert opened.case.name == "spaceranger"
    assert len(opened.case) == 2898
    assert opened.missing == ""
    assert opened.case.provenance.slide == ""  # it is not what a model can read
    assert opened.case.provenance.mpp > 0
    assert section_name(outs / "filtered_feature_bc_matrix.h5") == "spaceranger"
    assert opened.slide is not None
    with opened.slide:
        assert opened.slide.path.name == "tissue_lowres_image.png"
        assert opened.slide.scale == pytest.approx(5)


def test_a_small_picture_lies_under_its_spots(tmp_path: Path) -> None:
    outs = make_outs(tmp_path / "S1" / "outs", tissue_hires_scalef=0.1)
    spots = open_spots(outs)
    side = int(spots.obsm["spatial"].max() * 0.1) + 2
    imageio.imwrite(outs / "spatial" / "tissue_hires_image.png", np.full((side, side, 3), 200, np.uint8))
    opened = finish(open_measured(outs))
    assert opened.slide is not None
    assert opened.slide.scale == pytest.approx(10)
    viewer = ViewerModel()
    session_of(viewer).look_at(opened.case, opened.slide)
    layers = layers_of(viewer)
    pixel = opened.case.provenance.mpp or 1
    (slide,) = layers.slides.values()
    assert slide.scale.tolist() == pytest.approx([10 * pixel] * 2)
    low, high = slide.extent.world  # centres of the first and the last pixel, each of 10 × 10 of the slide's
    np.testing.assert_allclose(low, [4.5 * pixel] * 2, rtol=1e-4)
    np.testing.assert_allclose(high, [(10 * side - 5.5) * pixel] * 2, rtol=1e-4)
    ground = ground_on(opened.case, opened.slide)
    assert ground.image is not None
    assert ground.downsample * ground.image.shape[1] == pytest.approx(10 * side)
    opened.slide.close()


def test_a_real_section_finds_its_slide(real_data: Path) -> None:
    spots = real_data / "her2st" / "C5.h5ad"
    assert next(slides_beside(spots, open_spots(spots))) == spots.with_suffix(".tif")


@pytest.fixture
def logs(write_section: Callable[..., Any], tmp_path: Path) -> tuple[Path, Path]:
    """Section C, of which the file holds log-normalised values and no counts: slide and spots."""
    slide, spots = write_section(tmp_path, "C", 3)
    table = anndata.read_h5ad(spots)
    table.X = np.log1p(1e4 * table.X.toarray() / table.X.toarray().sum(axis=1, keepdims=True)).astype(np.float32)
    table.write_h5ad(spots)
    return slide, spots


def test_normalised_values_are_shown_as_they_are(logs: tuple[Path, Path]) -> None:
    opened = finish(open_measured(logs[1]))
    stored = anndata.read_h5ad(logs[1])
    case = opened.case
    np.testing.assert_array_equal(case.measured(stored.var_names), np.asarray(stored.X))
    assert case.totals is None
    genes = GeneList(case)
    assert genes.of_values == "Values as in the file: normalised already."
    assert "The values are as in the file: normalised already." in case.provenance.notes
    assert opened.slide is not None
    opened.slide.close()
    with pytest.raises(UserError, match=r"C\.h5ad: X holds values that are log-normalised instead of counts"):
        open_spots(logs[1])
    with pytest.raises(UserError, match="has no counts, so no spot has 5 of them; leave out --min-umi"):
        open_spots(logs[1], min_umi=5, normalised=True)


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
@pytest.mark.parametrize(("most", "said"), [(np.expm1(9.2), "no logarithms: log(1 + x)"), (9.2, "as in the file")])
def test_the_first_of_two_columns_of_a_gene_is_taken_of_values_without_a_sum(
    tmp_path: Path, most: float, said: str
) -> None:
    values = np.array([[0, most, 1.5], [most, 0, 2.5], [0.5, 1.5, 0]], np.float32)
    table = anndata.AnnData(values, var=pd.DataFrame(index=["A", "B", "A"]), obsm={"spatial": 100 * np.eye(3, 2)})
    table.write_h5ad(tmp_path / "s.h5ad")
    spots = open_spots(tmp_path / "s.h5ad", normalised=True)
    logs = np.log1p(values) if most > 20 else values
    np.testing.assert_allclose(spots.X.toarray(), logs[:, :2], rtol=1e-6)
    notes = spots.uns["cmrcnet"]["notes"]
    assert any(said in note for note in notes)
    assert "Left out 1 of 3 columns: repeated genes." in notes


def test_scaled_values_are_refused(tmp_path: Path) -> None:
    values = np.array([[-1.0, 0.5], [1.0, -0.5]])
    anndata.AnnData(values, obsm={"spatial": np.eye(2)}).write_h5ad(tmp_path / "s.h5ad")
    with pytest.raises(UserError, match="X holds negative values"):
        open_spots(tmp_path / "s.h5ad", normalised=True)


def test_a_prediction_beside_normalised_values_compares_with_them(
    logs: tuple[Path, Path], untrained_checkpoint: Checkpoint, open_small: Callable[..., Any], tmp_path: Path
) -> None:
    section = open_small(*logs, normalised=True)
    checkpoint = Checkpoint.load(untrained_checkpoint.path)
    made = finish(predict(section, checkpoint, PredictConfig(k=6, device="cpu")))
    made.save(tmp_path / "C_predicted.h5ad")
    again = Prediction.load(tmp_path / "C_predicted.h5ad")
    stored = anndata.read_h5ad(logs[1])
    for one in (made, again):
        np.testing.assert_array_equal(one.measured(["GENE4"])[:, 0], np.asarray(stored[:, "GENE4"].X)[:, 0])
        scores = score(one)
        truth, guess = np.asarray(stored[:, "GENE4"].X)[:, 0], one.gene("GENE4")
        assert scores.table.pcc["GENE4"] == pytest.approx(np.corrcoef(truth, guess)[0, 1], abs=1e-6)
        assert scores.table.partial_pcc.isna().all()
        assert scores.scored.all()
        assert GeneList(one, scores).of_values
    assert any("normalised already" in note for note in again.provenance.warnings)
    with pytest.raises(UserError, match="holds normalised values, and scoring C needs counts"):
        finish(evaluate([again], tmp_path / "report"))
