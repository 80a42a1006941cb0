"""The paper's figures 2 to 4 for any number of methods. Every colour has a name beside it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.text import figure_text, printable
from napari_cmrcnet.evaluation.gene_correlation import clustered, correlations
from napari_cmrcnet.evaluation.plot_style import PRINT, restyle

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

# Paul Tol's "muted", safe for the colour-blind; CMRCNet has the style's accent.
_COLOURS = ("#332288", "#44aa99", "#999933", "#882255", "#88ccee", "#117733", "#ddcc77", "#aa4499", "#cc6677")
_LINEAR = 0.01  # of log-normalised expression: up to it the scale of figure 3 is linear
_CORRELATIONS = "RdBu_r"  # diverging, white at 0, safe for the colour-blind


def method_colours(methods: Sequence[str]) -> dict[str, str]:
    """Return a colour a method, the same in every figure of a benchmark."""
    others = [method for method in methods if not method.startswith("CMRCNet")]
    colours = {method: _COLOURS[index % len(_COLOURS)] for index, method in enumerate(others)}
    return {method: colours.get(method, PRINT.accent) for method in methods}


def method_boxplot(values: Mapping[str, Mapping[str, Mapping[str, Array]]], colours: Mapping[str, str]) -> "Figure":
    """Draw the PCC of the genes of each set: a row of axes per set, one axes per section, a box per method (figure 2).

    Parameters
    ----------
    values : mapping of set to mapping of section to mapping of method to float64 (g,)
        PCC; NaN, undefined, is left out.
    colours : mapping of str to str
        Of the methods.
    """
    from matplotlib.figure import Figure

    sets, sections = list(values), list(next(iter(values.values())))
    methods = list(colours)
    width = 1.0 + len(sections) * (0.5 + 0.28 * len(methods))
    figure = Figure(figsize=(max(width, 4.5), 2.6 * len(sets) + 1.2), layout="constrained", dpi=130)
    grid = figure.subplots(len(sets), len(sections), sharex=True, sharey="row", squeeze=False)
    for axes, name in zip(grid, sets, strict=True):
        for axis, section in zip(axes, sections, strict=True):
            axis.axhline(0, color=PRINT.muted, linewidth=0.8, zorder=0)
            for place, method in enumerate(methods):
                _box(axis, place, values[name][section].get(method, np.empty(0)), colours[method])
            axis.set_xticks(range(len(methods)), map(printable, methods), rotation=90, fontsize=8, parse_math=False)
            axis.set_xlim(-0.7, len(methods) - 0.3)
            axis.tick_params(axis="y", labelsize=8)
            axis.spines[["top", "right"]].set_visible(False)
        axes[0].set_ylabel(f"PCC, {name}", fontsize=9)
    for axis, section in zip(grid[0], sections, strict=True):
        axis.set_title(figure_text(section), fontsize=9)
    restyle(figure, PRINT)
    return figure


def _box(axis: "Axes", place: int, pcc: Array, colour: str) -> None:
    defined = pcc[~np.isnan(pcc)]
    if not defined.size:
        axis.text(place, 0.5, "undefined", rotation=90, ha="center", va="center", fontsize=7,
                  transform=axis.get_xaxis_transform())  # fmt: skip
        return
    sideways = place + np.random.default_rng(0).uniform(-0.22, 0.22, defined.size)
    axis.plot(sideways, defined, "o", markersize=2.2, markeredgewidth=0, alpha=0.45, color=colour, zorder=2)
    drawn = axis.boxplot(defined, positions=[place], widths=0.62, showfliers=False, manage_ticks=False)
    for part in drawn.values():
        for line in part:
            line.set(color=colour, linewidth=1.2)
    for line in drawn["medians"]:
        line.set_linewidth(2.2)


def method_moments(tables: "Mapping[str, pd.DataFrame]", title: str) -> "Figure":
    """Draw mean and variance of every gene, measured and predicted one over the other, one row per method (figure 3).

    Genes are in the order of the measured value, the lowest first. Both scales are linear near 0 and logarithmic
    beyond, so that a gene at 0, or one whose predicted mean is below 0, is drawn where it is.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        By method, one row per gene with ``measured_mean``, ``measured_variance``, ``predicted_mean``,
        ``predicted_variance``.
    title : str
        What it is of.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 3.4 * len(tables)), layout="constrained", dpi=130)
    for axes, (method, table) in zip(figure.subplots(len(tables), 2, squeeze=False), tables.items(), strict=True):
        for axis, moment in zip(axes, ("mean", "variance"), strict=True):
            _overlaid(axis, table[f"measured_{moment}"], table[f"predicted_{moment}"])
            axis.set_ylabel(f"{moment} over the spots", fontsize=9)
            axis.set_title(f"{figure_text(method)}: {moment} of {len(table):,} genes", fontsize=9)
    figure.suptitle(figure_text(title), fontsize=10)
    restyle(figure, PRINT)
    return figure


