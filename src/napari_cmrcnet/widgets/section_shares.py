"""The sections that a value comes from: their colours, and a bar of their shares."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_cmrcnet.widgets.parts import label, stack

if TYPE_CHECKING:
    import pandas as pd

# Told apart by colour-blind eyes, and seen on light ground and dark (M. Okabe and K. Ito, 2008, without its yellow).
HUES = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#d55e00", "#0072b2")
OTHER = "#6e6e6e"


def section_colours(sections: Sequence[str]) -> dict[str, str]:
    """Give the first sections a colour each; the others share one."""
    return {name: HUES[place] if place < len(HUES) else OTHER for place, name in enumerate(sections)}


class SharesWidget(QWidget):
    """A bar of how much of a value comes from each section, with the numbers under it."""

    def __init__(self) -> None:
        super().__init__()
        self.title, self.bar, self.legend = label(), label(rich=True), label(rich=True)
        stack(self, self.title, self.bar, self.legend).setSpacing(3)

    def show_sections(self, by_section: "pd.DataFrame", colours: Mapping[str, str]) -> None:
        """Show the shares of sections, as `Evidence.by_section` has them; of a value of 0, their numbers of spots."""
        names = [str(name) for name in by_section.index]
        of_zero = bool(by_section["share"].isna().any())
        spots = by_section["spots"] / by_section["spots"].sum()
        shares = (spots if of_zero else by_section["share"]).tolist()
        self.title.setText("The value is 0. Spots by section" if of_zero else "Contribution by section")
        lines = [
            _line(name, patient, count, None if of_zero else share, colours.get(name, OTHER))
            for name, patient, count, share in zip(
                names, by_section["patient"], by_section["spots"], shares, strict=True
            )
        ]
        every = "<br>".join(lines)
        if len(lines) > len(HUES) + 1:
            lines[len(HUES) :] = [f"and {len(lines) - len(HUES)} more sections"]
        self.legend.setText("<br>".join(lines))
        for widget in (self.legend, self.bar):
            widget.setToolTip(every)
        parts = dict.fromkeys((colours.get(name, OTHER) for name in names), 0.0)
        for name, share in zip(names, shares, strict=True):
            parts[colours.get(name, OTHER)] += 100 * share
        cells = (f'<td width="{part:.1f}%" bgcolor="{colour}">&nbsp;</td>' for colour, part in parts.items())
        self.bar.setText(f'<table width="100%" cellspacing="1" cellpadding="0"><tr>{"".join(cells)}</tr></table>')


def _line(name: str, patient: str, count: int, share: float | None, colour: str) -> str:
    who = f" (patient {escape(patient)})" if patient else ""
    spots = f"{count} spot{'s' if count != 1 else ''}"
    numbers = spots if share is None else f"<b>{100 * share:.0f} %</b>, {spots}"
    return f'<span style="color:{colour}">■</span> {escape(name)}{who}: {numbers}'
