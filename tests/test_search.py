"""The nearest bank spots are exactly those of a brute-force search in float64, on every machine."""

import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from napari_cmrcnet.retrieval import search
from napari_cmrcnet.retrieval.search import nearest

Array = npt.NDArray[np.float32]


def brute_force(queries: Array, bank: Array, k: int) -> tuple[npt.NDArray[np.int32], Array]:
    """All similarities in float64, one query at a time, sorted by (−similarity, row)."""
    neighbours, similarity = [], []
    bank_norm = np.sqrt((bank.astype(np.float64) ** 2).sum(axis=1))
    for query in queries.astype(np.float64):
        length = bank_norm * np.sqrt((query**2).sum())
        dot = (bank * query).sum(axis=1)
        cosine = np.array([d / e if e > 0 else 0.0 for d, e in zip(dot, length, strict=True)])
        rows = sorted(range(len(bank)), key=lambda row: (-cosine[row], row))[:k]
        neighbours.append(rows)
        similarity.append(cosine[rows])
    return np.array(neighbours, np.int32), np.array(similarity, np.float32)


def vectors(rng: np.random.Generator, n: int, d: int = 16) -> Array:
    return rng.normal(size=(n, d)).astype(np.float32)


def check(queries: Array, bank: Array, k: int, device: str = "cpu") -> None:
    neighbours, similarity = nearest(queries, bank, k, device=device)
    expected, expected_similarity = brute_force(queries, bank, k)
    assert neighbours.dtype == np.int32
    assert similarity.dtype == np.float32
    np.testing.assert_array_equal(neighbours, expected)
    np.testing.assert_allclose(similarity, expected_similarity, rtol=0, atol=1e-7)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks so small that a small input crosses many of them."""
    monkeypatch.setattr(search, "QUERIES_AT_A_TIME", 5)
    monkeypatch.setattr(search, "BLOCK", 16)
    monkeypatch.setattr(search, "HELD", 20)
    monkeypatch.setattr(search, "PAIRS", 7)


@pytest.mark.parametrize("k", [1, 2, 50, 299, 300])
@pytest.mark.usefixtures("small_blocks")
def test_equals_brute_force(k: int) -> None:
    rng = np.random.default_rng(k)
    check(vectors(rng, 23), vectors(rng, 300), k)


@pytest.mark.parametrize("scaled", [False, True])
def test_equals_brute_force_with_the_blocks_in_use(scaled: bool) -> None:
    rng = np.random.default_rng(0)
    bank = vectors(rng, 9001, 256)
    check(vectors(rng, 30, 256), search.unit_length(bank) if scaled else bank, 50)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.usefixtures("small_blocks")
def test_ties_go_to_the_lower_row(seed: int) -> None:
    rng = np.random.default_rng(seed)
    distinct = rng.integers(-1, 2, size=(8, 4)).astype(np.float32)  # many ties, some of length zero
    bank = distinct[rng.integers(len(distinct), size=200)] * rng.choice([1, 2, 4], size=(200, 1)).astype(np.float32)
    check(distinct, bank, int(rng.integers(1, 201)))


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.usefixtures("small_blocks")
def test_a_bank_sorted_by_similarity(order: int) -> None:
    rng = np.random.default_rng(3)
    query = vectors(rng, 1)
    bank = vectors(rng, 400)
    bank = bank[np.argsort(order * (bank @ query[0]))]
    check(np.repeat(query, 6, axis=0), bank, 17)


@pytest.mark.usefixtures("small_blocks")
def test_a_collapsed_bank() -> None:
    """An untrained network puts all spots within the rounding error of a float32 product."""
    rng = np.random.default_rng(4)
    bank = np.ones((500, 64), np.float32) + 1e-6 * vectors(rng, 500, 64)
    check(bank[:7] + 1e-7, bank, 10)


def test_vectors_of_length_zero_are_similar_to_nothing() -> None:
    bank = np.array([[0, 0], [-1, 0], [1, 0]], np.float32)
    neighbours, similarity = nearest(np.array([[1, 0], [0, 0]], np.float32), bank, 3)
    np.testing.assert_array_equal(neighbours, [[2, 0, 1], [0, 1, 2]])
    np.testing.assert_array_equal(similarity, [[1, 0, -1], [0, 0, 0]])


@pytest.mark.usefixtures("small_blocks")
def test_torch_retrieves_the_same_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks that run on a GPU, here run by torch on the CPU."""
    monkeypatch.setattr(search, "_likely", search._likely_on("cpu"))
    rng = np.random.default_rng(5)
    bank = vectors(rng, 300)[rng.integers(300, size=300)]
    check(vectors(rng, 23), bank, 12)


def test_a_gpu_is_sent_the_bank_once_for_512_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "BLOCK", 100)
    sent: list[int] = []

    def counted(device: str) -> Any:
        def likely(unit: Array, part: Array, *rest: Any) -> Any:
            sent.append(len(part))
            return search._likely(unit, part, *rest)

        return likely

    monkeypatch.setattr(search, "_likely_on", counted)
    rng = np.random.default_rng(12)
    nearest(vectors(rng, 512), vectors(rng, 300), 5, device="cuda")
    assert sent == [100, 100, 100]


