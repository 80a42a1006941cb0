"""Whether a matrix holds counts."""

from typing import Any

import numpy as np
from scipy import sparse

Number = type[np.int32] | type[np.float32]

LARGEST_LOG = 20.0
"""e^20 counts in one spot: no logarithm of expression is larger."""


def counts_problem(matrix: Any) -> str | None:
    """Say why a matrix (dense or sparse, spots × genes) does not hold counts; None if it does.

    Counts are finite, not negative, and whole. Log-normalised expression is recognised, since it is what most
    files hold that are not counts.
    """
    values = matrix.data if sparse.issparse(matrix) else np.asarray(matrix)
    if values.dtype.kind not in "buif":
        return f"holds {values.dtype} values instead of counts"
    if values.size == 0:
        return None
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return "holds missing or infinite values instead of counts"
    if values.min() < 0:
        return "holds negative values (scaled expression?) instead of counts"
    if values.max() > np.iinfo(np.int32).max:
        return "holds values too large for counts"
    if values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
        kind = "log-normalised" if _is_log_normalised(matrix) else "not whole"
        return f"holds values that are {kind} instead of counts"
    return None


def _is_log_normalised(matrix: Any) -> bool:
    """Whether undoing log1p gives every spot the same total, or values are small as logarithms are."""
    some = sparse.csr_matrix(matrix[:200], dtype=np.float64)
    if some.max() > LARGEST_LOG:
        return False
    totals = np.asarray(some.expm1().sum(axis=1)).ravel()
    totals = totals[totals > 0]
    return bool(len(totals) and (np.ptp(totals) < 0.01 * totals.mean() or some.max() < 12))


def log_values(matrix: Any) -> tuple[sparse.csr_matrix, str] | None:
    """Return a matrix that is no counts as log-normalised values, CSR float32, and a sentence on what was done.

    None where it cannot be that: values that are missing, infinite or negative, as scaled ones are.
    """
    values = matrix.data if sparse.issparse(matrix) else np.asarray(matrix)
    if values.dtype.kind != "f" or not np.isfinite(values).all() or values.min() < 0:
        return None
    found = sparse.csr_matrix(matrix, dtype=np.float32)
    if values.max() <= LARGEST_LOG:
        return found, "The values are as in the file: normalised already."
    return found.log1p(), "The values are normalised already, but no logarithms: log(1 + x) of them is shown."


def as_counts(matrix: Any, dtype: Number = np.int32) -> sparse.csr_matrix:
    """Return counts as CSR int32, or normalised values as float32, with sorted indices and no stored zeros."""
    counts = sparse.csr_matrix(matrix)
    if counts.dtype != dtype:
        counts = counts.astype(dtype)
    counts.sum_duplicates()
    counts.eliminate_zeros()
    return counts
