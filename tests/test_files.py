"""What is written appears whole or not at all; what is read from outside is checked first."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata
import h5py
import numpy as np
import psutil
import pytest
from scipy import sparse

from napari_cmrcnet.benchmark.results import load_result
from napari_cmrcnet.benchmark.run import _recorded
from napari_cmrcnet.common.cache import cache_folder, mark_used, trim_cache
from napari_cmrcnet.common.errors import UserError, cannot_read
from napari_cmrcnet.common.files import (
    atomic_file,
    atomic_folder,
    check_output,
    finish_swap,
    sha256,
    write_json,
)
from napari_cmrcnet.common.hdf5 import read_h5ad
from napari_cmrcnet.common.hdf5_checks import check_hdf5
from napari_cmrcnet.common.progress import Job, Progress, finish
from napari_cmrcnet.common.text import parse_json, size_text
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.known_genes import BankSummary
from napari_cmrcnet.retrieval.thumbnails import Thumbnails
from napari_cmrcnet.sections.formats.hest import read_metadata
from napari_cmrcnet.training.run_folder import _begun
from napari_cmrcnet.training.state import State


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "scores.csv"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_file(target) as temporary:
        temporary.write_text("new")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["scores.csv"]


def test_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "card.json"
    write_json(target, {"k": 50})
    sentence = r"card\.json could not be written \(No space left on device\)"
    with pytest.raises(UserError, match=sentence), atomic_file(target) as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert target.read_text() == '{\n  "k": 50\n}\n'
    assert os.listdir(tmp_path) == ["card.json"]


def test_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "M.cmrcnet"
    for content in ("first", "second"):
        with atomic_folder(target) as temporary:
            (temporary / content).write_text(content)
    assert os.listdir(target) == ["second"]
    with pytest.raises(ZeroDivisionError), atomic_folder(target) as temporary:
        (temporary / "third").write_text("third")
        raise ZeroDivisionError
    assert os.listdir(target) == ["second"]
    assert os.listdir(tmp_path) == ["M.cmrcnet"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL: this system has none")
def test_killed_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "bank.bin"
    target.write_bytes(b"old")
    code = f"""
        import os, signal
        from napari_cmrcnet.common.files import atomic_file
        with atomic_file({str(target)!r}) as temporary:
            temporary.write_bytes(b"x" * 1_000_000)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert result.returncode == -signal.SIGKILL
    assert target.read_bytes() == b"old"


DYING = """
    import os, signal, sys
    from pathlib import Path
    from napari_cmrcnet.common import files
    target = Path({target!r})
    {before}
    with files.{writer}(target) as temporary:
        {write}
        {die}
"""
DIE = "os.kill(os.getpid(), signal.SIGKILL)"
UNIX = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL: this system has none")


def killed(target: Path, writer: str, write: str, *, before: str = "", die: str = DIE) -> None:
    code = textwrap.dedent(DYING).format(target=str(target), writer=writer, write=write, before=before, die=die)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL


@UNIX
def test_what_a_killed_process_left_is_removed_by_the_next_that_writes_there(tmp_path: Path) -> None:
    killed(tmp_path / "a.bin", "atomic_file", "temporary.write_bytes(b'x')")
    killed(tmp_path / "b", "atomic_folder", "(temporary / 'x').write_bytes(b'x')")
    assert len(os.listdir(tmp_path)) == 2
    with atomic_file(tmp_path / "a.bin") as living:  # its process lives: this one
        living.write_bytes(b"1")
        write_json(tmp_path / "a.bin", {})
        assert living.exists()
    with atomic_folder(tmp_path / "b"):
        pass
    assert sorted(os.listdir(tmp_path)) == ["a.bin", "b"]


@UNIX
@pytest.mark.parametrize("at_once", [True, False])
def test_killed_while_a_folder_takes_the_name_of_another(tmp_path: Path, at_once: bool) -> None:
    target = tmp_path / "M.cmrcnet"
    target.mkdir()
    (target / "old").write_text("old")
    before = (
        "rename = os.rename\ndef once(*names): rename(*names); os.kill(os.getpid(), signal.SIGKILL)\nos.rename = once\n"
    )
    if at_once:  # the exchange happens, and the process dies before anything is removed
        before += "import shutil; files.shutil.rmtree = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)"
    else:
        before += "files._exchange = lambda *_: False"
    killed(target, "atomic_folder", "(temporary / 'new').write_text('new')", before=before, die="")
    if not at_once:
        assert not target.exists()
    finish_swap(target)
    assert os.listdir(target) == (["new"] if at_once else ["old"])
    with atomic_folder(target) as temporary:
        (temporary / "third").write_text("third")
    assert os.listdir(tmp_path) == ["M.cmrcnet"]
    assert os.listdir(target) == ["third"]


