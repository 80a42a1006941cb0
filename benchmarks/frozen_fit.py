"""The regression behind the frozen variant on a large data set, with features given: 50,000 spots, 15,000 genes.

usage: python -m benchmarks.frozen_fit [--small]

Features and expression are random, with a few components in common. What is timed is one solution; a training makes
one for each penalty and each section that it leaves out, and one at its end.
"""

import time
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.harness import Row, at_most, extra_memory, main
from napari_cmrcnet.training.reduced_rank import reduced_rank_ridge

PENALTY, RANK = 1.0, 8
SHARED = 8  # components


def rows(small: bool) -> Iterator[Row]:
    """Return the rows of the table."""
    spots, features, genes = (3000, 200, 300) if small else (50_000, 2064, 15_000)
    x, y = _data(spots, features, genes)
    start = time.perf_counter()
    fitted = reduced_rank_ridge(x, y, PENALTY, [RANK])[0]
    taken = time.perf_counter() - start
    _check(x, y, fitted.predict(x[:100]))
    sizes = {"spots": spots, "features": features, "genes": genes}
    what = f"reduced-rank ridge of {genes:,} genes on {features:,} features, {spots:,} spots"
    yield Row(what, "", taken, "s", at_most(60), sizes)
    del x, y, fitted
    extra = extra_memory(_prepared, spots, features, genes)
    yield Row(f"memory beyond features and expression, {what}", "", extra, "MB", at_most(4000), sizes)


def _data(spots: int, features: int, genes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((spots, SHARED), np.float32)
    x = rng.standard_normal((spots, features), np.float32)
    x[:, :SHARED] += shared
    y = rng.standard_normal((spots, genes), np.float32)
    weights = rng.standard_normal((SHARED, genes), np.float32)
    for begin in range(0, spots, 4096):
        y[begin : begin + 4096] += 2 * shared[begin : begin + 4096] @ weights
    return x, y


def _prepared(spots: int, features: int, genes: int) -> Callable[[], object]:
    x, y = _data(spots, features, genes)
    return lambda: reduced_rank_ridge(x, y, PENALTY, [RANK])


def _check(x: np.ndarray, y: np.ndarray, predicted: np.ndarray) -> None:
    """Compare a prediction of the first spots with the normal equations in double precision, of a few genes."""
    centre, mean = x.mean(axis=0, dtype=np.float64), y[:, :20].mean(axis=0, dtype=np.float64)
    a, b = x - centre, y[:, :20] - mean
    f = x.shape[1]
    full = a[:100] @ np.linalg.solve(a.T @ a + PENALTY * f * np.eye(f), a.T @ b) + mean
    found = [np.corrcoef(full[:, gene], predicted[:, gene])[0, 1] for gene in range(20)]
    assert min(found) > 0.9, f"the prediction is not that of the regression: {min(found):.3f}"


if __name__ == "__main__":
    main(rows)
