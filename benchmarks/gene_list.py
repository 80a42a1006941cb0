"""What opening, filtering and sorting the list of genes costs, beside Qt's own models with the same text.

usage: xvfb-run -a python benchmarks/gene_list.py [--genes 36000] [--spots 5000] [--bank 10000] [--rounds 5]

Both ways run in turn in one process: the Genes panel, and a table over a QSortFilterProxyModel and a
QStandardItemModel, which is filtered by symbol only. Times are until what is seen is painted, by the clock and by the
processor's work in the main thread, which other programs do not lengthen; medians over the rounds and keystrokes, and
the longest of them. The prediction was made ready before, as the worker does that makes or opens it. A line of JSON
last.
"""

import argparse
import functools
import json
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from anndata import AnnData
from napari.components import ViewerModel
from qtpy.QtCore import QSortFilterProxyModel, Qt
from qtpy.QtGui import QStandardItem, QStandardItemModel
from qtpy.QtWidgets import QApplication, QTableView
from scipy import sparse

from napari_cmrcnet.evaluation.scores import Scores
from napari_cmrcnet.retrieval.bank import Bank
from napari_cmrcnet.retrieval.prediction import Prediction, confidence_table
from napari_cmrcnet.retrieval.provenance import Provenance
from napari_cmrcnet.viewer.registry import layers_of
from napari_cmrcnet.viewer.reopen import make_ready
from napari_cmrcnet.widgets.gene_model import Column
from napari_cmrcnet.widgets.genes import GenesPanel

TYPED = ("k", "kr", "krt", "krt1", "e", "er", "her2", "ensg0000001", "β-catenin", "")
KNOWN = ("ERBB2", "CTNNB1", *(f"KRT{i}" for i in range(1, 21)))


def sparse_counts(rng: np.random.Generator, rows: int, genes: int) -> sparse.csc_matrix:
    """Return counts of which a tenth is not zero, as one value in each ten rows."""
    each = rows // 10
    indices = np.arange(each, dtype=np.int32) * 10 + rng.integers(0, 10, (genes, each), dtype=np.int32)
    values = rng.integers(1, 9, genes * each).astype(np.float32)
    return sparse.csc_matrix((values, indices.ravel(), np.arange(0, genes * each + 1, each)), shape=(rows, genes))


