"""What is remembered of how a case was looked at, as JSON, and what is shown of it when it is opened."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cmrcnet.evaluation.gene_trust import most_trusted
from napari_cmrcnet.evaluation.shown import Shown, gene_shown, panel_shown
from napari_cmrcnet.sections.geojson import as_geojson
from napari_cmrcnet.viewer.display_settings import VIEWS, View

if TYPE_CHECKING:
    from napari_cmrcnet.evaluation.scores import Scores
    from napari_cmrcnet.retrieval.case import Case
    from napari_cmrcnet.sections.panels import Panel
    from napari_cmrcnet.viewer.session import Session


def record_of(session: "Session") -> dict[str, Any]:
    """Return how the case is drawn, what of it is shown, its regions as GeoJSON, and the ticked genes."""
    shown = {} if session.shown is None else {"shown": session.shown.name, "kind": session.shown.kind}
    kept = {"ticked": list(session.ticked), "regions": as_geojson(session.regions)}
    return session.display.to_dict() | shown | kept


def carried_on(session: "Session", case: "Case | None") -> dict[str, Any]:
    """Return what of the case that is shown goes on in another of its section.

    Of one with markers that is its gene only if it was chosen: not the one that the case was opened with.
    """
    record, before = record_of(session), session.case
    if case is not None and case.panel is not None and before is not None and record.get("shown") == first_gene(before):
        del record["shown"]
    return record


def ticked_of(record: Mapping[str, Any], otherwise: tuple[str, ...]) -> tuple[str, ...]:
    """Return the ticked genes of a record; others where it has none."""
    ticked = record.get("ticked")
    return tuple(ticked) if isinstance(ticked, list) and all(isinstance(gene, str) for gene in ticked) else otherwise


def views_of(shown: Shown, case: "Case | None", classes: bool) -> tuple[View, ...]:
    """Return the views of which there is something to see, in the order of `VIEWS`; of the spots' classes if any."""
    prediction = None if case is None else case.prediction
    there = {
        "measured": shown.measured is not None,
        "predicted": shown.predicted is not None,
        "difference": shown.scored,
        "local PCC": shown.scored and bool(case and case.provenance.mpp),
        "confidence": prediction is not None and not prediction.provenance.external,
        "classes": classes,
    }
    return tuple(view for view in VIEWS if there[view])


def first_shown(
    case: "Case", panels: "Mapping[str, Panel]", scores: "Scores | None", remembered: Mapping[str, Any]
) -> Shown | None:
    """Return what a case remembers, else the marker, or if it has none the gene, that is expected to be predicted best.

    Where nothing is expected, it is the gene of the highest mean of a section that is only measured, and else the first
    gene; None where the case has no gene.
    """
    shown, kind = remembered.get("shown"), remembered.get("kind")
    if kind == "panel" and isinstance(shown, str) and shown in panels:
        return panel_shown(case, panels[shown])
    gene = first_gene(case, shown)
    return None if gene is None else gene_shown(case, gene, scores)


def first_gene(case: "Case", asked: Any = None) -> str | None:
    """Return the gene that is asked for if the case has it, else the one that it is opened with; None without genes."""
    if isinstance(asked, str) and case.all_names.column(asked) is not None:
        return asked
    markers = case.panel.genes if case.panel is not None else ()
    known = [gene for gene in markers if case.all_names.column(gene) is not None]
    if known:
        return most_trusted(case, known)
    return case.genes[_most_telling(case)] if case.genes else None


def _most_telling(case: "Case") -> int:
    if case.prediction is None:
        return int(case.measured_means().argmax())
    expected = case.prediction.expected
    return 0 if expected is None else int(np.nan_to_num(expected[:, 0], nan=-1).argmax())
