"""Genes whose pattern on a section is like another's."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.evaluation.gene_correlation import unit_columns

_BLOCK = 1024  # genes at a time: 20 MB of 5,000 spots


def similarity_job(
    target: npt.ArrayLike, values: Callable[[slice], npt.ArrayLike], n_genes: int
) -> Job[npt.NDArray[np.float64]]:
    """Correlate the pattern of a gene with that of every gene.

    Parameters
    ----------
    target : (n,)
        A value a spot, of a gene or the score of a panel.
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
    for start in range(0, n_genes, _BLOCK):
        yield Progress("Comparing genes", start, n_genes, "genes")
        genes = slice(start, min(start + _BLOCK, n_genes))
        found[genes] = np.clip(wanted @ unit_columns(np.asarray(values(genes), np.float32)), -1, 1)
    return found


def most_alike(correlation: npt.ArrayLike, n: int, leave_out: int | None = None) -> npt.NDArray[np.intp]:
    """Return the genes of highest correlation, best first.

    Parameters
    ----------
    correlation : (genes,)
        From `similarity_job`.
    n : int
        At most how many.
    leave_out : int, optional
        The gene itself.
    """
    array = np.asarray(correlation, np.float64).copy()
    if leave_out is not None:
        array[leave_out] = np.nan
    order = np.argsort(-array, kind="stable")  # NaN last
    kept: npt.NDArray[np.intp] = order[: min(n, int(np.isfinite(array).sum()))]
    return kept
