"""Other ways to ask a trained CMRCNet, and to read expression from it; none trains it anew."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_cmrcnet.evaluation.metrics import mean_pcc, pcc
from napari_cmrcnet.retrieval.averages import softmax_weights
from napari_cmrcnet.retrieval.protocol import Query
from napari_cmrcnet.retrieval.search import unit_length
from napari_cmrcnet.training.config import TUNED_MODEL, TUNED_QUERY

Float32 = NDArray[np.float32]
Rows = NDArray[np.int64]

K = 50
K_CHOICES = (10, 25, 50, 100, 200)
TEMPERATURE = TUNED_MODEL["temperature"]  # of the loss that the models were trained with
HUB_NEIGHBOURS = 10  # as in CSLS (Conneau et al. 2018)
PENALTY = 1.0  # of the ridge regression on embeddings of unit length
QUERIES_A_BLOCK = 1024


@dataclass(frozen=True, eq=False)
class Embedded:
    """A section to predict and the training spots, in the space of a trained model; all embeddings of unit length.

    Parameters
    ----------
    queries : float32 array, (n, d)
        Of the patches of the section to predict.
    genes, patches : float32 array, (M, d)
        Of the training spots, by their expression (the bank) and by their patches.
    section : integer array, (M,)
        Which section a training spot is of.
    expression : float32 array, (M, g)
        Log-normalised, of the training spots.
    """

    queries: Float32
    genes: Float32
    patches: Float32
    section: NDArray[np.int64]
    expression: Float32


def nearest(similarity: Float32, k: int) -> Rows:
    """Return the k most similar training spots of each patch, int64 (n, k), or all where there are fewer."""
    k = min(k, similarity.shape[1])
    blocks = [np.argsort(-block, axis=1, kind="stable")[:, :k] for block in _blocks(similarity)]
    return np.concatenate(blocks)


def mean_of(rows: Rows, expression: Float32) -> Float32:
    """Return the mean expression of some training spots for each patch; rows (n, k), expression (M, g)."""
    n, k = rows.shape
    shares = np.full(n * k, 1 / k, np.float32)
    weights = sparse.csr_matrix((shares, rows.ravel(), np.arange(0, n * k + 1, k)), shape=(n, len(expression)))
    mean: Float32 = weights @ expression
    return mean


def nearest_mean(similarity: Float32, expression: Float32, k: int = K) -> Float32:
    """Return the mean expression of the k most similar training spots, or of all where there are fewer."""
    return mean_of(nearest(similarity, k), expression)


def softmax_mean(similarity: Float32, expression: Float32) -> Float32:
    """Return the mean expression of all training spots, weighted as the tuned method weighs its nearest."""
    return np.concatenate([softmax_weights(block, TEMPERATURE) @ expression for block in _blocks(similarity)])


def similarity_mean(similarity: Float32, expression: Float32) -> Float32:
    """Return the mean expression of all training spots, weighted by their similarity where that is above 0."""
    means = []
    for block in _blocks(similarity):
        weights = np.maximum(block, 0) + np.float32(1e-9)
        means.append((weights / weights.sum(axis=1, keepdims=True)) @ expression)
    return np.concatenate(means)


def _blocks(similarity: Float32) -> list[Float32]:
    """Return the rows in blocks: of a whole section and a large bank, one array more is gigabytes."""
    return [similarity[start : start + QUERIES_A_BLOCK] for start in range(0, len(similarity), QUERIES_A_BLOCK)]


def _centred(embedded: Embedded) -> Float32:
    """Return similarities of what is left when each section's mean embedding is taken away."""
    genes = np.empty_like(embedded.genes)
    for number in np.unique(embedded.section):
        own = embedded.section == number
        genes[own] = embedded.genes[own] - embedded.genes[own].mean(axis=0)
    queries = embedded.queries - embedded.queries.mean(axis=0)
    similarity: Float32 = unit_length(queries) @ unit_length(genes).T
    return similarity


