"""A small picture of the slide in the corner of the canvas, with a frame around what is seen; and the magnification."""

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen, QPixmap
from qtpy.QtWidgets import QWidget

from napari_cmrcnet.viewer.registry import layers_of
from napari_cmrcnet.widgets.dock_panel import while_there
from napari_cmrcnet.widgets.evidence_pictures import in_square, pixmap_of

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

    from napari_cmrcnet.slides.slide import Slide


SIDE = 150  # of the picture, in pixels
MARGIN, TEXT = 6, 18  # around it, and the height of the line below
SCALE_BAR = 56  # that it has at the foot of the canvas
UM_AT_10X = 1.0  # of a pixel, as scanners have it
WHOLE = 0.9  # of the slide: where as much is seen in both directions, the picture would say nothing


class Overview(QWidget):
    """Follows the camera, and moves it by a click or a drag.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        The window.
    canvas : QWidget
        Its canvas, in whose corner it lies.
    """

    def __init__(self, viewer: "napari.viewer.Viewer", canvas: QWidget) -> None:
        super().__init__(canvas)
        self.viewer, self.layers = viewer, layers_of(viewer)
        self.part = (0.0, 0.0, 1.0, 1.0)
        self._picture = QPixmap()
        self._of: Slide | None = None  # whose picture it is
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setToolTip("The whole slide, with a frame around what you see. Click to go to another place.")
        camera, session = viewer.scene.camera, self.layers.session
        for signal in (camera.events.center, camera.events.zoom, viewer.canvas.events.size, viewer.canvas.grid.events,
                       session.case_changed, session.shown_changed):  # fmt: skip
            signal.connect(while_there(self.follow))
        self.follow()

    @property
    def layer(self) -> "Image | None":
        """The histology that is seen; each view's is of the same slide."""
        return next((layer for layer in self.layers.slides.values() if layer.visible), None)

    def follow(self, _event: Any = None) -> None:
        """Show what is seen now."""
        case, layer = self.layers.session.case, self.layer
        self.setVisible(case is not None)
        if case is None:
            return
        if layer is not None:
            self.part = seen_part(self.viewer, layer)
        self._take_picture(layer)
        um = 1 / self.viewer.scene.camera.zoom  # of a pixel of the canvas, where the scene is in µm
        self.text = f"{um:.3g} µm/px · {10 * UM_AT_10X / um:.3g}×" if case.provenance.mpp else ""
        size = self._picture.size() if self.zoomed_in else QSize(0, 0)
        self.resize(max(size.width(), SIDE), size.height() + TEXT)
        alone = self.parentWidget().height() - SCALE_BAR - TEXT  # the title may be as wide as the canvas
        self.move(MARGIN, MARGIN if self.zoomed_in else alone)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents, not self.zoomed_in)
        self.update()

    @property
    def zoomed_in(self) -> bool:
        """Whether so little of the slide is seen that the picture helps."""
        return self.layer is not None and min(self.part[2:]) < WHOLE

    def _take_picture(self, layer: "Image | None") -> None:
        slide = self.layers.session.slide
        if layer is None or slide is self._of:
            return
        level: Any = layer.data[-1]  # the coarsest, which napari has read to show the layer
        step = max(1, max(level.shape[:2]) // (2 * SIDE))
        small = np.ascontiguousarray(np.asarray(level)[::step, ::step])
        self._picture, self._of = in_square(pixmap_of(small), SIDE), slide

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draw the picture, the frame in black and white so that it is seen on any tissue, and the magnification."""
        painter = QPainter(self)
        top = 0
        if self.zoomed_in:
            width, top = self._picture.width(), self._picture.height()
            painter.drawPixmap(0, 0, self._picture)
            x, y, w, h = self.part
            frame = QRectF(x * width, y * top, w * width, h * top) & QRectF(1, 1, width - 2, top - 2)
            for colour, thick in (("white", 4), ("black", 2)):
                painter.setPen(QPen(QColor(colour), thick))
                painter.drawRect(frame)
        if self.text:
            line = QRectF(0, top, painter.fontMetrics().horizontalAdvance(self.text) + 8, TEXT)
            painter.fillRect(line, QColor(255, 255, 255, 200))
            painter.setPen(QColor("black"))
            painter.drawText(line, Qt.AlignmentFlag.AlignCenter, self.text)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Go to where it is clicked."""
        place, layer = event.position(), self.layer
        if layer is not None and place.y() < self._picture.height():
            low, high = layer.extent.world
            share = np.array([place.y() / self._picture.height(), place.x() / self._picture.width()])
            self.viewer.scene.camera.center = tuple((low + (high - low) * share).tolist())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Go along with a drag: Qt tells of moves while a button is down."""
        self.mousePressEvent(event)


def seen_part(viewer: "napari.viewer.Viewer", layer: "Image") -> tuple[float, float, float, float]:
    """Return left, top, width and height of what a cell of the canvas shows, in shares of a layer's picture."""
    grid, camera, canvas = viewer.canvas.grid, viewer.scene.camera, np.asarray(viewer.canvas.size, float)
    size = canvas / (grid.shape if grid.enabled else (1, 1)) / camera.zoom
    low, high = layer.extent.world
    corner, shares = (np.asarray(camera.center[-2:]) - size / 2 - low) / (high - low), size / (high - low)
    return float(corner[1]), float(corner[0]), float(shares[1]), float(shares[0])
