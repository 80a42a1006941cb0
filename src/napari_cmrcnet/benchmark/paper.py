"""The paper's figures, to stand beside one's own."""

import json
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def _paper() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(files(__package__).joinpath("paper_tables.json").read_text("utf-8"))
    return content


def source() -> str:
    """Return where the figures are from."""
    return str(_paper()["source"])


def paper_values(dataset: str, table: str, method: str) -> dict[str, float]:
    """Return what the paper says of a method on a dataset, by column; empty where it says nothing.

    Parameters
    ----------
    dataset : str
        As the paper calls it; ``""`` is none of its.
    table : {"table1", "table2", "table4"}
        Which table.
    method : str
        ``"bleep"``; CMRCNet with its k, ``"cmrcnet-50"``, but in Table 2.
    """
    values = _paper()["datasets"].get(dataset, {}).get(table, {}).get(method, ())
    columns = _paper()["table2_columns" if table == "table2" else "table1_columns"]
    return dict(zip(columns, values, strict=False))


def paper_ablation() -> list[dict[str, Any]]:
    """Return the rows of the paper's Table 5: ``loss``, ``mask``, ``target``, and the means over its six datasets."""
    return [row | dict(zip(_paper()["table1_columns"], row["values"], strict=True)) for row in _paper()["table5"]]


def paper_genes(dataset: str) -> dict[str, float]:
    """Return the PCC of the genes that CMRCNet-50 predicts best by the paper's Table 3, the best first."""
    return dict(_paper()["datasets"].get(dataset, {}).get("table3", ()))
