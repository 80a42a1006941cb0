"""Opening cells and bins as Space Ranger and Xenium write them, and pooling them to spots.

usage: python -m benchmarks.opening [--small]

Files in the real layouts with random counts: 300,000 cells of 400 genes, about 100 counts each, and 500,000 bins of
some 20,000 genes with 50 million counts. The libraries are imported before, and the files were just written, so that
the disk takes no part. Peak memory is that of a process of its own. What is read is checked by its sum.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from benchmarks.harness import Row, Times, at_most, extra_memory, main

MPP = 0.25
SEED = 0


def rows(small: bool) -> Iterator[Row]:
    """Return the rows of the table."""
    cells, bins = (3_000, 5_000) if small else (300_000, 500_000)
    with tempfile.TemporaryDirectory() as folder:
        for what, number, write in (("cells of Xenium", cells, _xenium), ("bins of Visium HD", bins, write_visium_hd)):
            path = Path(folder) / what
            total = write(path, number)
            yield from _opened(f"{number:,} {what}", path, number, total)


def _opened(what: str, path: Path, number: int, total: int) -> Iterator[Row]:
    sizes = {"spots": number, "counts": total}
    extra = extra_memory(_prepared, str(path), total)
    seconds = _timed(_prepared(str(path), total))
    times = {"open": Times((seconds[0],), (seconds[1],))}
    yield Row(f"opening {what}", "", seconds[0], "s", at_most(20), sizes, times, SEED)
    yield Row(f"memory, opening {what}", "", extra, "MB", at_most(4000), sizes, seed=SEED)
    pooled = _timed(_pooling(str(path), total))
    yield Row(f"pooling {what}", "", pooled[0], "s", None, sizes, {"pool": Times((pooled[0],), (pooled[1],))}, SEED)


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    start, start_cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - start_cpu


def _prepared(path: str, total: int) -> Callable[[], object]:
    from napari_cmrcnet.sections.spots import open_spots

    return partial(_open, open_spots, path, total)


def _open(open_spots: Callable[[str], object], path: str, total: int) -> None:
    spots = open_spots(path)
    assert int(spots.X.sum()) == total, "counts were lost"  # type: ignore[attr-defined]


def _pooling(path: str, total: int) -> Callable[[], object]:
    from napari_cmrcnet.sections.formats.origin import Origin
    from napari_cmrcnet.sections.pooling import pool_for, pool_spots
    from napari_cmrcnet.sections.spots import open_spots

    spots = open_spots(path)
    pool = pool_for("", Origin.of(spots))
    assert pool is not None

    def work() -> None:
        assert int(pool_spots(spots, MPP, pool).X.sum()) == total, "counts were lost"

    return work


def _matrix(path: Path, names: list[str], genes: int, genes_each: int, mean: float) -> int:
    """Write a matrix in the layout of 10x Genomics; return its sum."""
    rng, n = np.random.default_rng(SEED), len(names)
    step = 2 * genes // genes_each
    indices = rng.integers(1, step, (n, genes_each), dtype=np.int32).cumsum(axis=1, dtype=np.int32) - 1
    data = 1 + rng.poisson(mean - 1, n * genes_each).astype(np.int32)
    held = int(indices.max()) + 1
    with h5py.File(path, "w") as file:
        group, packed = file.create_group("matrix"), {"chunks": (80_000,), "compression": "gzip", "compression_opts": 1}
        small = {} if data.size < 80_000 else packed
        group.create_dataset("data", data=data, **small)
        group.create_dataset("indices", data=indices.ravel().astype(np.int64), **small)
        group["indptr"] = np.arange(n + 1, dtype=np.int64) * genes_each
        group["shape"] = np.array([held, n], np.int32)
        group["barcodes"] = np.array(names, "S")
        features = group.create_group("features")
        features["id"] = np.array([f"ENSG{number:011d}" for number in range(held)], "S")
        features["name"] = np.array([f"GENE{number}" for number in range(held)], "S")
        features["feature_type"] = np.array(["Gene Expression"] * held, "S")
        features["genome"] = np.array(["GRCh38"] * held, "S")
    return int(data.sum())


def _xenium(folder: Path, cells: int) -> int:
    folder.mkdir()
    rng, side = np.random.default_rng(SEED), 10.0 * np.sqrt(cells)  # µm: a cell for 100 µm²
    names = [f"{number:08x}-1" for number in range(cells)]
    (folder / "experiment.xenium").write_text(json.dumps({"pixel_size": 0.2125, "analysis_sw_version": "xenium-3.1"}))
    (folder / "he_imagealignment.csv").write_text("1.17,0.01,5\n-0.01,1.17,9\n0,0,1\n")
    table = {"cell_id": names, "x_centroid": rng.uniform(0, side, cells), "y_centroid": rng.uniform(0, side, cells)}
    pd.DataFrame(table | {"cell_area": rng.uniform(30, 90, cells)}).to_parquet(folder / "cells.parquet")
    return _matrix(folder / "cell_feature_matrix.h5", names, 400, 60, 1.6)


def write_visium_hd(folder: Path, bins: int) -> int:
    """Write bins of 8 µm as Space Ranger does; return the sum of their counts."""
    place = folder / "binned_outputs" / "square_008um"
    (place / "spatial").mkdir(parents=True)
    side = int(np.ceil(np.sqrt(bins)))
    row, column = (part[:bins] for part in np.divmod(np.arange(side * side), side))
    names = [f"s_008um_{r:05d}_{c:05d}-1" for r, c in zip(row.tolist(), column.tolist(), strict=True)]
    pixels = 8.0 / MPP
    table = {"barcode": names, "in_tissue": 1, "array_row": row, "array_col": column}
    table |= {"pxl_row_in_fullres": row * pixels + 50, "pxl_col_in_fullres": column * pixels + 50}
    pd.DataFrame(table).to_parquet(place / "spatial" / "tissue_positions.parquet")
    factors = {"microns_per_pixel": MPP, "bin_size_um": 8.0, "spot_diameter_fullres": pixels}
    (place / "spatial" / "scalefactors_json.json").write_text(json.dumps(factors))
    return _matrix(place / "filtered_feature_bc_matrix.h5", names, 20_000, 80, 1.25)


if __name__ == "__main__":
    main(rows)
