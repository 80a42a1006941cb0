"""How expression is drawn, apart from what is drawn. Kept in a saved prediction and restored from it."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal, get_args, get_type_hints

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

View = Literal["measured", "predicted", "difference", "local PCC", "confidence", "classes"]
VIEWS: tuple[View, ...] = get_args(View)
Layout = Literal["side by side", "overlaid", "swipe"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
Confidence = Literal["mean similarity", "best similarity", "spread", "sections"]
CONFIDENCES: tuple[Confidence, ...] = get_args(Confidence)

WINDOW_UM = (100, 5000)  # least and largest radius of a window of the local PCC

Colormap = Literal["viridis", "magma", "inferno", "plasma", "cividis"]  # perceptually uniform, each
COLORMAPS: tuple[Colormap, ...] = get_args(Colormap)


def _in_order(ends: tuple[float, float]) -> tuple[float, float]:
    if not ends[0] < ends[1]:
        raise ValueError("the lower end comes first")
    return ends


Percentile = Annotated[float, Field(ge=0, le=100)]


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
    views: Annotated[tuple[View, ...], Field(min_length=1)] = ("measured", "predicted")
    front: View = "predicted"
    colormap: Colormap = "viridis"
    percentiles: Annotated[tuple[Percentile, Percentile], AfterValidator(_in_order)] = (1.0, 99.0)
    limits: Annotated[tuple[float, float], AfterValidator(_in_order)] | None = None
    from_zero: bool = False
    opacity: Annotated[float, Field(ge=0, le=1)] = 0.9
    spot_size: Annotated[float, Field(ge=0.1, le=5)] = 1.0
    window_um: Annotated[float, Field(ge=WINDOW_UM[0], le=WINDOW_UM[1])] = 500.0
    confidence: Confidence = "mean similarity"
    classes: str = ""
    blend: bool = False
    mark_out_of_distribution: bool = True

    def side_by_side(self) -> "DisplaySettings":
        """Return settings with measured and predicted beside each other, and the other views that are so now."""
        both = self.views if {"measured", "predicted"} <= set(self.views) else ("measured", "predicted")
        return replace(self, layout="side by side", views=both, front="predicted")

    def seen_of(self, there: tuple[View, ...]) -> tuple[View, ...]:
        """Return which views are to be seen of those that there are; where none of them is, predicted or the first."""
        of_layout = {"side by side": self.views, "overlaid": (self.front,), "swipe": ("measured", "predicted")}
        views = tuple(view for view in there if view in of_layout[self.layout])
        return views or tuple(view for view in ("predicted", *there) if view in there)[:1]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DisplaySettings":
        """Make settings from what `to_dict` gave; what does not fit (a file changed by hand) keeps its default."""
        fits = {}
        for name, kind in get_type_hints(cls, include_extras=True).items():
            with suppress(KeyError, ValidationError):
                fits[name] = TypeAdapter(kind).validate_json(json.dumps(values[name]), strict=True)
        return cls(**fits)
