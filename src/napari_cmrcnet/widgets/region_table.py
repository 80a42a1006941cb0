"""The table of regions, their classes and the rest of the section, sorted by any column."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, QSize, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QHeaderView, QTableView

from napari_cmrcnet.widgets.choosers import AMBER
from napari_cmrcnet.widgets.parts import table_of

if TYPE_CHECKING:
    from napari_cmrcnet.evaluation.region_scores import RegionScore
    from napari_cmrcnet.sections.classes import Classes
    from napari_cmrcnet.sections.regions import RGB, Region

FEW_TIP = "Fewer than 30 spots: the PCC is uncertain."
_NAMES = {"class": "all", "outside": "outside"}

OF_PREDICTED = ("Pred.", "PCC")  # columns that need a prediction

Key = tuple[str, int | str]

_KINDS = ("region", "class", "of spots", "all", "outside")  # classes stay below the regions, however these are sorted


@dataclass(frozen=True)
class _Column:
    title: str
    tip: str
    value: Callable[["RegionScore"], Any]
    text: Callable[[Any], str] = str
    widest: str = ""  # text of a number, "" for words

    @property
    def number(self) -> bool:
        return bool(self.widest)


def _number(value: float) -> str:
    return "–" if isnan(value) else f"{value:.2f}"


_COLUMNS = (
    _Column("Region", "The region. Below the regions: each class as a whole, the classes of the spots, all spots, and "
            "spots outside all regions.",
            lambda score: _NAMES.get(score.kind, score.name)),
    _Column("Class", "The class of the region, or the column that the class of spots is of; 'all' is a whole class.",
            lambda score: score.classification),
    _Column("Spots", "Spots whose centre is inside. A spot in two regions of a class counts once in the class.",
            lambda score: score.n, "{:,}".format, "00,000"),
    _Column("Pred.", "Mean predicted value of what is shown.", lambda score: score.predicted, _number, "-0.00"),
    _Column("Meas.", "Mean measured value of what is shown.", lambda score: score.measured, _number, "-0.00"),
    _Column("PCC", "Pearson correlation of predicted and measured over the spots of this row that have enough counts.",
            lambda score: score.pcc, _number, "-0.00"),
)  # fmt: skip


class RegionModel(QAbstractTableModel):
    """The rows of the table, in the order of the regions until another is asked for.

    Parameters
    ----------
    parent : QObject, optional
        The panel.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._scores: Sequence[RegionScore] = ()
        self._colours: Sequence[RGB | None] = ()
        self._order: list[int] = []
        self._by, self._descending = -1, False

    def show_scores(
        self, scores: "Sequence[RegionScore]", regions: "Sequence[Region]", of_spots: "Classes | None" = None
    ) -> None:
        """Show other scores, those of the regions first, in the order that was asked for last."""
        self.beginResetModel()
        self._scores = scores
        classes = {region.classification: region.shown_colour for region in reversed(regions)}
        by_kind: dict[str, dict[str, RGB]] = {"class": classes, "of spots": {}}
        if of_spots is not None:
            by_kind["of spots"] = dict(zip(of_spots.names, of_spots.colours, strict=True))
        rest = [by_kind.get(score.kind, {}).get(score.name) for score in scores[len(regions) :]]
        self._colours = [*(region.shown_colour for region in regions), *rest]
        self._arrange()
        self.endResetModel()

    def group(self, row: int) -> int:
        """Return which of the scores a row shows."""
        return self._order[row]

    def key(self, row: int) -> Key:
        """Return what names a row when other scores are shown: a region's place, or the name of a class."""
        group = self.group(row)
        score = self._scores[group]
        return (score.kind, group if score.kind == "region" else score.name)

    def rows(self, keys: Container[Key]) -> list[int]:
        """Return the rows that these keys name."""
        return [row for row in range(len(self._order)) if self.key(row) in keys]

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column: regions and classes each among themselves."""
        self.layoutAboutToBeChanged.emit()
        before = list(self._order)
        self._by, self._descending = column, order == Qt.SortOrder.DescendingOrder
        self._arrange()
        kept = self.persistentIndexList()
        now = {group: row for row, group in enumerate(self._order)}
        self.changePersistentIndexList(kept, [self.index(now[before[index.row()]], index.column()) for index in kept])
        self.layoutChanged.emit()

    def _arrange(self) -> None:
        scores = self._scores
        self._order = list(range(len(scores)))
        if self._by >= 0:
            value = _COLUMNS[self._by].value
            self._order.sort(key=lambda index: _key(value(scores[index])), reverse=self._descending)
            self._order.sort(key=lambda index: _missing(value(scores[index])))
        self._order.sort(key=lambda index: _KINDS.index(scores[index].kind))

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008 - Qt's name and default
        """Return the number of rows."""
        return 0 if parent.isValid() else len(self._scores)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008 - Qt's name and default
        """Return the number of columns."""
        return 0 if parent.isValid() else len(_COLUMNS)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the text of a cell, its colours and its tool tip."""
        if not index.isValid():
            return None
        group, column = self.group(index.row()), _COLUMNS[index.column()]
        score = self._scores[group]
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return column.text(column.value(score))
            case Qt.ItemDataRole.TextAlignmentRole if column.number:
                return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            case Qt.ItemDataRole.DecorationRole if index.column() == 0:
                colour = self._colours[group]
                return None if colour is None else QColor(*colour)
            case Qt.ItemDataRole.ForegroundRole if score.few and column.title in ("Spots", "PCC"):
                return QColor(AMBER)
            case Qt.ItemDataRole.ToolTipRole:
                if column.title == "PCC" and score.undefined:
                    return f"The PCC is undefined: {score.undefined}."
                if score.few and column.title in ("Spots", "PCC"):
                    return FEW_TIP
                if score.scored < score.n and column.title in ("Spots", "PCC"):
                    return f"{score.note}: too few counts."
                return column.value(score) if not column.number else None
        return None

    def headerData(  # noqa: N802 - Qt's name
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Return a column's title and tool tip."""
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return _COLUMNS[section].title
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.ToolTipRole:
            return _COLUMNS[section].tip
        return None


def _key(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def _missing(value: Any) -> bool:
    """Return whether a value is undefined: such rows come last in either order."""
    return isinstance(value, float) and isnan(value)


def show_predicted(view: QTableView, predicted: bool) -> None:
    """Show the columns that need a prediction, or leave their room to the names."""
    for section, column in enumerate(_COLUMNS):
        view.setColumnHidden(section, column.title in OF_PREDICTED and not predicted)


def region_view(model: RegionModel) -> QTableView:
    """Return a table of regions: several rows can be selected, and words take the room that numbers leave."""
    view = table_of(model, several=True)
    view.setIconSize(QSize(10, 10))
    header = view.horizontalHeader()
    header.setHighlightSections(False)
    header.setMinimumSectionSize(30)
    for section, column in enumerate(_COLUMNS):
        # measured once: fitted to its content, a column leaves room for the arrow of sorting and names get none
        mode = QHeaderView.ResizeMode
        header.setSectionResizeMode(section, mode.Interactive if section else mode.Stretch)
        header.resizeSection(
            section, max(map(view.fontMetrics().horizontalAdvance, (column.title, column.widest or "Necrosis"))) + 14
        )
    view.setMinimumHeight(180)
    return view
