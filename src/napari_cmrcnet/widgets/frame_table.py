"""A table of a data frame, sorted by any column."""

from collections.abc import Mapping
from math import isnan
from typing import Any

import pandas as pd
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt

Titles = Mapping[str, tuple[str, str, str]]
"""By column: its title, what it means, and how a number of it is written."""


class FrameModel(QAbstractTableModel):
    """One row per row of a data frame.

    Parameters
    ----------
    titles : mapping of str to (str, str, str)
        Of the columns that are shown.
    parent : QObject, optional
        The panel.

    Attributes
    ----------
    table : DataFrame
        What is shown, in the order in which it is; empty at first.
    rows : list of int
        Which row of the frame that was given each row shows.
    """

    grouped_by: tuple[str, ...] = ()  # columns whose groups stay together, the least first

    def __init__(self, titles: Titles, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.titles = titles
        self.table = self._given = pd.DataFrame()  # given in the order in which rows of the same value stay
        self.rows: list[int] = []
        self._columns: list[str] = []
        self._by, self._order = -1, Qt.SortOrder.AscendingOrder

    def show(self, table: pd.DataFrame) -> None:
        """Show another table, in the order that was asked for last."""
        self.beginResetModel()
        self._given = table.reset_index(drop=True)
        self._columns = [str(name) for name in table if name in self.titles]
        self._arrange()
        self.endResetModel()

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; what is not known comes last in either order."""
        self.layoutAboutToBeChanged.emit()
        before = self.rows
        self._by, self._order = column, order
        self._arrange()
        kept, now = self.persistentIndexList(), {place: row for row, place in enumerate(self.rows)}
        self.changePersistentIndexList(kept, [self.index(now[before[one.row()]], one.column()) for one in kept])
        self.layoutChanged.emit()

    def _arrange(self) -> None:
        self.table = self._given
        if 0 <= self._by < len(self._columns):
            ascending = [True] * len(self.grouped_by) + [self._order == Qt.SortOrder.AscendingOrder]
            by = [*self.grouped_by, self._columns[self._by]]
            self.table = self.table.sort_values(by, ascending=ascending, kind="stable", key=_key)
        self.rows = self.table.index.tolist()

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008, N802 - Qt's signature
        """Return the number of rows."""
        return 0 if parent.isValid() else len(self.table)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008, N802 - Qt's signature
        """Return the number of columns."""
        return 0 if parent.isValid() else len(self._columns)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """Return the text of a cell, and where it stands."""
        name = self._columns[index.column()]
        value = self.table[name].iloc[index.row()]
        match role:
            case Qt.ItemDataRole.DisplayRole if isinstance(value, str):
                return value
            case Qt.ItemDataRole.DisplayRole:
                return "–" if isnan(value) else format(value, self.titles[name][2])
            case Qt.ItemDataRole.ToolTipRole if isinstance(value, str):
                return value
            case Qt.ItemDataRole.TextAlignmentRole if not isinstance(value, str):
                return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> object:  # noqa: N802 - Qt's name
        """Return the title of a column, or what it means."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        title, tip, _ = self.titles[self._columns[section]]
        return {Qt.ItemDataRole.DisplayRole: title, Qt.ItemDataRole.ToolTipRole: tip}.get(Qt.ItemDataRole(role))


def _key(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return what values are sorted by: words without regard to capitals."""
    return values.map(lambda value: value.casefold() if isinstance(value, str) else value)
