"""Encoders that a model can stand on without training them: facts of their model cards, in `frozen_encoders.json`.

Encoders of histology are seldom free to pass on, and most are gated: their page asks for a login and for consent to
its terms. What is not known for certain of an encoder is not in the list, and neither is an encoder without it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

from napari_cmrcnet.common.errors import UserError

Pooling = Literal["layers", "class", "class and patches", "patches", "attention"]
DEFAULT = "efficientnet-lite2"
FIELDS = (1, 2, 4)
"""Sides of the fields of view in which a spot is seen, times the side that the encoder was trained with."""


@dataclass(frozen=True)
class FrozenEncoder:
    """What is known of an encoder.

    Parameters
    ----------
    name : str
        For ``--encoder``.
    title : str
        As it was published.
    trained_on : str
        ``"ImageNet"`` (photographs) or ``"histology"``.
    licence : str
        Of its weights.
    gated : bool
        Whether its page asks for a login and for consent to its terms.
    hub : str
        Its id at huggingface.co; ``""`` where its weights are not there.
    may_be_stored : bool
        Whether the licence lets its weights go where a checkpoint goes.
    px : int
        Side of a patch in pixels.
    mpp : float
        µm per pixel that it was published with; 0.5, the custom of the field, where its page says 20× or nothing.
    mean, std : sequence of 3 float
        By which R, G, B in 0–1 are shifted and scaled.
    pooling : {"layers", "class", "class and patches", "patches", "attention"}
        What describes a patch: mean and deviation of each channel of some layers; the class token; it and the mean of
        the patches' tokens; that mean alone; or CONCH's attention to them. Of transformers, of the last layer, as they
        were published.
    layers : sequence of int
        Of the first kind of pooling: which blocks of layers.
    width : int
        How many numbers that are.
    architecture : mapping
        What `timm.create_model` builds it from.
    package : mapping
        Where a Python package ships the weights: its name, module, file and the file's SHA-256.
    """

    name: str
    title: str
    trained_on: str
    licence: str
    gated: bool
    hub: str
    may_be_stored: bool
    px: int
    mpp: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    pooling: Pooling
    width: int
    architecture: Mapping[str, Any]
    layers: tuple[int, ...] = ()
    package: Mapping[str, str] = field(default_factory=dict)

    @property
    def page(self) -> str:
        """Its model card."""
        return f"https://huggingface.co/{self.hub}" if self.hub else ""

    @property
    def terms(self) -> str:
        """Its licence and gate, in a sentence."""
        said = f"{self.title}: trained on {self.trained_on}, licence {self.licence}"
        if self.gated:
            return f"{said}; its page asks for a login and for consent to its terms, {self.page}."
        return f"{said}, {self.page}." if self.hub else f"{said}."

    def settings(self) -> dict[str, Any]:
        """Return what decides the features, as JSON would read it back."""
        names = ("px", "mpp", "mean", "std", "pooling", "layers", "width", "architecture")
        read_back: dict[str, Any] = json.loads(json.dumps({name: getattr(self, name) for name in names}))
        return read_back


@lru_cache(maxsize=1)
def frozen_encoders() -> Mapping[str, FrozenEncoder]:
    """Return all encoders of the list, by name."""
    listed: list[dict[str, Any]] = json.loads(files(__package__).joinpath("frozen_encoders.json").read_text("utf-8"))
    for one in listed:
        one.update({key: tuple(value) for key, value in one.items() if isinstance(value, list)})
    return {one["name"]: FrozenEncoder(**one) for one in listed}


def encoder_named(name: str) -> FrozenEncoder:
    """Return an encoder of the list.

    Raises
    ------
    UserError
        If it is not there.
    """
    known = frozen_encoders()
    if name not in known:
        raise UserError(f"There is no encoder {name!r}; choose one of {', '.join(known)}.")
    return known[name]
