"""Regions of the sections that are not shown now, until theirs is shown again."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.sections.regions import Region


class KeptRegions:
    """Keeps regions by their slide: drawn over one, they mean nothing on another."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Region, ...]] = {}

    def change(
        self,
        regions: "tuple[Region, ...]",
        before: "Case | None",
        after: "Case | None",
        open_slide: str,
        remembered: "tuple[Region, ...]" = (),
    ) -> "tuple[Region, ...]":
        """Put the regions of one section away, and return those of another.

        Parameters
        ----------
        regions : tuple of Region
            Those that are shown.
        before, after : Case or None
            Of the section that they are of, and of the one that is to be shown; where there is none, the slide that is
            open is meant.
        open_slide : str
            Its path, ``""`` where none is open: regions that were drawn over none stay.
        remembered : tuple of Region
            What the file of the one to be shown has: they are returned where there are none from this session.
        """
        old, new = _key(before) or open_slide, _key(after) or open_slide
        if before is after or not old or old == new or (before is not None and before.is_of_section(after)):
            return regions or remembered
        self._kept[old] = regions
        return self._kept.get(new, remembered)

    def give_up(self, case: "Case", regions: "tuple[Region, ...]", saved: "tuple[Region, ...]") -> bool:
        """Keep the saved regions of a case in place of these; say whether it was done: not where more was drawn."""
        if self._kept.get(_key(case)) != regions:
            return False
        self._kept[_key(case)] = saved
        return True


def _key(case: "Case | None") -> str:
    return "" if case is None else case.provenance.slide or case.name
