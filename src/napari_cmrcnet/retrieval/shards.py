"""Search of a bank too large for memory: in parts of it, one after another, with the result of the whole."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.retrieval.rescore import Rescorer
from napari_cmrcnet.retrieval.search import Float32, Floats, Int32, nearest_float64, norms

if TYPE_CHECKING:
    import torch

PART = 1 << 20  # bank rows at a time: a gigabyte of 256 numbers each


@dataclass(frozen=True, eq=False)
class Shards:
    """A bank's embeddings in files, as if they were one array (M, d), read where it is needed.

    Parameters
    ----------
    paths : tuple of Path
        Files of NumPy (.npy), each of float numbers (rows, d).
    starts : int array, (len(paths) + 1,)
        The bank row that each begins with; M at the end.
    dimensions : int
        d.
    """

    paths: tuple[Path, ...]
    starts: npt.NDArray[np.intp]
    dimensions: int

    @classmethod
    def of(cls, paths: Sequence[str | os.PathLike[str]]) -> "Shards":
        """Look into the files.

        Raises
        ------
        UserError
            If one is not such a file, or is of another width than the first.
        """
        arrays = [_open(Path(path)) for path in paths]
        if not arrays:
            raise UserError("There is no file to search; name the .npy files of the bank's embeddings.")
        dimensions = arrays[0].shape[1]
        for path, array in zip(paths, arrays, strict=True):
            if array.shape[1] != dimensions:
                raise UserError(
                    f"{path} has embeddings of length {array.shape[1]}, {paths[0]} of {dimensions}; "
                    "take the files of one bank."
                )
        starts = np.cumsum([0, *map(len, arrays)])
        return cls(tuple(map(Path, paths)), starts, dimensions)

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def shape(self) -> tuple[int, ...]:
        """(M, d)."""
        return len(self), self.dimensions

    def __getitem__(self, rows: npt.NDArray[np.integer[Any]]) -> Floats:
        """Return some rows, in any order."""
        vectors = np.empty((len(rows), self.dimensions))
        shard = np.searchsorted(self.starts, rows, side="right") - 1
        for number in np.unique(shard):
            here = shard == number
            vectors[here] = _open(self.paths[number])[rows[here] - self.starts[number]]
        return vectors

    def parts(self) -> Iterator[tuple[int, Floats]]:
        """Yield the bank part by part, mapped into memory, each with its first row."""
        for path, start in zip(self.paths, self.starts[:-1], strict=True):
            rows = len(_open(path))
            for first in range(0, rows, PART):
                yield int(start) + first, _open(path)[first : first + PART]  # mapped anew: the last one's is let go


def nearest_in_shards(
    queries: Floats, shards: Shards, k: int, *, device: "str | torch.device" = "cpu"
) -> Job[tuple[Int32, Float32]]:
    """Return the k bank rows of highest cosine similarity to each query: what `nearest` returns of the whole bank.

    The k best of each part are held, and the k best of these are those of the whole. Beside them, a part (a gigabyte)
    is held at a time.

    Parameters
    ----------
    queries : float array, (n, d)
        Query vectors, of any length.
    shards : Shards, (M, d)
        The bank, of any length.
    k : int
        How many, 1 to M.
    device : str or torch.device
        As `nearest`.

    Yields
    ------
    Progress
        Once a part.

    Returns
    -------
    neighbours : int32 array, (n, k)
    similarity : float32 array, (n, k)

    Raises
    ------
    ValueError
        If k or the shapes do not fit, or a vector is not finite.
    """
    if queries.ndim != 2 or queries.shape[1] != shards.dimensions:
        raise ValueError(f"queries {queries.shape} and bank {shards.shape} must be (n, d) and (M, d)")
    if not 1 <= k <= len(shards):
        raise ValueError(f"k must be 1 to {len(shards)}, not {k}")
    query_norm = norms(queries)
    bank_norm = np.empty(len(shards))
    rows, values = np.empty((len(queries), 0), np.int32), np.empty((len(queries), 0))
    whole = Rescorer(queries, query_norm, shards, bank_norm)
    for start, part in shards.parts():
        yield Progress("Searching the bank", start, len(shards), "spots")
        length = bank_norm[start : start + len(part)]
        length[:] = norms(part)
        found, similarity = nearest_float64(queries, query_norm, part, min(k, len(part)), device, bank_norm=length)
        rows, values = np.hstack([rows, found + np.int32(start)]), np.hstack([values, similarity])
        order, values = whole.best(rows, values, k)  # by rows: those of the parts before come first
        rows = np.take_along_axis(rows, order, 1)
    yield Progress("Searching the bank", len(shards), len(shards), "spots")
    return rows, values.astype(np.float32)


def _open(path: Path) -> Any:
    """Map a file into memory."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"{path} is not a readable .npy file ({error}); write it again with numpy.save.") from error
    if array.ndim != 2 or array.dtype.kind != "f" or len(array) == 0:
        raise UserError(
            f"{path} holds {array.dtype} numbers of shape {array.shape}; embeddings are float numbers (spots, length)."
        )
    return array
