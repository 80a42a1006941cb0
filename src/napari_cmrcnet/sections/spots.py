"""Spots from any supported source, in one AnnData convention, checked."""

import os
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import check_name
from napari_cmrcnet.common.folders import known_file, known_folder, unknown_folder
from napari_cmrcnet.common.spaceranger_files import find_output, is_picture, parts_of
from napari_cmrcnet.common.spatialdata_store import find_store, tables_of
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.common.xenium_files import find_bundle
from napari_cmrcnet.sections.counts import counts_problem
from napari_cmrcnet.sections.formats.h5ad import read_plain
from napari_cmrcnet.sections.formats.hest import is_hest, read_hest
from napari_cmrcnet.sections.formats.legacy_st import find_pair, read_legacy_st
from napari_cmrcnet.sections.formats.origin import Origin, Reader
from napari_cmrcnet.sections.formats.spaceranger import read_spaceranger
from napari_cmrcnet.sections.formats.spatialdata_zarr import read_spatialdata
from napari_cmrcnet.sections.formats.xenium import read_xenium
from napari_cmrcnet.sections.gene_table import clean_genes
from napari_cmrcnet.sections.pixel_size import PITCH_UM, spots_lattice

SUPPORTED = (
    "an .h5ad file, an output of Space Ranger or Xenium, a SpatialData store, or first-generation ST counts with "
    "their *_selection.tsv"
)

ANNDATA = (read_plain, read_hest, read_spatialdata)  # may hold any matrix, and several sections


