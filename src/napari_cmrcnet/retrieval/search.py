"""Exact search for the bank spots most similar to each query.

The product of the unit vectors is taken block by block in float32 (NumPy on the CPU, torch on CUDA and MPS) and only
what may be among the k best is held. What a float32 product says within its rounding error of rank k depends on the
machine's matrix library, so everything in that band is scored again in float64, in one way on every machine; equal
similarities go to the lower bank row. All machines therefore retrieve the same neighbours.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.common.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

Floats = npt.NDArray[np.floating[Any]]
Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Engine = Literal["built-in", "faiss"]

QUERY_BLOCK = 512
BANK_BLOCK = 4096
RESCORE_BLOCK = 2048  # pairs of vectors scored in float64 at a time: 4 MB an operand, which stays in the cache
FAISS_MARGIN = 64  # more asked of FAISS than k, so that near-ties at rank k are among them
HELD_PER_QUERY = 4096  # a bank of near-copies fills the band: beyond this the held ones are cut exactly


@dataclass(frozen=True, slots=True)
class _Candidates:
    """What may be among the k best: sorted by query row, then by bank row."""

    query: npt.NDArray[np.uint16]  # row within the block of queries
    bank: Int32
    score: Float32

    def join(self, later: "Sequence[_Candidates]") -> "_Candidates":
        """Add candidates from later and later bank rows."""
        parts = [self, *later]
        query = np.concatenate([part.query for part in parts])
        order = np.argsort(query, kind="stable")  # radix sort on 16 bits
        bank = np.concatenate([part.bank for part in parts])
        score = np.concatenate([part.score for part in parts])
        return _Candidates(query[order], bank[order], score[order])

    def select(self, keep: npt.NDArray[np.bool_]) -> "_Candidates":
        kept = np.flatnonzero(keep)
        return _Candidates(self.query[kept], self.bank[kept], self.score[kept])


Product = Callable[[Float32, Float32, Float32], tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Float32]]
"""(unit queries, unit bank block, a threshold for each query) -> row, column and score of all at or above it."""


def nearest(
    queries: Floats, bank: Floats, k: int, *, device: "str | torch.device" = "cpu", index: Any = None
) -> tuple[Int32, Float32]:
    """Return the k bank rows of highest cosine similarity to each query.

    Parameters
    ----------
    queries : float array, (n, d)
        Query vectors, of any length.
    bank : float array, (M, d)
        Bank vectors, of any length. Beside it at most about 150 MB are used.
    k : int
        How many, 1 to M.
    device : str or torch.device
        ``"cpu"``: NumPy; otherwise torch on that device. The result is the same.
    index : faiss.IndexFlatIP, optional
        Of the bank, from `faiss_index`; it then finds the candidates. The result is the same.

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
    query_norm, bank_norm = _norms(queries), _norms(bank)
    neighbours = np.empty((len(queries), k), np.int32)
    similarity = np.empty((len(queries), k), np.float32)
    product = _numpy_product if str(device) == "cpu" else _torch_product(device)
    with _full_float32(device):
        for start in range(0, len(queries), QUERY_BLOCK):
            block = slice(start, start + QUERY_BLOCK)
            search = _Search(queries[block], query_norm[block], bank, bank_norm, k, product)
            neighbours[block], similarity[block] = search.run(index)
    return neighbours, similarity


