"""CMRCNet: an image encoder and a gene encoder that meet in one space, and the network that trains them.

Read `CMRCNet.forward` first. The parts are in `encoders` and `reconstruction`, what training minimises is in
`losses`.
"""

import os
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.model.config import ModelConfig
from napari_cmrcnet.model.encoders import ProjectionHead, build_image_encoder
from napari_cmrcnet.model.reconstruction import ReconstructionNetwork
from napari_cmrcnet.model.weights import mismatches


class Outputs(NamedTuple):
    """What one forward pass gives: all (B, D), or None where reconstruction is off.

    Parameters
    ----------
    image, gene : tensor
        The embeddings F'_img and F_gene, not unit length.
    reconstructed, target : tensor or None
        F_r, and the embedding it should equal, with its gradient.
    """

    image: Tensor
    gene: Tensor
    reconstructed: Tensor | None
    target: Tensor | None


class CMRCNet(nn.Module):
    """The network of the paper.

    Parameters
    ----------
    config : ModelConfig
        Its hyperparameters.
    weights : path, optional
        A file of weights for the image encoder: `.safetensors`, `.pth`, `.pt` or `.bin`.

    Raises
    ------
    UserError
        If the image encoder is unknown or its weights cannot be had; see `build_image_encoder`.
    """

    def __init__(self, config: ModelConfig, weights: str | os.PathLike[str] | None = None) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = build_image_encoder(config, weights)
        self.image_head = ProjectionHead(self.image_encoder.width, config.embedding_dim, config.dropout)
        self.gene_head = ProjectionHead(config.n_genes, config.embedding_dim, config.dropout)
        self.reconstruction = ReconstructionNetwork(config, self.image_encoder.width) if config.reconstruction else None

    def forward(self, pixels: Tensor, expression: Tensor, generator: torch.Generator | None = None) -> Outputs:
        """Embed spots by both of their sides, and rebuild one from the other.

        Parameters
        ----------
        pixels : (B, 3, H, W) tensor
            Patches, normalised.
        expression : (B, G) tensor
            Log-normalised expression of the model's genes, in their order.
        generator : torch.Generator, optional
            Draws the mask; without it torch's own.

        Returns
        -------
        Outputs
            Two or four (B, D) tensors.
        """
        tokens = self.image_encoder(pixels)  # (B, N, width)
        image = self.image_head(tokens.mean(dim=1))  # (B, N, width) -> (B, D)
        gene = self.gene_head(expression)  # (B, G) -> (B, D)
        if self.reconstruction is None:
            return Outputs(image, gene, None, None)
        reconstructed = self.reconstruction(tokens, expression, generator)  # (B, D)
        target = image if self.config.target == "image" else gene
        return Outputs(image, gene, reconstructed, target)

    def embed_image(self, pixels: Tensor) -> Tensor:
        """Embed patches (B, 3, H, W), normalised; return (B, D), not unit length."""
        tokens = self.image_encoder(pixels)  # (B, N, width)
        embedding: Tensor = self.image_head(tokens.mean(dim=1))  # (B, N, width) -> (B, D)
        return embedding

    def embed_genes(self, expression: Tensor) -> Tensor:
        """Embed log-normalised expression (B, G); return (B, D), not unit length."""
        embedding: Tensor = self.gene_head(expression)
        return embedding

    def inference_state(self) -> dict[str, Tensor]:
        """Return copies, on the CPU, of the weights that prediction needs.

        These are the image encoder and both projection heads; the reconstruction network only trains them.
        """
        return {
            name: value.detach().to("cpu", copy=True).contiguous()
            for name, value in self.state_dict().items()
            if not name.startswith("reconstruction.")
        }

    def load_inference_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over the weights that `inference_state` gave.

        Raises
        ------
        UserError
            If a weight is missing, unknown or of another shape. The model is then as it was.
        """
        own = {name: value for name, value in self.state_dict().items() if not name.startswith("reconstruction.")}
        if differences := mismatches(state, own):
            raise UserError(f"These weights are not this model's: {differences}.")
        self.load_state_dict(dict(state), strict=False)
