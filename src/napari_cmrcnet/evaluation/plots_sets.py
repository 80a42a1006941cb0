"""Box plots of PCC by gene set, after the paper's figure 2."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.text import figure_gene, printable
from napari_cmrcnet.evaluation.plot_style import PRINT, Plot, Style, nearest, restyle
from napari_cmrcnet.evaluation.set_scores import SETS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class SetPlot(Plot):
    """The PCC of every gene of each set, as boxes with their genes as dots; the shown gene is marked in them."""

    def __init__(self, figure: "Figure", style: Style = PRINT) -> None:
        super().__init__(figure, style)
        self.axis = self.axes[0]
        self._clear()

    def show(self, *tables: "pd.DataFrame", sections: Sequence[str] = ("",)) -> None:
        """Draw the boxes again.

        Parameters
        ----------
        tables : DataFrame
            The scores of each section, see `Scores.table`. PCC that are undefined (NaN) are left out and their number
            is written.
        sections : sequence of str
            Their names, written where there are several.
        """
        axis = self.axis
        sets = [name for name in SETS if any(table[name].any() for table in tables)]
        self._clear()
        rng = np.random.default_rng(0)  # only spreads the dots sideways
        for table in tables:
            for name in sets:
                self._draw_set(name, table["pcc"][table[name]], rng)
        n = self._n_columns
        axis.set_xticks(range(n), [name for _ in sections for name in sets])
        if len(sections) > 1:
            middles = (np.arange(len(sections)) + 0.5) * len(sets) - 0.5
            names = [section.replace(", ", "\n") for section in sections]
            axis.secondary_xaxis(-0.09).set_xticks(middles, list(map(printable, names)), fontsize=9, parse_math=False)
            for edge in range(1, len(sections)):
                axis.axvline(edge * len(sets) - 0.5, color="0.85", linewidth=0.8)
        axis.set_ylabel("PCC of a gene over the spots", fontsize=9)
        axis.tick_params(labelsize=8)
        axis.set(xlim=(-0.6, max(n, 1) - 0.4))
        low, high = axis.get_ylim()
        axis.set_ylim(low - 0.2 * (high - low), high)  # room for the counts
        axis.spines[["top", "right"]].set_visible(False)
        restyle(self.figure, self.style)
        self.lay_out()

    def _clear(self) -> None:
        axis, style = self.axis, self.style
        axis.clear()
        self.genes: NDArray[Any] = np.empty(0, object)
        self.x, self.y = np.empty(0), np.empty(0)
        self._n_columns = 0
        axis.axhline(0, color=style.muted, linewidth=0.8, zorder=0)
        self._line = axis.axhline(np.nan, color=style.accent, linewidth=0.9, linestyle=(0, (4, 3)), zorder=2)
        (self._mark,) = axis.plot([], [], "D", zorder=5, **style.mark)
        self._label = axis.set_title("", fontsize=9, loc="right", color=style.accent)

    def _draw_set(self, name: str, pcc: "pd.Series[float]", rng: np.random.Generator) -> None:
        column, self._n_columns = self._n_columns, self._n_columns + 1
        genes = pcc.index[pcc.notna()].to_numpy(object)
        defined = pcc.dropna().to_numpy(np.float64)
        note = f"n = {defined.size}"
        if defined.size < len(pcc):
            note += f"\n{len(pcc) - defined.size} undef."
        if defined.size:
            note = f"mean {defined.mean():.2f}\n{note}"
            sideways = column + rng.uniform(-0.17, 0.17, defined.size)
            (dots,) = self.axis.plot(sideways, defined, "o", markersize=3.2, markeredgewidth=0, alpha=0.55, zorder=3)
            drawn = self.axis.boxplot(
                defined, positions=[column], widths=0.5, showfliers=False, manage_ticks=False,
                boxprops={"linewidth": 1.3}, medianprops={"linewidth": 2},
            )  # fmt: skip
            for artist in (dots, *chain(*drawn.values())):
                artist.set_color(self.style.sets[name])
            self.x, self.y = np.append(self.x, sideways), np.append(self.y, defined)
            self.genes = np.append(self.genes, genes)
        place = self.axis.get_xaxis_transform()
        self.axis.text(column, 0.01, note, ha="center", va="bottom", fontsize=7, transform=place)

    def mark(self, name: str, pcc: float) -> None:
        """Mark the shown gene, or score of a panel, by its PCC; no name marks none."""
        here = np.flatnonzero(self.genes == name)
        self._mark.set_data(self.x[here], self.y[here])
        self._line.set_ydata([pcc, pcc])
        undefined = np.isnan(pcc)
        self._label.set_text(f"{figure_gene(name)} {'undefined' if undefined else f'{pcc:.2f}'}" if name else "")

    def gene_at(self, axis: "Axes", at: tuple[float, float]) -> str | None:
        """Return the gene whose dot is at a place of the canvas, in pixels; None if there is none."""
        index = nearest(axis, self.x, self.y, at)
        return None if index is None else str(self.genes[index])

    def heights(self, width: int) -> tuple[int, int]:
        """Return the least and the most height in pixels."""
        return 320, max(320, round(1.5 * width))

    def print_size(self) -> tuple[float, float]:
        """Return width and height of a saved picture in inches: a box has the same width in each."""
        return max(3.6, 1.6 + 0.75 * self._n_columns), 4.2


def set_boxplot(tables: "Mapping[str, pd.DataFrame]") -> "Figure":
    """Draw the box plots of one or several sections, by their names; see `SetPlot.show`."""
    return SetPlot.printed(next(iter(tables)) if len(tables) == 1 else "", *tables.values(), sections=list(tables))
