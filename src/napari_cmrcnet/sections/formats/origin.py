"""What a source of spots says about itself, and where that is kept with the spots."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import pandas as pd

from napari_cmrcnet.common.errors import UserError

if TYPE_CHECKING:
    from anndata import AnnData

KEY = "cmrcnet"  # of our entry in ``uns``
Unit = Literal["spot", "bin", "cell"]


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
    unit : {"spot", "bin", "cell"}
        What was measured one by one.
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
    min_umi : int
        Spots with fewer counts were dropped.
    library : str
        The section that was asked for, of a file that holds several; ``""`` where there is one.
    pool : str
        How cells or bins were asked to be pooled, see `pool_for`; ``""`` is the default.
    pitch_px : float
        Distance between neighbouring spots in full-resolution pixels, as measured; 0 where there is no lattice.
    normalised : bool
        Whether ``X`` holds log-normalised values, as the source has no counts.
    """

    source: str
    path: Path
    platform: str = ""
    unit: Unit = "spot"
    pitch_um: float = 0.0
    given_mpp: float = 0.0
    given_mpp_source: str = ""
    synthetic: bool = False
    trust_in_tissue: bool = True
    notes: tuple[str, ...] = ()
    min_umi: int = 0
    library: str = ""
    pool: str = ""
    pitch_px: float = 0.0
    normalised: bool = False

    @classmethod
    def of(cls, spots: "AnnData") -> "Origin":
        """Return where spots come from that `open_spots` or `spot_grid` gave."""
        record = spots.uns[KEY]
        return cls(**{**record, "path": Path(record["path"]), "notes": tuple(record["notes"])})

    def keep_in(self, spots: "AnnData") -> None:
        """Write this into ``uns``, as h5ad can hold it."""
        spots.uns[KEY] = {**asdict(self), "path": str(self.path), "notes": list(self.notes)}


def is_normalised(spots: "AnnData") -> bool:
    """Say whether spots have log-normalised values in place of counts."""
    return bool(mapping(spots.uns.get(KEY)).get("normalised", False))


def unit_of(spots: "AnnData") -> Unit:
    """Return what the rows are; spots where a file does not say it, or says something else."""
    said = mapping(spots.uns.get(KEY)).get("unit")
    return next((unit for unit in get_args(Unit) if unit == said), "spot")


def spot_diameter(spots: "AnnData") -> float:
    """Return the diameter of a spot in full-resolution pixels, of one library in ``uns["spatial"]``."""
    (library,) = spots.uns["spatial"].values()
    return float(library["scalefactors"]["spot_diameter_fullres"])


Reader = Callable[[Path], tuple["AnnData", Origin]]
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


def refuse_repeated(path: Path, names: pd.Index, what: str) -> None:
    """Refuse a table that names a spot, cell or barcode twice."""
    if not names.is_unique:
        raise UserError(f"{path} has a {what} twice ({names[names.duplicated()][0]}).")


def mapping(value: Any) -> Mapping[str, Any]:
    """Return the value if it is a mapping, else an empty one: foreign files hold anything."""
    return value if isinstance(value, Mapping) else {}


def size_in(value: Any) -> float:
    """Return a size or scale from a foreign file: a number above 0, or 0 for any other, which is not known."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return found if 0 < found < math.inf else 0.0
