"""Genes in the order of a list, without their names being looked up."""

from collections.abc import Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.retrieval.genes import GeneNames


class Listed(Sequence[str]):
    """The symbols of listed genes, each looked up when it is asked for.

    Parameters
    ----------
    names : GeneNames
        All genes.
    rows : intp (listed,)
        Those that are listed.
    """

    def __init__(self, names: GeneNames, rows: npt.NDArray[np.intp]) -> None:
        self._names, self._rows = names, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> "Listed": ...
    def __getitem__(self, place: int | slice) -> "str | Listed":
        if isinstance(place, slice):
            return Listed(self._names, self._rows[place])
        return self._names.symbols[self._rows[place]]

    def index(self, value: str, start: int = 0, stop: int | None = None) -> int:
        """Return the place of a gene.

        Raises
        ------
        ValueError
            If it is not listed.
        """
        column = self._names.column(value)
        places = np.flatnonzero(self._rows[start:stop] == (-1 if column is None else column))
        if not places.size:
            raise ValueError(f"{value} is not listed")
        return start + int(places[0])
