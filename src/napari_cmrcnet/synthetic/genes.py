"""Counts of the synthetic sections: real gene symbols, invented expression.

Each cell type has a signature over the morphology-driven genes; a spot's expected expression is the mean of
its cells' signatures. The undriven genes have one constant expectation everywhere.
"""

import json
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

# Well-known markers of each cell type; a gene may mark several. The eight IDC markers of the paper are among them. The
# undriven genes are housekeeping genes, which no cell type expresses more than another.
_GENES = json.loads(files(__package__).joinpath("genes.json").read_text("utf-8"))
MARKERS: dict[str, list[str]] = _GENES["markers"]
CELL_TYPES = tuple(MARKERS)
_MARKED = list(dict.fromkeys(gene for kind in CELL_TYPES for gene in MARKERS[kind]))
GENES = np.array(_MARKED + _GENES["undriven"])
DRIVEN = np.arange(len(GENES)) < len(_MARKED)  # whether a gene follows the cells that are drawn

_BACKGROUND = 0.015  # expression of a gene in the cells that it does not mark, relative to those it marks
_SPREAD = 0.4  # of the abundances of genes, in natural logarithms
_UNDRIVEN_SHARE = 0.02  # of a spot's counts: little, so that the most expressed genes are driven ones
_DISPERSION = 0.06  # variance of the gamma factor: counts are negative binomial, variance m + 0.06 m²
_DROPOUT, _DROPOUT_COUNTS = 0.4, 3.0  # probability at no expression, and the counts at which it is a third
_MEDIAN_COUNTS = 8000.0
_ABUNDANCE_SEED = 2024  # signatures are the same in every section of every seed: there is one biology


def signatures() -> NDArray[np.float64]:
    """Return the expected share of each of `GENES` in a cell type's counts (T, G), always the same.

    Every row sums to one, and so does every row's driven part to the same value.
    """
    rng = np.random.default_rng(_ABUNDANCE_SEED)
    marks = np.array([[gene in MARKERS[kind] for gene in GENES[DRIVEN]] for kind in CELL_TYPES])
    abundance = rng.lognormal(0.0, _SPREAD, marks.shape[1])
    driven = abundance * np.where(marks, rng.uniform(0.6, 1.4, marks.shape), _BACKGROUND)
    undriven = np.tile(rng.lognormal(0.0, 0.6, (~DRIVEN).sum()), (len(CELL_TYPES), 1))
    # Both parts have the same sum in every cell type. If they had not, dividing by a spot's total would
    # write the composition into the undriven genes.
    driven *= (1 - _UNDRIVEN_SHARE) / driven.sum(axis=1, keepdims=True)
    undriven *= _UNDRIVEN_SHARE / undriven.sum(axis=1, keepdims=True)
    return np.hstack([driven, undriven])


def draw_counts(composition: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int32]:
    """Draw integer counts for spots of a given composition.

    Gamma-Poisson (negative binomial) counts around ``library size × composition @ signatures``, with dropout.
    A spot's library size does not depend on its composition, and the gamma factors leave the driven and the
    undriven part of a spot's expectation as they are: only the driven genes know about the image.

    Parameters
    ----------
    composition : float64 (n, T)
        Fractions of cell types; rows sum to one.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    int32 (n, G)
        Counts.
    """
    expected = composition @ signatures()
    noisy = expected * rng.gamma(1 / _DISPERSION, _DISPERSION, expected.shape)
    for part in (DRIVEN, ~DRIVEN):
        noisy[:, part] *= expected[:, part].sum(1, keepdims=True) / noisy[:, part].sum(1, keepdims=True)
    library = _MEDIAN_COUNTS * rng.lognormal(0.0, 0.35, (len(composition), 1))
    counts = rng.poisson(library * noisy)
    counts[rng.random(counts.shape) < _DROPOUT * np.exp(-library * expected / _DROPOUT_COUNTS)] = 0
    return counts.astype(np.int32)
