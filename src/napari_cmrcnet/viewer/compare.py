"""Genes that are like the shown one, and genes that differ between groups of spots. Free of Qt."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.progress import Job
from napari_cmrcnet.evaluation.colour_limits import vary
from napari_cmrcnet.evaluation.differences import difference_job
from napari_cmrcnet.evaluation.gene_correlation import similarity_job
from napari_cmrcnet.evaluation.region_scores import annotations
from napari_cmrcnet.evaluation.shown import Kind

if TYPE_CHECKING:
    import pandas as pd

    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.viewer.session import Session

Bools = npt.NDArray[np.bool_]

OTHERS = "all other spots"
SELECTED = "selected spots"


def spot_groups(session: "Session") -> "dict[str, Bools]":
    """Return the groups that spots can be compared in: regions, classes of the spots' file, and selected spots."""
    case = session.case
    if case is None:
        return {}
    known = annotations(case, session.regions)
    found = {f"{source}: {name}": spots for source, classes in known.items() for name, spots in classes.items()}
    if len(session.selected):
        found[SELECTED] = np.isin(np.arange(len(case)), session.selected)
    return found


def similar_job(session: "Session", kind: Kind) -> Job["pd.DataFrame"]:
    """Correlate the shown gene, or panel score, with every gene over the spots.

    Parameters
    ----------
    session : Session
        What is shown.
    kind : "predicted" or "measured"
        Whose pattern.

    Returns
    -------
    DataFrame, one row per gene
        ``correlation``, Pearson's over all spots, the highest first. Left out are genes that are the same everywhere,
        and predictions that hardly vary.

    Raises
    ------
    UserError
        If nothing is shown.
    """
    import pandas as pd

    case, shown = session.case, session.shown
    if case is None or shown is None:
        raise UserError("No gene is shown yet. Choose one in the Genes panel.")
    genes, values = _values(case, kind)
    found = yield from similarity_job(shown.values(kind), values, len(genes))
    table = pd.DataFrame({"correlation": found}, index=pd.Index(genes, name="gene"))
    alike = table.drop(index=shown.name, errors="ignore").dropna()
    return alike.sort_values("correlation", ascending=False, kind="stable")


def between_job(session: "Session", kind: Kind, first: str, second: str) -> Job["pd.DataFrame"]:
    """Compare all genes between two groups of spots, see `difference_job`.

    Parameters
    ----------
    session : Session
        What is shown.
    kind : "predicted" or "measured"
        Whose values.
    first, second : str
        Of `spot_groups`; the second may be `OTHERS`.

    Returns
    -------
    DataFrame, one row per gene
        The largest difference first, without predictions that hardly vary.

    Raises
    ------
    UserError
        If a group is not there, too small, or not apart from the other.
    """
    case, groups = session.case, spot_groups(session)
    if case is None or first not in groups:
        raise UserError("There are no groups of spots yet. Draw regions, select spots, or use spots with classes.")
    one = groups[first]
    other = ~one if second == OTHERS else groups[second]
    genes, values = _values(case, kind)
    return (yield from difference_job(values, genes, one, other, kind))


def kinds_of(session: "Session") -> tuple[Kind, ...]:
    """Return which values the shown gene has."""
    shown = session.shown
    return () if shown is None else tuple(kind for kind in get_args(Kind) if kind in shown.maps)


def _values(case: "Case", kind: Kind) -> tuple[tuple[str, ...], Callable[[slice], Any]]:
    """Return the genes that have values of a kind, and what returns those of a range of them.

    A prediction that hardly varies is NaN: its small differences are as clear-cut as others, and would come first.
    """
    genes = case.measured_genes if kind == "measured" else case.genes

    def of(part: slice) -> Any:
        if kind == "measured":
            return case.measured(genes[part])
        assert case.prediction is not None
        predicted = case.prediction.expression(genes[part])
        predicted[:, ~vary(predicted)] = np.nan
        return predicted

    return genes, of