def _overlaid(axis: "Axes", measured: "pd.Series[float]", predicted: "pd.Series[float]") -> None:
    order = np.argsort(measured.to_numpy(), kind="stable")
    rank = np.arange(len(order))
    dots: dict[str, Any] = {"markersize": 2.0, "markeredgewidth": 0, "rasterized": True}  # thousands a method
    axis.plot(rank, predicted.to_numpy()[order], "o", color=PRINT.dots, alpha=0.5, label="predicted", **dots)
    axis.plot(rank, measured.to_numpy()[order], "o", color=PRINT.accent, label="measured", **dots)
    axis.axhline(0, color=PRINT.muted, linewidth=0.8, zorder=0)
    axis.set_yscale("symlog", linthresh=_LINEAR)
    values = np.concatenate([measured, predicted])
    axis.set_ylim(1.5 * min(values.min(initial=0.0), -_LINEAR / 5), 1.5 * max(values.max(initial=0.0), _LINEAR))
    axis.set_xlabel("genes, in the order of the measured value", fontsize=9)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8, frameon=False, markerscale=3)


def method_correlations(genes: Sequence[str], measured: Array, predicted: Mapping[str, Array], title: str) -> "Figure":
    """Draw gene-gene correlations, measured and by each method, in the order of the measured clustering (figure 4).

    Genes without a measured correlation are left out; those that a method predicts to be constant are grey in its map.

    Parameters
    ----------
    genes : sequence of str
        The columns of the matrices.
    measured : float64 (n, g)
        Expression.
    predicted : mapping of str to float64 (n, g)
        By method.
    title : str
        What it is of.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    varies = np.ptp(measured, axis=0) > 0
    truth = correlations(measured[:, varies].astype(np.float32))
    order = clustered(truth) if len(truth) > 1 else list(range(len(truth)))
    maps = {"measured": truth}
    maps |= {method: correlations(values[:, varies].astype(np.float32)) for method, values in predicted.items()}
    rows = -(-len(maps) // 5)
    columns = -(-len(maps) // rows)
    figure = Figure(figsize=(3.4 * columns + 0.8, 3.7 * rows + 0.4), layout="constrained", dpi=130)
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    colours = colormaps[_CORRELATIONS].with_extremes(bad="0.75")
    names = [gene for gene, kept in zip(genes, varies, strict=True) if kept]
    for axis, (method, matrix) in zip(axes, maps.items(), strict=False):
        image = axis.imshow(matrix[np.ix_(order, order)], cmap=colours, vmin=-1, vmax=1, interpolation="nearest")
        axis.set_title(_alike(method, truth, matrix), fontsize=9)
        axis.set(xticks=[], yticks=[])
    for axis in axes[len(maps) :]:
        axis.set_visible(False)
    if len(names) <= 50:
        axes[0].set_yticks(
            range(len(names)), [printable(names[place]) for place in order], fontsize=4, parse_math=False
        )
    figure.colorbar(image, ax=list(axes), label="correlation of two genes over the spots", fraction=0.03, pad=0.02)
    figure.suptitle(figure_text(title), fontsize=10)
    restyle(figure, PRINT)
    return figure


def _alike(method: str, truth: Array, matrix: Array) -> str:
    """Return a map's title: the method, and how its correlations follow the measured ones."""
    if method == "measured":
        return method
    above = np.triu_indices(len(truth), k=1)
    pair: Any = np.stack([truth[above], matrix[above]])
    pair = pair[:, ~np.isnan(pair).any(axis=0)]
    if pair.shape[1] < 3 or (np.ptp(pair, axis=1) == 0).any():
        return f"{figure_text(method)}\nr undefined"
    return f"{figure_text(method)}\nr = {np.corrcoef(pair)[0, 1]:.2f} with measured"
