"""A bank searched in parts gives, bit for bit, what the whole bank gives."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.retrieval import shards as shards_module
from napari_cmrcnet.retrieval.search import nearest
from napari_cmrcnet.retrieval.shards import Shards, nearest_in_shards

Array = npt.NDArray[np.float32]


def write(folder: Path, bank: Array, cuts: npt.NDArray[np.intp]) -> Shards:
    paths = [folder / f"{number}.npy" for number in range(len(cuts) + 1)]
    for path, part in zip(paths, np.split(bank, cuts), strict=True):
        np.save(path, part)
    return Shards.of(paths)


def bank_with_ties(rng: np.random.Generator, spots: int) -> Array:
    """Copies of a few vectors, some of other lengths, some of length zero, among others."""
    distinct = rng.integers(-1, 2, size=(12, 8)).astype(np.float32)
    copies = distinct[rng.integers(len(distinct), size=spots)] * rng.choice([1, 2, 3], size=(spots, 1))
    others = rng.normal(size=(spots, 8))
    return np.where(rng.random((spots, 1)) < 0.7, copies, others).astype(np.float32)


@pytest.mark.parametrize("seed", range(100))
def test_parts_merge_to_the_whole(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards_module, "PART", 40)  # so that shards are searched in several parts, too
    rng = np.random.default_rng(seed)
    bank = bank_with_ties(rng, int(rng.integers(2, 200)))
    queries = bank_with_ties(rng, 9)
    k = int(rng.integers(1, len(bank) + 1))
    cuts = np.sort(rng.choice(np.arange(1, len(bank)), size=int(rng.integers(0, min(8, len(bank)))), replace=False))
    whole = nearest(queries, bank, k)
    merged = finish(nearest_in_shards(queries, write(tmp_path, bank, cuts), k))
    np.testing.assert_array_equal(merged[0], whole[0], strict=True)
    np.testing.assert_array_equal(merged[1], whole[1], strict=True)


def test_shards_of_another_width_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((3, 4), np.float32))
    np.save(tmp_path / "b.npy", np.ones((3, 5), np.float32))
    with pytest.raises(UserError, match=r"b\.npy has embeddings of length 5, .*a\.npy of 4"):
        Shards.of([tmp_path / "a.npy", tmp_path / "b.npy"])


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", None], ids=["empty", "cut off", "pickled"])
def test_a_file_that_is_no_array_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "shard.npy"
    if content is None:
        np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"shard\.npy is not a readable \.npy file"):
        Shards.of([path])


def test_k_must_fit_the_bank(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((3, 4), np.float32))
    with pytest.raises(ValueError, match="k must be 1 to 3"):
        finish(nearest_in_shards(np.ones((1, 4), np.float32), Shards.of([tmp_path / "a.npy"]), 4))
