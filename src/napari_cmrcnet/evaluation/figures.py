"""Pictures of a prediction: maps over the slide, correlation by gene set, measured against predicted.

Figures are made without pyplot, so they need no screen and may be drawn in a worker thread. Colours are of the
viridis family: even in lightness and safe for the colour-blind.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

UNIT = "log-normalised expression"
COLOURS = "viridis"
_SET_COLOURS = {"HEG": "#3b528b", "HVG": "#21918c", "markers": "#c2661b"}


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


def gene_map(
    ground: Ground, measured: Array, predicted: Array, gene: str, pcc: float, *, subtitle: str = ""
) -> "Figure":
    """Draw the slide, measured and predicted expression of a gene side by side, both on one colour scale.

    The scale goes from the 1st to the 99th percentile over both.

    Parameters
    ----------
    ground : Ground
        Spots and slide.
    measured, predicted : float64 (n,)
        Log-normalised expression.
    gene : str
        Its name.
    pcc : float
        For the title; NaN is said to be undefined.
    subtitle : str
        A second line, such as the section's name.
    """
    from matplotlib.figure import Figure

    low, high = colour_limits(measured, predicted)
    left, right, top, bottom = _frame(ground)
    panels = ([("H&E", None)] if ground.image is not None else []) + [("measured", measured), ("predicted", predicted)]
    height = np.clip(4.4 * (bottom - top) / (right - left), 2.5, 9.0)
    figure = Figure(figsize=(4.4 * len(panels) + 1.1, height + 0.9), layout="constrained", dpi=130)
    axes = list(np.atleast_1d(figure.subplots(1, len(panels))))
    drawn: list[Any] = []
    for axis, (name, values) in zip(axes, panels, strict=True):
        _draw_slide(axis, ground, pale=values is not None)
        if values is not None:
            drawn.append(_draw_spots(axis, ground, values, low, high))
        axis.set(xlim=(left, right), ylim=(bottom, top), aspect="equal", xticks=[], yticks=[])
        axis.set_title(name, fontsize=11)
        for spine in axis.spines.values():
            spine.set_visible(False)
    if ground.mpp is not None:
        _draw_scale_bar(axes[0], left, right, top, bottom, ground.mpp)
    beyond = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    both = np.concatenate([measured, predicted])
    extend = beyond[bool((both < low).any()), bool((both > high).any())]
    figure.colorbar(drawn[-1], ax=axes[-2:], label=f"{gene}, {UNIT}", fraction=0.05, pad=0.02, extend=extend)
    correlation = "PCC undefined" if np.isnan(pcc) else f"PCC {pcc:.2f}"
    figure.suptitle(f"{_italic(gene)}   {correlation}" + (f"\n{subtitle}" if subtitle else ""), fontsize=12)
    return figure


def colour_limits(measured: Array, predicted: Array) -> tuple[float, float]:
    """Return the 1st and 99th percentile over both, never equal and never NaN."""
    both = np.concatenate([measured, predicted])
    both = both[np.isfinite(both)]
    if not both.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(both, [1, 99]))
    return (low, high) if high > low else (low, low + 1.0)


def set_boxplot(tables: Mapping[str, Mapping[str, Array]]) -> "Figure":
    """Draw the PCC of every gene of each set, as boxes with their genes as dots.

    Parameters
    ----------
    tables : mapping of section to mapping of set to float64 (g,)
        PCC of the set's genes; undefined ones (NaN) are left out and their number is written.
    """
    from matplotlib.figure import Figure

    sections = list(tables)
    sets = [name for name in _SET_COLOURS if any(len(tables[section].get(name, ())) for section in sections)]
    columns = len(sections) * len(sets)
    figure = Figure(figsize=(max(3.6, 1.6 + 0.75 * columns), 4.2), layout="constrained", dpi=130)
    axis = figure.subplots()
    axis.axhline(0, color="0.7", linewidth=0.8, zorder=0)
    rng = np.random.default_rng(0)  # only spreads the dots sideways
    for column, (section, name) in enumerate((section, name) for section in sections for name in sets):
        values = np.asarray(tables[section].get(name, ()), dtype=np.float64)
        defined = values[~np.isnan(values)]
        if defined.size:
            _draw_box(axis, column, defined, _SET_COLOURS[name], rng)
        note = f"n = {defined.size}" + (f"\n{values.size - defined.size} undef." if defined.size < values.size else "")
        axis.text(column, 0.01, note, ha="center", va="bottom", fontsize=7, transform=axis.get_xaxis_transform())
    axis.set_xticks(range(columns), [name for _ in sections for name in sets])
    if len(sections) > 1:
        middles = (np.arange(len(sections)) + 0.5) * len(sets) - 0.5
        axis.secondary_xaxis(-0.09).set_xticks(middles, sections, fontsize=9)
        for edge in range(1, len(sections)):
            axis.axvline(edge * len(sets) - 0.5, color="0.85", linewidth=0.8)
    axis.set(ylabel="PCC of a gene over the spots", xlim=(-0.6, columns - 0.4))
    low, high = axis.get_ylim()
    axis.set_ylim(low - 0.12 * (high - low), high)  # room for the counts
    axis.spines[["top", "right"]].set_visible(False)
    if len(sections) == 1:
        axis.set_title(sections[0], fontsize=11)
    return figure


def scatter(genes: Sequence[str], measured: Array, predicted: Array, pcc: Sequence[float], title: str) -> "Figure":
    """Draw predicted against measured expression, one panel a gene, one dot a spot.

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
    figure = Figure(figsize=(3.1 * columns + 0.3, 3.1 * rows + 0.5), layout="constrained", dpi=130)
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axis in axes[len(genes) :]:
        axis.set_visible(False)
    for column, (gene, axis) in enumerate(zip(genes, axes, strict=False)):
        x, y = measured[:, column], predicted[:, column]
        top = max(float(np.nanmax(x)), float(np.nanmax(y)), 0.1) * 1.05
        axis.plot([0, top], [0, top], color="0.7", linewidth=0.8, zorder=0)
        axis.scatter(x, y, s=9, color="#3b528b", alpha=0.45, linewidths=0)
        axis.set(xlim=(-0.02 * top, top), ylim=(-0.02 * top, top), aspect="equal")
        correlation = "undefined" if np.isnan(pcc[column]) else f"{pcc[column]:.2f}"
        axis.set_title(f"{_italic(gene)}   PCC {correlation}", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    figure.supxlabel(f"measured, {UNIT}", fontsize=10)
    figure.supylabel(f"predicted, {UNIT}", fontsize=10)
    figure.suptitle(title, fontsize=11)
    return figure


def _italic(gene: str) -> str:
    # Gene symbols are set in italics; a name with mathtext's own signs is written as it is.
    if set(gene) & set("$_^\\{}#%&~ "):
        return gene
    return "-".join(rf"$\mathit{{{part}}}$" if part else "" for part in gene.split("-"))


def _frame(ground: Ground) -> tuple[float, float, float, float]:
    """Return left, right, top, bottom of the picture in pixels: all spots with a margin, on the slide."""
    margin = 1.5 * ground.diameter + 0.02 * np.ptp(ground.xy, axis=0).max()
    (left, top), (right, bottom) = ground.xy.min(axis=0) - margin, ground.xy.max(axis=0) + margin
    return float(left), float(right), float(top), float(bottom)


def _draw_slide(axis: "Axes", ground: Ground, pale: bool) -> None:
    if ground.image is None:
        axis.set_facecolor("0.96")
        return
    image: NDArray[Any] = ground.image
    if pale:  # grey and light: the colours are the spots' alone
        grey = image.mean(axis=2, keepdims=True) / 255
        image = np.repeat(0.45 + 0.55 * grey, 3, axis=2)
    height, width = image.shape[:2]
    extent = (0, width * ground.downsample, height * ground.downsample, 0)
    axis.imshow(image, extent=extent, interpolation="antialiased")


def _draw_spots(axis: "Axes", ground: Ground, values: Array, low: float, high: float) -> Any:
    """Draw circles of the spots' true size; NaN is left out."""
    from matplotlib.collections import EllipseCollection

    shown = np.isfinite(values)
    sizes = np.full(int(shown.sum()), ground.diameter)
    spots = EllipseCollection(
        sizes, sizes, np.zeros_like(sizes), units="xy", offsets=ground.xy[shown], offset_transform=axis.transData
    )
    spots.set(array=values[shown], cmap=COLOURS, clim=(low, high), linewidths=0)
    axis.add_collection(spots, autolim=False)
    return spots


def _draw_scale_bar(axis: "Axes", left: float, right: float, top: float, bottom: float, mpp: float) -> None:
    """Draw a bar of a round length, about a fifth of the picture, below the tissue."""
    target = 0.22 * (right - left) * mpp
    power = 10.0 ** np.floor(np.log10(target))
    length = max(step * power for step in (1, 2, 5) if step * power <= target)
    x, y = left + 0.04 * (right - left), bottom - 0.03 * (bottom - top)
    label = f"{length:g} µm" if length < 1000 else f"{length / 1000:g} mm"
    axis.plot([x, x + length / mpp], [y, y], color="black", linewidth=3, solid_capstyle="butt", zorder=5)
    halo = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5}
    offset = 0.018 * (bottom - top)
    axis.text(x + length / mpp / 2, y - offset, label, ha="center", va="bottom", fontsize=9, bbox=halo, zorder=5)


def _draw_box(axis: "Axes", column: int, values: Array, colour: str, rng: np.random.Generator) -> None:
    axis.boxplot(
        values,
        positions=[column],
        widths=0.5,
        showfliers=False,
        patch_artist=True,
        boxprops={"facecolor": "none", "edgecolor": colour, "linewidth": 1.3},
        medianprops={"color": colour, "linewidth": 2},
        whiskerprops={"color": colour},
        capprops={"color": colour},
        manage_ticks=False,
    )
    sideways = column + rng.uniform(-0.17, 0.17, len(values))
    axis.scatter(sideways, values, s=8, color=colour, alpha=0.45, linewidths=0, zorder=3)
