"""Names on the picture with a halo: dark letters are read on dark tissue too.

napari gives text no outline. vispy draws letters by their distance from the edge, so one more line of its shader is
enough. A napari or vispy of which the inside may be another keeps its own.
"""

from functools import cache

_LETTERS = "gl_FragColor = vec4(v_color.rgb, v_color.a * alpha);"
_WITH_HALO = """
    gl_FragColor = vec4(mix(vec3(step(dot(v_color.rgb, vec3(0.3, 0.6, 0.1)), 0.7)), v_color.rgb, alpha),
                        v_color.a * max(alpha, halo));"""
_NO_LETTER = "if (alpha <= 0) discard;"
_NO_HALO = """
    float halo = smoothstep(center - 3.0 * fwidth(distance), center - 2.0 * fwidth(distance), distance);
    if (max(alpha, halo) <= 0.0) discard;"""


@cache
def give_halos() -> None:
    """Let names in layers of shapes and points added from now on have a halo: white, black round very pale letters."""
    import napari

    if not napari.__version__.startswith("0.9."):
        return
    from napari._vispy.visuals import points, shapes
    from napari._vispy.visuals.text import Text

    shader = Text._shaders["fragment"]
    if not (_LETTERS in shader and _NO_LETTER in shader):
        return

    class HaloText(Text):
        _shaders = Text._shaders | {"fragment": shader.replace(_LETTERS, _WITH_HALO).replace(_NO_LETTER, _NO_HALO)}

    points.Text = shapes.Text = HaloText
