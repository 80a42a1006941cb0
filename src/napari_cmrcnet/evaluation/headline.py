"""What stands over a gene's maps, in the window, figures and reports: its score, or why it has none."""

from typing import TYPE_CHECKING

from napari_cmrcnet.retrieval.leaks import leak
from napari_cmrcnet.retrieval.likeness import LIKE

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.case import Case

HARDLY_VARIES = "prediction hardly varies"
RESEARCH_USE = "For research use only: a prediction is not a measurement and not a diagnosis."
PREDICTED_ONLY, MEASURED_ONLY = "predicted only", "measured only"
COVERS = "the spots of the sections scored, not another section or patient"
"""What an interval covers."""


def headline(name: str, score: str) -> str:
    """Return the name of a gene or panel, as it is to be written, and its score; no line ends between them."""
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
