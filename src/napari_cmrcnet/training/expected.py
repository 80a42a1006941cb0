"""What a checkpoint learns of its own accuracy on training sections that were left out, for each gene."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.metrics import pcc
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.common.threads import in_threads
from napari_cmrcnet.retrieval.averages import Neighbourhoods
from napari_cmrcnet.retrieval.bank import Bank
from napari_cmrcnet.sections.depth import partial_pcc
from napari_cmrcnet.sections.score_filter import scored_spots, unscored
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.sections.totals import total_genes, totals_of
from napari_cmrcnet.training.data import Rows

GENES_A_STEP = 128
COVERAGE = 0.9  # of the intervals


def expected_accuracy(
    bank: Bank, sections: Sequence[Section], left_out: Iterable[tuple[Rows, Neighbourhoods]]
) -> Job[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Return what each gene's correlation was on sections that the prediction had not seen, and how wrong values were.

    It is taken as in scores: over a section's spots of enough counts, of genes found at enough of them. Of several
    sections it is the mean over those where the gene has a score.

    Parameters
    ----------
    bank : Bank
        All training spots, section after section.
    sections : sequence of Section
        The training sections in that order.
    left_out : iterable of (int64 (n,), Neighbourhoods)
        Rows of the bank, of one section or several, and the bank's spots retrieved for each of them by a model that
        was made without these sections.

    Returns
    -------
    float32 (genes, 2)
        PCC, and partial PCC given depth; NaN where a gene has no score on any section.
    float32 (genes,)
        The split-conformal half-width of a value's 90 % interval, as `half_width` has it of all spots together.
    """
    genes = len(bank.genes)
    section_of = np.repeat(np.arange(len(sections)), [len(section.spots) for section in sections])
    totals = np.concatenate([totals_of(section.spots) for section in sections])
    counted = np.concatenate([scored_spots(totals_of(one.spots), total_genes(one.spots)) for one in sections])
    step, parts = "Measuring the accuracy on left-out sections", list(left_out)

    def measure(start: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        block = range(start, min(start + GENES_A_STEP, genes))
        known = bank.expression[:, block].toarray()
        scores, residuals = [], []
        for rows, neighbourhoods in parts:
            measured, predicted = known[rows], neighbourhoods.mean(known)
            residuals.append(np.abs(measured - predicted)[counted[rows]])
            for section in np.unique(section_of[rows]):
                here = counted[rows] & (section_of[rows] == section)
                scores.append(_scores(measured[here], predicted[here], totals[rows[here]]))
        total, known = np.nansum(scores, axis=0), (~np.isnan(scores)).sum(axis=0)
        return total / np.where(known, known, np.nan), half_width(np.concatenate(residuals))

    starts = range(0, genes, GENES_A_STEP)
    found = yield from in_threads(measure, starts, lambda done: Progress(step, done * GENES_A_STEP, genes, "genes"))
    yield Progress(step, genes, genes, "genes")
    expected, interval = zip(*found, strict=True)
    return np.concatenate(expected).astype(np.float32), np.concatenate(interval)


def half_width(residuals: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return what a new residual is at most in 90 % of cases, if it is drawn as these were; NaN of fewer than nine.

    Of n residuals it is the ⌈0.9 (n + 1)⌉-th smallest (Vovk et al., Algorithmic Learning in a Random World, 2005).

    Parameters
    ----------
    residuals : float (n, genes)
        Without their signs.
    """
    place = int(np.ceil(COVERAGE * (len(residuals) + 1))) - 1
    if place >= len(residuals):
        return np.full(residuals.shape[1], np.nan, np.float32)
    widths: NDArray[np.float32] = np.partition(residuals, place, axis=0)[place].astype(np.float32)
    return widths


def _scores(
    measured: NDArray[np.floating], predicted: NDArray[np.floating], totals: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return PCC and partial PCC of genes, float64 (genes, 2), both NaN where a gene has no score."""
    scores = np.column_stack([pcc(measured, predicted), partial_pcc(measured, predicted, totals)])
    scores[np.array(unscored(measured, predicted)) != ""] = np.nan
    return scores
