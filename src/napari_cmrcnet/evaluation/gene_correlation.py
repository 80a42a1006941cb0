"""How genes go together over a section's spots: correlation of each with each, measured and predicted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.metrics import pcc
from napari_cmrcnet.common.progress import Job, Progress, in_thread
from napari_cmrcnet.sections.score_filter import unscored

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.prediction import Prediction

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]

MOST = 500  # genes: more are not told apart in a picture
_BLOCK = 50  # genes at a time
_PATTERNS = 1024  # the same of one gene with all: 20 MB of 5,000 spots
_ORDERED = 200  # genes up to which the leaves of the tree are put in the best order, which takes n³


@dataclass(frozen=True, eq=False)
class GeneCorrelation:
    """Pearson correlation of each gene with each, over the spots that count (`Case.counted_spots`).

    Parameters
    ----------
    genes : tuple of str
        In the order of a hierarchical clustering of the measured correlations.
    measured, predicted : float64 (g, g)
        Both in this order.
    alike : float
        Pearson correlation of the two upper triangles; NaN where there are fewer than three pairs.
    left_out : tuple of str
        Genes without a score: measured or predicted is constant, or it was found at too few spots.
    """

    genes: tuple[str, ...]
    measured: Array
    predicted: Array
    alike: float
    left_out: tuple[str, ...] = ()


def correlate_job(prediction: "Prediction", genes: Sequence[str], name: str) -> Job[GeneCorrelation]:
    """Correlate genes with each other, in measured and in predicted expression.

    Parameters
    ----------
    prediction : Prediction
        Of a measured section.
    genes : sequence of str
        By symbol or Ensembl id; those that are not both predicted and measured are passed over.
    name : str
        What the genes are, for messages.

    Raises
    ------
    UserError
        If fewer than two of the genes vary, or there are too many.
    """
    known = [prediction.genes[column] for column in prediction.names.known(genes)]
    both = [gene for gene in known if gene in prediction.measured_set]
    if len(both) > MOST:
        raise UserError(f"{name} has {len(both):,} genes, too many to tell apart; choose {MOST} or fewer.")
    counted = prediction.counted_spots()
    blocks = []
    for start in range(0, len(both), _BLOCK):
        yield Progress(f"Correlating {name}", start, len(both), "genes")
        block = both[start : start + _BLOCK]
        measured, predicted = np.asarray(prediction.measured(block))[counted], prediction.expression(block)[counted]
        measured[:, np.array(unscored(measured, predicted)) != ""] = 0  # as a constant one is left out
        blocks.append((measured, predicted))
    matrices = []
    for values in zip(*blocks, strict=True):
        product = partial(correlations, np.hstack(values))  # takes seconds where there are very many spots
        matrices.append((yield from in_thread(product, Progress(f"Correlating {name}", len(both), len(both), "genes"))))
    kept = [row for row in range(len(both)) if all(np.isfinite(matrix[row, row]) for matrix in matrices)]
    if len(kept) < 2:
        raise UserError(
            f"{name}: fewer than two of its genes are found at enough spots and vary in both measured and predicted "
            "expression; choose other genes."
        )
    truth, guess = (matrix[np.ix_(kept, kept)] for matrix in matrices)
    above, order = np.triu_indices(len(kept), k=1), clustered(truth)
    return GeneCorrelation(
        tuple(both[kept[place]] for place in order),
        truth[np.ix_(order, order)],
        guess[np.ix_(order, order)],
        float(pcc(truth[above][:, None], guess[above][:, None])[0]),
        tuple(gene for row, gene in enumerate(both) if row not in kept),
    )


def unit_columns(values: NDArray[np.floating]) -> Float32:
    """Return columns centred and of length one, float32, NaN for a constant one: their products are correlations."""
    centred = values - values.mean(axis=0, dtype=np.float64).astype(values.dtype)
    constant = (values == values[:1]).all(axis=0)
    length = np.where(constant, np.nan, np.linalg.norm(centred, axis=0))
    return np.asarray(centred / length, np.float32)


def similarity_job(target: ArrayLike, values: Callable[[slice], ArrayLike], n_genes: int) -> Job[Array]:
    """Correlate the pattern of a gene with that of every gene.

    Parameters
    ----------
    target : (n,)
        One value per spot, of a gene or the score of a panel.
    values : callable
        Returns the values of a range of genes, (n, genes of the range).
    n_genes : int
        How many genes there are.

    Returns
    -------
    float64 (n_genes,)
        Pearson's correlation over the spots, NaN for a gene that is the same everywhere.
    """
    wanted = unit_columns(np.asarray(target, np.float64)[:, None])[:, 0]
    found = np.full(n_genes, np.nan)
    for start in range(0, n_genes, _PATTERNS):
        yield Progress("Comparing genes", start, n_genes, "genes")
        genes = slice(start, min(start + _PATTERNS, n_genes))
        found[genes] = np.clip(wanted @ unit_columns(np.asarray(values(genes), np.float32)), -1, 1)
    return found


def correlations(values: Float32) -> Array:
    """Return the Pearson correlation of each column with each, NaN for a constant one, float64 (g, g).

    Parameters
    ----------
    values : float32 (n, g)
        Expression of g genes at n spots.
    """
    unit = unit_columns(values)
    correlation: Array = np.clip((unit.T @ unit).astype(np.float64), -1.0, 1.0)
    np.fill_diagonal(correlation, np.where(np.isnan(unit[0]), np.nan, 1.0))
    return correlation


def clustered(correlation: Array) -> list[int]:
    """Return the leaves of the tree of average linkage over 1 − r, neighbours alike."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    n = len(correlation)
    distances = squareform(1.0 - (correlation + correlation.T) / 2, checks=False)
    tree = linkage(np.maximum(distances, 0.0), "average", optimal_ordering=n <= _ORDERED)
    return [int(leaf) for leaf in leaves_list(tree)]
