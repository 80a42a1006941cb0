"""The sections that a value comes from: their colours, and a bar of their shares."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QLabel

from napari_cmrcnet.common.text import count_text

if TYPE_CHECKING:
    import pandas as pd

# Told apart by colour-blind eyes, and seen on light ground and dark (M. Okabe and K. Ito, 2008, without its yellow).
HUES = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#d55e00", "#0072b2")
OTHER = "#6e6e6e"


def section_colours(sections: Sequence[str]) -> dict[str, str]:
    """Give the first sections a colour each; the others share one."""
    return {name: HUES[place] if place < len(HUES) else OTHER for place, name in enumerate(sections)}


def show_shares(shown_in: QLabel, by_section: "pd.DataFrame", colours: Mapping[str, str]) -> None:
    """Show a bar of how much of a value comes from each section, with the numbers under it; its tip has them all.

    Parameters
    ----------
    shown_in : QLabel
        Of rich text.
    by_section : DataFrame
        As `Evidence.by_section` has it; of a value of 0, the numbers of spots are shown.
    colours : mapping of str to str
        Of the sections.
    """
    of_zero = bool(by_section["share"].isna().any())
    shares = by_section["spots"] / by_section["spots"].sum() if of_zero else by_section["share"]
    lines, parts = [], dict[str, float]()
    for name, patient, count, share in zip(
        map(str, by_section.index), by_section["patient"], by_section["spots"], shares, strict=True
    ):
        colour = colours.get(name, OTHER)
        parts[colour] = parts.get(colour, 0.0) + 100 * share
        lines.append(_line(name, patient, count, None if of_zero else share, colour))
    shown_in.setToolTip("<br>".join(lines))
    if len(lines) > len(HUES) + 1:
        lines[len(HUES) :] = [f"and {len(lines) - len(HUES)} more sections"]
    title = "The value is 0. Spots by section" if of_zero else "Contribution by section"
    cells = (f'<td width="{part:.1f}%" bgcolor="{colour}">&nbsp;</td>' for colour, part in parts.items())
    bar = f'<table width="100%" cellspacing="1" cellpadding="0"><tr>{"".join(cells)}</tr></table>'
    shown_in.setText(f"{title}{bar}{'<br>'.join(lines)}")


def _line(name: str, patient: str, count: int, share: float | None, colour: str) -> str:
    who = f" (patient {escape(patient)})" if patient else ""
    spots = count_text(count, "spot")
    numbers = spots if share is None else f"<b>{100 * share:.0f} %</b>, {spots}"
    return f'<span style="color:{colour}">■</span> {escape(name)}{who}: {numbers}'
