"""Maps of a gene over the slide, measured beside predicted.

Figures are made without pyplot, so they need no screen and may be drawn in a worker thread. Colours are of the
viridis family: even in lightness and safe for the colour-blind.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import is_there
from napari_cmrcnet.common.metrics import pcc_in_words
from napari_cmrcnet.common.text import figure_gene, figure_text, printable
from napari_cmrcnet.evaluation.colour_limits import Limits, bar_ticks, colour_limits, hardly_varies
from napari_cmrcnet.evaluation.headline import HARDLY_VARIES, headline, in_lines
from napari_cmrcnet.evaluation.plot_style import UNIT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from napari_cmrcnet.evaluation.shown import Shown
    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.slides.slide import Slide

Array = NDArray[np.float64]

COLOURS = "viridis"
_FRAME_PX, _MOST_PX = 880, 1600
"""Longer side, in pixels, of the part of the slide that is drawn (570 to 880 wide), and at most of the whole slide."""


@dataclass(frozen=True, eq=False)
class Ground:
    """Where the spots of a section lie, and the slide under them if there is one.

    Parameters
    ----------
    xy : float64 (n, 2)
        Spot centres (x, y) in full-resolution pixels.
    diameter : float
        Of a spot, in full-resolution pixels.
    mpp : float or None
        µm per full-resolution pixel; no scale bar without it.
    image : uint8 (h, w, 3) or None
        The slide, reduced.
    downsample : float
        Full-resolution pixels per pixel of `image`.
    """

    xy: Array
    diameter: float
    mpp: float | None = None
    image: NDArray[np.uint8] | None = None
    downsample: float = 1.0

    @cached_property
    def pale(self) -> NDArray[np.uint8]:
        """The slide in grey and light, as the colours are the spots' alone: uint8 (h, w, 3)."""
        assert self.image is not None
        grey = self.image.mean(axis=2, keepdims=True, dtype=np.float32)
        return np.repeat((0.45 * 255 + 0.55 * grey).astype(np.uint8), 3, axis=2)

    @cached_property
    def frame(self) -> tuple[float, float, float, float]:
        """Left, right, top, bottom of the picture in pixels: all spots with a margin."""
        margin = 1.5 * self.diameter + 0.02 * np.ptp(self.xy, axis=0).max()
        (left, top), (right, bottom) = self.xy.min(axis=0) - margin, self.xy.max(axis=0) + margin
        return float(left), float(right), float(top), float(bottom)

    @property
    def ratio(self) -> float:
        """Height of the picture over its width."""
        left, right, top, bottom = self.frame
        return (bottom - top) / (right - left)


def ground_of(case: "Case", slide: str | os.PathLike[str] = "") -> Ground:
    """Return where a case's spots lie, with its slide if that can still be read, or where ``slide`` says."""
    from napari_cmrcnet.slides.slide import open_slide

    path = str(slide) or case.provenance.slide
    if path and is_there(path):
        with suppress(UserError), open_slide(path) as opened:
            return ground_on(case, opened)
    return ground_on(case, None)


def ground_on(case: "Case", slide: "Slide | None") -> Ground:
    """Return where a case's spots lie, with a slide that is open, reduced, or none."""
    ground = Ground(case.xy, case.spot_diameter, case.provenance.mpp or None)
    if slide is None:
        return ground
    part = max(np.ptp(case.xy / slide.scale, axis=0).max(), 1.0)
    image = slide.thumbnail(int(min(_FRAME_PX * max(slide.shape) / part, _MOST_PX)))
    return replace(ground, image=image, downsample=slide.scale * slide.shape[1] / image.shape[1])


