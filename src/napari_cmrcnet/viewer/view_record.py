"""What is remembered of how a case was looked at, as JSON: what a saved prediction and a project keep of it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.json_entries import read_entry

if TYPE_CHECKING:
    from napari_cmrcnet.viewer.session import Session


def record_of(session: "Session") -> dict[str, Any]:
    """Return how the case is drawn, what of it is shown, its regions as GeoJSON, and the ticked genes."""
    from napari_cmrcnet.sections.geojson import as_geojson

    shown = {} if session.shown is None else {"shown": session.shown.name, "kind": session.shown.kind}
    kept = {"ticked": list(session.ticked), "regions": as_geojson(session.regions)}
    return session.display.to_dict() | shown | kept


def ticked_of(record: Mapping[str, Any], otherwise: tuple[str, ...]) -> tuple[str, ...]:
    """Return the ticked genes of a record; others where it has none."""
    try:
        return tuple(read_entry(record, "ticked", tuple[str, ...])) if "ticked" in record else otherwise
    except UserError:
        return otherwise
