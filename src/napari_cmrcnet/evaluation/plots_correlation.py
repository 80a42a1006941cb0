"""Heatmaps of gene-gene correlation, measured and predicted in one order, after the paper's figure 4."""

from typing import TYPE_CHECKING

import numpy as np

from napari_cmrcnet.evaluation.plot_style import PRINT, Plot, Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from napari_cmrcnet.evaluation.gene_correlation import GeneCorrelation

_COLOURS = "RdBu_r"  # diverging, white at 0, safe for the colour-blind
_NAMED = 60  # genes up to which each has its name
_ROW_PX = 9.5  # height of a name that can be read
_EDGES_PX = 100  # title, names below and colour bar


class CorrelationPlot(Plot):
    """Two heatmaps on one colour scale from −1 to 1, the genes of both in one order."""

    def __init__(self, figure: "Figure") -> None:
        super().__init__(figure, 2)
        self.result: GeneCorrelation | None = None
        self._shown = ""
        self._canvas = (1000, 560)
        self._images = [
            axis.imshow(np.zeros((1, 1)), cmap=_COLOURS, vmin=-1, vmax=1, interpolation="nearest", aspect="auto")
            for axis in self.axes
        ]
        self._bar = figure.colorbar(self._images[0], ax=self.axes, location="bottom", shrink=0.7, aspect=30, pad=0.02)
        self._bar.set_label("correlation of two genes over the spots", fontsize=8)
        self._bar.ax.tick_params(labelsize=8)
        for axis, name in zip(self.axes, ("measured", "predicted"), strict=True):
            axis.set_title(name, fontsize=9)
            axis.spines[:].set_visible(False)
        self.paint(PRINT)

    def show(self, result: "GeneCorrelation", name: str) -> None:
        """Show the correlations of a set of genes, which has a name."""
        self.result = result
        n = len(result.genes)
        for image, matrix in zip(self._images, (result.measured, result.predicted), strict=True):
            image.set(data=matrix, extent=(-0.5, n - 0.5, n - 0.5, -0.5))
        left_out = f"; constant, left out: {', '.join(result.left_out[:3])}" if result.left_out else ""
        left_out += f" and {len(result.left_out) - 3} more" if len(result.left_out) > 3 else ""
        alike = "not defined" if np.isnan(result.alike) else f"r = {result.alike:.2f}"
        self.figure.suptitle(
            f"{name}: {n} genes{left_out}\nhow alike over {result.pairs:,} pairs of genes: {alike}", fontsize=9
        )
        self._name_genes()
        self.paint(self.style)

    def mark(self, name: str) -> None:
        """Mark the name of the shown gene."""
        self._shown = name
        self._colour_names()

    def pair_at(self, axis: "Axes", at: tuple[float, float]) -> tuple[str, str, float, float] | None:
        """Return both genes of the cell at a place of the canvas, with their measured and predicted correlation."""
        if axis not in self.axes or self.result is None:
            return None
        column, row = np.rint(axis.transData.inverted().transform(at)).astype(int)
        if not (0 <= row < len(self.result.genes) and 0 <= column < len(self.result.genes)):
            return None
        genes, measured, predicted = self.result.genes, self.result.measured, self.result.predicted
        return genes[row], genes[column], float(measured[row, column]), float(predicted[row, column])

    def paint(self, style: Style) -> None:
        """Take the colours of a style."""
        super().paint(style)
        self._bar.outline.set_edgecolor(style.muted)
        self._colour_names()

    def least_height(self, width: int) -> int:
        """Return the height in pixels that leaves each row its name, where there are not too many."""
        rows = 1 if width >= self.WIDE else 2
        n = 0 if self.result is None else len(self.result.genes)
        return rows * max(200, round(_ROW_PX * n) if n <= _NAMED else 0) + _EDGES_PX + 40 * rows

    def arrange(self, width: int, height: int) -> None:
        """Put the heatmaps beside or below each other, and write the names that fit."""
        super().arrange(width, height)
        if (width, height) != self._canvas:
            self._canvas = (width, height)
            self._name_genes()

    def print_size(self) -> tuple[float, float]:
        """Return width and height of a saved picture in inches, with room for the names."""
        side = 1.2 + max(2.6, 0.125 * min(0 if self.result is None else len(self.result.genes), 2 * _NAMED))
        return 2 * side + 0.3, side + 1.0

    def _name_genes(self) -> None:
        """Write the genes' names at rows and columns where they can be read."""
        genes = () if self.result is None else self.result.genes
        width, height = self._canvas
        across, down = (2, 1) if self.wide else (1, 2)
        pitches = ((width / across - 80) / max(len(genes), 1), (height - _EDGES_PX) / down - 50)
        row, column = pitches[1] / max(len(genes), 1), pitches[0]
        for axis in self.axes:
            for ticks, pitch in ((axis.set_yticks, row), (axis.set_xticks, column)):
                if len(genes) <= _NAMED and pitch >= 0.85 * _ROW_PX:
                    size = float(np.clip(0.62 * pitch, 5.5, 8))
                    ticks(range(len(genes)), genes, fontsize=size, fontstyle="italic")
                else:
                    ticks([])
            axis.tick_params(axis="x", rotation=90, length=0, pad=2)
            axis.tick_params(axis="y", length=0, pad=2)
        self._colour_names()

    def _colour_names(self) -> None:
        genes = () if self.result is None else self.result.genes
        for axis in self.axes:
            for label in (*axis.get_xticklabels(), *axis.get_yticklabels()):
                shown = bool(genes) and label.get_text() == self._shown
                label.set_color(self.style.accent if shown else self.style.foreground)
