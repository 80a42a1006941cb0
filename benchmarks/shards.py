"""A bank on disk, searched shard by shard, beside the same bank in memory and a smaller one on disk.

usage: python -m benchmarks.shards [--small]     (SHARDS=10 python -m benchmarks.shards: a bank of 10 million)

Shards hold a million spots, a gigabyte each, and are written to the folder of temporary files.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.embeddings import Float32, RandomEmbeddings
from benchmarks.harness import Row, at_most, extra_memory, interleave, main
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.retrieval.search import nearest
from napari_cmrcnet.retrieval.shards import Shards, nearest_in_shards

K = 50
PIECES = 4  # of one shard, to compare with it


def rows(small: bool) -> Iterator[Row]:
    """Return the rows of the table."""
    count, spots, queries = (3, 2_000, 16) if small else (int(os.environ.get("SHARDS", "3")), 1_000_000, 256)
    with tempfile.TemporaryDirectory() as scratch:
        asked, paths = _write(Path(scratch), count, spots, queries)
        yield _against_memory(asked, paths[0], Path(scratch))
        yield _against_one(asked, paths)
        whole = f"bank of {count * spots:,} on disk"
        extra = extra_memory(_search, paths, queries)
        yield Row(
            f"memory, {queries:,} queries, {whole}, k = {K}", "", extra, "MB", at_most(8000), _sizes(asked, paths)
        )


def _against_memory(asked: Float32, path: Path, scratch: Path) -> Row:
    """Compare pieces on disk with their whole in memory, which must give the same neighbours."""
    bank = np.load(path)
    pieces = [scratch / f"piece{number}.npy" for number in range(PIECES)]
    for piece, part in zip(pieces, np.array_split(bank, PIECES), strict=True):
        np.save(piece, part)
    ways = {
        "shards": lambda _: finish(nearest_in_shards(asked, Shards.of(pieces), K)),
        "whole in memory": lambda _: nearest(asked, bank, K),
    }
    taken = interleave(ways, rounds=2, warm_up=False)
    what = f"retrieval, {len(asked):,} queries, bank of {len(bank):,} in {PIECES} shards on disk, k = {K}"
    return taken.slower(what, "shards", than="whole in memory", goal=at_most(1.2), sizes=_sizes(asked, [path]))


def _against_one(asked: Float32, paths: list[Path]) -> Row:
    """Compare the time that all shards take with as many times that of one."""
    ways = {
        "all shards": lambda _: finish(nearest_in_shards(asked, Shards.of(paths), K)),
        "one shard": lambda _: finish(nearest_in_shards(asked, Shards.of(paths[:1]), K)),
    }
    taken = interleave(ways, rounds=2, same=None, warm_up=False)
    spots = len(Shards.of(paths))
    what = f"time a spot, {len(asked):,} queries, bank of {spots:,} on disk, k = {K}"
    ratio = taken.ratio("all shards", "one shard") / len(paths)
    against = f"bank of {spots // len(paths):,} on disk"
    return Row(what, against, ratio, goal=at_most(1.2), sizes=_sizes(asked, paths), times=taken.ways)


def _write(folder: Path, count: int, spots: int, queries: int) -> tuple[Float32, list[Path]]:
    """Return queries, and the shards of a bank."""
    source = RandomEmbeddings()
    paths = [folder / f"{number}.npy" for number in range(count)]
    for path in paths:
        np.save(path, source.bank(spots))
    return source.queries(queries), paths


def _search(paths: list[Path], queries: int) -> Callable[[], object]:
    asked = RandomEmbeddings().queries(queries)
    nearest(asked[:1], asked, 1)
    return lambda: finish(nearest_in_shards(asked, Shards.of(paths), K))


def _sizes(asked: Float32, paths: list[Path]) -> dict[str, int]:
    return {"queries": len(asked), "bank": len(Shards.of(paths)), "k": K}


if __name__ == "__main__":
    main(rows)