def synthetic(n: int, genes: int, bank_spots: int) -> tuple[Prediction, Scores]:
    """Return a prediction of random neighbours, and random scores of its genes."""
    rng = np.random.default_rng(0)
    names = (*KNOWN, *(f"GENE{i}" for i in range(genes - len(KNOWN))))
    ids = tuple(f"ENSG{i:011}" for i in range(genes))
    embeddings = np.eye(bank_spots, 8, dtype=np.float32)
    obs = pd.DataFrame({"section": "A", "patient": "", "array_row": 0, "array_col": 0, "x": 0.0, "y": 0.0},
                       index=range(bank_spots))  # fmt: skip
    bank = Bank(embeddings, sparse_counts(rng, bank_spots, genes), names, ids, obs)
    var = pd.DataFrame({"gene_ids": ids}, index=list(names))
    spots = AnnData(sparse_counts(rng, n, genes).tocsr(), var=var, obsm={"spatial": rng.random((n, 2)) * 1e4})
    spots.uns["cmrcnet"] = {"path": "benchmark"}
    spots.uns["spatial"] = {"S": {"scalefactors": {"spot_diameter_fullres": 50.0}}}
    neighbours = rng.integers(0, bank_spots, (n, 50), dtype=np.int32)
    similarity = np.full((n, 50), 0.9, np.float32)
    about = Provenance("", "", (), (), (), "S", "", "", "", 50, 0, 0.5, "benchmark", 1e4, None)
    confidence = confidence_table(neighbours, similarity, bank, spots.obs_names)
    prediction = Prediction(spots, neighbours, similarity, confidence, about, bank=bank)
    pcc = rng.normal(0.2, 0.2, genes).clip(-1, 1)
    reason = np.where(rng.random(genes) < 0.05, "constant measured", "")
    pcc[reason != ""] = np.nan
    table = pd.DataFrame({"pcc": pcc, "low": pcc - 0.1, "high": pcc + 0.1, "undefined": reason}, index=list(names))
    for place, name in enumerate(("HEG", "HVG", "markers")):
        table[name] = (np.arange(genes) // 50) == place
    return prediction, Scores("S", table, {}, {}, (), "", n)


class Ours:
    """The Genes panel."""

    def __init__(self, viewer: ViewerModel) -> None:
        self.panel = GenesPanel(viewer)
        self.panel.resize(380, 700)
        self.panel.show()
        self.rows = self.panel.model.rowCount

    def filter(self, text: str) -> None:
        """List what a text finds, as the timer of the search box does."""
        self.panel.search.setText(text)
        self.panel._list_anew()

    def sort(self, order: Qt.SortOrder) -> None:
        """Sort by PCC."""
        self.panel.table.sortByColumn(Column.PCC, order)

    def close(self) -> None:
        """Let go of it."""
        self.panel.close()
        self.panel.deleteLater()


class Plain:
    """Qt's own models, filled with the same text."""

    def __init__(self, ours: GenesPanel) -> None:
        genes = ours.model.genes
        assert genes is not None
        model = QStandardItemModel(len(genes), len(Column))
        for gene in range(len(genes)):
            interval = f"{genes.low[gene]:.2f}…{genes.high[gene]:.2f}"
            means = f"{genes.measured[gene]:.2f}", f"{genes.predicted[gene]:.2f}"
            texts = (
                genes.names.symbols[gene],
                f"{genes.pcc[gene]:.2f}",
                interval,
                *means,
                ", ".join(genes.sets_of(gene)),
            )
            for column, text in enumerate(texts, start=1):
                model.setItem(gene, column, QStandardItem(text))
            model.item(gene, Column.PCC).setData(float(genes.pcc[gene]), Qt.ItemDataRole.UserRole)
        self.proxy = QSortFilterProxyModel()
        self.proxy.setSourceModel(model)
        self.proxy.setFilterKeyColumn(Column.GENE)
        self.proxy.setFilterCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.proxy.setSortRole(Qt.ItemDataRole.UserRole)
        self.table, self.model = QTableView(), model
        self.table.setModel(self.proxy)
        self.table.resize(380, 700)
        self.table.show()
        self.rows = self.proxy.rowCount

    def filter(self, text: str) -> None:
        """List what a text finds."""
        self.proxy.setFilterFixedString(text)

    def sort(self, order: Qt.SortOrder) -> None:
        """Sort by PCC."""
        self.proxy.sort(Column.PCC, order)

    def close(self) -> None:
        """Let go of it."""
        self.table.close()
        self.table.deleteLater()


def timed(act: Callable[[], object]) -> tuple[float, float]:
    """Return the milliseconds until an act is done and painted, and those of them that the processor worked on it."""
    start, worked = time.perf_counter(), time.thread_time()
    act()
    for _ in range(3):
        QApplication.processEvents()
    return 1e3 * (time.perf_counter() - start), 1e3 * (time.thread_time() - worked)


def measure(viewer: ViewerModel, genes: int) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Open, filter, sort and close both in turn; return the milliseconds by act and way."""
    times: dict[tuple[str, str], list[tuple[float, float]]] = {}
    shown: dict[str, Ours | Plain] = {}
    times["open", "ours"] = [timed(lambda: shown.update(ours=Ours(viewer)))]
    ours = shown["ours"]
    assert isinstance(ours, Ours)
    times["open", "plain"] = [timed(lambda: shown.update(plain=Plain(ours.panel)))]
    for text in TYPED:
        for name, one in shown.items():
            times.setdefault(("filter", name), []).append(timed(functools.partial(one.filter, text)))
    for order in (Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder):
        for name, one in shown.items():
            assert one.rows() == genes
            times.setdefault(("sort", name), []).append(timed(functools.partial(one.sort, order)))
    for one in shown.values():
        one.close()
    timed(lambda: None)
    return times


def main() -> None:
    """Print times of both ways, and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genes", type=int, default=36_000)
    parser.add_argument("--spots", type=int, default=5_000)
    parser.add_argument("--bank", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    app = QApplication.instance() or QApplication([])  # noqa: F841 - kept alive
    prediction, scores = synthetic(options.spots, options.genes, options.bank)
    viewer = ViewerModel()
    layers = layers_of(viewer)
    make_ready(prediction)
    layers.session.set_prediction(prediction, scores=scores)
    timed(lambda: None)
    times = [measure(viewer, options.genes) for _ in range(options.rounds)]
    print(f"{options.genes:,} genes, bank of {options.bank:,} spots, section of {options.spots:,} spots")
    print(f"{'ms':8}{'ours':>8}{'longest':>9}{'CPU':>8}{'longest':>9}{'plain':>9}{'CPU':>9}{'ratio of CPU':>14}")
    result = {}
    for act in ("open", "filter", "sort"):
        ours, plain = (np.array([ms for one in times for ms in one[act, name]]) for name in ("ours", "plain"))
        (wall, cpu), (plain_wall, plain_cpu) = np.median(ours, axis=0), np.median(plain, axis=0)
        longest = ours.max(axis=0)
        print(f"{act:8}{wall:8.1f}{longest[0]:9.1f}{cpu:8.1f}{longest[1]:9.1f}{plain_wall:9.1f}{plain_cpu:9.1f}"
              f"{plain_cpu / cpu:14.1f}")  # fmt: skip
        result[act] = {"wall": wall, "cpu": cpu, "plain_wall": plain_wall, "plain_cpu": plain_cpu}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
