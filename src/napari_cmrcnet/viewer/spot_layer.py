"""The spots of one view as a layer: how it is made, and how it takes the colours of a gene."""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.evaluation.shown import gene_shown
from napari_cmrcnet.sections.classes import NO_CLASS
from napari_cmrcnet.viewer.boundary import KEY, layer_placement, to_napari
from napari_cmrcnet.viewer.coloring import blend_colours, blended, colormap, colours, label, limits, values
from napari_cmrcnet.viewer.display_settings import DisplaySettings, View

if TYPE_CHECKING:
    import napari
    from napari.layers import Points

    from napari_cmrcnet.evaluation.colour_limits import Limits
    from napari_cmrcnet.evaluation.shown import Shown
    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.sections.classes import Classes

MOST_PINNED = 4  # genes whose values stand beside those of the shown one: more do not fit the status bar
MOST_POINTS = 50_000  # more spots are drawn as a picture, see docs/performance.md


def add_spots(
    viewer: "napari.viewer.Viewer", case: "Case", view: View, display: DisplaySettings, bounds: Any = None
) -> "Points":
    """Add the layer of a view's spots to a viewer: points, or a picture that is used as they are where they are many.

    They are white until `colour` is called. Spots have colours of their own instead of napari's colouring by a feature:
    that would compute and upload all spots for new values, and once more for new limits.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where to.
    case, view, display
        What it shows.
    bounds : tuple, optional
        Of the slide, for QuPath.
    """
    settings: dict[str, Any] = {
        "data": to_napari(case.xy),
        "face_color": "white",
        "face_colormap": colormap(view, display),
        "face_contrast_limits": (0.0, 1.0),
        "size": case.spot_diameter * display.spot_size,
        "symbol": symbols(case, display),
        "border_width": 0,
        "opacity": display.opacity,
        "blending": "translucent_no_depth",
        "canvas_size_limits": (1, 10000),
        "name": view,
        "metadata": {KEY: {"view": view, "bounds": bounds}},
        **layer_placement(case.provenance.mpp or None),
    }
    if len(case) <= MOST_POINTS:
        return viewer.add_points(**settings)
    from napari_cmrcnet.viewer.spot_image import SpotImage

    return viewer.add_layer(SpotImage(case, settings))


def show_legends(layer: "Points") -> None:
    """Show a layer's colour bar, and its name beside it; `fit_legends` gives them their size."""
    for overlay in (layer.name_overlay, layer.face_colorbar):  # the name in the corner, the bar over it
        overlay.visible, overlay.position, overlay.box = True, "bottom_right", True


def symbols(case: "Case", display: DisplaySettings) -> Any:
    """Return a disc for every spot, and a ring for those unlike anything in the bank."""
    rings = case.out_of_distribution() if display.mark_out_of_distribution else None
    return "disc" if rings is None or not rings.any() else np.where(rings, "ring", "disc")


def colour(
    layer: "Points",
    view: View,
    shown: "Shown",
    case: "Case",
    display: DisplaySettings,
    pinned: "Sequence[Shown]" = (),
    between: "Limits | None" = None,
) -> None:
    """Give a view's spots the colours of what is shown, and the layer its colour bar, features and name.

    Measured and predicted show the pinned genes together where that is asked for. The mouse over a spot says its
    values, and those of the pinned genes: each by the name of its view, as napari asks the active layer whatever view
    the mouse is over. A view without values is emptied and says why: no value must look like a 0. The colours are
    between limits of their own if none are given.
    """
    try:
        coloured = values(view, shown, case, display)
    except UserError as reason:
        hide_spots(layer, f"{view}: {reason}")
        return
    between = between or limits(view, coloured, shown, display)
    if layer.face_colormap.name != colormap(view, display):
        layer.face_colormap = colormap(view, display)
    if layer.face_contrast_limits != between:
        layer.face_contrast_limits = between
    layer.features = {view: coloured, **_features(shown, case), **_pinned_features(view, shown, pinned)}
    together = blended(pinned, display) if view in ("measured", "predicted") else ()
    if together:
        rgba, name = blend_colours(view, together, display)
    else:
        rgba, name = colours(coloured, between, layer.face_colormap), label(view, shown, display)
    if shown.hidden is not None:
        rgba[shown.hidden, 3] = 0.0
    _set_colours(layer, rgba)
    layer.name = name


def hide_spots(layer: "Points", reason: str) -> None:
    """Draw no spot, and say why in the layer's name."""
    _set_colours(layer, np.zeros_like(layer.face_color))  # napari 0.9.2 goes on drawing what is not `layer.shown`
    layer.name = reason


def cut_spots(layer: "Points", view: View, x: float | None) -> None:
    """Draw measured spots left of a line, others right of it, by napari's clipping planes; with None all are whole."""
    normal = (0.0, 0.0, -1.0 if view == "measured" else 1.0)
    planes = [] if x is None else [{"position": (0.0, 0.0, x), "normal": normal, "enabled": True}]
    if planes or layer.experimental_clipping_planes:
        layer.experimental_clipping_planes = planes


def colour_classes(layer: "Points", classes: "Classes | None") -> None:
    """Give spots the colours of their classes, and the layer the column's name; the View panel has the legend."""
    if classes is None:
        hide_spots(layer, "classes: the section has none")
        return
    layer.features = {"class": classes.of_spots}
    layer.face_colorbar.visible = False
    table = np.array([(*colour, 255) for colour in (*classes.colours, NO_CLASS)], np.float32) / 255
    _set_colours(layer, table[classes.codes])  # the last one, by -1, is of spots without a class
    layer.name = classes.column


def _features(shown: "Shown", case: "Case") -> dict[str, Any]:
    """Return what is said of a spot under the mouse, beside its value: what is not known is not named."""
    known = {"predicted": shown.predicted, "measured": shown.measured}
    if case.prediction is not None and not case.provenance.external:
        known["similarity"] = case.prediction.similarity[:, 0]
    return {name: values for name, values in known.items() if values is not None}


def pinned_genes(case: "Case", genes: "Sequence[str]") -> "tuple[Shown, ...]":
    """Return the first genes of some whose values can be had; the others need a checkpoint that has moved."""
    found = []
    for gene in genes[:MOST_PINNED]:
        with suppress(UserError):
            found.append(gene_shown(case, gene, None))
    return tuple(found)


def _pinned_features(view: View, shown: "Shown", pinned: "Sequence[Shown]") -> dict[str, Any]:
    """Return the values of pinned genes other than the shown one: measured in the view of these, else predicted."""
    kind = "measured" if view == "measured" else "predicted"
    known = {gene.name: getattr(gene, kind) for gene in pinned if gene.name != shown.name}
    return {f"{name} {kind}": values for name, values in known.items() if values is not None}


def _set_colours(layer: "Points", rgba: Any) -> None:
    """Set the colours with one upload of all spots.

    napari 0.9 uploads them when the colours change, and the same once more when the setter says so. Only there is the
    second left out: another version may hear of new colours by it alone.
    """
    import napari

    if napari.__version__.startswith("0.9.") and hasattr(layer.events, "face_color"):
        with layer.events.face_color.blocker():
            layer.face_color = rgba
    else:
        layer.face_color = rgba
