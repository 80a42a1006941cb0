"""Expression: counts normalised as the paper does, and the genes that a model is trained on."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.common.threads import openmp_kept
from napari_cmrcnet.sections.formats.origin import Origin, is_normalised
from napari_cmrcnet.sections.totals import TARGET_SUM, TargetSum, target_of, totals_of

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_cmrcnet.sections.section import Section

PAPER_GENES = 1000
"""Highly variable genes of each training section, as the paper takes them."""


def log_normalise(spots: "AnnData", target_sum: TargetSum = TARGET_SUM) -> sparse.csr_matrix:
    """Return ``log(1 + counts / total of the spot · target_sum)``; a spot without counts stays zero.

    Parameters
    ----------
    spots : AnnData
        Counts in ``X``; totals as `totals_of` takes them.
    target_sum : float or "median"
        Total of a spot after normalisation.

    Returns
    -------
    csr_matrix of float32, (n, genes)
        Values that the source has log-normalised are returned as they are.
    """
    if is_normalised(spots):
        return sparse.csr_matrix(spots.X, dtype=np.float32)
    return _scaled_log(sparse.csr_matrix(spots.X), totals_of(spots), target_of(spots, target_sum))


def expression_of(spots: "AnnData", genes: Sequence[str], target_sum: TargetSum = TARGET_SUM) -> sparse.csr_matrix:
    """Return log-normalised expression of some genes, in their order.

    Totals are those of `totals_of`, so the values do not depend on which genes are asked for.

    Parameters
    ----------
    spots : AnnData
        Spots with counts in ``X``.
    genes : sequence of str
        Gene symbols.
    target_sum : float or "median"
        Total of a spot after normalisation.

    Returns
    -------
    csr_matrix of float32, (n, len(genes))

    Raises
    ------
    UserError
        If the spots have no counts or a gene is missing.
    """
    counts = _counts(spots)
    columns = spots.var_names.get_indexer(list(genes))
    if missing := [gene for gene, column in zip(genes, columns, strict=True) if column < 0]:
        some = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        raise UserError(f"{Origin.of(spots).path} lacks {count_text(len(missing), 'gene', len(columns))} ({some}).")
    return _scaled_log(counts[:, columns], totals_of(spots), target_of(spots, target_sum))


def rescaled(values: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return log-normalised values, float32 (n,), for new totals of their spots: the old ones divided by factors (n,).

    What log(1 + c / t · T) becomes for the total t / factor: log(1 + factor · (exp(value) - 1)), in float64 between.
    """
    new: np.ndarray = np.log1p(np.expm1(values.astype(np.float64)) * factors).astype(np.float32)
    return new


def shared_genes(sections: "Sequence[Section]") -> list[str]:
    """Return the genes that all sections have, in the order of the first.

    Raises
    ------
    UserError
        If there is none, or a section has no counts.
    """
    common = set.intersection(*(set(_genes(section.spots)) for section in sections))
    genes = [gene for gene in _genes(sections[0].spots) if gene in common]
    if not genes:
        names = ", ".join(section.name for section in sections)
        raise UserError(f"The sections {names} have no gene in common; check that all use gene symbols of one species.")
    return genes


def highly_variable_genes(sections: "Sequence[Section]", n_top: int = PAPER_GENES) -> list[str]:
    """Return the union of each section's highly variable genes, of those that all sections have.

    Chosen on log-normalised expression of each section alone by scanpy (flavour "seurat"); a section of too few
    genes or spots to rank gives all it expresses. Give training sections only: a test section must not choose the
    genes it is tested on.

    Parameters
    ----------
    sections : sequence of Section
        Measured sections.
    n_top : int
        Genes a section.

    Returns
    -------
    list of str
        In the order of `shared_genes`, whatever the order of the later sections.
    """
    chosen: set[str] = set()
    for section in sections:
        chosen.update(_section_hvg(section, n_top))
    genes = [gene for gene in shared_genes(sections) if gene in chosen]
    if not genes:
        raise UserError("No highly variable gene is in all sections; check that all use gene symbols of one species.")
    return genes


def _section_hvg(section: "Section", n_top: int) -> list[str]:
    import scanpy
    from anndata import AnnData

    genes = _genes(section.spots)
    if len(genes) <= n_top:
        return genes
    expression = log_normalise(section.spots)
    seen = np.flatnonzero(expression.getnnz(axis=0))
    if len(seen) <= n_top or section.spots.n_obs < 3:  # too few genes or spots to rank
        return [genes[column] for column in seen]
    table = AnnData(expression)
    table.uns["log1p"] = {"base": None}
    try:
        with warnings.catch_warnings(), openmp_kept():
            warnings.simplefilter("ignore")  # small sections: fewer ranked genes than asked for, empty bins
            ranked = scanpy.pp.highly_variable_genes(table, flavor="seurat", n_top_genes=n_top, inplace=False)
    except ValueError as error:
        n = section.spots.n_obs
        raise UserError(
            f"{Origin.of(section.spots).path}: no highly variable genes among {count_text(n, 'spot')} ({error})."
        ) from error
    return [genes[column] for column in np.flatnonzero(ranked["highly_variable"].to_numpy())]


def _counts(spots: "AnnData") -> sparse.csr_matrix:
    if spots.X is None or spots.n_vars == 0:
        raise UserError(f"{Origin.of(spots).path} has no measured counts; give spots with counts.")
    return sparse.csr_matrix(spots.X)


def _genes(spots: "AnnData") -> list[str]:
    _counts(spots)
    return list(spots.var_names)


def _scaled_log(counts: sparse.csr_matrix, totals: np.ndarray, target_sum: float) -> sparse.csr_matrix:
    scale = np.divide(target_sum, totals, out=np.zeros_like(totals), where=totals > 0)
    expression = counts.astype(np.float32)
    expression.data *= np.repeat(scale.astype(np.float32), np.diff(expression.indptr))
    np.log1p(expression.data, out=expression.data)
    return expression
