"""Exact search for the bank spots most similar to each query.

The product of the unit vectors is taken in float32 (NumPy on the CPU, torch on CUDA and MPS). What it says within its
rounding error of rank k depends on the machine's matrix library, so everything in that band is scored again: in
float64, the products of two vectors added up by NumPy, with the same result on every machine. Equal similarities go to
the lower bank row. All machines therefore retrieve the same neighbours.

A GPU may round the factors to TF32, as a setting of torch says that any package may change at any time, for the whole
process. It is neither read nor changed: the band of a GPU is always as wide as TF32 needs.
"""

from collections.abc import Callable, Iterable, Iterator
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
QUERIES_AT_A_TIME = 128  # at least, in all threads together; more of a smaller bank
QUERIES_ON_A_GPU = 512  # at least; the bank is sent to it again for each so many
PART = 2**16  # bank rows of which the scores are held: in all threads together 32 MiB
BLOCK = 4096  # vectors of which the lengths are taken, or the scores sorted, at a time
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
        rows, cosines = np.zeros((len(unit), k), np.intp), np.full((len(unit), k), -np.inf)  # the best so far
        for start in range(0, len(bank), PART):
            for line, places in enumerate(likely(unit, unit_bank[start : start + PART], k, within, cosines[:, -1])):
                if not len(places):
                    continue
                found = places + start
                length = query_norm[block][line] * bank_norm[found]
                dot = _dots(queries[block][line].astype(np.float64), bank, found)
                found = np.append(rows[line], found)
                cosine = np.append(cosines[line], np.divide(dot, length, np.zeros_like(length), where=length > 0))
                best = np.argsort(-cosine, kind="stable")[:k]
                rows[line], cosines[line] = found[best], cosine[best]
        neighbours[block], similarity[block] = rows, cosines

    with own_threads() if on_cpu else nullcontext(1) as threads:  # one thread feeds a GPU
        at_a_time = QUERIES_AT_A_TIME if on_cpu else QUERIES_ON_A_GPU
        most = max(1, at_a_time * PART // min(len(bank), PART) // threads)
        size = max(1, min(most, -(-len(queries) // threads)))
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


def _likely(unit: Float32, bank: Float32, k: int, within: np.float32, known: Float64) -> Iterator[Places]:
    """Yield, for each unit query, the places of what of a part of the bank may be among its k nearest, in order.

    What may be is no less than ``within`` below the k-th best score, nor below that of the parts before, float64 (n,).
    """
    for scores, best in zip(unit @ bank.T, known.astype(np.float32), strict=True):
        # The k-th best of some is no better than that of all, and leaves few to look among.
        some = best if best > -np.inf else _kth_best(scores[: max(k, BLOCK)], k)
        places = np.flatnonzero(scores >= some - within)
        yield places[scores[places] >= _kth_best(scores[places], k) - within]


def _kth_best(scores: Float32, k: int) -> np.float32:
    """Return the k-th highest of scores; of fewer minus infinity."""
    rank = len(scores) - k
    kth: np.float32 = np.partition(scores, rank)[rank] if rank >= 0 else np.float32(-np.inf)
    return kth


def _likely_on(device: "str | torch.device") -> Callable[..., Iterable[Places]]:
    """Return what does the same as `_likely`, by torch on a device."""
    import torch

    from napari_cmrcnet.common.device import to_device

    def likely(unit: Float32, bank: Float32, k: int, within: np.float32, known: Float64) -> list[Places]:
        scores = to_device(unit, device) @ to_device(bank, device).T
        best = scores.topk(min(k, len(bank)), dim=1).values[:, -1:]
        best = best.maximum(to_device(known.astype(np.float32), device)[:, None])
        lines, places = torch.nonzero(scores >= best - float(within), as_tuple=True)
        ends = np.cumsum(np.bincount(lines.cpu(), minlength=len(unit)))[:-1]
        return np.split(places.cpu().numpy(), ends)

    return likely


def _dots(query: Float64, bank: Floats, rows: Places) -> Float64:
    """Return the products of a query with bank rows, added up by NumPy, float64 (len(rows),)."""
    parts = [rows[start : start + PAIRS] for start in range(0, len(rows), PAIRS)]
    return np.concatenate([np.multiply(query, bank[part]).sum(axis=1) for part in parts])
