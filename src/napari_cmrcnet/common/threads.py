"""Work spread over threads of this process, for what lets other threads run meanwhile, as products of matrices do."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController, threadpool_limits

from napari_cmrcnet.common.progress import REPORT, Job, Progress

S = TypeVar("S")
T = TypeVar("T")

MOST = 4  # each holds data of its own, up to 1 GB

_lock = threading.RLock()  # taken again where a job that was given up is collected as garbage inside of it
_users = 0
_limit: "tuple[ThreadPoolExecutor, Any] | None" = None
_torch_threads: list[int] = []  # what torch was to use when each of the jobs that go on began


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
        if _limit is None:
            # In a thread of its own: threadpoolctl lets only the thread that set a limit take it back.
            thread = ThreadPoolExecutor(1, thread_name_prefix="limit of threads")
            _limit = thread, thread.submit(libraries.limit, limits=1).result()
        _users += 1
    try:
        yield allowed
    finally:
        with _lock:
            _users -= 1
            if not _users and _limit:
                thread, limit = _limit
                with suppress(RuntimeError):  # Python ends, and its executors take no more work
                    thread.submit(limit.restore_original_limits).result()
                thread.shutdown()
                _limit = None


def set_blas_threads(number: int) -> None:
    """Have the matrix library use so many threads from now on, in this whole process."""
    # In a thread that ends: threadpoolctl lets no other thread change the number while the one that set it lives.
    setting = threading.Thread(target=threadpool_limits, args=(number, "blas"))
    setting.start()
    setting.join()


@contextmanager
def openmp_kept() -> Iterator[None]:
    """Give OpenMP back the threads that it had: numba, beneath scanpy, gives it all cores despite OMP_NUM_THREADS.

    The matrix library is left alone: what it has meanwhile may be the limit of `own_threads`, which ends by itself.
    """
    with ThreadpoolController().select(user_api="openmp").limit(limits=None):
        yield


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

    results = []
    with _lock:
        _torch_threads.append(torch.get_num_threads())
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
            with _lock:  # what a thread sets holds for all that are started later, and for other jobs that go on
                torch.set_num_threads(_torch_threads[0])
                _torch_threads.pop()
    return results
