"""The losses of CMRCNet: contrastive, reconstruction, and the two together.

B is the batch, D the length of an embedding. All are computed in float32 (or float64, if they are given
that), also under autocast: inner products of embeddings that are not unit length reach D, where bfloat16
is good to whole numbers only. Given the embeddings that several processes gathered, they are the losses of
the whole batch.
"""

import torch
from torch import Tensor, nn

from napari_cmrcnet.model.config import Contrast, Distance, Variant


def contrastive_loss(
    image_embedding: Tensor,
    gene_embedding: Tensor,
    temperature: float = 1.0,
    variant: Variant = "paper",
    contrast: Contrast = "soft",
) -> Tensor:
    """Pull the two embeddings of a spot together.

    The published loss (``"soft"``) has soft targets from the batch itself.

    With F_img, F_gene of shape (B, D), not unit length, and τ the temperature::

        target = softmax_row((F_img F_imgᵀ + F_gene F_geneᵀ) / 2 · τ)
        CE(logits, target)_i = - Σ_j target_ij · log softmax_row(logits)_ij

    ``"paper"``: image to gene meets the target, gene to image its transpose,
    the two are summed, and the batch is averaged::

        Loss_c = 1/B Σ_i [CE(F_img F_geneᵀ, target)_i + CE(F_gene F_imgᵀ, targetᵀ)_i]

    ``"released"`` (the authors' public code): gene to image meets the target, image to gene its transpose,
    the two are averaged, and each spot's loss is compressed before the batch is averaged::

        Loss_c = 1/B Σ_i log(1 + [CE(F_gene F_imgᵀ, target)_i + CE(F_img F_geneᵀ, targetᵀ)_i] / 2)

    The rows of targetᵀ do not sum to one, so the pairing matters. As the formula has it, τ sharpens the
    target and leaves the logits alone. The gradient flows through the target too, which no source stops.

    ``"clip"`` (Radford et al. 2021, figure 3) tells each spot from all others of the batch, by the cosine that
    retrieval compares::

        Loss_c = 1/2B Σ_i [CE(cos(F_img, F_gene) / τ, 1)_i + CE(cos(F_gene, F_img) / τ, 1)_i]

    Parameters
    ----------
    image_embedding, gene_embedding : (B, D) tensors
        Embeddings of the same spots in the same order.
    temperature : float
        τ.
    variant : {"paper", "released"}
        Whose formula, of the soft targets.
    contrast : {"soft", "clip"}
        What is compared.

    Returns
    -------
    () tensor
        The loss.
    """
    with torch.autocast(image_embedding.device.type, enabled=False):
        image, gene = _full_precision(image_embedding), _full_precision(gene_embedding)
        if contrast == "clip":
            return _clip_loss(image, gene, temperature)
        image_to_gene = image @ gene.T  # (B, B)
        similarity = (image @ image.T + gene @ gene.T) / 2  # (B, B)
        target = torch.softmax(similarity * temperature, dim=1)
        if variant == "paper":
            loss = _soft_cross_entropy(image_to_gene, target) + _soft_cross_entropy(image_to_gene.T, target.T)
        else:
            both = _soft_cross_entropy(image_to_gene.T, target) + _soft_cross_entropy(image_to_gene, target.T)
            loss = torch.log1p(both / 2)
        return loss.mean()


def _clip_loss(image: Tensor, gene: Tensor, temperature: float) -> Tensor:
    image, gene = nn.functional.normalize(image, dim=1), nn.functional.normalize(gene, dim=1)
    logits = image @ gene.T / temperature  # (B, B)
    own = torch.arange(len(logits), device=logits.device)
    return (nn.functional.cross_entropy(logits, own) + nn.functional.cross_entropy(logits.T, own)) / 2


def reconstruction_loss(reconstructed: Tensor, target: Tensor, kind: Distance = "mse") -> Tensor:
    """Measure how far the reconstruction F_r is from the embedding F' it should give back.

    ``"mse"``: the mean of (F_r - F')² over spots and features. ``"cosine"``: the mean over spots of
    1 - cos(F_r, F'). The gradient flows through the target too, in both variants.

    Parameters
    ----------
    reconstructed, target : (B, D) tensors
        Of the same spots in the same order.
    kind : {"mse", "cosine"}
        The distance; the paper's ablation has both.

    Returns
    -------
    () tensor
        The loss.
    """
    with torch.autocast(target.device.type, enabled=False):
        reconstructed, target = _full_precision(reconstructed), _full_precision(target)
        if kind == "mse":
            return nn.functional.mse_loss(reconstructed, target)
        return (1 - nn.functional.cosine_similarity(reconstructed, target, dim=1)).mean()


def total_loss(contrastive: Tensor, reconstruction: Tensor | None = None, variant: Variant = "paper") -> Tensor:
    """Add the two losses, each compressed by log(1 + ·).

    ``"paper"``: Loss = log(1 + Loss_c) + log(1 + Loss_r). ``"released"``: Loss = Loss_c + log(1 + Loss_r),
    as its Loss_c is compressed spot by spot already. Without reconstruction the second term is absent.

    Parameters
    ----------
    contrastive : () tensor
        From `contrastive_loss` with the same variant.
    reconstruction : () tensor or None
        From `reconstruction_loss`, or None where reconstruction is off.
    variant : {"paper", "released"}
        Whose formula.

    Returns
    -------
    () tensor
        What training minimises.
    """
    loss = torch.log1p(contrastive) if variant == "paper" else contrastive
    return loss if reconstruction is None else loss + torch.log1p(reconstruction)


def _soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy of each row, (B,); the rows of the target need not sum to one."""
    return -(target * torch.log_softmax(logits, dim=1)).sum(dim=1)


def _full_precision(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
