"""What stands over a gene's maps, in the window, figures and reports: its score, or why it has none."""

from typing import TYPE_CHECKING

import numpy as np

from napari_cmrcnet.retrieval.leaks import leak
from napari_cmrcnet.retrieval.likeness import LIKE

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.case import Case

HARDLY_VARIES = "prediction hardly varies"
PREDICTED_ONLY, MEASURED_ONLY = "predicted only", "measured only"
COVERS = "the spots of the sections scored, not another section or patient"
"""What an interval covers."""


def headline(name: str, score: str) -> str:
    """Return the name of a gene or panel, as it is to be written, and its `score_line`; no line ends between them."""
    return f"{name}{',' if score.startswith((PREDICTED_ONLY, MEASURED_ONLY)) else ' '} {score}"


def in_lines(title: str, most: int = 60) -> str:
    """Return a title in lines of so many characters at most, broken only where it has its wide spaces."""
    lines: list[str] = []
    for part in title.split("   "):
        longer = f"{lines[-1]}   {part}" if lines else part
        if lines and len(longer) <= most:
            lines[-1] = longer
        else:
            lines.append(part)
    return "\n".join(lines)


def section_words(section: str, patient: str = "", synthetic: bool = False, like: str = "") -> str:
    """Return which section a figure is of.

    Its name, the patient where known, whether it is synthetic tissue, and whether it was seen in training or how like
    the training tissue it is.
    """
    return ", ".join(filter(None, [section, f"patient {patient}" if patient else "", "synthetic" * synthetic, like]))


def section_of(case: "Case") -> str:
    """Return the `section_words` of a case."""
    about = case.provenance
    seen, _ = leak(about.section, about.patient, about.trained_on, about.trained_on_patients, about.validated_on)
    like = about.likeness.verdict if about.likeness else ""
    like = "" if seen and like == LIKE else like  # of course it is, and it would be taken for praise
    said = filter(None, [f"{seen}: too optimistic" if seen else "", like])
    return section_words(about.section, about.patient, about.synthetic, ", ".join(said))


def score_line(
    measured: bool,
    pcc: float,
    low: float = np.nan,
    high: float = np.nan,
    *,
    undefined: str = "",
    flat: bool = False,
    trust: str = "",
    predicted: bool = True,
) -> str:
    """Return how well a gene or panel is predicted over a section's spots, in one line.

    Parameters
    ----------
    measured : bool
        Whether it was measured; it has no score if not.
    pcc : float
        NaN where it is undefined.
    low, high : float
        Its 95 % interval, NaN where it is not known.
    undefined : str
        Why it is undefined, if that is known.
    flat : bool
        Whether the prediction hardly varies, after `colour_limits.hardly_varies`.
    trust : str
        How far it can be trusted, see `trust_of`; "" where that is not known.
    predicted : bool
        Whether it was predicted; it has no score if not.
    """
    if not predicted:
        return MEASURED_ONLY
    if not measured:
        said = PREDICTED_ONLY
    elif np.isnan(pcc):
        said = f"PCC undefined ({undefined})" if undefined else "PCC undefined"
    else:
        said = f"PCC {pcc:z.2f}" + ("" if np.isnan(low) else f" (95 % {low:z.2f} to {high:z.2f})")
    said = " · ".join(filter(None, [said, trust]))
    return f"{said}   {HARDLY_VARIES}" if flat else said


def score_tip(pcc: float, spearman: float, partial: float, counted: int, total: int, interval: bool) -> str:
    """Return what a line with a PCC leaves out, in a few sentences.

    Parameters
    ----------
    pcc, spearman, partial : float
        Pearson's and Spearman's correlation, and the partial one given depth, NaN where it is not known.
    counted, total : int
        Spots that count in them, and spots of the section.
    interval : bool
        Whether the line has an interval.
    """
    lines = [f"Pearson correlation (PCC) of predicted and measured: {pcc:z.2f}."]
    if not np.isnan(spearman):
        lines.append(f"Spearman's: {spearman:z.2f}.")
    if not np.isnan(partial):
        lines.append(f"Partial PCC, with the effect of sequencing depth removed: {partial:z.2f}.")
    if counted < total:
        left_out = total - counted
        lines.append(
            f"{left_out:,} of {total:,} spots {'has' if left_out == 1 else 'have'} too few counts and "
            f"{'is' if left_out == 1 else 'are'} left out of scores, not of maps."
        )
    if interval:
        lines.append(f"The interval covers {COVERS}.")
    return "\n".join(lines)
