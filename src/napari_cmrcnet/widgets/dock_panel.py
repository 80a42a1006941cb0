"""What all panels have in common: they follow a session until their window is closed."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

from qtpy.compat import isalive
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QWidget

from napari_cmrcnet.viewer.registry import layers_of

if TYPE_CHECKING:
    import napari


class DockPanel(QWidget):
    """The inside of a dock widget.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The window whose session the panel follows.
    parent : QWidget, optional
        The dock.
    """

    def __init__(self, napari_viewer: "napari.viewer.Viewer", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer, self.layers = napari_viewer, layers_of(napari_viewer)
        self.session = self.layers.session

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
        """Take what has changed while the panel was not seen."""
        super().showEvent(event)
        self.refresh()


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
