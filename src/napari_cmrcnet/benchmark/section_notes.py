"""What a report says of the sections that were compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.benchmark.results import spots_that_count
from napari_cmrcnet.common.metrics import dense
from napari_cmrcnet.common.text import count_text, some_of
from napari_cmrcnet.sections.depth import Depth, depth_r2
from napari_cmrcnet.sections.expression import expression_of
from napari_cmrcnet.sections.score_filter import MIN_SPOTS, detected_spots
from napari_cmrcnet.sections.totals import total_genes

if TYPE_CHECKING:
    from napari_cmrcnet.benchmark.dataset import Dataset
    from napari_cmrcnet.sections.section import Section

_BLOCK = 256  # genes at a time: memory does not grow with their number


@dataclass(frozen=True)
class Said:
    """What is to be said of the sections.

    Parameters
    ----------
    each : tuple of str
        What each section is.
    warnings : tuple of str
        What makes scores of some better than they look, and which markers have none.
    spots : int
        Spots of all sections.
    """

    each: tuple[str, ...]
    warnings: tuple[str, ...]
    spots: int


def say_of(dataset: "Dataset", sections: "Sequence[Section]", min_umi: int | None) -> Said:
    """Say what the sections are.

    Raises
    ------
    UserError
        If one is too poor in counts to be scored.
    """
    each, warnings = [], []
    for section in sections:
        counted, totals = spots_that_count(section, min_umi)
        depth = depth_of(section, counted, totals[counted])
        each.append(_introduced(section, count_text(int(counted.sum()), "spot", len(counted)), depth))
        if depth.shallow:
            warnings.append(
                f"{section.name} was sequenced shallowly ({depth}), so much of a PCC may come from depth. Compare "
                "with the row 'Predicted depth', and look at the values given depth."
            )
    warnings += _missing_markers(dataset, sections)
    return Said(tuple(each), tuple(warnings), sum(len(section.spots) for section in sections))


def depth_of(section: "Section", counted: NDArray[np.bool_], totals: NDArray[np.float64]) -> Depth:
    """Return how deeply a section was sequenced, over the spots that count and the genes that are found often enough.

    Parameters
    ----------
    section : Section
        Measured.
    counted : bool (n,)
        Spots that count.
    totals : float64 (number counted,)
        Their counts.
    """
    expression = expression_of(section.spots, list(section.spots.var_names))[counted].tocsc()
    expression = expression[:, detected_spots(expression) >= MIN_SPOTS]
    explained = variance = 0.0
    for start in range(0, expression.shape[1], _BLOCK):
        block = dense(expression[:, start : start + _BLOCK])
        of_gene, share = block.var(axis=0), depth_r2(block, totals)
        known = ~np.isnan(share)
        explained += float(of_gene[known] @ share[known])
        variance += float(of_gene[known].sum())
    share_of_all = explained / variance if variance else float("nan")
    return Depth(float(np.median(totals)), share_of_all, total_genes(section.spots))


def _introduced(section: "Section", scored: str, depth: Depth) -> str:
    """Say what a section is, with its notes."""
    patient = f" of patient {section.patient}" if section.patient else ""
    synthetic = " Synthetic: its scores say nothing about real tissue." if section.origin.synthetic else ""
    size = f"{section.mpp:.4g} µm/px from {section.pixel_size.source}"
    about = f"{section.name}{patient}: {section.spots.n_vars:,} genes, {size}, {depth}; scored at {scored}."
    return " ".join([f"{about}{synthetic}", *section.notes])


def _missing_markers(dataset: "Dataset", sections: "Sequence[Section]") -> list[str]:
    """Say which markers no method can be scored on, as not all sections have them."""
    shared = set.intersection(*(set(section.spots.var_names) for section in sections))
    missing = [gene for gene in dataset.markers if gene not in shared]
    if not missing:
        return []
    return [f"Not all sections have {len(missing)} of the {len(dataset.markers)} markers: {some_of(missing, 20)}."]
