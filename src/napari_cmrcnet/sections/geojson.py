"""Regions exchanged with QuPath as GeoJSON."""

import gzip
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon, mapping

from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.common.files import write_content
from napari_cmrcnet.common.progress import Job, Progress, to_the_end
from napari_cmrcnet.common.text import count_text, open_packed, parse_json
from napari_cmrcnet.sections.regions import RGB, Region, polygonal, with_names

# A million corners, each number on a line of its own; more is an export of cells. What is nested within so many bytes
# would take gigabytes, so that lists and entries are counted before they are made.
MAX_BYTES, MAX_ENTRIES = 96 * 2**20, 1_500_000
MAX_REGIONS = 2000
MAX_PX = 1e7  # no slide is so large
# Repairing an outline takes a time that grows with how often its edges cross: about a second for so many pairs of edges
# whose boxes overlap. Hand-drawn outlines have a few a corner.
MAX_CROSSINGS, CROSSINGS_A_CORNER = 200_000, 16
PAIRS_AT_ONCE = 1_000_000


def reading_geojson(path: str | os.PathLike[str], notes: list[str] | None = None) -> Job[tuple[Region, ...]]:
    """Read the outlines of a GeoJSON file as QuPath exports it.

    Format: a FeatureCollection, an array of Features or geometries, or a single one, plain or gzipped; annotations
    and detections alike (https://qupath.readthedocs.io/en/stable/docs/advanced/exporting_annotations.html).

    Parameters
    ----------
    path : path
        The file.
    notes : list of str, optional
        Gets a sentence on what was left out, and one on what was repaired.

    Returns
    -------
    tuple of Region
        Each with a name.

    Raises
    ------
    UserError
        If the file cannot be read, is no GeoJSON, is damaged, holds no outline or too many, or one that crosses itself
        too often to be repaired in a second or two.
    """
    path = Path(path)
    try:
        yield Progress("Reading regions", 0, 0, "regions")
        features = list(_features(parse_json(_read(path))))
        if len(features) > MAX_REGIONS:
            raise UserError(
                f"{path} holds {len(features):,} objects, which are cells rather than regions; export only the "
                "annotations from QuPath."
            )
        regions, repaired = [], 0
        for number, feature in enumerate(features, start=1):
            yield Progress("Reading regions", number - 1, len(features), "regions")
            geometry, valid = _geometry(feature.get("geometry"), f"{path}, object {number}")
            if not geometry.is_empty:
                regions.append(_region(geometry, feature.get("properties")))
                repaired += not valid
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply for GeoJSON; export it again from QuPath.") from error
    except ValueError as error:  # not JSON, or not text
        raise UserError(f"{path} is not GeoJSON ({error}); export it again from QuPath.") from error
    if not regions:
        raise UserError(f"{path} holds no outline with an area; export annotations from QuPath as GeoJSON.")
    if notes is not None:
        skipped = len(features) - len(regions)
        if skipped:
            notes.append(f"Left out {count_text(skipped, 'object', len(features))}: no area (points or lines).")
        if repaired:
            notes.append(f"Repaired {count_text(repaired, 'outline')} with crossings.")
    return with_names(regions)


read_geojson = to_the_end(reading_geojson)