def test_a_name_as_long_as_the_system_allows_is_written(tmp_path: Path) -> None:
    write_json(tmp_path / f"{'ä' * 122}.json", {})
    with pytest.raises(UserError, match=r"could not be written \(File name too long\)"):
        check_output(tmp_path / f"{'ä' * 130}.json")


def test_places_that_cannot_be_written_are_known_before_the_work(tmp_path: Path) -> None:
    check_output(tmp_path / "new" / "folder" / "p.h5ad")
    assert os.listdir(tmp_path) == []
    (tmp_path / "M.cmrcnet").mkdir()
    (tmp_path / "M.cmrcnet" / "card.json").write_text("{}")
    with pytest.raises(UserError, match=r"is inside the checkpoint M\.cmrcnet"):
        check_output(tmp_path / "M.cmrcnet" / "p.h5ad")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file is not a folder"):
        check_output(tmp_path / "file" / "p.h5ad")
    with pytest.raises(UserError, match="file is not a folder that you may write to"):
        check_output(tmp_path / "file", folder=True)
    with pytest.raises(UserError, match=r"is inside the checkpoint M\.cmrcnet"):
        check_output(tmp_path / "M.cmrcnet", folder=True)
    check_output(tmp_path / "file")  # which is replaced
    with pytest.raises(UserError, match="not UTF-8"):
        check_output(tmp_path / "K\udcf6ln.h5ad")


def test_a_file_that_the_system_refuses_is_not_called_damaged(tmp_path: Path) -> None:
    path = _h5ad(tmp_path / "a.h5ad")
    with h5py.File(path, "r+"):
        code = f"from napari_cmrcnet.common.hdf5_checks import check_hdf5; check_hdf5({str(path)!r})"
        result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert "a.h5ad is open in another program" in result.stderr
    for number, words in ((errno.EACCES, "check its permissions"), (errno.EIO, "check its disk or share")):
        error = ValueError("no table")
        error.__cause__ = OSError(number, os.strerror(number))
        assert words in str(cannot_read(path, error, "It is damaged."))
    for error in (OSError("bad magic"), OSError(errno.EINVAL, os.strerror(errno.EINVAL))):
        assert str(cannot_read(path, error, "It is damaged.")) == "It is damaged."
    assert "memory" in str(cannot_read(path, MemoryError(), "It is damaged."))


def _result(path: Path) -> object:
    with h5py.File(path, "r+") as file:
        file.attrs["about"] = "{}"
    return load_result(path)


@pytest.mark.parametrize(
    ("broken", "name", "load"),
    [
        ("retrieval.weights.load_file", "model.safetensors", lambda path: Checkpoint.load(path.parent)),
        ("retrieval.known_genes.GeneNames.of", "bank.h5ad", lambda path: BankSummary.of_file(path)),
        ("retrieval.thumbnails.h5py.File", "bank.h5ad", Thumbnails.open),
        ("benchmark.results.json.loads", "bank.h5ad", _result),
        ("benchmark.run.json.loads", "card.json", _recorded),
        ("sections.formats.hest.parse_json", "card.json", read_metadata),
        ("training.run_folder.parse_json", "card.json", _begun),
        ("training.state.torch.load", "model.safetensors", lambda path: State(*[None] * 2).load(path)),  # type: ignore[arg-type]
    ],
)
def test_what_the_system_refuses_within_any_file_is_not_called_damaged(
    broken: str,
    name: str,
    load: Callable[[Path], object],
    untrained_checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    assert untrained_checkpoint.path is not None
    copy = shutil.copytree(untrained_checkpoint.path, tmp_path / "M.cmrcnet")
    monkeypatch.setattr(f"napari_cmrcnet.{broken}", fail)
    if broken.endswith("h5py.File"):
        monkeypatch.setattr("napari_cmrcnet.retrieval.thumbnails.check_hdf5", lambda _: None)
    with pytest.raises(UserError, match=rf"{name} could not be read \(Input/output error\); check its disk or share"):
        load(copy / name)


def _sparse(path: Path, parts: dict[str, Any], where: str = "X") -> Path:
    """Write a sound h5ad with sparse matrices everywhere, then put other numbers into one of them."""
    matrix = sparse.random(6, 5, 0.5, "csr", np.float32, np.random.default_rng(0))
    table = anndata.AnnData(matrix, layers={"counts": matrix.tocsc()})
    table.raw = table.copy()
    table.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        for name, change in parts.items():
            values = change(file[f"{where}/{name}"][:])
            del file[f"{where}/{name}"]
            file[f"{where}/{name}"] = values
    return path


def _put(place: int, value: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values[place] = value
        return values

    return change


@pytest.mark.parametrize("where", ["X", "layers/counts", "raw/X"])
@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"indices": _put(3, 5000)}, "its indices point outside"),
        ({"indices": _put(3, -1)}, "its indices point outside"),
        ({"indices": lambda values: values[:-1]}, "its parts are of different lengths"),
        ({"indptr": _put(-1, 10**9)}, "its rows do not follow each other"),
        ({"indptr": _put(2, 14)}, "its rows do not follow each other"),
        ({"indptr": _put(0, 1)}, "its rows do not follow each other"),
        ({"indices": lambda values: values.astype(float)}, "it is not made of lists of numbers"),
        ({"indptr": lambda values: values[None]}, "it is not made of lists of numbers"),
    ],
)
def test_sparse_matrices_of_files_are_checked_before_use(
    tmp_path: Path, where: str, parts: dict[str, Any], reason: str
) -> None:
    path = _sparse(tmp_path / "a.h5ad", parts, where)
    with pytest.raises(UserError, match=rf"a\.h5ad holds a damaged sparse matrix, /{where}: {reason}"):
        check_hdf5(path)


