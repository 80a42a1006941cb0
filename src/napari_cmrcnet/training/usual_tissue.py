"""What a checkpoint learns of how its training sections look, and how far one that is left out lies from the others."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_cmrcnet.common.progress import Job, in_turn
from napari_cmrcnet.retrieval.likeness import Usual, distance
from napari_cmrcnet.retrieval.tissue import Described, describe_tissue
from napari_cmrcnet.sections.nearby_spots import compact_blocks
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.training.data import left_out_names

if TYPE_CHECKING:
    from napari_cmrcnet.model.pretrained import Pretrained

Array = NDArray[np.float64]

AREAS = 4
"""Compact parts of a left-out section, each judged as if it were a slide."""
FALSE_ALARMS = 0.05
"""Share of these areas that may lie beyond the limit. Whole sections vary less, so fewer of them do."""
CORRELATED = 32  # features at most whose correlations are taken into account; there are too few spots for those of more
SHRINKAGE = 0.01  # of the correlations towards none, as some features are nearly sums of others
NEARLY_NONE = 1e-6  # deviation of what is the same everywhere but for rounding
DIGITS = 5  # that are kept


def training_tissue(
    sections: Sequence[Section], encoder: "Pretrained | None" = None, device: "torch.device | str" = "cpu"
) -> Job[dict[str, Usual]]:
    """Describe the training sections, and return their `usual_tissue`.

    Parameters
    ----------
    sections : sequence of Section
        Those trained on.
    encoder, device
        As `describe_tissue` takes them.
    """
    described = yield from in_turn(describe_tissue(section, encoder, device) for section in sections)
    return usual_tissue(described, left_out_names(sections))


def usual_tissue(described: Sequence[Mapping[str, Described]], groups: Sequence[str]) -> dict[str, Usual]:
    """Return what training sections look like, and the distance up to which another is like them.

    A section is compared by the mean of its features with the mean of the training sections', in units of the deviation
    of spots within a section: a Mahalanobis distance for a few features, and without correlations for many. To find the
    limit, each group of sections is left out in turn, and the areas of its sections are compared with the others. Each
    kind of features is measured in its median distance; the limit is that for the farthest kind of an area, so that
    `FALSE_ALARMS` holds for all kinds together. A few sections show only part of how sections differ, so that with n
    groups the limit is 1 + 1/n times as far.

    Parameters
    ----------
    described : sequence of mapping of str to Described
        Of each section, at least one.
    groups : sequence of str
        The sections with the same are left out together.

    Returns
    -------
    dict of str to Usual
        By kind. A single section is divided into areas, which are then taken for sections. Empty where there is too
        little to divide.
    """
    kinds, n_groups = list(described[0]), len(set(groups))
    if n_groups == 1:
        described = [piece for one in described for piece in _pieces(one)]
        groups = [str(place) for place in range(len(described))]
    sections = [{kind: _Moments(one[kind]) for kind in kinds} for one in described]
    table: list[list[float]] = []
    for group in dict.fromkeys(groups):
        others = [one for one, of in zip(sections, groups, strict=True) if of != group]
        middles = {kind: _middle([one[kind] for one in others]) for kind in kinds} if others else {}
        for one in (one for one, of in zip(sections, groups, strict=True) if of == group and others):
            areas = zip(*(one[kind].areas for kind in kinds), strict=False)
            table += [
                [distance(mean - middles[kind][0], middles[kind][1]) for kind, mean in zip(kinds, means, strict=True)]
                for means in areas
            ]
    if not table:
        return {}
    distances = np.array(table)  # (areas, kinds)
    typical = np.maximum(np.median(distances, axis=0), NEARLY_NONE)
    limits = typical * np.quantile((distances / typical).max(axis=1), 1 - FALSE_ALARMS) * (1 + 1 / n_groups)
    found = {}
    for kind, limit in zip(kinds, np.maximum(limits, NEARLY_NONE).tolist(), strict=True):
        centre, scale = _middle([one[kind] for one in sections])
        found[kind] = Usual(_kept(centre), _kept(scale), limit)
    return found


class _Moments:
    """The mean features of a section and of its areas, and the variance within it, or the covariance of a few."""

    def __init__(self, described: Described) -> None:
        values = described.features.astype(np.float64)
        self.areas = [values[rows].mean(axis=0) for rows in _areas(described.xy)]
        self.spots, self.mean = len(values), values.mean(axis=0)
        centred = values - self.mean
        few = values.shape[1] <= CORRELATED
        self.spread: Array = centred.T @ centred / self.spots if few else np.square(centred).mean(axis=0)


def _areas(xy: Array) -> list[NDArray[np.int64]]:
    return compact_blocks(xy, max(1, -(-len(xy) // AREAS)))


def _pieces(described: Mapping[str, Described]) -> list[dict[str, Described]]:
    """Divide a section into its areas."""
    parts = {
        kind: [Described(one.features[rows], one.xy[rows]) for rows in _areas(one.xy)]
        for kind, one in described.items()
    }
    return [dict(zip(parts, piece, strict=True)) for piece in zip(*parts.values(), strict=False)]


def _middle(sections: Sequence[_Moments]) -> tuple[Array, Array]:
    """Return the mean of the sections' means, and the scale of a difference to it, see `Usual`."""
    centre = np.mean([one.mean for one in sections], axis=0)
    spread = np.average([one.spread for one in sections], axis=0, weights=[one.spots for one in sections])
    if spread.ndim == 1:
        return centre, 1 / np.maximum(np.sqrt(spread), NEARLY_NONE)
    deviation = np.maximum(np.sqrt(np.diag(spread)), NEARLY_NONE)
    correlations = (1 - SHRINKAGE) * spread / np.outer(deviation, deviation)
    np.fill_diagonal(correlations, 1)
    root = np.linalg.cholesky(np.linalg.inv(correlations))
    return centre, root / deviation[:, None]


def _kept(values: Array) -> Any:
    """Return an array as tuples, of tuples where it is a matrix, with the digits that are kept."""
    if values.ndim > 1:
        return tuple(map(_kept, values))
    return tuple(float(f"{value:.{DIGITS}g}") for value in values)
