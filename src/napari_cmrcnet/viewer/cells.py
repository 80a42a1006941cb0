"""The cells into which napari's grid divides the canvas."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import napari


def set_cells(viewer: "napari.viewer.Viewer", stride: int, cells: int) -> float:
    """Divide the canvas into cells: two beside each other, three or four in a square; return how much wider one is now.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Whose canvas it is.
    stride : int
        Layers in a cell.
    cells : int
        How many; 1 is the whole canvas.

    Notes
    -----
    napari draws after each change of the grid. A shape that does not fit the layers of that moment ends in an
    exception, so the grid is off while it changes.
    """
    grid = viewer.canvas.grid
    before = grid.shape[0] * grid.shape[1] if grid.enabled else 1
    shape = (1, cells) if cells < 3 else (2, 2)
    if (grid.stride, grid.shape, grid.enabled) != (stride, shape, cells > 1):
        grid.enabled = False
        grid.stride, grid.shape, grid.enabled = stride, shape, cells > 1
    return before / cells
