"""How plots look: in the window's colours on the screen, on white in print. Safe for the colour-blind on both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_cmrcnet.common.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNIT = "log-normalised expression"  # natural log of 1 + counts in 10,000 of the spot
SHORT_UNIT = "log-norm."  # the same, at colour bars of the window
PANEL_UNIT = "mean z"  # of a panel's score
_WITHIN = 6.0  # points (1/72 inch) beyond which a dot is not meant


@dataclass(frozen=True)
class Style:
    """The colours of a plot.

    Parameters
    ----------
    background, foreground : str
        Of the figure, and of its text, ticks and axes.
    muted : str
        What is there for orientation, such as the identity line.
    dots : str
        Spots and genes.
    accent : str
        What is shown or selected now.
    sets : mapping of str to str
        A colour a set of genes.
    """

    background: str
    foreground: str
    muted: str
    dots: str
    accent: str
    sets: Mapping[str, str]

    @property
    def mark(self) -> dict[str, Any]:
        """How the dot of the shown gene is marked."""
        return {"color": self.accent, "markeredgecolor": self.background, "markersize": 7, "markeredgewidth": 1}


def style_on(background: str, foreground: str) -> Style:
    """Return the style that goes with a background, dark or light, and the colour of its text, both as #rrggbb."""
    muted = _mixed(background, foreground, 0.45)
    if _lightness(background) > 0.5:
        sets = {"HEG": "#3b528b", "HVG": "#137a73", "markers": "#b3541a"}
        return Style(background, foreground, muted, "#2f6db0", "#c8420a", sets)
    sets = {"HEG": "#9fb4f0", "HVG": "#45c4ba", "markers": "#f2a25c"}
    return Style(background, foreground, muted, "#6db3f2", "#ffb000", sets)


def _lightness(colour: str) -> float:
    """Return how light a #rrggbb is, 0 to 1 (the luma of ITU-R BT.601)."""
    return float(np.dot(_rgb(colour), (0.299, 0.587, 0.114)))


def _mixed(first: str, second: str, share: float) -> str:
    mixed = (1 - share) * _rgb(first) + share * _rgb(second)
    return "#" + "".join(f"{round(255 * part):02x}" for part in mixed)


def _rgb(colour: str) -> NDArray[np.float64]:
    return np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255


PRINT = style_on("#ffffff", "#1a1a1a")


def restyle(figure: "Figure", style: Style) -> None:
    """Give a figure's background, axes, ticks and text the colours of a style."""
    figure.set_facecolor(style.background)
    for text in figure.texts:
        text.set_color(style.foreground)
    for axis in figure.axes:
        axis.set_facecolor(style.background)
        axis.tick_params(which="both", color=style.muted, labelcolor=style.foreground)
        for spine in axis.spines.values():
            spine.set_edgecolor(style.muted)
        for text in (axis.title, axis.xaxis.label, axis.yaxis.label, *axis.texts):
            text.set_color(style.foreground)


class Plot:
    """A figure that is drawn once; what changes with the shown gene is updated in place.

    Parameters
    ----------
    figure : Figure
        Empty, of any canvas.
    style : Style
        Its colours; in others, it is made again.
    axes : sequence of Axes, or int
        Those of the figure to draw in, or how many to make, side by side.
    """

    def __init__(self, figure: "Figure", style: Style = PRINT, axes: "Sequence[Axes] | int" = 1) -> None:
        self.figure, self.style = figure, style
        self.source: object = None  # what it was drawn from, for those who draw it again only for something else
        self.caption: tuple[str, ...] = ()  # lines below the section's name
        if isinstance(axes, int):
            self.axes = list(np.atleast_1d(figure.subplots(1, axes)))
            self.lay_out()
        else:
            self.axes = list(axes)
        restyle(figure, style)

    def lay_out(self) -> None:
        """Find room for all labels when it is drawn next.

        That takes longer than to draw: a canvas turns it off again for what is only updated.
        """
        self.figure.set_layout_engine("constrained", w_pad=0.07, h_pad=0.07)

    def heights(self, width: int) -> tuple[int, int]:  # noqa: ARG002 - for plots whose axes keep their shape
        """Return the least and the most height in pixels that a plot is good at, at a width in pixels."""
        return 320, 2000

    def arrange(self, width: int, height: int) -> None:  # noqa: ARG002 - for plots that depend on it
        """Make good use of a canvas of so many pixels."""
        self.lay_out()

    def print_size(self) -> tuple[float, float]:
        """Return width and height of a saved picture in inches."""
        return 4.4, 4.6

    def gene_at(self, axis: "Axes", at: tuple[float, float]) -> str | None:  # noqa: ARG002 - for plots of genes
        """Return the gene at a place of the canvas, in pixels; None if there is none."""
        return None

    def tip(self, axis: "Axes", at: tuple[float, float]) -> str:
        """Return what is at a place of the canvas, in pixels."""
        return self.gene_at(axis, at) or ""

    def name_section(self, section: str) -> None:
        """Write below it which section it is of, after `evaluation.headline.section_words`, and the caption."""
        lines = "\n".join(filter(None, [printable(section), *self.caption]))
        if lines:
            below = self.figure.supxlabel(lines, x=0.01, ha="left", fontsize=8, parse_math=False)
            below.set(color=self.style.foreground, **({"linespacing": 1.3} if self.caption else {}))

    @classmethod
    def printed(cls, section: str, *shown: Any, dpi: int = 130, **how: Any) -> "Figure":
        """Return a figure for print of what ``show`` takes, with the section that it is of below it."""
        from matplotlib.figure import Figure

        figure = Figure(dpi=dpi)
        plot: Any = cls(figure)
        plot.show(*shown, **how)
        plot.for_print(section)
        return figure

    def for_print(self, section: str = "") -> None:
        """Take the size of a saved picture, with the section that it is of below it."""
        self.name_section(section)
        width, height = self.print_size()
        self.figure.set_size_inches(width, height)
        self.arrange(round(100 * width), round(100 * height))


def nearest(axis: "Axes", x: ArrayLike, y: ArrayLike, at: tuple[float, float]) -> int | None:
    """Return which dot is nearest to a place on the canvas.

    Parameters
    ----------
    axis : Axes
        Where they are drawn.
    x, y : (n,)
        The dots; NaN is never near.
    at : (float, float)
        The place, in pixels of the canvas.
    """
    places = np.column_stack([np.asarray(x, np.float64), np.asarray(y, np.float64)])
    if not len(places):
        return None
    distances = np.hypot(*(axis.transData.transform(places) - at).T)
    distances[~np.isfinite(distances)] = np.inf
    best = int(np.argmin(distances))
    return best if distances[best] <= _WITHIN * axis.figure.dpi / 72 else None


def label_beside(label: Any, axis: "Axes", x: float, y: float) -> None:
    """Put a text beside a place in data coordinates, on the side where the axes have more room."""
    across, up = axis.transAxes.inverted().transform(axis.transData.transform((x, y)))
    label.xy = (x, y)
    label.set_position((7 if across < 0.6 else -7, 7 if up < 0.85 else -7))
    label.set(ha="left" if across < 0.6 else "right", va="bottom" if up < 0.85 else "top")
