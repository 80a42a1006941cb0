"""Colour bars of our layers with a number at each end.

napari has them at round values only: between 3.2 and 4.9, at 4. The numbers of its colour bar cannot be chosen, so its
visual is replaced by one that draws those of our layers differently, and all others as before. A napari of which the
inside may be another keeps its own.
"""

from functools import cache
from typing import Any

import numpy as np

from napari_cmrcnet.evaluation.colour_limits import bar_ticks

KEY = "cmrcnet"  # of our entry in a layer's metadata


@cache
def number_the_ends() -> None:
    """Let colour bars of our layers that are shown from now on have a number at each end."""
    import napari

    if not napari.__version__.startswith("0.9."):
        return
    from napari._vispy.overlays.colorbar import VispyColorBarOverlay
    from napari._vispy.utils.visual import overlay_to_visual
    from napari.components.overlays import ColorBarOverlay
    from vispy.visuals.axis import Ticker

    class EndTicker(Ticker):
        def _get_tick_frac_labels(self) -> tuple[Any, Any, list[str]]:
            low, high = self.axis.domain
            places, numbers = bar_ticks(low, high)
            return (np.asarray(places) - low) / (high - low), np.empty(0), numbers

    class ColorBarVisual(VispyColorBarOverlay):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            if KEY in self.layer.metadata:
                self.node.ticks.ticker = EndTicker(self.node.ticks)
                self._on_ticks_change()

    overlay_to_visual[ColorBarOverlay] = ColorBarVisual
