"""The names of the methods on the command line, and what makes each. Nothing is imported until one is made."""

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_cmrcnet.benchmark.methods.method import Method

CMRCNET = "cmrcnet"
TUNED, FROZEN = "cmrcnet-tuned", "cmrcnet-frozen"
BLEEP = "bleep"
"""It retrieves, too, and is asked with the same numbers of neighbours."""
KS = (50, 250, 500)
"""Neighbours behind a value: the paper's for Table 1 and, of wider sets, for 150 and 250 genes."""
DEPTH = "depth"
"""Predicts a spot's log total for every gene: its values are no expression, their correlations count."""
CEILING = "ceiling"
"""Reads the test section's own measurements: no rival, but what is left to gain."""


def _made_by(module: str, name: str, **own: Any) -> "Callable[..., Method]":
    """Return a function that imports the method's module when it is called: torch takes seconds."""

    def make(**settings: Any) -> "Method":
        method: Method = getattr(importlib.import_module(f"{__package__}.methods.{module}"), name)(**(own | settings))
        return method

    return make


METHODS: "Mapping[str, Callable[..., Method]]" = {
    CMRCNET: _made_by("cmrcnet", "CMRCNetMethod"),
    TUNED: _made_by("cmrcnet", "CMRCNetMethod", variant="tuned", ks=()),
    FROZEN: _made_by("cmrcnet", "CMRCNetMethod", variant="frozen", ks=()),
    "mean": _made_by("baselines", "TrainingMean"),
    "ridge": _made_by("baselines", "ColourRidge"),
    "nearest": _made_by("baselines", "ColourNearest"),
    "depth": _made_by("baselines", "PredictedDepth"),
    "ceiling": _made_by("baselines", "NeighbourCeiling"),
    "frozen": _made_by("frozen_ridge", "FrozenRidge"),
    "stnet": _made_by("stnet", "STNet"),
    "stnet-adam": _made_by("stnet", "STNet", optimiser="adam"),
    "histogene": _made_by("histogene", "HisToGene"),
    "bleep": _made_by("bleep", "BLEEP"),
    "ctranspath": _made_by("ctranspath", "CTransPath"),
    "eggn": _made_by("eggn", "EGGN"),
    "thitogene": _made_by("thitogene", "THItoGene"),
}
"""Makes a method, by its name on the command line; settings given by name replace the published ones."""

METHOD_NAMES = tuple(METHODS)
