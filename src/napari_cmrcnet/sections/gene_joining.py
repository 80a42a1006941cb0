"""Which gene of one file is which of another: by Ensembl id where both have one, else by symbol."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.sections.gene_aliases import symbol_of
from napari_cmrcnet.sections.gene_table import unversioned
from napari_cmrcnet.sections.totals import alike, share_in, totalled_over

if TYPE_CHECKING:
    from napari_cmrcnet.sections.section import Section

logger = logging.getLogger(__name__)


def match_genes(
    symbols: Sequence[str], ids: Sequence[str], other_symbols: Sequence[str], other_ids: Sequence[str]
) -> npt.NDArray[np.intp]:
    """Find the genes of one list in another.

    Genes with one Ensembl id, whatever its version, are the same, also where one was renamed. Genes with two ids are
    not, also where they share a symbol. Where an id is missing on either side, symbols decide, spelled just so: the
    Erbb2 of a mouse is not ERBB2. A symbol that the other list does not have is tried as an alias that means one gene.

    Parameters
    ----------
    symbols, other_symbols : sequence of str
        Unique names of genes.
    ids, other_ids : sequence of str
        Their Ensembl ids, ``""`` where not known.

    Returns
    -------
    intp (len(symbols),)
        The place in the other list, -1 where the gene is not there. No place is given twice.
    """
    by_id = {unversioned(name): place for place, name in enumerate(other_ids) if name}
    by_symbol = {symbol: place for place, symbol in enumerate(other_symbols)}
    own = set(symbols)
    places = np.array([by_id.get(unversioned(name), -1) if name else -1 for name in ids], np.intp)
    _, first = np.unique(places, return_index=True)
    again = np.ones(len(places), bool)
    again[first] = False
    places[again] = -1  # one id at two genes of this list, as of a pseudoautosomal region: the first has it
    taken = set(places.tolist())
    alias_of = {real: place for name, place in by_symbol.items() if (real := symbol_of(name)) and real not in by_symbol}
    for here in np.flatnonzero(places < 0).tolist():
        symbol = symbols[here]
        there = by_symbol.get(symbol, -1)
        if there < 0:
            real = symbol_of(symbol)
            there = by_symbol.get(real, -1) if real and real not in own else alias_of.get(symbol, -1)
        if there >= 0 and there not in taken and not (ids[here] and other_ids[there]):
            places[here] = there
            taken.add(there)
    return places


def comparable(sections: "Sequence[Section]") -> "list[Section]":
    """Let sections be compared gene by gene: one name for a gene, and totals over genes in common where they differ.

    See `with_common_names`. That totals were changed is logged as a warning.
    """
    named = with_common_names(sections)
    common = frozenset.intersection(*(frozenset(section.spots.var_names) for section in named))
    if not common or alike(*(share_in(section.spots, section.spots.var_names.isin(common)) for section in named)):
        return named
    changed = [with_totals_over(section, common) for section in named]
    for section in changed:
        logger.warning("%s: %s", section.name, section.notes[-1])
    return changed


def with_totals_over(section: "Section", genes: frozenset[str]) -> "Section":
    """Return a section whose totals are over some genes, with a note that says so."""
    inside = section.spots.var_names.isin(genes)
    note = (
        f"Its totals are over the {count_text(int(inside.sum()), 'gene')} that all sections have, not over its "
        f"{len(inside):,}: the sections' genes differ too much to compare counts otherwise."
    )
    return replace(section, spots=totalled_over(section.spots, inside), notes=(*section.notes, note))


def with_common_names(sections: "Sequence[Section]") -> "list[Section]":
    """Let a gene have one name in all sections: the one that the first section which has it gives.

    A gene whose symbol another gene has in an earlier section gets its Ensembl id behind the symbol.
    """
    named, symbols, ids = [], list[str](), list[str]()
    for section in sections:
        var = section.spots.var
        own = list(map(str, var.index))
        own_ids = list(map(str, var["gene_ids"])) if "gene_ids" in var else [""] * len(own)
        places = match_genes(own, own_ids, symbols, ids)
        used, names = set(symbols), list[str]()
        for symbol, identifier, place in zip(own, own_ids, places.tolist(), strict=True):
            if place >= 0:
                names.append(symbols[place])
                ids[place] = ids[place] or identifier
            else:
                names.append(f"{symbol}_{identifier or section.name}" if symbol in used else symbol)
                symbols.append(names[-1])
                ids.append(identifier)
        named.append(renamed(section, names))
    return named


def renamed(section: "Section", names: Sequence[str]) -> "Section":
    """Return a section whose genes have these names; the counts are shared."""
    from anndata import AnnData

    spots = section.spots
    if list(names) == list(spots.var_names):
        return section
    var = spots.var.set_axis(pd.Index(names))
    again = AnnData(spots.X, obs=spots.obs, var=var, obsm=dict(spots.obsm), uns=dict(spots.uns))
    return replace(section, spots=again)
