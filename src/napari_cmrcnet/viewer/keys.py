"""Keys that are bound to napari's viewer or to one of its layers."""

from collections.abc import Callable, Mapping
from typing import Any


def bind_keys(to: Any, acts: Mapping[str, Callable[[Any], object]]) -> None:
    """Let keys do something with the viewer or the layer that they are bound to.

    napari asks what is bound for its ``__name__`` at every key: one bound thing without (a ``partial``), and none of
    the keys does anything. So each is a function.
    """
    for key, act in acts.items():
        to.bind_key(key, _bound(act), overwrite=True)


def _bound(act: Callable[[Any], object]) -> Callable[[Any], None]:
    def bound(to: Any) -> None:
        act(to)

    return bound
