"""How well the model does on spots it was not trained on, after each epoch."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from napari_cmrcnet.common.device import autocast, to_device
from napari_cmrcnet.common.metrics import mean_pcc, pcc
from napari_cmrcnet.model.cmrcnet import CMRCNet
from napari_cmrcnet.retrieval.averages import Neighbourhoods, neighbour_weights
from napari_cmrcnet.retrieval.build_bank import gene_embeddings
from napari_cmrcnet.retrieval.encode import to_input
from napari_cmrcnet.retrieval.search import nearest
from napari_cmrcnet.training.config import FitConfig
from napari_cmrcnet.training.data import BatchReader
from napari_cmrcnet.training.step import batch_losses

Matrix = NDArray[np.float32]


def validate(
    model: CMRCNet, training: BatchReader, held_out: Sequence[BatchReader], config: FitConfig, device: torch.device
) -> tuple[float, float | None]:
    """Return the mean loss of held-out spots, and their mean PCC over the model's genes (None: undefined).

    Expression is retrieved from the training spots as in prediction, without test-time augmentation and neighbourhood
    smoothing. PCC is taken over the spots of each section by itself, averaged over genes, then over sections.

    Parameters
    ----------
    model : CMRCNet
        Left in evaluation mode: no dropout, and masks as the variant has them.
    training : BatchReader
        Spots to retrieve from.
    held_out : sequence of BatchReader
        Held-out spots, one reader a section.
    """
    model.eval()
    expression = training.expression.T.tocsr().astype(np.float64)  # (genes, M)
    bank = gene_embeddings(model, training.expression, device)
    losses, weights, pccs = [], [], []
    for section in held_out:
        queries, loss = _embed_patches(model, section, config, device)
        losses.append(loss)
        weights.append(len(queries))
        neighbours, similarity = nearest(queries, bank, min(config.asked_with.k, len(bank)), device=device)
        shares = neighbour_weights(similarity, model.config.temperature if config.asked_with.weighted else None)
        predicted = Neighbourhoods.of(neighbours, len(bank), shares).mean(expression)
        pccs.append(mean_pcc(pcc(section.expression.toarray(), predicted)))
    over_sections = mean_pcc(pccs)
    return float(np.average(losses, weights=weights)), None if np.isnan(over_sections) else over_sections


def _embed_patches(model: CMRCNet, spots: BatchReader, config: FitConfig, device: torch.device) -> tuple[Matrix, float]:
    """Return the image embeddings of all spots and the mean loss of batches of equal size."""
    n = len(spots)
    batches = np.array_split(np.arange(n), -(-n // config.batch_size))
    torch.manual_seed(config.seed)  # the same masks each epoch: losses compare; an epoch begins with a seed of its own
    embeddings, total = [], 0.0
    for batch in spots.batches(batches):
        mean, std = batch.colours.unbind(1)
        pixels = to_input(batch.pixels, mean, std, device)
        expression = to_device(batch.expression, device)
        with torch.inference_mode(), autocast(device, config.precision):
            loss, _, image = batch_losses(model, model.config, pixels, expression)
        embeddings.append(image.cpu().numpy())
        total += float(loss) * len(pixels)
    return np.concatenate(embeddings), total / n
