"""Points layers as files, for napari's File > Save: a table, and detections for QuPath."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import write_content
from napari_cmrcnet.common.spreadsheet import safe_text
from napari_cmrcnet.retrieval.export import detections, position_columns
from napari_cmrcnet.sections.region_origin import qupath_corner
from napari_cmrcnet.viewer.boundary import from_napari

MICROMETRE = ("micrometer", "micrometre", "um", "µm")


def write_csv(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write a Points layer as one row per spot: x and y in pixels, in µm where the layer has them, and all features.

    Parameters
    ----------
    path : str
        The .csv file.
    data : (n, 2)
        Rows and columns.
    attributes : mapping
        Of the layer, as napari gives them: ``features``, ``scale`` and ``units`` are read.

    Returns
    -------
    list of str
        The file.

    Raises
    ------
    UserError
        If the points are not in two dimensions, or the file cannot be written.
    """
    import pandas as pd

    positions = position_columns(_positions(path, data, attributes), _pixel_size(attributes))
    table = pd.concat([pd.DataFrame(positions), pd.DataFrame(_features(attributes))], axis=1)
    safe = table.map(lambda cell: safe_text(cell) if isinstance(cell, str) else cell).rename(columns=safe_text)
    write_content(path, safe.to_csv(index=False, lineterminator="\n"))
    return [path]


def write_geojson(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write a Points layer as detections that QuPath opens: circles as large as the points, features as measurements.

    Parameters
    ----------
    path : str
        The .geojson file.
    data : (n, 2)
        Rows and columns.
    attributes : mapping
        Of the layer, as napari gives them: ``features``, ``size``, and the slide's bounds in ``metadata`` are read.

    Returns
    -------
    list of str
        The file.

    Raises
    ------
    UserError
        If the points are not in two dimensions, or the file cannot be written.
    """
    xy = _positions(path, data, attributes)
    features = _features(attributes)
    diameters = np.broadcast_to(np.asarray(attributes.get("size", 10.0), np.float64), len(xy))
    ours = attributes.get("metadata", {}).get("cmrcnet")
    xy = xy - qupath_corner(ours.get("bounds") if isinstance(ours, dict) else None)
    with detections(Path(path)) as detect:
        for row, (centre, diameter) in enumerate(zip(xy, diameters, strict=True)):
            properties = json.dumps(_properties(features, row), ensure_ascii=False, allow_nan=False)
            detect(centre, diameter, properties.removeprefix("{").removesuffix("}"))
    return [path]


def _positions(path: str, data: Any, attributes: Mapping[str, Any]) -> npt.NDArray[np.float64]:
    points = np.asarray(data, np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        name = attributes.get("name", "the layer")
        raise UserError(
            f"{Path(path).name} was not written: {name} is not in two dimensions; choose a layer of spots on a slide."
        )
    return from_napari(points)


def _pixel_size(attributes: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the µm per pixel in x and y, None where the layer is not in µm."""
    units = [str(unit) for unit in attributes.get("units") or ()][-2:]
    if len(units) < 2 or not set(units) <= set(MICROMETRE):
        return None
    y, x = (float(value) for value in attributes["scale"][-2:])
    return x, y


def _features(attributes: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return each feature's values: numbers as the shortest decimals that read back as them, None where missing."""
    features = attributes.get("features")
    table = {} if features is None else dict(features.items())
    return {str(name): [_plain(value) for value in np.asarray(values)] for name, values in table.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return float(str(value)) if np.isfinite(value) else None
    if isinstance(value, np.bool_ | np.integer):
        return value.item()
    return value if value is None or isinstance(value, bool | int) else str(value)


def _properties(features: Mapping[str, list[Any]], row: int) -> dict[str, Any]:
    """Return numbers as measurements, texts and flags as metadata; what is missing is left out."""
    known = {name: values[row] for name, values in features.items() if values[row] is not None}
    numbers = {name: value for name, value in known.items() if type(value) in (int, float)}
    others = {name: str(value) for name, value in known.items() if name not in numbers}
    return {"measurements": numbers} | ({"metadata": others} if others else {})
