"""Regions of a section and classes of its spots, and predicted against measured expression in them."""

from collections.abc import Iterator, Sequence
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
    inside = np.zeros((len(regions), len(centres)), bool)
    for row, region in zip(inside, regions, strict=True):
        row[:] = region.contains(centres)
    return tuple(_groups(inside, regions, classes))


def _groups(inside: npt.NDArray[np.bool_], regions: Sequence[Region], of_spots: "Classes | None") -> Iterator[Group]:
    classes = [region.classification for region in regions]
    for region, spots in zip(regions, inside, strict=True):
        yield Group("region", region.name, region.classification, spots)
    for name in dict.fromkeys(filter(None, classes)):
        members = [each == name for each in classes]
        yield Group("class", name, name, np.any(inside[members], axis=0))
    for code, name in enumerate(of_spots.names if of_spots is not None else ()):
        assert of_spots is not None
        yield Group("of spots", name, of_spots.column, of_spots.codes == code)
    yield Group("all", "all spots", "", np.ones(inside.shape[1], bool))
    if regions:
        yield Group("outside", "outside all regions", "", ~np.any(inside, axis=0))


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
    for column in case.class_columns:
        classes = case.classes(column)
        found[column] = {name: classes.codes == code for code, name in enumerate(classes.names)}
    return found


def region_table(
    groups: Sequence[Group],
    predicted: npt.ArrayLike | None,
    measured: npt.ArrayLike | None,
    counted: npt.NDArray[np.bool_] | None = None,
    *,
    gene: bool = True,
) -> pd.DataFrame:
    """Score a gene, or the score of a panel, in each group.

    Parameters
    ----------
    groups : sequence of Group
        From `groups`.
    predicted, measured : (n,) or None
        One value per spot; None where it is not predicted, or was not measured.
    counted : bool (n,), optional
        The spots that count in correlations, see `Case.counted_spots`; all if not given. So are means.
    gene : bool
        Whether it is a gene, which must be found at enough spots of a group to have a correlation there.

    Returns
    -------
    DataFrame, one row per group
        ``kind``, ``region`` (its name) and ``class``, of the `Group`; ``spots``, and ``scored``, those that count;
        ``predicted`` and ``measured``, their means; ``pcc``, NaN where it is undefined; ``undefined``, why, or "";
        ``few``, whether there are too few spots for it to say much; ``note``, what is to be known of it.
    """
    guess, truth = (None if values is None else np.asarray(values, np.float64) for values in (predicted, measured))
    rows = []
    for group in groups:
        scored = group.spots if counted is None else group.spots & counted
        found = (values[scored] if values is not None else np.empty(0) for values in (guess, truth))
        means = [float(values.mean()) if values.size else float("nan") for values in found]
        pcc, why = one_pcc(truth, guess, scored, gene=gene)
        n, n_scored = int(group.spots.sum()), int(scored.sum())
        few = n_scored < FEW and why != NOT_PREDICTED
        said = [
            why or (f"fewer than {FEW} spots" if few else ""),
            f"{count_text(n - n_scored, 'spot', n)} not scored" if n_scored < n else "",
        ]
        names = group.kind, group.name, group.classification
        rows.append((*names, n, n_scored, *means, pcc, why, few, "; ".join(filter(None, said))))
    columns = ["kind", "region", "class", "spots", "scored", "predicted", "measured", "pcc", "undefined", "few", "note"]
    return pd.DataFrame(rows, columns=columns)


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
