"""Maps of several genes in one figure, measured over predicted: what a panel looks like on a section."""

from collections.abc import Sequence
from string import ascii_lowercase
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.text import figure_gene, figure_text, printable
from napari_cmrcnet.evaluation.figures import COLOURS, Ground, draw_scale_bar
from napari_cmrcnet.evaluation.map_pixels import MapPixels
from napari_cmrcnet.evaluation.plot_style import PRINT, UNIT, Plot, Style, restyle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    from napari_cmrcnet.evaluation.shown import Shown

Float32 = NDArray[np.float32]

MOST = 12
"""Genes in one figure: with more, the maps are too small to compare."""

# In pixels of a canvas of 100 an inch, on which a letter of 8 points is 11 high
_SIDE, _GAP, _BETWEEN = 22, 14, 4  # left of the maps; between genes; between the maps of a gene
_HEAD, _FOOT, _LINE = 36, 26, 15  # above all genes, and below them; a line of text
_BAR, _NUMBERS = 7, 24  # of a gene: its colour bar, and the numbers below that
_LETTER = 5.7  # across, of 8 points
_LEAST_WIDTH = 126  # of a map, for "prediction hardly varies" to fit
PRINT_MM = 180  # two columns of most journals
_FINER = 2.0  # pixels that are coloured for one that is seen, so that spots are round
_LEAST_SIDE, _MOST_SIDE = 240, 900  # pixels of a map's longer side


def kinds_of(genes: "Sequence[Shown]") -> list[str]:
    """Return what some genes have maps of, measured first."""
    return [kind for kind in ("measured", "predicted") if any(kind in gene.maps for gene in genes)]


