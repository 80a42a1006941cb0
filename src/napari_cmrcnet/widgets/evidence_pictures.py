"""The training spots behind a value as pictures, the most similar first."""

import base64
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractListModel, QBuffer, QIODevice, QModelIndex, QObject, QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QImage, QPainter, QPixmap
from qtpy.QtWidgets import QFrame, QListView

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.widgets.section_shares import OTHER

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.evidence import Evidence
    from napari_cmrcnet.retrieval.thumbnails import Pixels, Thumbnails

SIDE = 72  # of a picture
STRIP = 4  # height of the stripe in the section's colour
ENLARGED = 224  # side of the picture in a tool tip
AHEAD = 16  # pictures decoded at a time


def pixmap_of(pixels: "Pixels") -> QPixmap:
    """Return RGB pixels, uint8 (height, width, 3), as Qt draws them."""
    height, width, _ = pixels.shape
    return QPixmap.fromImage(QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888).copy())


def in_square(pixmap: QPixmap, side: int) -> QPixmap:
    """Return a picture that fits into a square, with its proportions."""
    return pixmap.scaled(side, side, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation)


def enlarged(pixmap: QPixmap) -> str:
    """Return a picture for a tool tip, large enough to see nuclei."""
    large = in_square(pixmap, ENLARGED)
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    large.save(buffer, "PNG")
    return f'<img src="data:image/png;base64,{base64.b64encode(bytes(buffer.data())).decode()}">'


def _striped(pixmap: QPixmap, colour: str) -> QPixmap:
    """Return a picture over a stripe in the colour of its section, twice as large for sharp screens."""
    pixmap = in_square(pixmap, 2 * SIDE)
    whole = QPixmap(pixmap.width(), pixmap.height() + 2 * STRIP)
    whole.fill(QColor(colour))
    painter = QPainter(whole)
    painter.drawPixmap(0, 0, pixmap)
    painter.end()
    return whole


class PictureModel(QAbstractListModel):
    """The neighbours of a spot; a picture is decoded when it is first drawn, with those after it.

    Parameters
    ----------
    parent : QObject, optional
        The panel.
    """

    failed = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._neighbours: list[dict[Any, Any]] = []
        self._thumbnails: Thumbnails | None = None
        self._colours: Mapping[str, str] = {}
        self._gene = ""
        self.size = QSize(SIDE, SIDE)  # of a picture with its caption: set by what shows them
        self._pixmaps: dict[int, QPixmap] = {}

    def show_evidence(
        self, evidence: "Evidence", gene: str, thumbnails: "Thumbnails | None", colours: Mapping[str, str]
    ) -> None:
        """Show other neighbours.

        Parameters
        ----------
        evidence : Evidence
            Whose table is shown.
        gene : str
            What the expression is of.
        thumbnails : Thumbnails or None
            The pictures.
        colours : mapping of str to str
            Of the sections.
        """
        self.beginResetModel()
        self._neighbours = evidence.table.reset_index().to_dict("records")
        self._gene, self._thumbnails, self._colours = gene, thumbnails, colours
        self._pixmaps = {}
        self.endResetModel()

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008 - Qt's name and default
        """Return the number of neighbours."""
        return 0 if parent.isValid() else len(self._neighbours)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return picture, caption or tool tip of a neighbour."""
        if not index.isValid():
            return None
        spot = self._neighbours[index.row()]
        if role == Qt.ItemDataRole.DecorationRole:
            pixmap = self._pixmap(index.row())
            return None if pixmap is None else QIcon(_striped(pixmap, self._colours.get(spot["section"], OTHER)))
        if role == Qt.ItemDataRole.DisplayRole:
            return f"{spot['expression']:.2f} · {spot['similarity']:.2f}"
        if role == Qt.ItemDataRole.SizeHintRole:
            return self.size  # without this, Qt would ask for every picture
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tip(index.row())
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return self._words(index.row())
        return None

    def _words(self, place: int) -> str:
        spot = self._neighbours[place]
        who = f", patient {spot['patient']}" if spot["patient"] else ""
        return (
            f"No. {spot['rank']}: section {spot['section']}{who}, at x {spot['x']:,.0f}, y {spot['y']:,.0f} px of its "
            f"slide. Similarity {spot['similarity']:.3f}, weight {spot['weight']:.2%}, "
            f"{self._gene} {spot['expression']:.2f}."
        )

    def _tip(self, place: int) -> str:
        pixmap = self._pixmap(place)
        picture = "" if pixmap is None else f"{enlarged(pixmap)}<br>"
        return f"{picture}{escape(self._words(place))}"

    def _pixmap(self, place: int) -> QPixmap | None:
        if place not in self._pixmaps and self._thumbnails is not None:
            wanted = [
                one for one in range(place, min(place + AHEAD, len(self._neighbours))) if one not in self._pixmaps
            ]
            try:
                pixels = self._thumbnails.read([self._neighbours[one]["row"] for one in wanted])
            except UserError as error:  # said once: there may be hundreds
                self._thumbnails = None
                self.failed.emit(str(error))
                return None
            self._pixmaps |= {one: pixmap_of(picture) for one, picture in zip(wanted, pixels, strict=True)}
        return self._pixmaps.get(place)


class PictureView(QListView):
    """A scrolling wrap of pictures.

    Parameters
    ----------
    model : PictureModel
        What it shows.
    """

    def __init__(self, model: PictureModel) -> None:
        super().__init__()
        self.setModel(model)
        self.setSelectionMode(QListView.SelectionMode.NoSelection)  # else the stain of a selected one is tinted
        self.setIconSize(QSize(SIDE, SIDE + STRIP))
        model.size = QSize(SIDE, SIDE + STRIP + self.fontMetrics().height() + 6)
        self.setGridSize(model.size + QSize(8, 4))
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setMovement(QListView.Movement.Static)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setUniformItemSizes(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
