"""The table of genes on the screen: walked with the arrow keys, ticked with the space bar, sorted by its titles."""

from qtpy.QtCore import QModelIndex, Qt, Signal
from qtpy.QtGui import QKeyEvent, QPainter, QPalette
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from napari_cmrcnet.viewer.gene_list import SORTS
from napari_cmrcnet.widgets.gene_model import REASON, Column, GeneModel

_SAMPLES = ("", "MMMMMM", "−0.00", "−0.00 to −0.00", "00.00", "00.00", "HEG, HVG")  # text of the usual width


class _Reason(QStyledItemDelegate):
    """Writes why there is no correlation across the columns of the correlation and its interval, slanted and pale."""

    def __init__(self, table: QTableView) -> None:
        super().__init__(table)
        self._table = table

    def initStyleOption(self, option: QStyleOptionViewItem, index: QModelIndex) -> None:  # noqa: N802 - Qt's name
        """Change the font and the colour of the text."""
        super().initStyleOption(option, index)
        if index.data(REASON):
            option.font.setItalic(True)
            for role in (QPalette.ColorRole.Text, QPalette.ColorRole.HighlightedText):
                colour = option.palette.color(role)
                colour.setAlpha(150)
                option.palette.setColor(role, colour)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Draw the cell, from the left edge of the column before it if it holds a reason."""
        if index.data(REASON):
            option.rect.setLeft(option.rect.left() - self._table.columnWidth(Column.PCC))
        super().paint(painter, option, index)


class GeneTable(QTableView):
    """A table of genes that is walked with the arrow keys; the space bar ticks, letters begin a search.

    Parameters
    ----------
    model : GeneModel
        What it shows.
    parent : QWidget, optional
        The panel.
    """

    typed = Signal(str)

    def __init__(self, model: GeneModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setModel(model)
        self.genes = model
        self.setItemDelegateForColumn(Column.INTERVAL, _Reason(self))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setAlternatingRowColors(True)
        self.setWordWrap(False)
        self.setMinimumHeight(180)
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        rows.hide()
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setDefaultSectionSize(self.fontMetrics().height() + 8)
        columns.setHighlightSections(False)
        columns.setSortIndicatorShown(True)
        self.setSortingEnabled(True)
        columns.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        columns.setStretchLastSection(True)
        columns.setMinimumSectionSize(24)
        for column, sample in enumerate(_SAMPLES):
            self.setColumnWidth(column, self.fontMetrics().horizontalAdvance(sample) + (14 if sample else 12))

    def show_sort(self) -> None:
        """Mark the column that the list is sorted by."""
        genes = self.genes.genes
        if genes is not None:
            key, descending = genes.sort
            order = Qt.SortOrder.DescendingOrder if descending else Qt.SortOrder.AscendingOrder
            self.horizontalHeader().setSortIndicator(SORTS.index(key), order)

    def show_measured(self, measured: bool) -> None:
        """Show the columns that need measurements, or hide them."""
        for column in (Column.PCC, Column.INTERVAL, Column.MEASURED):
            self.setColumnHidden(column, not measured)

    def keyboardSearch(self, search: str) -> None:  # noqa: N802 - Qt's name
        """Begin a search; Qt's own would read every row."""
        self.typed.emit(search)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Tick the current gene with the space bar."""
        if event.key() == Qt.Key.Key_Space and self.currentIndex().isValid():
            self.genes.toggle(self.currentIndex().row())
        else:
            super().keyPressEvent(event)
