"""Where a training stands, on the disk: what is needed to go on as if it had never stopped.

One safetensors file holds the tensors, and in its header, as JSON, the rest. A single file is replaced in one
rename, so that weights, optimiser and counters always belong together. Random numbers need no storing: those
of an epoch follow from the seed, the epoch and the process alone.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, field, fields
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save

from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.common.files import write_content
from napari_cmrcnet.common.spreadsheet import csv_text
from napari_cmrcnet.model.cmrcnet import CMRCNet

Tensors = dict[str, torch.Tensor]


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

    ``best_epoch`` counts from 1 and is 0 while there is none; ``best_loss`` is its validation loss.
    """

    model: CMRCNet
    optimizer: torch.optim.Optimizer
    step: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")
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
        tensors = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        for i, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{i}/{name}": value for name, value in moments.items()}
        rest = {
            "step": self.step,
            "best_epoch": self.best_epoch,
            "best_loss": self.best_loss,
            "history": [asdict(epoch) for epoch in self.history],
        }
        save_tensors(path, tensors, {"training": json.dumps(rest)})

    def load(self, path: str | os.PathLike[str]) -> None:
        """Read everything back into a model and an optimiser made with the same settings.

        Raises
        ------
        UserError
            If the file is damaged or belongs to another model.
        """
        tensors, header = load_tensors(path)
        rest = json.loads(header["training"])
        moments: dict[int, Tensors] = {}
        weights: Tensors = {}
        for name, value in tensors.items():
            kind, _, key = name.partition("/")
            if kind == "model":
                weights[key] = value
            else:
                i, _, moment = key.partition("/")
                moments.setdefault(int(i), {})[moment] = value
        try:
            self.model.load_state_dict(weights)
        except RuntimeError as error:
            raise UserError(f"{path} belongs to another model; remove its folder to train again.") from error
        groups = self.optimizer.state_dict()["param_groups"]  # its settings follow from the configuration
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.step, self.best_epoch, self.best_loss = rest["step"], rest["best_epoch"], rest["best_loss"]
        self.history = [Epoch(**epoch) for epoch in rest["history"]]


def save_tensors(path: str | os.PathLike[str], tensors: Tensors, header: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors, whole or not at all."""
    # Clones, because safetensors refuses modules that share their weights.
    on_cpu = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    content = save(on_cpu, header)
    write_content(path, content)  # not save_file(), which makes a temporary of its own that a kill leaves


def load_tensors(path: str | os.PathLike[str]) -> tuple[Tensors, dict[str, str]]:
    """Read a safetensors file onto the CPU: its tensors and its header.

    Raises
    ------
    UserError
        If the file is damaged.
    """
    again = "remove its folder to train again"
    with readable(path, "is damaged", again), safe_open(Path(path), framework="pt") as file:
        # Copies, as tensors that stay mapped would keep the file from being replaced on Windows.
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  not a dict
        return tensors, file.metadata() or {}


def write_log(path: str | os.PathLike[str], history: Sequence[Epoch]) -> None:
    """Write the log as CSV, a row an epoch. It is small, so it is written again each epoch and is never torn."""
    rows = [[f"{value:.6g}" if isinstance(value, float) else value for value in astuple(epoch)] for epoch in history]
    write_content(path, csv_text([[column.name for column in fields(Epoch)], *rows]))
