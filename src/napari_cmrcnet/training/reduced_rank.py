"""Reduced-rank ridge regression: many genes from many features by a few components."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Rows = NDArray[np.int64]

SPOTS_A_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class ReducedRank:
    """A linear map by r components: (x - centre) @ into @ out + mean, of features (n, f) to genes (n, g).

    Parameters
    ----------
    centre : float (f,)
        Mean of the training features.
    into : float (f, r)
        From features to components.
    out : float (r, g)
        From components to genes; its rows are orthonormal.
    mean : float (g,)
        Mean training expression.
    """

    centre: Array
    into: Array
    out: Array
    mean: Array

    def components(self, features: NDArray[np.floating[Any]]) -> Array:
        """Return the components that are predicted from features, (n, r)."""
        found: Array = (features - self.centre) @ self.into
        return found

    def measured(self, expression: NDArray[np.floating[Any]]) -> Array:
        """Return the components of measured expression (n, g), (n, r)."""
        found: Array = expression @ self.out.T - self.mean @ self.out.T  # no copy of all expression
        return found

    def predict(self, features: NDArray[np.floating[Any]]) -> Array:
        """Return the predicted expression, (n, g)."""
        predicted: Array = self.components(features) @ self.out + self.mean
        return predicted


@dataclass(frozen=True, eq=False)
class Moments:
    """All that ridge regression needs to know of its spots: their number, and the sums and products of both sides."""

    spots: int
    x: Array
    y: Array
    xx: Array
    xy: Array

    @classmethod
    def of(cls, features: Array, expression: Array, rows: Rows) -> "Moments":
        """Take the moments of some spots, block by block; (n, f), (n, g) and the rows."""
        f, g = features.shape[1], expression.shape[1]
        x, y, xx, xy = (np.zeros(shape, features.dtype) for shape in (f, g, (f, f), (f, g)))
        for start in range(0, len(rows), SPOTS_A_BLOCK):
            block = rows[start : start + SPOTS_A_BLOCK]
            a, b = features[block], expression[block]
            x += a.sum(axis=0)
            y += b.sum(axis=0)
            xx += a.T @ a
            xy += a.T @ b
        return cls(len(rows), x, y, xx, xy)


class Solver:
    """Reduced-rank ridge regressions on the same spots, of several penalties and ranks.

    With X and Y centred, the coefficients of ridge regression are B = (XᵀX + λ f I)⁻¹ XᵀY for f features. With V the
    first right singular vectors of the fitted values X B, those of rank r are B V Vᵀ. All of it follows from the
    moments: with XᵀX = W D Wᵀ, the fitted values are D^½ (D + λ f I)⁻¹ WᵀXᵀY after a rotation, f rows in place of one
    for each spot.
    """

    def __init__(self, moments: Moments) -> None:
        from scipy import linalg

        n = np.float32(moments.spots)
        self._centre, self._mean = moments.x / n, moments.y / n
        gram = moments.xx - n * np.outer(self._centre, self._centre)
        values, self._vectors = linalg.eigh(gram, overwrite_a=True, check_finite=False)
        self._values = values.clip(0)[:, None]
        self._rotated = self._vectors.T @ (moments.xy - n * np.outer(self._centre, self._mean))

    def fits(self, penalty: float, ranks: Sequence[int], seed: int = 0) -> list[ReducedRank]:
        """Fit, as `reduced_rank_ridge`."""
        from sklearn.utils.extmath import randomized_svd

        shrunk = self._values + np.float32(penalty * len(self._values))
        most = min(max(ranks), *self._rotated.shape)
        fitted = self._rotated * (np.sqrt(self._values) / shrunk)
        components = randomized_svd(fitted, most, random_state=seed)[2]  # (most, g)
        into = self._vectors @ ((self._rotated @ components.T) / shrunk)  # (f, most)
        return [ReducedRank(self._centre, into[:, :rank], components[:rank], self._mean) for rank in ranks]


def reduced_rank_ridge(
    features: Array, expression: Array, penalty: float, ranks: Sequence[int], seed: int = 0
) -> list[ReducedRank]:
    """Fit ridge regression, and keep the first principal components of the fitted values.

    The regression is that of `Solver`. Where there are fewer spots than features, B comes from its dual,
    Xᵀ (X Xᵀ + λ f I)⁻¹ Y, in double precision.

    Parameters
    ----------
    features : float (n, f)
        Of the training spots.
    expression : float (n, g)
        Their log-normalised expression.
    penalty : float
        λ.
    ranks : sequence of int
        One fit each; where there are fewer components all are kept.
    seed : int
        Of the random start from which the components are found.

    Returns
    -------
    list of ReducedRank
        In the order of the ranks.
    """
    from scipy import linalg
    from sklearn.utils.extmath import randomized_svd

    n, f = features.shape
    if n >= f:
        return Solver(Moments.of(features, expression, np.arange(n))).fits(penalty, ranks, seed)
    centre, mean = features.mean(axis=0, dtype=np.float64), expression.mean(axis=0, dtype=np.float64)
    x, y = features - centre, expression - mean
    coefficients = x.T @ linalg.solve(x @ x.T + penalty * f * np.eye(n), y, assume_a="pos")
    most = min(max(ranks), *expression.shape)
    components = randomized_svd(x @ coefficients, most, random_state=seed)[2]  # (most, g)
    into = coefficients @ components.T  # (f, most)
    return [ReducedRank(centre, into[:, :rank], components[:rank], mean) for rank in ranks]
