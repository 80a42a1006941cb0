"""Classes of spots: clusters, annotations and cell types, as columns of ``obs`` hold them."""

import colorsys
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_cmrcnet.sections.regions import RGB

MOST = 60
"""Classes that a column may have: more are names, not classes."""
NOT_CLASSES = frozenset({"in_tissue", "array_row", "array_col", "section", "patient"})
WHOLE_NUMBERS = ("cluster", "leiden", "louvain", "class", "label", "domain", "annotation", "group", "type")
"""A column of whole numbers holds classes if its name has one of these."""
# Okabe and Ito's colours for the colour-blind (jfly.uni-koeln.de/color), without black, and those least like them.
_FEW: tuple[RGB, ...] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
    (102, 25, 0), (204, 229, 204), (25, 51, 102), (76, 51, 51), (0, 255, 255)
)  # fmt: skip
NO_NAMES = ("", "NA", "nan", "NaN", "None")
"""What files write for a spot without a class."""
NO_CLASS: RGB = (100, 100, 100)  # lighter, it would be like the last of them to some


@dataclass(frozen=True, eq=False)
class Classes:
    """The class of each spot.

    Parameters
    ----------
    column : str
        Of ``obs``.
    names : tuple of str
        The classes, in the order of the column's categories, or sorted.
    codes : int8 (n,)
        Of each spot the place of its class in ``names``, -1 where it has none.
    """

    column: str
    names: tuple[str, ...]
    codes: npt.NDArray[np.int8]

    @property
    def colours(self) -> tuple[RGB, ...]:
        """A colour a class: twelve that are told apart by all, else hues in two depths that take turns."""
        n = len(self.names)
        if n <= len(_FEW):
            return _FEW[:n]
        depths = ((0.5, 0.95), (0.85, 0.7))
        return tuple(_rgb(colorsys.hsv_to_rgb(place / n, *depths[place % 2])) for place in range(n))

    @property
    def of_spots(self) -> list[str]:
        """The name of each spot's class, ``""`` where it has none."""
        return [self.names[code] if code >= 0 else "" for code in self.codes.tolist()]

    @property
    def counts(self) -> list[int]:
        """Spots of each class."""
        counts: list[int] = np.bincount(self.codes[self.codes >= 0], minlength=len(self.names)).tolist()
        return counts


def classes_of(obs: pd.DataFrame) -> dict[str, Classes]:
    """Return the columns that hold classes: texts, categories, flags, or whole numbers by their name; 2 to `MOST`."""
    names = [name for name in obs.columns if name not in NOT_CLASSES and _has_classes(obs[name])]
    return {str(name): _classes(str(name), obs[name]) for name in names}


def _classes(column: str, values: pd.Series) -> Classes:
    if not isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype("category")
    values = values.cat.remove_categories([name for name in values.cat.categories if str(name) in NO_NAMES])
    values = values.cat.remove_unused_categories()
    return Classes(column, tuple(map(str, values.cat.categories)), np.asarray(values.cat.codes, np.int8))


def _has_classes(values: pd.Series) -> bool:
    kind = values.dtype.kind
    if kind == "f" or (kind in "iu" and not any(word in str(values.name).casefold() for word in WHOLE_NUMBERS)):
        return False
    return 1 < values.nunique() <= min(MOST, len(values) // 2)


def _rgb(colour: tuple[float, float, float]) -> RGB:
    red, green, blue = (round(255 * part) for part in colour)
    return red, green, blue
