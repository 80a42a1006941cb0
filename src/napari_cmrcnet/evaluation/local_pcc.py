"""Where on a section a gene is predicted well: its correlation in a window that moves from spot to spot."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from napari_cmrcnet.sections.score_filter import MIN_SPOTS

_LEAST_VARIANCE = 1e-9  # of the whole section's, below which the values of a window are constant but for rounding


def local_pcc(
    measured: ArrayLike, predicted: ArrayLike, window: sparse.csr_matrix, counted: ArrayLike
) -> NDArray[np.float32]:
    """Return the Pearson correlation of measured and predicted in the window of each spot.

    Parameters
    ----------
    measured, predicted : (n,)
        One value per spot.
    window : sparse matrix (n, n)
        As `nearby_spots.windows` gives it.
    counted : bool (n,)
        The spots that count, see `Case.counted_spots`.

    Returns
    -------
    float32 (n,)
        NaN where fewer than `MIN_SPOTS` spots of the window count, or either is the same at all of them.
    """
    use = np.asarray(counted, np.float64)
    x, y = (_standardised(np.asarray(values, np.float64), use > 0) * use for values in (measured, predicted))
    n, *means = (window @ np.column_stack([use, x, y, x * x, y * y, x * y])).T
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_x, mean_y, xx, yy, xy = (sums / n for sums in means)
        variances = xx - mean_x**2, yy - mean_y**2
        r = np.clip((xy - mean_x * mean_y) / np.sqrt(variances[0] * variances[1]), -1, 1)
    known = (n >= MIN_SPOTS) & (np.minimum(*variances) > _LEAST_VARIANCE)
    return np.where(known, r, np.nan).astype(np.float32)


def _standardised(values: NDArray[np.float64], counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return values less their mean, over their standard deviation: sums of squares then lose no digits."""
    here = values[counted]
    spread = here.std() if here.size else 0.0
    return (values - here.mean()) / spread if spread > 0 else np.zeros_like(values)
