"""What must hold for a section to be predicted from a bank; checked before anything is computed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.retrieval.genes import GeneNames
from napari_cmrcnet.retrieval.known_genes import BankSummary
from napari_cmrcnet.sections.totals import alike, share_in

if TYPE_CHECKING:
    from napari_cmrcnet.sections.section import Section


MANY_GENES = 200
FOREIGN = 0.01
"""Share of the genes, of the side that has fewer, below which many genes are of another species or named otherwise.

Two choices of 200 of a genome's 18,000 genes that have nothing to do with each other share 1.1 % of them by chance,
larger ones more. A mouse section and a bank of human sections share 10 symbols of 14,721, or 0.07 %.
"""
ONE_SPECIES = "Check that both are of one species and use the same kind of gene names."


def totals_in_common(section: "Section", bank: BankSummary) -> npt.NDArray[np.bool_] | None:
    """Return the genes over which the totals of a section, and of the bank, must be taken to be compared.

    Returns
    -------
    bool (genes of the section,) or None
        Those that the bank has, too; None where totals as they are taken are alike, or no counts were measured.
    """
    places = GeneNames.of(section.spots.var).places_in(bank.names)
    common = places >= 0
    if not section.counted or not common.any():
        return None
    shares = share_in(section.spots, common), float(bank.shares[places[common]].sum(dtype=np.float64))
    return None if alike(*shares) else common


def check_genes(section: "Section", bank: GeneNames) -> None:
    """Refuse measured genes of which a bank has none, or next to none: another species, or ids of another kind.

    The comparison with what was measured would be of a few genes that share a name by chance. Where that is not asked
    for, the same slide can be predicted without its counts.

    Raises
    ------
    UserError
        If no gene is in common, or of `MANY_GENES` and more on both sides less than the share `FOREIGN`.
    """
    if section.measured:
        measured = GeneNames.of(section.spots.var)
        _check_in_common(f"{section.origin.path} and the checkpoint", measured, bank, two_species(measured, bank))


def check_sections_genes(sections: "Sequence[Section]") -> None:
    """Refuse sections to train on of which one has none, or next to none, of the first one's genes.

    Raises
    ------
    UserError
        As `check_genes`.
    """
    first, *others = sections
    here = GeneNames.of(first.spots.var)
    for other in others:
        there = GeneNames.of(other.spots.var)
        why = (
            f"The genes of {first.name} are named as those of {here.species}, those of {other.name} as of "
            f"{there.species}: train on sections of one species."
        )
        both = f"The sections {first.name} and {other.name}"
        _check_in_common(both, here, there, why if here.is_of_another_species(there) else "")


def _check_in_common(whose: str, one: GeneNames, other: GeneNames, why: str) -> None:
    """Refuse genes of which none is in common, or of many less than the share `FOREIGN`."""
    common, fewer = one.number_in(other), min(len(one.symbols), len(other.symbols))
    if not common or (fewer >= MANY_GENES and common < FOREIGN * fewer):
        found = f"only {common} of {fewer:,} genes" if common else "no gene"
        examples = f"{', '.join(one.symbols[:3])} … and {', '.join(other.symbols[:3])} …"
        raise UserError(f"{whose} have {found} in common ({examples}). {why or ONE_SPECIES}")


def two_species(measured: GeneNames, bank: GeneNames) -> str:
    """Say that measured genes are named as those of another species than a bank's; "" where that is not so."""
    if not measured.is_of_another_species(bank):
        return ""
    return (
        f"Its genes are named as those of {measured.species}, the checkpoint's as {bank.species}: choose a checkpoint "
        "of the section's species."
    )
