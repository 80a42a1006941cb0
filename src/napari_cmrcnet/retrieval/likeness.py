"""Likeness: whether a whole slide looks like the training sections, so that what was learned there may hold on it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.errors import UserError

Array = NDArray[np.float64]

STAIN, TISSUE = "stain and sharpness", "look of the tissue"
"""The kinds of features: colours and edges of patches, and what a frozen encoder sees in them."""

LIKE, PARTLY, NOT = "like the training tissue", "partly like the training tissue", "not like the training tissue"
FAR = 2.0
"""Times the limit beyond which a slide is not like the training tissue; docs/expected.md says how slides came out."""


@dataclass(frozen=True)
class Usual:
    """What one kind of features is on the training sections.

    Parameters
    ----------
    centre : tuple of float
        The mean of the sections' means, one number per feature.
    scale : tuple of float, or of tuples of float
        By what a difference to it is multiplied, one number per feature; or a matrix, features by features.
    limit : float
        Distance up to which a section is like them, see `usual_tissue`.

    Raises
    ------
    UserError
        If these do not fit each other, or the limit is not above 0.
    """

    centre: tuple[float, ...]
    scale: tuple[float, ...] | tuple[tuple[float, ...], ...]
    limit: float

    def __post_init__(self) -> None:
        n = len(self.centre)
        lengths = {len(row) for row in self.scale if isinstance(row, tuple)}
        if not n or len(self.scale) != n or not lengths <= {n}:
            raise UserError("A centre and a scale of the training tissue do not fit each other.")
        if not self.limit > 0:
            raise UserError("A limit of the training tissue is not above 0.")

    def far(self, mean: Array) -> float:
        """Return how far the mean features of a section (f,) are from the centre, in limits."""
        return distance(mean - np.array(self.centre), np.array(self.scale)) / self.limit


def distance(difference: Array, scale: Array) -> float:
    """Return the root mean square of a difference of features (f,), multiplied by a scale (f,) or (f, f)."""
    scaled = difference * scale if scale.ndim == 1 else difference @ scale
    return float(np.sqrt(np.mean(np.square(scaled))))


@dataclass(frozen=True)
class Likeness:
    """How like the training tissue a slide is.

    Parameters
    ----------
    far : mapping of str to float
        Of each kind of features, how far the slide is from the training sections, in limits.

    Raises
    ------
    UserError
        If there is none.
    """

    far: Mapping[str, float]

    def __post_init__(self) -> None:
        if not self.far:
            raise UserError("A likeness to the training tissue has no number.")

    @property
    def verdict(self) -> str:
        """`LIKE`, `PARTLY` or `NOT`, by the kind that is farthest."""
        farthest = max(self.far.values())
        return LIKE if farthest <= 1 else PARTLY if farthest <= FAR else NOT

    @property
    def reason(self) -> str:
        """The verdict and what it rests on, in a sentence or two."""
        beyond = [f"{kind} ({far:.1f} times the limit)" for kind, far in self.far.items() if far > 1]
        said = f"The slide is {self.verdict}."
        return f"{said} It differs in {' and '.join(beyond)}." if beyond else said
