"""A slide as a napari image of several resolutions, of which only what is looked at is read.

Slides that the user has opened as layers of their own do not lie over the section that is shown.
"""

import math
import time
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.slides.source import TileError
from napari_cmrcnet.viewer.boundary import KEY, layer_placement
from napari_cmrcnet.viewer.slide_colours import shown_reader

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Layer

    from napari_cmrcnet.slides.slide import Bounds, Slide
    from napari_cmrcnet.viewer.session import Session


EVERY = 1.0  # seconds between looks at the file: on a share each takes a while

_next_look: "WeakKeyDictionary[Slide, float]" = WeakKeyDictionary()


def watch(slide: "Slide", damage: UserError | None = None) -> None:
    """Tell the user, once for a slide that is shown, that its file was changed, cut short or removed, or is damaged.

    Parameters
    ----------
    slide : Slide
        What is read from now.
    damage : UserError, optional
        Why a part of it could not be read, if that is so.
    """
    now = time.monotonic()
    due = _next_look.get(slide, now)
    if due == math.inf or (damage is None and now < due):
        return
    _next_look[slide] = now + EVERY
    try:
        slide.check_unchanged()
        reason = damage
    except UserError as changed:  # which is why it could not be read, if it could not
        reason = changed
    if reason is not None:
        from napari.utils.notifications import show_error

        _next_look[slide] = math.inf
        show_error(f"{reason} What cannot be read is shown white.")


OVERVIEW = 2048  # longer side, in pixels, of a level made for slides whose own coarsest is over twice as large
MAX_CHUNK = 1024  # napari reads whole chunks, and a strip is as wide as the slide

_overviews: "WeakKeyDictionary[Slide, NDArray[np.uint8]]" = WeakKeyDictionary()  # each view has a layer of the slide

Index = int | slice | EllipsisType
LayerData = tuple[Any, dict[str, Any], str]
"""Data, keyword arguments and kind of a layer, as napari takes them from a reader."""


class SlideLevel:
    """One level of a slide, as much of an array as napari asks for. Read in parts, never kept.

    Damaged tiles are white, and told once: an exception while panning would end in the canvas, again and again.

    Parameters
    ----------
    slide : Slide
        Open; it must stay so while the layer is shown.
    level : int
        Of the slide's levels.

    Attributes
    ----------
    shape : (int, int, int)
        Rows, columns, and 3 for red, green and blue.
    chunks : (int, int, int)
        What is best read at once: napari widens the visible part to their borders.
    """

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, slide: "Slide", level: int) -> None:
        self._slide, self._level = slide, level  # the slide is open as long as somebody holds it
        self._reader = shown_reader(slide)
        size, tile = slide.levels[level], slide.tile_sizes[level]
        self.shape = (size.height, size.width, 3)
        self.size = size.height * size.width * 3
        self.chunks = (min(tile[0], MAX_CHUNK), min(tile[1], MAX_CHUNK), 3)

    def __getitem__(self, key: Index | tuple[Index, ...]) -> NDArray[np.uint8]:
        """Return pixels, uint8, indexed by whole numbers, slices and ``...`` as an array is."""
        rows, columns, colours = _three(key)
        y, inner_rows = _part(rows, self.shape[0])
        x, inner_columns = _part(columns, self.shape[1])
        damage: TileError | None = None
        try:
            pixels = self._read(x, y)
        except TileError as error:
            damage, pixels = error, self._read(x, y, skip_damaged=True)
        watch(self._slide, damage)
        return pixels[inner_rows, inner_columns, colours]

    def _read(self, x: range, y: range, *, skip_damaged: bool = False) -> NDArray[np.uint8]:
        place = x.start, y.start, len(x), len(y)
        return self._reader.read(self._level, *place, skip_damaged=skip_damaged)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return self[...].astype(dtype or self.dtype, copy=False)

    def __len__(self) -> int:
        return self.shape[0]


def _three(key: Index | tuple[Index, ...]) -> list[int | slice]:
    given = list(key) if isinstance(key, tuple) else [key]
    if Ellipsis in given:
        at = given.index(Ellipsis)
        given[at : at + 1] = [slice(None)] * (4 - len(given))
    given += [slice(None)] * (3 - len(given))
    if len(given) != 3 or any(isinstance(index, EllipsisType) for index in given):
        raise IndexError(f"a slide has three axes (rows, columns, colours), not {key!r}")
    return [index for index in given if not isinstance(index, EllipsisType)]


