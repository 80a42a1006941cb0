"""Rings around the selected spots, in every view: seen on every colour map and on the histology.

A ring is a white one around a dark one: on any colour, one of both stands out.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.viewer.boundary import KEY, layer_placement, to_napari
from napari_cmrcnet.viewer.display_settings import DisplaySettings

if TYPE_CHECKING:
    import napari
    from napari.layers import Points

    from napari_cmrcnet.retrieval.case import Case

LARGER = 1.8  # diameter of a ring, in spots
WIDTHS = (0.3, 0.1)  # of the dark ring, which the white one covers by half, in diameters
LEAST_PX, FEW = 14, 10  # on the screen; where more spots are selected, small rings would hide each other


def add_rings(
    viewer: "napari.viewer.Viewer", case: "Case", spots: npt.NDArray[np.int64], display: DisplaySettings
) -> "Points":
    """Add a layer of rings around some spots."""
    layer = viewer.add_points(
        np.empty((0, 2)),
        blending="translucent_no_depth",
        name="selected spots",
        metadata={KEY: {"copy": True}},
        **layer_placement(case.provenance.mpp or None),
    )
    draw_rings(layer, case, spots, display)
    layer.locked = True
    return layer


def draw_rings(layer: "Points", case: "Case", spots: npt.NDArray[np.int64], display: DisplaySettings) -> None:
    """Ring these spots, and no others."""
    rows, dark = to_napari(case.xy[spots]), np.arange(2 * len(spots)) < len(spots)
    layer.data = np.concatenate([rows, rows])
    layer.selected_data, layer.editable = set(), False  # new data may be edited, for napari
    if not len(spots):
        return  # napari takes no colours of none
    layer.size = LARGER * case.spot_diameter * max(1.0, display.spot_size)
    layer.face_color = "transparent"
    layer.border_color = np.where(dark[:, None], (0.0, 0.0, 0.0, 1.0), (1.0, 1.0, 1.0, 1.0))
    layer.border_width = np.where(dark, *WIDTHS)
    layer.canvas_size_limits = (LEAST_PX if len(spots) <= FEW else 1, 10000)
