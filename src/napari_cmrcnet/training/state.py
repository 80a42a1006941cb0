"""Where a training stands, on the disk: what is needed to go on as if it had never stopped.

A single file is replaced in one rename, so that weights, optimiser and counters always belong together. It holds
tensors, numbers and texts alone, and reading it runs nothing. Random numbers need no storing: those of an epoch follow
from the seed, the epoch and the process alone.
"""

import io
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import pandas as pd
import torch

from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.common.files import write_content
from napari_cmrcnet.common.spreadsheet import write_frame
from napari_cmrcnet.model.cmrcnet import CMRCNet

COUNTED = ("step", "best_epoch", "best_loss", "best")  # of a state


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


@dataclass
class State:
    """A training between two epochs.

    ``best_epoch`` counts from 1 and is 0 while there is none; ``best_loss`` is its validation loss, and ``best`` are
    its weights that prediction needs.
    """

    model: CMRCNet
    optimizer: torch.optim.Optimizer
    step: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    history: list[Epoch] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """Epochs done."""
        return len(self.history)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything, whole or not at all.

        Raises
        ------
        UserError
            If the disk is full.
        """
        history = [asdict(epoch) for epoch in self.history]
        written = {name: getattr(self, name) for name in COUNTED} | {"history": history}
        content = io.BytesIO()
        torch.save({"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), **written}, content)
        write_content(path, content.getbuffer())

    def load(self, path: str | os.PathLike[str]) -> None:
        """Read everything back into a model and an optimiser made with the same settings.

        Raises
        ------
        UserError
            If the file is damaged or belongs to another model.
        """
        with readable(path, "is damaged", "remove its folder to train again"):
            saved = torch.load(path, map_location="cpu", weights_only=True)
            try:
                self.model.load_state_dict(saved["model"])
            except RuntimeError as error:
                raise UserError(f"{path} belongs to another model; remove its folder to train again.") from error
            self.optimizer.load_state_dict(saved["optimizer"])
            for name in COUNTED:
                setattr(self, name, saved[name])
            self.history = [Epoch(**epoch) for epoch in saved["history"]]


def write_log(path: str | os.PathLike[str], history: Sequence[Epoch]) -> None:
    """Write the log as CSV, one row per epoch. It is small, so it is written again each epoch and is never torn."""
    write_frame(path, pd.DataFrame(history))
