"""The training log: a CSV with a row an epoch, and a plot of the losses."""

import csv
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
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


def plot_losses(path: str | os.PathLike[str], history: Sequence[Epoch]) -> None:
    """Draw the losses over the epochs, and the validation PCC under them where there is one."""
    # Imported here: a training must be able to start without waiting for matplotlib.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    validated = any(epoch.validation_pcc is not None for epoch in history)
    figure = Figure(figsize=(6, 6 if validated else 3.6), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(2 if validated else 1, 1, sharex=True, squeeze=False)[:, 0]
    for name in ("loss", "contrastive", "reconstruction", "validation_loss"):
        _draw(panels[0], history, name)
    panels[0].set_ylabel("loss")
    panels[0].set_yscale("log")  # the losses are of very different size
    panels[0].legend(frameon=False)
    if validated:
        _draw(panels[1], history, "validation_pcc")
        panels[1].set_ylabel("PCC on validation spots")
    panels[-1].set_xlabel("epoch")
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
    with atomic_file(Path(path)) as temporary:
        canvas.print_figure(temporary, format="png", dpi=120)


def _draw(panel: Any, history: Sequence[Epoch], name: str) -> None:
    points = [(epoch.epoch, getattr(epoch, name)) for epoch in history if getattr(epoch, name) is not None]
    if points:
        epochs, values = zip(*points, strict=True)
        panel.plot(epochs, values, label=name.replace("_", " "), marker="." if len(points) < 3 else None)