def gene_map(ground: Ground, shown: "Shown", *, caption: str = "", dpi: int = 130) -> "Figure":
    """Draw the slide, measured and predicted expression of a gene side by side, both on one colour scale.

    What was not measured, or is not predicted, is left out. Symbols are in italics where the unit is that of a gene.
    The second line says of which section they are.

    Parameters
    ----------
    ground : Ground
        Spots and slide.
    shown : Shown
        What to draw, and in which colours.
    caption : str
        Text below the pictures.
    dpi : int
        At which it will be saved.
    """
    from matplotlib.figure import Figure

    unit, gene = shown.full_unit, shown.name
    known = {name: np.asarray(values, np.float64) for name, values in shown.maps.items()}
    both = np.concatenate([*known.values()])
    size = 4.4 * (len(known) + (ground.image is not None)) + 1.1, np.clip(4.4 * ground.ratio, 2.5, 9.0) + 0.9
    figure = Figure(figsize=size, layout="constrained", dpi=dpi)
    axes, spots = draw_maps(figure, ground, known, shown.scale, shown.colours)
    _draw_colour_bar(spots, axes[-len(known) :], f"{figure_text(gene)}, {unit}", both)
    name = figure_gene(gene) if unit == UNIT else figure_text(gene)
    below = figure_text(shown.section + (f", {shown.n}" if shown.measured is not None else ""))
    figure.suptitle(f"{headline(name, shown.score)}\n{below}", fontsize=12)
    if caption:
        text = fill(printable(caption), int(17 * figure.get_figwidth()))
        figure.supxlabel(text, x=0.01, ha="left", fontsize=8, color="0.25", linespacing=1.4, parse_math=False)
        figure.set_figheight(figure.get_figheight() + 0.17 * (1 + text.count("\n")))
    return figure


