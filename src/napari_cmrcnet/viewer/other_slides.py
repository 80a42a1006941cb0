"""Slides that the user has opened as layers of their own: none lies over the section that is shown."""

from typing import TYPE_CHECKING, Any

from napari_cmrcnet.viewer.slide_layer import slide_path

if TYPE_CHECKING:
    import napari

    from napari_cmrcnet.viewer.session import Session


class OtherSlides:
    """Keeps such layers out of the way while a prediction is shown.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Whose layers they are.
    """

    def __init__(self, viewer: "napari.viewer.Viewer") -> None:
        self.viewer = viewer
        self._taken: list[Any] = []  # in whose place ours are

    def put_aside(self, session: "Session") -> None:
        """Take away the layers of the slide that is shown, which each view has already, and hide those of others.

        What was taken away comes back where no prediction is shown, as after a first one that could not be.
        """
        taken, self._taken = self._taken, []
        slide = session.slide
        if session.prediction is None:
            for layer in taken:
                self.viewer.add_layer(layer)
            return
        for layer in list(self.viewer.layers):
            path = slide_path(layer)
            if slide is not None and path == slide.path.absolute():
                self.viewer.layers.remove(layer)
                self._taken.append(layer)
            elif path is not None:
                layer.visible = False

    def opened(self, layer: Any, session: "Session") -> None:
        """Hide the layer of a slide that was opened while a prediction is shown, and say where it is."""
        from napari.utils.notifications import show_info

        if session.prediction is None:
            paths = [path for one in self.viewer.layers if (path := slide_path(one)) is not None]
            session.open_slide = str(paths[0].resolve()) if paths else ""
        elif slide_path(layer) is not None:
            layer.visible = False
            show_info(
                f"{layer.name} is open, and hidden: the window shows the prediction of {session.prediction.name}. "
                "The eye in the list of layers shows it all the same."
            )
