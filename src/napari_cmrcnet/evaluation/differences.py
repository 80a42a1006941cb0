"""Which genes differ between two groups of spots, such as tumour and stroma, measured and predicted."""

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job, Progress, in_thread
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.common.threads import openmp_kept

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 3
"""Spots that a group must have."""
NOT_INDEPENDENT = (
    "Spots of a section are not independent: neighbours are alike, and predicted spots share training spots. So "
    "p-values are far too small. Use them to sort genes, not as proof; proof needs several patients."
)
PREDICTED_ALIKE = (
    "Predicted spots are not independent: they share training spots, so genes look more alike than they are."
)
_BLOCK = 512  # genes at a time, so that Cancel is heard


def difference_job(
    values: Callable[[slice], npt.ArrayLike],
    genes: Sequence[str],
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    kind: str,
) -> Job["pd.DataFrame"]:
    """Compare genes between two groups of spots by Wilcoxon's rank-sum test, through scanpy.

    Parameters
    ----------
    values : callable
        Returns log-normalised expression (n, genes) of a range of genes. NaN where a gene has none.
    genes : sequence of str
        Their names.
    first, second : bool (n,)
        The groups, without a spot in common.
    kind : str
        What the values are, such as ``"measured"``, for the progress.

    Returns
    -------
    DataFrame, one row per gene that has values
        ``mean_first`` and ``mean_second``, of the groups; ``log2_fold_change`` (of counts, as scanpy has it); ``z``,
        above 0 where the first group is higher, corrected for ties, by whose size the rows are sorted; ``p_adjusted``,
        by Benjamini and Hochberg.

    Raises
    ------
    UserError
        If a group has fewer than 3 spots, or the groups have spots in common.
    """
    import pandas as pd
    from scipy.stats import false_discovery_control

    one, other = np.asarray(first, bool), np.asarray(second, bool)
    if (one & other).any():
        n = int((one & other).sum())
        raise UserError(f"{count_text(n, 'spot')} in both groups; choose groups that do not overlap.")
    for group in (one, other):
        if group.sum() < FEWEST:
            raise UserError(
                f"A group has {count_text(int(group.sum()), 'spot')}; at least {FEWEST} are needed to compare."
            )
    rows = one | other
    table = np.full((len(genes), 5), np.nan)
    for start in range(0, len(genes), _BLOCK):
        part = slice(start, min(start + _BLOCK, len(genes)))
        block = np.asarray(values(part), np.float32)[rows]
        step = Progress(f"Comparing {kind} genes", start, len(genes), "genes")
        table[part] = yield from in_thread(lambda block=block: _tested(block, one[rows]), step)  # type: ignore[misc]
    columns = ["mean_first", "mean_second", "log2_fold_change", "z", "p_adjusted"]
    found = pd.DataFrame(table, pd.Index(genes, name="gene"), columns).dropna(subset="z")
    found["p_adjusted"] = false_discovery_control(found["p_adjusted"])
    return found.iloc[np.argsort(-found["z"].abs().to_numpy(), kind="stable")]


def _tested(block: npt.NDArray[np.float32], one: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return means of both groups, log2 fold change, z and p of each gene, (g, 5); NaN where it has no values."""
    import pandas as pd
    import scanpy
    from anndata import AnnData

    known = np.isfinite(block).all(axis=0)
    found = np.full((block.shape[1], 5), np.nan)
    if not known.any():
        return found
    table = AnnData(block[:, known], {"group": pd.Categorical(np.where(one, "first", "second"))})
    table.uns["log1p"] = {"base": None}
    with warnings.catch_warnings(), openmp_kept():
        warnings.simplefilter("ignore")  # genes that are the same at every spot
        scanpy.tl.rank_genes_groups(
            table,
            "group",
            groups=["first"],
            reference="second",
            method="wilcoxon",
            tie_correct=True,
        )
    ranked = scanpy.get.rank_genes_groups_df(table, "first").set_index("names").loc[table.var_names]
    means = np.stack([block[group][:, known].mean(axis=0, dtype=np.float64) for group in (one, ~one)], axis=1)
    tests = ranked[["logfoldchanges", "scores", "pvals"]].to_numpy(np.float64)
    constant = block[:, known].max(axis=0) == block[:, known].min(axis=0)
    tests[constant] = (0.0, 0.0, 1.0)  # no difference at all
    found[known] = np.column_stack([means, tests])
    return found
