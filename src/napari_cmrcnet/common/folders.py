"""What a folder is that is not read here, so that the sentence which refuses it can say so."""

from pathlib import Path

from napari_cmrcnet.common.errors import readable
from napari_cmrcnet.common.spaceranger_files import MATRIX_FILES, POSITION_FILES, holds_output, is_part
from napari_cmrcnet.common.spatialdata_store import attributes, find_store
from napari_cmrcnet.common.text import some_of
from napari_cmrcnet.common.xenium_files import MANIFEST, is_bundle

_CELLS = (
    "which is not read; write its cells or beads as h5ad (counts, and obsm['spatial'] in pixels of the slide), give "
    "that, and say what size to pool them to"
)
_REGIONS = "which measures whole regions instead of spots, and is not read; give a section of another platform"

_OF_XENIUM = (
    "transcripts.parquet",
    "cells.parquet",
    "cells.csv.gz",
    "cell_feature_matrix.h5",
    "nucleus_boundaries.parquet",
)
# Files and folders that only its output has, what that is, and what to do.
_PLATFORMS = (
    (
        ("*_exprMat_file.csv*", "*_tx_file.csv*", "*_fov_positions_file.csv*", "*_metadata_file.csv*", "flatFiles"),
        "CosMx",
        _CELLS,
    ),
    (
        ("cell_by_gene.csv*", "detected_transcripts.csv*", "*.vzg*", "images/micron_to_mosaic_pixel_transform.csv"),
        "MERSCOPE (MERFISH)",
        _CELLS,
    ),
    (("*BeadLocationsForR.csv*", "*MappedDGEForR.csv*"), "Slide-seq", _CELLS),
    (("*.dcc", "*.pkc"), "GeoMx", _REGIONS),
    (("*.gef", "*.gem.gz"), "Stereo-seq", _CELLS),
)


def known_folder(path: Path) -> str | None:
    """Return a sentence that says what a folder is and what to do, if it is known and not read as a slide; else None.

    Raises
    ------
    UserError
        If the system does not let it be looked into.
    """
    if not path.is_dir():
        return None
    with readable(path, "cannot be looked into", errors=(OSError,)):
        found = next((said for look in _LOOKS if (said := look(path))), None)
    return found and f"{path} {found}."


def may_hold_spots(path: Path) -> bool:
    """Say whether a folder is an output of a platform, whole or in part, or a store of spots: by names alone."""
    try:
        return any(look(path) is not None for look in _LOOKS)
    except OSError:
        return False


def unknown_folder(path: Path, verdict: str, give: str) -> str:
    """Return a sentence that says what lies in a folder that is nothing known, what it is not, and what to give."""
    names = sorted(entry.name + "/" * entry.is_dir() for entry in path.iterdir())
    if not names:
        return f"{path} is an empty folder; give the slide or the spots."
    return f"{path} is {verdict} (it holds {some_of(names)}); give {give}."


def _xenium(path: Path) -> str | None:
    if is_bundle(path):
        return "is an output of Xenium; give it as the spots, and the H&E image as the slide"
    names = [name for name in _OF_XENIUM if (path / name).is_file()]
    if not names:
        return None
    return f"has parts of Xenium's output ({some_of(names)}), but no {MANIFEST}; copy all files of it into one folder"


def _zarr(path: Path) -> str | None:
    if find_store(path) == path:
        return "is a SpatialData store; give it as the spots"
    if attributes(path).get("encoding-type") == "anndata":
        return "is an AnnData zarr store; write it as h5ad (AnnData.write_h5ad), and give that"
    return None


def known_file(path: Path) -> str | None:
    """Return a sentence that says of which platform a file is, if that is not read; else None."""
    held = ((name, do) for names, name, do in _PLATFORMS if any(map(path.match, names)))
    return next((f"{path} is of {name}, {do}." for name, do in held), None)


def _platform(path: Path) -> str | None:
    held = ((name, do) for names, name, do in _PLATFORMS if any(any(path.glob(pattern)) for pattern in names))
    return next((f"is the output of {name}, {do}" for name, do in held), None)


def _output(path: Path) -> str | None:
    if not holds_output(path):
        return None
    return "is an output of Space Ranger; give it as the spots, and the full-resolution image as the slide"


def _several(path: Path) -> str | None:
    """Name the folders in it that are outputs themselves."""
    names = [folder.name for folder in sorted(path.iterdir()) if folder.is_dir() and holds_output(folder)]
    if not names:
        return None
    return f"holds outputs of Space Ranger in its folders ({some_of(names)}); give the folder of one"


def _part(path: Path) -> str | None:
    """Name what is left of an output that has neither matrix nor positions."""
    names = sorted(entry.name + "/" * entry.is_dir() for entry in path.iterdir() if is_part(entry))
    if not names:
        return None
    return (
        f"has parts of an output of Space Ranger ({some_of(names)}), but neither a count matrix ({MATRIX_FILES}) nor "
        f"spot positions ({POSITION_FILES}); copy the whole folder outs of the run"
    )


_LOOKS = (_zarr, _xenium, _platform, _output, _several, _part)
