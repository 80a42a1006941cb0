"""Regions of a section and classes of its spots, and predicted against measured expression in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_cmrcnet.common.spreadsheet import frame_text
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.sections.regions import Region
from napari_cmrcnet.sections.score_filter import NOT_PREDICTED, one_pcc

if TYPE_CHECKING:
    from napari_cmrcnet.evaluation.shown import Shown
    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.sections.classes import Classes

FEW = 30
"""Spots below which a correlation says little."""

Kind = Literal["region", "class", "of spots", "all", "outside"]


@dataclass(frozen=True, eq=False)
class Group:
    """Spots that are looked at together.

    Parameters
    ----------
    kind : "region", "class", "of spots", "all" or "outside"
        One region; the union of a class's regions; a class that the spots themselves have; all spots; those outside
        all regions.
    name, classification : str
        Of the region; of the class both are its name; of a class of spots its name and the column of ``obs``.
    spots : bool (n,)
        Which of the section's spots belong to it.
    """

    kind: Kind
    name: str
    classification: str
    spots: npt.NDArray[np.bool_]


def groups(xy: npt.ArrayLike, regions: Sequence[Region], classes: "Classes | None" = None) -> tuple[Group, ...]:
    """Return the regions, their classes, the classes of the spots, all spots, and those outside all regions.

    It depends on neither gene nor prediction: keep it until a region or the spots change.

    Parameters
    ----------
    xy : (n, 2)
        Spot centres (x, y) in full-resolution pixels.
    regions : sequence of Region
        A spot in two regions of a class counts once in the class.
    classes : Classes, optional
        Of the spots themselves, such as clusters.
    """
    centres = np.asarray(xy, np.float64).reshape(-1, 2)
    inside = np.array([region.contains(centres) for region in regions], bool).reshape(len(regions), len(centres))
    found = [Group("region", one.name, one.classification, spots) for one, spots in zip(regions, inside, strict=True)]
    for name in dict.fromkeys(one.classification for one in regions if one.classification):
        members = [one.classification == name for one in regions]
        found.append(Group("class", name, name, np.any(inside[members], axis=0)))
    if classes is not None:
        codes = classes.codes
        found += [Group("of spots", name, classes.column, codes == code) for code, name in enumerate(classes.names)]
    found.append(Group("all", "all spots", "", np.ones(len(centres), bool)))
    if regions:
        found.append(Group("outside", "outside all regions", "", ~np.any(inside, axis=0)))
    return tuple(found)


def annotations(case: "Case", regions: Sequence[Region]) -> dict[str, dict[str, npt.NDArray[np.bool_]]]:
    """Return the classes of a case's spots, by where they are from: a column of the spots' file, or its regions.

    Returns
    -------
    dict of str to dict of str to bool (n,)
        Which spots are of each class. Spots without a value are of none.
    """
    known = groups(case.xy, regions)
    inside = {group.name: group.spots for kind in ("class", "region") for group in known if group.kind == kind}
    found = {"regions": inside} if inside else {}
    for column, classes in case.classes.items():
        found[column] = {name: classes.codes == code for code, name in enumerate(classes.names)}
    return found


def region_table(groups: Sequence[Group], shown: "Shown | None") -> pd.DataFrame:
    """Score a gene, or the score of a panel, in each group.

    Parameters
    ----------
    groups : sequence of Group
        From `groups`.
    shown : Shown or None
        What is scored, over the spots that count; a gene must be found at enough spots of a group to have a
        correlation there. Without it, the table has no row.

    Returns
    -------
    DataFrame, one row per group
        ``kind``, ``region`` (its name) and ``class``, of the `Group`; ``spots``, and ``scored``, those that count;
        ``predicted`` and ``measured``, their means; ``pcc``, NaN where it is undefined; ``undefined``, why, or "";
        ``few``, whether there are too few spots for it to say much; ``note``, what is to be known of it.
    """
    columns = ["kind", "region", "class", "spots", "scored", "predicted", "measured", "pcc", "undefined", "few", "note"]
    return pd.DataFrame([] if shown is None else [_row(group, shown) for group in groups], columns=columns)


def _row(group: Group, shown: "Shown") -> tuple[object, ...]:
    scored = group.spots if shown.counted is None else group.spots & shown.counted
    here = {kind: np.asarray(values[scored], np.float64) for kind, values in shown.maps.items()}
    means = [here[kind].mean() if kind in here and scored.any() else np.nan for kind in ("predicted", "measured")]
    pcc, why = one_pcc(shown.measured, shown.predicted, scored, gene=shown.kind == "gene")
    n, n_scored = int(group.spots.sum()), int(scored.sum())
    few = n_scored < FEW and why != NOT_PREDICTED
    said = [
        why or (f"fewer than {FEW} spots" if few else ""),
        f"{count_text(n - n_scored, 'spot', n)} not scored" if n_scored < n else "",
    ]
    names = group.kind, group.name, group.classification
    return (*names, n, n_scored, *means, pcc, why, few, "; ".join(filter(None, said)))


def table_text(scores: pd.DataFrame, section: str, gene: str, delimiter: str = ",") -> str:
    """Return a `region_table` as text for a spreadsheet, in which no name runs as a formula.

    Parameters
    ----------
    scores : DataFrame
        The table.
    section, gene : str
        What it is of; a panel's name for its score.
    delimiter : str
        Between the cells: a comma for a file, a tab for the clipboard.
    """
    titles = {"predicted": "mean predicted", "measured": "mean measured", "pcc": "PCC"}
    table = scores[["kind", "region", "class", "spots", *titles, "note"]].rename(columns=titles)
    table.insert(0, "section", section)
    table.insert(1, "gene", gene)
    return frame_text(table, delimiter)
