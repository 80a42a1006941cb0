"""The line across the canvas that is dragged between measured and predicted."""

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QRect, Qt
from qtpy.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QRegion
from qtpy.QtWidgets import QWidget

from napari_cmrcnet.viewer.registry import layers_of
from napari_cmrcnet.widgets.dock_panel import while_there

if TYPE_CHECKING:
    import napari

GRIP, LABEL, TEXT = 9, 80, 18  # width that is dragged, width of a name beside it, and its height
STEP = 0.02  # of the canvas's width, by an arrow key


class SwipeLine(QWidget):
    """Is seen while there is something to swipe between; a drag, or Left and Right, moves it.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        The window.
    canvas : QWidget
        Its canvas, which the line crosses.
    """

    def __init__(self, viewer: "napari.viewer.Viewer", canvas: QWidget) -> None:
        super().__init__(canvas)
        self.viewer, self.canvas, self.groups = viewer, canvas, layers_of(viewer).groups
        self.setCursor(Qt.CursorShape.SplitHCursor)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setToolTip("Drag to compare: measured on the left, predicted on the right. Press W to end.")
        camera = viewer.scene.camera
        for signal in (self.groups.line_changed, camera.events.center, camera.events.zoom, viewer.canvas.events.size):
            signal.connect(while_there(self.follow))
        self.follow()

    def follow(self, _event: Any = None) -> None:
        """Lie where the line is now, or at the edge of the canvas that is nearest to it."""
        self.setVisible(self.groups.line is not None)
        width, height = 2 * LABEL + GRIP, self.canvas.height()
        self.setGeometry(round(self.at * self.canvas.width()) - width // 2, 0, width, height)
        self.setMask(QRegion(LABEL, 0, GRIP, height) + QRegion(self._names))
        self.update()

    @property
    def at(self) -> float:
        """Where the line is on the canvas, in shares of its width; at an edge where it would be out of sight."""
        camera, x = self.viewer.scene.camera, self.groups.line or 0.0
        return min(max(0.5 + (x - camera.center[-1]) * camera.zoom / self.viewer.canvas.size[1], 0.0), 1.0)

    def _move_to(self, at: float) -> None:
        camera, shift = self.viewer.scene.camera, (min(max(at, 0.0), 1.0) - 0.5) * self.viewer.canvas.size[1]
        self.groups.move_line(float(camera.center[-1] + shift / camera.zoom))

    @property
    def _names(self) -> QRect:
        return QRect(0, round(0.75 * self.height()), self.width(), TEXT)

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draw the line in black and white, so that it is seen on any tissue, and what is on which side."""
        painter, middle = QPainter(self), self.width() // 2
        for colour, thick in (("white", 4), ("black", 2)):
            painter.fillRect(middle - thick // 2, 0, thick, self.height(), QColor(colour))
        painter.fillRect(self._names, QColor("white"))
        painter.setPen(QColor("black"))
        left = QRect(0, self._names.top(), middle - 6, TEXT)
        right = QRect(middle + 6, self._names.top(), middle - 6, TEXT)
        painter.drawText(left, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, "measured")
        painter.drawText(right, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, "predicted")
        painter.drawText(self._names, Qt.AlignmentFlag.AlignCenter, "↔")

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Take the line; a click is not for the canvas below."""
        event.accept()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Go along with a drag: Qt tells of moves while a button is down."""
        self._move_to(self.mapToParent(event.position().toPoint()).x() / self.canvas.width())

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Move by the arrow keys; all other keys are the canvas's."""
        step = {Qt.Key.Key_Left: -STEP, Qt.Key.Key_Right: STEP}.get(Qt.Key(event.key()))
        if step is None:
            super().keyPressEvent(event)
        else:
            self._move_to(self.at + step)
