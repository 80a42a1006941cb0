"""Trust in many genes, for lists and tables: values are looked at of those genes only of which they may change it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_cmrcnet.evaluation.colour_limits import hardly_varies, vary
from napari_cmrcnet.retrieval.trust import AT_BEST_GOOD, AT_BEST_WEAK, TRUSTS, Trust, trust_levels, trust_of

if TYPE_CHECKING:
    import pandas as pd

    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.retrieval.prediction import Prediction

SPOTS_LOOKED_AT = 1024
"""Spots, evenly among all, by which a listed gene is told to vary; all count when it is shown."""
_FEW = 64  # genes whose values are looked at together


def most_trusted(case: "Case", genes: Sequence[str]) -> str:
    """Return the gene of the highest expected PCC, the first of equals; what was measured on the slide says nothing."""
    known = None if case.prediction is None else case.prediction.expected

    def expected(gene: str) -> float:
        column = case.names.column(gene)
        return -1.0 if known is None or column is None else float(np.nan_to_num(known[column, 0], nan=-1))

    return max(genes, key=expected)


def listed_trust(prediction: "Prediction", gene: str, pcc: float, low: float) -> Trust:
    """Return `trust_of` a gene in a list, quickly."""
    trust = trust_of(prediction, gene, pcc, low)
    if trust.word != TRUSTS[0]:
        return trust
    some = slice(None, None, max(1, -(-len(prediction) // SPOTS_LOOKED_AT)))
    return trust_of(prediction, gene, pcc, low, flat=hardly_varies(prediction.expression([gene], some)))


def trust_words(prediction: "Prediction", table: "pd.DataFrame") -> list[str]:
    """Say how far each gene of a table with ``pcc`` and ``low`` can be trusted, as `trust_of` does one by one."""
    columns = prediction.names.columns(list(table.index), "The prediction")
    pcc, low = np.full((2, len(prediction.genes)), np.nan)
    pcc[columns], low[columns] = table["pcc"], table["low"]
    levels = trust_levels(prediction, pcc, low)[columns]
    good = np.flatnonzero(levels == AT_BEST_GOOD)
    for start in range(0, len(good), _FEW):
        some = good[start : start + _FEW]
        values = prediction.expression([str(gene) for gene in table.index[some]])
        levels[some[~vary(values)]] = AT_BEST_WEAK
    return [TRUSTS[level] if level >= AT_BEST_GOOD else "" for level in levels]
