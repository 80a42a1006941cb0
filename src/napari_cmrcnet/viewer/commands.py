"""What the keys on the canvas do, as commands: they stand in napari's command palette, by the name of what they do.

napari 0.9 reads no key bindings from manifests (`napari.plugins._npe2` registers every command without), so the keys
themselves are bound to the viewer, in `viewer.layers`.
"""

from typing import TYPE_CHECKING

from napari_cmrcnet.viewer.registry import session_of

if TYPE_CHECKING:
    import napari


def flip(viewer: "napari.viewer.Viewer") -> None:
    """Swap predicted and measured in front."""
    session_of(viewer).flip()


def swipe(viewer: "napari.viewer.Viewer") -> None:
    """Show measured left of a line and predicted right of it, or side by side again."""
    session_of(viewer).swipe()


def next_gene(viewer: "napari.viewer.Viewer") -> None:
    """Show the next gene of the list."""
    session_of(viewer).step(1)


def previous_gene(viewer: "napari.viewer.Viewer") -> None:
    """Show the gene before it in the list."""
    session_of(viewer).step(-1)
