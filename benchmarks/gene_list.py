"""What opening, filtering and sorting the list of genes costs, beside Qt's own models with the same text.

usage: xvfb-run -a python -m benchmarks.gene_list [--small]

Beside the Genes panel: a table over a QSortFilterProxyModel and a QStandardItemModel, which is filtered by symbol only,
so that each gene it finds must be among ours. Times are until what is seen is painted. The prediction was made ready
before, as the worker does that makes or opens it.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.gene_switch import random_bank, random_prediction
from benchmarks.harness import Row, at_most, interleave, main
from benchmarks.screen import no_window

QT = "Qt's own models"
COLUMNS = ("gene", "pcc", "low", "measured", "predicted", "sets")
UNDEFINED = -2.0  # below any correlation
TYPED = ("k", "kr", "krt", "krt1", "e", "er", "her2", "ensg0000001", "β-catenin", "")
KNOWN = ("ERBB2", "CTNNB1", *(f"KRT{i}" for i in range(1, 21)))


def random_scores(genes: tuple[str, ...], n: int) -> Any:
    """Return random scores of genes."""
    from napari_cmrcnet.evaluation.scores import Scores
    from napari_cmrcnet.sections.depth import Depth

    rng = np.random.default_rng(0)
    pcc = rng.normal(0.2, 0.2, len(genes)).clip(-1, 1)
    reason = np.where(rng.random(len(genes)) < 0.05, "constant measured", "")
    pcc[reason != ""] = np.nan
    others = {"partial_pcc": pcc / 2, "spearman": pcc, "spots_found": n}
    table = pd.DataFrame(
        {"pcc": pcc, "low": pcc - 0.1, "high": pcc + 0.1, **others, "undefined": reason}, index=list(genes)
    )
    for place, name in enumerate(("HEG", "HVG", "markers")):
        table[name] = (np.arange(len(genes)) // 50) == place
    counted, depth = np.ones(n, bool), Depth(5000.0, 0.05, len(genes))
    return Scores("S", table, {}, {}, (), (), "", "all", counted, 100, depth)


class Ours:
    """The Genes panel."""

    def __init__(self, viewer: Any) -> None:
        from napari_cmrcnet.widgets.genes import GenesPanel

        self.panel = GenesPanel(viewer)
        self.panel.resize(380, 700)
        self.panel.show()

    def filter(self, text: str) -> None:
        """List what a text finds, as the timer of the search box does."""
        self.panel.search.setText(text)
        self.panel._list_again()

    def sort(self, descending: bool) -> None:
        """Sort by PCC."""
        from napari_cmrcnet.viewer.gene_list import Column

        self.panel.model.sort(Column.PCC, order(descending))

    def listed(self) -> list[str]:
        """Return the listed genes."""
        return list(self.panel.model.genes.listed)

    def correlations(self) -> np.ndarray:
        """Return the correlations that are defined, in the order of the list."""
        pcc = self.panel.model.genes.pcc[self.panel.model.genes.rows]
        return pcc[~np.isnan(pcc)]

    def close(self) -> None:
        """Let go of it."""
        self.panel.close()
        self.panel.deleteLater()


class Plain:
    """Qt's own models, filled with the same text."""

    def __init__(self, genes: Any) -> None:
        from qtpy.QtCore import QSortFilterProxyModel, Qt
        from qtpy.QtGui import QStandardItem, QStandardItemModel
        from qtpy.QtWidgets import QTableView

        self.model = QStandardItemModel(len(genes), len(COLUMNS))
        for gene in range(len(genes)):
            numbers = (genes.pcc[gene], genes.low[gene], genes.measured[gene], genes.predicted[gene])
            texts = (
                genes.names.symbols[gene],
                *(f"{number:.2f}" for number in numbers),
                ", ".join(genes.sets_of(gene)),
            )
            for column, text in enumerate(texts):
                self.model.setItem(gene, column, QStandardItem(text))
            defined = float(np.nan_to_num(genes.pcc[gene], nan=UNDEFINED))
            self.model.item(gene, COLUMNS.index("pcc")).setData(defined, Qt.ItemDataRole.UserRole)
        self.proxy = QSortFilterProxyModel()
        self.proxy.setSourceModel(self.model)
        self.proxy.setFilterCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.proxy.setSortRole(Qt.ItemDataRole.UserRole)
        self.table = QTableView()
        self.table.setModel(self.proxy)
        self.table.resize(380, 700)
        self.table.show()

    def filter(self, text: str) -> None:
        """List what a text finds in the symbols."""
        self.proxy.setFilterFixedString(text)

    def sort(self, descending: bool) -> None:
        """Sort by PCC."""
        self.proxy.sort(COLUMNS.index("pcc"), order(descending))

    def listed(self) -> list[str]:
        """Return the listed genes."""
        return [self.proxy.index(row, 0).data() for row in range(self.proxy.rowCount())]

    def correlations(self) -> np.ndarray:
        """Return the correlations that are defined, in the order of the list."""
        from qtpy.QtCore import Qt

        column, role = COLUMNS.index("pcc"), Qt.ItemDataRole.UserRole
        pcc = np.array([self.proxy.index(row, column).data(role) for row in range(self.proxy.rowCount())])
        return pcc[pcc != UNDEFINED]

    def close(self) -> None:
        """Let go of it."""
        self.table.close()
        self.table.deleteLater()


