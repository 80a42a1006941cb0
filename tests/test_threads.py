"""Work spread over threads: results in order, as many threads as allowed, and no more begun once cancelled."""

import threading

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from napari_cmrcnet.common.progress import Progress, finish
from napari_cmrcnet.common.threads import in_threads, own_threads


def said(done: int) -> Progress:
    return Progress("Working", done, 9)


@pytest.mark.parametrize("allowed", [1, 2])
def test_results_come_in_order_from_as_many_threads_as_the_matrix_library_has(allowed: int) -> None:
    seen, reports = set(), []

    def work(item: int) -> int:
        seen.add(threading.current_thread().name)
        return item * item

    with threadpool_limits(allowed, user_api="blas"):
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

    with threadpool_limits(1, user_api="blas"):
        job = in_threads(work, range(9), said)
        next(job)
        threading.Timer(0.2, go_on.set).start()
        job.close()
        assert begun in ([], [0])
        with pytest.raises(ValueError, match="of the second"):
            finish(in_threads(work, range(9), said))


def test_each_thread_takes_products_alone_and_afterwards_all_have_what_they_had() -> None:
    def threads() -> tuple[set[int], int]:
        return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}, torch.get_num_threads()

    def alone(_: int) -> tuple[set[int], int]:
        with own_threads() as allowed:
            assert allowed == 1
        return threads()

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threadpool_limits(2, user_api="blas"):
            assert finish(in_threads(alone, range(3), said)) == [({1}, 1)] * 3
            found: list[object] = []
            later = threading.Thread(target=lambda: found.append(threads()))
            later.start()
            later.join()
            assert found == [({2}, 2)]
    finally:
        torch.set_num_threads(before)
