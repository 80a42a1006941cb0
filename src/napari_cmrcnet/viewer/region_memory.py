"""Regions that are not shown now: of other sections, and of this one before its last changes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.sections.regions import Region

    Regions = tuple[Region, ...]


STEPS = 20


class RegionMemory:
    """Keeps regions by their slide, as drawn over one they mean nothing on another, and the last `STEPS` changes."""

    def __init__(self) -> None:
        self._kept: dict[str, Regions] = {}
        self.forget_changes()

    def change(self, regions: "Regions", old: str, new: str, remembered: "Regions" = ()) -> "Regions":
        """Put the regions of one place away, see `place_of`, and return those of another.

        Regions that were drawn over nothing stay. Those that are remembered are returned where there are none from
        this session.
        """
        if not old or old == new:
            return regions or remembered
        self._kept[old] = regions
        self.forget_changes()
        return self._kept.get(new, remembered)

    def give_up(self, case: "Case", regions: "Regions", saved: "Regions") -> bool:
        """Keep the saved regions of a case in place of these; say whether it was done: not where more was drawn."""
        if self._kept.get(place_of(case)) != regions:
            return False
        self._kept[place_of(case)] = saved
        return True

    def forget_changes(self) -> None:
        """Forget what was before the last changes, as where another section is shown."""
        self._past: list[Regions] = []
        self._future: list[Regions] = []

    def note(self, before: "Regions") -> None:
        """Remember what is about to be changed."""
        self._past = [*self._past, before][-STEPS:]
        self._future = []

    def step(self, now: "Regions", forth: bool) -> "Regions | None":
        """Return the state before the one that is shown, or the one after it; None where there is none."""
        here, there = (self._past, self._future) if forth else (self._future, self._past)
        if not there:
            return None
        here.append(now)
        return there.pop()


def place_of(case: "Case | None", open_slide: str = "") -> str:
    """Return what regions are drawn over: the slide of a case, or the one that is open where there is no case."""
    return open_slide if case is None else case.provenance.slide or case.name
