"""A SpatialData zarr store (spatialdata 0.2 to 0.7, of zarr 2 and 3): what is in it, by its JSON files alone.

Layout (spatialdata, *Design document*): ``images/NAME`` are OME-Zarr pictures, ``shapes/NAME/shapes.parquet`` holds
geometries, ``tables/NAME`` an AnnData. Each element says how its own coordinates get to each coordinate system.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST_TEXT = 2**22  # bytes of attributes
_TABLES = ("tables", "table")


@dataclass(frozen=True)
class Picture:
    """An image in colour: its folder, its size in pixels, and the way from its pixels to each coordinate system."""

    folder: Path
    size: tuple[int, int]
    systems: Mapping[str, NDArray[np.float64]]


def find_store(path: Path) -> Path | None:
    """Return the store that a folder is, or that a table of it is in; None where there is none."""
    place = path.parent.parent if path.parent.name in _TABLES else path
    if not place.is_dir():
        return None
    known = "spatialdata_attrs" in attributes(place) or any((place / name).is_dir() for name in _TABLES)
    kinds = any((place / kind).is_dir() for kind in ("shapes", "images", "labels", *_TABLES))
    is_group = any((place / name).is_file() for name in ("zarr.json", ".zgroup", ".zattrs"))
    return place if known and kinds and is_group else None


def tables_of(store: Path) -> list[Path]:
    """Return the folders of its tables."""
    places = [store / name for name in _TABLES]
    return [table for place in places if place.is_dir() for table in sorted(place.iterdir()) if _is_table(table)]


def pictures_of(store: Path) -> list[Picture]:
    """Return its images in colour, the largest first."""
    folders = sorted((store / "images").iterdir()) if (store / "images").is_dir() else []
    found = [picture for folder in folders if (picture := _picture(folder)) is not None]
    return sorted(found, key=lambda picture: -picture.size[0] * picture.size[1])


def attributes(folder: Path) -> dict[str, Any]:
    """Return the attributes of a group of zarr 2 or 3; empty where it has none that can be read.

    Those of OME, which OME-Zarr 0.5 keeps in an entry, are among them.
    """
    found = _json(folder / "zarr.json").get("attributes", {}) or _json(folder / ".zattrs")
    found = found if isinstance(found, dict) else {}
    ome = found.get("ome")
    return found | ome if isinstance(ome, dict) else found


def systems_of(steps: Any) -> dict[str, NDArray[np.float64]]:
    """Return the matrix (3, 3) from an element's own (x, y, 1) to each coordinate system that it names.

    Raises
    ------
    ValueError, KeyError, TypeError, IndexError
        If a step is damaged, or of a kind that is not known.
    """
    return {str(step["output"]["name"]): _matrix(step, step["input"], step["output"]) for step in steps}


def _matrix(step: Any, inside: Any, outside: Any) -> NDArray[np.float64]:
    inside, outside = step.get("input", inside), step.get("output", outside)
    before, after = ([axis["name"] for axis in side["axes"]] for side in (inside, outside))
    kind, matrix = step["type"], np.eye(3)
    if kind == "sequence":
        for part in step["transformations"]:
            matrix = _matrix(part, inside, outside) @ matrix
    elif kind == "affine":
        rows = step["affine"]
        matrix[:2] = [
            [rows[after.index(to)][before.index(of)] for of in "xy"] + [rows[after.index(to)][-1]] for to in "xy"
        ]
    elif kind in ("scale", "translation"):
        values = [float(step[kind][before.index(axis)]) for axis in "xy"]
        matrix = (
            np.diag([*values, 1.0]) if kind == "scale" else np.array([[1, 0, values[0]], [0, 1, values[1]], [0, 0, 1]])
        )
    elif kind != "identity":
        raise ValueError(f"the transformation {str(kind)[:50]!a} is not known")
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-12:
        raise ValueError("a transformation cannot be undone")
    return np.asarray(matrix, np.float64)


def _is_table(folder: Path) -> bool:
    return attributes(folder).get("encoding-type") == "anndata"


def _picture(folder: Path) -> Picture | None:
    about = attributes(folder)
    with suppress(KeyError, IndexError, TypeError, ValueError, AttributeError):
        picture = about["multiscales"][0]
        axes = [axis["name"] for axis in picture["axes"]]
        level = folder / str(picture["datasets"][0]["path"])
        shape = (_json(level / "zarr.json") or _json(level / ".zarray"))["shape"]
        sides = dict(zip(axes, map(int, shape), strict=True))
        labels = [str(channel.get("label", "")).casefold() for channel in about.get("omero", {}).get("channels", [])]
        if sides["c"] == 3 and (all(label.isdigit() or not label for label in labels) or labels[0] in ("r", "red")):
            return Picture(folder, (sides["x"], sides["y"]), systems_of(picture["coordinateTransformations"]))
    return None


def _json(path: Path) -> dict[str, Any]:
    if not os.path.isfile(path):  # a named pipe would be waited for
        return {}
    with suppress(OSError, ValueError, RecursionError), open(path, "rb") as stream:
        found = json.loads(stream.read(LARGEST_TEXT))
        return found if isinstance(found, dict) else {}
    return {}