def order(descending: bool) -> Any:
    """Return Qt's word for it."""
    from qtpy.QtCore import Qt

    return Qt.SortOrder.DescendingOrder if descending else Qt.SortOrder.AscendingOrder


def painted(act: Callable[[int], Any]) -> Callable[[int], Any]:
    """Return a way that ends when what it changed is drawn."""
    from qtpy.QtWidgets import QApplication

    def acted(turn: int) -> Any:
        result = act(turn)
        for _ in range(3):
            QApplication.processEvents()
        return result

    return acted


def ways(act: Callable[[Any, int], None], ours: Ours, plain: Plain) -> dict[str, Callable[[int], Any]]:
    """Return the two ways to do something with a list, which return the list."""
    both = {"ours": ours, QT: plain}
    return {name: painted(lambda turn, one=one: (act(one, turn), one)[1]) for name, one in both.items()}


def opened(ours: Ours, plain: Plain) -> None:
    """Check that both list all genes, and close them."""
    assert sorted(ours.listed()) == sorted(plain.listed())
    for one in (ours, plain):
        one.close()


def found(ours: Ours, plain: Plain) -> None:
    """Check that we find each gene that Qt finds by its symbol."""
    assert set(plain.listed()) <= set(ours.listed())


def in_order(ours: Ours, plain: Plain) -> None:
    """Check that both have the same order."""
    np.testing.assert_array_equal(ours.correlations(), plain.correlations())


def rows(small: bool) -> Iterator[Row]:
    """Open, filter and sort both in turn."""
    if no_window("gene_list"):
        return
    from napari.components import ViewerModel
    from qtpy.QtWidgets import QApplication

    from napari_cmrcnet.viewer.gene_list import GeneList
    from napari_cmrcnet.viewer.registry import layers_of
    from napari_cmrcnet.viewer.reopen import make_ready

    app = QApplication.instance() or QApplication([])  # noqa: F841 - kept alive
    n = 500 if small else 36_000
    names = (*KNOWN, *(f"GENE{i}" for i in range(n - len(KNOWN))))
    bank = random_bank(500, n, names, tuple(f"ENSG{i:011}" for i in range(n)))
    prediction, scores = random_prediction(bank, 200, 50), random_scores(names, 200)
    make_ready(prediction)
    viewer = ViewerModel()
    layers = layers_of(viewer)
    layers.session.look_at(prediction, scores=scores)
    what, sizes = f"list of {n:,} genes", {"genes": n}
    genes = GeneList(prediction, scores)
    making = {"ours": painted(lambda _: Ours(viewer)), QT: painted(lambda _: Plain(genes))}
    taken = interleave(making, 1 if small else 2, same=opened)
    yield taken.milliseconds(f"{what}: opened", "ours", goal=at_most(300), sizes=sizes)
    yield taken.faster(f"{what}: opened", "ours", than=QT, sizes=sizes)
    ours, plain = Ours(viewer), Plain(genes)
    letters = ways(lambda one, turn: one.filter(TYPED[turn % len(TYPED)]), ours, plain)
    taken = interleave(letters, (1 if small else 3) * len(TYPED), same=found)
    figure = 1e3 * max(taken.ways["ours"].cpu)
    note = "by the processor's time; Qt's looks for symbols only, ours for aliases and Ensembl ids, too"
    longest = f"{what}: filtered by a text, the longest of {len(taken.ways['ours'].cpu)} keystrokes"
    yield Row(longest, QT, figure, "ms", goal=at_most(50), sizes=sizes, times=taken.ways, note=note)
    sorting = ways(lambda one, turn: one.sort(turn % 2 == 0), ours, plain)
    taken = interleave(sorting, 1 if small else 4, same=in_order)
    yield taken.faster(f"{what}: sorted by PCC", "ours", than=QT, sizes=sizes)
    for one in (ours, plain):
        one.close()


if __name__ == "__main__":
    main(rows)
