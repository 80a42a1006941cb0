"""The k most similar bank spots of a slide's queries: exact search beside the full matrix, argsort and FAISS.

usage: python -m benchmarks.retrieval [--small]

All ways run on the same queries. The larger banks are searched for 512 and 1,024 queries instead of 4,096, as every
way takes time in proportion to them, and the full matrix of 4,096 would be 16 GB; argsort, the slowest, has 256,
and 64 with the largest bank.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import faiss
import numpy as np
import torch

from benchmarks.embeddings import Float32, random_embeddings
from benchmarks.harness import Row, Way, at_least, at_most, extra_memory, interleave, main
from napari_cmrcnet.retrieval.search import nearest, norms

ROUNDING = 2e-6  # of a float32 product of unit vectors
TORCH_ON_CPU = "cpu:0"  # as a GPU is used, but with torch's matrix library on the CPU


def rows(small: bool) -> Iterator[Row]:
    """Return the rows of the table."""
    sizes = [(45_000, 4096, 4), (200_000, 512, 2), (1_000_000, 1024, 1)] if not small else [(3000, 64, 1)]
    for spots, queries, rounds in sizes:
        asked, bank = random_embeddings(queries, spots)
        yield from _against_full_and_faiss(asked, bank, rounds, small)
        yield from _against_argsort(asked[: 64 if spots == 1_000_000 else 256], bank, rounds)
        if spots == sizes[0][0]:
            yield from _same_everywhere(asked, bank)
    yield _memory_mapped(*(1_000_000, 1024) if not small else (20_000, 64))
    yield from _memory(*(sizes[-1][0], 4096) if not small else (20_000, 64))
    if not torch.cuda.is_available():
        print("the same neighbours on a GPU is skipped: torch finds no CUDA device")


def _against_full_and_faiss(asked: Float32, bank: Float32, rounds: int, small: bool) -> Iterator[Row]:
    index = faiss.IndexFlatIP(bank.shape[1])
    index.add(bank)
    lengths = norms(bank)  # known once a bank is loaded, as the index is
    tensor = torch.from_numpy(bank)
    largest = len(bank) >= 1_000_000
    for k in (50, 500):

        def full_matrix(_: int, k: int = k) -> tuple[np.ndarray, np.ndarray]:
            scores, found = (torch.from_numpy(asked) @ tensor.T).topk(k, dim=1)
            return found.numpy(), scores.numpy()

        ways: dict[str, Way] = {
            "ours": lambda _, k=k: nearest(asked, bank, k, bank_norm=lengths),
            "full matrix, torch.topk": full_matrix,
            "FAISS flat": lambda _, k=k: index.search(asked, k)[::-1],
        }
        taken = interleave(ways, rounds, same=_same_scores, warm_up=not largest)
        about = {"sizes": {"queries": len(asked), "bank": len(bank), "k": k}}
        what = _what(asked, bank, k)
        yield taken.faster(
            what, "ours", than="full matrix, torch.topk", goal=at_least(2) if largest or small else None, **about
        )
        yield taken.slower(what, "ours", than="FAISS flat", goal=at_most(1.3), note="of its time", **about)


def _against_argsort(asked: Float32, bank: Float32, rounds: int) -> Iterator[Row]:
    k = 50
    lengths = norms(bank)

    def argsort(_: int) -> tuple[np.ndarray, np.ndarray]:
        scores = asked @ bank.T
        found = np.argsort(-scores, axis=1)[:, :k]
        return found, np.take_along_axis(scores, found, 1)

    ways: dict[str, Way] = {
        "ours": lambda _: nearest(asked, bank, k, bank_norm=lengths),
        "full matrix, argsort": argsort,
    }
    taken = interleave(ways, max(1, rounds // 2), same=_same_scores, warm_up=False)
    sizes = {"queries": len(asked), "bank": len(bank), "k": k}
    yield taken.faster(_what(asked, bank, k), "ours", than="full matrix, argsort", goal=at_least(6), sizes=sizes)


def _same_everywhere(asked: Float32, bank: Float32) -> Iterator[Row]:
    """Compare the neighbours on what there is here."""
    devices = {"torch on the CPU": TORCH_ON_CPU} | ({"CUDA": "cuda"} if torch.cuda.is_available() else {})
    expected, similarity = nearest(asked, bank, 500)
    for name, device in devices.items():
        found, other = nearest(asked, bank, 500, device=device)
        differing = int((found != expected).sum() + (other != similarity).sum())
        if differing:
            raise AssertionError(f"{differing} neighbours or similarities by {name} are not those by NumPy")
        what = f"neighbours and similarities that differ, of {expected.size:,}, {_what(asked, bank, 500)}"
        yield Row(what, f"NumPy and {name}", differing, "", at_most(0), {"queries": len(asked), "bank": len(bank)})


def _memory_mapped(spots: int, queries: int) -> Row:
    """Search a bank that stays on the disk, of embeddings of 64 numbers."""
    asked, bank = (np.ascontiguousarray(part[:, :64]) for part in random_embeddings(queries, spots))
    with tempfile.TemporaryDirectory() as folder:
        np.save(path := Path(folder) / "bank.npy", bank)
        mapped = np.load(path, mmap_mode="r")
        ways: dict[str, Way] = {
            "in memory": lambda _: nearest(asked, bank, 50),
            "memory-mapped": lambda _: nearest(asked, mapped, 50),
        }
        taken = interleave(ways, 1, warm_up=False)
    what = f"{_what(asked, bank, 50)}, of 64 numbers, memory-mapped"
    sizes = {"queries": queries, "bank": spots, "k": 50, "dimensions": 64}
    return taken.slower(what, "memory-mapped", than="in memory", goal=at_most(1.5), sizes=sizes)


def _memory(spots: int, queries: int) -> Iterator[Row]:
    extra = extra_memory(_search, spots, queries, 500)
    what = f"memory beyond the bank, {queries:,} queries, bank of {spots:,}, k = 500"
    yield Row(what, "", extra, "MB", at_most(200), {"queries": queries, "bank": spots, "k": 500})


def _search(spots: int, queries: int, k: int) -> Callable[[], object]:
    asked, bank = random_embeddings(queries, spots)
    nearest(asked[:1], bank[:1000], 1)
    return lambda: nearest(asked, bank, k)


def _same_scores(expected: tuple[np.ndarray, np.ndarray], found: tuple[np.ndarray, np.ndarray]) -> None:
    """Check that the k best are as similar. Which of two nearly equal ones is among them, rounding decides."""
    np.testing.assert_allclose(found[1], expected[1], rtol=0, atol=ROUNDING)
    same = np.mean([np.isin(*pair).mean() for pair in zip(expected[0], found[0], strict=True)])
    assert same > 0.999, f"only {same:.2%} of the neighbours are the same"


def _what(asked: Float32, bank: Float32, k: int) -> str:
    return f"retrieval, {len(asked):,} queries, bank of {len(bank):,}, k = {k}"


if __name__ == "__main__":
    main(rows)
