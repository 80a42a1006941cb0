"""Plain h5ad files in the scanpy/squidpy convention for spatial data."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.hdf5 import read_h5ad
from napari_cmrcnet.common.text import count_text, some_of
from napari_cmrcnet.sections.counts import counts_problem, log_values
from napari_cmrcnet.sections.formats.origin import Origin, mapping, platform_of, size_in

SECTION_COLUMNS = ("library_id", "sample", "sample_id", "batch", "section", "slide")
MOST_SECTIONS = 200  # values of a column that names sections
# Columns of tables that hold spot centres, x first: of Space Ranger, of first-generation ST, of others.
POSITION_COLUMNS = (("pxl_col_in_fullres", "pxl_row_in_fullres"), ("pixel_x", "pixel_y"), ("x", "y"), ("X", "Y"))
TAKEN_AGAIN = 0.2  # share of spots whose place on the array another has, too, where sections were joined


def read_plain(path: Path, library: str = "", normalised: bool = False) -> tuple[AnnData, Origin]:
    """Read an h5ad file with ``obsm["spatial"]`` in full-resolution pixels; of several sections the one called library.

    Counts come from ``layers["counts"]``, ``X`` or ``raw``: of those that hold counts, the one of most genes, so that
    totals are not those of chosen genes. The pixel size and the
    platform come from ``uns["spatial"][library]["metadata"]`` where they are written there. Without counts, and
    where that is allowed, ``X`` is taken as log-normalised.

    Raises
    ------
    UserError
        If there are no positions, no counts among the matrices, or several sections.
    """
    spots, entry = read_h5ad(path), None
    _set_positions(path, spots)
    if library:
        spots, entry = _chosen(path, spots, library)
        _check_one_array(path, spots)
    spots, notes, logs = with_counts(path, spots, normalised)
    if entry is None:
        library, entry = _library(path, spots)
    metadata = mapping(entry.get("metadata"))
    own = mapping(spots.uns.get("cmrcnet"))  # written by this software
    hd_mpp = size_in(mapping(entry.get("scalefactors")).get("microns_per_pixel"))
    described = f"{metadata.get('chemistry_description', '')} {metadata.get('software_version', '')}"
    origin = Origin(
        source="h5ad",
        path=path,
        platform=str(own.get("platform", "")) or platform_of(described.replace("spaceranger", "visium")),
        pitch_um=size_in(own.get("pitch_um")) or size_in(metadata.get("spot_pitch_um")),
        given_mpp=size_in(own.get("given_mpp")) or hd_mpp,
        given_mpp_source=str(own.get("given_mpp_source", "")) or ("scalefactors microns_per_pixel" if hd_mpp else ""),
        synthetic=bool(own.get("synthetic", False) or metadata.get("synthetic", False)),
        notes=notes,
        normalised=logs,
    )
    factors = {name: size_in(value) for name, value in mapping(entry.get("scalefactors")).items()}
    spots.uns = {"spatial": {library: {"scalefactors": factors, "metadata": dict(metadata)}}}
    return spots, origin


def _set_positions(path: Path, spots: AnnData) -> None:
    """Put spot centres into ``obsm["spatial"]`` from wherever the file keeps them; a table's columns tell x from y."""
    kept = next((spots.obsm[name] for name in ("spatial", "X_spatial") if name in spots.obsm), None)
    if kept is None:
        names = next((names for names in POSITION_COLUMNS[:1] if {*names} <= {*spots.obs.columns}), None)
        if names is None:
            raise UserError(
                f"{path} has no obsm['spatial']; spot centres (x, y) in full-resolution pixels are needed there."
            )
        kept = spots.obs[list(names)]
    if isinstance(kept, pd.DataFrame):
        names = next((names for names in POSITION_COLUMNS if {*names} <= {*kept.columns}), None)
        kept = (kept if names is None else kept[list(names)]).astype(object).to_numpy()
    spots.obsm["spatial"] = np.asarray(kept)


def _chosen(path: Path, spots: AnnData, name: str) -> tuple[AnnData, Mapping[str, Any]]:
    """Return the spots of the section that is called so, and the content of its library, where it has one."""
    libraries = _libraries(spots)
    known: set[str] = set()
    for column in _text_columns(spots):
        parts = _texts(spots.obs[column])
        if column in SECTION_COLUMNS or set(parts) <= set(libraries) or _splits_array(spots, parts):
            if (parts == name).any():
                return spots[(parts == name).to_numpy()].copy(), libraries.get(name, {})
            known |= set(parts) if parts.nunique() <= MOST_SECTIONS else set()
    if list(libraries) == [name]:
        return spots, libraries[name]
    if name in libraries:
        raise UserError(f"{path} does not say which of its spots are of {name}: no column of obs names its sections.")
    held = sorted(known | set(libraries))
    shown = ", ".join(held) or "one that has no name"
    raise UserError(f"{path} holds no section {name}, but {shown}; choose another.", "library", held)


