"""Genes and the score of a panel over several sections: by section, class of spots, and patient."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.evaluation.annotations import annotations
from napari_cmrcnet.evaluation.localise import otsu
from napari_cmrcnet.evaluation.panel_score import panel_score
from napari_cmrcnet.evaluation.scores import counted_spots
from napari_cmrcnet.sections.score_filter import one_pcc

if TYPE_CHECKING:
    import pandas as pd

    from napari_cmrcnet.retrieval.prediction import Prediction
    from napari_cmrcnet.sections.panels import Panel

Float32 = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

KINDS = ("predicted", "measured")
ALL = "all spots"


def cohort_table(
    predictions: "Sequence[Prediction]", genes: Sequence[str], panel: "Panel | None" = None
) -> "pd.DataFrame":
    """Return means, spread, shares above a threshold, and PCC, of genes and the score of a panel.

    Parameters
    ----------
    predictions : sequence of Prediction
        Of one section each.
    genes : sequence of str
        Symbols or Ensembl ids; a section that lacks one has no rows of it.
    panel : Panel, optional
        Whose score is looked at, too. Its z-scores are those within a section: sections differ in its spread, not
        in its mean.

    Returns
    -------
    DataFrame
        A row for each gene or panel, group, and class of spots. ``level`` is ``"section"`` or ``"patient"``; a
        patient's row is the mean over its sections, each counting alike, with the number of ``sections``. ``source``
        and ``class`` are of `annotations`, or "" and "all spots". ``spots``; then for predicted and measured
        ``KIND_mean``, ``KIND_sd``, ``KIND_share_above``, the share above ``KIND_threshold``, which is Otsu's over the
        spots of all sections, of measured values those with enough counts; ``pcc``, over the spots that count. NaN
        where there is none.
    """
    import pandas as pd

    names = [*genes, *([panel.name] if panel is not None else [])]
    rows: list[dict[str, object]] = []
    for name in names:
        values = [
            _values(prediction, name, panel if panel and name == panel.name else None) for prediction in predictions
        ]
        limits = {kind: _threshold(predictions, values, kind) for kind in KINDS}
        is_gene = panel is None or name != panel.name
        for prediction, known in zip(predictions, values, strict=True):
            rows += _rows(prediction, name, known, limits, is_gene) if known else ()
    table = pd.DataFrame(rows)
    return table if table.empty else pd.concat([table, _by_patient(table)], ignore_index=True)


def _values(prediction: "Prediction", name: str, panel: "Panel | None") -> dict[str, Float32]:
    """Return the predicted and measured values of a gene or a panel, as far as a section has them."""
    if panel is not None:
        try:
            score = panel_score(prediction, panel)
        except UserError:
            return {}
        return {"predicted": score.predicted} | ({} if score.measured is None else {"measured": score.measured})
    column = prediction.names.column(name)
    if column is None:
        return {}
    symbol = prediction.genes[column]
    truth = prediction.measured([symbol]) if symbol in prediction.measured_set else None
    return {"predicted": prediction.gene(symbol)} | ({} if truth is None else {"measured": truth[:, 0]})


def _threshold(predictions: "Sequence[Prediction]", values: Sequence[Mapping[str, Float32]], kind: str) -> float:
    """Return Otsu's threshold over all sections; of measured values, over the spots with enough counts."""
    found = []
    for prediction, known in zip(predictions, values, strict=True):
        if kind in known:
            found.append(known[kind][counted_spots(prediction)] if kind == "measured" else known[kind])
    try:
        return otsu(np.concatenate(found)) if found else float("nan")
    except UserError:
        return float("nan")


def _rows(
    prediction: "Prediction", name: str, values: Mapping[str, Float32], limits: Mapping[str, float], is_gene: bool
) -> Iterator[dict[str, object]]:
    counted = counted_spots(prediction)
    known = annotations(prediction.spots.obs, prediction.xy)
    groups = [("", ALL, np.ones(len(prediction), bool))]
    groups += [(source, name, spots) for source, classes in known.items() for name, spots in classes.items()]
    for source, of, spots in groups:
        row: dict[str, object] = {
            "gene": name,
            "level": "section",
            "patient": prediction.provenance.patient,
            "section": prediction.name,
            "sections": 1,
            "source": source,
            "class": of,
            "spots": int(spots.sum()),
        }
        for kind in KINDS:
            here = values[kind][spots].astype(np.float64) if kind in values else np.empty(0)
            row[f"{kind}_mean"] = here.mean() if here.size else np.nan
            row[f"{kind}_sd"] = here.std(ddof=1) if here.size > 1 else np.nan
            known_share = here.size and np.isfinite(limits[kind])
            row[f"{kind}_share_above"] = (here > limits[kind]).mean() if known_share else np.nan
            row[f"{kind}_threshold"] = limits[kind]
        row["pcc"], _ = one_pcc(values.get("measured"), values["predicted"], counted & spots, gene=is_gene)
        yield row


def _by_patient(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return the means over each patient's sections; sections whose patient is not known stand for none."""
    known = table[table["patient"] != ""]
    numbers = [column for column in table.columns if column.endswith(("_mean", "_sd", "_share_above", "_threshold"))]
    found = known.groupby(["gene", "patient", "source", "class"], sort=False)
    means = found[[*numbers, "pcc"]].mean()
    means["sections"], means["spots"] = found.size(), found["spots"].sum()
    return means.reset_index().assign(level="patient", section="")[list(table.columns)]
