"""Predicted expression of all genes to a file, beside gathering and averaging each spot's neighbours in a dense bank.

usage: python -m benchmarks.export_all [--small]

The plain way is the published one: the bank as a dense matrix, a loop over spots that averages the rows of its
neighbours, and all of it written at the end, as anndata does unless asked to compress. Ours is the export as h5ad, a
few genes at a time, compressed. Both ways take time in proportion to the genes: they are compared on 3,000 (a dense
bank of 36,000 is 6.5 GB); ours then writes 36,000, from a smaller bank, whose size is not what is measured. How many
spots express a gene is drawn as it is in tissue: 9 % in the mean, less than 1 % of the spots for four genes in ten.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from benchmarks.embeddings import random_embeddings
from benchmarks.harness import Row, at_least, at_most, extra_memory, interleave, main
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.retrieval.bank import Bank
from napari_cmrcnet.retrieval.export_tables import to_h5ad
from napari_cmrcnet.retrieval.predict import confidence_table
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.retrieval.provenance import Provenance
from napari_cmrcnet.retrieval.search import nearest

K = 50


def rows(small: bool) -> Iterator[Row]:
    """Return the rows of the table."""
    spots, bank, genes, all_genes = (200, 1_000, 100, 700) if small else (5_000, 45_000, 3_000, 36_000)
    yield _speed(spots, bank, genes, rounds=1 if small else 2)
    what = f"memory beyond the bank, all of {all_genes:,} genes to a file, {spots:,} spots"
    bank = min(bank, 10_000)
    sizes = {"spots": spots, "bank": bank, "genes": all_genes, "k": K}
    note = f"all values are {4e-6 * spots * all_genes:,.0f} MB"
    yield Row(what, "", extra_memory(_export, spots, bank, all_genes), "MB", at_most(300), sizes, note=note)


def _speed(spots: int, bank: int, genes: int, rounds: int) -> Row:
    prediction = random_prediction(spots, bank, genes)
    dense = prediction.bank_for("averaging").expression.toarray()
    with tempfile.TemporaryDirectory() as scratch:
        ours, plain = Path(scratch) / "ours.h5ad", Path(scratch) / "plain.h5ad"

        def loop(_: int) -> Path:
            values = np.empty((spots, genes), np.float32)
            for spot, neighbours in enumerate(prediction.neighbours):
                values[spot] = dense[neighbours].mean(axis=0)
            anndata.AnnData(values).write_h5ad(plain)
            return plain

        ways = {"ours": lambda _: finish(to_h5ad(prediction, ours)), "dense gather and mean": loop}
        taken = interleave(ways, rounds, same=_same, warm_up=False)
    sizes = {"spots": spots, "bank": bank, "genes": genes, "k": K}
    what = f"all of {genes:,} genes to a file, {spots:,} spots, k = {K}, bank of {bank:,}"
    return taken.faster(what, "ours", than="dense gather and mean", goal=at_least(2.3), sizes=sizes)


def random_prediction(spots: int, bank_spots: int, genes: int) -> Prediction:
    """Return a prediction from random embeddings and expression."""
    rng = np.random.default_rng(0)
    queries, embeddings = random_embeddings(spots, bank_spots)
    filled = rng.beta(0.25, 2.5, size=genes)
    columns = [np.flatnonzero(rng.random(bank_spots, np.float32) < share).astype(np.int32) for share in filled]
    ends = np.cumsum([0, *map(len, columns)])
    values = rng.random(ends[-1], np.float32) * 4 + np.float32(0.1)
    expression = sparse.csc_matrix((values, np.concatenate(columns), ends), shape=(bank_spots, genes))
    place = {"array_row": np.int32(0), "array_col": np.int32(0), "x": 0.0, "y": 0.0}
    obs = pd.DataFrame({"section": "A", "patient": "", **place}, index=range(bank_spots))
    names = tuple(f"G{number}" for number in range(genes))
    bank = Bank(embeddings, expression, names, ("",) * genes, obs)
    neighbours, similarity = nearest(queries, embeddings, K)
    table = anndata.AnnData(obs=pd.DataFrame(index=[f"spot{number}" for number in range(spots)]))
    table.obsm["spatial"] = rng.random((spots, 2))
    table.uns["spatial"] = {"S": {"scalefactors": {"spot_diameter_fullres": 1.0}}}
    made_from = Provenance(trained_on=("A",), trained_on_patients=("",), section="S", k=K, mpp=0.5, mpp_source="")
    confidence = confidence_table(neighbours, similarity, bank, table.obs_names)
    return Prediction(table, neighbours, similarity, confidence, made_from, bank=bank)


def _export(spots: int, bank: int, genes: int) -> Callable[[], object]:
    prediction = random_prediction(spots, bank, genes)
    scratch = tempfile.TemporaryDirectory()
    finish(to_h5ad(prediction, Path(scratch.name) / "first.h5ad", prediction.genes[:2]))  # imports

    def work() -> None:
        finish(to_h5ad(prediction, Path(scratch.name) / "all.h5ad"))
        scratch.cleanup()

    return work


def _same(expected: Path, found: Path) -> None:
    """Check that two files hold the same means, but for the plain way's rounding in float32."""
    ours, plain = anndata.read_h5ad(expected).layers["predicted"], anndata.read_h5ad(found).X
    np.testing.assert_allclose(plain, ours, rtol=1e-5, atol=1e-6)


if __name__ == "__main__":
    main(rows)
