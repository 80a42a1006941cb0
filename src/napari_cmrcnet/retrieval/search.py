"""Exact search for the bank spots most similar to each query.

The product of the unit vectors is taken block by block in float32 (NumPy on the CPU, torch on CUDA and MPS) and only
what may be among the k best is held. What a float32 product says within its rounding error of rank k depends on the
machine's matrix library, so everything in that band is scored again: in float64, the products of two vectors added up
by NumPy, with the same result on every machine. Equal similarities go to the lower bank row. All machines therefore
retrieve the same neighbours.

A GPU may round the factors to TF32, as a setting of torch says that any package may change at any time, for the whole
process. It is neither read nor changed: the band of a GPU is always as wide as TF32 needs.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.common.threads import own_threads

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.floating[Any]]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Places = npt.NDArray[np.intp]

QUERY_BLOCK = 512
QUERIES_AT_A_TIME = 2048  # in all threads together, which takes 100 MB to 150 MB
BANK_BLOCK = 4096
HELD_PER_QUERY = 4096  # a bank of near-copies fills the band: beyond this the held ones are cut exactly
PAIRS = 512  # bank vectors of a query scored again at a time: a megabyte in float64, which stays in the cache

Rounding = tuple[float, float]
"""The most by which a factor, and each sum of a product, can be wrong, relative to its value."""

IN_FLOAT32: Rounding = (2.0**-24, 2.0**-24)
IN_TF32: Rounding = (2.0**-10, 2.0**-23)  # bits are cut off, not rounded: in the factors all beyond ten

Product = Callable[[Float32, Float32, Float32 | None, int, np.float32], tuple[Places, Float32]]
"""(unit queries, unit bank block, the k-th best scores known, k, band) -> places, in the matrix of a line a query and a
column a bank row, and scores of all that may be among the k best."""


def nearest(
    queries: Floats,
    bank: Floats,
    k: int,
    *,
    device: "str | torch.device" = "cpu",
    bank_norm: Float64 | None = None,
) -> tuple[Int32, Float32]:
    """Return the k bank rows of highest cosine similarity to each query.

    Parameters
    ----------
    queries : float array, (n, d)
        Query vectors, of any length.
    bank : float array, (M, d)
        Bank vectors, of any length. Beside it and the result at most about 150 MB are used.
    k : int
        How many, 1 to M.
    device : str or torch.device
        ``"cpu"``: NumPy; otherwise torch on that device. The result is the same.
    bank_norm : float64 array, (M,), optional
        `norms` of the bank, where it is searched again and again.

    Returns
    -------
    neighbours : int32 array, (n, k)
        Bank rows, the most similar first; equal similarities in the order of the rows.
    similarity : float32 array, (n, k)
        Their cosine similarity, computed in float64. A vector of length zero has similarity 0 to everything.

    Raises
    ------
    ValueError
        If k or the shapes do not fit, or a vector is not finite.
    """
    if queries.ndim != 2 or bank.ndim != 2 or queries.shape[1] != bank.shape[1]:
        raise ValueError(f"queries {queries.shape} and bank {bank.shape} must be (n, d) and (M, d)")
    if not 1 <= k <= len(bank):
        raise ValueError(f"k must be 1 to {len(bank)}, not {k}")
    query_norm = norms(queries)
    if bank_norm is None:
        bank_norm = norms(bank)
    neighbours = np.empty((len(queries), k), np.int32)
    similarity = np.empty((len(queries), k), np.float32)
    on_cpu = str(device) == "cpu"
    product, error = (_numpy_product, IN_FLOAT32) if on_cpu else (_torch_product(device), IN_TF32)
    within = band(bank.shape[1], error)

    def search(block: slice) -> None:
        one = _Search(queries[block], query_norm[block], bank, bank_norm, k, product, within)
        neighbours[block], similarity[block] = one.run()

    with own_threads() if on_cpu else nullcontext(1) as threads:  # one thread feeds a GPU
        size = max(1, min(QUERY_BLOCK, QUERIES_AT_A_TIME // threads, -(-len(queries) // threads)))
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(search, [slice(start, start + size) for start in range(0, len(queries), size)]))
    return neighbours, similarity


def norms(vectors: Floats) -> Float64:
    """Return the lengths of vectors (n, d), float64 (n,).

    Raises
    ------
    ValueError
        If a vector is not finite.
    """
    lengths = np.empty(len(vectors))
    for start in range(0, len(vectors), BANK_BLOCK):
        block = vectors[start : start + BANK_BLOCK].astype(np.float64)
        lengths[start : start + BANK_BLOCK] = np.sqrt(np.square(block, out=block).sum(axis=1))
    if not np.isfinite(lengths).all():
        raise ValueError("vectors to search must be finite")
    return lengths


def unit_length(vectors: Floats) -> Float32:
    """Return vectors (n, d) scaled to unit length, in float32; those of length zero stay zero."""
    return _unit(vectors, norms(vectors))


@dataclass(frozen=True, slots=True)
class _Search:
    """The search for one block of queries."""

    queries: Floats
    query_norm: Float64
    bank: Floats
    bank_norm: Float64
    k: int
    product: Product
    band: np.float32

    def run(self) -> tuple[Int32, Float64]:
        """Find candidates block by block of the bank: rows and scores, a line a query, by ascending row."""
        unit = _unit(self.queries, self.query_norm)
        rows, scores = np.empty((len(unit), 0), np.int32), np.empty((len(unit), 0), np.float32)
        kth: Float32 | None = None
        for start in range(0, len(self.bank), BANK_BLOCK):
            some = slice(start, start + BANK_BLOCK)
            block = _unit_quickly(self.bank[some], self.bank_norm[some])
            places, found = self.product(unit, block, kth, self.k, self.band)
            count = np.diff(np.searchsorted(places, np.arange(len(unit) + 1) * len(block)))
            rows = np.hstack([rows, _lines(places % len(block) + start, count, np.int32(0))])
            scores = np.hstack([scores, _lines(found, count, np.float32(-np.inf))])
            if scores.shape[1] < self.k:
                continue
            kth = kth_best(scores, self.k)
            kept = scores >= np.maximum(kth - self.band, np.finfo(np.float32).min)[:, None]
            count = kept.sum(axis=1)
            rows, scores = _lines(rows[kept], count, np.int32(0)), _lines(scores[kept], count, np.float32(-np.inf))
            if scores.shape[1] > max(HELD_PER_QUERY, 4 * self.k):
                columns = np.sort(self._best(rows, scores)[0], axis=1)
                rows, scores = np.take_along_axis(rows, columns, 1), np.take_along_axis(scores, columns, 1)
        columns, values = self._best(rows, scores)
        return np.take_along_axis(rows, columns, 1), values

    def _best(self, rows: Int32, scores: Float32) -> tuple[Places, Float64]:
        """Score candidates again; return the columns of the k most similar, the best first, and their similarities."""
        values = np.full(rows.shape, -np.inf)
        for line, query in enumerate(self.queries.astype(np.float64)):
            mine = rows[line, : np.count_nonzero(scores[line] > -np.inf)]
            for start in range(0, len(mine), PAIRS):
                some = mine[start : start + PAIRS]
                length = self.query_norm[line] * self.bank_norm[some]
                dot = np.multiply(query, self.bank[some]).sum(axis=1)
                values[line, start : start + len(some)] = np.divide(dot, length, np.zeros(len(some)), where=length > 0)
        columns = np.argsort(-values, axis=1, kind="stable")[:, : self.k]
        return columns, np.take_along_axis(values, columns, 1)


def _lines(values: npt.NDArray[Any], count: Places, fill: np.generic) -> npt.NDArray[Any]:
    """Return values as a matrix, so many of them in each line from the left."""
    there = np.arange(count.max(initial=0)) < count[:, None]
    lines = np.full(there.shape, fill)
    lines[there] = values
    return lines


def kth_best(scores: Float32, k: int) -> Float32:
    """Return the k-th largest value of each line of a matrix."""
    rank = scores.shape[1] - k
    kth: Float32 = np.partition(scores, rank, axis=1)[:, rank]
    return kth


def band(dimensions: int, rounding: Rounding = IN_FLOAT32) -> np.float32:
    """Return twice the most that a product of unit vectors can be wrong (γ of d + 2, and both factors rounded)."""
    factor, addition = rounding
    return np.float32(2 * (2 * factor + (dimensions + 2) * addition))


def _unit(vectors: Floats, lengths: Float64, dtype: npt.DTypeLike = np.float64) -> Float32:
    """Return unit vectors, computed in a dtype; those of length zero stay zero."""
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0).astype(dtype)
    unit: Float32 = np.multiply(vectors, scale[:, None], dtype=dtype).astype(np.float32, copy=False)
    return unit


def _unit_quickly(vectors: Floats, lengths: Float64) -> Float32:
    """Return unit vectors for a product: as they are, or in float32, unless that would overflow or they are finer."""
    if vectors.dtype == np.float32 and (np.abs(lengths - 1) <= 2.0**-24).all():
        return vectors
    common = (lengths == 0) | ((lengths > 1e-30) & (lengths < 1e30))
    return _unit(vectors, lengths, np.float32 if vectors.dtype.itemsize <= 4 and common.all() else np.float64)


def _numpy_product(
    unit: Float32, block: Float32, kth: Float32 | None, k: int, within: np.float32
) -> tuple[Places, Float32]:
    scores = unit @ block.T
    if kth is None and len(block) >= k:
        kth = kth_best(scores, k)
    if kth is None:
        return np.arange(scores.size), scores.ravel()
    places = np.flatnonzero(scores >= (kth - within)[:, None])
    return places, scores.ravel()[places]


def _torch_product(device: "str | torch.device") -> Product:
    import torch

    from napari_cmrcnet.common.device import to_device

    def product(
        unit: Float32, block: Float32, kth: Float32 | None, k: int, within: np.float32
    ) -> tuple[Places, Float32]:
        scores = to_device(unit, device) @ to_device(block, device).T
        least = scores.topk(min(k, len(block)), dim=1).values[:, -1] if kth is None else to_device(kth, device)
        places = torch.nonzero((scores >= (least - float(within))[:, None]).ravel()).ravel()
        return places.cpu().numpy(), scores.ravel()[places].cpu().numpy()

    return product
