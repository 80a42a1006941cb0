"""What all panels have in common: they are tabs of one dock, and follow a session until their window is closed."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

from qtpy.compat import isalive
from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtGui import QKeyEvent, QShowEvent
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QDockWidget, QMainWindow, QTabBar, QWidget

from napari_cmrcnet.viewer.registry import layers_of
from napari_cmrcnet.widgets.remember import recall, remember

if TYPE_CHECKING:
    import napari


PLUGIN = "napari-cmrcnet"
CLOSE_TABS = "QTabBar::tab { padding: 3px 3px; }"


class DockPanel(QWidget):
    """The inside of a dock widget.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The window whose session the panel follows.
    """

    def __init__(self, napari_viewer: "napari.viewer.Viewer") -> None:
        super().__init__()
        self.viewer, self.layers = napari_viewer, layers_of(napari_viewer)
        self.session = self.layers.session
        self._behind: bool | None = None  # whether another tab is in front of it; None before it is in a window

    def follow(self, act: Callable[..., object], *signals: Any) -> None:
        """Call a method at each of these signals, for as long as the panel is there."""
        for signal in signals:
            signal.connect(while_there(act))

    def refresh(self) -> None:
        """Show what is there now; nothing is done while the panel is not seen."""
        if isalive(self) and self.isVisible():
            self.show_now()

    def show_now(self) -> None:
        """Bring a panel that draws itself only while it is seen in line with the session."""

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's name
        """Take what has changed while the panel was not seen, and at first its place among the tabs."""
        super().showEvent(event)
        if self._behind is None and isinstance(self.parent(), QDockWidget):
            self.become_tab().take_keys()
        self.refresh()

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Need no room before it is a tab: below the others, where napari puts it, it makes the window grow."""
        return QSize(0, 0) if self._behind is None else super().minimumSizeHint()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Go back to the picture with Escape."""
        if event.key() == Qt.Key.Key_Escape:
            self._give_keys_back()
        else:
            super().keyPressEvent(event)

    def come_to_front(self) -> None:
        """Show the panel, if it is closed or behind others."""
        dock = self.parent()
        if isinstance(dock, QDockWidget):
            dock.show()
            dock.raise_()

    def take_keys(self) -> None:
        """Come to the front with the keyboard in the first control."""
        self.come_to_front()
        self.setFocus()
        self.focusNextChild()

    def _give_keys_back(self) -> None:
        """Let the picture have the keyboard: there, keys walk through genes and flip."""
        dock = self.parent()
        if isinstance(dock, QDockWidget) and isinstance(
            dock.parent(), QMainWindow
        ):  # not while the window is taken down
            canvas = canvas_of(dock.parent())
            if canvas is not None:
                canvas.setFocus()

    def become_tab(self) -> "DockPanel":
        """Join the other panels, and return the one that stays: of two of a kind, the first.

        napari puts what its menu opens below the others, even what a file has opened already.
        """
        if self._behind is not None:
            return self
        dock = self.parent()
        dock.setWindowTitle(dock.objectName().partition(" (")[0])
        self._name_bar()
        dock.topLevelChanged.connect(while_there(self._name_bar))  # napari makes a bar for a window of its own
        dock.visibilityChanged.connect(self._on_front)
        others = [panel for panel in dock.parent().findChildren(DockPanel) if panel._behind is not None]
        self._behind = False
        for twin in others:
            if type(twin) is type(self):
                QTimer.singleShot(0, self._close)
                return twin
        docked = [panel.parent() for panel in others if not panel.parent().isFloating()]
        if docked:
            dock.parent().tabifyDockWidget(docked[-1], dock)
        self.updateGeometry()
        return self

    def _name_bar(self, _floats: bool = False) -> None:
        """Let the bar over the panel say its name only: napari adds one or the other name of the plugin."""
        dock = self.parent()
        if isinstance(dock, QDockWidget):
            dock.titleBarWidget().title.setText(dock.windowTitle())

    def _close(self) -> None:
        self.viewer.window.remove_dock_widget(self)

    def _on_front(self, front: bool) -> None:
        """Note whether the panel is in front: one behind others hears no keys.

        napari's menu would hide one that is behind: it is shown instead.
        """
        dock = self.parent()
        if dock is None:  # the panel was taken out of its dock, which goes
            return
        QTimer.singleShot(0, while_there(self._name_tabs))  # Qt makes and deletes their bars while it tells of this
        hidden = dock.isHidden()
        if hidden and self._behind:
            QTimer.singleShot(0, self.take_keys)
        self._behind = not front and not hidden
        has_keys = self.window().focusWidget()
        if self._behind and has_keys is not None and self.isAncestorOf(has_keys):
            self._give_keys_back()

    def _name_tabs(self) -> None:
        """Let the names of the tabs be whole, as cut names say nothing, and close: eight fit beside a small canvas."""
        for bar in self.window().findChildren(QTabBar, options=Qt.FindChildOption.FindDirectChildrenOnly):
            if isalive(bar) and bar.styleSheet() != CLOSE_TABS:
                bar.setElideMode(Qt.TextElideMode.ElideNone)
                bar.setStyleSheet(CLOSE_TABS)


def main_window(viewer: Any) -> Any:
    """Return Qt's window of a viewer, None where it has none or has closed it: the proxy of plugins hides it."""
    return getattr(getattr(getattr(viewer, "__wrapped__", viewer), "window", None), "_qt_window", None)


