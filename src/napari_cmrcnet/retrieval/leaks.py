"""What makes predictions and scores better, or less real, than they look: it is said wherever they are shown."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cmrcnet.common.text import count_text

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.prediction import Prediction


def warnings_of(predictions: "Sequence[Prediction]") -> tuple[str, ...]:
    """Return a sentence for each thing that a reader of predictions or of their scores must know.

    What the list before the run had in amber (leaks among it), and a checkpoint that is gone. Where there are several
    predictions, each sentence begins with its section.
    """
    said = []
    for prediction in predictions:
        about = prediction.provenance
        own = list(about.warnings)
        if about.external:
            own.append(
                f"{about.section} was predicted by another tool ({Path(about.external).name}). Which patients and "
                "sections it was trained on is not known here."
            )
        elif prediction.bank is None:
            own.append(
                f"The checkpoint that predicted {about.section} was not found at {about.checkpoint}, so only the "
                f"{count_text(len(prediction.genes), 'gene')} that the prediction stores can be shown and scored."
            )
        said += [f"{about.section}: {text}" for text in own] if len(predictions) > 1 else own
    return tuple(said)


def leak(
    section: str,
    patient: str,
    trained_on: Sequence[str],
    patients: Sequence[str],
    validated_on: Sequence[str],
) -> tuple[str, str]:
    """Say what of a section the checkpoint may have seen in training, in a few words and in a sentence or two.

    Both are ``""`` where it has seen nothing of it.

    Parameters
    ----------
    section, patient : str
        What is predicted; an empty patient is unknown.
    trained_on, patients : sequence of str
        The checkpoint's training sections, and the patients of all sections that it has seen, ``""`` where one is
        unknown.
    validated_on : sequence of str
        Sections by whose loss its epoch was chosen.
    """
    if section in trained_on:
        return "trained on a section of this name", (
            f"The checkpoint was trained on a section named {section}. If it is this section, its scores say "
            "nothing about new sections."
        )
    if section in validated_on:
        return "validated on it in training", (
            f"The checkpoint was validated on {section} during its training, so the scores of this section are "
            "optimistic."
        )
    if patient and patient in patients:
        return "same patient as in training", (
            f"The checkpoint was trained on other sections of the patient of {section} ({patient}). Serial sections "
            f"are nearly copies, so the scores of {section} are too good for a new patient."
        )
    return "", ""


def unknown_patient(section: str, patient: str, patients: Sequence[str]) -> str:
    """Say whose patient's name is missing to exclude a leak, and where to give it; ``""`` where all are known.

    Parameters
    ----------
    section, patient, patients
        As of `leak`.
    """
    if not patient:
        return (
            f"The patient of {section} is not known: neither its spots file nor you have named one. "
            "If the checkpoint was trained on sections of this patient, the scores are optimistic. "
            "Enter the patient in the Predict panel under More settings > Patient, with --patient, or in the sheet."
        )
    if not patients or "" in patients:
        return (
            f"The patient of a training section is not known. If {section} is of the same patient, the scores are "
            "optimistic."
        )
    return ""
