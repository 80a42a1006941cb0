"""Work spread over threads: results in order, as many threads as allowed, and no more begun once cancelled."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import torch
from threadpoolctl import threadpool_info

from napari_cmrcnet.common.progress import Progress, finish
from napari_cmrcnet.common.threads import in_threads, openmp_kept, own_threads, set_blas_threads


def now() -> tuple[set[int], int]:
    """The threads of the matrix libraries and of torch; of libraries on OpenMP each thread has a number of its own."""
    libraries = [one for one in threadpool_info() if one.get("threading_layer") == "pthreads"]
    return {one["num_threads"] for one in libraries}, torch.get_num_threads()


def in_a_new_thread() -> tuple[set[int], int]:
    with ThreadPoolExecutor() as pool:
        return pool.submit(now).result()


@contextmanager
def blas(number: int) -> Iterator[None]:
    before = max(now()[0])
    set_blas_threads(number)
    try:
        yield
    finally:
        set_blas_threads(before)


@contextmanager
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with blas(2):
            yield
    finally:
        torch.set_num_threads(before)


def said(done: int) -> Progress:
    return Progress("Working", done, 9)


@pytest.mark.parametrize("allowed", [1, 2])
def test_results_come_in_order_from_as_many_threads_as_the_matrix_library_has(allowed: int) -> None:
    seen, reports = set(), []

    def work(item: int) -> int:
        seen.add(threading.current_thread().name)
        return item * item

    with blas(allowed):
        assert finish(in_threads(work, range(9), said), reports.append) == [item * item for item in range(9)]
    assert len(seen) <= allowed
    assert reports[0].done == 0
    assert reports[-1].done == 8


def test_a_job_that_is_cancelled_begins_no_more_and_an_error_is_raised() -> None:
    begun, go_on = [], threading.Event()

    def work(item: int) -> None:
        begun.append(item)
        go_on.wait(30)
        if item == 1:
            raise ValueError("of the second")

    with blas(1):
        job = in_threads(work, range(9), said)
        next(job)
        threading.Timer(1, go_on.set).start()
        job.close()
        assert begun in ([], [0])
        with pytest.raises(ValueError, match="of the second"):
            finish(in_threads(work, range(9), said))


def test_each_thread_takes_products_alone_and_afterwards_all_have_what_they_had() -> None:
    def alone(_: int) -> tuple[set[int], int]:
        with own_threads() as allowed:
            assert allowed == 1
        return now()

    with two_threads():
        assert finish(in_threads(alone, range(3), said)) == [({1}, 1)] * 3
        assert in_a_new_thread() == ({2}, 2)


def test_jobs_that_overlap_leave_all_with_what_they_had() -> None:
    leave = threading.Event()

    class Running(threading.Thread):
        def __init__(self) -> None:
            super().__init__()
            self.begun, self.go_on, self.ended = (threading.Event() for _ in range(3))
            self.start()
            self.begun.wait(30)

        def run(self) -> None:
            job = in_threads(abs, range(2), said)
            for progress in job:
                if progress.done:  # a thread of the job's own has set its numbers
                    break
            self.begun.set()
            self.go_on.wait(30)
            finish(job)
            self.ended.set()
            leave.wait(30)  # as a thread of Qt's pool lives on: what it has set no other thread may take back

        def end(self) -> None:
            self.go_on.set()
            self.ended.wait(30)

    with two_threads():
        first, second = Running(), Running()
        first.end()
        assert now()[0] == {1}
        second.end()
        assert in_a_new_thread() == ({2}, 2)
        leave.set()


def test_work_with_scanpy_that_outlives_a_job_leaves_the_matrix_library_with_what_it_had() -> None:
    with two_threads():
        job = in_threads(abs, range(2), said)
        next(job)
        with openmp_kept():
            finish(job)
        assert in_a_new_thread() == ({2}, 2)


def test_a_script_that_ends_during_a_job_says_nothing_of_it() -> None:
    script = (
        "from napari_cmrcnet.common.threads import own_threads\n"
        "def job():\n    with own_threads():\n        yield\n"
        "begun = job()\nnext(begun)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stderr == ""


def test_a_job_that_is_collected_as_garbage_while_another_begins_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    given_up = in_threads(abs, range(2), said)
    next(given_up)
    monkeypatch.setattr(os, "cpu_count", given_up.close)  # what is asked for while one begins

    def begin() -> None:
        with own_threads():
            pass

    beginning = threading.Thread(target=begin, daemon=True)
    beginning.start()
    beginning.join(30)
    assert not beginning.is_alive()
