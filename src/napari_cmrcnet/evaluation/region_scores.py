"""Predicted against measured expression in regions of a section, and in the classes that they form."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.common.spreadsheet import csv_text, safe_text
from napari_cmrcnet.sections.regions import Region
from napari_cmrcnet.sections.score_filter import NOT_PREDICTED, one_pcc

if TYPE_CHECKING:
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


@dataclass(frozen=True)
class RegionScore:
    """A row of the table.

    Parameters
    ----------
    kind, name, classification : str
        Of its `Group`.
    n : int
        Spots.
    scored : int
        Those of them that count in the correlation: they have enough counts, see `Case.counted_spots`.
    predicted, measured : float
        Means; NaN without spots, and where there are no values.
    pcc : float
        Pearson correlation over the spots that count, NaN where it is undefined.
    undefined : str
        Why it is undefined, ``""`` where it is not.
    """

    kind: Kind
    name: str
    classification: str
    n: int
    scored: int
    predicted: float
    measured: float
    pcc: float
    undefined: str

    @property
    def few(self) -> bool:
        """Whether there are too few spots for the correlation to say much."""
        return self.scored < FEW and self.undefined != NOT_PREDICTED

    @property
    def note(self) -> str:
        """Why there is no correlation, or what is to be known of it."""
        said = [self.undefined or (f"fewer than {FEW} spots" if self.few else "")]
        said += [f"{self.n - self.scored} of {self.n} spots not scored"] if self.scored < self.n else []
        return "; ".join(filter(None, said))


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


def region_table(
    groups: Sequence[Group],
    predicted: npt.ArrayLike | None,
    measured: npt.ArrayLike | None,
    counted: npt.NDArray[np.bool_] | None = None,
    *,
    gene: bool = True,
) -> tuple[RegionScore, ...]:
    """Score a gene, or the score of a panel, in each group.

    Parameters
    ----------
    groups : sequence of Group
        From `groups`.
    predicted, measured : (n,) or None
        A value a spot; None where it is not predicted, or was not measured.
    counted : bool (n,), optional
        The spots that count in correlations, see `Case.counted_spots`; all if not given. So are means.
    gene : bool
        Whether it is a gene, which must be found at enough spots of a group to have a correlation there.
    """
    guess, truth = (None if values is None else np.asarray(values, np.float64) for values in (predicted, measured))
    rows = []
    for group in groups:
        scored = group.spots if counted is None else group.spots & counted
        found = (values[scored] if values is not None else np.empty(0) for values in (guess, truth))
        means = [float(values.mean()) if values.size else float("nan") for values in found]
        pcc, why = one_pcc(truth, guess, scored, gene=gene)
        sizes = int(group.spots.sum()), int(scored.sum())
        rows.append(RegionScore(group.kind, group.name, group.classification, *sizes, means[0], means[1], pcc, why))
    return tuple(rows)


def table_text(scores: Sequence[RegionScore], section: str, gene: str, delimiter: str = ",") -> str:
    """Return the table as text for a spreadsheet, in which no name runs as a formula.

    Parameters
    ----------
    scores : sequence of RegionScore
        The rows.
    section, gene : str
        What they are of; a panel's name for its score.
    delimiter : str
        Between the cells: a comma for a file, a tab for the clipboard.
    """
    columns = ("section", "gene", "kind", "region", "class", "spots", "mean predicted", "mean measured", "PCC", "note")
    rows: list[tuple[object, ...]] = [columns]
    for score in scores:
        names = map(safe_text, (section, gene, score.kind, score.name, score.classification))
        rows.append((*names, score.n, *map(_short, (score.predicted, score.measured, score.pcc)), score.note))
    return csv_text(rows, delimiter)


def _short(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6g}"
