"""Candidates: what may be among the k best of each query while a bank is searched block by block."""

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Places = npt.NDArray[np.intp]


class Candidates:
    """Bank rows and scores, a line a query: from the left, by ascending bank row.

    Parameters
    ----------
    queries : int
        How many.
    width : int
        Candidates of a query that there is room for; it grows where that is not enough.

    Attributes
    ----------
    scores : float32 array, (n, width)
        −∞ where nothing is held.
    rows : int32 array, (n, width)
        Bank rows.
    count : intp array, (n,)
        Candidates of each query.
    """

    def __init__(self, queries: int, width: int) -> None:
        self.scores = np.full((queries, width), -np.inf, np.float32)
        self.rows = np.zeros((queries, width), np.int32)
        self.count = np.zeros(queries, np.intp)

    @property
    def used(self) -> int:
        """Candidates of the query that has most."""
        return int(self.count.max(initial=0))

    def after(self, places: Places, columns: int) -> int:
        """Return what `used` would be after `add`."""
        return int((self.count + self._found(places, columns)).max(initial=0))

    def add(self, places: Places, scores: Float32, columns: int, start: int) -> None:
        """Add candidates of later and later bank rows.

        Parameters
        ----------
        places : intp array, (c,)
            Ascending places in a matrix, flat, of a line a query and so many columns.
        scores : float32 array, (c,)
            Their scores.
        columns : int
            Columns of that matrix.
        start : int
            Bank row of its first column.
        """
        query = np.arange(len(self.count))
        rows = places + np.repeat(start - query * columns, self._found(places, columns))
        self._put(places, scores, rows, columns)

    def kth_best(self, k: int) -> Float32 | None:
        """Return the k-th best score of each query, (n,); None while a query has fewer."""
        return None if self.count.min() < k else kth_best(self.scores[:, : self.used], k)

    def keep(self, least: Float32) -> None:
        """Drop the candidates of each query that score less than so much, (n,)."""
        width = self.used
        places = np.flatnonzero(self.scores[:, :width] >= least[:, None])
        rows, scores = self.rows[:, :width].ravel()[places], self.scores[:, :width].ravel()[places]
        self._clear()
        self._put(places, scores, rows, width)

    def choose(self, columns: Places) -> None:
        """Keep the candidates at some columns, (n, k), ascending in each line."""
        rows, scores = (np.take_along_axis(held, columns, 1) for held in (self.rows, self.scores))
        self._clear()
        width = columns.shape[1]
        self.rows[:, :width], self.scores[:, :width], self.count[:] = rows, scores, width

    def _put(self, places: Places, scores: Float32, rows: npt.NDArray[np.integer], columns: int) -> None:
        """Append values, which lie at ascending places of a matrix, to the lines of their queries."""
        found = self._found(places, columns)
        self._make_room(int((self.count + found).max(initial=0)))
        line = np.arange(len(self.count)) * self.rows.shape[1]
        at = np.arange(len(places)) + np.repeat(line + self.count - (np.cumsum(found) - found), found)
        self.scores.reshape(-1)[at] = scores  # a view; twice as fast as np.put()
        self.rows.reshape(-1)[at] = rows.astype(np.int32)
        self.count += found

    def _found(self, places: Places, columns: int) -> Places:
        """Return how many of the places are in each line of their matrix."""
        return np.diff(np.searchsorted(places, np.arange(len(self.count) + 1) * columns))

    def _make_room(self, width: int) -> None:
        n, had = self.rows.shape
        if width > had:
            wider = Candidates(n, max(width, had + had // 2))
            wider.scores[:, :had], wider.rows[:, :had] = self.scores, self.rows
            self.scores, self.rows = wider.scores, wider.rows

    def _clear(self) -> None:
        self.scores.fill(-np.inf)
        self.count[:] = 0


def kth_best(scores: Float32, k: int) -> Float32:
    """Return the k-th largest value of each line of a matrix."""
    rank = scores.shape[1] - k
    kth: Float32 = np.partition(scores, rank, axis=1)[:, rank]
    return kth
