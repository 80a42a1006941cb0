"""The table of genes for Qt: 36,000 rows without a stutter, since only those in sight are ever made into text."""

from typing import Any

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt, Signal

from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.retrieval.trust import TRUSTS
from napari_cmrcnet.sections.gene_aliases import aliases_by_symbol
from napari_cmrcnet.viewer.gene_list import Column, GeneList

# Made once: Qt asks for them at every cell that it draws.
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
_NUMBERS = tuple(column for column in Column if Column.EXPECTED <= column <= Column.PREDICTED)
TITLES = ("", "Gene", "Exp", "PCC", "95 %", "Part", "Spear", "Spots", "Meas", "Pred", "Sets")
NAMES = {
    Column.EXPECTED: "Expected PCC",
    Column.PCC: "PCC",
    Column.INTERVAL: "95 % interval of the PCC",
    Column.PARTIAL_PCC: "Partial PCC, given depth",
    Column.SPEARMAN: "Spearman's correlation",
    Column.SPOTS_FOUND: "Spots where it was found",
    Column.MEASURED: "Mean measured",
    Column.PREDICTED: "Mean predicted",
    Column.SETS: "Sets",
}
"""Columns that may be hidden, by what a menu calls them."""
_MARKED = (
    "The mark says how far it can be trusted on this slide: ● good, ◐ weak, ○ do not use. The tip of a gene says why."
)
_TIPS = (
    "Tick genes (space bar) to make a gene panel of them.",
    "Gene symbol. If you searched for an alias, it follows the symbol.",
    f"Expected PCC: how well the gene was predicted on training sections that were left out. {_MARKED}",
    "Pearson correlation of predicted with measured expression over the spots that have enough counts. " + _MARKED,
    "95 % interval of the correlation, from 1,000 bootstrap samples of blocks of neighbouring spots. It is "
    "about the spots of this section, not about other sections or patients.",
    "Partial PCC: the correlation that is left when the effect of sequencing depth (the log of a spot's total "
    "counts, and its square) is removed from both sides. If it is far below the PCC, the prediction mostly "
    "follows sequencing depth.",
    "Spearman's rank correlation.",
    "Number of spots in which the gene was found, of those with enough counts. Below 10 it has no score.",
    "Mean measured expression over the spots that have enough counts, as for the PCC; log-normalised.",
    "Mean predicted expression over the same spots; over all where nothing was measured; log-normalised.",
    "HEG (E): one of the 50 most expressed genes. HVG (V): one of the 50 most variable. Marker (M): in the "
    "checkpoint's gene panel. P: in the gene panel chosen below. A narrow column shows the letters only. Markers "
    "come first until you sort the list.",
)
_REASONS = {
    "not measured": "It was not measured in this section.",
    "not predicted": "It is measured and not predicted.",
    "constant measured": "Its correlation is undefined: its measured value is the same in every spot.",
    "constant predicted": "Its correlation is undefined: its predicted value is the same in every spot.",
    "fewer than 3 spots": "Its correlation is undefined: there are fewer than 3 spots.",
}
_MARKS = dict(zip(TRUSTS, "●◐○", strict=True))
_INITIALS = {"HEG": "E", "HVG": "V", "marker": "M"}

REASON = Qt.ItemDataRole.UserRole
INITIALS = Qt.ItemDataRole.UserRole + 1


