"""Plots of the scores: honest scales, what is left out is said, and updated in place."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.text import figure_gene
from napari_cmrcnet.evaluation.gene_correlation import GeneCorrelation
from napari_cmrcnet.evaluation.picture_file import file_name, save_figure
from napari_cmrcnet.evaluation.plot_style import PRINT, Plot, Style, style_on
from napari_cmrcnet.evaluation.plots_correlation import CorrelationPlot
from napari_cmrcnet.evaluation.plots_moments import MomentPlot
from napari_cmrcnet.evaluation.plots_sets import SetPlot, set_boxplot
from napari_cmrcnet.evaluation.plots_spots import SpotPlot, scatter
from napari_cmrcnet.evaluation.set_scores import SETS

DARK, LIGHT = style_on("#23242b", "#f0f1f2"), style_on("#ebe7e6", "#1e1e21")
PLOTS = (SpotPlot, SetPlot, MomentPlot, CorrelationPlot)


def canvas(width: int = 400, height: int = 400) -> Figure:
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw(plot: Plot) -> None:
    plot.figure.canvas.draw()


def pixels(plot: Plot, x: float, y: float, axis: int = 0) -> tuple[float, float]:
    across, up = plot.axes[axis].transData.transform((x, y))
    return float(across), float(up)


def filled(kind: type[Plot], n: int = 12, style: Style = PRINT) -> Plot:
    """A plot of each kind with something in it."""
    plot, rng, genes = kind(canvas(), style), np.random.default_rng(0), [f"G{index}" for index in range(n)]
    match plot:
        case SpotPlot():
            plot.show("G1", rng.random(n), rng.random(n), "PCC 0.1")
        case SetPlot():
            plot.show(of_sets(dict(zip(genes, rng.random(n), strict=True)), HEG=genes))
        case MomentPlot():
            plot.show(moments(genes, rng))
        case CorrelationPlot():
            plot.show(correlation(genes), "HEG")
    return plot


def of_sets(pcc: dict[str, float], **members: Sequence[str]) -> pd.DataFrame:
    """Scores of genes, which are of the sets that are given."""
    table = pd.DataFrame({"pcc": pcc})
    return table.assign(**{name: table.index.isin(list(members.get(name, ()))) for name in SETS})


def moments(genes: list[str], rng: np.random.Generator) -> pd.DataFrame:
    names = ("measured_mean", "measured_variance", "predicted_mean", "predicted_variance")
    return pd.DataFrame({name: rng.random(len(genes)) + 0.1 for name in names}, index=genes)


def correlation(genes: list[str], left_out: tuple[str, ...] = ()) -> GeneCorrelation:
    matrix = np.corrcoef(np.random.default_rng(1).random((len(genes), 9)))
    return GeneCorrelation(tuple(genes), matrix, matrix**3, 0.83, left_out)


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2."""

    def luminance(colour: str) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("style", [DARK, LIGHT, PRINT], ids=["dark", "light", "print"])
def test_colours_can_be_told_from_the_background(style: Style) -> None:
    assert contrast(style.foreground, style.background) > 7
    for colour in (style.dots, style.accent, *style.sets.values()):
        assert contrast(colour, style.background) > 3.5
    assert contrast(style.muted, style.background) > 2


@pytest.mark.parametrize("kind", PLOTS)
def test_a_style_reaches_every_text_and_axis(kind: type[Plot]) -> None:
    plot = filled(kind, style=DARK)
    draw(plot)
    assert plot.figure.get_facecolor()[:3] == to_rgb(DARK.background)
    for axis in plot.figure.axes:
        own = [axis.title, axis.xaxis.label, axis.yaxis.label, *axis.get_xticklabels(), *axis.get_yticklabels()]
        for text in [*own, *axis.texts, *plot.figure.texts]:
            if text.get_text():
                assert contrast(text.get_color(), DARK.background) > 3.5, text


@pytest.mark.parametrize("kind", PLOTS)
@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_a_picture_is_the_same_to_the_byte_and_on_white(kind: type[Plot], ending: str, tmp_path: Path) -> None:
    files = []
    for name in "ab":
        plot = filled(kind)
        plot.for_print("C5, patient $C")
        assert plot.figure.get_supxlabel() == "C5, patient $C"
        files.append(save_figure(plot.figure, tmp_path / f"{name}.{ending}").read_bytes())
    first, second = files
    assert first == second
    assert first.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending])
    assert plot.figure.get_facecolor()[:3] == (1, 1, 1)


def test_another_kind_of_picture_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"plot\.jpg .* \.png, \.svg or \.pdf"):
        save_figure(canvas(), tmp_path / "plot.jpg")
    assert not list(tmp_path.iterdir())
    assert file_name("HLA/A: =x") == "HLA_A_x"


def test_symbols_are_italic_and_strange_names_as_they_are() -> None:
    assert figure_gene("HLA-A") == r"$\mathit{HLA}$-$\mathit{A}$"
    assert figure_gene("a b") == "a b"
    figure = canvas()
    for name in ("-", "a$b$c_^", "=1+1", "-x-", "$"):
        figure.suptitle(figure_gene(name))
        figure.canvas.draw()


