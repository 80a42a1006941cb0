"""Reduced-rank ridge regression: many genes from many features by a few components."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ReducedRank:
    """A linear map by r components: (x - centre) @ into @ out + mean, of features (n, f) to genes (n, g).

    Parameters
    ----------
    centre : float64 (f,)
        Mean of the training features.
    into : float64 (f, r)
        From features to components.
    out : float64 (r, g)
        From components to genes; its rows are orthonormal.
    mean : float64 (g,)
        Mean training expression.
    """

    centre: Array
    into: Array
    out: Array
    mean: Array

    def components(self, features: NDArray[np.floating[Any]]) -> Array:
        """Return the components that are predicted from features, float64 (n, r)."""
        found: Array = (features - self.centre) @ self.into
        return found

    def measured(self, expression: NDArray[np.floating[Any]]) -> Array:
        """Return the components of measured expression (n, g), float64 (n, r)."""
        found: Array = (expression - self.mean) @ self.out.T
        return found

    def predict(self, features: NDArray[np.floating[Any]]) -> Array:
        """Return the predicted expression, float64 (n, g)."""
        predicted: Array = self.components(features) @ self.out + self.mean
        return predicted


def reduced_rank_ridge(
    features: Array, expression: Array, penalty: float, ranks: Sequence[int], seed: int = 0
) -> list[ReducedRank]:
    """Fit ridge regression, and keep the first principal components of the fitted values.

    With X and Y centred, B = (XᵀX + λ f I)⁻¹ XᵀY for f features; with V the first right singular vectors of X B, the
    coefficients of rank r are B V Vᵀ. Where there are fewer spots than features B comes from its dual,
    Xᵀ (X Xᵀ + λ f I)⁻¹ Y.

    Parameters
    ----------
    features : float64 (n, f)
        Of the training spots.
    expression : float64 (n, g)
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
    centre, mean = features.mean(axis=0), expression.mean(axis=0)
    x, y = features - centre, expression - mean
    if n < f:
        coefficients = x.T @ linalg.solve(x @ x.T + penalty * f * np.eye(n), y, assume_a="pos")
    else:
        coefficients = linalg.solve(x.T @ x + penalty * f * np.eye(f), x.T @ y, assume_a="pos")
    most = min(max(ranks), *expression.shape)
    components = randomized_svd(x @ coefficients, most, random_state=seed)[2]  # (most, g)
    into = coefficients @ components.T  # (f, most)
    return [ReducedRank(centre, into[:, :rank], components[:rank], mean) for rank in ranks]