def test_the_matrix_of_a_10x_file_is_checked(tmp_path: Path) -> None:
    matrix = sparse.random(7, 5, 0.5, "csr", np.float32, np.random.default_rng(0))  # barcodes × genes
    for outside in (False, True):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            indices = matrix.indices + (5 if outside else 0)
            for name, values in {
                "indptr": matrix.indptr,
                "indices": indices,
                "data": matrix.data,
                "shape": [5, 7],
            }.items():
                file[f"matrix/{name}"] = values
        if outside:
            with pytest.raises(UserError, match="its indices point outside"):
                check_hdf5(tmp_path / "a.h5")
        else:
            check_hdf5(tmp_path / "a.h5")


def test_what_a_file_claims_and_does_not_store_is_refused(tmp_path: Path) -> None:
    path = _h5ad(tmp_path / "a.h5ad")
    with h5py.File(path, "r+") as file:
        file.create_dataset("uns/nothing", (10**9,), "f4", chunks=(10**6,))
    with pytest.raises(UserError, match=r"a\.h5ad claims 4\.0 GB of /uns/nothing, but stores 0 bytes"):
        read_h5ad(path)


def test_only_what_is_used_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = anndata.AnnData(np.eye(3, dtype=np.float32), obsp={"graph": np.eye(3)}, varm={"PCs": np.eye(3)})
    table.uns = {
        "spatial": {"A": {"images": {"hires": np.ones((900, 900, 3))}, "scalefactors": {"x": 2.0}}},
        "log1p": {},
    }
    table.raw = anndata.AnnData(2 * np.eye(3, dtype=np.float32))
    table.write_h5ad(tmp_path / "a.h5ad")
    again = read_h5ad(tmp_path / "a.h5ad")
    assert again.uns == {"spatial": {"A": {"scalefactors": {"x": 2.0}}}}
    assert not again.obsp
    assert again.raw.X.max() == 2
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=40))
    with pytest.raises(UserError, match=r"a\.h5ad takes 1 kB of memory, and this machine has 1 kB"):
        read_h5ad(tmp_path / "a.h5ad")


def test_numbers_of_json_that_no_machine_counts_with() -> None:
    assert parse_json('{"a": 12345678901234567, "b": -3}') == {"a": 12345678901234567, "b": -3}
    assert parse_json(f"[{10**400}]") == [float("inf")]
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(100_000 * "[")


def test_sha256_is_the_standard_one(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def _h5ad(path: Path) -> Path:
    anndata.AnnData(np.eye(3, dtype=np.float32)).write_h5ad(path)
    return path


def test_h5ad_round_trip(tmp_path: Path) -> None:
    assert read_h5ad(_h5ad(tmp_path / "a.h5ad")).shape == (3, 3)


def test_external_storage_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(64))
    path = _h5ad(tmp_path / "a.h5ad")
    with h5py.File(path, "r+") as file:
        file.create_dataset("layers/stolen", shape=(8,), dtype="f8", external=[(str(secret), 0, 64)])
    with pytest.raises(UserError, match=r"a\.h5ad stores /layers/stolen in other files"):
        read_h5ad(path)


