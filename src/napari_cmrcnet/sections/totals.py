"""Totals: what a spot's counts are divided by before they are compared, and the genes that they are taken over.

A spot's total is over all its section's genes. That is no common measure where one section has a whole transcriptome
and another a panel of 500 genes: a gene of the panel has a far larger share of its total. So sections that differ
clearly get the column ``var["in_total"]``: True for the genes in common, over which all totals are then taken.
"""

from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.common.errors import UserError

if TYPE_CHECKING:
    from anndata import AnnData

Float64 = npt.NDArray[np.float64]
TargetSum = float | Literal["median"]
"""Total of a spot after normalisation; "median" is the median total of its section's spots."""

TARGET_SUM = 1e4
MEDIAN: Literal["median"] = "median"
IN_TOTAL = "in_total"
LEAST_SHARE = 0.95
"""Share of the counts that the genes in common must have for totals over all genes to be alike.

Log-normalised values then differ by at most -log(0.95) = 0.05, a tenth of the least span of a colour bar.
"""

WHOLE_TRANSCRIPTOME = 1000
"""Genes from which a section counts as one of the whole transcriptome and not of a panel."""
MIN_UMI, MIN_UMI_PANEL = 100, 10
"""Counts that a spot must have to count in a score: of a whole transcriptome, of a panel."""


def totals_of(spots: "AnnData") -> Float64:
    """Return the total count of each spot, float64 (n,), over the genes of ``var["in_total"]``; without it over all."""
    return _sums(spots, spots.var[IN_TOTAL].to_numpy()) if IN_TOTAL in spots.var else _sums(spots)


def total_genes(spots: "AnnData") -> int:
    """Return over how many genes `totals_of` takes them."""
    return int(spots.var[IN_TOTAL].sum()) if IN_TOTAL in spots.var else int(spots.n_vars)


def target_of(spots: "AnnData", target_sum: TargetSum) -> float:
    """Return the total of a spot after normalisation as a number.

    The median is over the spots that have counts, as ``scanpy.pp.normalize_total`` documents it; 1 if none has.
    """
    if not isinstance(target_sum, str):
        return target_sum
    totals = totals_of(spots)
    return float(np.median(totals[totals > 0])) if totals.any() else 1.0


def target_from(value: object) -> TargetSum:
    """Read a total after normalisation: a finite number above 0, or "median".

    Raises
    ------
    UserError
        If it is neither.
    """
    if value == MEDIAN:
        return MEDIAN
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = 0.0
    if isinstance(value, bool) or not 0 < number < np.inf:
        raise UserError(f"The total after normalisation is {value!r}; give a number above 0, such as 10000, or median.")
    return number


def share_in(spots: "AnnData", genes: npt.NDArray[np.bool_]) -> float:
    """Return what share of a spot's total some genes have, bool (genes,): the median over the spots with counts."""
    totals = totals_of(spots)
    some = totals > 0
    return float(np.median(_sums(spots, genes)[some] / totals[some])) if some.any() else 1.0


def alike(*shares: float) -> bool:
    """Say whether totals are alike, given the share of each that the genes in common have."""
    return all(LEAST_SHARE <= share <= 1 / LEAST_SHARE for share in shares)


def totalled_over(spots: "AnnData", genes: npt.NDArray[np.bool_]) -> "AnnData":
    """Return spots whose totals are over some of their genes, bool (genes,); the counts are shared."""
    from anndata import AnnData

    var = spots.var.assign(**{IN_TOTAL: genes})
    return AnnData(spots.X, obs=spots.obs, var=var, obsm=dict(spots.obsm), uns=dict(spots.uns))


def least_counts(n_genes: int, min_umi: int | None = None) -> int:
    """Return how many counts a spot must have to count, as a spot of a panel holds that much less."""
    if min_umi is not None:
        return min_umi
    return MIN_UMI if n_genes >= WHOLE_TRANSCRIPTOME else MIN_UMI_PANEL


def _sums(spots: "AnnData", genes: npt.NDArray[np.bool_] | None = None) -> Float64:
    """Sum counts over genes as a product: a choice of columns would copy them."""
    weights = np.ones(spots.n_vars) if genes is None else genes.astype(np.float64)
    return np.asarray(spots.X @ weights, np.float64).ravel()
