"""The tests' own way of running jobs that are killed."""

import signal

from forked import Forked

HALF_A_LINE = """
import os, signal
def job(_):
    print("a line")
    print("half a line", end="", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_job_killed_within_a_line_has_ended(forked: Forked) -> None:
    jobs = forked(HALF_A_LINE)
    for _ in range(2):
        assert list(jobs.run()) == ["a line", "half a line"]
        assert jobs.code == -signal.SIGKILL
