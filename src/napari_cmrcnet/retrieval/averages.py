"""Averages of expression: over each spot's neighbours, and over spots."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

Floats = npt.NDArray[np.floating[Any]]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]

Columns = Any
"""Columns of a bank: an array (M, g), or without their zeros a CSR matrix (g, M); float64, or less exact, float32."""

GENES_A_PASS = 64  # genes read at a time: of a million spots up to half a gigabyte
MOSTLY_ZERO = 0.25  # genes filled less than this are summed without their zeros, in half to a third of the time


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """The neighbours of spots, ready to be averaged over again and again.

    Parameters
    ----------
    sums : CSR int8 or float32 matrix, (n, M)
        Times a column of the bank it sums over each spot's neighbours, weighted or not. Ones of one byte, because
        n · k of them are kept; the products are taken in float64.
    totals : int or float64 array, (n, 1)
        What the sums are divided by: the number of neighbours, or the sum of a spot's weights.
    """

    sums: sparse.csr_matrix
    totals: int | Float64

    @classmethod
    def of(cls, neighbours: Int32, bank_spots: int, weights: Float32 | None = None) -> "Neighbourhoods":
        """Take neighbours, int32 (n, k), rows of a bank of so many spots, and their weights, float32 (n, k).

        Without weights all count alike. The memory of both is shared.
        """
        n, k = neighbours.shape
        summands = np.ones(n * k, np.int8) if weights is None else weights.ravel()
        totals = k if weights is None else weights.sum(axis=1, keepdims=True, dtype=np.float64)
        parts = summands, neighbours.ravel(), np.arange(0, n * k + 1, k)
        return cls(sparse.csr_matrix(parts, shape=(n, bank_spots), copy=False), totals)

    def __len__(self) -> int:
        n: int = self.sums.shape[0]
        return n

    def __getitem__(self, spots: slice | npt.NDArray[np.bool_]) -> "Neighbourhoods":
        return Neighbourhoods(self.sums[spots], self.totals if isinstance(self.totals, int) else self.totals[spots])

    def mean(self, columns: Columns) -> Floats:
        """Return the mean of columns of the bank over each spot's neighbours, weighted or not, (n, g).

        Without weights, sums of float32 values of like size are exact in float64, so their order does not matter.

        Parameters
        ----------
        columns : float64 array, (M, g), or CSR float64 matrix, (g, M)
            As `columns_of` gives them. Of an array in float32 the mean is, too.
        """
        total: Floats
        total = (columns @ self._by_bank_spot).toarray().T if sparse.issparse(columns) else self.sums @ columns
        total /= self.totals
        return total

    def spread(self, columns: Columns) -> Floats:
        """Return the standard deviation of columns of the bank over each spot's neighbours, (n, g)."""
        squared = columns.power(2) if sparse.issparse(columns) else np.square(columns)
        variance = self.mean(squared) - np.square(self.mean(columns))
        deviation: Floats = np.sqrt(np.maximum(variance, 0))
        return deviation

    @cached_property
    def _by_bank_spot(self) -> sparse.csr_matrix:
        """Which spots retrieved each spot of the bank, (M, n)."""
        return self.sums.T.tocsr()

    def retrieved(self) -> Float64:
        """Return how often each spot of the bank was retrieved, or the sum of its weights, float64 (M,)."""
        weights = None if isinstance(self.totals, int) else self.sums.data
        total = np.bincount(self.sums.indices, weights, minlength=self.sums.shape[1])
        return np.asarray(total, np.float64)


def neighbour_weights(similarity: Float32, temperature: float | None) -> Float32 | None:
    """Return how much each neighbour counts, float32 (n, k): the softmax of its similarities over a temperature.

    Without a temperature all count alike: None.
    """
    if temperature is None:
        return None
    weights: Float32 = np.exp((similarity - similarity.max(axis=1, keepdims=True)) / np.float32(temperature))
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def columns_of(matrix: Any, columns: Sequence[int]) -> Columns:
    """Return columns of a CSC matrix, (m, genes), to be averaged: where they are mostly zero, without their zeros.

    Returns
    -------
    float64 array, (m, len(columns)), or CSR float64 matrix, (len(columns), m)
    """
    some = matrix[:, columns]
    if some.nnz > MOSTLY_ZERO * some.shape[0] * some.shape[1]:
        return some.toarray().astype(np.float64)
    return some.T.astype(np.float64)


def weighted_means(matrix: Any, weights: Float64) -> Float32:
    """Return the mean of each column of a CSC matrix, (m, genes), its rows weighted, float32 (genes,)."""
    genes = matrix.shape[1]
    means = np.empty(genes, np.float32)
    for start in range(0, genes, GENES_A_PASS):
        block = matrix[:, start : start + GENES_A_PASS]
        means[start : start + GENES_A_PASS] = block.T @ weights / weights.sum()
    return means
