"""Reduced-rank ridge regression: many genes from many features by a few components."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_cmrcnet.common.progress import Job, Progress, finish
from napari_cmrcnet.common.threads import in_threads

Array = NDArray[np.floating[Any]]
Rows = NDArray[np.int64]
T = TypeVar("T")
Expression = Any
"""Log-normalised expression (n, g): CSR matrix, of which a block of spots is made dense at a time, or array."""

SPOTS_A_BLOCK, GENES_A_BLOCK = 4096, 4096
FEW = 0.1  # of all eigenvalues
NOTHING = 1e-10  # of the largest eigenvalue: what rounding leaves of one that is 0


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

    def predict(self, features: Array, rank: int | None = None) -> Array:
        """Return the expression (n, g) that all components predict, or the first: the fit of a lower rank."""
        predicted: Array = (features - self.centre) @ self.into[:, :rank] @ self.out[:rank] + self.mean
        return predicted


def measured_components(expression: Expression, fits: Sequence[ReducedRank]) -> Job[list[Array]]:
    """Return the components of measured expression (n, g) in several fits, (n, r) each, by one pass over the spots."""
    out = np.concatenate([fitted.out for fitted in fits])
    found = np.empty((expression.shape[0], len(out)), out.dtype)
    for start, block in _blocks(expression, out.dtype):
        yield Progress("Projecting expression", start, len(found), "spots")
        found[start : start + len(block)] = block @ out.T
    found -= np.concatenate([fitted.out @ fitted.mean for fitted in fits])
    return np.split(found, np.cumsum([len(fitted.out) for fitted in fits])[:-1], axis=1)


@dataclass(frozen=True, eq=False)
class Sums:
    """All that ridge regression needs to know of many spots: their number, and the sums and products of both sides."""

    spots: int
    x: Array
    y: Array
    xx: Array
    xy: Array


def _sums(features: Array, expression: Expression) -> Job[Sums]:
    """Take the sums of spots, block by block; (n, f) and (n, g)."""
    f, g = features.shape[1], expression.shape[1]
    x, y, xx, xy = (np.zeros(shape, features.dtype) for shape in (f, g, (f, f), (f, g)))
    for start, b in _blocks(expression, features.dtype):
        yield Progress("Solving", start, len(features), "spots")
        a = features[start : start + len(b)]
        x += a.sum(axis=0)
        y += b.sum(axis=0)
        xx += a.T @ a
        xy += a.T @ b
    return Sums(len(features), x, y, xx, xy)


@dataclass(frozen=True, eq=False)
class Solver:
    """Reduced-rank ridge regressions on the same spots, of several penalties and ranks, by one decomposition.

    With X and Y centred, the coefficients of ridge regression are B = (XᵀX + λ f I)⁻¹ XᵀY for f features. With V the
    first right singular vectors of the fitted values X B, those of rank r are B V Vᵀ. With XᵀX = W D Wᵀ, the fitted
    values are D^½ (D + λ f I)⁻¹ WᵀXᵀY after a rotation: at most f rows in place of one for each spot.

    Parameters
    ----------
    centre, mean : float (f,), (g,)
        Means of features and expression.
    values : float (m, 1)
        D, of which m eigenvalues are not 0.
    vectors : float (f, m)
        W.
    rotated : float (m, g)
        WᵀXᵀY.
    """

    centre: Array
    mean: Array
    values: Array
    vectors: Array
    rotated: Array

    @classmethod
    def of_sums(cls, sums: Sums) -> "Solver":
        """Decompose XᵀX, where there are more spots than features."""
        n = np.asarray(sums.spots, sums.x.dtype)
        centre, mean = sums.x / n, sums.y / n
        gram = sums.xx - n * np.outer(centre, centre)
        values, vectors = _decomposed(gram)
        rotated = vectors.T @ sums.xy - (vectors.T @ centre)[:, None] * (n * mean)
        return cls(centre, mean, values.clip(0)[:, None], vectors, rotated)

    @classmethod
    def of_spots(cls, features: Array, expression: Expression) -> "Solver":
        """Decompose the smaller XXᵀ = U D Uᵀ, where there are fewer spots than features: W = XᵀU D^-½."""
        kind = features.dtype
        x = features.astype(np.float64)
        x -= (centre := x.mean(axis=0))
        values, left = _decomposed(x @ x.T)
        there = values > NOTHING * values[-1]
        values, left = values[there, None], left[:, there]
        vectors = (x.T @ left / np.sqrt(values.T)).astype(kind)
        left = left.astype(kind)
        y, mean = np.zeros((left.shape[1], expression.shape[1]), kind), np.zeros(expression.shape[1])
        for start, block in _blocks(expression, kind):
            y += left[start : start + len(block)].T @ block
            mean += block.sum(axis=0, dtype=np.float64)
        rotated = np.sqrt(values).astype(kind) * y  # the columns of U sum to 0, so that Y need not be centred
        return cls(centre.astype(kind), (mean / len(x)).astype(kind), values.astype(kind), vectors, rotated)

    def fitted(self, penalty: float, rank: int) -> ReducedRank:
        """Fit with a penalty λ and so many components; where there are fewer, all are kept.

        With the fitted values F = S R, the right singular vectors come from the eigenvectors of F Fᵀ = S (R Rᵀ) S.
        """
        kind = self.rotated.dtype
        shrunk = self.values.astype(np.float64) + penalty * len(self.centre)
        scale = np.sqrt(self.values) / shrunk  # S
        most = min(rank, *self.rotated.shape)
        if most == 0:  # all spots look alike
            return ReducedRank(self.centre, self.vectors, self.rotated, self.mean)
        squares, left = _largest(scale * self._gram * scale.T, most)
        there = squares > NOTHING * squares[-1]
        left = (left[:, there] / np.sqrt(squares[there]))[:, ::-1]  # the largest first
        components = (scale * left).astype(kind).T @ self.rotated  # (r, g)
        into = self.vectors @ ((self.rotated @ components.T) / shrunk).astype(kind)  # (f, r)
        return ReducedRank(self.centre, into, components, self.mean)

    @cached_property
    def _gram(self) -> NDArray[np.float64]:
        """R Rᵀ, (m, m), in double precision: it holds the squares of what is looked for."""
        gram = np.zeros((len(self.rotated),) * 2)
        for start in range(0, self.rotated.shape[1], GENES_A_BLOCK):
            block = self.rotated[:, start : start + GENES_A_BLOCK].astype(np.float64)
            gram += block @ block.T
        return gram


@dataclass(eq=False)
class Spots:
    """Training spots, of which some are left out in turn.

    Parameters
    ----------
    features : float (n, f)
        What the image shows at each.
    expression : CSR matrix or array (n, g)
        Log-normalised.
    """

    features: Array
    expression: Expression
    _sums: Sums | None = None

    def solver(self, left_out: Rows) -> Job[Solver]:
        """Prepare the regression on all spots but some, or none.

        The sums of all are taken once, and those of the spots left out subtracted: each is then visited twice, however
        often others are left out.
        """
        if len(self.features) - len(left_out) < self.features.shape[1]:
            rows = np.setdiff1d(np.arange(len(self.features)), left_out)
            return Solver.of_spots(self.features[rows], self.expression[rows])
        sums = yield from self._all()
        part = yield from _sums(self.features[left_out], self.expression[left_out])
        spots, x, y = sums.spots - part.spots, sums.x - part.x, sums.y - part.y
        return Solver.of_sums(Sums(spots, x, y, sums.xx - part.xx, sums.xy - part.xy))

    def without_each(self, parts: Sequence[Rows], use: Callable[[Rows, Solver], T], step: str) -> Job[list[T]]:
        """Return what is made of the regression on all spots but a part, of each part: side by side, in threads.

        Parameters
        ----------
        parts : sequence of int64 arrays
            The rows that are left out in turn.
        use : callable
            Given a part and the regression without it.
        step : str
            What is being done, as the progress says it.
        """
        if len(self.features) >= self.features.shape[1]:
            yield from self._all()

        def done(number: int) -> Progress:
            return Progress(step, number, len(parts))

        return (yield from in_threads(lambda part: use(part, finish(self.solver(part))), parts, done))

    def fitted(self, penalty: float, rank: int) -> Job[ReducedRank]:
        """Fit on all spots, see `Solver.fitted`; in one thread, as several wait for each other where others work."""
        (fit,) = yield from self.without_each([np.arange(0)], lambda _, solver: solver.fitted(penalty, rank), "Solving")
        return fit

    def _all(self) -> Job[Sums]:
        if self._sums is None:
            self._sums = yield from _sums(self.features, self.expression)
        return self._sums


def _decomposed(matrix: Array) -> tuple[Array, Array]:
    """Return the eigenvalues, ascending, and the eigenvectors of a symmetric matrix (m, m).

    By torch, which lets a window go on meanwhile; SciPy's takes no longer, and holds everything up for seconds.
    """
    import torch

    values, vectors = torch.linalg.eigh(torch.from_numpy(matrix))
    return values.numpy(), vectors.numpy()


def _largest(matrix: NDArray[np.float64], k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the k largest eigenvalues, ascending, and the eigenvectors of a symmetric matrix (m, m).

    Where they are few, Lanczos' method takes a quarter of the time. It begins with the same vector in each run. Its
    products read half of the matrix, as it is symmetric.
    """
    from scipy import linalg
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    m = len(matrix)
    if k < m * FEW:
        with suppress(ArpackNoConvergence):
            product = LinearOperator((m, m), lambda x: linalg.blas.dsymv(1.0, matrix.T, x), dtype=matrix.dtype)
            values, vectors = eigsh(product, k, v0=np.ones(m))
            order = np.argsort(values)
            return values[order], vectors[:, order]
    values, vectors = linalg.eigh(matrix, check_finite=False, subset_by_index=[m - k, m - 1])
    return values, vectors


def _blocks(expression: Expression, dtype: Any) -> Iterator[tuple[int, Array]]:
    """Yield where each block of spots begins, and its expression as an array."""
    for start in range(0, expression.shape[0], SPOTS_A_BLOCK):
        block = expression[start : start + SPOTS_A_BLOCK]
        yield start, (block.toarray() if sparse.issparse(block) else block).astype(dtype, copy=False)