def test_external_and_soft_links_are_refused(tmp_path: Path) -> None:
    for link in (h5py.ExternalLink("other.h5", "/X"), h5py.SoftLink("/X")):
        path = _h5ad(tmp_path / "a.h5ad")
        with h5py.File(path, "r+") as file:
            file["uns/link"] = link
        with pytest.raises(UserError, match=r"links to other places \(/uns/link\)"):
            check_hdf5(path)


def test_virtual_datasets_are_refused(tmp_path: Path) -> None:
    path = _h5ad(tmp_path / "a.h5ad")
    layout = h5py.VirtualLayout(shape=(3,), dtype="f4")
    layout[:] = h5py.VirtualSource("other.h5", "X", shape=(3,))
    with h5py.File(path, "r+") as file:
        file.create_virtual_dataset("uns/virtual", layout)
    with pytest.raises(UserError, match="stores /uns/virtual in other files"):
        check_hdf5(path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "does not exist"), (b"", "is empty"), (b"gene,count\n", "is not an HDF5 file")],
)
def test_not_hdf5(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    path = tmp_path / "spots.h5ad"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=rf"spots\.h5ad {sentence}"):
        read_h5ad(path)


def test_truncated_h5ad(tmp_path: Path) -> None:
    path = _h5ad(tmp_path / "a.h5ad")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"a\.h5ad is damaged or cut short"):
        read_h5ad(path)


def test_h5_that_is_no_anndata(tmp_path: Path) -> None:
    path = tmp_path / "patches.h5ad"
    with h5py.File(path, "w") as file:
        file["img"] = np.zeros((2, 2))
    with pytest.raises(UserError, match=r"patches\.h5ad is not a readable h5ad file"):
        read_h5ad(path)


def _count(cleaned: list[str]) -> Job[int]:
    try:
        for done in range(3):
            yield Progress("Counting", done, 3)
    finally:
        cleaned.append("cleaned")
    return 3


def test_finish_returns_the_result_of_a_job() -> None:
    seen: list[int] = []
    assert finish(_count([]), lambda progress: seen.append(progress.done)) == 3
    assert seen == [0, 1, 2]


def test_interrupted_job_cleans_up() -> None:
    cleaned: list[str] = []

    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finish(_count(cleaned), interrupt)
    assert cleaned == ["cleaned"]


def test_links_that_meet_in_ever_so_many_ways_are_followed_once(tmp_path: Path) -> None:
    path = tmp_path / "maze.h5ad"
    with h5py.File(path, "w") as file:
        group = file.create_group("0")
        for _ in range(40):
            child = group.create_group("a")
            group["b"] = child
            group = child
    check_hdf5(path)


@pytest.mark.parametrize(
    ("size", "text"),
    [(10, "1 kB"), (4_700, "5 kB"), (1_938_955, "1.9 MB"), (32_400_000, "32 MB"), (1_763_000_000, "1.8 GB")],
)
def test_sizes_are_said_as_people_say_them(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.fixture
def full_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the cache with three things of 1 kB, used one, two and three weeks ago, and its limit 2.5 kB."""
    monkeypatch.setenv("CMRCNET_CACHE", str(tmp_path))
    monkeypatch.setenv("CMRCNET_CACHE_LIMIT", "2.5e-6")
    folder = cache_folder("patches")
    (folder / "folder").mkdir()
    for weeks, name in enumerate(["new.npy", "folder/level.tif", "old.npy"], start=1):
        (folder / name).write_bytes(bytes(1000))
        used = time.time() - weeks * 7 * 86_400
        os.utime(folder / name.split("/")[0], (used, used))
    return folder


def test_a_full_cache_loses_what_was_used_longest_ago(full_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trim_cache("patches")
    assert sorted(os.listdir(full_cache)) == ["folder", "new.npy"]
    monkeypatch.setenv("CMRCNET_CACHE_LIMIT", "1e-6")
    trim_cache("patches")
    assert os.listdir(full_cache) == ["new.npy"]


def test_a_full_cache_keeps_what_was_used_today(full_cache: Path) -> None:
    mark_used(full_cache / "old.npy")
    trim_cache("patches")
    assert sorted(os.listdir(full_cache)) == ["new.npy", "old.npy"]


def test_a_limit_of_the_cache_that_is_no_number(full_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMRCNET_CACHE_LIMIT", "20 GB")
    with pytest.raises(UserError, match="CMRCNET_CACHE_LIMIT is '20 GB', not a number of GB; set it to one"):
        trim_cache("patches")
    assert len(os.listdir(full_cache)) == 3
