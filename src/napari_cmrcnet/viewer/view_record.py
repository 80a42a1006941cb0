"""What is remembered of how a case was looked at, as JSON: what a saved prediction and a project keep of it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.json_entries import read_entry
from napari_cmrcnet.sections.geojson import as_geojson
from napari_cmrcnet.viewer.first_shown import first_gene

if TYPE_CHECKING:
    from napari_cmrcnet.retrieval.case import Case
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
    try:
        return tuple(read_entry(record, "ticked", tuple[str, ...])) if "ticked" in record else otherwise
    except UserError:
        return otherwise
