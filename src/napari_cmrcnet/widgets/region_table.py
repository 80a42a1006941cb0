"""The table of regions, their classes and the rest of the section, sorted by any column."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QModelIndex, QObject, QSize, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QHeaderView, QTableView

from napari_cmrcnet.evaluation.region_scores import region_table
from napari_cmrcnet.widgets.choosers import AMBER
from napari_cmrcnet.widgets.frame_table import FrameModel
from napari_cmrcnet.widgets.parts import table_of

if TYPE_CHECKING:
    import pandas as pd

    from napari_cmrcnet.sections.classes import Classes
    from napari_cmrcnet.sections.regions import RGB, Region

FEW_TIP = "Fewer than 30 spots: the PCC is uncertain."
TITLES = {
    "region": (
        "Region",
        "The region. Below the regions: each class as a whole, the classes of the spots, all spots, and spots outside "
        "all regions.",
        "",
    ),
    "class": (
        "Class",
        "The class of the region, or the column of the spots' class; 'all' is a whole class.",
        "",
    ),
    "spots": (
        "Spots",
        "Spots whose centre is inside. A spot in two regions of a class counts once in the class.",
        ",d",
    ),
    "predicted": ("Pred.", "Mean predicted value of what is shown, over the spots with enough counts.", ".2f"),
    "measured": ("Meas.", "Mean measured value of what is shown, over the same spots.", ".2f"),
    "pcc": (
        "PCC",
        "Pearson correlation of predicted and measured over the spots of this row that have enough counts.",
        ".2f",
    ),
}
OF_PREDICTED = ("predicted", "pcc")  # columns that need a prediction
_WIDEST = {"": "Necrosis", ",d": "00,000", ".2f": "-0.00"}  # by how it is written
_NAMES = {"class": "all", "outside": "outside"}
_KINDS = ("region", "class", "of spots", "all", "outside")  # classes stay below the regions, however these are sorted

Key = tuple[str, int | str]


class RegionModel(FrameModel):
    """The rows of the table, in the order of the regions until another is asked for.

    Parameters
    ----------
    parent : QObject, optional
        The panel.

    Attributes
    ----------
    scores : DataFrame
        What is shown, in the order of the regions.
    """

    grouped_by = ("kind",)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(TITLES, parent)
        self._colours: dict[Key, RGB] = {}
        self.show_scores(region_table((), None))

    def show_scores(
        self, scores: "pd.DataFrame", regions: "Sequence[Region]" = (), of_spots: "Classes | None" = None
    ) -> None:
        """Show another `region_table`, the rows of the regions first, in the order that was asked for last."""
        self.scores = scores
        self._scores: list[Any] = list(scores.itertuples())
        self._colours = {("region", place): region.shown_colour for place, region in enumerate(regions)}
        self._colours |= {("class", region.classification): region.shown_colour for region in reversed(regions)}
        if of_spots is not None:
            keys = (("of spots", name) for name in of_spots.names)
            self._colours |= dict(zip(keys, of_spots.colours, strict=True))
        names = [_NAMES.get(score.kind, score.region) for score in self._scores]
        kinds = [_KINDS.index(score.kind) for score in self._scores]
        self.show(scores.assign(region=names, kind=kinds))

    def key(self, row: int) -> Key:
        """Return what names a row when other scores are shown: a region's place, or the name of a class."""
        group = self.rows[row]
        score = self._scores[group]
        return (score.kind, group if score.kind == "region" else score.region)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """Return the text of a cell, its colours and its tool tip."""
        group = self.rows[index.row()]
        score, of_pcc = self._scores[group], list(TITLES)[index.column()] in ("spots", "pcc")
        match role:
            case Qt.ItemDataRole.DecorationRole if index.column() == 0:
                colour = self._colours.get(self.key(index.row()))
                return None if colour is None else QColor(*colour)
            case Qt.ItemDataRole.ForegroundRole if score.few and of_pcc:
                return QColor(AMBER)
            case Qt.ItemDataRole.ToolTipRole if score.undefined and index.column() == list(TITLES).index("pcc"):
                return f"The PCC is undefined: {score.undefined}."
            case Qt.ItemDataRole.ToolTipRole if score.few and of_pcc:
                return FEW_TIP
            case Qt.ItemDataRole.ToolTipRole if score.scored < score.spots and of_pcc:
                return f"{score.note}: too few counts."
        return super().data(index, role)


def show_predicted(view: QTableView, predicted: bool) -> None:
    """Show the columns that need a prediction, or leave their room to the names."""
    for section, name in enumerate(TITLES):
        view.setColumnHidden(section, name in OF_PREDICTED and not predicted)


def region_view(model: RegionModel) -> QTableView:
    """Return a table of regions: several rows can be selected, and words take the room that numbers leave."""
    view = table_of(model, several=True)
    view.setIconSize(QSize(10, 10))
    header = view.horizontalHeader()
    header.setHighlightSections(False)
    header.setMinimumSectionSize(30)
    for section, (title, _, written) in enumerate(TITLES.values()):
        # measured once: fitted to its content, a column leaves room for the arrow of sorting and names get none
        mode = QHeaderView.ResizeMode
        header.setSectionResizeMode(section, mode.Interactive if section else mode.Stretch)
        width = max(map(view.fontMetrics().horizontalAdvance, (title, _WIDEST[written])))
        header.resizeSection(section, width + 14)
    view.setMinimumHeight(180)
    return view
