"""Maps of several genes: the right values in the right places and colours, and text that can be read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.evaluation.blend import blend
from napari_cmrcnet.evaluation.figures import Ground
from napari_cmrcnet.evaluation.map_pixels import MapPixels
from napari_cmrcnet.evaluation.maps_figure import draw_panel, gene_maps, write_maps_figure
from napari_cmrcnet.evaluation.plot_style import SHORT_UNIT
from napari_cmrcnet.evaluation.plots_panel import MOST, PanelPlot
from napari_cmrcnet.evaluation.scores import score
from napari_cmrcnet.evaluation.shown import Shown
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.predict import predict
from napari_cmrcnet.retrieval.predict_config import PredictConfig
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.sections.panels import Panel


@pytest.fixture(scope="module")
def prediction(
    untrained_checkpoint: Checkpoint,
    tmp_path_factory: pytest.TempPathFactory,
    write_section: Callable[..., Any],
    open_small: Callable[..., Any],
) -> Prediction:
    section = open_small(*write_section(tmp_path_factory.mktemp("data"), "C", 3), name="C")
    return finish(predict(section, untrained_checkpoint, PredictConfig(k=6, device="cpu")))


def drawn(genes: list[Shown], ground: Ground, width: int) -> PanelPlot:
    """Return a plot on a canvas of a width in pixels, drawn."""
    plot = PanelPlot(Figure())
    FigureCanvasAgg(plot.figure)
    plot.show(genes, ground, "mine")
    height = plot.heights(width)[0]
    plot.figure.set_size_inches(width / 100, height / 100)
    plot.arrange(width, height)
    plot.figure.canvas.draw()
    return plot


def test_pixels_are_those_of_the_spot_above_them_or_of_the_slide(ground: Ground) -> None:
    pixels = MapPixels(ground, 300)
    height, width = pixels.spots.shape
    left, right, top, bottom = ground.frame
    assert max(height, width) == 300
    rgba = np.full((len(ground.xy), 4), 255, np.uint8)
    rgba[:, 0] = 6 * np.arange(len(rgba))
    rgba[5] = 0
    picture = pixels.coloured(rgba)
    for spot, (x, y) in enumerate(ground.xy):
        row, column = int((y - top) / (bottom - top) * height), int((x - left) / (right - left) * width)
        pale = round(0.45 * 255 + 0.55 * 230)
        wanted = pale if spot == 5 else 6 * spot
        assert abs(int(picture[row, column, 0]) - wanted) <= 1
    # as large as the spots are: pi r² of each, in pixels
    expected = len(ground.xy) * np.pi * (55 / (right - left) * width) ** 2
    assert (pixels.spots >= 0).sum() == pytest.approx(expected, rel=0.05)
    assert pixels.spots[0, 0] == -1


def test_measured_stands_over_predicted_on_one_scale(ground: Ground) -> None:
    n = len(ground.xy)
    low, high = np.zeros(n, np.float32), np.full(n, 4.0, np.float32)
    genes = [
        Shown("B", "gene", SHORT_UNIT, high, None, np.nan, ""),
        Shown("A", "gene", SHORT_UNIT, high, low, 0.41, ""),
    ]
    plot = drawn(genes, ground, 500)
    maps = {plot.tip(axis, (0, 0)): axis for axis in plot.figure.axes if plot.tip(axis, (0, 0))}
    assert list(maps) == ["B, measured", "B, predicted", "A, measured", "A, predicted"]
    assert maps["A, measured"].get_position().y0 > maps["A, predicted"].get_position().y1
    assert maps["A, predicted"].get_position().y0 == maps["B, predicted"].get_position().y0
    colours = colormaps["viridis"]([0.0, 1.0], bytes=True)[:, :3]
    for kind, colour in zip(("measured", "predicted"), colours, strict=True):
        picture = maps[f"A, {kind}"].images[0].get_array()
        seen = {tuple(pixel) for pixel in picture.reshape(-1, 3) if len(set(pixel)) > 1}
        assert seen == {tuple(colour)}  # the same limits: 0 is the lowest colour above, 4 the highest below
    assert maps["B, measured"].texts[0].get_text() == "not measured"
    assert "PCC 0.41" in maps["A, measured"].get_title()


@pytest.mark.parametrize(("width", "n"), [(380, 12), (380, 4), (710, 12), (1500, 12), (300, 1)])
def test_no_text_leaves_the_picture_or_meets_another(ground: Ground, width: int, n: int) -> None:
    values = np.linspace(0, 4, len(ground.xy)).astype(np.float32)
    why = "found at 9 of 179 spots"
    genes = [Shown(f"GENE{i}", "gene", SHORT_UNIT, values, values, np.nan, why, flat=True) for i in range(n)]
    plot = drawn(genes, ground, width)
    renderer = plot.figure.canvas.get_renderer()
    titles = [axis.title.get_window_extent(renderer) for axis in plot.figure.axes if axis.get_title()]
    assert len(titles) == n
    for row, box in enumerate(titles):
        assert box.x0 >= 0
        assert box.x1 <= width
        assert not any(box.overlaps(other) for other in titles[row + 1 :])
    pictures = [axis.get_window_extent(renderer) for axis in plot.figure.axes]
    assert not any(title.overlaps(picture) for title in titles for picture in pictures)
    assert min(text.get_fontsize() for axis in plot.figure.axes for text in (axis.title, *axis.texts)) >= 7


def test_values_and_scores_are_those_of_the_prediction(prediction: Prediction) -> None:
    asked = ["GENE3", "no such gene", "GENE1", "GENE3"]
    maps = gene_maps(prediction, asked)
    assert [gene.name for gene in maps] == ["GENE3", "GENE1"]
    for gene in maps:
        truth = np.asarray(prediction.measured([gene.name]))[:, 0]
        guess = prediction.gene(gene.name)
        np.testing.assert_array_equal(gene.maps["measured"], truth)
        np.testing.assert_array_equal(gene.maps["predicted"], guess)
        assert f"PCC {np.corrcoef(truth, guess)[0, 1]:z.2f}" in gene.score
    assert gene_maps(prediction, ["no such gene"]) == ()
    assert len(gene_maps(prediction, prediction.genes)) == MOST


@pytest.mark.parametrize(("kind", "starts"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_each_kind_of_picture_the_same_to_the_byte(
    prediction: Prediction, tmp_path: Path, kind: str, starts: bytes
) -> None:
    panel = Panel("mine", ("GENE1", "GENE2", "GENE3", "GENE4"))
    first = finish(write_maps_figure(prediction, tmp_path / f"1.{kind}", panel)).read_bytes()
    assert first.startswith(starts)
    assert finish(write_maps_figure(prediction, tmp_path / f"2.{kind}", panel)).read_bytes() == first


def test_a_picture_says_of_what_it_is(prediction: Prediction, ground: Ground) -> None:
    genes = gene_maps(prediction, ["GENE1"])
    ground = Ground(prediction.xy, prediction.spot_diameter)
    figure = PanelPlot.printed("C, patient P$3", genes, ground, "mine", caption="For research use only. " * 9, dpi=300)
    (below,) = [text for text in figure.texts if "P$3" in text.get_text()]
    FigureCanvasAgg(figure).draw()
    box = below.get_window_extent()
    assert box.x1 <= figure.bbox.width
    assert box.y1 < min(axis.get_window_extent().y0 for axis in figure.axes)
    assert "mine" in figure.texts[0].get_text()
    with pytest.raises(UserError, match="none of the genes of the panel “odd”"):
        finish(write_maps_figure(prediction, "odd.png", Panel("odd", ("no such gene",))))


@pytest.mark.parametrize("width_mm", [85.0, 180.0, 240.0])
def test_a_figure_for_print_is_as_wide_as_asked_with_letters_intervals_and_n(
    prediction: Prediction, width_mm: float
) -> None:
    genes = ("GENE1", "GENE2", "GENE3")
    figure = draw_panel(prediction, Ground(prediction.xy, prediction.spot_diameter), Panel("mine", genes), width_mm)()
    FigureCanvasAgg(figure).draw()
    assert figure.get_figwidth() * 25.4 == pytest.approx(width_mm)
    table = score(prediction).table
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    for gene, title in zip(genes, titles, strict=True):
        assert f"95 % {table.at[gene, 'low']:z.2f} to {table.at[gene, 'high']:z.2f}" in title.replace("\n", " ")
    letters = [text for axis in figure.axes for text in axis.texts if text.get_text() in ("a", "b", "c")]
    assert [text.get_text() for text in letters] == ["a", "b", "c"]
    boxes = [text.get_window_extent() for text in letters]
    names = [axis.title.get_window_extent() for axis in figure.axes if axis.get_title()]
    assert all(box.x0 >= 0 and box.y1 <= figure.bbox.height for box in boxes)
    assert all(abs(box.y1 - name.y1) < 0.1 * figure.dpi for box, name in zip(boxes, names, strict=True))
    assert all(text.get_window_extent().x1 <= figure.bbox.width for text in figure.texts)
    below = [text.get_text() for text in figure.texts if "n = 36 spots." in text.get_text()]
    assert len(below) == 1
    texts = [text for axis in figure.axes for text in (axis.title, *axis.texts) if text.get_text()]
    sizes = [text.get_fontsize() for text in texts]
    assert (min(sizes), max(sizes)) == (8, 9)


def test_a_width_that_cannot_be_printed_is_refused(prediction: Prediction, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be 20 mm wide; give 60 to 400 mm"):
        finish(write_maps_figure(prediction, tmp_path / "F.pdf", Panel("mine", ("GENE1",)), width_mm=20))


def test_two_genes_as_colours_have_a_legend_with_their_limits(
    prediction: Prediction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(
        "napari_cmrcnet.evaluation.maps_figure.draw_picture", lambda draw, *_: iter(drawn.append(draw()) or ())
    )
    finish(write_maps_figure(prediction, tmp_path / "B.pdf", Panel("", ("GENE3", "GENE5")), blend=True, width_mm=120))
    maps = gene_maps(prediction, ["GENE3", "GENE5"])
    limits = [gene.scale for gene in maps]
    texts = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    for text, ink, gene, (low, high) in zip(texts, ("green", "magenta"), maps, limits, strict=True):
        assert text.startswith(f"{ink}: {gene.name} {low:.2f} to {high:.2f}   PCC ")
    by_kind = {axis.get_title(): axis for axis in drawn[0].axes}
    assert list(by_kind) == ["H&E", "measured", "predicted"]
    for kind in ("measured", "predicted"):
        (spots,) = by_kind[kind].collections
        expected = blend([gene.maps[kind] for gene in maps], limits)
        np.testing.assert_allclose(spots.get_facecolors()[:, :3], expected, atol=1e-6)
    assert drawn[0].get_figwidth() == pytest.approx(120 / 25.4)
    for genes, said in (
        (["GENE3", "gene3"], r"two or three different genes, not 1 \(GENE3, gene3\)"),
        (["GENE3", "NOT_HERE"], "^C has no gene NOT_HERE; "),
        (["GENE3", "GENE4", "GENE5", "GENE6"], "two or three different genes, not 4"),
    ):
        with pytest.raises(UserError, match=said):
            finish(write_maps_figure(prediction, tmp_path / "B.pdf", Panel("", tuple(genes)), blend=True))
