"""What is known of spots from elsewhere: classes in the spots' file, and regions."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.evaluation.region_scores import groups
from napari_cmrcnet.sections.classes import class_columns, classes_of
from napari_cmrcnet.sections.regions import Region

if TYPE_CHECKING:
    import pandas as pd

Classes = dict[str, npt.NDArray[np.bool_]]

REGIONS = "regions"


def annotations(obs: "pd.DataFrame", xy: npt.ArrayLike, regions: Sequence[Region] = ()) -> Mapping[str, Classes]:
    """Return the classes of spots, by where they are from: a column of the spots' file, or the regions.

    Parameters
    ----------
    obs : DataFrame, n rows
        Of the spots; `class_columns` says which of its columns hold classes.
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
    for column in class_columns(obs):
        classes = classes_of(obs, column)
        found[column] = {name: classes.codes == code for code, name in enumerate(classes.names)}
    return found
