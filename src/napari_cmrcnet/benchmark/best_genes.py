"""Table 3: the genes that each method predicts best."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

import pandas as pd

from napari_cmrcnet.benchmark.collected import Collected, Label
from napari_cmrcnet.benchmark.paper import paper_genes
from napari_cmrcnet.common.text import markdown_table, markdown_text

if TYPE_CHECKING:
    from napari_cmrcnet.benchmark.dataset import Dataset

GeneColumns = Mapping[str, Sequence[tuple[str, float]]]
TOP = 5  # as in the paper
PUBLISHED = "paper, CMRCNet-50"


def title_of(dataset: "Dataset", found: Collected) -> str:
    """Return what stands above Table 3."""
    return f"Table 3. Genes predicted best, mean PCC over {len(found.sections)} sections, {dataset.name}"


def gene_columns(dataset: "Dataset", found: Collected, labels: Sequence[Label]) -> GeneColumns:
    """Return the best predicted genes of each method, and the paper's where it has some for the dataset."""
    columns = {label.text: best_genes(mean_pcc_by_gene(found, label)) for label in labels}
    columns = {method: genes for method, genes in columns.items() if genes}
    if published := paper_genes(dataset.paper):
        columns[PUBLISHED] = published
    return columns


def mean_pcc_by_gene(found: Collected, label: Label) -> dict[str, float]:
    """Return the mean PCC over test sections and seeds of the genes that have one in all of them."""
    runs = [found.output(label, fold, seed, name) for fold, name in found.sections for seed in found.seeds]
    means = pd.concat([one.table["pcc"] for one in runs], axis=1).mean(axis=1, skipna=False).dropna()
    return {str(gene): float(mean) for gene, mean in means.items()}


def best_genes(means: Mapping[str, float], n: int = TOP) -> list[tuple[str, float]]:
    """Return the n genes of the highest mean PCC, the best first."""
    return sorted(means.items(), key=lambda item: (-item[1], item[0]))[:n]


def lines(columns: GeneColumns) -> pd.DataFrame:
    """Return the table with one line per method and rank."""
    found = [(method, rank, *of) for method, genes in columns.items() for rank, of in enumerate(genes, start=1)]
    return pd.DataFrame(found, columns=["method", "rank", "gene", "pcc"])


def markdown(columns: GeneColumns, title: str) -> str:
    """Return the table as Markdown; genes that several columns share are bold."""
    names = [gene for genes in columns.values() for gene, _ in genes]

    def cell(gene: str, value: float) -> str:
        shown = f"**{markdown_text(gene)}**" if names.count(gene) > 1 else markdown_text(gene)
        return f"{shown} {value:.3f}"

    cells = [[cell(gene, value) for gene, value in genes] for genes in columns.values()]
    table = markdown_table(list(map(markdown_text, columns)), zip_longest(*cells, fillvalue=""))
    said = "Genes in bold are in several columns."
    if PUBLISHED in columns:
        said += " The paper's Table 3 has STNet, HisToGene and BLEEP, too: these columns are not stored here."
    return "\n".join([f"### {markdown_text(title)}", "", table, said, ""])
