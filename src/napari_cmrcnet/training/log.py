"""The training log: a CSV with a row an epoch."""

import csv
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from napari_cmrcnet.common.files import atomic_file


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
    with atomic_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, [column.name for column in fields(Epoch)], lineterminator="\n")
        table.writeheader()
        table.writerows(_rounded(asdict(epoch)) for epoch in history)


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()}
