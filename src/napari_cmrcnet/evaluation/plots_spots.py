"""Predicted against measured expression of a gene, one dot per spot."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.metrics import pcc_in_words
from napari_cmrcnet.common.text import count_text, figure_gene, figure_text
from napari_cmrcnet.evaluation.colour_limits import least_span
from napari_cmrcnet.evaluation.headline import in_lines
from napari_cmrcnet.evaluation.plot_style import PRINT, UNIT, Plot, Style, nearest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]

_VECTOR_DOTS = 5000  # more are pixels in an SVG or PDF: programs choke on as many paths


class SpotPlot(Plot):
    """Predicted against measured, with the identity line. Both axes have one scale.

    Parameters
    ----------
    figure : Figure
        An empty figure.
    style : Style
        Its colours.
    axis : Axes, optional
        One of several of a figure to draw in, instead of axes of its own.
    """

    def __init__(self, figure: "Figure", style: Style = PRINT, axis: "Axes | None" = None) -> None:
        super().__init__(figure, style, 1 if axis is None else [axis])
        self.axis = self.axes[0]
        self.x, self.y = np.empty(0), np.empty(0)
        self._scored: int | None = None
        (self._identity,) = self.axis.plot([0, 1], [0, 1], color=style.muted, linewidth=0.9, zorder=0)
        (self._dots,) = self.axis.plot([], [], "o", color=style.dots, markeredgewidth=0)
        (self._selected,) = self.axis.plot([], [], "o", color=style.accent, markeredgecolor=style.background)
        self._count = self.axis.text(0.03, 0.97, "", ha="left", va="top", fontsize=8, transform=self.axis.transAxes)
        self.axis.set(aspect="equal", anchor="N")
        self.axis.tick_params(labelsize=8)
        _fix_numbers(self.axis, figure)
        self.axis.spines[["top", "right"]].set_visible(False)

    def show(
        self,
        name: str,
        measured: Array | Float32,
        predicted: Array | Float32,
        about: str,
        unit: str = UNIT,
        scored: int | None = None,
    ) -> None:
        """Show a gene, or the score of a panel.

        Parameters
        ----------
        name : str
            What is shown.
        measured, predicted : (n,)
            One value per spot.
        about : str
            The title's second line, such as its PCC.
        unit : str
            Of the values; symbols are in italics where it is that of a gene.
        scored : int, optional
            Spots that count in the score; all if not given.
        """
        self._scored = scored
        self.x, self.y = np.asarray(measured, np.float64), np.asarray(predicted, np.float64)
        both = np.concatenate([self.x, self.y])
        both = both[np.isfinite(both)]
        low, high = (min(0.0, float(both.min())), float(both.max())) if both.size else (0.0, 1.0)
        high = max(high, low + least_span(unit))
        margin = 0.03 * (high - low)
        bounds = (low - margin, high + margin)
        n = len(self.x)
        self._identity.set_data(bounds, bounds)
        self._dots.set_data(self.x, self.y)
        self._dots.set(markersize=float(np.interp(np.log10(max(n, 1)), [2.5, 4.5], [4.5, 1.8])))
        self._dots.set(
            alpha=float(np.interp(np.log10(max(n, 1)), [2.5, 4.5], [0.7, 0.25])), rasterized=n > _VECTOR_DOTS
        )
        self.select(np.empty(0, np.int64))
        self.axis.set(xlim=bounds, ylim=bounds)
        self.axis.set_xlabel(f"measured, {unit}", fontsize=9)
        self.axis.set_ylabel(f"predicted, {unit}", fontsize=9)
        title = figure_gene(name) if unit == UNIT else figure_text(name)
        self.axis.set_title(f"{title}\n{in_lines(about, 45)}", fontsize=9)

    def select(self, rows: NDArray[np.int64]) -> None:
        """Mark spots, by their rows."""
        self._selected.set_data(self.x[rows], self.y[rows])
        few = len(rows) < 200
        self._selected.set(markersize=6 if few else 3, markeredgewidth=0.7 if few else 0)
        n = count_text(len(self.x), "spot")
        left_out = self._scored is not None and self._scored < len(self.x)
        all_of_them = f"{self._scored:,} of {n} scored" if left_out else n
        self._count.set_text(f"{len(rows):,} of {n} selected" if len(rows) else all_of_them)
        self._count.set_color(self.style.accent if len(rows) else self.style.foreground)

    def spot_at(self, at: tuple[float, float]) -> int | None:
        """Return the row of the spot at a place of the canvas, in pixels; None if there is none."""
        return nearest(self.axis, self.x, self.y, at)

    def spots_within(self, outline: Sequence[tuple[float, float]]) -> NDArray[np.int64]:
        """Return the rows of the spots within an outline of (measured, predicted) values, at least three."""
        from matplotlib.path import Path

        corners = np.asarray(outline, np.float64)
        places = np.column_stack([self.x, self.y])
        low, high = corners.min(axis=0), corners.max(axis=0)
        near = np.flatnonzero(((places >= low) & (places <= high)).all(axis=1))
        inside: NDArray[np.int64] = near[Path(corners).contains_points(places[near])]
        return inside

    def heights(self, width: int) -> tuple[int, int]:
        """Return the least and the most height in pixels: the axes are square."""
        return 320, max(320, width + 50)


def _fix_numbers(axis: "Axes", figure: "Figure") -> None:
    """Write short numbers, and keep the label of y as far away as they ever need, so that a gene moves nothing."""
    from matplotlib.ticker import MaxNLocator
    from matplotlib.transforms import ScaledTranslation

    for scale in (axis.xaxis, axis.yaxis):
        scale.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    place = axis.transAxes + ScaledTranslation(-0.38, 0, figure.dpi_scale_trans)
    axis.yaxis.set_label_coords(0, 0.5, place)


def scatter(genes: Sequence[str], measured: Array, predicted: Array, pcc: Sequence[float], title: str) -> "Figure":
    """Draw predicted against measured expression, one panel per gene, one dot per spot.

    Parameters
    ----------
    genes : sequence of str
        Up to six or so.
    measured, predicted : float64 (n, g)
        Log-normalised expression.
    pcc : sequence of float
        For the panels' titles.
    title : str
        What it is of.
    """
    from matplotlib.figure import Figure

    columns = min(3, len(genes))
    rows = -(-len(genes) // columns)
    figure = Figure(figsize=(3.1 * columns + 0.3, 3.3 * rows + 0.5), layout="constrained", dpi=130)
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axis in axes[len(genes) :]:
        axis.set_visible(False)
    for column, (gene, axis) in enumerate(zip(genes, axes, strict=False)):
        SpotPlot(figure, axis=axis).show(gene, measured[:, column], predicted[:, column], pcc_in_words(pcc[column]))
        axis.set(xlabel="", ylabel="")
    figure.supxlabel(f"measured, {UNIT}", fontsize=10)
    figure.supylabel(f"predicted, {UNIT}", fontsize=10)
    figure.suptitle(figure_text(title), fontsize=11)
    return figure