def _library(path: Path, spots: AnnData) -> tuple[str, Mapping[str, Any]]:
    """Return name and content of the one section's library; what is no mapping, as CELLxGENE's flags, is none."""
    libraries = _libraries(spots)
    if len(libraries) > 1:
        named = (set(_texts(spots.obs[column]).unique()) for column in _text_columns(spots))
        used: set[str] = next((names for names in named if names <= set(libraries)), set(libraries))
        libraries = {name: entry for name, entry in libraries.items() if name in used}
    if len(libraries) > 1:
        raise _several(path, "", libraries)
    _check_one_array(path, spots)
    for name, entry in libraries.items():
        return name, entry
    return path.stem, {}


def _libraries(spots: AnnData) -> dict[str, Mapping[str, Any]]:
    return {str(name): entry for name, entry in mapping(spots.uns.get("spatial")).items() if isinstance(entry, Mapping)}


def _texts(column: pd.Series) -> pd.Series:
    """Return a column as texts, also of a category that is none of texts or numbers."""
    return column.astype(object).astype(str)


def _check_one_array(path: Path, spots: AnnData) -> None:
    """Refuse sections joined into one table: many places on the array are taken again, but in each section once."""
    for column in _text_columns(spots):
        parts = _texts(spots.obs[column])
        if _splits_array(spots, parts):
            raise _several(path, f"{column} ", parts.unique())


def _splits_array(spots: AnnData, parts: pd.Series) -> bool:
    """Whether a column divides spots whose places on the array are taken again into parts that have each once."""
    place = ["array_row", "array_col"]
    if not set(place) <= set(spots.obs.columns) or spots.obs.duplicated(place, keep=False).mean() < TAKEN_AGAIN:
        return False
    if not 1 < parts.nunique() <= MOST_SECTIONS:
        return False
    return not spots.obs[place].assign(part=parts.to_numpy()).duplicated().any()


def _several(path: Path, column: str, names: Iterable[str]) -> UserError:
    held = sorted(names)
    said = f"{path} holds several sections ({column}{some_of(held, 12)}); write one h5ad file for each, or choose one."
    return UserError(said, "library", held)


def _text_columns(spots: AnnData) -> list[str]:
    """Return the columns that may name a section, those that usually do first."""
    texts = [name for name in spots.obs.columns if spots.obs[name].dtype.kind not in "biufc"]
    return sorted(texts, key=lambda name: name not in SECTION_COLUMNS)


def with_counts(path: Path, spots: AnnData, normalised: bool) -> tuple[AnnData, tuple[str, ...], bool]:
    """Return the AnnData with the counts of the most genes in ``X`` (or no ``X``), and what to know of them.

    Parameters
    ----------
    path : Path
        The file, for messages.
    spots : AnnData
        As the file has it.
    normalised : bool
        Whether log-normalised values are taken where no matrix holds counts.

    Returns
    -------
    AnnData, notes, bool
        The last says whether ``X`` holds log-normalised values.

    Raises
    ------
    UserError
        If it has matrices, but none of counts.
    """
    matrices = {"layers['counts']": spots.layers.get("counts"), "X": spots.X}
    if spots.raw is not None:
        matrices["raw"] = spots.raw.X
    present = {name: matrix for name, matrix in matrices.items() if matrix is not None}
    if not present or (spots.n_vars == 0 and spots.raw is None):
        return AnnData(obs=spots.obs, obsm=spots.obsm, uns=spots.uns), (), False
    problems = {}
    for name, matrix in sorted(present.items(), key=lambda item: -item[1].shape[1]):  # stable: else in their order
        problem = counts_problem(matrix)
        if problem is None:
            of_raw = name == "raw" and spots.raw is not None
            var = spots.raw.var if of_raw else spots.var
            more = of_raw and len(var) > spots.n_vars
            all_genes = count_text(len(var), "gene")
            note = f"Counts were taken from raw, which has {all_genes}; X has {spots.n_vars:,} of them."
            counted = AnnData(X=matrix, obs=spots.obs, var=var, obsm=spots.obsm, uns=spots.uns)
            return counted, (note,) if more else (), False
        problems[name] = problem
    values, var = spots.X, spots.var
    if "measured" in spots.layers and "measured" in var:  # an export of this software, whose X may be predicted
        known = var["measured"].to_numpy(bool)
        values, var = np.asarray(spots.layers["measured"])[:, known], var[known]
    if normalised and values is not None and (found := log_values(values)) is not None:
        logs, note = found
        return AnnData(X=logs, obs=spots.obs, var=var, obsm=spots.obsm, uns=spots.uns), (note,), True
    said = "; ".join(f"{name} {problem}" for name, problem in problems.items())
    raise UserError(f"{path}: {said}; store the counts in layers['counts'], or no matrix at all.")