def write_geojson(path: str | os.PathLike[str], regions: Iterable[Region]) -> None:
    """Write regions as annotations that QuPath opens; gzipped where the name ends in ``.gz``.

    Parameters
    ----------
    path : path
        The file.
    regions : iterable of Region
        Those without an area are left out.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    data = json.dumps(as_geojson(regions), ensure_ascii=False, allow_nan=False).encode("utf-8")
    write_content(path, gzip.compress(data) if Path(path).suffix.casefold() == ".gz" else data)


def as_geojson(regions: Iterable[Region]) -> dict[str, Any]:
    """Return regions as a FeatureCollection; those without an area are left out."""
    features = [_feature(region) for region in regions if not region.geometry.is_empty]
    return {"type": "FeatureCollection", "features": features}


def regions_in(content: Any, where: str) -> tuple[Region, ...]:
    """Return the regions that `as_geojson` gave, read from JSON that may have been changed.

    Parameters
    ----------
    content : Any
        What JSON holds there.
    where : str
        Where it stands, the beginning of a message.

    Raises
    ------
    UserError
        If they are damaged, or more than `MAX_REGIONS`.
    """
    try:
        features = list(_features(content))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} holds regions that are not GeoJSON; draw or import them again.") from error
    if len(features) > MAX_REGIONS:
        raise UserError(
            f"{where} holds {len(features):,} regions, more than {MAX_REGIONS:,}; draw or import them again."
        )
    read = ((_geometry(each.get("geometry"), where)[0], each.get("properties")) for each in features)
    return with_names(_region(geometry, about) for geometry, about in read if not geometry.is_empty)


def _feature(region: Region) -> dict[str, Any]:
    # QuPath 0.4 and later refuse a classification without a colour.
    kind = {"classification": {"name": region.classification, "color": list(region.shown_colour)}}
    colour = {} if region.colour is None else {"color": list(region.colour)}
    return {
        "type": "Feature",
        "geometry": mapping(region.geometry),
        "properties": {"objectType": "annotation", "name": region.name} | (kind if region.classification else colour),
    }


def _read(path: Path) -> bytes:
    """Return a file's content, unpacked, if it is of a size that regions have."""
    unpacked = readable(path, "could not be unpacked", "copy or download it again", (OSError, EOFError, zlib.error))
    with unpacked, open_packed(path) as stream:
        # In pieces: asked for all at once, a small file would take as much memory as the largest.
        pieces = iter(partial(stream.read, 2**20), b"")
        content = b"".join(islice(pieces, MAX_BYTES // 2**20 + 1))
    if len(content) > MAX_BYTES or sum(map(content.count, (b"[", b"{", b":"))) > MAX_ENTRIES:
        raise UserError(
            f"{path} is larger than {MAX_BYTES // 2**20} MB or holds over {MAX_ENTRIES:,} corners and entries, too "
            "many for regions; export only the annotations from QuPath."
        )
    return content


def _features(content: Any) -> Iterator[dict[str, Any]]:
    """Yield the Features of GeoJSON, with those that QuPath nests into others; bare geometries as Features."""
    if isinstance(content, list):
        for item in content:
            yield from _features(item)
    elif not isinstance(content, dict) or "type" not in content:
        raise ValueError("an object without a type")
    elif content["type"] == "FeatureCollection":
        yield from _features(content.get("features") or [])
    elif content["type"] == "Feature":
        yield content
        properties = content.get("properties")
        children = properties.get("childObjects") if isinstance(properties, dict) else None
        yield from _features(children or [])
    else:
        yield {"geometry": content}


def _geometry(content: Any, where: str) -> tuple[Polygon | MultiPolygon, bool]:
    """Return the area of a GeoJSON geometry, empty where it has none, and whether it was valid as it stood."""
    try:
        polygons = list(_polygons(content))
        if not polygons:
            return Polygon(), True
        valid = all(polygon.is_valid for polygon in polygons)
        if not valid or len(polygons) > 1:
            _check_crossings(polygons, where)
        whole = [polygonal(polygon) for polygon in polygons]
        return whole[0] if len(whole) == 1 else polygonal(shapely.union_all(whole)), valid
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, shapely.GEOSException) as error:
        raise UserError(f"{where} is damaged: its coordinates are not outlines; export it again.") from error


def _polygons(content: Any) -> Iterator[Polygon]:
    """Yield the polygons of a GeoJSON geometry as they stand, valid or not."""
    if not isinstance(content, dict):
        return
    match content.get("type"):
        case "Polygon":
            yield _polygon(content["coordinates"])
        case "MultiPolygon":
            yield from map(_polygon, content["coordinates"])
        case "GeometryCollection":
            for part in content["geometries"]:
                yield from _polygons(part)


def _check_crossings(polygons: list[Polygon], where: str) -> None:
    """Refuse outlines whose edges cross so often that repairing them would take minutes."""
    rings = [shapely.get_coordinates(ring) for ring in shapely.get_rings(polygons)]
    edges = shapely.linestrings(np.concatenate([np.stack([ring[:-1], ring[1:]], axis=1) for ring in rings]))
    tree = shapely.STRtree(edges)
    most = MAX_CROSSINGS + CROSSINGS_A_CORNER * len(edges)
    step = max(1, PAIRS_AT_ONCE // len(edges))  # each may meet all: so many pairs at once fit into memory
    found = 0
    for start in range(0, len(edges), step):
        found += tree.query(edges[start : start + step]).shape[1]
        if found > most:
            raise UserError(
                f"{where} crosses itself more often than can be repaired; simplify this outline in QuPath and export "
                "it again."
            )


def _polygon(rings: Any) -> Polygon:
    corners = [np.asarray([position[:2] for position in ring], np.float64) for ring in rings if len(ring) >= 3]
    if not all(ring.shape[1] == 2 and np.isfinite(ring).all() and np.abs(ring).max() <= MAX_PX for ring in corners):
        raise ValueError("a coordinate is not on a slide")
    return Polygon(corners[0], corners[1:]) if corners else Polygon()


def _region(geometry: Polygon | MultiPolygon, properties: Any) -> Region:
    properties = properties if isinstance(properties, dict) else {}
    classification, colour = _class(properties.get("classification"))
    return Region(_text(properties.get("name")), classification, geometry, colour or _rgb(properties.get("color")))


def _class(content: Any) -> tuple[str, RGB | None]:
    """Return name and colour of a class: a text, ``{name(s), color}``, or before QuPath 0.4 ``{name, colorRGB}``."""
    if not isinstance(content, dict):
        return _text(content), None
    names = content.get("names")
    name = ": ".join(map(_text, names)) if isinstance(names, list) else _text(content.get("name"))
    parent = content.get("parentClass")
    if isinstance(parent, dict):
        name = f"{_class(parent)[0]}: {name}"
    return name, _rgb(content.get("color", content.get("colorRGB")))


def _rgb(content: Any) -> RGB | None:
    """Return a colour given as [red, green, blue] or as one whole number, 0xAARRGGBB."""
    if isinstance(content, int) and not isinstance(content, bool):
        return (content >> 16 & 255, content >> 8 & 255, content & 255)
    if not isinstance(content, list) or len(content) not in (3, 4):
        return None
    red, green, blue = content[:3]
    fits = all(isinstance(value, int) and 0 <= value <= 255 for value in (red, green, blue))
    return (red, green, blue) if fits else None


def _text(content: Any) -> str:
    """Return a text in one line of bearable length, ``""`` for anything else."""
    return " ".join(content.split())[:100] if isinstance(content, str) else ""
