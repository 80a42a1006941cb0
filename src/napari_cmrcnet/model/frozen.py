"""CMRCNet on frozen features: two linear heads that meet in one space."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.model.config import FROZEN, ModelConfig
from napari_cmrcnet.model.frozen_encoders import FIELDS, encoder_named
from napari_cmrcnet.model.weights import mismatches

BLOCKS = len(FIELDS) + 1
"""What an encoder says of a spot, see `spot_features`: of each field of view, and of the spots around it."""


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

    def inference_state(self) -> dict[str, Tensor]:
        """Return copies, on the CPU, of all weights."""
        return {name: value.detach().to("cpu", copy=True) for name, value in self.state_dict().items()}

    def load_inference_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over the weights that `inference_state` gave.

        Raises
        ------
        UserError
            If a weight is missing, unknown or of another shape.
        """
        if differences := mismatches(state, self.state_dict()):
            raise UserError(f"These weights are not this model's: {differences}.")
        self.load_state_dict(dict(state))

    @torch.no_grad()
    def set_heads(self, image: tuple[Tensor, Tensor], gene: tuple[Tensor, Tensor]) -> None:
        """Set the heads; of each, what is taken off its input (f,) and the weights (D, f)."""
        for head, (centre, weight) in ((self.image_head, image), (self.gene_head, gene)):
            head.weight.copy_(weight)
            head.bias.copy_(-weight @ centre)
