"""The training spots behind a value as a table, sorted by any column."""

from typing import TYPE_CHECKING

from napari_cmrcnet.widgets.frame_table import FrameModel

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.evidence import Evidence

TITLES = {
    "rank": ("#", "Rank by similarity: 1 is the most similar.", "d"),
    "expression": ("Expression", "Measured expression of the training spot, log-normalised.", ".2f"),
    "similarity": ("Similarity", "Cosine similarity of its genes and the patch of the chosen spot; at most 1.", ".3f"),
    "weight": ("Weight", "Weight in the predicted value. All weights add up to 100 %.", ".2%"),
    "section": ("Section", "Section of the training spot.", ""),
    "patient": ("Patient", "Patient of that section.", ""),
    "x": ("x", "Position on its slide, in full-resolution pixels.", ",.0f"),
    "y": ("y", "Position on its slide, in full-resolution pixels.", ",.0f"),
}


def show_neighbours(model: FrameModel, evidence: "Evidence", gene: str) -> None:
    """Show the neighbours of a spot in the order that was asked for last, the gene over their expression."""
    _, tip, text = TITLES["expression"]
    model.titles = {**TITLES, "expression": (gene, tip, text)}
    table = evidence.table[list(TITLES)[1:]].astype({"section": str, "patient": str})
    model.show(table.replace({"patient": {"": "not known"}}))
