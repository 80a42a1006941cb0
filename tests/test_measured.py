"""A measured section without a checkpoint: opened with the slide beside it, looked at, predicted later."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
from napari.components import ViewerModel

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.retrieval.case import Case
from napari_cmrcnet.retrieval.export import to_csv, to_geojson
from napari_cmrcnet.retrieval.export_tables import to_h5ad
from napari_cmrcnet.sections.beside import section_name, slides_beside
from napari_cmrcnet.sections.panels import Panel
from napari_cmrcnet.sections.spots import open_spots
from napari_cmrcnet.viewer.coloring import PREDICT_FIRST
from napari_cmrcnet.viewer.gene_list import GeneList
from napari_cmrcnet.viewer.open_measured import open_measured
from napari_cmrcnet.viewer.registry import layers_of, session_of
from one_prediction import Known, check, look_at


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
    assert len(case.genes) == 24  # the checkpoint has 12 of them
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
        assert layers.shown_views == ("measured",)
        check(viewer)
    assert session.views == ("measured",)
    front = session.display.front
    session.flip()
    assert session.display.front == front
    session.show_panel(Panel("two", ("GENE3", "GENE4")))
    check(viewer)
    assert "similarity" not in layers.points["measured"].features
    layers._add("confidence")
    layers._colour()
    with pytest.raises(UserError, match="has no gene GENE99"):
        session.show("GENE99")


def test_a_view_that_needs_a_prediction_says_so(viewer: ViewerModel) -> None:
    from napari_cmrcnet.viewer.coloring import values

    session = session_of(viewer)
    assert session.shown is not None
    assert session.case is not None
    for view in ("predicted", "difference", "confidence"):
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
    assert layers.shown_views == ("measured", "predicted")
    check(viewer)


def test_nothing_of_another_section_stays(viewer: ViewerModel, measured: Known, known: dict[str, Known]) -> None:
    session = session_of(viewer)
    session.select([3])
    for which in (known["D"], measured, known["C"], measured):
        look_at(viewer, which)
        assert not session.selected.size
        check(viewer)


def test_what_is_exported_is_measured(measured: Known, tmp_path: Path) -> None:
    import pandas as pd

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
    assert "lie outside" in opened.missing


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


def test_real_outs_open_without_a_slide(real_data: Path) -> None:
    outs = real_data / "spaceranger" / "outs"
    opened = finish(open_measured(outs))
    assert opened.case.name == "spaceranger"
    assert len(opened.case) == 2898
    assert opened.missing.startswith("No slide was found beside")
    assert opened.case.provenance.mpp > 0
    assert section_name(outs / "filtered_feature_bc_matrix.h5") == "spaceranger"


def test_a_real_section_finds_its_slide(real_data: Path) -> None:
    spots = real_data / "her2st" / "C5.h5ad"
    assert next(slides_beside(spots, open_spots(spots))) == spots.with_suffix(".tif")
