"""What one gene costs: all spots' predicted values, beside averaging it in the straightforward way.

usage: python -m benchmarks.gene_switch [--small]

The straightforward way holds the bank's expression by spots (CSR), takes the gene's column, and averages the values
gathered for each spot's neighbours. Expression is random, of which 10 % is not zero, and so are the neighbours: the
hardest case for the processor's caches. Each turn shows a few genes after one another, as the arrow keys do.
"""

from collections.abc import Iterator

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from benchmarks.harness import Row, Times, Timings, at_least, at_most, interleave, main
from napari_cmrcnet.retrieval.bank import Bank
from napari_cmrcnet.retrieval.predict import confidence_table
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.retrieval.provenance import Provenance
from napari_cmrcnet.retrieval.search import unit_length

PLAIN = "CSR column slice and gather"
BURST = 4
FILLED = 0.1
GENES = 36_000
GENES_OF_A_LARGE_BANK = 500  # a million spots of 36,000 genes are 29 GB
GOALS_MS = {(50, 45_000): 2.0, (500, 45_000): 5.0, (50, 1_000_000): 6.0, (500, 1_000_000): 12.0}


def random_expression(rng: np.random.Generator, spots: int, genes: int) -> sparse.csc_matrix:
    """Return log-normalised expression, by genes, float32 (spots, genes)."""
    rows = [np.flatnonzero(rng.random(spots, np.float32) < FILLED).astype(np.int32) for _ in range(genes)]
    ends = np.concatenate([[0], np.cumsum([len(filled) for filled in rows])])
    values = rng.random(ends[-1], np.float32) * 4 + np.float32(0.1)
    return sparse.csc_matrix((values, np.concatenate(rows), ends.astype(np.int32)), shape=(spots, genes))


def random_bank(spots: int, genes: int, names: tuple[str, ...] = (), ids: tuple[str, ...] = ()) -> Bank:
    """Return a bank of random expression, of genes called G0, G1, ... where no names are given."""
    rng = np.random.default_rng(0)
    place = {"array_row": np.int32(0), "array_col": np.int32(0), "x": 0.0, "y": 0.0}
    obs = pd.DataFrame({"section": "A", "patient": "", **place}, index=range(spots))
    names = names or tuple(f"G{i}" for i in range(genes))
    embeddings = unit_length(rng.normal(size=(spots, 8)))
    return Bank(embeddings, random_expression(rng, spots, genes), names, ids or ("",) * genes, obs)


def random_prediction(bank: Bank, n: int, k: int, measured: bool = True) -> Prediction:
    """Return a prediction for spots on a square lattice whose neighbours are drawn at random."""
    rng = np.random.default_rng(1)
    genes = len(bank.genes)
    spots = anndata.AnnData(obs=pd.DataFrame(index=[str(i) for i in range(n)]))
    if measured:
        counts = random_expression(rng, n, genes)
        np.ceil(counts.data, out=counts.data)
        spots = anndata.AnnData(counts.tocsr(), var=pd.DataFrame({"gene_ids": bank.gene_ids}, index=list(bank.genes)))
    rows, columns = np.divmod(np.arange(n), int(np.ceil(np.sqrt(n))))
    spots.obsm["spatial"] = np.column_stack([columns, rows]) * 200.0
    spots.uns["spatial"] = {"B": {"scalefactors": {"spot_diameter_fullres": 110.0}}}
    neighbours = rng.integers(bank.embeddings.shape[0], size=(n, k)).astype(np.int32)
    similarity = -np.sort(-rng.random((n, k), np.float32), axis=1)
    made_from = Provenance(trained_on=("A",), trained_on_patients=("",), section="B", k=k, mpp=0.5, mpp_source="")
    confidence = confidence_table(neighbours, similarity, bank, spots.obs_names)
    return Prediction(spots, neighbours, similarity, confidence, made_from, bank=bank)


def straightforward(expression: sparse.csr_matrix, neighbours: np.ndarray, column: int) -> np.ndarray:
    """Return the mean over each spot's neighbours of one gene of expression by spots, float32 (n,)."""
    values = expression[:, [column]].toarray().ravel().astype(np.float64)
    return values[neighbours].mean(axis=1).astype(np.float32)


def a_gene(times: Times) -> Times:
    """Return the seconds for one gene of several."""
    return Times(tuple(wall / BURST for wall in times.wall), tuple(cpu / BURST for cpu in times.cpu))


def rows(small: bool) -> Iterator[Row]:
    """Time one gene with banks of two sizes."""
    spots, banks = (200, (500, 2_000)) if small else (5_000, (45_000, 1_000_000))
    genes_of = dict(zip(banks, (50, 50) if small else (GENES, GENES_OF_A_LARGE_BANK), strict=True))
    for bank_spots, genes in genes_of.items():
        bank = random_bank(bank_spots, genes)
        by_spots = bank.expression.tocsr()
        for k in (50, 500):
            prediction = random_prediction(bank, spots, k, measured=False)
            turns = np.random.default_rng(2).integers(genes, size=(9, BURST))
            taken = interleave(
                {
                    "ours": lambda turn: [prediction.gene(prediction.genes[one]) for one in turns[turn]],  # noqa: B023
                    PLAIN: lambda turn: [straightforward(by_spots, prediction.neighbours, one) for one in turns[turn]],  # noqa: B023
                },
                rounds=1 if small else 5,
            )
            taken = Timings({name: a_gene(times) for name, times in taken.ways.items()})
            sizes = {"spots": spots, "bank": bank_spots, "genes": genes, "k": k}
            what = f"one gene, {spots:,} spots, k = {k}, bank of {bank_spots:,} spots and {genes:,} genes"
            goal = GOALS_MS.get((k, bank_spots))
            yield taken.milliseconds(what, "ours", goal=None if goal is None else at_most(goal), sizes=sizes)
            note = (
                "" if genes == GENES else "a slice of CSR reads all genes, and takes as much longer as there are more"
            )
            yield taken.faster(what, "ours", than=PLAIN, goal=at_least(10), sizes=sizes, note=note)


if __name__ == "__main__":
    main(rows)
