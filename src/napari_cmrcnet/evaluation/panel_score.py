"""The score of a panel, or of a signature, at each spot: what its genes say together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.metrics import mean_z
from napari_cmrcnet.evaluation.colour_limits import hardly_varies

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.retrieval.genes import GeneNames
    from napari_cmrcnet.sections.panels import Panel

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PanelScore:
    """A panel's score: the mean over its genes of their z-scores over the section's spots, by their direction.

    Parameters
    ----------
    predicted : float32 (n,) or None
        A value a spot; None where nothing is predicted.
    measured : float32 (n,) or None
        Over those of the genes that were measured; None where none was.
    flat : bool
        Whether no gene's prediction varies to speak of.
    """

    predicted: Float32 | None
    measured: Float32 | None
    flat: bool


def panel_score(case: "Case", panel: "Panel") -> PanelScore:
    """Return the score of a panel.

    Raises
    ------
    UserError
        If the case has none of its genes.
    """
    genes = panel_genes(case, panel)
    both = [gene for gene in genes if gene in case.measured_set]
    predicted = None if case.prediction is None else case.prediction.expression(genes)
    truth = case.measured(both) if both else None
    return PanelScore(
        None if predicted is None else mean_z(predicted, panel_signs(case.names, panel, genes)),
        None if truth is None else mean_z(truth, panel_signs(case.names, panel, both)),
        predicted is not None and hardly_varies(predicted),
    )


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
