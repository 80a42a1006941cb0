"""The table of genes on the screen: walked with the arrow keys, ticked with the space bar, sorted by its titles."""

from qtpy.QtCore import QModelIndex, Qt, Signal
from qtpy.QtGui import QAction, QKeyEvent, QPainter, QPalette, QResizeEvent, QShowEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QStyledItemDelegate, QStyleOptionViewItem, QTableView

from napari_cmrcnet.viewer.gene_list import OF_BOTH, Column
from napari_cmrcnet.widgets.gene_model import INITIALS, NAMES, REASON, TITLES, GeneModel
from napari_cmrcnet.widgets.remember import recall, remember

_USUAL = {
    Column.GENE: "MMMMM",
    Column.EXPECTED: "● −0.00",
    Column.PCC: "● −0.00",
    Column.INTERVAL: "−0.00…−0.00",
    Column.SETS: "EVM",
}  # text of the usual width, where it is not that of the title
_PADDING = 8

_SELDOM = (Column.PARTIAL_PCC, Column.SPEARMAN, Column.SPOTS_FOUND)  # hidden until they are asked for


def _key(column: Column) -> str:
    return f"genes/{column.name.lower()}"


class _Tick(QStyledItemDelegate):
    """Writes a tick box as text: it has the colour of the text; napari's own cannot be seen in its dark theme."""

    def initStyleOption(self, option: QStyleOptionViewItem, index: QModelIndex) -> None:  # noqa: N802 - Qt's name
        """Put the sign of a box in place of the box."""
        super().initStyleOption(option, index)
        option.features &= ~QStyleOptionViewItem.ViewItemFeature.HasCheckIndicator
        option.text = "☑" if option.checkState == Qt.CheckState.Checked else "☐"


class _Reason(QStyledItemDelegate):
    """Writes why there is no correlation across the columns of the correlation and its interval, slanted and pale."""

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
            option.rect.setLeft(option.rect.left() - self.parent().columnWidth(Column.PCC))  # 0 where it is hidden
        super().paint(painter, option, index)


class _Sets(QStyledItemDelegate):
    """Writes the sets of a gene in words, or by their initials where the column is narrow."""

    def initStyleOption(self, option: QStyleOptionViewItem, index: QModelIndex) -> None:  # noqa: N802 - Qt's name
        """Change the text."""
        super().initStyleOption(option, index)
        if option.rect.width() < option.fontMetrics.horizontalAdvance("HEG, HVG") + _PADDING:
            option.text = index.data(INITIALS)


class GeneTable(QTableView):
    """A table of genes that is walked with the arrow keys; the space bar ticks, letters begin a search.

    Parameters
    ----------
    model : GeneModel
        What it shows.
    """

    typed = Signal(str)

    def __init__(self, model: GeneModel) -> None:
        super().__init__()
        self.setModel(model)
        self.genes = model
        self.clicked.connect(self._on_click)
        self.setItemDelegateForColumn(Column.TICKED, _Tick(self))
        self.setItemDelegateForColumn(Column.INTERVAL, _Reason(self))
        self.setItemDelegateForColumn(Column.SETS, _Sets(self))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        # As it comes and goes, all is drawn twice.
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self.setWordWrap(False)
        self.setMinimumHeight(180)
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        rows.hide()
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        columns.setHighlightSections(False)
        self.setSortingEnabled(True)
        columns.setSortIndicatorShown(False)  # the titles have it
        columns.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        columns.setStretchLastSection(True)
        columns.setMinimumSectionSize(24)
        columns.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
        for column, name in NAMES.items():
            action = QAction(name, columns)
            action.setCheckable(True)
            action.triggered.connect(lambda shown, column=column: self.choose_column(column, shown))
            columns.addAction(action)
        self._usual: list[int] = []

    def reset(self) -> None:
        """Lay the new rows out at once: Qt would do it after it has drawn them, and draw them again."""
        super().reset()
        self.executeDelayedItemsLayout()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's name
        """Give rows and columns the size of their text, once the font of the window is known."""
        super().showEvent(event)
        if not self._usual:
            self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 6)
            texts = [_USUAL.get(column, f"{TITLES[column]}▾") for column in Column]
            self._usual = [max(self.fontMetrics().horizontalAdvance(text), 16) + _PADDING for text in texts]
            for column, width in enumerate(self._usual):
                self.setColumnWidth(column, width)
        self._share()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Share the width that is left between the names and the sets."""
        super().resizeEvent(event)
        self._share()

    def _share(self) -> None:
        if self._usual:
            taken = sum(
                self._usual[column] if column in (Column.GENE, Column.SETS) else self.columnWidth(column)
                for column in Column
                if not self.isColumnHidden(column)
            )
            left = self.viewport().width() - taken
            self.setColumnWidth(Column.GENE, self._usual[Column.GENE] + max(0, left) // 2)

    def show_sort(self) -> None:
        """Mark the column that the list is sorted by."""
        genes = self.genes.genes
        if genes is not None:
            column, descending = genes.sort
            order = Qt.SortOrder.DescendingOrder if descending else Qt.SortOrder.AscendingOrder
            self.horizontalHeader().setSortIndicator(column, order)

    def choose_column(self, column: Column, shown: bool) -> None:
        """Show a column or hide it, today and from now on."""
        remember({_key(column): shown})
        self.hide_columns()

    def hide_columns(self) -> None:
        """Hide the columns that the user does not want, and those that need what the case does not have."""
        genes = self.genes.genes
        if genes is None:
            return
        seldom = (*_SELDOM, Column.EXPECTED) if genes.any_measured else _SELDOM  # the PCC itself is known
        known = dict.fromkeys(OF_BOTH, genes.any_measured and genes.any_predicted) | {
            Column.EXPECTED: genes.expects,
            Column.MEASURED: genes.any_measured,
            Column.PREDICTED: genes.any_predicted,
            Column.SETS: True,
        }
        for column, action in zip(NAMES, self.horizontalHeader().actions(), strict=True):
            shown = known[column] and recall(_key(column), column not in seldom)
            action.setVisible(known[column])
            action.setChecked(shown)
            self.setColumnHidden(column, not shown)
        self._share()

    def keyboardSearch(self, search: str) -> None:  # noqa: N802 - Qt's name
        """Begin a search; Qt's own would read every row."""
        self.typed.emit(search)

    def _on_click(self, index: QModelIndex) -> None:
        """Tick by a click anywhere in the cell."""
        if index.column() == Column.TICKED:
            self.genes.toggle(index.row())

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Tick the current gene with the space bar."""
        if event.key() == Qt.Key.Key_Space and self.currentIndex().isValid():
            self.genes.toggle(self.currentIndex().row())
        else:
            super().keyPressEvent(event)
