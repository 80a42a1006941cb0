"""Slides that the user has opened as layers of their own: none lies over the section that is shown."""

from typing import TYPE_CHECKING, Any

from napari_cmrcnet.viewer.slide_layer import slide_path

if TYPE_CHECKING:
    import napari

    from napari_cmrcnet.viewer.session import Session


def put_aside(viewer: "napari.viewer.Viewer", session: "Session") -> None:
    """Take away the layers of the slide that is shown, which each view has already, and hide those of others."""
    slide = session.slide
    if session.case is None:
        return
    for layer in list(viewer.layers):
        path = slide_path(layer)
        if slide is not None and path == slide.path.absolute():
            viewer.layers.remove(layer)
        elif path is not None:
            layer.visible = False


def hide_opened(viewer: "napari.viewer.Viewer", session: "Session", layer: Any) -> None:
    """Hide the layer of a slide that was opened while a section is looked at, and say where it is."""
    from napari.utils.notifications import show_info

    if session.case is None:
        paths = [path for one in viewer.layers if (path := slide_path(one)) is not None]
        session.open_slide = str(paths[0].resolve()) if paths else ""
    elif slide_path(layer) is not None:
        layer.visible = False
        show_info(
            f"{layer.name} is open but hidden, because the window shows {session.case.name}. To show it, click its "
            "eye in the list of layers."
        )
