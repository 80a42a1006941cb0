"""What is changed inside napari: numbers at the ends of colour bars, and halos round names.

napari has numbers at round values only: between 3.2 and 4.9, at 4. They cannot be chosen, so the visual of colour bars
is replaced by one that draws those of our layers differently, and all others as before. Nor has text an outline,
without which dark letters are not read on dark tissue. vispy draws letters by their distance from the edge, so one more
line of its shader is enough. A napari or vispy of which the inside may be another keeps its own.
"""

from functools import cache
from typing import Any

import numpy as np

from napari_cmrcnet.evaluation.colour_limits import bar_ticks
from napari_cmrcnet.viewer.boundary import KEY

_LETTERS = "gl_FragColor = vec4(v_color.rgb, v_color.a * alpha);"
_WITH_HALO = """
    gl_FragColor = vec4(mix(vec3(step(dot(v_color.rgb, vec3(0.3, 0.6, 0.1)), 0.7)), v_color.rgb, alpha),
                        v_color.a * max(alpha, halo));"""
_NO_LETTER = "if (alpha <= 0) discard;"
_NO_HALO = """
    float halo = smoothstep(center - 3.0 * fwidth(distance), center - 2.0 * fwidth(distance), distance);
    if (max(alpha, halo) <= 0.0) discard;"""


@cache
def change_drawing() -> None:
    """Let our colour bars that are shown from now on have a number at each end, and names in layers a halo.

    It is white, and black round very pale letters.
    """
    import napari

    if not napari.__version__.startswith("0.9."):
        return
    from napari._vispy.overlays.colorbar import VispyColorBarOverlay
    from napari._vispy.utils.visual import overlay_to_visual
    from napari._vispy.visuals import points, shapes
    from napari._vispy.visuals.text import Text
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

    shader = Text._shaders["fragment"]
    if not (_LETTERS in shader and _NO_LETTER in shader):
        return

    class HaloText(Text):
        _shaders = Text._shaders | {"fragment": shader.replace(_LETTERS, _WITH_HALO).replace(_NO_LETTER, _NO_HALO)}

    points.Text = shapes.Text = HaloText
