"""CMRCNet: an image encoder and a gene encoder that meet in one space, and the network that trains them.

Read `CMRCNet.forward` first. The parts are in `encoders` and `reconstruction`, what training minimises is in
`losses`. Of `FrozenCMRCNet` only two linear heads are trained.
"""

import os
from typing import NamedTuple

from torch import Tensor, nn

from napari_cmrcnet.model.config import FROZEN, ModelConfig
from napari_cmrcnet.model.encoders import ProjectionHead, build_image_encoder
from napari_cmrcnet.model.frozen_encoders import FIELDS, encoder_named
from napari_cmrcnet.model.reconstruction import ReconstructionNetwork

BLOCKS = len(FIELDS) + 1
"""What a frozen encoder says of a spot, see `spot_features`: of each field of view, and of the spots around it."""


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

    def forward(self, pixels: Tensor, expression: Tensor) -> Outputs:
        """Embed spots by both of their sides, and rebuild one from the other.

        Parameters
        ----------
        pixels : (B, 3, H, W) tensor
            Patches, normalised.
        expression : (B, G) tensor
            Log-normalised expression of the model's genes, in their order.

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
        reconstructed = self.reconstruction(tokens, expression)  # (B, D)
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


class FrozenCMRCNet(nn.Module):
    """An image head on the features of a frozen encoder, and a gene head.

    Both are linear. They are not trained step by step but solved, see `fit_frozen`.

    Parameters
    ----------
    config : ModelConfig
        Its frozen encoder, and its numbers of genes and of components, ``embedding_dim``.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        features = BLOCKS * encoder_named(config.image_encoder.removeprefix(FROZEN)).width
        self.image_head = nn.Linear(features, config.embedding_dim)
        self.gene_head = nn.Linear(config.n_genes, config.embedding_dim)

    def embed_features(self, features: Tensor) -> Tensor:
        """Embed what the encoder saw (B, 4 times its width); return (B, D), not unit length."""
        embedding: Tensor = self.image_head(features)
        return embedding

    def embed_genes(self, expression: Tensor) -> Tensor:
        """Embed log-normalised expression (B, G); return (B, D), not unit length."""
        embedding: Tensor = self.gene_head(expression)
        return embedding


def inference_state(model: CMRCNet | FrozenCMRCNet) -> dict[str, Tensor]:
    """Return copies, on the CPU, of the weights that prediction needs.

    These are the image encoder, where it is trained, and both heads; the reconstruction network only trains them.
    """
    return {
        name: value.detach().to("cpu", copy=True).contiguous()
        for name, value in model.state_dict().items()
        if not name.startswith("reconstruction.")
    }
