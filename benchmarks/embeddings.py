"""Random embeddings that lie as those of tissue do: in a few hundred clusters, and in fewer directions than there are.

Queries come from the same clusters, moved by one vector, as images are from genes.
"""

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.retrieval.search import unit_length

Float32 = npt.NDArray[np.float32]

DIMENSIONS = 256
CLUSTERS = 300
DIRECTIONS = 32
SPOTS_A_PASS = 1 << 16


class RandomEmbeddings:
    """A source of queries and bank spots, float32 (n, 256), of unit length, that belong to each other."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._centres = self._rng.standard_normal((CLUSTERS, DIRECTIONS), np.float32)
        self._directions = self._rng.standard_normal((DIRECTIONS, DIMENSIONS), np.float32) / np.float32(DIRECTIONS**0.5)
        self._gap = np.float32(0.3) * self._rng.standard_normal(DIMENSIONS, np.float32)

    def queries(self, n: int) -> Float32:
        """Draw queries."""
        return self._draw(n, self._gap)

    def bank(self, n: int) -> Float32:
        """Draw bank spots."""
        return self._draw(n, 0.0)

    def _draw(self, n: int, moved: Float32 | float) -> Float32:
        vectors = np.empty((n, DIMENSIONS), np.float32)
        for start in range(0, n, SPOTS_A_PASS):
            block = vectors[start : start + SPOTS_A_PASS]
            latent = self._centres[self._rng.integers(CLUSTERS, size=len(block))]
            latent += np.float32(0.5) * self._rng.standard_normal(latent.shape, np.float32)
            noise = np.float32(0.1) * self._rng.standard_normal(block.shape, np.float32)
            block[:] = unit_length(latent @ self._directions + noise + moved)
        return vectors


def random_embeddings(queries: int, bank: int, seed: int = 0) -> tuple[Float32, Float32]:
    """Return queries and a bank."""
    source = RandomEmbeddings(seed)
    return source.queries(queries), source.bank(bank)