def test_spots_have_one_scale_on_both_axes_and_are_updated_in_place() -> None:
    plot = SpotPlot(canvas())
    plot.show("G1", np.array([0.0, 1, 4]), np.array([0.5, 1, 1.5]), "PCC 0.98   n = 3 spots")
    draw(plot)
    artists = list(plot.axis.get_children())
    assert plot.axis.get_xlim() == plot.axis.get_ylim()
    assert plot.axis.get_xlim()[0] <= 0
    assert plot.axis.get_xlim()[1] >= 4
    assert plot.axis.get_title() == "$\\mathit{G1}$\nPCC 0.98   n = 3 spots"
    plot.show("my panel", np.array([-2.0, 1, 0]), np.array([0.5, 1, 1.5]), "PCC 0.1", "mean z")
    draw(plot)
    assert list(plot.axis.get_children()) == artists
    assert plot.axis.get_xlim()[0] <= -2
    assert plot.axis.get_xlabel() == "measured, mean z"
    assert plot.axis.get_title().startswith("my panel")


def test_a_constant_gene_is_still_a_plot() -> None:
    plot = SpotPlot(canvas())
    plot.show("G1", np.zeros(5), np.zeros(5), "PCC undefined")
    assert np.ptp(plot.axis.get_xlim()) > 0.5  # what hardly varies does not fill the axes
    draw(plot)
    assert plot.axis.get_xlim()[1] > 0


def test_spots_are_found_by_place_and_by_outline() -> None:
    plot = SpotPlot(canvas())
    plot.show("G1", np.array([0.0, 1, 4, 4]), np.array([0.0, 1, 1, 4]), "")
    draw(plot)
    across, up = pixels(plot, 4, 1)
    assert plot.spot_at((across + 3, up - 3)) == 2
    assert plot.spot_at(pixels(plot, 2, 3)) is None
    assert list(plot.spots_within([(0.5, 0.5), (4.5, 0.5), (4.5, 1.5), (0.5, 1.5)])) == [1, 2]
    assert list(plot.spots_within([(-1, -1), (5, -1), (5, 2)])) == [2]


def test_selected_spots_are_marked_and_counted() -> None:
    plot = SpotPlot(canvas())
    plot.show("G1", np.array([0.0, 1, 4]), np.array([0.0, 1, 1]), "")
    plot.select(np.array([1, 2]))
    marked = plot.axis.lines[-1]
    np.testing.assert_array_equal(marked.get_xydata(), [[1, 1], [4, 1]])
    assert "2 of 3 spots selected" in [text.get_text() for text in plot.axis.texts]
    plot.select(np.array([], np.int64))
    assert len(marked.get_xydata()) == 0


def test_many_spots_are_pixels_in_a_drawing(tmp_path: Path) -> None:
    rng, plot = np.random.default_rng(0), SpotPlot(canvas())
    plot.show("G1", rng.random(20_000), rng.random(20_000), "")
    assert save_figure(plot.figure, tmp_path / "many.svg").stat().st_size < 1_000_000


@pytest.mark.parametrize("n_genes", [1, 3, 4])
def test_scatter_has_a_panel_a_gene(n_genes: int, tmp_path: Path) -> None:
    measured = np.random.default_rng(0).gamma(2, size=(20, n_genes))
    genes = [f"G{index}" for index in range(n_genes)]
    figure = scatter(genes, measured, measured, [1.0] * (n_genes - 1) + [np.nan], "S1")
    figure.savefig(tmp_path / "scatter.png")
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert len(shown) == n_genes
    assert "undefined" in shown[-1].get_title()


def test_boxes_leave_undefined_out_and_say_so(tmp_path: Path) -> None:
    values = of_sets({"A": 0.1, "B": 0.4, "C": np.nan, "D": 0.3}, HEG="ABC", HVG="D")
    figure = set_boxplot({"S1": values, "S2": values})
    figure.savefig(tmp_path / "box.svg")
    texts = [text.get_text() for text in figure.axes[0].texts if text.get_text()]
    assert texts == ["mean 0.25\nn = 2\n1 undef.", "mean 0.30\nn = 1"] * 2


def test_boxes_of_nothing_are_still_a_picture(tmp_path: Path) -> None:
    set_boxplot({"S1": of_sets({"A": np.nan}, HEG="A")}).savefig(tmp_path / "box.png")


