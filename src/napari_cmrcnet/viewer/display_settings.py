"""How expression is drawn, apart from what is drawn. Kept in a saved prediction and restored from it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
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
        return cls(**{name: _tuple(value) for name, value in given.items() if _fits(name, value)})


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value


def _fits(name: str, value: Any) -> bool:
    match name:
        case "layout":
            return value in LAYOUTS
        case "views":
            return isinstance(value, list | tuple) and bool(value) and set(value) <= set(VIEWS)
        case "front":
            return value in VIEWS
        case "colormap":
            return value in COLORMAPS
        case "percentiles":
            return _is_range(value) and value[0] >= 0 and value[1] <= 100
        case "limits":
            return value is None or _is_range(value)
        case "opacity":
            return _is_number(value) and 0 <= value <= 1
        case "spot_size":
            return _is_number(value) and 0.1 <= value <= 5
        case "window_um":
            return _is_number(value) and WINDOW_UM[0] <= value <= WINDOW_UM[1]
        case "confidence":
            return value in CONFIDENCES
        case "classes":
            return isinstance(value, str)
        case _:
            return isinstance(value, bool)


def _is_range(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value)) and value[0] < value[1]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