class PanelPlot(Plot):
    """Maps of several genes, measured over predicted, each gene on a colour scale of its own.

    Parameters
    ----------
    figure : Figure
        An empty figure.
    style : Style
        Its colours.
    """

    def __init__(self, figure: "Figure", style: Style = PRINT) -> None:
        super().__init__(figure, style, [])
        self.genes: tuple[Shown, ...] = ()
        self._kinds: list[str] = []
        self._ground: Ground | None = None
        self._pixels: MapPixels | None = None
        self._of: dict[Axes, tuple[str, str]] = {}
        self._finer = _FINER
        self._marked = ""
        self._said = ""
        self._width_mm: float | None = None
        self._most_columns = MOST
        self._lettered = False
        self._heading = figure.text(0.01, 0.99, "", ha="left", va="top", fontsize=8)

    def show(
        self,
        genes: "Sequence[Shown]",
        ground: Ground,
        heading: str = "",
        colours: str = COLOURS,
        *,
        caption: str = "",
        width_mm: float | None = None,
        columns: int = MOST,
    ) -> None:
        """Show genes; they are drawn by `arrange`, when there is a width to draw them in.

        Parameters
        ----------
        genes : sequence of Shown
            Up to `MOST`, each with the same kinds of maps or fewer.
        ground : Ground
            Where the spots lie, and the slide.
        heading : str
            Above all genes.
        colours : str
            Name of the colour map.
        caption : str
            Below the section's name.
        width_mm : float, optional
            In print; 180 if not given, and 90 for up to two genes.
        columns : int
            Genes beside each other at most.
        """
        from matplotlib import colormaps

        if ground is not self._ground:
            self._pixels = None
        self.genes, self._ground = tuple(genes), ground
        self._kinds, self._map = kinds_of(genes), colormaps[colours]
        self._said, self._width_mm, self._most_columns = heading, width_mm, columns
        self.caption = tuple(wrap(printable(caption), round(17 * self.print_size()[0])))

    def mark(self, name: str, _pcc: float = np.nan) -> None:
        """Mark the title of the shown gene."""
        self._marked = name
        for axis, (gene, _) in self._of.items():
            axis.title.set_color(self.style.accent if gene == name else self.style.foreground)

    def gene_at(self, axis: "Axes", at: tuple[float, float]) -> str | None:  # noqa: ARG002 - a map is one gene
        """Return the gene of a map."""
        return self._of[axis][0] if axis in self._of else None

    def tip(self, axis: "Axes", at: tuple[float, float]) -> str:  # noqa: ARG002 - a map is one gene
        """Return the gene of a map, and which map it is."""
        return ", ".join(self._of.get(axis, ()))

    def heights(self, width: int) -> tuple[int, int]:
        """Return the height in pixels that the maps take at a width."""
        _, rows, _, _, block = self._sizes(width)
        height = round(_HEAD + rows * block + _FOOT + _LINE * len(self.caption))
        return height, height

    def print_size(self) -> tuple[float, float]:
        """Return width and height of a saved picture in inches."""
        width = (self._width_mm or PRINT_MM) / 25.4
        if self._width_mm is None and min(len(self.genes), self._columns(round(100 * width))) <= 2:
            width /= 2
        return width, self.heights(round(100 * width))[0] / 100

    def for_print(self, section: str = "") -> None:
        """Take the size of a saved picture, with the section that it is of below it."""
        self._finer = max(_FINER, self.figure.dpi / 75)
        self._lettered = len(self.genes) > 1
        super().for_print(section)

    def arrange(self, width: int, height: int) -> None:
        """Draw the maps at a width and height in pixels of the canvas."""
        for axis in self.axes:
            axis.remove()
        self.axes, self._of = [], {}
        if not self.genes or self._ground is None:
            return
        columns, _, across, down, block = self._sizes(width)
        side = int(np.clip(self._finer * max(across, down), _LEAST_SIDE, _MOST_SIDE))
        if self._pixels is None or max(self._pixels.spots.shape) < side:
            self._pixels = MapPixels(self._ground, side)
        for place, gene in enumerate(self.genes):
            row, column = divmod(place, columns)
            left, top = _SIDE + column * (across + _GAP), _HEAD + row * block
            axis = self._draw_gene(gene, (left, top, across, down), (width, height), names=not column)
            if self._lettered:
                above = 4 + 0.72 * _LINE * (len(self._title(gene, across)) - 1)  # in points: beside the gene's name
                letter = axis.annotate(ascii_lowercase[place], (0, 1), (0, above), "axes fraction", "offset points")
                letter.set(fontsize=9, weight="bold")
        of_colours = f"{UNIT}; the maps of a gene share its colours"
        unit = of_colours if len(of_colours) * _LETTER < width else UNIT
        self._heading.set_text(figure_text("\n".join(filter(None, [self._said, unit]))))
        self._heading.set_position((0.01, 1 - 4 / height))
        restyle(self.figure, self.style)
        draw_scale_bar(self.axes[0], self._ground, size=7)  # black on white in every style
        self.mark(self._marked)

    def _draw_gene(
        self,
        gene: "Shown",
        box: tuple[float, float, float, float],
        canvas: tuple[int, int],
        *,
        names: bool,
    ) -> "Axes":
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        left, top, across, down = box
        scale = ScalarMappable(Normalize(*gene.scale), self._map)
        top += _LINE * self._title_lines(across)
        for kind in self._kinds:
            axis = self._axes((left, top, across, down), canvas)
            self._draw_map(axis, gene.maps.get(kind), scale, kind)
            self._of[axis] = gene.name, kind
            if names:
                axis.set_ylabel(kind, fontsize=8, labelpad=3)
            if kind == self._kinds[0]:
                upper = axis
                axis.set_title("\n".join(self._title(gene, across)), fontsize=8, pad=4)
            top += down + _BETWEEN
        bar = self._axes((left + 0.1 * across, top, 0.8 * across, _BAR), canvas)
        self.figure.colorbar(scale, cax=bar, orientation="horizontal", ticks=list(gene.scale), format="%.2f")
        bar.tick_params(labelsize=7, length=2, pad=1)
        return upper

    def _draw_map(self, axis: "Axes", values: Float32 | None, scale: "ScalarMappable", kind: str) -> None:
        """Draw one map, or words where a gene has none of the kind."""
        assert self._pixels is not None
        assert self._ground is not None
        left, right, top, bottom = self._ground.frame
        if values is not None:
            picture = self._pixels.coloured(scale.to_rgba(values, bytes=True))
            axis.imshow(picture, extent=(left, right, bottom, top), aspect="auto")
        else:
            axis.text(0.5, 0.5, f"not {kind}", ha="center", va="center", fontsize=8, transform=axis.transAxes)
        axis.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
        axis.spines[:].set_visible(False)

    def _title(self, gene: "Shown", across: float) -> list[str]:
        """Return a gene's name and its score in lines that fit over its maps."""
        letters = max(12, int((across + _GAP / 2) / _LETTER))
        parts = gene.score.split("   ") if gene.predicted is not None else []
        lines = [piece for part in parts for piece in ([part] if len(part) <= letters else part.split(" · "))]
        return [figure_gene(gene.name), *(figure_text(line) for part in lines for line in wrap(part, letters))]

    def _title_lines(self, across: float) -> int:
        return max((len(self._title(gene, across)) for gene in self.genes), default=1)

    def _axes(self, box: tuple[float, float, float, float], canvas: tuple[int, int]) -> "Axes":
        """Return new axes at left, top, width and height in pixels of a canvas."""
        (left, top, across, down), (width, height) = box, canvas
        axis: Axes = self.figure.add_axes((left / width, 1 - (top + down) / height, across / width, down / height))
        self.axes.append(axis)
        return axis

    def _columns(self, width: int) -> int:
        return max(1, min(self._most_columns, int((width - _SIDE) // (_LEAST_WIDTH + _GAP))))

    def _sizes(self, width: int) -> tuple[int, int, float, float, float]:
        """Return columns, rows, width and height of a map, and height of a gene's block, at a width in pixels."""
        n = max(1, len(self.genes))
        columns = min(n, self._columns(width))
        rows = -(-n // columns)
        columns = -(-n // rows)  # as even as can be
        across = (width - _SIDE - columns * _GAP) / columns
        across = min(across, 320.0)
        down = across * (1.0 if self._ground is None else self._ground.ratio)
        maps = len(self._kinds) * (down + _BETWEEN)
        return columns, rows, across, down, _LINE * self._title_lines(across) + maps + _BAR + _NUMBERS
