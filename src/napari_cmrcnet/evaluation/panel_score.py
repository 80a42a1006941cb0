"""The genes of a panel, or of a signature, that its score on a case is of, and whether they count for or against it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari_cmrcnet.common.errors import UserError

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.retrieval.genes import GeneNames
    from napari_cmrcnet.sections.panels import Panel


def panel_genes(case: "Case", panel: "Panel") -> list[str]:
    """Return a panel's genes that a case has, by the case's names.

    Raises
    ------
    UserError
        If it has none.
    """
    names = case.names
    columns = names.known(panel.genes)
    if not columns:
        raise UserError(f"{case.name} has none of the genes of the panel “{panel.name}”; choose another panel.")
    return [names.symbols[column] for column in columns]


def panel_signs(names: "GeneNames", panel: "Panel", genes: Sequence[str]) -> list[float]:
    """Return 1 for each gene that counts for a panel's score, −1 for one that counts against it.

    Parameters
    ----------
    names : GeneNames
        Those of the case, which may call a panel's gene otherwise.
    panel : Panel
        Whose score it is.
    genes : sequence of str
        By the case's names.
    """
    down = {names.column(gene) for gene in panel.down}
    return [-1.0 if names.column(gene) in down else 1.0 for gene in genes]
