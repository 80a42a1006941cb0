"""How to predict."""

from dataclasses import dataclass
from typing import Literal

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.sections.panels import Panel


@dataclass(frozen=True)
class PredictConfig:
    """How to predict. By default as the checkpoint was trained, on the best available device.

    Parameters
    ----------
    k : int, optional
        Neighbours behind a value; the checkpoint's own if not given. The paper uses 50, and 250 to 500 for larger gene
        sets.
    device : str
        "auto", "cpu", "cuda", "cuda:1" or "mps", see `choose_device`.
    precision : {"auto", "fp32", "bf16"}
        Precision of the image encoder; auto is bf16 on a GPU that supports it, else fp32.
    batch_size : int
        Patches encoded at a time; halved when the device's memory is not enough.
    panel : Panel, optional
        Marker genes to show first; the checkpoint's if not given.

    Raises
    ------
    UserError
        If a number is below 1. `predict` checks the device, and that the bank has k spots, before any work.
    """

    k: int | None = None
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    batch_size: int = 64
    panel: Panel | None = None

    def __post_init__(self) -> None:
        if self.k is not None and self.k < 1:
            raise UserError(f"k is {self.k}; give at least 1 training spot behind a value, such as 50.", setting="k")
        if self.batch_size < 1:
            raise UserError(f"batch_size is {self.batch_size}; give at least 1 patch.")
