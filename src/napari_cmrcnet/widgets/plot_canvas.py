"""A plot in a panel: a canvas in the window's colours, with tool tips, clicks and a lasso."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, QPoint
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_cmrcnet.evaluation.plot_style import style_on
from napari_cmrcnet.widgets.messages import told
from napari_cmrcnet.widgets.parts import stack, timer
from napari_cmrcnet.widgets.plot_views import PlotView

if TYPE_CHECKING:
    import napari

    from napari_cmrcnet.evaluation.plot_style import Plot, Style

_REST_MS = 50  # walking through genes with a key held down does not wait for drawings
_CLICK_PX = 4.0  # a drag that stays within so many pixels is a click


def style_of(viewer: "napari.viewer.Viewer") -> "Style":
    """Return the style that goes with the viewer's theme."""
    from napari.utils.theme import get_theme

    theme = get_theme(viewer.theme)
    return style_on(theme.background.as_hex(format="long"), theme.text.as_hex(format="long"))


class PlotCanvas(QWidget):
    """One plot, drawn from the session through its view.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Whose theme it follows.
    view : PlotView
        What is drawn, and what the mouse does in it.
    say : callable
        Says what went wrong with what the user did.
    """

    def __init__(self, viewer: "napari.viewer.Viewer", view: PlotView, say: Callable[[str], object]) -> None:
        super().__init__()
        from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
        from matplotlib.figure import Figure

        self._viewer, self._view, self._say = viewer, view, say
        self.canvas = FigureCanvasQTAgg(Figure())
        self.canvas.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.canvas.installEventFilter(self)
        self._lasso: Any = None
        self._adding = False
        self._make_plot()
        self.canvas.mpl_connect("button_press_event", self._on_press)
        self.canvas.mpl_connect("motion_notify_event", self._on_move)
        # Labels are laid out when something was arranged again: on a gene switch it would take most of the time.
        self.canvas.mpl_connect("draw_event", lambda _: self.canvas.figure.set_layout_engine("none"))
        self._rest = timer(self, _REST_MS, self.canvas.draw_idle)
        self._resized = timer(self, 0, self._arrange)
        stack(self, self.canvas)

    def draw(self) -> None:
        """Bring the plot up to date; the picture follows when genes have stopped changing."""
        if self.plot.style != style_of(self._viewer):
            self._make_plot()
        source = self.plot.source
        self._view.draw(self.plot)
        self.plot.name_section(self._view.section)
        if self.plot.source is not source:
            self._arrange()
        self._rest.start()

    def _make_plot(self) -> None:
        """Make the plot, with nothing in it yet, in the colours of the theme."""
        if self._lasso is not None:
            self._lasso.disconnect_events()
        self.canvas.figure.clear()
        self.plot: Plot = self._view.drawing(self.canvas.figure, style_of(self._viewer))
        self._lasso = self._add_lasso() if self._view.selects else None

    def _arrange(self) -> None:
        least, most = self.plot.heights(self.width())
        self.setMinimumHeight(least)
        self.setMaximumHeight(most)
        self.plot.arrange(self.width(), self.height())
        self.canvas.draw_idle()

    def _add_lasso(self) -> Any:
        from matplotlib.backend_bases import MouseButton
        from matplotlib.widgets import LassoSelector

        axis, left = self.plot.axes[0], MouseButton.LEFT
        line = {"color": self.plot.style.accent, "linewidth": 1.5}
        return LassoSelector(axis, self._on_lasso, useblit=True, button=left, props=line)

    def _on_press(self, event: Any) -> None:
        self._adding = "shift" in event.modifiers
        if self._lasso is None and event.button == 1 and event.inaxes is not None:
            with told(self._say):
                self._view.click(self.plot, event.inaxes, (event.x, event.y), self._adding)

    def _on_lasso(self, corners: Sequence[tuple[float, float]]) -> None:
        places = self.plot.axes[0].transData.transform(corners)
        with told(self._say):
            if (places.max(axis=0) - places.min(axis=0)).max() <= _CLICK_PX:
                self._view.click(self.plot, self.plot.axes[0], (float(places[0][0]), float(places[0][1])), self._adding)
            else:
                self._view.select(self.plot, corners, self._adding)

    def _on_move(self, event: Any) -> None:
        text = ""
        if event.inaxes is not None and event.button is None:
            text = self._view.tip(self.plot, event.inaxes, (event.x, event.y))
        ratio = self.canvas.devicePixelRatioF()
        place = QPoint(round(event.x / ratio), round(self.canvas.height() - event.y / ratio))
        if text or QToolTip.isVisible():
            QToolTip.showText(self.canvas.mapToGlobal(place), text, self.canvas)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Take the height that goes with the width, when Qt is through with this layout."""
        super().resizeEvent(event)
        self._resized.start()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Leave the wheel to the panel, which scrolls with it."""
        if event.type() == QEvent.Type.Wheel:
            event.ignore()
            return True
        return bool(super().eventFilter(watched, event))
