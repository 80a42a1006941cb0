"""Tables as CSV, and text that a spreadsheet shows and does not run."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cmrcnet.common.files import write_content

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def safe_text(text: str) -> str:
    """Return a text with a leading ``'`` if a spreadsheet would take it for a formula.

    That is one that starts with ``=``, ``+``, ``-`` or ``@``, their full-width forms, a tab or the end of a line. For
    text only: numbers, negative ones too, are written as they are.
    """
    return f"'{text}" if text.startswith(_FORMULA) else text


def write_frame(path: str | os.PathLike[str], table: "pd.DataFrame", digits: str = "%.6g") -> Path:
    """Write a data frame as `frame_text` has it.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    return write_content(path, frame_text(table, digits=digits))


def frame_text(table: "pd.DataFrame", delimiter: str = ",", digits: str = "%.6g") -> str:
    """Return a data frame as CSV, numbers with six digits unless others are given, in which no text runs as a formula.

    ``digits`` is the format of a number, as ``%`` takes it.
    """
    safe = table.copy()
    for column in safe.select_dtypes(exclude="number"):
        safe[column] = [safe_text(cell) if isinstance(cell, str) else cell for cell in safe[column]]
    return safe.to_csv(sep=delimiter, index=False, float_format=digits, lineterminator="\n")
