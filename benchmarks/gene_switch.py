"""What one gene costs: all spots' predicted and measured values, beside averaging it in the straightforward way.

usage: python benchmarks/gene_switch.py [--spots 5000] [--bank 45000] [--genes 36000] [--k 50] [--rounds 30]

The straightforward way holds expression by spots (CSR), takes the gene's column, and averages the values gathered
for each spot's neighbours. Both ways run in turn in one process on random expression of which 10 % is not zero,
another gene each round, and must agree in every bit. Prints milliseconds, and the ratio of the medians; a line of
JSON last.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from napari_cmrcnet.retrieval.bank import Bank
from napari_cmrcnet.retrieval.prediction import Prediction, confidence_table
from napari_cmrcnet.retrieval.provenance import Provenance
from napari_cmrcnet.retrieval.search import unit_length

FILLED = 0.1


def random_expression(rng: np.random.Generator, spots: int, genes: int) -> sparse.csc_matrix:
    """Return log-normalised expression, by genes, float32 (spots, genes)."""
    rows = [np.flatnonzero(rng.random(spots, np.float32) < FILLED).astype(np.int32) for _ in range(genes)]
    ends = np.concatenate([[0], np.cumsum([len(filled) for filled in rows])])
    values = rng.random(ends[-1], np.float32) * 4 + np.float32(0.1)
    return sparse.csc_matrix((values, np.concatenate(rows), ends.astype(np.int32)), shape=(spots, genes))


def random_prediction(n: int, bank_spots: int, genes: int, k: int) -> Prediction:
    """Return a prediction whose neighbours are drawn at random, the hardest case for the processor's caches."""
    rng = np.random.default_rng(0)
    names = tuple(f"G{i}" for i in range(genes))
    place = {"array_row": np.int32(0), "array_col": np.int32(0), "x": 0.0, "y": 0.0}
    obs = pd.DataFrame({"section": "A", "patient": "", **place}, index=range(bank_spots))
    embeddings = unit_length(rng.normal(size=(bank_spots, 8)))
    bank = Bank(embeddings, random_expression(rng, bank_spots, genes), names, ("",) * genes, obs)
    counts = random_expression(rng, n, genes)
    np.ceil(counts.data, out=counts.data)
    spots = anndata.AnnData(counts.tocsr(), var=pd.DataFrame(index=list(names)))
    spots.obsm["spatial"] = rng.random((n, 2))
    neighbours = rng.integers(bank_spots, size=(n, k)).astype(np.int32)
    similarity = -np.sort(-rng.random((n, k), np.float32), axis=1)
    made_from = Provenance("", "", ("A",), ("",), (), "B", "", "", "", k, 0, 0.5, "", 1e4, None)
    confidence = confidence_table(neighbours, similarity, bank, spots.obs_names)
    return Prediction(spots, neighbours, similarity, confidence, made_from, bank=bank)


def straightforward(expression: sparse.csr_matrix, neighbours: np.ndarray, column: int) -> np.ndarray:
    """Return the mean over each spot's neighbours of one gene of expression by spots, float32 (n,)."""
    values = expression[:, [column]].toarray().ravel().astype(np.float64)
    return values[neighbours].mean(axis=1).astype(np.float32)


def timed(run: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """Return milliseconds and the result."""
    start = time.perf_counter()
    result = run()
    return 1e3 * (time.perf_counter() - start), result


def main() -> None:
    """Run the rounds and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spots", type=int, default=5_000)
    parser.add_argument("--bank", type=int, default=45_000)
    parser.add_argument("--genes", type=int, default=36_000)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    prediction = random_prediction(options.spots, options.bank, options.genes, options.k)
    assert prediction.bank is not None
    by_spots = prediction.bank.expression.tocsr()
    prediction.measured(prediction.genes[:1])  # normalised once, when a prediction is opened
    columns = np.random.default_rng(1).integers(options.genes, size=options.rounds + 1)
    milliseconds: dict[str, list[float]] = {"straightforward": [], "predicted": [], "measured": []}
    for column in columns:
        gene = prediction.genes[column]
        plain, expected = timed(lambda: straightforward(by_spots, prediction.neighbours, column))  # noqa: B023
        predicted, found = timed(lambda: prediction.gene(gene))  # noqa: B023
        measured, _ = timed(lambda: prediction.measured([gene]))  # noqa: B023
        np.testing.assert_array_equal(found, expected)
        for name, taken in zip(milliseconds, (plain, predicted, measured), strict=True):
            milliseconds[name].append(taken)
    medians = {}
    for name, taken in milliseconds.items():
        warm = taken[1:]  # the first round is a warm-up
        medians[name] = statistics.median(warm)
        print(f"{name:16} min {min(warm):8.2f} ms   median {medians[name]:8.2f} ms   max {max(warm):8.2f} ms")
    ratio = medians["predicted"] / medians["straightforward"]
    print(f"predicted / straightforward: {ratio:.4f}")
    sizes = {"spots": options.spots, "bank": options.bank, "genes": options.genes, "k": options.k}
    rounded = {f"{name}_ms": round(median, 3) for name, median in medians.items()}
    print(json.dumps({"benchmark": "gene_switch", **sizes, **rounded, "ratio": round(ratio, 4)}))


if __name__ == "__main__":
    main()
