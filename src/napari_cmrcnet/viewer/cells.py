"""The cells into which napari's grid divides the canvas, and the zoom at which a whole section is seen in each."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import napari

TITLE_LINES, LINE_PX = 4, 2.4  # over the first row of cells, and the height of a line over its font size
MARGIN = 0.03  # of a cell, free on each side of the section

Size = tuple[float, float]
"""Height and width."""
Shape = tuple[int, int]
"""Rows and columns of cells."""


def cell_shape(cells: int, canvas: Size, section: Size, title: float = 0.0) -> Shape:
    """Return the rows and columns in which a section is seen largest; the fewer rows where that is the same.

    Parameters
    ----------
    cells : int
        How many cells there are to be.
    canvas, section : (float, float)
        Height and width, each in a unit of its own.
    title : float
        Height of what stands over the first row, in the canvas's unit.
    """
    shapes = [(rows, -(-cells // rows)) for rows in range(1, cells + 1)]
    return max(shapes, key=lambda shape: zoom_in(shape, canvas, section, title))


def zoom_in(shape: Shape, canvas: Size, section: Size, title: float = 0.0) -> float:
    """Return the zoom at which a whole section fits into each cell: the canvas's pixels per unit of the section."""
    height, width = canvas[0] / shape[0], canvas[1] / shape[1]
    return (1 - 2 * MARGIN) * min(max(height - title, height / 4) / section[0], width / section[1])


def set_cells(viewer: "napari.viewer.Viewer", stride: int, cells: int, section: Size) -> float:
    """Divide the canvas into cells in which a section is seen largest; return by how much its zoom changes so.

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

    Notes
    -----
    napari draws after each change of the grid. A shape that does not fit the layers of that moment ends in an
    exception, so the grid is off while it changes.
    """
    grid, canvas, title = viewer.canvas.grid, viewer.canvas.size, _title(viewer)
    before = grid.shape if grid.enabled else (1, 1)
    shape = cell_shape(cells, canvas, section, title)
    if (grid.stride, grid.shape, grid.enabled) != (stride, shape, cells > 1):
        grid.enabled = False
        grid.stride, grid.shape, grid.enabled = stride, shape, cells > 1
    return zoom_in(shape, canvas, section, title) / zoom_in(before, canvas, section, title)


def fit_section(viewer: "napari.viewer.Viewer", centre: tuple[float, float], section: Size) -> None:
    """Zoom to a whole section, below the title; ``centre`` is its (row, column), in the scene's unit."""
    grid, title = viewer.canvas.grid, _title(viewer)
    zoom = zoom_in(grid.shape if grid.enabled else (1, 1), viewer.canvas.size, section, title)
    viewer.scene.camera.center = (centre[0] - title / 2 / zoom, centre[1])
    viewer.scene.camera.zoom = zoom


def _title(viewer: "napari.viewer.Viewer") -> float:
    return TITLE_LINES * LINE_PX * float(viewer.canvas.overlays.text.font_size)
