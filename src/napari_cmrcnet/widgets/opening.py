"""Opening by the name that the case scripts of open issues have for it; `widgets.open_files` is the place."""

from napari_cmrcnet.widgets.open_files import show_case as show_prediction

__all__ = ["show_prediction"]
