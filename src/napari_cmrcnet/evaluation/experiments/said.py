"""What a report says of the sections that were compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cmrcnet.evaluation.counted import spots_in_words
from napari_cmrcnet.evaluation.depth import Depth
from napari_cmrcnet.evaluation.experiments.results import spots_that_count

if TYPE_CHECKING:
    from napari_cmrcnet.evaluation.experiments.dataset import Dataset
    from napari_cmrcnet.sections.section import Section


@dataclass(frozen=True)
class Said:
    """What is to be said of the sections.

    Parameters
    ----------
    each : tuple of str
        What each section is.
    warnings : tuple of str
        What makes scores of some better than they look.
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
        depth = Depth(float(np.median(totals[counted])), float("nan"), section.spots.n_vars)
        each.append(_introduced(section, spots_in_words(int(counted.sum()), len(counted)), depth))
        if depth.shallow:
            warnings.append(
                f"{section.name} was sequenced shallowly ({depth}): much of a PCC may come from depth. Compare with "
                "the row 'Predicted depth', and look at what is left given depth."
            )
    return Said(
        (*each, *_missing_markers(dataset, sections)), tuple(warnings), sum(len(section.spots) for section in sections)
    )


def _introduced(section: "Section", scored: str, depth: Depth) -> str:
    """Say what a section is, with its notes."""
    patient = f" of patient {section.patient}" if section.patient else ""
    synthetic = " Synthetic: no score is of real tissue." if section.spots.uns["cmrcnet"]["synthetic"] else ""
    size = f"{section.mpp:.4g} µm/px by {section.pixel_size.source}"
    about = f"{section.name}{patient}: {section.spots.n_vars:,} genes, {size}, {depth}; scored at {scored}."
    return " ".join([f"{about}{synthetic}", *section.notes])


def _missing_markers(dataset: "Dataset", sections: "Sequence[Section]") -> list[str]:
    """Say which markers no method can be scored on, as not all sections have them."""
    shared = set.intersection(*(set(section.spots.var_names) for section in sections))
    missing = [gene for gene in dataset.markers if gene not in shared]
    if not missing:
        return []
    how = " Markers are compared by the names that the sections have." if len(missing) == len(dataset.markers) else ""
    return [f"Not all sections have {len(missing)} of the {len(dataset.markers)} markers: {', '.join(missing)}.{how}"]
