"""Cosine similarities in float64, and the order that follows from them, which no matrix library decides.

A matrix library adds up in its own order, so its last bits differ between machines. Here the plain way is the
measure: the products of two vectors, added up by NumPy. The library's faster result is taken where it settles what
the plain one would give: the float32 that it rounds to, and which of two similarities is higher. Where the rounding
error could change either, as at every tie, the plain way is taken.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Places = npt.NDArray[np.intp]

GATHERED = 512  # bank vectors of a query at a time: a megabyte in float64, which stays in the cache
PAIRS = 2048  # pairs of vectors scored in the plain way at a time


@dataclass(frozen=True, slots=True)
class Rescorer:
    """Similarities of queries to rows of a bank.

    Parameters
    ----------
    queries : float array, (n, d)
        Of any length.
    query_norm : float64 array, (n,)
        Their lengths.
    bank : float array, (M, d)
        Of any length.
    bank_norm : float64 array, (M,)
        Their lengths.
    """

    queries: npt.NDArray[np.floating[Any]]
    query_norm: Float64
    bank: npt.NDArray[np.floating[Any]]
    bank_norm: Float64

    @property
    def error(self) -> float:
        """How far apart two ways of adding up may be, in similarity (twice γ of d, and the division)."""
        return float((2 * self.queries.shape[1] + 8) * 2.0**-53)

    def similarities(self, rows: Int32, count: Places) -> Float64:
        """Return the matrix library's similarities, to `error`.

        Parameters
        ----------
        rows : int32 array, (n, width)
            Bank rows for each query.
        count : intp array, (n,)
            How many of them there are, from the left.

        Returns
        -------
        float64 array, (n, width)
            −∞ beyond the count.
        """
        bank = self.bank
        values = np.full(rows.shape, -np.inf)
        gathered = np.empty((GATHERED, bank.shape[1]), bank.dtype)
        vectors = np.empty(gathered.shape)
        for line, query in enumerate(self.queries.astype(np.float64)):
            for start in range(0, count[line], GATHERED):
                some = rows[line, start : min(start + GATHERED, count[line])]
                size = len(some)
                bank.take(some, axis=0, out=gathered[:size], mode="clip")  # clip: else it is copied once more
                vectors[:size] = gathered[:size]
                np.dot(vectors[:size], query, out=values[line, start : start + size])
        length = self.query_norm[:, None] * self.bank_norm[rows]
        values[(length == 0) & (values > -np.inf)] = 0
        np.divide(values, length, out=values, where=length > 0)
        return values

    def best(self, rows: Int32, values: Float64, k: int) -> tuple[Places, Float64]:
        """Say which are the k most similar, in order; equal similarities by their column.

        Parameters
        ----------
        rows : int32 array, (n, width)
            Bank rows for each query.
        values : float64 array, (n, width)
            Their similarities, to `error`; −∞ for those that do not count.
        k : int
            How many.

        Returns
        -------
        columns : intp array, (n, k)
            The most similar first.
        values : float64 array, (n, k)
            Their similarities, which round to the same float32 as the plain way's.
        """
        order = np.argsort(-values, axis=1)
        ranked = np.take_along_axis(values, order, 1)
        with np.errstate(invalid="ignore"):  # −∞ − −∞
            close = ranked[:, :-1] - ranked[:, 1:] <= 2 * self.error
            unsure = (ranked - self.error).astype(np.float32) != (ranked + self.error).astype(np.float32)
        unsure[:, 1:] |= close
        unsure[:, :-1] |= close
        line, rank = np.nonzero(unsure & (ranked > -np.inf))
        if len(line):
            column = order[line, rank]
            values[line, column] = self._plainly(line, rows[line, column])
            again = np.unique(line)
            order[again] = np.argsort(-values[again], axis=1, kind="stable")
        order = order[:, :k]
        return order, np.take_along_axis(values, order, 1)

    def _plainly(self, query: Places, rows: Int32) -> Float64:
        """Return the similarities of pairs, the products added up by NumPy."""
        values = np.empty(len(rows))
        queries = self.queries.astype(np.float64)
        for start in range(0, len(rows), PAIRS):
            pairs = slice(start, start + PAIRS)
            length = self.query_norm[query[pairs]] * self.bank_norm[rows[pairs]]
            dot = np.multiply(queries[query[pairs]], self.bank[rows[pairs]]).sum(axis=1)
            values[pairs] = np.divide(dot, length, out=np.zeros(len(dot)), where=length > 0)
        return values
