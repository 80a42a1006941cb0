"""Work spread over threads of this process, for what lets other threads run meanwhile, as products of matrices do."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from threadpoolctl import ThreadpoolController

from napari_cmrcnet.common.progress import REPORT, Job, Progress

S = TypeVar("S")
T = TypeVar("T")

MOST = 8  # each holds data of its own


def allowed_threads(libraries: ThreadpoolController | None = None) -> int:
    """Return how many threads the matrix library is to use, which is how many anything else may."""
    found = libraries or ThreadpoolController().select(user_api="blas")
    return max((library.num_threads for library in found.lib_controllers), default=os.cpu_count() or 1)


def in_threads(function: Callable[[S], T], items: Iterable[S], progress: Callable[[int], Progress]) -> Job[list[T]]:
    """Do the same with several things in as many threads as are allowed, `MOST` at most.

    Parameters
    ----------
    function : callable
        What is done with each.
    items : iterable
        The things.
    progress : callable
        Given how many are done, says so.

    Yields
    ------
    Progress
        Ten times a second, and once a thing. A job that is cancelled waits for what has begun, and begins no more.

    Returns
    -------
    list
        What the function returns of each, in their order; what it raises is raised here.
    """
    pool = ThreadPoolExecutor(min(allowed_threads(), MOST))
    results = []
    try:
        for done, future in enumerate([pool.submit(function, item) for item in items]):
            yield progress(done)
            while not future.done():
                wait([future], timeout=REPORT)
                yield progress(done)
            results.append(future.result())
    finally:
        pool.shutdown(cancel_futures=True)
    return results
