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
        section, patient = about.section, about.patient
        known_patients = [name for name in about.trained_on_patients if name]
        if section in about.trained_on:
            said.append(
                f"The checkpoint was trained on a section named {section}: if it is this one, "
                "its scores say nothing about new sections."
            )
        elif section in about.validated_on:
            said.append(f"The checkpoint's epoch was chosen by its loss on {section}, so its scores are optimistic.")
        elif patient and patient in known_patients:
            said.append(
                f"{section} is of patient {patient}, of whom the checkpoint was trained on other sections: "
                "serial sections are nearly copies, so its scores are optimistic for new patients."
            )
        elif not patient or not known_patients:
            said.append(
                f"The patient of {section} or of the training sections is not known: if they are of one patient, "
                "the scores are optimistic."
            )
        if about.synthetic:
            said.append(f"{section}, or what the checkpoint was trained on, is synthetic: no score is of real tissue.")
        if prediction.bank is None:
            said.append(
                f"The checkpoint that predicted {section} is not where it was, so only the {len(prediction.genes)} "
                "genes that the prediction stores were scored; say where it is with --checkpoint."
            )
    return tuple(said)
