"""Between which values maps are coloured: one rule for the window, figures, reports and exports."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_cmrcnet.evaluation.plot_style import PANEL_UNIT

Limits = tuple[float, float]

PERCENTILES = (1.0, 99.0)
LEAST_SPAN = 0.5
"""Of log-normalised expression: about the largest standard deviation that counting alone gives a spot of 10,000 counts.

For a gene with Poisson counts it is greatest, 0.51, at 1.7 counts in 10,000. It is also a factor of 1.65 where a gene
is highly expressed."""
LEAST_SPAN_Z = 1.0  # of a panel's score: one standard deviation of a gene
FREE = 0.12  # of a colour bar beside its ends, where a number would touch theirs


def least_span(unit: str) -> float:
    """Return the smallest range of values, in a unit, that is spread over all colours."""
    return LEAST_SPAN_Z if unit == PANEL_UNIT else LEAST_SPAN


def colour_limits(
    *values: ArrayLike, unit: str = "", percentiles: tuple[float, float] = PERCENTILES, from_zero: bool = False
) -> Limits:
    """Return the limits of measured and predicted values together, never NaN and never closer than the least span.

    Parameters
    ----------
    values : (n,) each
        Measured, predicted, or both; what is not finite is left out.
    unit : str
        Of the values: that of a panel's score, or else they are log-normalised expression.
    percentiles : (float, float)
        Of all values, 0 to 100.
    from_zero : bool
        Whether the lower one is 0. It is not asked of a panel's score: its 0 is the section's mean.

    Returns
    -------
    (float, float)
        The percentiles. Where they are closer than `least_span`, as far apart as that about their middle; those of
        expression do not go below 0 for it.
    """
    both = _finite(*values)
    score = unit == PANEL_UNIT
    low, high = (float(value) for value in np.percentile(both, percentiles)) if both.size else (0.0, 0.0)
    if from_zero and not score:
        low = 0.0
    least = least_span(unit)
    if high - low >= least:
        return low, high
    middle = max((low + high) / 2, least / 2 if low >= 0 and not score else -np.inf)
    return middle - least / 2, middle + least / 2


def difference_limits(difference: ArrayLike, unit: str = "") -> Limits:
    """Return limits that are symmetric about 0: the 99th percentile of the size, or the least span where it is less.

    Parameters
    ----------
    difference : (n,)
        Predicted minus measured.
    unit : str
        As for `colour_limits`.
    """
    sizes = np.abs(_finite(difference))
    size = max(float(np.percentile(sizes, PERCENTILES[1])) if sizes.size else 0.0, least_span(unit))
    return -size, size


def hardly_varies(predicted: ArrayLike) -> bool:
    """Tell whether predicted expression spans less than the least span, the 1st to the 99th percentile of a gene.

    Parameters
    ----------
    predicted : (n,) or (n, g)
        Log-normalised expression of a gene, or of the genes of a panel: it hardly varies if none of them does. The
        panel's score cannot tell, as z-scores make every variation equally large.
    """
    genes = [_finite(gene) for gene in np.atleast_2d(np.asarray(predicted).T)]
    return any(gene.size for gene in genes) and not any(map(_varies, genes))


def vary(predicted: ArrayLike) -> NDArray[np.bool_]:
    """Tell which genes' prediction varies, bool (g,): see `hardly_varies`; predicted is (n, g), all of it finite."""
    varies: NDArray[np.bool_] = np.ptp(np.percentile(np.asarray(predicted), PERCENTILES, axis=0), axis=0) >= LEAST_SPAN
    return varies


def bar_ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """Return where a colour bar has numbers, and the numbers: at both ends, and at round values between them.

    Parameters
    ----------
    low, high : float
        The limits.
    """
    span = high - low
    power = 10.0 ** np.floor(np.log10(span))
    step = next(part * power for part in (0.25, 0.5, 1.0, 2.0, 2.5) if span <= 4 * part * power)
    round_values = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
    free = FREE * span
    places = [low, *(float(place) for place in round_values if low + free < place < high - free), high]
    most = 2 if span >= 0.1 else 2 - int(np.floor(np.log10(span)))
    decimals = next(n for n in range(most + 1) if np.allclose(np.round(places, n), np.round(places, most), atol=1e-12))
    return places, [f"{place:z.{decimals}f}" for place in places]


def _varies(gene: NDArray[Any]) -> bool:
    if not gene.size or np.ptp(gene) < LEAST_SPAN:  # told without sorting, which a switch of genes would wait for
        return False
    return bool(np.ptp(np.percentile(gene, PERCENTILES)) >= LEAST_SPAN)


def _finite(*values: ArrayLike) -> NDArray[Any]:
    both: NDArray[Any] = np.concatenate([np.ravel(np.asarray(part)) for part in values])
    finite = np.isfinite(both)
    return both if finite.all() else both[finite]
