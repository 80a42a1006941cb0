"""Work spread over threads of this process, for what lets other threads run meanwhile, as products of matrices do."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

from napari_cmrcnet.common.progress import REPORT, Job, Progress

S = TypeVar("S")
T = TypeVar("T")

MOST = 4  # each holds data of its own, up to 1 GB

_lock = threading.Lock()
_users = 0
_limit: Any = None


@contextmanager
def own_threads() -> Iterator[int]:
    """Work in threads that take each product of matrices by themselves, not in all of the matrix library's.

    So the steps between the products use all cores, too, and no thread waits for the others at the end of each:
    with two threads a search takes two thirds of the time, and less where the machine does other work besides.

    Yields
    ------
    int
        How many threads the matrix library was to use, which is how many there may be: one inside of another
        `own_threads`, and while another goes on.
    """
    global _users, _limit
    libraries = ThreadpoolController().select(user_api="blas")
    with _lock:  # the limit is one for the whole process
        allowed = max((library.num_threads for library in libraries.lib_controllers), default=os.cpu_count() or 1)
        _limit = _limit or libraries.limit(limits=1)
        _users += 1
    try:
        yield allowed
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _limit.restore_original_limits()
                _limit = None


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
    import torch

    torchs, results = torch.get_num_threads(), []
    with own_threads() as threads:
        pool = ThreadPoolExecutor(min(threads, MOST), initializer=torch.set_num_threads, initargs=(1,))
        try:
            for done, future in enumerate([pool.submit(function, item) for item in items]):
                yield progress(done)
                while not future.done():
                    wait([future], timeout=REPORT)
                    yield progress(done)
                results.append(future.result())
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(torchs)  # what a thread sets holds for all that are started later
    return results
