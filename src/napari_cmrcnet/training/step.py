"""One step of training: the losses of a batch, and the learning rate. Nothing here knows of epochs or files."""

import math
from collections.abc import Callable

import torch
from torch import nn

from napari_cmrcnet.model.config import ModelConfig
from napari_cmrcnet.model.losses import contrastive_loss, reconstruction_loss, total_loss
from napari_cmrcnet.training.config import FitConfig


def batch_losses(
    model: nn.Module,
    settings: ModelConfig,
    pixels: torch.Tensor,
    expression: torch.Tensor,
    *,
    gather: Callable[[torch.Tensor], torch.Tensor] = lambda rows: rows,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compute the losses of a batch, of which other processes may hold other parts.

    Parameters
    ----------
    model : CMRCNet, or it wrapped for several processes
        The network.
    settings : ModelConfig
        Its settings: variant, temperature and kind of the losses.
    pixels : float tensor, (b, 3, side, side)
        Normalised patches.
    expression : float tensor, (b, genes)
        Log-normalised expression at the same spots.
    gather : callable
        Joins the rows of all processes, with their gradient.

    Returns
    -------
    total : tensor, ()
        What training minimises, of the whole batch: the same on every process.
    figures : tensor, (3,)
        Total, contrastive and reconstruction loss (NaN without), detached.
    image : tensor, (b, 256)
        The image embeddings that they came from.
    """
    outputs = model(pixels, expression)
    # In float32 already here, so that the gradients that the processes add up are.
    image, gene = gather(outputs.image.float()), gather(outputs.gene.float())
    contrastive = contrastive_loss(image, gene, settings.temperature, settings.variant, settings.contrast)
    reconstruction = None
    if outputs.reconstructed is not None:
        reconstructed, target = gather(outputs.reconstructed.float()), gather(outputs.target.float())
        reconstruction = reconstruction_loss(reconstructed, target, settings.reconstruction_loss)
    total = total_loss(contrastive, reconstruction, settings.variant)
    figures = [total, contrastive, total.new_tensor(math.nan) if reconstruction is None else reconstruction]
    return total, torch.stack(figures).detach(), image


def learning_rate(config: FitConfig, step: int, steps: int) -> float:
    """Return the learning rate of an optimiser step of so many, counted from 0.

    It is constant; in the released variant it falls on a cosine to a tenth, from 1e-4 to 1e-5 in the published code.
    """
    if config.variant != "released":
        return config.learning_rate
    return config.learning_rate * (0.1 + 0.9 * (1 + math.cos(math.pi * step / steps)) / 2)
