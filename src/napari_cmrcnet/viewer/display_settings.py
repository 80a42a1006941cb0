"""How expression is drawn, apart from what is drawn. Kept in a saved prediction and restored from it."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from math import inf
from typing import Any, Literal, get_args

View = Literal["measured", "predicted", "difference", "local PCC", "confidence", "classes"]
VIEWS: tuple[View, ...] = get_args(View)
Layout = Literal["side by side", "overlaid", "swipe"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
Confidence = Literal["mean similarity", "best similarity", "spread", "sections"]
CONFIDENCES: tuple[Confidence, ...] = get_args(Confidence)

WINDOW_UM = (100, 5000)  # least and largest radius of a window of the local PCC

COLORMAPS = ("viridis", "magma", "inferno", "plasma", "cividis")  # perceptually uniform, each


@dataclass(frozen=True)
class DisplaySettings:
    """How expression is drawn.

    Parameters
    ----------
    layout : "side by side", "overlaid" or "swipe"
        One cell of the canvas a view, with linked cameras; all in one, the front view on top; or measured left of a
        line, predicted right of it.
    views : tuple of str
        Of `VIEWS`, those in the cells of the canvas when side by side, in the order of `VIEWS`.
    front : str
        Of `VIEWS`, the one that is seen when overlaid.
    colormap : str
        Of `COLORMAPS`; the difference and the local PCC have diverging ones of their own.
    percentiles : (float, float)
        Colour limits of measured and predicted: these percentiles over both.
    limits : (float, float) or None
        Colour limits by hand, in the unit of the values, instead of percentiles.
    from_zero : bool
        Whether the lower limit is 0 where it is not set by hand; see `evaluation.colour_limits`.
    opacity : float
        Of the spots, 0 to 1.
    spot_size : float
        Drawn diameter of a spot over its true one.
    window_um : float
        Radius in µm of the windows of the local PCC, of `WINDOW_UM`.
    confidence : str
        Of `CONFIDENCES`, what the confidence view shows.
    classes : str
        The column of ``obs`` that the view of classes shows; the first that holds classes where there is none of it.
    blend : bool
        Whether measured and predicted show two or three ticked genes together, each as an ink (`evaluation.blend`).
    mark_out_of_distribution : bool
        Whether spots out of distribution are drawn as rings, see `Prediction.out_of_distribution`.
    """

    layout: Layout = "side by side"
    views: tuple[View, ...] = ("measured", "predicted")
    front: View = "predicted"
    colormap: str = "viridis"
    percentiles: tuple[float, float] = (1.0, 99.0)
    limits: tuple[float, float] | None = None
    from_zero: bool = False
    opacity: float = 0.9
    spot_size: float = 1.0
    window_um: float = 500.0
    confidence: Confidence = "mean similarity"
    classes: str = ""
    blend: bool = False
    mark_out_of_distribution: bool = True

    def side_by_side(self) -> "DisplaySettings":
        """Return settings with measured and predicted beside each other, and the other views that are so now."""
        both = self.views if {"measured", "predicted"} <= set(self.views) else ("measured", "predicted")
        return replace(self, layout="side by side", views=both, front="predicted")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DisplaySettings":
        """Make settings from what `to_dict` gave; what does not fit (a file changed by hand) keeps its default."""
        given = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        fits = {name: _FITS.get(name, lambda value: isinstance(value, bool)) for name in given}
        return cls(**{name: _tuple(value) for name, value in given.items() if fits[name](value)})


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value


def _is_between(low: float, high: float, value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _is_range(value: Any, low: float = -inf, high: float = inf) -> bool:
    in_order = isinstance(value, list | tuple) and len(value) == 2
    return in_order and all(_is_between(low, high, end) for end in value) and value[0] < value[1]


_FITS: Mapping[str, Callable[[Any], bool]] = {
    "layout": lambda value: value in LAYOUTS,
    "views": lambda value: isinstance(value, list | tuple) and bool(value) and all(view in VIEWS for view in value),
    "front": lambda value: value in VIEWS,
    "colormap": lambda value: value in COLORMAPS,
    "percentiles": lambda value: _is_range(value, 0, 100),
    "limits": lambda value: value is None or _is_range(value),
    "opacity": partial(_is_between, 0, 1),
    "spot_size": partial(_is_between, 0.1, 5),
    "window_um": partial(_is_between, *WINDOW_UM),
    "confidence": lambda value: value in CONFIDENCES,
    "classes": lambda value: isinstance(value, str),
}
"""What the value of a field may be; of those that are not named, True or False."""
