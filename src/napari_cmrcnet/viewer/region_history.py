"""The regions as they were before the last changes, to go back to and forth."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_cmrcnet.sections.regions import Region

    Regions = tuple[Region, ...]

STEPS = 20


class RegionHistory:
    """Remembers the last `STEPS` states of the regions of one section."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all, as where another section is shown."""
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
