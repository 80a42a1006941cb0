"""What makes scores better, or less real, than they look: it is said wherever they are shown."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.prediction import Prediction


def warnings_of(predictions: "Sequence[Prediction]") -> tuple[str, ...]:
    """Return a sentence for each thing a reader of the scores must know.

    A section that the checkpoint was trained on, or another section of a training patient (serial sections of
    one block among them), synthetic sections or checkpoints, and a checkpoint that is gone.
    """
    said = []
    for prediction in predictions:
        about = prediction.provenance
        leaked = leak(about.section, about.patient, about.trained_on, about.trained_on_patients, about.validated_on)
        said += [leaked] if leaked else []
        if about.synthetic:
            said.append(
                f"{about.section}, or what the checkpoint was trained on, is synthetic: no score is of real tissue."
            )
        if prediction.bank is None:
            said.append(
                f"The checkpoint that predicted {about.section} was not found, so only the "
                f"{len(prediction.genes)} genes that the prediction stores were scored: with it, all would be."
            )
    return tuple(said)


def leak(
    section: str,
    patient: str,
    trained_on: Sequence[str],
    patients: Sequence[str],
    validated_on: Sequence[str],
) -> str:
    """Say what of a section the checkpoint may have seen in training, ``""`` where nothing speaks for it.

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
        return (
            f"The checkpoint was trained on a section named {section}: if it is this one, "
            "its scores say nothing about new sections."
        )
    if section in validated_on:
        return f"The checkpoint's epoch was chosen by its loss on {section}, so its scores are optimistic."
    if patient and patient in patients:
        return (
            f"{section} is of patient {patient}, of whom the checkpoint has seen other sections: "
            "serial sections are nearly copies, so its scores are optimistic for new patients."
        )
    if not patient or not patients or "" in patients:
        return (
            f"The patient of {section} or of a training section is not known: if they are of one patient, "
            "the scores are optimistic."
        )
    return ""
