"""h5ad files of HEST (mahmoodlab/HEST): ``st/{id}.h5ad`` beside ``metadata/{id}.json``, or its benchmark's."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
from anndata import AnnData

from napari_cmrcnet.common.errors import readable
from napari_cmrcnet.common.hdf5_checks import check_hdf5
from napari_cmrcnet.common.text import parse_json
from napari_cmrcnet.sections.formats.h5ad import read_plain
from napari_cmrcnet.sections.formats.origin import Origin, mapping, platform_of, size_in


def is_hest(path: Path) -> bool:
    """Whether an h5ad file is one of HEST, by its folder or by the overview image that HEST alone stores."""
    if path.parent.name == "st" and _metadata_path(path).is_file():
        return True
    check_hdf5(path)
    with h5py.File(path, "r") as file:
        return "uns/spatial/ST/images/downscaled_fullres" in file


def read_hest(path: Path, library: str = "", normalised: bool = False) -> tuple[AnnData, Origin]:
    """Read a section of HEST with the pixel size that HEST estimated.

    Its ``in_tissue`` is unreliable (HEST issue 47), so all spots are kept.
    """
    spots, origin = read_plain(path, library, normalised)
    metadata_path = _metadata_path(path)
    about = read_metadata(metadata_path)
    missing = [] if about else [f"Without {metadata_path} the platform and pixel size of HEST are not known."]
    return spots, replace(
        origin,
        source="HEST",
        platform=platform_of(str(about.get("st_technology", ""))),
        pitch_um=size_in(about.get("inter_spot_dist")),
        given_mpp=size_in(about.get("pixel_size_um_estimated")),
        given_mpp_source="HEST metadata pixel_size_um_estimated",
        trust_in_tissue=False,
        notes=(*origin.notes, *missing),
    )


def _metadata_path(path: Path) -> Path:
    return path.parent.parent / "metadata" / f"{path.stem}.json"


def read_metadata(path: Path) -> dict[str, Any]:
    """Return what ``metadata/{id}.json`` says of a section; empty where it is not there."""
    if not path.is_file():
        return {}
    with readable(path, "is not readable JSON", "download it again", (OSError, ValueError)):
        return dict(mapping(parse_json(path.read_text("utf-8-sig"))))