def faiss_index(bank: Floats) -> Any:
    """Return a FAISS index of the unit vectors of a bank (M, d), for `nearest`; it holds a copy of them.

    Raises
    ------
    UserError
        If FAISS is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise UserError(
            "FAISS is not installed: pip install 'napari-cmrcnet[faiss]', or search without it, with the same result."
        ) from error
    index = faiss.IndexFlatIP(bank.shape[1])
    norms = _norms(bank)
    for start in range(0, len(bank), BANK_BLOCK):
        block = slice(start, start + BANK_BLOCK)
        index.add(_unit(bank[block], norms[block]))
    return index


def unit_length(vectors: Floats) -> Float32:
    """Return vectors (n, d) scaled to unit length, in float32; those of length zero stay zero."""
    return _unit(vectors, _norms(vectors))


@dataclass(frozen=True, slots=True)
class _Search:
    """The search of one block of queries."""

    queries: Floats
    query_norm: npt.NDArray[np.float64]
    bank: Floats
    bank_norm: npt.NDArray[np.float64]
    k: int
    product: Product

    @property
    def band(self) -> np.float32:
        """Twice the most that a float32 product of unit vectors, themselves rounded, can be wrong (γ of d + 4)."""
        return np.float32(2 * (self.queries.shape[1] + 4) * 2.0**-24)

    def run(self, index: Any = None) -> tuple[Int32, Float32]:
        unit = _unit(self.queries, self.query_norm)
        found = None if index is None else self._ask(index, unit)
        return self._best(self._scan(unit) if found is None else found)

    def _ask(self, index: Any, unit: Float32) -> _Candidates | None:
        """Take candidates from FAISS; None if near-ties at rank k may reach beyond those asked for."""
        n, m = len(self.queries), len(self.bank)
        asked = min(self.k + FAISS_MARGIN, m)
        score, rows = index.search(unit, asked)
        if asked < m and (score[:, -1] >= score[:, self.k - 1] - self.band).any():
            return None
        order = np.argsort(rows, axis=1)
        rows, score = np.take_along_axis(rows, order, 1), np.take_along_axis(score, order, 1)
        query = np.repeat(np.arange(n, dtype=np.uint16), asked)
        return _Candidates(query, rows.ravel().astype(np.int32), score.ravel())

    def _scan(self, unit: Float32) -> _Candidates:
        """Find candidates block by block of the bank."""
        n, m = len(self.queries), len(self.bank)
        threshold = np.full(n, -np.inf, np.float32)
        none = np.empty(0, np.float32)
        held = _Candidates(none.astype(np.uint16), none.astype(np.int32), none)
        waiting: list[_Candidates] = []
        start, size = 0, BANK_BLOCK // 8
        while start < m:
            block = slice(start, min(start + size, m))
            rows, columns, score = self.product(unit, _unit(self.bank[block], self.bank_norm[block]), threshold)
            waiting.append(_Candidates(rows.astype(np.uint16), (columns + start).astype(np.int32), score))
            if sum(len(found.query) for found in waiting) > n * self.k // 2 or block.stop == m:
                held, threshold = self._tighten(held.join(waiting))
                waiting.clear()
            start, size = block.stop, min(2 * size, BANK_BLOCK)  # small first: no threshold is known yet
        return held

    def _tighten(self, held: _Candidates) -> tuple[_Candidates, Float32]:
        """Drop what cannot be among the k best, and return the score that the next ones have to reach."""
        n = len(self.queries)
        if len(held.query) > n * max(HELD_PER_QUERY, 4 * self.k):
            held = self._cut(held)
        rectangle = _rectangle(held, n, held.score, np.float32(-np.inf))
        if rectangle.shape[1] < self.k:
            return held, np.full(n, -np.inf, np.float32)
        rank_k = rectangle.shape[1] - self.k
        threshold: Float32 = np.partition(rectangle, rank_k, axis=1)[:, rank_k] - self.band
        return held.select(held.score >= threshold[held.query]), threshold

    def _cut(self, held: _Candidates) -> _Candidates:
        """Keep exactly the k best of each query among those held."""
        exact = self._exact(held)
        order = np.lexsort((held.bank, -exact, held.query))
        counts = np.bincount(held.query, minlength=len(self.queries))
        keep = np.zeros(len(order), bool)
        keep[order] = _positions(held.query[order], counts) < self.k
        return held.select(keep)

    def _best(self, held: _Candidates) -> tuple[Int32, Float32]:
        n = len(self.queries)
        exact = _rectangle(held, n, self._exact(held), -np.inf)
        rows = _rectangle(held, n, held.bank, -1)
        order = np.argsort(-exact, axis=1, kind="stable")[:, : self.k]  # bank rows ascend: ties go to the lower
        return np.take_along_axis(rows, order, 1), np.take_along_axis(exact, order, 1).astype(np.float32)

    def _exact(self, held: _Candidates) -> npt.NDArray[np.float64]:
        """Return the cosine similarities in float64, added up in an order that no matrix library decides."""
        exact = np.empty(len(held.query))
        queries = self.queries.astype(np.float64)
        for start in range(0, len(exact), RESCORE_BLOCK):
            block = slice(start, start + RESCORE_BLOCK)
            query, bank = held.query[block], held.bank[block]
            length = self.query_norm[query] * self.bank_norm[bank]
            dot = np.multiply(queries[query], self.bank[bank]).sum(axis=1)
            exact[block] = np.divide(dot, length, out=np.zeros(len(dot)), where=length > 0)
        return exact


def _positions(query: npt.NDArray[np.uint16], counts: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Return the place of each candidate among those of its query."""
    first = np.cumsum(counts) - counts
    return np.arange(len(query)) - first[query]


def _rectangle(held: _Candidates, n: int, values: npt.NDArray[Any], fill: Any) -> npt.NDArray[Any]:
    """Lay values out as one line a query, filled up at the end."""
    counts = np.bincount(held.query, minlength=n)
    rectangle = np.full((n, counts.max(initial=0)), fill, values.dtype)
    rectangle[held.query, _positions(held.query, counts)] = values
    return rectangle


def _norms(vectors: Floats) -> npt.NDArray[np.float64]:
    norms = np.empty(len(vectors))
    for start in range(0, len(vectors), BANK_BLOCK):
        block = vectors[start : start + BANK_BLOCK].astype(np.float64)
        norms[start : start + BANK_BLOCK] = np.sqrt(np.square(block).sum(axis=1))
    if not np.isfinite(norms).all():
        raise ValueError("vectors to search must be finite")
    return norms


def _unit(vectors: Floats, norms: npt.NDArray[np.float64]) -> Float32:
    """Return unit vectors; those of length zero stay zero."""
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    unit: Float32 = np.multiply(vectors, scale[:, None], dtype=np.float64).astype(np.float32)
    return unit


def _numpy_product(
    unit: Float32, block: Float32, threshold: Float32
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Float32]:
    scores = unit @ block.T
    rows, columns = np.divmod(np.flatnonzero(scores >= threshold[:, None]), len(block))
    return rows, columns, scores[rows, columns]


def _torch_product(device: "str | torch.device") -> Product:
    import torch

    def product(
        unit: Float32, block: Float32, threshold: Float32
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Float32]:
        scores = torch.from_numpy(unit).to(device) @ torch.from_numpy(block).to(device).T
        rows, columns = torch.nonzero(scores >= torch.from_numpy(threshold).to(device)[:, None], as_tuple=True)
        return rows.cpu().numpy(), columns.cpu().numpy(), scores[rows, columns].cpu().numpy()

    return product


def _full_float32(device: "str | torch.device") -> AbstractContextManager[None]:
    """Keep torch from rounding the products to TF32, whose error is far beyond the band."""
    return nullcontext() if str(device) == "cpu" else _highest_matmul_precision()


@contextmanager
def _highest_matmul_precision() -> "Iterator[None]":
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
