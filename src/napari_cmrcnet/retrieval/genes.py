"""Genes by the names that users and files have for them."""

import difflib
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from napari_cmrcnet.common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


class GeneNames:
    """An ordered list of genes that finds them by symbol or Ensembl id.

    Parameters
    ----------
    symbols : sequence of str
        Unique gene symbols.
    ids : sequence of str
        Ensembl ids in the same order, ``""`` where not known.
    """

    def __init__(self, symbols: Sequence[str], ids: Sequence[str]) -> None:
        self.symbols = tuple(symbols)
        self.ids = tuple(ids)

    @classmethod
    def of(cls, var: "pd.DataFrame") -> "GeneNames":
        """Return the genes of an AnnData's ``var``: its index, and ``gene_ids`` where they are known."""
        return cls(tuple(map(str, var.index)), tuple(var["gene_ids"]) if "gene_ids" in var else ("",) * len(var))

    @cached_property
    def _columns(self) -> dict[str, int]:
        by_id = {_unversioned(name): column for column, name in enumerate(self.ids) if name}
        return by_id | {name: column for column, name in enumerate(self.symbols)}

    def column(self, name: str) -> int | None:
        """Return the place of a gene, by symbol or by Ensembl id with or without version; None if it is not here."""
        column = self._columns.get(name)
        return self._columns.get(_unversioned(name)) if column is None else column

    def columns(self, names: Sequence[str], where: str) -> list[int]:
        """Return the places of genes.

        Raises
        ------
        UserError
            If some are not here; ``where`` says what lacks them. Similar names are suggested.
        """
        columns = [self.column(name) for name in names]
        if missing := [name for name, column in zip(names, columns, strict=True) if column is None]:
            raise UserError(f"{where} has no gene {_some(missing)}; {self._suggestion(missing[0])}.")
        return [column for column in columns if column is not None]

    def in_common(self, other: "GeneNames") -> list[tuple[int, int]]:
        """Return (place here, place in the other) of the genes that both have, in the order here."""
        pairs = []
        for here, (symbol, identifier) in enumerate(zip(self.symbols, self.ids, strict=True)):
            there = other.column(symbol)
            if there is None and identifier:
                there = other.column(identifier)
            if there is not None:
                pairs.append((here, there))
        return pairs

    def _suggestion(self, name: str) -> str:
        folded = {symbol.casefold(): symbol for symbol in self.symbols}
        close = difflib.get_close_matches(name.casefold(), list(folded), n=3, cutoff=0.7)
        if close:
            return f"similar names are {', '.join(folded[symbol] for symbol in close)}"
        return f"it has {len(self.symbols):,} genes, such as {', '.join(self.symbols[:3])}"


def _unversioned(identifier: str) -> str:
    """Return ``ENSG00000141510`` of ``ENSG00000141510.18``; symbols such as ``RP11-34P13.7`` stay."""
    return identifier.partition(".")[0] if identifier.startswith("ENS") else identifier


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
