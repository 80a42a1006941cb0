"""Each viewer's session, made when a panel first asks for it, with the layers drawn from it."""

from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, WeakKeyDictionary, ref

from napari_cmrcnet.viewer.layers import SectionLayers
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
        layers = SectionLayers(viewer, Session())
        _LAYERS[key] = ref(layers)
    return layers
