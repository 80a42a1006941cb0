"""What is above a threshold of the shown gene: counts, area, regions and agreement. Free of Qt."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.evaluation.localise import agreement, high, otsu
from napari_cmrcnet.evaluation.region_scores import annotations
from napari_cmrcnet.evaluation.shown import Kind, Shown
from napari_cmrcnet.retrieval.trust import TRUSTS
from napari_cmrcnet.sections.pixel_size import spots_lattice
from napari_cmrcnet.sections.regions import Region
from napari_cmrcnet.sections.spot_area import area_mm2, outline_of

if TYPE_CHECKING:
    from napari_cmrcnet.viewer.session import Session

MEASURED = "measured, above its threshold"
"""What a prediction is compared with where the same gene or panel was measured."""

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Above:
    """The spots whose value is above a threshold.

    Parameters
    ----------
    shown : Shown
        What is shown.
    kind : "predicted" or "measured"
        Which of its values.
    threshold : float
        In their unit.
    """

    shown: "Shown"
    kind: Kind
    threshold: float

    @property
    def values(self) -> npt.NDArray[np.float32]:
        """The values, float32 (n,)."""
        return self.shown.values(self.kind)

    @property
    def spots(self) -> Bools:
        """Which spots are above it, bool (n,)."""
        above: Bools = self.values > self.threshold
        return above

    def in_words(self, session: "Session") -> str:
        """Return how many spots are above it, and their area."""
        n, total = int(self.spots.sum()), len(self.values)
        said = f"{count_text(n, 'spot', total)} ({100 * n / max(total, 1):.0f} %) are above {self.threshold:z.3f}"
        case = session.case
        if case is None or not case.provenance.mpp or total < 2:
            return f"{said}.{self.caution}"
        area = area_mm2(n, case.xy, spots_lattice(case.spots).pitch, case.provenance.mpp)
        return f"{said}: {area:.2f} mm².{self.caution}"

    @property
    def caution(self) -> str:
        """Why the spots above it say little, after a line end; "" where nothing is known against them."""
        if self.kind == "measured":
            return ""
        if self.shown.trust.word == TRUSTS[-1]:
            return f"\n▲ {self.shown.trust.said}"
        return "\n▲ The prediction hardly varies: a threshold divides spots that are alike." if self.shown.flat else ""

    def make_regions(self, session: "Session") -> int:
        """Add the outline of the spots above it to the regions, in place of an earlier one; return its pieces.

        Raises
        ------
        UserError
            If no spot is above it.
        """
        case = session.case
        if case is None or not self.spots.any():
            raise UserError(f"No spot is above {self.threshold:z.3f}; choose a lower threshold.")
        classification = high(self.shown.name, self.kind)
        pitch = np.nan_to_num(spots_lattice(case.spots).pitch, nan=2 * case.spot_diameter)  # of a single spot
        outline = outline_of(case.xy, self.spots, float(pitch))
        region = Region(f"{self.shown.name} > {self.threshold:z.3f}", classification, outline)
        session.set_regions([*(one for one in session.regions if one.classification != classification), region])
        return len(getattr(outline, "geoms", (outline,)))

    def compared(self, session: "Session", source: str, classes: Sequence[str]) -> str:
        """Return how the spots above it agree with some classes of a source, "" where none is chosen.

        Parameters
        ----------
        session : Session
            Whose spots and regions they are.
        source : str
            Of `sources`.
        classes : sequence of str
            Of its classes, taken together.
        """
        of = spots_of(session, self.kind, source, classes)
        if of is None:
            return ""
        found = agreement(self.values, self.threshold, of, self.shown.counted)
        return (
            found.in_words("are above Otsu's threshold of the measured values")
            if source == MEASURED
            else found.in_words()
        )


def spots_of(session: "Session", kind: Kind, source: str, classes: Sequence[str]) -> Bools | None:
    """Return the spots of some classes of a source of `sources`, bool (n,); None where there is none."""
    known = sources(session, kind).get(source, {})
    chosen = [known[name] for name in classes if name in known]
    return np.any(chosen, axis=0) if chosen else None


def sources(session: "Session", kind: Kind) -> "dict[str, dict[str, Bools]]":
    """Return what predicted or measured values can be compared with: see `annotations`.

    Predicted values are first compared with the measured ones of the same gene.
    """
    case, shown, found = session.case, session.shown, {}
    if case is None or shown is None:
        return {}
    if shown.measured is not None and kind == "predicted":
        with suppress(UserError):  # the same everywhere
            found[MEASURED] = {shown.name: shown.measured > otsu(shown.reliable("measured"))}
    return {**found, **annotations(case, session.regions)}
