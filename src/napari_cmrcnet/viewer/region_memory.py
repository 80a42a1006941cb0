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

    def change(
        self,
        regions: "Regions",
        before: "Case | None",
        after: "Case | None",
        open_slides: tuple[str, str],
        remembered: "Regions" = (),
    ) -> "Regions":
        """Put the regions of one section away, and return those of another.

        Parameters
        ----------
        regions : tuple of Region
            Those that are shown.
        before, after : Case or None
            Of the section that they are of, and of the one that is to be shown; where there is none, the slide that is
            open is meant.
        open_slides : (str, str)
            Its path, before and after; ``""`` where none is open: regions that were drawn over none stay.
        remembered : tuple of Region
            What the file of the one to be shown has: they are returned where there are none from this session.
        """
        old, new = _key(before) or open_slides[0], _key(after) or open_slides[1]
        if not old or old == new or (before is not None and before.is_of_section(after)):
            return regions or remembered
        self._kept[old] = regions
        self.forget_changes()
        return self._kept.get(new, remembered)

    def give_up(self, case: "Case", regions: "Regions", saved: "Regions") -> bool:
        """Keep the saved regions of a case in place of these; say whether it was done: not where more was drawn."""
        if self._kept.get(_key(case)) != regions:
            return False
        self._kept[_key(case)] = saved
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


def _key(case: "Case | None") -> str:
    return "" if case is None else case.provenance.slide or case.name
