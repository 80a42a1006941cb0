"""Mean and variance of every gene, predicted against measured, after the paper's figure 3."""

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.text import count_text, printable
from napari_cmrcnet.evaluation.plot_style import PRINT, Plot, Style, label_beside, nearest

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOMENTS = ("mean", "variance")
_VECTOR_DOTS = 5000


class MomentPlot(Plot):
    """Two axes with logarithmic scales: mean and variance over the spots, one dot per gene.

    Parameters
    ----------
    figure : Figure
        An empty figure.
    style : Style
        Its colours.
    """

    WIDE: ClassVar[int] = 520  # pixels from which the axes lie side by side, not one below the other

    def __init__(self, figure: "Figure", style: Style = PRINT) -> None:
        super().__init__(figure, style, len(MOMENTS))
        self._wide = True
        self.genes: NDArray[Any] = np.empty(0, object)
        self._values = {name: (np.empty(0), np.empty(0)) for name in MOMENTS}
        self._identity, self._dots, self._mark, self._label = [], [], [], []
        behind = {"facecolor": style.background, "edgecolor": "none", "alpha": 0.8, "pad": 1}
        for axis, name in zip(self.axes, MOMENTS, strict=True):
            axis.set(xscale="log", yscale="log")
            axis.set_xlabel(f"measured {name}", fontsize=9)
            axis.set_ylabel(f"predicted {name}", fontsize=9)
            axis.spines[["top", "right"]].set_visible(False)
            axis.tick_params(labelsize=8)
            self._identity += axis.plot([1, 1], [1, 1], color=style.muted, linewidth=0.9, zorder=0)
            self._dots += axis.plot([], [], "o", color=style.dots, markeredgewidth=0)
            self._mark += axis.plot([], [], "D", zorder=5, **style.mark)
            label = axis.annotate("", (1, 1), (7, 7), textcoords="offset points", fontsize=9, zorder=6)
            label.set(color=style.accent, fontstyle="italic", parse_math=False, bbox=behind)
            self._label.append(label)

    def show(self, table: "pd.DataFrame") -> None:
        """Show the genes of a score table.

        Parameters
        ----------
        table : DataFrame
            One row per gene, with ``measured_mean``, ``measured_variance``, ``predicted_mean``, ``predicted_variance``.
            Genes of which one is 0, or a mean below 0, have no place on a logarithmic scale; how many is written.
        """
        self.genes = table.index.to_numpy(object)
        n = len(self.genes)
        for index, (axis, name) in enumerate(zip(self.axes, MOMENTS, strict=True)):
            x, y = (table[f"{of}_{name}"].to_numpy(np.float64) for of in ("measured", "predicted"))
            drawn = (x > 0) & (y > 0)
            x, y = np.where(drawn, x, np.nan), np.where(drawn, y, np.nan)
            self._values[name] = (x, y)
            both = np.concatenate([x[drawn], y[drawn]])
            low, high = (float(both.min()) / 1.5, float(both.max()) * 1.5) if both.size else (0.1, 1.0)
            self._identity[index].set_data([low, high], [low, high])
            self._dots[index].set_data(x, y)
            self._dots[index].set(
                markersize=float(np.interp(np.log10(max(n, 1)), [2, 4], [4.5, 1.8])),
                alpha=float(np.interp(np.log10(max(n, 1)), [2, 4], [0.7, 0.35])),
                rasterized=n > _VECTOR_DOTS,
            )
            axis.set(xlim=(low, high), ylim=(low, high))
            _number(axis, few=high / low < 100)
            left_out = n - int(drawn.sum())
            note = f"\n{_without_logarithm(table, name)}" if left_out else ""
            axis.set_title(f"{name} of {count_text(n - left_out, 'gene')}{note}", fontsize=9)

        self.lay_out()

    def mark(self, name: str, _pcc: float = np.nan) -> None:
        """Mark the shown gene; one that is not in the plot takes the mark away."""
        (here,) = np.nonzero(self.genes == name)
        for index, (axis, moment) in enumerate(zip(self.axes, MOMENTS, strict=True)):
            x, y = self._values[moment]
            self._mark[index].set_data(x[here], y[here])
            seen = here.size and np.isfinite(x[here[0]])
            self._label[index].set_text(printable(name) if seen else "")
            if seen:
                label_beside(self._label[index], axis, x[here[0]], y[here[0]])

    def gene_at(self, axis: "Axes", at: tuple[float, float]) -> str | None:
        """Return the gene whose dot is at a place of the canvas, in pixels; None if there is none."""
        if axis not in self.axes:
            return None
        index = nearest(axis, *self._values[MOMENTS[self.axes.index(axis)]], at)
        return None if index is None else str(self.genes[index])

    def arrange(self, width: int, height: int) -> None:
        """Put the axes side by side or one below the other."""
        wide = width >= self.WIDE
        if wide != self._wide:
            self._wide, n = wide, len(self.axes)
            grid = self.figure.add_gridspec(1, n) if wide else self.figure.add_gridspec(n, 1)
            for index, axis in enumerate(self.axes):
                axis.set_subplotspec(grid[index])
        super().arrange(width, height)

    def heights(self, width: int) -> tuple[int, int]:
        """Return the least and the most height in pixels: axes are about square at most."""
        if width >= self.WIDE:
            return 280, max(280, width // 2 + 40)
        return 500, max(500, 2 * width + 40)

    def print_size(self) -> tuple[float, float]:
        """Return width and height of a saved picture in inches."""
        return 8.0, 4.2


def _without_logarithm(table: "pd.DataFrame", name: str) -> str:
    """Say how many genes have a moment of 0, and how many one below 0, as a regression may predict."""
    least = table[[f"measured_{name}", f"predicted_{name}"]].min(axis=1)
    numbers = {"at 0": int((least == 0).sum()), "below 0": int((least < 0).sum())}
    return ", ".join(f"{number:,} more {where}" for where, number in numbers.items() if number)


def _number(axis: "Axes", few: bool) -> None:
    """Write plain numbers at the ticks: 1, 2, 5, 10 where the scale has few powers of ten, else the powers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for scale in (axis.xaxis, axis.yaxis):
        scale.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
        scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        scale.set_minor_formatter(NullFormatter())
