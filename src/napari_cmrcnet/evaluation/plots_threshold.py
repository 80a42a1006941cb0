"""The histogram of a gene over the spots, with a threshold and the limits of the colours as lines to drag."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.evaluation.plot_style import PRINT, Plot, Style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BINS = 40
_REACH = 7.0  # pixels within which a line is meant
LINES = ("threshold", "low", "high")


class HistogramPlot(Plot):
    """How many spots have which value: predicted filled, measured as a line.

    Parameters
    ----------
    figure : Figure
        An empty figure.
    style : Style
        Its colours.
    """

    def __init__(self, figure: "Figure", style: Style = PRINT) -> None:
        super().__init__(figure, style)
        self.axis = self.axes[0]
        self.at = dict.fromkeys(LINES, 0.0)
        limit: dict[str, Any] = {"color": style.foreground, "linewidth": 1.2, "linestyle": "--"}
        self._lines = {name: self.axis.axvline(0.0, **limit) for name in LINES}
        self._lines["threshold"].set(color=style.accent, linewidth=2, linestyle="-")
        self._drawn: list[Any] = []
        self.axis.tick_params(labelsize=8)
        self.axis.set_ylabel("spots", fontsize=8)
        self.axis.spines[["top", "right"]].set_visible(False)

    def show(self, values: Mapping[str, NDArray[np.float32]], unit: str) -> None:
        """Show values.

        Parameters
        ----------
        values : mapping of str to float32 (n,)
            By what they are, ``"predicted"`` and ``"measured"``.
        unit : str
            Of the values.
        """
        for artist in self._drawn:
            artist.remove()
        self._drawn = []
        finite = {kind: array[np.isfinite(array)] for kind, array in values.items()}
        both = np.concatenate([*finite.values(), np.zeros(0, np.float32)])
        low, high = (float(both.min()), float(both.max())) if both.size else (0.0, 1.0)
        edges = np.linspace(low, max(high, low + 1e-3), _BINS + 1)
        most = 1
        for kind, array in finite.items():
            counts, _ = np.histogram(array, edges)
            most = max(most, int(counts.max()))
            colour = self.style.dots if kind == "predicted" else self.style.foreground
            look = {"fill": kind == "predicted", "color": colour, "edgecolor": colour, "linewidth": 1.3}
            self._drawn.append(self.axis.stairs(counts, edges, label=kind, **look))
        margin = 0.03 * (edges[-1] - edges[0])
        self.axis.set(xlim=(edges[0] - margin, edges[-1] + margin), ylim=(0, 1.05 * most))
        self.axis.set_xlabel(unit, fontsize=8)
        place = {"loc": "lower right", "bbox_to_anchor": (1.0, 0.98), "ncol": 2}
        self.axis.legend(fontsize=8, frameon=False, labelcolor=self.style.foreground, **place)

    def move(self, name: str, value: float) -> None:
        """Put one of `LINES` at a value."""
        self.at[name] = value
        self._lines[name].set_xdata([value, value])

    def line_at(self, x: float) -> str | None:
        """Return the line at a place across the canvas, in pixels; None if there is none."""
        places = {name: self.axis.transData.transform((value, 0))[0] for name, value in self.at.items()}
        nearest = min(LINES, key=lambda name: abs(places[name] - x))
        return nearest if abs(places[nearest] - x) <= _REACH * self.figure.dpi / 100 else None
