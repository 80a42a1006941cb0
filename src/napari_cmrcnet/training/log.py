"""The training log: a CSV with a row an epoch."""

import os
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields

from napari_cmrcnet.common.files import write_content
from napari_cmrcnet.common.spreadsheet import csv_text


@dataclass(frozen=True)
class Epoch:
    """Figures of one epoch; means over its batches. None: not computed.

    ``step`` counts optimiser steps since the start; ``learning_rate`` is that of the last of them;
    ``validation_pcc`` is the mean over the model's genes of the PCC of retrieved with measured expression.
    """

    epoch: int
    step: int
    loss: float
    contrastive: float
    reconstruction: float | None
    validation_loss: float | None
    validation_pcc: float | None
    learning_rate: float
    patches_per_s: float
    seconds: float

    def values(self) -> dict[str, float]:
        """Return the figures worth showing beside a progress bar."""
        shown = ("loss", "contrastive", "reconstruction", "validation_loss", "validation_pcc", "patches_per_s")
        return {name: value for name, value in asdict(self).items() if name in shown and value is not None}


def write_log(path: str | os.PathLike[str], history: Sequence[Epoch]) -> None:
    """Write the whole log as CSV. It is small, so it is written again each epoch and is never torn."""
    rows = [[f"{value:.6g}" if isinstance(value, float) else value for value in astuple(epoch)] for epoch in history]
    write_content(path, csv_text([[column.name for column in fields(Epoch)], *rows]))