class GeneModel(QAbstractTableModel):
    """The listed genes of a `GeneList`.

    Parameters
    ----------
    parent : QObject, optional
        The panel.
    """

    ticks_changed = Signal()
    sort_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.genes: GeneList | None = None

    def set_genes(self, genes: GeneList | None) -> None:
        """Show the genes of another case, or none."""
        self.beginResetModel()
        self.genes = genes
        self.endResetModel()

    def arrange(self, text: str, only: "np.ndarray[Any, np.dtype[np.bool_]] | None") -> None:
        """List what a text finds of the genes that are allowed; see `GeneList.arrange`."""
        self.beginResetModel()
        if self.genes is not None:
            self.genes.arrange(text, only)
        self.endResetModel()

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Choose the order; whoever hears of it has the genes arranged again."""
        chosen = (Column(column), order == Qt.SortOrder.DescendingOrder)
        if self.genes is not None and self.genes.sort != chosen:
            self.genes.sort_by(*chosen)
            self.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, len(TITLES) - 1)
            self.sort_changed.emit()

    def refresh(self) -> None:
        """Show what is known by now of the rows, which stay where they are."""
        if self.rowCount():
            self.dataChanged.emit(self.index(0, 0), self.index(self.rowCount() - 1, Column.SETS))

    def symbol(self, row: int) -> str:
        """Return the gene of a row."""
        assert self.genes is not None
        return self.genes.names.symbols[self.genes.rows[row]]

    def row_of(self, symbol: str) -> int:
        """Return the row of a gene, -1 if it is not listed."""
        column = None if self.genes is None else self.genes.names.column(symbol)
        if self.genes is None or column is None:
            return -1
        places = np.flatnonzero(self.genes.rows == column)
        return int(places[0]) if places.size else -1

    def toggle(self, row: int) -> None:
        """Tick a gene, or take its tick away."""
        assert self.genes is not None
        column = self.genes.rows[row]
        self.genes.ticked[column] ^= True
        self.dataChanged.emit(self.index(row, Column.TICKED), self.index(row, Column.TICKED))
        self.ticks_changed.emit()

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008 - Qt's name and default
        """Return the number of listed genes."""
        return 0 if parent.isValid() or self.genes is None else len(self.genes.rows)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008 - Qt's name and default
        """Return the number of columns."""
        return 0 if parent.isValid() else len(TITLES)

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Return what can be done with a cell; a screen reader says of what can be ticked that it is not."""
        flags = super().flags(index)
        return flags | Qt.ItemFlag.ItemIsUserCheckable if index.column() == Column.TICKED else flags

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell shows."""
        genes = self.genes
        if genes is None:
            return None
        gene, column = int(genes.rows[index.row()]), index.column()
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return _text(genes, gene, column)
            case Qt.ItemDataRole.TextAlignmentRole:
                return _RIGHT if column in _NUMBERS else None
            case Qt.ItemDataRole.CheckStateRole if column == Column.TICKED:
                return Qt.CheckState.Checked if genes.ticked[gene] else Qt.CheckState.Unchecked
            case Qt.ItemDataRole.ToolTipRole:
                return _tip(genes, gene)
            case _ if role == REASON and column == Column.INTERVAL:
                return genes.reason(gene)
            case _ if role == INITIALS and column == Column.SETS:
                return "".join(_INITIALS.get(name, "P") for name in genes.sets_of(gene))
        return None

    def headerData(  # noqa: N802 - Qt's name
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Return a column's title, what it means, and that a first click puts the largest numbers on top."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return TITLES[section] + self._arrow(section)
            case Qt.ItemDataRole.ToolTipRole:
                return self._tip(section)
            case Qt.ItemDataRole.InitialSortOrderRole:
                return Qt.SortOrder.AscendingOrder if section == Column.GENE else Qt.SortOrder.DescendingOrder
            case Qt.ItemDataRole.TextAlignmentRole:
                return _RIGHT if section in _NUMBERS else _LEFT
            case _:
                return None

    def _tip(self, section: int) -> str:
        genes = self.genes
        tip = _TIPS[section]
        if genes is not None and genes.scores is not None:
            here = {int(Column.PCC): f" Here {genes.over}.", int(Column.SETS): f" Both are ranked {genes.among}."}
            tip += here.get(section, "")
        if genes is not None and genes.expects and section == Column.EXPECTED:
            tip += f" Here the mean over {genes.expected_over}."
        return f"{tip}\nRight-click to choose columns." if section in NAMES else tip

    def _arrow(self, section: int) -> str:
        """Return the sign of the order behind the title of the column that sorts; napari's covers the title."""
        if self.genes is None or section != self.genes.sort[0]:
            return ""
        return "▾" if self.genes.sort[1] else "▴"


def _text(genes: GeneList, gene: int, column: int) -> str:
    match column:
        case Column.GENE:
            alias = genes.aliases.get(gene)
            return genes.names.symbols[gene] + (f" ({alias})" if alias else "")
        case Column.EXPECTED:
            return _marked(genes, gene, number(genes.expected[gene]), bool(np.isnan(genes.pcc[gene])))
        case Column.PCC | Column.INTERVAL:
            return _correlation(genes, gene, column)
        case Column.PARTIAL_PCC | Column.SPEARMAN | Column.MEASURED | Column.PREDICTED:
            return number(getattr(genes, Column(column).name.lower())[gene])
        case Column.SPOTS_FOUND:
            return "" if np.isnan(genes.spots_found[gene]) else f"{genes.spots_found[gene]:,.0f}"
        case Column.SETS:
            return ", ".join(genes.sets_of(gene))
        case _:
            return ""


def _correlation(genes: GeneList, gene: int, column: int) -> str:
    if reason := genes.reason(gene):
        short = reason.removesuffix(" spots") if reason.startswith("found at") else reason
        return short if column == Column.INTERVAL else ""
    if genes.scores is None:
        return "…"
    if column == Column.PCC:
        return _marked(genes, gene, number(genes.pcc[gene]), True)
    low, high = genes.low[gene], genes.high[gene]
    if np.isnan(low):
        return "…" if genes.scores_due else "none"
    return f"{number(low)}…{number(high)}"


def _marked(genes: GeneList, gene: int, said: str, marked: bool) -> str:
    """Put before a number how far the gene can be trusted, where it is that number by which it is judged."""
    mark = _MARKS.get(genes.trust(gene).word, "") if marked else ""
    return f"{mark} {said}".strip()


def number(value: float) -> str:
    """Return two decimals, with a minus sign as long as a digit is wide; "" for NaN, which is not known."""
    return "" if np.isnan(value) else f"{round(value, 2) + 0.0:.2f}".replace("-", "−")  # + 0.0: no minus before zero


def _tip(genes: GeneList, gene: int) -> str:
    symbol, identifier = genes.names.symbols[gene], genes.names.ids[gene]
    lines = [f"{symbol} ({identifier})" if identifier else symbol]
    if names := aliases_by_symbol().get(symbol):
        lines.append(f"Also called {', '.join(names)}.")
    if reason := genes.reason(gene):
        lines.append(_REASONS.get(reason, f"It has no score: {reason}; at least 10 are needed."))
    elif not np.isnan(genes.spots_found[gene]):
        lines.append(f"Found at {count_text(int(genes.spots_found[gene]), 'spot')}; the PCC is over {genes.over}.")
    trust = genes.trust(gene)
    lines += [f"Trust: {trust.word}."] if trust.word else []
    lines += [f"• {text}" for text in trust.reasons]
    if sets := genes.sets_of(gene):
        lines.append(f"In {', '.join(sets)}.")
    return "\n".join(lines)