@pytest.mark.parametrize("d", [16, 256])
def test_a_gpu_that_rounds_to_tf32_retrieves_the_same_neighbours(d: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU cuts the factors off after ten bits where another package has torch do so."""

    def tf32(values: Array) -> Array:
        return (np.ascontiguousarray(values).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)

    def rounded(unit: Array, part: Array, *rest: Any) -> Any:
        return search._likely(tf32(unit), tf32(part), *rest)

    monkeypatch.setattr(search, "_likely_on", lambda _: rounded)
    rng = np.random.default_rng(7)
    near = vectors(rng, 1, d)
    bank = near + 0.02 * vectors(rng, 3000, d)  # near-ties at every rank
    check(near + 0.02 * vectors(rng, 9, d), bank, 40, "cuda")


def test_a_search_neither_reads_nor_changes_the_precision_of_torch() -> None:
    """Once a package used torch's newer setting, the older one raises, read or written."""
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    rng = np.random.default_rng(8)
    try:
        matmul.fp32_precision = "tf32"
        with pytest.raises(RuntimeError, match="mix of the legacy and new APIs"):
            torch.get_float32_matmul_precision()
        check(vectors(rng, 5), vectors(rng, 100), 7, "cpu:0")
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = before


def test_the_rounding_of_the_product_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine's float32 errors, up to the bound that any order of addition keeps."""
    rng = np.random.default_rng(6)
    bank = vectors(rng, 2000, 256) * 1e-3 + 1
    queries = vectors(rng, 20, 256) * 1e-3 + 1
    here = nearest(queries, bank, 25)

    class Perturbed(np.ndarray):
        def __matmul__(self, part: Array) -> Array:
            error = rng.uniform(-1, 1, size=(len(self), part.shape[1])) * 256 * 2.0**-24
            product: Array = (np.asarray(self, np.float64) @ part + error).astype(np.float32)
            return product

    likely = search._likely
    monkeypatch.setattr(search, "_likely", lambda unit, *rest: likely(unit.view(Perturbed), *rest))
    there = nearest(queries, bank, 25)
    np.testing.assert_array_equal(here[0], there[0])
    np.testing.assert_array_equal(here[1], there[1])


def test_memory_is_bounded() -> None:
    rng = np.random.default_rng(7)
    bank, queries = vectors(rng, 60_000, 64), vectors(rng, 600, 64)
    tracemalloc.start()
    nearest(queries, bank, 50)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 80e6  # all similarities at once would be 144 MB


def test_memory_is_bounded_for_a_bank_of_near_copies() -> None:
    """Float32 cannot tell them apart: all may be among the best, but not all are held."""
    rng = np.random.default_rng(9)
    bank = 1 + 1e-7 * rng.integers(0, 3, size=(40_000, 8)).astype(np.float32)
    queries = bank[:32] + 1e-7
    tracemalloc.start()
    neighbours, similarity = nearest(queries, bank, 50)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 24e6  # rows and scores of all of them would be 48 MB
    expected, expected_similarity = brute_force(queries[:3], bank, 50)
    np.testing.assert_array_equal(neighbours[:3], expected)
    np.testing.assert_allclose(similarity[:3], expected_similarity, rtol=0, atol=1e-7)


def test_no_queries() -> None:
    neighbours, similarity = nearest(np.empty((0, 4), np.float32), np.ones((3, 4), np.float32), 2)
    assert neighbours.shape == similarity.shape == (0, 2)


@pytest.mark.parametrize("k", [0, 4])
def test_k_must_fit_the_bank(k: int) -> None:
    with pytest.raises(ValueError, match="k must be 1 to 3"):
        nearest(np.ones((1, 4), np.float32), np.ones((3, 4), np.float32), k)


def test_vectors_must_be_finite() -> None:
    with pytest.raises(ValueError, match="finite"):
        nearest(np.full((1, 4), np.nan, np.float32), np.ones((3, 4), np.float32), 1)


@pytest.mark.parametrize("seed", range(5))
def test_similarities_are_those_of_the_plain_way(seed: int) -> None:
    """Also where a similarity lies so near the middle of two float32 numbers that the last bit decides."""
    rng = np.random.default_rng(seed)
    bank, queries = vectors(rng, 3000, 64), vectors(rng, 100, 64)
    neighbours, similarity = nearest(queries, bank, 1000)
    plain = np.multiply(queries.astype(np.float64)[:, None], bank[neighbours]).sum(axis=2)
    plain /= search.norms(queries)[:, None] * search.norms(bank)[neighbours]
    np.testing.assert_array_equal(similarity, plain.astype(np.float32))
    assert (np.diff(plain, axis=1) <= 0).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_nothing(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "QUERIES_AT_A_TIME", 7)
    rng = np.random.default_rng(10)
    with threadpool_limits(threads, user_api="blas"):
        check(vectors(rng, 40), vectors(rng, 500), 30)
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {threads}


@pytest.mark.parametrize("length", [1e-40, 1e-25, 1e25, 1e38])
def test_vectors_of_extreme_length(length: float) -> None:
    rng = np.random.default_rng(11)
    bank, queries = vectors(rng, 200), vectors(rng, 6)
    scaled = bank * np.float32(2.0 ** round(np.log2(length) + 3)) if length < 1 else bank * np.float32(length / 8)
    neighbours, _ = nearest(queries, scaled, 10)
    expected, _ = brute_force(queries, scaled, 10)
    np.testing.assert_array_equal(neighbours, expected)
