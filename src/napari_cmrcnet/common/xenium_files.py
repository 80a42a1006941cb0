"""Which files of a Xenium output belong together, whichever of them is given.

The names are those of 10x Genomics (Xenium Onboard Analysis 1 to 4, *Understanding Xenium Outputs*). The H&E image and
its alignment are not made by the instrument: users put them into the folder, or beside it, under the names that
10x Genomics' own data sets (``*_he_image.ome.tif``, ``*_he_imagealignment.csv``) and Xenium Explorer give them.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from napari_cmrcnet.common.errors import UserError, readable

MANIFEST = "experiment.xenium"
_MATRICES = ("cell_feature_matrix.h5", "cell_feature_matrix/matrix.mtx.gz", "cell_feature_matrix/matrix.mtx")
_CELLS = ("cells.parquet", "cells.csv.gz", "cells.csv")
_ALIGNMENT = re.compile(r"(?!.*feature_matrix)(.*imagealignment|(.*_)?matrix|(.*_)?keypoints)\.csv", re.IGNORECASE)
_OF_OTHER_STAINS = re.compile(r"(.*_)?if_.*", re.IGNORECASE)  # immunofluorescence
_OWN = re.compile(
    r"experiment\.xenium|cells\..*|cell_feature_matrix\.(h5|zarr\.zip)|(transcripts|cell_boundaries|nucleus_boundaries"
    r"|analysis)\..*|gene_panel\.json|metrics_summary\.csv|analysis_summary\.html"
)


@dataclass(frozen=True)
class Bundle:
    """The files of one region.

    Parameters
    ----------
    folder : Path
        The folder that they are in.
    matrix : Path
        ``cell_feature_matrix.h5``, or ``matrix.mtx.gz`` in the folder of that name.
    cells : Path
        ``cells.parquet``, or ``cells.csv.gz``.
    alignment : Path or None
        The matrix, or the keypoints, that take the H&E image to Xenium's own; None where there is none.
    """

    folder: Path
    matrix: Path
    cells: Path
    alignment: Path | None


def find_bundle(path: Path) -> Bundle | None:
    """Find the files of the region that a path is of.

    Parameters
    ----------
    path : Path
        The output folder, one that has it as ``outs``, or a file in it; an alignment that is given is taken.

    Returns
    -------
    Bundle or None
        None where the path is nothing of the kind.

    Raises
    ------
    UserError
        If the matrix or the cells are missing, or it is not clear which alignment is meant.
    """
    with readable(path, "cannot be looked into", errors=(OSError,)):
        folder = _folder_of(path)
        if folder is None:
            return None
        matrix, cells = _first(folder, _MATRICES), _first(folder, _CELLS)
        given = path if path.is_file() and _ALIGNMENT.fullmatch(path.name) else None
        return Bundle(folder, matrix, cells, given or _alignment(folder))


def is_bundle(folder: Path) -> bool:
    """Whether a folder is an output of Xenium, whole or not."""
    return _folder_of(folder) is not None


def _folder_of(path: Path) -> Path | None:
    """Return the folder with the manifest that a folder is, or has as ``outs``, or that a file of its own is in."""
    if path.is_file() and not (_OWN.fullmatch(path.name) or _ALIGNMENT.fullmatch(path.name)):
        return None
    starts = [path, path / "outs"] if path.is_dir() else [path.parent]
    return next((start for start in starts if (start / MANIFEST).is_file()), None)


def _first(folder: Path, names: tuple[str, ...]) -> Path:
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        zarr = " (*.zarr.zip is not read)" if any(folder.glob("*.zarr.zip")) else ""
        raise UserError(f"{folder} is an output of Xenium without {names[0]} (or {names[1]}){zarr}; copy it there.")
    return found


def _alignment(folder: Path) -> Path | None:
    """Return the alignment of the H&E image in the folder or a part of it, else in the folder that it lies in."""
    for place in (folder, folder.absolute().parent):
        parts = [place, *(part for part in sorted(place.glob("*alignment*")) if part.is_dir())]
        found = [file for part in parts for file in sorted(part.iterdir()) if _is_alignment(file)]
        matrices = [file for file in found if "keypoints" not in file.name.lower()] or found
        if len(matrices) > 1:
            names = ", ".join(file.name for file in matrices[:4])
            raise UserError(
                f"{place} has several alignments of an H&E image ({names}); put the one of this image into {folder}, "
                "and give that file as the spots."
            )
        if matrices:
            return matrices[0]
    return None


def _is_alignment(file: Path) -> bool:
    named = _ALIGNMENT.fullmatch(file.name) and not _OF_OTHER_STAINS.fullmatch(file.name)
    return bool(named) and file.is_file()
