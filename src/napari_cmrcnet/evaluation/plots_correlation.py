"""Heatmaps of gene-gene correlation, measured and predicted in one order, after the paper's figure 4."""

from typing import TYPE_CHECKING

import numpy as np

from napari_cmrcnet.common.text import count_text, printable, some_of
from napari_cmrcnet.evaluation.plot_style import PRINT, Plot, Style, restyle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from napari_cmrcnet.evaluation.gene_correlation import GeneCorrelation

_COLOURS = "RdBu_r"  # diverging, white at 0, safe for the colour-blind
_NAMED = 60  # genes up to which each has its name
_ROW_PX = 11  # height of a row whose name can be read
_NAMES_PX = 70  # what the names take, beside and below
_EDGES_PX = 110  # title and colour bar


class CorrelationPlot(Plot):
    """Two heatmaps on one colour scale from −1 to 1, the genes of both in one order."""

    def __init__(self, figure: "Figure", style: Style = PRINT) -> None:
        super().__init__(figure, style, 2)
        self.result: GeneCorrelation | None = None
        self._shown = ""
        self._width = 1000
        self._images = [
            axis.imshow(np.zeros((1, 1)), cmap=_COLOURS, vmin=-1, vmax=1, interpolation="nearest", aspect="auto")
            for axis in self.axes
        ]
        bar = figure.colorbar(self._images[0], ax=self.axes, location="bottom", shrink=0.7, aspect=30, pad=0.02)
        bar.set_label("correlation of two genes over the spots", fontsize=8)
        bar.ax.tick_params(labelsize=8)
        for axis, name in zip(self.axes, ("measured", "predicted"), strict=True):
            axis.set_title(name, fontsize=9)
            axis.spines[:].set_visible(False)
        restyle(figure, style)

    def show(self, result: "GeneCorrelation", name: str) -> None:
        """Show the correlations of a set of genes, which has a name."""
        self.result = result
        n = len(result.genes)
        for image, matrix in zip(self._images, (result.measured, result.predicted), strict=True):
            image.set(data=matrix, extent=(-0.5, n - 0.5, n - 0.5, -0.5))
        left_out = f"; left out (constant or rare): {some_of(result.left_out, 3)}" if result.left_out else ""
        alike = "not defined" if np.isnan(result.alike) else f"r = {result.alike:.2f}"
        genes = count_text(n, "gene")
        self.figure.suptitle(
            f"{printable(f'{name}: {genes}{left_out}')}\n"
            f"agreement over {count_text(n * (n - 1) // 2, 'pair')} of genes: {alike}",
            fontsize=9,
            color=self.style.foreground,
            parse_math=False,
        )
        self._name_genes()
        self.lay_out()

    def mark(self, name: str, _pcc: float = np.nan) -> None:
        """Mark the name of the shown gene."""
        self._shown = name
        self._colour_names()

    def gene_at(self, axis: "Axes", at: tuple[float, float]) -> str | None:
        """Return the gene of the row of a cell."""
        cell = self._cell_at(axis, at)
        return None if cell is None else self._genes[cell[0]]

    def tip(self, axis: "Axes", at: tuple[float, float]) -> str:
        """Return both genes of a cell, with their correlations."""
        cell, result = self._cell_at(axis, at), self.result
        if cell is None or result is None:
            return ""
        row, column = (result.genes[place] for place in cell)
        return f"{row} and {column}\nmeasured {result.measured[cell]:.2f}, predicted {result.predicted[cell]:.2f}"

    def _cell_at(self, axis: "Axes", at: tuple[float, float]) -> tuple[int, int] | None:
        if axis not in self.axes:
            return None
        column, row = np.rint(axis.transData.inverted().transform(at)).astype(int)
        inside = 0 <= row < len(self._genes) and 0 <= column < len(self._genes)
        return (row, column) if inside else None

    def heights(self, width: int) -> tuple[int, int]:
        """Return the height in pixels at which cells are square, or higher where a name needs it."""
        height = round(len(self._genes) * max(self._cell(width), self._row)) + _NAMES_PX + _EDGES_PX
        return max(300, height), max(300, height)

    def arrange(self, width: int, height: int) -> None:
        """Write the names that fit."""
        if width != self._width:
            self._width = width
            self._name_genes()
        super().arrange(width, height)

    def print_size(self) -> tuple[float, float]:
        """Return width and height of a saved picture in inches, with room for the names."""
        width = max(6.0, 0.27 * min(len(self._genes), 2 * _NAMED) + 1.2)
        return width, self.heights(round(100 * width))[0] / 100

    @property
    def _genes(self) -> tuple[str, ...]:
        return () if self.result is None else self.result.genes

    @property
    def _row(self) -> float:
        return _ROW_PX if len(self._genes) <= _NAMED else 0.0

    def _cell(self, width: int) -> float:
        """Return the width of a cell in pixels, on a canvas of a width."""
        return (width - _NAMES_PX - 40) / 2 / max(len(self._genes), 1)

    def _name_genes(self) -> None:
        """Write the genes' names: at the rows once, for both, and at the columns where they fit."""
        genes, cell = self._genes, self._cell(self._width)
        for axis in self.axes:
            for ticks, pitch in ((axis.set_yticks, max(cell, self._row)), (axis.set_xticks, cell)):
                if len(genes) <= _NAMED and pitch >= 0.9 * _ROW_PX:
                    size = float(np.clip(0.62 * pitch, 6, 8))
                    names = list(map(printable, genes))
                    ticks(range(len(genes)), names, fontsize=size, fontstyle="italic", parse_math=False)
                else:
                    ticks([])
            axis.tick_params(axis="x", rotation=90, length=0, pad=2)
            axis.tick_params(axis="y", length=0, pad=2)
        self.axes[1].tick_params(axis="y", labelleft=False)
        self._colour_names()

    def _colour_names(self) -> None:
        for axis in self.axes:
            for label in (*axis.get_xticklabels(), *axis.get_yticklabels()):
                shown = bool(self._shown) and label.get_text() == self._shown
                label.set_color(self.style.accent if shown else self.style.foreground)