def test_the_shown_gene_is_marked_in_each_of_its_sets() -> None:
    plot = SetPlot(canvas())
    plot.show(of_sets({"A": 0.1, "B": 0.4, "C": 0.2}, HEG="AB", HVG="BC"))
    draw(plot)
    artists = list(plot.axis.get_children())
    plot.mark("B", 0.4)
    (mark,) = [line for line in plot.axis.lines if line.get_marker() == "D"]
    assert list(mark.get_ydata()) == [0.4, 0.4]
    assert list(np.round(mark.get_xdata())) == [0, 1]
    across, up = plot.axis.transData.transform(mark.get_xydata()[1])
    assert plot.gene_at(plot.axis, (across, up)) == "B"
    plot.mark("OTHER", -0.1)
    assert len(mark.get_xdata()) == 0
    assert plot.axis.get_title("right") == f"{figure_gene('OTHER')} -0.10"
    plot.mark("FLAT", float("nan"))
    assert plot.axis.get_title("right") == f"{figure_gene('FLAT')} undefined"
    draw(plot)
    assert list(plot.axis.get_children()) == artists


def test_moments_are_of_every_gene_that_has_a_logarithm() -> None:
    plot = MomentPlot(canvas(800))
    genes = ["A", "B", "C", "D"]
    table = moments(genes, np.random.default_rng(0))
    table.loc["C", "predicted_variance"] = 0.0
    table.loc["D", "predicted_mean"] = -0.2  # as a regression may predict
    plot.show(table)
    draw(plot)
    mean, variance = plot.axes
    assert mean.get_title() == "mean of 3 genes\n1 more below 0"
    assert variance.get_title() == "variance of 3 genes\n1 more at 0"
    for axis in plot.axes:
        assert axis.get_xscale() == axis.get_yscale() == "log"
        assert axis.get_xlim() == axis.get_ylim()
    row = table.loc["B"]
    assert plot.gene_at(mean, pixels(plot, row.measured_mean, row.predicted_mean)) == "B"
    assert plot.gene_at(variance, pixels(plot, row.measured_variance, row.predicted_variance, 1)) == "B"
    plot.mark("C")
    assert [text.get_text() for axis in plot.axes for text in axis.texts] == ["C", ""]
    plot.mark("NOT THERE")
    assert [text.get_text() for axis in plot.axes for text in axis.texts] == ["", ""]


def test_heatmaps_share_order_and_scale_and_say_how_alike_they_are() -> None:
    plot, genes = CorrelationPlot(canvas(900, 560)), ["A", "B", "C", "D"]
    plot.show(correlation(genes, left_out=("FLAT",)), "HEG")
    plot.arrange(900, 560)
    draw(plot)
    images = [axis.images[0] for axis in plot.axes]
    assert {image.get_clim() for image in images} == {(-1, 1)}
    for axis in plot.axes:
        assert [label.get_text() for label in axis.get_xticklabels()] == genes
    assert [label.get_text() for label in plot.axes[0].get_yticklabels()] == genes
    assert "r = 0.83" in plot.figure.get_suptitle()
    assert "FLAT" in plot.figure.get_suptitle()
    cell, measured = pixels(plot, 2, 1, 1), correlation(genes).measured[1, 2]
    assert plot.gene_at(plot.axes[1], cell) == "B"
    assert plot.tip(plot.axes[1], cell) == f"B and C\nmeasured {measured:.2f}, predicted {measured**3:.2f}"
    assert plot.gene_at(plot.figure.axes[-1], (0, 0)) is None  # the colour bar
    assert plot.tip(plot.figure.axes[-1], (0, 0)) == ""


@pytest.mark.parametrize("width", [380, 900])
def test_names_of_sixty_genes_do_not_overlap_on_the_screen(width: int) -> None:
    plot = CorrelationPlot(canvas())
    plot.show(correlation([f"GENE{index}" for index in range(60)]), "HEG")
    height, _ = plot.heights(width)
    plot.figure.set_size_inches(width / 100, height / 100)
    plot.arrange(width, height)
    draw(plot)
    names = [label for label in plot.axes[0].get_yticklabels() if label.get_visible()]
    boxes = sorted((label.get_window_extent() for label in names), key=lambda box: float(box.y0))
    assert len(boxes) == 60
    assert min(label.get_fontsize() for label in names) >= 6
    assert all(low.height <= 1.05 * (high.y0 - low.y0) for low, high in pairwise(boxes))
    assert boxes[0].x0 >= 0


def test_sixty_one_genes_are_told_by_the_mouse_not_by_names() -> None:
    plot = CorrelationPlot(canvas(900, 600))
    plot.show(correlation([f"GENE{index}" for index in range(61)]), "many")
    plot.arrange(900, 600)
    draw(plot)
    assert not plot.axes[0].get_yticklabels()
    assert plot.tip(plot.axes[0], pixels(plot, 60, 0)).startswith("GENE0 and GENE60\n")


def test_mean_and_variance_go_below_each_other_in_a_narrow_panel_and_back() -> None:
    plot = filled(MomentPlot)
    for width, height in ((380, 900), (900, 500), (380, 900)):
        plot.figure.set_size_inches(width / 100, height / 100)
        plot.arrange(width, height)
        draw(plot)
        first, second = (axis.get_position() for axis in plot.axes)
        assert (first.y0 > second.y1) == (width == 380)
        assert (first.x1 < second.x0) == (width == 900)
