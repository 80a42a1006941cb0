"""Units spread over processes: none goes on for a parent that is gone, and each has a GPU."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from napari_cmrcnet.common import parallel
from napari_cmrcnet.common.progress import Job, Progress, finish

SCRIPT = """
import os, sys, time
from pathlib import Path
from napari_cmrcnet.common.progress import Progress, finish
from napari_cmrcnet.common.parallel import spread

class Endless:
    def __init__(self, name, folder):
        self.name, self.folder = name, folder

    def run(self):
        (self.folder / f"{self.name}.pid").write_text(str(os.getpid()))
        while True:
            time.sleep(0.05)
            yield Progress("Waiting", 0, 0)

if __name__ == "__main__":
    units = [Endless(name, Path(sys.argv[1])) for name in "AB"]
    finish(spread(units, step="Waiting", kind="units", workers=2))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "endless.py"
    script.write_text(SCRIPT)
    with subprocess.Popen([sys.executable, str(script), str(tmp_path)], stderr=subprocess.DEVNULL) as parent:
        try:
            while len(pids := [path for path in tmp_path.glob("*.pid") if path.read_text()]) < 2:
                assert parent.poll() is None
                time.sleep(0.05)  # not in the way of what is waited for
            workers = [psutil.Process(int(path.read_text())) for path in pids]
        finally:
            parent.kill()
    _, alive = psutil.wait_procs(workers, timeout=20)
    for process in alive:
        process.kill()
    assert not alive


def test_what_the_system_refuses_is_told_and_the_others_go_on() -> None:
    class Refused:
        name = "B"

        def run(self) -> Job[None]:
            yield Progress("Reading", 0, 0)
            raise PermissionError(13, "Permission denied", "/home/b/B.tif")

    failed = finish(parallel.spread([Refused()], step="Predicting", kind="slides"))
    assert str(failed["B"]) == "/home/b/B.tif: Permission denied."


def test_workers_share_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parallel.own_device("auto") == "auto"
    monkeypatch.setattr(parallel, "cuda_devices", lambda: [0, 1])
    assert parallel.own_device("auto") == "auto"  # no worker: `choose_device` chooses
    for number, device in ((0, "cuda:0"), (1, "cuda:1"), (2, "cuda:0")):
        monkeypatch.setattr(parallel, "_number", number)
        assert parallel.own_device("auto") == parallel.own_device("cuda") == device
        assert (parallel.own_device("cpu"), parallel.own_device("cuda:1")) == ("cpu", "cuda:1")
    monkeypatch.setattr(parallel, "cuda_devices", lambda: [1])  # the other is too old for this build of torch
    assert parallel.own_device("auto") == "cuda:1"