def canvas_of(window: QMainWindow) -> QWidget | None:
    """Return the widget that the picture is drawn in."""
    return window.centralWidget().findChild(QOpenGLWidget)


def show_on_canvas(viewer: Any, kind: Callable[[Any, QWidget], QWidget]) -> None:
    """Let the canvas of a window have a widget of a kind, which is made of the viewer and the canvas, once."""
    window = main_window(viewer)
    canvas = canvas_of(window) if window is not None else None
    if canvas is not None and canvas.findChild(kind) is None:
        kind(viewer, canvas)


def find_panel(viewer: "napari.viewer.Viewer", name: str) -> Any:
    """Return an open panel by its name in the menu, None where it is not open; its title says who opened it."""
    docks = viewer.window.dock_widgets.items()
    return next((panel for title, panel in docks if str(title) in (f"{name} (CMRCNet)", f"{name} ({PLUGIN})")), None)


def open_panel(viewer: "napari.viewer.Viewer", name: str) -> Any:
    """Return a panel in front of the others, opened where it is not."""
    panel = find_panel(viewer, name)
    if panel is None:
        _, panel = viewer.window.add_plugin_dock_widget(PLUGIN, name)
        panel.become_tab()
    panel.come_to_front()
    return panel


def while_there(act: Callable[..., object]) -> Callable[..., None]:
    """Return what calls a widget's method, and does nothing once Qt has deleted the widget with its window.

    Signals of the session, and jobs, may outlive a window.
    """
    weak: WeakMethod[Any] = WeakMethod(act)

    def call(*args: Any) -> None:
        method: Any = weak()
        if method is not None and isalive(method.__self__):
            method(*args)

    call.__signature__ = inspect.signature(act)  # type: ignore[attr-defined]  # how many arguments it is called with
    return call


_KEY = "layer_list"  # whether napari's own list of layers is wanted: a section needs its room


def layer_list_wanted() -> bool:
    """Whether the user has asked to see napari's list of layers and their controls; not, before it was asked for."""
    return recall(_KEY, False)


def show_layer_list(panel: QWidget, wanted: bool) -> None:
    """Show both in the window of a panel, or fold them away, and remember which."""
    remember({_KEY: wanted})
    for dock in panel.window().findChildren(QDockWidget):
        if dock.objectName() in ("layer list", "layer controls"):
            dock.setVisible(wanted)