def _part(index: int | slice, length: int) -> tuple[range, int | slice]:
    """Return the pixels of an axis that must be read, and the index into these."""
    if not isinstance(index, slice):
        at = range(length)[index]
        return range(at, at + 1), 0
    wanted = range(length)[index]
    low, high = (min(wanted), max(wanted) + 1) if wanted else (0, 0)
    return range(low, high), slice(None, None, wanted.step)


def slide_layer(slide: "Slide", mpp: float | None) -> LayerData:
    """Return what napari needs to show a slide: levels that are read as they are looked at.

    napari reads the coarsest level whole and keeps it, so a slide whose own is large gets one more, in memory. Making
    it decodes the slide's coarsest level once, which may take seconds; this function may be called from a worker.

    Parameters
    ----------
    slide : Slide
        Open; it must stay so while the layer is shown.
    mpp : float or None
        µm per full-resolution pixel; None places the layer in pixels.

    Returns
    -------
    (levels, settings, "image")
        For ``viewer.add_image(levels, **settings)``, or from a reader. ``metadata["cmrcnet"]`` has ``slide``, its path,
        ``mpp``, ``mpp_source``, the tag if it is the slide's own, and ``bounds``.
    """
    levels: list[Any] = [SlideLevel(slide, level) for level in _shrinking(slide)]
    if max(levels[-1].shape[:2]) > 2 * OVERVIEW:
        if slide not in _overviews:
            overview, reader = slide.thumbnail(OVERVIEW), shown_reader(slide)
            _overviews[slide] = overview if reader.through is None else reader.through(overview)
        levels.append(_overviews[slide])
    settings = {
        "name": slide.path.stem,
        "rgb": True,
        "multiscale": True,
        "contrast_limits": (0, 255),
        "metadata": {
            KEY: {
                "slide": str(slide.path.absolute()),
                "mpp": mpp,
                "mpp_source": slide.mpp_source if mpp == slide.mpp else "given",
                "bounds": slide.bounds,
            }
        },
        **_placement(mpp, slide.scale),
    }
    return levels, settings, "image"


def add_histology(viewer: "napari.viewer.Viewer", slide: "Slide", mpp: float | None) -> "Image":
    """Add a slide below the spots of a view."""
    levels, settings, _ = slide_layer(slide, mpp)
    return viewer.add_image(levels, **settings | {"name": "H&E", "metadata": {KEY: {}}})


def _placement(mpp: float | None, scale: float) -> dict[str, Any]:
    """Return where a slide lies, or a small picture of it: the centre of its first pixel is not the slide's."""
    placement = layer_placement(mpp)
    if scale == 1:
        return placement
    pixel = placement["scale"][0]
    shift = pixel * (scale - 1) / 2
    return placement | {"scale": (pixel * scale, pixel * scale), "translate": (shift, shift)}


def _shrinking(slide: "Slide") -> list[int]:
    """Return the levels that are smaller than the one before: DICOM slides may have two of a size."""
    shrinking = [0]
    for number, level in enumerate(slide.levels):
        last = slide.levels[shrinking[-1]]
        if level.width < last.width and level.height < last.height:
            shrinking.append(number)
    return shrinking


def slide_path(layer: "Layer | None") -> Path | None:
    """Return the file of the slide or picture that a layer shows, whether we or napari itself opened it.

    None where it shows none, as layers of spots, and pictures in grey or made in the window.
    """
    if layer is None or layer.ndim != 2 or not getattr(layer, "rgb", False):
        return None
    ours = layer.metadata.get(KEY)
    path = ours.get("slide") if isinstance(ours, dict) else layer.source.path
    return Path(path) if path else None


def scanned_part(viewer: "napari.viewer.Viewer", session: "Session") -> "Bounds | None":
    """Return the `Bounds` of the slide that regions are drawn over, None where it has none."""
    if session.case is not None:
        return None if session.slide is None else session.slide.bounds
    for layer in viewer.layers:
        if slide_path(layer) is not None:
            ours = layer.metadata.get(KEY)
            return ours.get("bounds") if isinstance(ours, dict) else None
    return None


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


def hide_opened(viewer: "napari.viewer.Viewer", session: "Session", layer: "Layer") -> None:
    """Hide the layer of a slide that was opened while a section is looked at, and say where it is."""
    if session.case is None:
        paths = [path for one in viewer.layers if (path := slide_path(one)) is not None]
        session.open_slide = str(paths[0].resolve()) if paths else ""
    elif slide_path(layer) is not None:
        from napari.utils.notifications import show_info

        layer.visible = False
        show_info(
            f"{layer.name} is open but hidden, because the window shows {session.case.name}. To show it, click its "
            "eye in the list of layers."
        )
