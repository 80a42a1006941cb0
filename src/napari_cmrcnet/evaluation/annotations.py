"""What is known of spots from elsewhere: classes in the spots' file, and regions."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.evaluation.region_scores import groups
from napari_cmrcnet.sections.regions import Region

if TYPE_CHECKING:
    import pandas as pd

Classes = dict[str, npt.NDArray[np.bool_]]

REGIONS = "regions"
_MOST = 40  # values of a column of classes
_NOT_CLASSES = frozenset({"in_tissue", "array_row", "array_col", "section", "patient"})


def annotations(obs: "pd.DataFrame", xy: npt.ArrayLike, regions: Sequence[Region] = ()) -> Mapping[str, Classes]:
    """Return the classes of spots, by where they are from: a column of the spots' file, or the regions.

    Parameters
    ----------
    obs : DataFrame, n rows
        Of the spots. A column of texts, categories, truth values or whole numbers with 2 to 40 different values is
        one of classes; where spots lie, and of which section and patient they are, is not.
    xy : (n, 2)
        Spot centres (x, y) in full-resolution pixels.
    regions : sequence of Region
        Those of the section.

    Returns
    -------
    mapping of str to dict of str to bool (n,)
        Which spots are of each class. Spots without a value are of none.
    """
    found: dict[str, Classes] = {}
    inside = {
        group.name: group.spots for kind in ("class", "region") for group in groups(xy, regions) if group.kind == kind
    }
    if inside:
        found[REGIONS] = inside
    for name in obs.columns:
        column = obs[name]
        if str(name) in _NOT_CLASSES or column.dtype.kind == "f":
            continue
        values = column.dropna().astype(str)
        classes = sorted(values.unique())
        if 2 <= len(classes) <= _MOST:
            texts = column.astype(str).to_numpy()
            known = column.notna().to_numpy()
            found[str(name)] = {value: (texts == value) & known for value in classes}
    return found
