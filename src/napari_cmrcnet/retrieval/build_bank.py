"""From a trained network and its training sections to a bank."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from napari_cmrcnet.retrieval.bank import Bank
from napari_cmrcnet.retrieval.search import unit_length
from napari_cmrcnet.sections.expression import expression_of, shared_genes
from napari_cmrcnet.sections.totals import TARGET_SUM, TargetSum

if TYPE_CHECKING:
    import torch

    from napari_cmrcnet.model.cmrcnet import CMRCNet, FrozenCMRCNet
    from napari_cmrcnet.sections.section import Section

Float32 = npt.NDArray[np.float32]

SPOTS_A_PASS = 4096  # spots embedded at a time


def build_bank(
    model: "CMRCNet | FrozenCMRCNet",
    sections: "Sequence[Section]",
    model_genes: Sequence[str],
    device: "str | torch.device" = "cpu",
    target_sums: Sequence[TargetSum] | None = None,
) -> Bank:
    """Embed all spots of the training sections by their genes.

    Parameters
    ----------
    model : CMRCNet
        Trained; left in evaluation mode and on ``device``.
    sections : sequence of Section
        Measured sections.
    model_genes : sequence of str
        Genes that the model reads, in its order.
    device : str or torch.device
        Where to embed.
    target_sums : sequence of float or "median", optional
        By section, the total of a spot after normalisation as the model reads it; `TARGET_SUM` if not given. The
        bank's expression is always of `TARGET_SUM`, so that what is predicted has one unit, whatever the model reads.

    Returns
    -------
    Bank
        All spots of all sections, and all genes that the sections share.

    Raises
    ------
    UserError
        If a section has no counts or lacks a gene of the model.
    """
    genes = shared_genes(sections)
    read_to = target_sums or [TARGET_SUM] * len(sections)
    embeddings, expression, obs = [], [], []
    ids = pd.Series("", index=genes, dtype=object)
    for section, target_sum in zip(sections, read_to, strict=True):
        embeddings.append(gene_embeddings(model, expression_of(section.spots, model_genes, target_sum), device))
        expression.append(expression_of(section.spots, genes))
        obs.append(_obs(section))
        if "gene_ids" in section.spots.var:
            ids = ids.where(ids != "", section.spots.var.loc[genes, "gene_ids"])  # the first that is known
    stacked = sparse.vstack(expression)
    expression.clear()  # as large as what is stacked
    return Bank(
        unit_length(np.concatenate(embeddings)),
        stacked.tocsc(),
        tuple(genes),
        tuple(ids),
        pd.concat(obs, ignore_index=True),
    )


def gene_embeddings(model: Any, expression: Any, device: "str | torch.device") -> Float32:
    """Return what a network with ``embed_genes`` makes of the rows of a CSR matrix of its genes, float32 (n, d).

    They are of any length. The network is left in evaluation mode and on the device.
    """
    import torch

    from napari_cmrcnet.common.device import to_device

    model.to(device).eval()
    blocks = []
    with torch.inference_mode():
        for start in range(0, expression.shape[0], SPOTS_A_PASS):
            block = to_device(expression[start : start + SPOTS_A_PASS].toarray(), device)
            blocks.append(model.embed_genes(block).float().cpu().numpy())
    embeddings: Float32 = np.concatenate(blocks)
    return embeddings


def _obs(section: "Section") -> pd.DataFrame:
    spots = section.spots.obs
    place = {
        name: spots[name].fillna(-1).to_numpy(np.int32) if name in spots else np.full(len(spots), -1, np.int32)
        for name in ("array_row", "array_col")
    }
    x, y = section.xy.T
    return pd.DataFrame({"section": section.name, "patient": section.patient, **place, "x": x, "y": y})
