"""What kills jobs, and cancels them, sees what is left: a short part of `benchmarks.faults.kills` and `.cancels`."""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # the benchmarks are no part of the package

from benchmarks.faults import cancels  # noqa: E402
from benchmarks.faults.whole import whole  # noqa: E402

from napari_cmrcnet.common.progress import Job, Progress  # noqa: E402

UNIX = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None,
    reason="calls are counted by a library made with cc, on Linux",
)
CARELESS = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from benchmarks.faults import jobs, kills

def write(text, folder):
    (folder / "a.txt").write_text(text)
    return 0

jobs.WRITTEN.clear()
new, old = (lambda folder: write("new\\n" * 9, folder)), (lambda folder: write("old\\n", folder))
jobs.WRITTEN["careless"] = jobs.Written(new, old)
kills.warm_up = lambda: None
kills.make = lambda folder: None
sys.argv = ["kills", "40", "--failing", "10", "--jobs", "careless"]
kills.main()
"""


@UNIX
def test_what_is_killed_leaves_old_or_new() -> None:
    command = [sys.executable, "-m", "benchmarks.faults.kills", "8", "--failing", "4", "--jobs", "gene panel", "h5ad"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| all |" in done.stdout


@UNIX
def test_a_file_that_is_written_in_its_place_is_seen(tmp_path: Path) -> None:
    (tmp_path / "careless.py").write_text(CARELESS.format(root=str(ROOT)))
    library = tmp_path / "interpose.so"
    source = ROOT / "benchmarks" / "faults" / "interpose.c"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    environment = {"LD_PRELOAD": str(library), "FAULTS_INTERPOSED": "1", "PATH": "/usr/bin:/bin"}
    command = [sys.executable, str(tmp_path / "careless.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "not whole: a.txt is not whole" in done.stdout
    assert "runs left what they must not" in done.stderr


def test_a_cancelled_export_leaves_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMRCNET_CACHE", "")  # it sets its own
    cancels.main(["4", "--jobs", "CSV", "h5ad"])
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith(("| CSV", "| h5ad"))]
    assert [line[-2] for line in lines] == ["0", "0"]
    assert all(int(line[1]) >= 2 for line in lines)


@pytest.mark.parametrize(
    ("before", "after", "yields", "left"),
    [
        ("", "whole\n", 9, False),  # it had ended: its result is what was wanted
        ("", "cut", 9, True),
        ("whole\n", "", 2, True),  # closed, and a result is there
    ],
)
def test_a_result_is_left_only_by_a_job_that_was_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str, yields: int, left: bool
) -> None:
    """A job of two yields writes before them or after them; it is closed four times."""
    monkeypatch.setenv("CMRCNET_CACHE", "")  # it sets its own

    def job(folder: Path) -> Job[None]:
        for text in (before, after):
            if text:
                (folder / "a.txt").write_text(text)
            else:
                yield Progress("Working", 0, 1)

    def twice(folder: Path) -> Job[None]:
        yield Progress("Beginning", 0, 1)
        yield from job(folder)

    found = cancels.cancel(twice, tmp_path, 4, yields, random.Random("1"))
    assert len(found.closing) == 4
    assert (found.ended > 0) == (yields > 2)
    assert bool(found.left) == left


@pytest.mark.parametrize(
    ("name", "content", "sound"),
    [
        ("a.json", b"{}", True),
        ("a.json", b"{", False),
        ("a.csv", b"a,b\n1,2\n", True),
        ("a.csv", b"a,b\n1\n", False),
        ("a.csv", b"a,b\n1,2", False),
        ("a.png", b"\x89PNG", False),
        ("a.h5", b"\x89HDF", False),
        ("a.html", b"<html></html>\n", True),
        ("a.html", b"<html>", False),
        ("a.other", b"", False),
    ],
)
def test_what_is_whole(name: str, content: bytes, sound: bool) -> None:
    assert (whole(name, content) is None) is sound
