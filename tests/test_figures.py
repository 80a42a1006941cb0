"""Maps: one colour scale, true geometry, and no failure on odd data."""

import threading
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from napari_cmrcnet.common.progress import Progress, finish
from napari_cmrcnet.evaluation.colour_limits import colour_limits
from napari_cmrcnet.evaluation.figures import Ground, gene_map, method_maps
from napari_cmrcnet.evaluation.picture_file import draw_picture
from napari_cmrcnet.evaluation.plot_style import SHORT_UNIT
from napari_cmrcnet.evaluation.shown import Shown


def shown(measured: np.ndarray | None, predicted: np.ndarray, gene: str, pcc: float = np.nan) -> Shown:
    return Shown(gene, "gene", SHORT_UNIT, predicted, measured, pcc, "")


def test_map_shows_slide_measured_and_predicted_on_one_scale(ground: Ground) -> None:
    values = np.linspace(0, 4, len(ground.xy))
    figure = gene_map(ground, shown(values, values * 0.5, "HLA-DRA", 0.87))
    panels = [axis for axis in figure.axes if axis.get_title()]
    assert [axis.get_title() for axis in panels] == ["H&E", "measured", "predicted"]
    assert panels[1].collections[0].get_clim() == panels[2].collections[0].get_clim()
    bar = figure.axes[-1]
    assert bar.get_ylabel() == "HLA-DRA, log-normalised expression"
    low, high = panels[1].collections[0].get_clim()
    numbers = [label.get_text() for label in bar.get_yticklabels()]
    assert (numbers[0], numbers[-1]) == (f"{low:.2f}", f"{high:.2f}")
    assert "PCC 0.87" in figure.get_suptitle()
    for axis in panels:
        assert axis.get_aspect() == 1
        bottom, top = axis.get_ylim()
        assert bottom > top  # y goes down, as in the image
        left, right = axis.get_xlim()
        assert left < ground.xy[:, 0].min() - 55
        assert right > ground.xy[:, 0].max() + 55


def test_spots_have_their_true_size(ground: Ground) -> None:
    figure = gene_map(ground, shown(np.ones(len(ground.xy)), np.ones(len(ground.xy)), "EPCAM"))
    FigureCanvasAgg(figure).draw()
    panel = next(axis for axis in figure.axes if axis.get_title() == "measured")
    circles = panel.collections[0]
    radius = circles.get_transforms()[0][0, 0] * circles.get_transform().get_matrix()[0, 0]
    pixels = np.ptp(panel.transData.transform([[0, 0], [110, 0]])[:, 0])
    assert 2 * radius == pytest.approx(pixels, rel=1e-3)
    assert "undefined" in figure.get_suptitle()


def test_scale_bar_is_round_and_says_micrometres(ground: Ground) -> None:
    figure = gene_map(ground, shown(np.ones(len(ground.xy)), np.ones(len(ground.xy)), "A", 0.1))
    assert any(text.get_text() == "100 µm" for text in figure.axes[0].texts)
    (bar,) = figure.axes[0].lines
    assert np.ptp(bar.get_xdata()) == pytest.approx(100 / 0.5)


def test_map_without_slide_and_with_strange_names_and_nan(ground: Ground, tmp_path: Path) -> None:
    bare = Ground(ground.xy, ground.diameter)
    values = np.linspace(0, 1, len(ground.xy))
    values[3] = np.nan
    for gene in ("-", "a$b_c^", "=1+1", "-x-"):
        figure = gene_map(bare, shown(values, np.zeros_like(values), gene, 0.0))
        figure.savefig(tmp_path / "map.png")
    assert [axis.get_title() for axis in figure.axes if axis.get_title()] == ["measured", "predicted"]


def test_methods_share_the_colours_of_the_measured(ground: Ground) -> None:
    measured = np.linspace(0, 4, len(ground.xy))
    methods = {"A": (measured * 0.5, 1.0), "far off": (measured - 90, 1.0), "flat": (np.zeros_like(measured), np.nan)}
    figure = method_maps(ground, measured, methods, "EPCAM", subtitle="S1")
    panels = [axis for axis in figure.axes if axis.get_title() and axis.get_title() != "H&E"]
    assert [axis.get_title() for axis in panels] == [
        "measured",
        "A\nPCC 1.00",
        "far off\nPCC 1.00",
        "flat\nPCC undefined\nprediction hardly varies",
    ]
    limits = colour_limits(measured)
    assert all(axis.collections[0].get_clim() == limits for axis in panels)
    assert any(text.get_text() == "100 µm" for text in figure.axes[0].texts)


def test_cancel_does_not_wait_for_a_picture_and_nothing_is_written(ground: Ground, tmp_path: Path) -> None:
    goes_on = threading.Event()

    def draw() -> Figure:
        goes_on.wait(30)
        return gene_map(ground, shown(None, np.ones(len(ground.xy)), "EPCAM"))

    before, step = set(threading.enumerate()), Progress("Drawing", 0, 1)
    job = draw_picture(draw, tmp_path / "map.png", step)
    assert [next(job) for _ in range(3)] == [step] * 3
    job.close()
    goes_on.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
    assert not list(tmp_path.iterdir())
    assert finish(draw_picture(draw, tmp_path / "map.png", step)).read_bytes().startswith(b"\x89PNG")
