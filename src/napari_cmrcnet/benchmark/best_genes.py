"""Table 3: the genes that each method predicts best."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

import pandas as pd

from napari_cmrcnet.benchmark.collected import Collected, Label
from napari_cmrcnet.benchmark.paper import paper_genes
from napari_cmrcnet.common.text import markdown_table, markdown_text

if TYPE_CHECKING:
    from napari_cmrcnet.benchmark.dataset import Dataset

TOP = 5  # as in the paper
PUBLISHED = "paper, CMRCNet-50"


def gene_table(dataset: "Dataset", found: Collected, labels: Sequence[Label]) -> pd.DataFrame:
    """Return the best predicted genes of each method, and the paper's where it has some for the dataset.

    Returns
    -------
    DataFrame
        A line per ``method`` and ``rank``, with ``gene`` and ``pcc``.
    """
    columns = {label.text: best_genes(mean_pcc_by_gene(found, label)) for label in labels}
    columns[PUBLISHED] = pd.Series(paper_genes(dataset.paper), dtype=float)
    lines = [(name, rank, *one) for name, of in columns.items() for rank, one in enumerate(of.items(), start=1)]
    return pd.DataFrame(lines, columns=["method", "rank", "gene", "pcc"])


def mean_pcc_by_gene(found: Collected, label: Label) -> "pd.Series[float]":
    """Return the mean PCC over test sections and seeds of the genes that have one in all of them."""
    runs = [found.output(label, seed, name) for name in found.sections for seed in found.seeds]
    return pd.concat([one.table["pcc"] for one in runs], axis=1).mean(axis=1, skipna=False).dropna()


def best_genes(means: "pd.Series[float]", n: int = TOP) -> "pd.Series[float]":
    """Return the n genes of the highest mean PCC, the best first; equal ones in the order of their names."""
    return means.sort_index().sort_values(ascending=False, kind="stable").head(n)


def markdown(table: pd.DataFrame, title: str) -> str:
    """Return the table as Markdown; genes that several methods share are bold."""
    genes = table["gene"].map(markdown_text)
    genes = genes.mask(table["gene"].duplicated(keep=False), "**" + genes + "**")
    cells = (genes + table["pcc"].map(" {:.3f}".format)).groupby(table["method"], sort=False).agg(list)
    text = markdown_table(list(map(markdown_text, cells.index)), zip_longest(*cells, fillvalue=""))
    said = "Genes in bold are in several columns."
    if PUBLISHED in cells.index:
        said += " The paper's Table 3 has STNet, HisToGene and BLEEP, too: these columns are not stored here."
    return "\n".join([f"### {markdown_text(title)}", "", text, said, ""])
