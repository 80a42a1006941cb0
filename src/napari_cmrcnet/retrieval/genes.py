"""Genes by the names that users and files have for them."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.text import count_text, some_of
from napari_cmrcnet.sections.gene_aliases import aliases_from, fold, symbol_of, symbols_of
from napari_cmrcnet.sections.gene_joining import match_genes
from napari_cmrcnet.sections.gene_table import unversioned

if TYPE_CHECKING:
    import pandas as pd

    from napari_cmrcnet.sections.panels import Panel


def listed(names: str | Sequence[str]) -> Sequence[str]:
    """Return names, of which there may be one alone: to Python, a word is a sequence of letters."""
    return [names] if isinstance(names, str) else names


class Match(IntEnum):
    """How a gene fits what was searched for, the best first."""

    SYMBOL = 0
    ALIAS = 1
    START = 2
    ALIAS_START = 3
    PART = 4
    IDENTIFIER = 5
    NONE = 6


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
        ids = map(str, var["gene_ids"]) if "gene_ids" in var else ("",) * len(var)
        return cls(tuple(map(str, var.index)), tuple(ids))

    @classmethod
    def of_any(cls, tables: "Iterable[pd.DataFrame]") -> "GeneNames":
        """Return the genes that at least one of several ``var`` has, each once."""
        ids: dict[str, str] = {}
        for names in map(cls.of, tables):
            ids = dict(zip(names.symbols, names.ids, strict=True)) | ids
        return cls(tuple(ids), tuple(ids.values()))

    @cached_property
    def species(self) -> str:
        """Whose genes these are, ``"human"`` or ``"mouse"``, by Ensembl ids or else by case; "" where neither says."""
        humans, mice = (sum(name.startswith(prefix) for name in self.ids) for prefix in ("ENSG0", "ENSMUSG0"))
        if not any(self.ids):  # as their nomenclatures write them: ERBB2 and Erbb2
            words = [name for name in self.symbols if sum(map(str.isalpha, name)) > 1]
            humans, mice = sum(map(str.isupper, words)), sum(name == name.capitalize() for name in words)
        most = max(humans, mice)
        return "" if most <= len(self.symbols) / 2 else "human" if most == humans else "mouse"

    def is_of_another_species(self, other: "GeneNames") -> bool:
        """Whether these genes are known to be of another species than others."""
        return bool(self.species and other.species) and self.species != other.species

    @cached_property
    def _columns(self) -> dict[str, int]:
        by_id = {unversioned(name): column for column, name in enumerate(self.ids) if name}
        return by_id | {name: column for column, name in enumerate(self.symbols)}

    def column(self, name: str) -> int | None:
        """Return the place of the gene that a name means; None if it is not here.

        A name is a symbol, an Ensembl id with or without version, or an alias that means one gene. Case, hyphens and
        spaces do not matter, but what is spelled just so comes first: MIB-1 is MKI67, MIB1 another gene.
        """
        column = self.exact_column(name)
        for other in (symbol_of(name), name, *(symbols if len(symbols := symbols_of(name)) == 1 else ())):
            if column is None and other:
                column = self._folded.get(fold(other))
        return column

    def exact_column(self, name: str) -> int | None:
        """Return the place of a gene by symbol, spelled just so, or by Ensembl id; None if it is not here."""
        column = self._columns.get(name)
        return self._columns.get(unversioned(name)) if column is None else column

    def known(self, names: Iterable[str]) -> list[int]:
        """Return the places of those genes that are here, each once, in the order of the names."""
        columns = dict.fromkeys(map(self.column, names))
        return [column for column in columns if column is not None]

    def columns(self, names: Sequence[str], where: str) -> list[int]:
        """Return the places of genes.

        Raises
        ------
        UserError
            If some are not here; ``where`` says what lacks them. Similar names are suggested.
        """
        columns = [self.column(name) for name in names]
        if missing := [name for name, column in zip(names, columns, strict=True) if column is None]:
            raise UserError(f"{where} has no gene {some_of(missing)}; {self._suggestion(missing[0])}.")
        return [column for column in columns if column is not None]

    def on_panel(self, panel: "Panel | None", where: str) -> list[str]:
        """Say which genes of a panel are taken under another name, and which are not here; nothing for no panel.

        Parameters
        ----------
        panel : Panel or None
            As the user gave it.
        where : str
            What has these genes, to begin a sentence: "The checkpoint".
        """
        if panel is None:
            return []
        said = self.taken_for(panel)
        genes = dict.fromkeys(panel.genes)
        if unknown := [gene for gene in genes if self.column(gene) is None]:
            of_all = f"{count_text(len(unknown), 'gene', len(genes))} of the panel “{panel.name}”"
            said.append(f"{where} lacks {of_all}: {some_of(unknown, 20)}; {self._suggestion(unknown[0])}.")
        return said

    def taken_for(self, panel: "Panel") -> list[str]:
        """Say which genes of a panel are taken under another name; nothing if none is."""
        columns = {gene: self.column(gene) for gene in panel.genes if self.exact_column(gene) is None}
        renamed = [f"{gene} as {self.symbols[column]}" for gene, column in columns.items() if column is not None]
        own = GeneNames(panel.genes, ())
        of = f"Genes of the panel “{panel.name}” were found under other names"
        if self.is_of_another_species(own):
            of = f"The panel “{panel.name}” has {own.species} genes; {self.species} genes are used instead"
        return [f"{of}: {some_of(renamed, 20)}."] if renamed else []

    def check_panel(self, panel: "Panel | None", where: str) -> list[str]:
        """Return what `on_panel` says, of a panel that is asked for.

        Raises
        ------
        UserError
            If none of its genes is here.
        """
        said = self.on_panel(panel, where)
        if panel is not None and all(self.column(gene) is None for gene in panel.genes):
            raise UserError(" ".join(said))
        return said

    def with_these(self, panel: "Panel") -> "Panel":
        """Return a panel with its genes as they are called here; those that are not here stay as they are."""
        columns = {gene: self.column(gene) for gene in (*panel.genes, *panel.down)}
        called = {gene: gene if column is None else self.symbols[column] for gene, column in columns.items()}
        genes, down = (tuple(dict.fromkeys(called[gene] for gene in some)) for some in (panel.genes, panel.down))
        return replace(panel, genes=genes, down=down)

    def places_in(self, other: "GeneNames") -> npt.NDArray[np.intp]:
        """Return the place of each gene in other names, -1 where it is not there, intp (genes,); see `match_genes`."""
        return match_genes(self.symbols, self.ids, other.symbols, other.ids)

    def number_in(self, other: "GeneNames") -> int:
        """Return how many of the genes other names have, too."""
        return int(np.sum(self.places_in(other) >= 0))

    def search(self, text: str) -> tuple[npt.NDArray[np.uint8], dict[int, str]]:
        """Find genes by symbol, part of a symbol, alias or Ensembl id (with or without version), all in any case.

        Hyphens, dots and spaces are ignored, and Greek letters may be spelled out.

        Parameters
        ----------
        text : str
            As it is typed.

        Returns
        -------
        matches : uint8 (genes,)
            How each gene fits, as `Match`.
        aliases : dict of int to str
            By place, the alias by which a gene was found whose symbol does not tell why.
        """
        wanted, identifier = fold(text), fold(unversioned(text.strip().upper()))
        matches = np.full(len(self.symbols), Match.NONE, np.uint8)
        if len(identifier) > 3:
            matches[[place for place, name in enumerate(self._folded_ids) if identifier in name]] = Match.IDENTIFIER
        names = self._folded_symbols
        parts = [place for place, name in enumerate(names) if wanted in name] if wanted else []
        matches[parts] = Match.PART
        matches[[place for place in parts if names[place].startswith(wanted)]] = Match.START
        matches[[place for place in parts if names[place] == wanted]] = Match.SYMBOL
        return matches, self._by_alias(wanted, matches)

    def prepare_search(self) -> None:
        """Make the texts that are searched, which the first search would wait for: some 50 ms for 36,000 genes."""
        _ = self._folded_ids, self._folded

    def _by_alias(self, wanted: str, matches: npt.NDArray[np.uint8]) -> dict[int, str]:
        """Better the matches of genes of which an alias begins so; return those aliases by gene."""
        aliases: dict[int, str] = {}
        for alias, symbols in aliases_from(wanted) if len(wanted) > 1 else ():
            match = Match.ALIAS if fold(alias) == wanted else Match.ALIAS_START
            for symbol in symbols:
                column = self._folded.get(fold(symbol))
                if column is None or matches[column] <= match:
                    continue
                matches[column] = match
                if not fold(symbol).startswith(wanted):
                    aliases[column] = alias
        return aliases

    @cached_property
    def _folded_symbols(self) -> list[str]:
        return _folded(self.symbols)

    @cached_property
    def _folded_ids(self) -> list[str]:
        return _folded(map(unversioned, self.ids))

    @cached_property
    def _folded(self) -> dict[str, int]:
        return {symbol: column for column, symbol in reversed(list(enumerate(self._folded_symbols)))}

    def _suggestion(self, name: str) -> str:
        if known := [symbol for symbol in symbols_of(name) if symbol in self._columns]:
            return f"{name} is {' or '.join(known)} here"
        folded = {symbol.casefold(): symbol for symbol in self.symbols}
        close = difflib.get_close_matches(name.casefold(), list(folded), n=3, cutoff=0.7)
        if close:
            return f"names similar to {name} are {', '.join(folded[symbol] for symbol in close)}"
        return f"it has {count_text(len(self.symbols), 'gene')} of other names, such as {', '.join(self.symbols[:3])}"


def _folded(names: Iterable[str]) -> list[str]:
    return fold("".join(name.replace("\n", " ") + "\n" for name in names)).split("\n")[:-1]
