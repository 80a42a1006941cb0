"""Candidates from FAISS, an optional library: exact ones, or approximate ones in less time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.retrieval.candidates import Candidates
from napari_cmrcnet.retrieval.search import BANK_BLOCK, Float32, Floats, band, unit_length

MARGIN = 64  # more asked of the exact index than k, so that near-ties at rank k are among them
CELLS = 4  # of the approximate index, times the square root of the bank's spots: FAISS's advice
SPOTS_A_CELL = 64  # spots that a cell is learned from, where the bank has so many
CELLS_SEARCHED = 32


@dataclass(frozen=True, eq=False)
class Flat:
    """An index that goes through the whole bank: what is found with it is exact."""

    index: Any

    def candidates(self, unit: Float32, k: int) -> Candidates | None:
        """Return candidates; None if near-ties at rank k may reach beyond those asked for."""
        asked = min(k + MARGIN, self.index.ntotal)
        scores, rows = self.index.search(unit, asked)
        if asked < self.index.ntotal and (scores[:, -1] >= scores[:, k - 1] - band(unit.shape[1])).any():
            return None
        return Candidates.of(rows.astype(np.int32), scores)


@dataclass(frozen=True, eq=False)
class Approximate:
    """An index that goes through the cells of the bank next to a query: most of its neighbours are found, not all."""

    index: Any

    def candidates(self, unit: Float32, k: int) -> Candidates | None:
        """Return candidates; None if the cells hold too few."""
        scores, rows = self.index.search(unit, k)
        return None if (rows < 0).any() else Candidates.of(rows.astype(np.int32), scores)


def flat_index(bank: Floats) -> Flat:
    """Return an exact index of a bank (M, d); it holds a copy.

    Raises
    ------
    UserError
        If FAISS is not installed.
    """
    index = _faiss().IndexFlatIP(bank.shape[1])
    _fill(index, bank)
    return Flat(index)


def approximate_index(bank: Floats) -> Approximate:
    """Return an approximate index (IVF) of a bank (M, d); it holds a copy.

    How many of the exact neighbours it finds depends on the bank: measure it, with `recall`.

    Raises
    ------
    UserError
        If FAISS is not installed.
    """
    faiss = _faiss()
    spots, dimensions = bank.shape
    cells = max(1, min(int(CELLS * spots**0.5), spots // SPOTS_A_CELL))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimensions), dimensions, cells, faiss.METRIC_INNER_PRODUCT)
    index.nprobe = CELLS_SEARCHED
    sample = np.linspace(0, spots - 1, min(spots, SPOTS_A_CELL * cells)).astype(np.intp)
    index.train(unit_length(bank[sample]))
    _fill(index, bank)
    return Approximate(index)


def recall(found: npt.NDArray[np.int32], exact: npt.NDArray[np.int32]) -> float:
    """Return the share of the exact neighbours (n, k) that were found, (n, k)."""
    common = [len(np.intersect1d(*pair, assume_unique=True)) for pair in zip(found, exact, strict=True)]
    return sum(common) / exact.size


def _fill(index: Any, bank: Floats) -> None:
    for start in range(0, len(bank), BANK_BLOCK):
        index.add(unit_length(bank[start : start + BANK_BLOCK]))


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise UserError(
            "FAISS is not installed: pip install 'napari-cmrcnet[faiss]', or search with the built-in engine."
        ) from error
    return faiss
