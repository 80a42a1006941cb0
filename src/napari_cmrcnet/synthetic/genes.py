"""Counts of the synthetic sections: real gene symbols, invented expression.

Each cell type has a signature over the morphology-driven genes; a spot's expected expression is the mean of
its cells' signatures. The undriven genes have one constant expectation everywhere.
"""

import json
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

# Well-known markers of each cell type; a gene may mark several. The eight IDC markers of the paper are among them. The
# undriven genes are housekeeping genes, which no cell type expresses more than another.
_GENES = json.loads(files(__package__).joinpath("genes.json").read_text("utf-8"))
MARKERS: dict[str, list[str]] = _GENES["markers"]
CELL_TYPES = tuple(MARKERS)
UNDRIVEN = tuple(_GENES["undriven"])

_BACKGROUND = 0.015  # expression of a gene in the cells that it does not mark, relative to those it marks
_SPREAD = 0.4  # of the abundances of genes, in natural logarithms
_UNDRIVEN_SHARE = 0.02  # of a spot's counts: little, so that the most expressed genes are driven ones
_DISPERSION = 0.06  # variance of the gamma factor: counts are negative binomial, variance m + 0.06 m²
_DROPOUT, _DROPOUT_COUNTS = 0.4, 3.0  # probability at no expression, and the counts at which it is a third
_MEDIAN_COUNTS = 8000.0
_ABUNDANCE_SEED = 2024  # signatures are the same in every section of every seed: there is one biology


@dataclass(frozen=True)
class Signatures:
    """What the synthetic cells express.

    Parameters
    ----------
    genes : tuple of str
        Symbols, driven genes first.
    driven : bool (G,)
        Whether a gene follows the cells that are drawn.
    shares : float64 (T, G)
        Expected share of a cell type's counts; every row sums to one, and so does every row's driven part
        to the same value.
    """

    genes: tuple[str, ...]
    driven: NDArray[np.bool_]
    shares: NDArray[np.float64]


def signatures() -> Signatures:
    """Return the signatures of all `CELL_TYPES`, always the same ones."""
    rng = np.random.default_rng(_ABUNDANCE_SEED)
    driven_genes = tuple(dict.fromkeys(gene for kind in CELL_TYPES for gene in MARKERS[kind]))
    marks = np.array([[gene in MARKERS[kind] for gene in driven_genes] for kind in CELL_TYPES])
    abundance = rng.lognormal(0.0, _SPREAD, len(driven_genes))
    driven = abundance * np.where(marks, rng.uniform(0.6, 1.4, marks.shape), _BACKGROUND)
    undriven = rng.lognormal(0.0, 0.6, len(UNDRIVEN))
    # Both parts have the same sum in every cell type. If they had not, dividing by a spot's total would
    # write the composition into the undriven genes.
    driven *= (1 - _UNDRIVEN_SHARE) / driven.sum(axis=1, keepdims=True)
    undriven *= _UNDRIVEN_SHARE / undriven.sum()
    shares = np.hstack([driven, np.tile(undriven, (len(CELL_TYPES), 1))])
    is_driven = np.arange(shares.shape[1]) < len(driven_genes)
    return Signatures(driven_genes + UNDRIVEN, is_driven, shares)


def draw_counts(composition: NDArray[np.float64], known: Signatures, rng: np.random.Generator) -> NDArray[np.int32]:
    """Draw integer counts for spots of a given composition.

    Gamma-Poisson (negative binomial) counts around ``library size × composition @ shares``, with dropout.
    A spot's library size does not depend on its composition, and the gamma factors leave the driven and the
    undriven part of a spot's expectation as they are: only the driven genes know about the image.

    Parameters
    ----------
    composition : float64 (n, T)
        Fractions of cell types; rows sum to one.
    known : Signatures
        The signatures.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    int32 (n, G)
        Counts.
    """
    expected = composition @ known.shares
    noisy = expected * rng.gamma(1 / _DISPERSION, _DISPERSION, expected.shape)
    for part in (known.driven, ~known.driven):
        noisy[:, part] *= expected[:, part].sum(1, keepdims=True) / noisy[:, part].sum(1, keepdims=True)
    library = _MEDIAN_COUNTS * rng.lognormal(0.0, 0.35, (len(composition), 1))
    counts = rng.poisson(library * noisy)
    counts[rng.random(counts.shape) < _DROPOUT * np.exp(-library * expected / _DROPOUT_COUNTS)] = 0
    return counts.astype(np.int32)