def open_spots(
    path: str | os.PathLike[str], *, min_umi: int = 0, library: str = "", normalised: bool = False
) -> AnnData:
    """Open the spots of one section.

    Parameters
    ----------
    path : path
        h5ad (scanpy/squidpy convention, HEST), an output of Space Ranger (version 1 to Visium HD) or of Xenium (its
        folder or any file in it), a SpatialData store (.zarr), or first-generation ST (folder or counts file with its
        ``*_selection.tsv``).
    min_umi : int
        Spots with fewer counts are dropped. 0 keeps all.
    library : str
        Which section to read from a source that holds several. For an h5ad file: its name in ``uns["spatial"]``, or in
        the column of ``obs`` that tells them apart. For Visium HD: ``square_008um``, or ``8``, for its bins, ``cells``
        for the segmented cells. For SpatialData: the table, or the shapes that it annotates. ``""`` if there is one.
    normalised : bool
        Whether an h5ad file or store without counts may give log-normalised values, to look at and to compare with.

    Returns
    -------
    AnnData
        ``X`` counts, CSR int32 (log-normalised values, float32, where `is_normalised`), or None where the source has
        positions only; ``var_names`` unique, as `clean_genes`
        gives them, Ensembl ids in ``var["gene_ids"]`` where known; ``obsm["spatial"]`` float64 (n, 2), centres (x, y)
        in full-resolution pixels; ``obs["in_tissue"]`` bool;
        ``uns["spatial"][library]["scalefactors"]["spot_diameter_fullres"]``; ``uns["cmrcnet"]``: what `Origin` holds.

    Raises
    ------
    UserError
        If the source is not supported, damaged, or does not hold what a section needs.
    """
    path = Path(path)
    check_name(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old formats and repeated names: what matters of them becomes a note
        spots, origin = _reader(path, library, normalised)(path)
        notes = [*origin.notes, *_make_spot_names_unique(spots)]
        if spots.X is not None:
            spots = _with_genes(path, spots, notes, origin.normalised)
    _check_positions(path, spots)
    _plain_columns(spots)
    spots = _in_tissue(spots, origin, notes)
    if spots.n_obs == 0:
        raise UserError(f"{path} has no spot in tissue; check its in_tissue column.")
    _describe(spots, replace(origin, library=library), notes)
    return with_enough_counts(spots, min_umi)


def is_spots(path: str | os.PathLike[str]) -> bool:
    """Say whether a path looks like a source of spots, by its name and the files in it; a picture is a slide."""
    path = Path(path)
    return not is_picture(path) and _known_reader(path) is not None


def libraries_of(path: Path) -> tuple[str, ...]:
    """Return what ``library`` chooses from in an output of Visium HD or a SpatialData store; else nothing."""
    store = find_store(path)
    found = tables_of(store) if store == path else parts_of(path)
    return tuple(part.name for part in found) if len(found) > 1 else ()


def _known_reader(path: Path, library: str = "") -> Reader | None:
    if path.suffix.lower() == ".h5ad" and not path.is_dir():
        return read_hest if is_hest(path) else read_plain
    if find_store(path) is not None:
        return read_spatialdata
    if find_bundle(path) is not None:
        return read_xenium
    if find_output(path, library) is not None:
        return read_spaceranger
    return read_legacy_st if find_pair(path) is not None else None


def _reader(path: Path, library: str, normalised: bool) -> Reader:
    """Return what reads this path, or the section of that name in it."""
    if not path.exists():
        raise UserError(f"{path} does not exist; check the path to the spots.")
    if path.is_file() and (said := known_file(path)):
        raise UserError(said)
    reader = _known_reader(path, library)
    if reader is None:
        verdict = "not a file of spots that can be read"
        if path.is_dir():
            raise UserError(known_folder(path) or unknown_folder(path, verdict, SUPPORTED))
        raise UserError(f"{path} is {verdict}; give {SUPPORTED}.")
    if library and reader not in (*ANNDATA, read_spaceranger):
        raise UserError(f"{path} holds one section only; leave the name of the section out.", "library")
    options: dict[str, Any] = {"library": library} if library else {}
    if reader in ANNDATA:
        options["normalised"] = normalised
    return partial(reader, **options)


def _check_positions(path: Path, spots: AnnData) -> None:
    try:
        xy = np.asarray(spots.obsm["spatial"], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: obsm['spatial'] does not hold numbers.") from error
    if xy.shape != (spots.n_obs, 2):
        raise UserError(
            f"{path}: obsm['spatial'] has shape {xy.shape}, but ({spots.n_obs}, 2) is needed: (x, y) of each spot."
        )
    if spots.n_obs == 0:
        raise UserError(f"{path} holds no spots.")
    if missing := int((~np.isfinite(xy)).any(axis=1).sum()):
        raise UserError(
            f"{path}: {count_text(missing, 'spot', len(xy))} without a finite position in obsm['spatial']; give each "
            "spot a position, or remove it."
        )
    spots.obsm["spatial"] = xy


def _plain_columns(spots: AnnData) -> None:
    """Make array positions numbers: h5ad files may hold them as categories."""
    for name in ("array_row", "array_col"):
        if name in spots.obs:
            numbers = pd.to_numeric(spots.obs[name].astype(object), errors="coerce")
            if numbers.isna().any() or numbers.dtype.kind == "c":
                del spots.obs[name]
            else:
                spots.obs[name] = numbers


def _in_tissue(spots: AnnData, origin: Origin, notes: list[str]) -> AnnData:
    if "in_tissue" not in spots.obs:
        spots.obs["in_tissue"] = True
        return spots
    inside = _as_bool(spots.obs["in_tissue"])
    spots.obs["in_tissue"] = inside
    outside = int((~inside).sum())
    if not outside:
        return spots
    if not origin.trust_in_tissue:
        notes.append(
            f"Kept all spots, although {origin.source} marks {count_text(outside, 'spot', len(inside))} as outside the "
            "tissue: its marks are unreliable."
        )
        return spots
    notes.append(f"Dropped {count_text(outside, 'spot', len(inside))}: outside the tissue.")
    return spots[inside].copy()


def _as_bool(column: pd.Series) -> np.ndarray:
    """Return a flag column that may be bool, 0/1 or text."""
    return column.astype(object).astype(str).str.casefold().isin(["true", "1", "1.0"]).to_numpy()


def _make_spot_names_unique(spots: AnnData) -> list[str]:
    """Add a suffix to repeated spot names; return a note of how many."""
    if not (repeated := int(spots.obs_names.duplicated().sum())):
        return []
    spots.obs_names_make_unique()
    return [f"Made {count_text(repeated, 'repeated spot name')} unique by a suffix."]


def _with_genes(path: Path, spots: AnnData, notes: list[str], normalised: bool) -> AnnData:
    problem = None if normalised else counts_problem(spots.X)
    if problem is not None:
        raise UserError(f"{path} {problem}.")
    n = spots.n_vars
    spots, said = clean_genes(spots, normalised)
    if n and not spots.n_vars:
        raise UserError(f"{path} holds no gene: its {n} names are controls, other features, or empty.")
    notes += said
    return spots


def with_enough_counts(spots: AnnData, min_umi: int) -> AnnData:
    """Drop spots, as `open_spots` gives them, that have fewer counts, and note it.

    Raises
    ------
    UserError
        If none has as many.
    """
    about = Origin.of(spots)
    replace(about, min_umi=min_umi).keep_in(spots)
    if spots.X is None or not min_umi:
        return spots
    if about.normalised:
        raise UserError(f"{about.path} has no counts, so no spot has {min_umi} of them; leave out --min-umi.")
    totals = np.asarray(spots.X.sum(axis=1)).ravel()
    enough = totals >= min_umi
    if enough.all():
        return spots
    if not enough.any():
        raise UserError(
            f"{about.path} has no spot with {min_umi} counts or more (most: {totals.max()}); lower --min-umi."
        )
    spots = spots[enough].copy()
    few = count_text(int((~enough).sum()), "spot", len(totals))
    note = f"Dropped {few}: fewer than {min_umi} counts."
    replace(about, min_umi=min_umi, notes=(*about.notes, note)).keep_in(spots)
    return spots


def _describe(spots: AnnData, origin: Origin, notes: list[str]) -> None:
    """Write platform, pitch, spot size and origin into ``uns``."""
    lattice = spots_lattice(spots)
    if spots.n_obs > 1 and not np.isfinite(lattice.pitch):
        raise UserError(
            f"Most spots of {origin.path} share their position with another; give a file with a position for each spot."
        )
    platform = origin.platform
    if not platform and not origin.pitch_um and lattice.kind == "hexagonal":
        platform = "Visium"  # the only platform that numbers its array so
        notes.append("Taken as Visium, because its grid is hexagonal.")
    (library,) = spots.uns["spatial"].values()
    if not library["scalefactors"].get("spot_diameter_fullres"):
        # For drawing only; half the pitch looks like a spot on every platform.
        library["scalefactors"]["spot_diameter_fullres"] = 0.5 * lattice.pitch if spots.n_obs > 1 else 100.0
    described = replace(
        origin,
        platform=platform,
        pitch_um=origin.pitch_um or PITCH_UM.get(platform, 0.0),
        given_mpp_source=origin.given_mpp_source if origin.given_mpp else "",
        notes=tuple(notes),
        pitch_px=lattice.pitch if np.isfinite(lattice.pitch) else 0.0,
    )
    described.keep_in(spots)
