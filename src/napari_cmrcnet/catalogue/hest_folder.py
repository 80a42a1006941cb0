"""A folder in HEST's layout: which sections it has, and which of their spots lie on tissue."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.hdf5_checks import check_hdf5
from napari_cmrcnet.sections.formats.hest import read_metadata
from napari_cmrcnet.sections.sheet import SheetRow

UNNAMED = "of {}"
"""What a patient is called that HEST does not name."""


def hest_files(name: str) -> tuple[str, str, str, str]:
    """Return metadata, spots, patches and slide of a section in HEST's layout, the smallest first."""
    return f"metadata/{name}.json", f"st/{name}.h5ad", f"patches/{name}.h5", f"wsis/{name}.tif"


def hest_rows(folder: Path, patients: Mapping[str, str]) -> tuple[SheetRow, ...]:
    """Return sections of a folder in HEST's layout; each whose patient nobody names is of a patient of its own.

    The pixel size is what HEST estimated, never what the slide's tag says: of two slides of the paper's that is 1.0
    where 0.2125 is true. It stands in ``metadata/{id}.json``, from where the reader of the spots takes it.

    Parameters
    ----------
    folder : Path
        With ``st/``, ``wsis/`` and ``metadata/``.
    patients : mapping of str to str
        By HEST's id, the patient; ``""``: what HEST says.

    Raises
    ------
    UserError
        If slide, spots or metadata are missing.
    """
    return tuple(_row(folder, name, patient) for name, patient in patients.items())


def _row(folder: Path, name: str, patient: str) -> SheetRow:
    metadata, spots, _, slide = (folder / file for file in hest_files(name))
    if missing := [path for path in (slide, spots, metadata) if not path.is_file()]:
        raise UserError(f"{missing[0]} does not exist; download the dataset, or name the folder that holds it.")
    patient = patient or _text(read_metadata(metadata).get("patient")) or UNNAMED.format(name)
    return SheetRow(name, slide, spots, patient)


def on_tissue(patches: Path, names: pd.Index) -> NDArray[np.bool_]:
    """Say which spots lie on tissue: those of which HEST cut a patch. Its ``in_tissue`` is unreliable.

    Parameters
    ----------
    patches : Path
        HEST's patches, whose ``barcode`` is joined on: they are fewer than the spots and in an order of their own.
    names : Index
        The spots.

    Returns
    -------
    bool (n,)

    Raises
    ------
    UserError
        If the file is damaged or has none of the spots.
    """
    check_hdf5(patches)
    with h5py.File(patches, "r") as file:
        if "barcode" not in file:
            raise UserError(f"{patches} has no barcodes, so its patches are of no known spot; download it again.")
        stored = np.asarray(file["barcode"]).ravel()
    barcodes = {name.decode() if isinstance(name, bytes) else str(name) for name in stored.tolist()}
    kept = np.array([str(name) in barcodes for name in names])
    if not kept.any():
        raise UserError(f"{patches} has a patch of none of the section's spots; download both again.")
    return kept


def _text(value: Any) -> str:
    """Return a name; HEST writes an unknown one as null, NaN or nothing."""
    return "" if value is None or str(value).strip().casefold() in ("", "nan", "none", "null") else str(value).strip()
