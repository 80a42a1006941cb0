"""The cells into which napari's grid divides the canvas, the zoom that shows a whole section, and the legends' size."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import napari


LEAST_LINES, LINE, AROUND = 4, 2.4, 2.0
"""Of the title over the first row of cells: for how many lines there is room at least, so that a section does not move
with each gene; height of a line, and of what is around all, over the font size."""
SIDE, FOOT = 7.5, 4.0
"""Width of a cell's colour bar at its right side, height of its scale bar and name at its foot, over that size too."""
MARGIN = 0.03  # of a cell, free on each side of the section

Size = tuple[float, float]
"""Height and width."""
Shape = tuple[int, int]
"""Rows and columns of cells."""
Kept = tuple[float, float, float]
"""Kept free of the section: above the first row, at the right side and at the foot of each cell."""


def zoom_in(shape: Shape, canvas: Size, section: Size, kept: Kept) -> float:
    """Return the zoom at which a whole section fits into each cell: the canvas's pixels per unit of the section."""
    height, width = canvas[0] / shape[0], canvas[1] / shape[1]
    title, side, foot = kept
    free = max(height - title - foot, height / 4), max(width - side, width / 2)
    return (1 - 2 * MARGIN) * min(free[0] / section[0], free[1] / section[1])


def largest_zoom(viewer: "napari.viewer.Viewer", cells: int, section: Size, above: float = 0.0) -> float:
    """Return the zoom at which a section is seen largest in so many cells, as `set_cells` takes them."""
    canvas, kept = viewer.canvas.size, _kept(viewer, above)
    return max(zoom_in(shape, canvas, section, kept) for shape in _shapes(cells))


def set_cells(viewer: "napari.viewer.Viewer", stride: int, cells: int, section: Size, above: float = 0.0) -> float:
    """Divide the canvas into cells in which a section is seen largest; return by how much its zoom changes so.

    Of rows and columns that are as good, there are the fewer rows.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Whose canvas it is.
    stride : int
        Layers in a cell.
    cells : int
        How many; 1 is the whole canvas.
    section : (float, float)
        Height and width, in the scene's unit.
    above : float
        What stands over the section, in the canvas's pixels.

    Notes
    -----
    napari draws after each change of the grid. A shape that does not fit the layers of that moment ends in an
    exception, so the grid is off while it changes.
    """
    grid, canvas, kept = viewer.canvas.grid, viewer.canvas.size, _kept(viewer, above)
    before = grid.shape if grid.enabled else (1, 1)
    shape = max(_shapes(cells), key=lambda shape: zoom_in(shape, canvas, section, kept))
    if (grid.stride, grid.shape, grid.enabled) != (stride, shape, cells > 1):
        grid.enabled = False
        grid.stride, grid.shape, grid.enabled = stride, shape, cells > 1
    return zoom_in(shape, canvas, section, kept) / zoom_in(before, canvas, section, kept)


def _shapes(cells: int) -> list[Shape]:
    return [(rows, -(-cells // rows)) for rows in range(1, cells + 1)]


def fit_section(viewer: "napari.viewer.Viewer", centre: tuple[float, float], section: Size, above: float = 0.0) -> None:
    """Zoom to a whole section, clear of title and legends; ``centre`` is its (row, column), in the scene's unit."""
    grid, (title, side, foot) = viewer.canvas.grid, _kept(viewer, above)
    zoom = zoom_in(grid.shape if grid.enabled else (1, 1), viewer.canvas.size, section, (title, side, foot))
    viewer.scene.camera.center = (centre[0] - (title - foot) / 2 / zoom, centre[1] + side / 2 / zoom)
    viewer.scene.camera.zoom = zoom


def section_of(spots: Any, beside: Iterable[Any]) -> tuple[tuple[float, float], Size]:
    """Return centre (row, column) and size of a layer of spots and what lies beside it, in the scene's unit."""
    extents = np.stack([layer.extent.world for layer in (spots, *beside)])
    low, high = extents[:, 0].min(axis=0), extents[:, 1].max(axis=0)
    size = high - low + spots.size.max() * spots.scale
    return tuple(((low + high) / 2).tolist()), tuple(size.tolist())


def camera_of(viewer: "napari.viewer.Viewer") -> tuple[float, ...]:
    """Return what the camera looks at, and its zoom."""
    camera = viewer.scene.camera
    return (*camera.center, camera.zoom)


def _kept(viewer: "napari.viewer.Viewer", above: float) -> Kept:
    text = viewer.canvas.overlays.text
    size, lines = float(text.font_size), max(LEAST_LINES, text.text.count("\n") + 1)
    return (LINE * lines + AROUND) * size + above, SIDE * size, FOOT * size


SMALL_PX = (420, 260)  # height and width of a cell below which texts are small
TEXT, SMALL_TEXT = 9, 7
BAR_PX = (50, 140)  # least and most height of a colour bar: else a quarter of its cell


def fit_legends(viewer: "napari.viewer.Viewer", points: "Iterable[Any]", two_cases: bool) -> None:
    """Give the legends of the layers of spots, and the title, the size that goes with the canvas.

    Of two cases the title says twice as much, in smaller letters.
    """
    canvas = viewer.canvas
    rows, columns = canvas.grid.shape if canvas.grid.enabled else (1, 1)
    height, width = canvas.size[0] / rows, canvas.size[1] / columns
    size = SMALL_TEXT if height < SMALL_PX[0] or width < SMALL_PX[1] else TEXT
    for layer in points:
        layer.name_overlay.font_size = layer.face_colorbar.font_size = size
        layer.face_colorbar.size = (16, int(np.clip(height / 4, *BAR_PX)))
    canvas.overlays.scale_bar.font_size = size
    canvas.overlays.text.font_size = SMALL_TEXT + 1 if two_cases else size + 1
