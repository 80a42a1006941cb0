"""What must hold for a section to be predicted from a bank; checked before anything is computed."""

from typing import TYPE_CHECKING

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.retrieval.genes import GeneNames

if TYPE_CHECKING:
    from napari_cmrcnet.sections.section import Section


def check_k(k: int, spots: int) -> None:
    """Refuse a number of neighbours that a bank cannot give.

    Parameters
    ----------
    k : int
        Neighbours behind a value.
    spots : int
        Of the bank.

    Raises
    ------
    UserError
        If k is below 1 or above the number of spots.
    """
    if not 1 <= k <= spots:
        raise UserError(
            f"k is {k}, but the checkpoint's bank has {spots} spots; choose a k from 1 to that.", setting="k"
        )


def check_genes(section: "Section", bank: GeneNames) -> None:
    """Refuse measured genes of which a bank has none: another species, or ids of another kind.

    Raises
    ------
    UserError
        If there is no gene in common.
    """
    if not section.measured:
        return
    measured = GeneNames.of(section.spots.var)
    if not measured.in_common(bank):
        raise UserError(
            f"{section.spots.uns['cmrcnet']['path']} and the checkpoint have no gene in common "
            f"({', '.join(measured.symbols[:3])} … and {', '.join(bank.symbols[:3])} …); "
            "check that both are of one species and name genes alike."
        )
