"""What a source of spots says about itself."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anndata import AnnData


@dataclass(frozen=True)
class Origin:
    """Where spots come from, beside the spots themselves.

    Parameters
    ----------
    source : str
        The format in words: ``"Space Ranger 2"``.
    path : Path
        What was opened.
    platform : str
        ``"Visium"``, ``"ST"``, ``"Visium HD"``, ``"Xenium"``, or ``""`` where it is not known.
    pitch_um : float
        Distance between neighbouring spots in µm, centre to centre; 0 where it is not known.
    given_mpp : float
        µm per pixel as the publisher of the data measured it for this slide; 0 where there is none.
    given_mpp_source : str
        What says so.
    synthetic : bool
        Whether the section was simulated.
    trust_in_tissue : bool
        Whether spots out of tissue are to be dropped.
    notes : tuple of str
        What the user should know.
    """

    source: str
    path: Path
    platform: str = ""
    pitch_um: float = 0.0
    given_mpp: float = 0.0
    given_mpp_source: str = ""
    synthetic: bool = False
    trust_in_tissue: bool = True
    notes: tuple[str, ...] = ()


Reader = Callable[[Path], tuple[AnnData, Origin]]
"""Reads one source: spots by genes with ``obsm["spatial"]`` and one library in ``uns["spatial"]``, unchecked."""


def platform_of(description: str) -> str:
    """Return the platform that a description such as Space Ranger's ``chemistry_description`` names, or ``""``."""
    text = description.casefold()
    for platform, words in _PLATFORM_WORDS.items():
        if any(word in text for word in words):
            return platform
    return ""


# The first that fits counts. "Spatial 3' v1" and "Spatial RNA" are what Space Ranger wrote before "Visium V4 Slide".
_PLATFORM_WORDS = {
    "Visium HD": ("visium hd",),
    "Visium": ("visium", "spatial 3'", "spatial 5'", "spatial rna"),
    "ST": ("spatial transcriptomics",),
    "Xenium": ("xenium",),
}


def mapping(value: Any) -> Mapping[str, Any]:
    """Return the value if it is a mapping, else an empty one: foreign files hold anything."""
    return value if isinstance(value, Mapping) else {}


def number(value: Any) -> float:
    """Return a number from a foreign file, 0 if there is none."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return 0.0
    return found if math.isfinite(found) else 0.0
