"""What is known of spots from elsewhere: classes in the spots' file, and regions."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.evaluation.region_scores import groups
from napari_cmrcnet.sections.regions import Region

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.case import Case

Classes = dict[str, npt.NDArray[np.bool_]]

REGIONS = "regions"


def annotations(case: "Case", regions: Sequence[Region]) -> Mapping[str, Classes]:
    """Return the classes of a case's spots, by where they are from: a column of the spots' file, or its regions.

    Returns
    -------
    mapping of str to dict of str to bool (n,)
        Which spots are of each class. Spots without a value are of none.
    """
    found: dict[str, Classes] = {}
    of_regions = groups(case.xy, regions)
    inside = {group.name: group.spots for kind in ("class", "region") for group in of_regions if group.kind == kind}
    if inside:
        found[REGIONS] = inside
    for column in case.class_columns:
        classes = case.classes(column)
        found[column] = {name: classes.codes == code for code, name in enumerate(classes.names)}
    return found
