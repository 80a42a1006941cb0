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


def random_embeddings(queries: int, bank: int, seed: int = 0) -> tuple[Float32, Float32]:
    """Return queries (n, 256) and a bank (M, 256), float32, of unit length."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((CLUSTERS, DIRECTIONS), np.float32)
    directions = rng.standard_normal((DIRECTIONS, DIMENSIONS), np.float32) / np.float32(DIRECTIONS**0.5)
    gap = np.float32(0.3) * rng.standard_normal(DIMENSIONS, np.float32)

    def draw(spots: int, moved: Float32 | float) -> Float32:
        vectors = np.empty((spots, DIMENSIONS), np.float32)
        for start in range(0, spots, SPOTS_A_PASS):
            block = vectors[start : start + SPOTS_A_PASS]
            latent = centres[rng.integers(CLUSTERS, size=len(block))]
            latent += np.float32(0.5) * rng.standard_normal(latent.shape, np.float32)
            noise = np.float32(0.1) * rng.standard_normal(block.shape, np.float32)
            block[:] = unit_length(latent @ directions + noise + moved)
        return vectors

    return draw(queries, gap), draw(bank, 0.0)
