"""The training spots behind a value as a table, sorted by any column."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.evidence import Evidence

_ROWS_MEASURED = 60  # more are not needed to find a column's width


@dataclass(frozen=True)
class _Column:
    name: str
    title: str
    tip: str
    text: Callable[[Any], str] = str
    number: bool = True


_COLUMNS = (
    _Column("rank", "#", "Rank by similarity: 1 is the most similar."),
    _Column("expression", "Expression", "Measured expression of the training spot, log-normalised.", "{:.2f}".format),
    _Column("similarity", "Similarity", "Cosine similarity of its genes and the patch of the chosen spot; at most 1.",
            "{:.3f}".format),
    _Column("weight", "Weight", "Weight in the predicted value. All weights add up to 100 %.", "{:.2%}".format),
    _Column("section", "Section", "Section of the training spot.", number=False),
    _Column("patient", "Patient", "Patient of that section.", lambda value: value or "not known", number=False),
    _Column("x", "x", "Position on its slide, in full-resolution pixels.", "{:,.0f}".format),
    _Column("y", "y", "Position on its slide, in full-resolution pixels.", "{:,.0f}".format),
)  # fmt: skip


class NeighbourModel(QAbstractTableModel):
    """The neighbours of a spot, the most similar first until another order is asked for.

    Parameters
    ----------
    parent : QObject, optional
        The panel.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows: list[dict[str, Any]] = []
        self._gene = ""
        self._by, self._descending = "rank", False

    def show_evidence(self, evidence: "Evidence | None", gene: str) -> None:
        """Show other neighbours in the order that was asked for last, or none."""
        self.beginResetModel()
        self._rows = [] if evidence is None else list(evidence.neighbours)  # the pictures keep theirs
        self._gene = gene
        self._arrange()
        self.endResetModel()

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column."""
        self.layoutAboutToBeChanged.emit()
        self._by, self._descending = _COLUMNS[column].name, order == Qt.SortOrder.DescendingOrder
        self._arrange()
        self.layoutChanged.emit()

    def _arrange(self) -> None:
        self._rows.sort(key=lambda row: row["rank"])  # what ties stays nearest first
        self._rows.sort(key=lambda row: row[self._by], reverse=self._descending)

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008 - Qt's name and default
        """Return the number of neighbours."""
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008 - Qt's name and default
        """Return the number of columns."""
        return 0 if parent.isValid() else len(_COLUMNS)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the text of a cell."""
        column = _COLUMNS[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.text(self._rows[index.row()][column.name])
        if role == Qt.ItemDataRole.TextAlignmentRole and column.number:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def headerData(  # noqa: N802 - Qt's name
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Return the title of a column, the gene's name over its expression."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        column = _COLUMNS[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return self._gene if column.name == "expression" and self._gene else column.title
        return column.tip if role == Qt.ItemDataRole.ToolTipRole else None


class NeighbourTable(QTableView):
    """A table of neighbours; a click on a title sorts by it.

    Parameters
    ----------
    model : NeighbourModel
        What it shows.
    parent : QWidget, optional
        The panel.
    """

    def __init__(self, model: NeighbourModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setModel(model)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setShowGrid(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 8)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        self.horizontalHeader().setHighlightSections(False)
        self.horizontalHeader().setResizeContentsPrecision(_ROWS_MEASURED)
        self.setSortingEnabled(True)
        self.sortByColumn(0, Qt.SortOrder.AscendingOrder)

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's name
        """Give each column the width of what is in it. After that they are the user's to change."""
        super().showEvent(event)
        self.resizeColumnsToContents()
