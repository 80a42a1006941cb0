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
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.threads import own_threads

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.floating[Any]]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Places = npt.NDArray[np.intp]

QUERIES_A_STEP = 1024  # between two signs of life; a second or less on a bank of 45,000
QUERIES_AT_A_TIME = 512  # in each thread; a GPU is sent the bank again for each so many
BLOCK = 4096  # bank rows at a time: few enough that their scores stay in the cache
HELD = 4096  # bank rows a query: a bank of near-copies fills the band, and beyond this the held ones are cut exactly
NONE = np.float32(-np.inf)  # the score of no row
PAIRS = 512  # bank vectors of a query scored again at a time: a megabyte in float64, which stays in the cache

Rounding = tuple[float, float]
"""The most by which a factor, and each sum of a product, can be wrong, relative to its value."""

IN_FLOAT32: Rounding = (2.0**-24, 2.0**-24)
IN_TF32: Rounding = (2.0**-10, 2.0**-23)  # bits are cut off, not rounded: in the factors all beyond ten


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
        Bank vectors, of any length; a copy is made of those that are not float32 of unit length. Beside it and the
        result some 100 MB are used.
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
    bank_norm = norms(bank) if bank_norm is None else bank_norm
    neighbours = np.empty((len(queries), k), np.int32)
    similarity = np.empty((len(queries), k), np.float32)
    on_cpu = str(device) == "cpu"
    unit_bank = _unit(bank, bank_norm)
    likely, error = (_likely, IN_FLOAT32) if on_cpu else (_likely_on(device), IN_TF32)
    within = band(bank.shape[1], error)

    def search(block: slice) -> None:
        unit = _unit(queries[block], query_norm[block])
        rows, scores = np.empty((len(unit), 0), np.int32), np.empty((len(unit), 0), np.float32)
        least = np.full(len(unit), -np.inf, np.float32)  # of the scores that may be among the k best
        for start in range(0, len(bank), BLOCK):
            part = unit_bank[start : start + BLOCK]
            places, found = likely(unit, part, k, within, least)
            count = np.diff(np.searchsorted(places, np.arange(len(unit) + 1) * len(part)))
            rows = np.hstack([rows, _lines(places % len(part) + start, count, np.int32(0))])
            scores = np.hstack([scores, _lines(found, count, NONE)])
            if scores.shape[1] < k:
                continue
            least = _kth_best(scores, k) - within
            kept = (scores >= least[:, None]) & (scores > NONE)
            count = kept.sum(axis=1)
            rows, scores = _lines(rows[kept], count, np.int32(0)), _lines(scores[kept], count, NONE)
            if scores.shape[1] > max(HELD, 4 * k):
                columns = np.sort(best(block, rows, scores)[0], axis=1)
                rows, scores = np.take_along_axis(rows, columns, 1), np.take_along_axis(scores, columns, 1)
        columns, similarity[block] = best(block, rows, scores)
        neighbours[block] = np.take_along_axis(rows, columns, 1)

    def best(block: slice, rows: Int32, scores: Float32) -> tuple[Places, Float64]:
        """Score what is held again; return the columns of the k most similar, the best first, and their similarity."""
        cosines = np.full(rows.shape, -np.inf)
        for line, query in enumerate(queries[block].astype(np.float64)):
            held = rows[line, : np.count_nonzero(scores[line] > NONE)]
            for start in range(0, len(held), PAIRS):
                some = held[start : start + PAIRS]
                length = query_norm[block][line] * bank_norm[some]
                dot = np.multiply(query, bank[some]).sum(axis=1)
                cosines[line, start : start + len(some)] = np.divide(dot, length, np.zeros_like(dot), where=length > 0)
        columns = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
        return columns, np.take_along_axis(cosines, columns, 1)

    with own_threads() if on_cpu else nullcontext(1) as threads:  # one thread feeds a GPU
        size = max(1, min(QUERIES_AT_A_TIME, -(-len(queries) // threads)))
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(search, [slice(start, start + size) for start in range(0, len(queries), size)]))
    return neighbours, similarity


def nearest_job(
    queries: Floats, bank: Floats, k: int, step: str, device: "str | torch.device" = "cpu"
) -> Job[tuple[Int32, Float32]]:
    """Return what `nearest` does, for some queries at a time; ``step`` is what the progress calls it."""
    n, lengths = len(queries), norms(bank)
    neighbours, similarity = np.empty((n, k), np.int32), np.empty((n, k), np.float32)
    for start in range(0, n, QUERIES_A_STEP):
        yield Progress(step, start, n, "spots")
        some = slice(start, start + QUERIES_A_STEP)
        neighbours[some], similarity[some] = nearest(queries[some], bank, k, device=device, bank_norm=lengths)
    yield Progress(step, n, n, "spots")
    return neighbours, similarity


def norms(vectors: Floats) -> Float64:
    """Return the lengths of vectors (n, d), float64 (n,).

    Raises
    ------
    ValueError
        If a vector is not finite.
    """
    lengths = np.empty(len(vectors))
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK].astype(np.float64)
        lengths[start : start + BLOCK] = np.sqrt(np.square(block, out=block).sum(axis=1))
    if not np.isfinite(lengths).all():
        raise ValueError("vectors to search must be finite")
    return lengths


def unit_length(vectors: Floats) -> Float32:
    """Return vectors (n, d) scaled to unit length, in float32; those of length zero stay zero."""
    return _unit(vectors, norms(vectors))


def _unit(vectors: Floats, lengths: Float64) -> Float32:
    """Return unit vectors in float32, the vectors themselves where they are that; those of length zero stay zero."""
    if vectors.dtype == np.float32 and (np.abs(lengths - 1) <= 2.0**-24).all():
        return vectors
    unit = np.empty(vectors.shape, np.float32)
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    for start in range(0, len(vectors), BLOCK):  # in float64, which neither overflows nor loses bits
        some = slice(start, start + BLOCK)
        unit[some] = vectors[some] * scale[some, None]
    return unit


def band(dimensions: int, rounding: Rounding = IN_FLOAT32) -> np.float32:
    """Return twice the most that a product of unit vectors can be wrong (γ of d + 2, and both factors rounded)."""
    factor, addition = rounding
    return np.float32(2 * (2 * factor + (dimensions + 2) * addition))


def _likely(unit: Float32, part: Float32, k: int, within: np.float32, least: Float32) -> tuple[Places, Float32]:
    """Return where scores may be among the k best, in the matrix of a line a query, and those scores.

    They are ``least`` or more, float32 (n,), or within the band of the k-th best of the first part.
    """
    scores = unit @ part.T
    if least[0] == NONE and len(part) >= k:
        least = _kth_best(scores, k) - within
    places = np.flatnonzero(scores >= least[:, None])
    return places, scores.ravel()[places]


def _likely_on(device: "str | torch.device") -> Callable[..., tuple[Places, Float32]]:
    """Return what does the same as `_likely`, by torch on a device."""
    import torch

    from napari_cmrcnet.common.device import to_device

    def likely(unit: Float32, part: Float32, k: int, within: np.float32, least: Float32) -> tuple[Places, Float32]:
        scores = to_device(unit, device) @ to_device(part, device).T
        if least[0] == NONE and len(part) >= k:
            lowest = scores.topk(k, dim=1).values[:, -1] - float(within)
        else:
            lowest = to_device(least, device)
        places = torch.nonzero((scores >= lowest[:, None]).ravel()).ravel()
        return places.cpu().numpy(), scores.ravel()[places].cpu().numpy()

    return likely


def _lines(values: npt.NDArray[Any], count: Places, fill: np.generic) -> npt.NDArray[Any]:
    """Return values as a matrix, so many of them in each line from the left, and the rest filled."""
    there = np.arange(count.max(initial=0)) < count[:, None]
    lines = np.full(there.shape, fill)
    lines[there] = values
    return lines


def _kth_best(scores: Float32, k: int) -> Float32:
    """Return the k-th highest score of each line."""
    rank = scores.shape[1] - k
    kth: Float32 = np.partition(scores, rank, axis=1)[:, rank]
    return kth
