"""Mean and variance of every gene, predicted against measured, after the paper's figure 3."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.evaluation.plot_style import PRINT, Plot, Style, label_beside, nearest

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOMENTS = ("mean", "variance")
_VECTOR_DOTS = 5000


class MomentPlot(Plot):
    """Two axes with logarithmic scales: mean and variance over the spots, one dot a gene."""

    def __init__(self, figure: "Figure") -> None:
        super().__init__(figure, len(MOMENTS))
        self.genes: NDArray[Any] = np.empty(0, object)
        self._values = {name: (np.empty(0), np.empty(0)) for name in MOMENTS}
        self._identity, self._dots, self._mark, self._label = [], [], [], []
        for axis, name in zip(self.axes, MOMENTS, strict=True):
            axis.set(xscale="log", yscale="log", xlabel=f"measured {name}", ylabel=f"predicted {name}")
            axis.spines[["top", "right"]].set_visible(False)
            axis.tick_params(labelsize=8)
            self._identity += axis.plot([1, 1], [1, 1], linewidth=0.9, zorder=0)
            self._dots += axis.plot([], [], "o", markeredgewidth=0)
            self._mark += axis.plot([], [], "D", markersize=7, markeredgewidth=1, zorder=5)
            label = axis.annotate(
                "", (1, 1), (7, 7), textcoords="offset points", fontsize=9, zorder=6, fontstyle="italic"
            )
            self._label.append(label)
        self.paint(PRINT)

    def show(self, table: "pd.DataFrame") -> None:
        """Show the genes of a score table.

        Parameters
        ----------
        table : DataFrame
            A row a gene, with ``measured_mean``, ``measured_variance``, ``predicted_mean``, ``predicted_variance``.
            Genes of which one is 0 have no place on a logarithmic scale; their number is written.
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
            left_out = n - int(drawn.sum())
            note = f", {left_out:,} of 0 left out" if left_out else ""
            axis.set_title(f"{name} of {n - left_out:,} genes{note}", fontsize=9)

    def mark(self, name: str) -> None:
        """Mark the shown gene; one that is not in the plot takes the mark away."""
        (here,) = np.nonzero(self.genes == name)
        for index, (axis, moment) in enumerate(zip(self.axes, MOMENTS, strict=True)):
            x, y = self._values[moment]
            self._mark[index].set_data(x[here], y[here])
            seen = here.size and np.isfinite(x[here[0]])
            self._label[index].set_text(name if seen else "")
            if seen:
                label_beside(self._label[index], axis, x[here[0]], y[here[0]])

    def gene_at(self, axis: "Axes", at: tuple[float, float]) -> str | None:
        """Return the gene whose dot is at a place of the canvas, in pixels; None if there is none."""
        if axis not in self.axes:
            return None
        index = nearest(axis, *self._values[MOMENTS[self.axes.index(axis)]], at)
        return None if index is None else str(self.genes[index])

    def paint(self, style: Style) -> None:
        """Take the colours of a style."""
        super().paint(style)
        for identity, dots, mark, label in zip(self._identity, self._dots, self._mark, self._label, strict=True):
            identity.set_color(style.muted)
            dots.set_color(style.dots)
            mark.set(markerfacecolor=style.accent, markeredgecolor=style.background)
            label.set(
                color=style.accent, bbox={"facecolor": style.background, "edgecolor": "none", "alpha": 0.8, "pad": 1}
            )
