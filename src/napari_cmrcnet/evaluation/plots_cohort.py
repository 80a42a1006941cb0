"""Box plots of a gene over several sections, or over the classes of their spots."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from napari_cmrcnet.common.text import figure_gene, printable
from napari_cmrcnet.evaluation.cohort import KINDS, SectionValues
from napari_cmrcnet.evaluation.plot_style import PRINT, Plot, Style, restyle

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Groups = Mapping[str, Mapping[str, ArrayLike]]

PCC = "PCC"
_BOX = 3  # values below which a box says no more than their dots


class CohortPlot(Plot):
    """A group of boxes for each section or class: predicted beside measured, or their correlation.

    Parameters
    ----------
    figure : Figure
        An empty figure.
    style : Style
        Its colours.
    """

    def __init__(self, figure: "Figure", style: Style = PRINT) -> None:
        super().__init__(figure, style)
        self._groups = 0

    def show(self, name: str, groups: Groups, axis_label: str, *, dots: bool) -> None:
        """Draw the boxes: quartiles, with whiskers from the 5th to the 95th percentile.

        Parameters
        ----------
        name : str
            The gene's, or the panel's.
        groups : mapping of str to mapping of str to (n,)
            Values by group, and by which of `KINDS`, or `PCC`; NaN is left out.
        axis_label : str
            What the values are.
        dots : bool
            Whether each value is a dot, too, as it is of a section.
        """
        axis, style = self.axes[0], self.style
        axis.clear()
        self._groups = len(groups)
        kinds = [kind for kind in (*KINDS, PCC) if any(kind in group for group in groups.values())]
        colours = {"predicted": style.dots, "measured": style.sets["markers"], PCC: style.sets["HVG"]}
        one_of: dict[str, Any] = {}
        for place, group in enumerate(groups.values()):
            for number, kind in enumerate(kinds):
                at = place + 0.36 * (number - (len(kinds) - 1) / 2)
                for artist in self._draw(at, np.asarray(group.get(kind, ()), np.float64), dots):
                    artist.set_color(colours[kind])
                    one_of.setdefault(kind, artist)
        widest = max((len(line) for text in groups for line in text.split("\n")), default=0)
        turned = len(groups) * widest > 45  # letters that a narrow panel has room for
        texts = ["\n".join(map(printable, text.split("\n"))) for text in groups]
        axis.set_xticks(range(len(groups)), texts, fontsize=8, parse_math=False)
        axis.tick_params(axis="x", labelrotation=40 if turned else 0)
        for tick in axis.get_xticklabels():
            tick.set(ha="right" if turned else "center", rotation_mode="anchor" if turned else "default")
        axis.tick_params(axis="y", labelsize=8)
        axis.set_title(figure_gene(name), fontsize=9, loc="left", color=style.foreground)
        axis.set_ylabel(axis_label, fontsize=8)
        axis.set_xlim(-0.6, len(groups) - 0.4)
        axis.spines[["top", "right"]].set_visible(False)
        if len(one_of) > 1:
            axis.legend(
                one_of.values(), one_of, fontsize=8, frameon=False, labelcolor=style.foreground, ncols=2,
                loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.1,
            )  # fmt: skip
        restyle(self.figure, style)
        self.lay_out()

    def _draw(self, at: float, values: Any, dots: bool) -> Iterator[Any]:
        values = values[np.isfinite(values)]
        if dots and values.size:
            yield from self.axes[0].plot(np.full(values.size, at), values, "o", markersize=4, alpha=0.8, zorder=3)
        if values.size >= _BOX:
            box = self.axes[0].boxplot(
                values, positions=[at], widths=0.3, whis=(5, 95), showfliers=False, manage_ticks=False,
                boxprops={"linewidth": 1.3}, medianprops={"linewidth": 2},
            )  # fmt: skip
            yield from chain(*box.values())

    def heights(self, width: int) -> tuple[int, int]:  # noqa: ARG002 - it is good at any width
        """Return the least and the most height in pixels."""
        return 150, 2000

    def print_size(self) -> tuple[float, float]:
        """Return width and height of a saved picture in inches."""
        return max(3.6, 1.2 + 0.7 * self._groups), 3.6


def value_groups(sections: Sequence[SectionValues], name: str, source: str) -> Groups:
    """Return what is drawn of values: those of all spots that count by section; or by class the mean of each section.

    Parameters
    ----------
    sections : sequence of SectionValues
        What is drawn.
    name : str
        The gene's, or the panel's.
    source : str
        Which classes; ``""`` for all spots.
    """
    if not source:
        return {
            _in_lines(one.name, one.patient): {
                kind: values[one.counted] for kind, values in one.shown[name].maps.items()
            }
            for one in sections
        }
    groups: dict[str, dict[str, list[float]]] = {}
    for section in sections:
        for of, members in section.classes.get(source, {}).items():
            if (spots := members & section.counted).any():
                for kind, values in section.shown[name].maps.items():
                    groups.setdefault(of, {}).setdefault(kind, []).append(float(np.mean(values[spots])))
    return groups


def pcc_groups(table: "pd.DataFrame", source: str) -> Groups:
    """Return what is drawn of correlations: that of each section; or by class those of the sections."""
    rows = table[(table["level"] == "section") & (table["source"] == source)]
    if source:
        return {str(of): {PCC: part["pcc"]} for of, part in rows.groupby("class", sort=False)}
    return {_in_lines(row["section"], row["patient"]): {PCC: [row["pcc"]]} for row in rows.to_dict("records")}


def _in_lines(name: str, patient: str) -> str:
    return f"{name}\npatient {patient}" if patient else name