def _without_hubs(embedded: Embedded) -> Float32:
    """Return similarities less what a training spot has to its nearest patches of all: some are near to everything."""
    among = min(HUB_NEIGHBOURS, len(embedded.patches))
    hubness = np.empty(len(embedded.genes), np.float32)
    for start in range(0, len(hubness), QUERIES_A_BLOCK):
        block = slice(start, start + QUERIES_A_BLOCK)
        similarity = embedded.genes[block] @ embedded.patches.T
        hubness[block] = np.sort(similarity, axis=1)[:, -among:].mean(axis=1)
    corrected: Float32 = 2 * (embedded.queries @ embedded.genes.T) - hubness
    return corrected


def _ridge(embedded: Embedded) -> Float32:
    """Return a ridge regression from the patches' embeddings to expression."""
    from sklearn.linear_model import Ridge

    fitted = Ridge(alpha=PENALTY).fit(embedded.patches, embedded.expression)
    return np.asarray(fitted.predict(embedded.queries), np.float32)


def _chosen_k(embedded: Embedded) -> Float32:
    """Return the mean of the k nearest, by the k that predicts each training section best from the others.

    The model was trained on the section that is predicted, the bank is without it. Of one section alone k stays.
    """
    score = dict.fromkeys(K_CHOICES, 0.0)
    for number in np.unique(embedded.section):
        own, others = embedded.section == number, embedded.section != number
        if not others.any():
            return nearest_mean(_by_genes(embedded), embedded.expression)
        found = nearest(embedded.patches[own] @ embedded.genes[others].T, max(K_CHOICES))
        rows = np.flatnonzero(others)[found]  # among all training spots
        for k in K_CHOICES:
            predicted = mean_of(rows[:, :k], embedded.expression)
            score[k] += mean_pcc(pcc(embedded.expression[own], predicted), nan_as_zero=True)
    return nearest_mean(_by_genes(embedded), embedded.expression, max(score, key=score.__getitem__))


def _by_genes(embedded: Embedded) -> Float32:
    similarity: Float32 = embedded.queries @ embedded.genes.T
    return similarity


def _by_patches(embedded: Embedded) -> Float32:
    similarity: Float32 = embedded.queries @ embedded.patches.T
    return similarity


def _by_both(embedded: Embedded) -> Float32:
    return _by_genes(embedded) + _by_patches(embedded)


def _mean(
    average: Callable[[Float32, Float32], Float32], similarity: Callable[[Embedded], Float32]
) -> Callable[[Embedded], Float32]:
    return lambda embedded: average(similarity(embedded), embedded.expression)


READOUTS: Mapping[str, tuple[str, Callable[[Embedded], Float32]]] = MappingProxyType(
    {
        "softmax": ("all spots, weighted by CLIP's loss", _mean(softmax_mean, _by_genes)),
        "similarity": ("all spots, similarity-weighted", _mean(similarity_mean, _by_genes)),
        "patches": (f"{K} nearest by patch", _mean(nearest_mean, _by_patches)),
        "both": (f"{K} nearest by genes and patch", _mean(nearest_mean, _by_both)),
        "centred": (f"{K} nearest, sections centred", _mean(nearest_mean, _centred)),
        "hubs": (f"{K} nearest, hubs corrected", _mean(nearest_mean, _without_hubs)),
        "ridge": ("ridge on the patches' embeddings", _ridge),
        "chosen": ("k chosen on the training sections", _chosen_k),
    }
)
"""By the name of its output: what tables call it, and the values it gives, float32 (n, g)."""

QUERIES: Mapping[str, Query] = MappingProxyType(
    {
        "plain": Query(k=K),
        "symmetries": Query(symmetries=True, k=K),
        "context": replace(TUNED_QUERY, k=K, weighted=False),
    }
)
"""By the name of its output: how the bank is asked, in place of the checkpoint's own query; the mean of its nearest."""


def read_out(embedded: Embedded) -> dict[str, Float32]:
    """Return the values of each of `READOUTS`, float32 (n, g)."""
    return {name: read(embedded) for name, (_, read) in READOUTS.items()}
