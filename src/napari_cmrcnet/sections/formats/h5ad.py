"""Plain h5ad files in the scanpy/squidpy convention for spatial data."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from anndata import AnnData

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.hdf5 import read_h5ad
from napari_cmrcnet.sections.counts import counts_problem
from napari_cmrcnet.sections.formats.origin import Origin, mapping, number, platform_of

_ENSEMBL = re.compile(r"ENS[A-Z]*G\d{6,}")
_SYMBOL_COLUMNS = ("feature_name", "gene_name", "gene_symbols", "gene_symbol", "symbol", "SYMBOL")


def read_plain(path: Path) -> tuple[AnnData, Origin]:
    """Read an h5ad file with ``obsm["spatial"]`` in full-resolution pixels.

    Counts come from ``layers["counts"]``, ``X`` or ``raw``, the first that holds counts. The pixel size and the
    platform come from ``uns["spatial"][library]["metadata"]`` where they are written there.

    Raises
    ------
    UserError
        If there are no positions, no counts among the matrices, or several sections.
    """
    spots, library, entry = read_library(path)
    metadata = mapping(entry.get("metadata"))
    own = mapping(spots.uns.get("cmrcnet"))  # written by this software
    hd_mpp = number(mapping(entry.get("scalefactors")).get("microns_per_pixel"))
    described = f"{metadata.get('chemistry_description', '')} {metadata.get('software_version', '')}"
    origin = Origin(
        source="h5ad",
        path=path,
        platform=str(own.get("platform", "")) or platform_of(described.replace("spaceranger", "visium")),
        pitch_um=number(own.get("pitch_um")) or number(metadata.get("spot_pitch_um")),
        given_mpp=number(own.get("given_mpp")) or hd_mpp,
        given_mpp_source=str(own.get("given_mpp_source", "")) or ("scalefactors microns_per_pixel" if hd_mpp else ""),
        synthetic=bool(own.get("synthetic", False) or metadata.get("synthetic", False)),
    )
    return section_of(spots, library, entry), origin


def read_library(path: Path) -> tuple[AnnData, str, Mapping[str, Any]]:
    """Return the file's AnnData with counts in ``X`` (or no ``X``), and name and content of its one library."""
    spots = read_h5ad(path)
    if "spatial" not in spots.obsm:
        raise UserError(
            f"{path} has no obsm['spatial']; spot centres (x, y) in full-resolution pixels are needed there."
        )
    return _with_counts(path, spots), *_library(path, spots)


def section_of(spots: AnnData, library: str, entry: Mapping[str, Any]) -> AnnData:
    """Return what belongs to spots and genes, and of ``uns`` the library's scale factors and metadata alone."""
    factors = {name: number(value) for name, value in mapping(entry.get("scalefactors")).items()}
    if spots.X is not None:
        spots.var = _genes(spots.var)
    spots.uns = {"spatial": {library: {"scalefactors": factors, "metadata": dict(mapping(entry.get("metadata")))}}}
    return spots


def _library(path: Path, spots: AnnData) -> tuple[str, Mapping[str, Any]]:
    libraries = mapping(spots.uns.get("spatial"))
    if len(libraries) > 1 and "library_id" in spots.obs:
        used = {str(name) for name in spots.obs["library_id"].unique()}
        libraries = {name: entry for name, entry in libraries.items() if name in used}
    if len(libraries) > 1:
        names = ", ".join(sorted(libraries))
        raise UserError(f"{path} holds several sections ({names}); write one h5ad file for each.")
    for name, entry in libraries.items():
        return str(name), mapping(entry)
    return path.stem, {}


def _with_counts(path: Path, spots: AnnData) -> AnnData:
    matrices = {"layers['counts']": spots.layers.get("counts"), "X": spots.X}
    if spots.raw is not None:
        matrices["raw"] = spots.raw.X
    present = {name: matrix for name, matrix in matrices.items() if matrix is not None}
    if not present or (spots.n_vars == 0 and spots.raw is None):
        return AnnData(obs=spots.obs, obsm=spots.obsm, uns=spots.uns)
    problems = {}
    for name, matrix in present.items():
        problem = counts_problem(matrix)
        if problem is None:
            var = spots.raw.var if name == "raw" and spots.raw is not None else spots.var
            return AnnData(X=matrix, obs=spots.obs, var=var, obsm=spots.obsm, uns=spots.uns)
        problems[name] = problem
    said = "; ".join(f"{name} {problem}" for name, problem in problems.items())
    raise UserError(f"{path}: {said}; store the counts in layers['counts'], or no matrix at all.")


def _genes(var: pd.DataFrame) -> pd.DataFrame:
    """Return the gene table with symbols as its index and Ensembl ids as ``gene_ids``, where known."""
    names = var.index.astype(str)
    genes = var.set_axis(names)
    if "gene_ids" not in var and len(names) and all(_ENSEMBL.match(name) for name in names[:100]):
        genes["gene_ids"] = names
        symbols = next((column for column in _SYMBOL_COLUMNS if column in var), None)
        if symbols is not None:
            genes.index = pd.Index(var[symbols].astype(str))
    genes.index.name = None
    return genes
