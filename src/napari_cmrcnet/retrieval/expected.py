"""Expected accuracy: how well each gene was predicted where training sections were left out, known for every slide."""

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Float32 = NDArray[np.float32]
Over = Literal["", "sections", "patients"]
"""What was left out in turn; nothing where a checkpoint knows no expected accuracy."""

GOOD, WEAK = 0.3, 0.1
"""Expected PCC from which a gene is expected to be predicted well, and below which it is not to be used, see `trust`.

Measured on four sections of one tumour, each predicted by a model of the three others: docs/expected.md says how genes
on either side of these limits came out.
"""

COLUMNS = ("expected_pcc", "expected_partial_pcc")
"""In ``var`` of a bank and of a prediction: the expected PCC of a gene, and what is left of it given depth."""


def with_expected(var: "pd.DataFrame", expected: Float32 | None) -> "pd.DataFrame":
    """Return a table of genes with their expected accuracy, float32 (genes, 2), where it is known."""
    return var if expected is None else var.assign(**dict(zip(COLUMNS, expected.T, strict=True)))


def over_in_words(over: Over, sections: int, patients: int) -> str:
    """Say over what expected accuracy was measured.

    Parameters
    ----------
    over : {"", "sections", "patients"}
        What was left out in turn.
    sections, patients : int
        How many sections the checkpoint was trained on, and how many patients they are of.
    """
    match over:
        case "patients":
            return f"{patients} training patients, each left out in turn"
        case "sections":
            return f"{sections} training sections, each left out in turn; not over patients"
        case _:
            return "not known: only frozen models of two sections or more measure it in training"
