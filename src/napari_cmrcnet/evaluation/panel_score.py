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
    from napari_cmrcnet.retrieval.genes import GeneNames
    from napari_cmrcnet.retrieval.prediction import Prediction
    from napari_cmrcnet.sections.panels import Panel

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PanelScore:
    """A panel's score: the mean over its genes of their z-scores over the section's spots, by their direction.

    Parameters
    ----------
    genes : tuple of str
        The panel's genes that the prediction has, by the prediction's names.
    predicted : float32 (n,)
        A value a spot.
    measured : float32 (n,) or None
        Over those of the genes that were measured; None where none was.
    flat : bool
        Whether no gene's prediction varies to speak of.
    """

    genes: tuple[str, ...]
    predicted: Float32
    measured: Float32 | None
    flat: bool


def panel_score(prediction: "Prediction", panel: "Panel") -> PanelScore:
    """Return the score of a panel.

    Raises
    ------
    UserError
        If the prediction has none of its genes.
    """
    names = prediction.names
    found: dict[str, None] = {}
    for gene in panel.genes:
        if (column := names.column(gene)) is not None:
            found.setdefault(names.symbols[column], None)
    if not found:
        raise UserError(f"{prediction.name} has none of the genes of the panel {panel.name}; choose another panel.")
    genes = list(found)
    both = [gene for gene in genes if gene in prediction.measured_set]
    predicted, truth = prediction.expression(genes), prediction.measured(both) if both else None
    return PanelScore(
        tuple(genes),
        mean_z(predicted, panel_signs(names, panel, genes)),
        None if truth is None else mean_z(truth, panel_signs(names, panel, both)),
        hardly_varies(predicted),
    )


def panel_signs(names: "GeneNames", panel: "Panel", genes: Sequence[str]) -> list[float]:
    """Return 1 for each gene that counts for a panel's score, −1 for one that counts against it.

    Parameters
    ----------
    names : GeneNames
        Those of the prediction, which may call a panel's gene otherwise.
    panel : Panel
        Whose score it is.
    genes : sequence of str
        By the prediction's names.
    """
    down = {names.column(gene) for gene in panel.down}
    return [-1.0 if names.column(gene) in down else 1.0 for gene in genes]
