"""napari's own list of layers and their controls: a section needs their room, and has panels of its own."""

from qtpy.QtWidgets import QDockWidget, QWidget

from napari_cmrcnet.widgets.remember import recall, remember

_KEY = "layer_list"


def layer_list_wanted() -> bool:
    """Whether the user has asked to see them beside a section; not, before it was asked for."""
    return recall(_KEY, False)


def show_layer_list(panel: QWidget, wanted: bool) -> None:
    """Show them in the window of a panel, or fold them away, and remember which."""
    remember({_KEY: wanted})
    for dock in panel.window().findChildren(QDockWidget):
        if dock.objectName() in ("layer list", "layer controls"):
            dock.setVisible(wanted)
