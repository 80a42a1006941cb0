"""Each viewer's session, made when a panel first asks for it, with the layers drawn from it and the keys on the canvas.

What the keys do stands in napari's command palette, too, as commands of the manifest. napari 0.9 reads no key bindings
from manifests (`napari.plugins._npe2` registers every command without), so the keys themselves are bound here.
"""

from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, WeakKeyDictionary, ref

from napari_cmrcnet.viewer.layers import SectionLayers
from napari_cmrcnet.viewer.napari_inside import change_drawing
from napari_cmrcnet.viewer.session import Session

if TYPE_CHECKING:
    import napari

# The viewer's own callbacks hold its layers, and these the session: held here too, no viewer would ever be freed.
_LAYERS: "WeakKeyDictionary[Any, ReferenceType[SectionLayers]]" = WeakKeyDictionary()


def session_of(viewer: "napari.viewer.Viewer") -> Session:
    """Return the session that a viewer shows."""
    return layers_of(viewer).session


def layers_of(viewer: "napari.viewer.Viewer") -> SectionLayers:
    """Return the layers that a viewer's session is drawn as."""
    key = getattr(viewer, "__wrapped__", viewer)  # napari hands plugins a proxy, a new one each time
    known = _LAYERS.get(key)
    layers = known() if known is not None else None
    if layers is None:
        change_drawing()
        layers = SectionLayers(viewer, Session())
        _LAYERS[key] = ref(layers)
        for name, act in (("f", flip), ("w", swipe), ("Up", previous_gene), ("Down", next_gene)):
            viewer.bind_key(name, act, overwrite=True)
    return layers


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