def method_maps(
    ground: Ground,
    measured: Array,
    predicted: Mapping[str, tuple[Array, float]],
    gene: str,
    *,
    subtitle: str = "",
) -> "Figure":
    """Draw measured expression of a gene beside that of each method, all on the measured one's colour scale.

    After the paper's figures 5 to 7. What a method predicts beyond what was measured has the colours of the ends, so
    that one that is far off takes no colour from the others.

    Parameters
    ----------
    ground : Ground
        Spots and slide.
    measured : float64 (n,)
        Log-normalised expression.
    predicted : mapping of str to (float64 (n,), float)
        By method, its prediction and its PCC.
    gene : str
        Its name.
    subtitle : str
        A second line, such as the section's name.
    """
    from matplotlib.figure import Figure

    everything = np.concatenate([measured, *(values for values, _ in predicted.values())])
    maps = {"measured": measured}
    for method, (values, pcc) in predicted.items():
        score = pcc_in_words(pcc) + (f"   {HARDLY_VARIES}" if hardly_varies(values) else "")
        maps[f"{figure_text(method)}\n{in_lines(score, 30)}"] = values
    n = len(maps) + (ground.image is not None)
    rows = -(-n // 5)
    columns = -(-n // rows)
    height = float(np.clip(3.1 * ground.ratio, 1.8, 6.0))
    figure = Figure(figsize=(3.1 * columns + 0.9, (height + 0.5) * rows + 0.5), layout="constrained", dpi=130)
    axes, spots = draw_maps(figure, ground, maps, colour_limits(measured), rows=rows)
    _draw_colour_bar(spots, axes, f"{figure_text(gene)}, {UNIT}", everything)
    figure.suptitle(f"{figure_gene(gene)}   {figure_text(subtitle)}", fontsize=12)
    return figure


def draw_maps(
    figure: "Figure",
    ground: Ground,
    maps: Mapping[str, NDArray[Any]],
    limits: Limits,
    colours: str = COLOURS,
    *,
    rows: int = 1,
    points: tuple[float, float] = (11, 9),
) -> "tuple[list[Axes], Any]":
    """Draw the slide, where there is one, and maps beside each other, with a scale bar in the first.

    Maps are by title: values, float64 (n,), of which NaN is left out, or the colours of all spots, RGB (n, 3). Titles
    and the scale bar's text have a size in points. Returns all axes, those that are left over too, and the last spots.
    """
    panels = {"H&E": None, **maps} if ground.image is not None else {**maps}
    axes = list(figure.subplots(rows, -(-len(panels) // rows), squeeze=False).ravel())
    left, right, top, bottom = ground.frame
    for axis, (name, values) in zip(axes, panels.items(), strict=False):
        _draw_slide(axis, ground, pale=values is not None)
        spots = None if values is None else _draw_spots(axis, ground, values, *limits, colours)
        axis.set(xlim=(left, right), ylim=(bottom, top), aspect="equal", xticks=[], yticks=[])
        axis.set_title(name, fontsize=points[0])
        axis.spines[:].set_visible(False)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    draw_scale_bar(axes[0], ground, points[1])
    return axes, spots


def _draw_colour_bar(spots: Any, axes: "list[Axes]", label: str, values: Array) -> None:
    """Draw the colour bar of spots beside axes, with a number at each end, and a tip where values are beyond it."""
    low, high = spots.get_clim()
    beyond = ("neither", "min", "max", "both")[int((values < low).any()) + 2 * int((values > high).any())]
    bar = axes[0].figure.colorbar(spots, ax=axes, label=label, fraction=0.05, pad=0.02, extend=beyond)
    places, numbers = bar_ticks(low, high)
    bar.set_ticks(places, labels=numbers)
    bar.minorticks_off()


def _draw_slide(axis: "Axes", ground: Ground, pale: bool) -> None:
    if ground.image is None:
        axis.set_facecolor("0.96")
        return
    image = ground.pale if pale else ground.image
    ends = np.clip(np.array(ground.frame) / ground.downsample, 0, np.repeat(image.shape[1::-1], 2))
    left, top = np.floor(ends[::2]).astype(int)
    right, bottom = np.ceil(ends[1::2]).astype(int)
    west, east, south, north = (float(end * ground.downsample) for end in (left, right, bottom, top))
    axis.imshow(image[top:bottom, left:right], extent=(west, east, south, north), interpolation="antialiased")


def _draw_spots(axis: "Axes", ground: Ground, values: NDArray[Any], low: float, high: float, colours: str) -> Any:
    """Draw circles of the spots' true size; see `draw_maps`."""
    from matplotlib.collections import EllipseCollection

    shown = np.isfinite(values) if values.ndim == 1 else np.ones(len(values), bool)
    sizes = np.full(int(shown.sum()), ground.diameter)
    spots = EllipseCollection(
        sizes, sizes, np.zeros_like(sizes), units="xy", offsets=ground.xy[shown], offset_transform=axis.transData
    )
    if values.ndim == 1:
        spots.set(array=values[shown], cmap=colours, clim=(low, high), linewidths=0)
    else:
        spots.set(facecolors=values, linewidths=0)
    axis.add_collection(spots, autolim=False)
    return spots


def draw_scale_bar(axis: "Axes", ground: Ground, size: float) -> None:
    """Draw a bar of a round length, about a fifth of the picture, below the tissue; its text has a size in points."""
    if ground.mpp is None:
        return
    left, right, top, bottom = ground.frame
    target = 0.22 * (right - left) * ground.mpp
    power = 10.0 ** np.floor(np.log10(target))
    length = max(step * power for step in (1, 2, 5) if step * power <= target)
    x, y = left + 0.04 * (right - left), bottom - 0.03 * (bottom - top)
    label = f"{length:g} µm" if length < 1000 else f"{length / 1000:g} mm"
    axis.plot([x, x + length / ground.mpp], [y, y], color="black", linewidth=size / 3, solid_capstyle="butt", zorder=5)
    halo = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5}
    offset = 0.018 * (bottom - top)
    axis.text(
        x + length / ground.mpp / 2, y - offset, label, ha="center", va="bottom", fontsize=size, bbox=halo, zorder=5
    )
