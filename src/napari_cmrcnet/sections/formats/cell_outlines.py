"""Outlines of segmented cells as Space Ranger 4 writes them: ``cell_segmentations.geojson``.

A FeatureCollection with one polygon a cell, in pixels of the microscope image, and ``properties.cell_id``; the matrix
calls cell 1 ``cellid_000000001-1`` (10x Genomics, *Space Ranger Segmented Outputs*).
"""

import re
from collections.abc import Iterator
from json import JSONDecoder
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.common.text import open_packed, size_text
from napari_cmrcnet.sections.formats.origin import refuse_repeated

MAX_BYTES = 2**31  # a real one has some 200 MB


def read_outlines(path: Path) -> pd.DataFrame:
    """Read centre and area of each cell: ``x``, ``y`` in pixels, ``area`` in square pixels, by the matrix's names.

    The centre is that of the outline's area. Holes count as cell. Of a cell in several parts all count.

    Raises
    ------
    UserError
        If the file is damaged or too large, a cell stands there twice, or has no area.
    """
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path} is larger than {size_text(MAX_BYTES)}, too large for a list of cells; copy it again.")
    names, rings, cells = [], [], []
    with readable(path, "is not a list of cell outlines", "copy it again"):
        with open_packed(path) as stream:
            content = stream.read(MAX_BYTES)
        for number, feature in enumerate(_features(content.decode("utf-8-sig"))):
            names.append(f"cellid_{int(feature['properties']['cell_id']):09d}-1")
            for ring in _exteriors(feature["geometry"]):
                rings.append(np.asarray(ring, np.float64)[:, :2])
                cells.append(number)
        table = _measured(rings, np.asarray(cells, np.int64), names)
    refuse_repeated(path, table.index, "cell")
    if not np.isfinite(table.to_numpy()).all():
        raise UserError(f"{path} has cells without an area; copy it again.")
    return table


def _features(text: str) -> Iterator[Any]:
    """Yield one feature after the other: all at once would take ten times the file's size."""
    start = re.search(r'"features"\s*:\s*\[', text)
    if start is None:
        raise ValueError("it has no list of features")
    place = start.end()
    decoder = JSONDecoder()
    while True:
        while text[place] in " \t\r\n,":
            place += 1
        if text[place] == "]":
            return
        feature, place = decoder.raw_decode(text, place)
        yield feature


def _exteriors(geometry: dict[str, Any]) -> Iterator[list[list[float]]]:
    parts = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    yield from (part[0] for part in parts)


def _measured(rings: list[NDArray[np.float64]], cells: NDArray[np.int64], names: list[str]) -> pd.DataFrame:
    """Return area and centre of area of each cell's rings."""
    import shapely  # a tenth of a second, and few spots are cells with outlines

    of_ring = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    parts = shapely.polygons(shapely.linearrings(np.concatenate([*rings, np.empty((0, 2))]), indices=of_ring))
    areas = shapely.area(parts)
    table = pd.DataFrame({"area": np.bincount(cells, areas, len(names))}, index=pd.Index(names))
    with np.errstate(invalid="ignore"):  # of a line, which is refused
        for name, middle in zip("xy", shapely.get_coordinates(shapely.centroid(parts)).T, strict=True):
            table[name] = np.bincount(cells, areas * middle, len(names)) / table["area"]
    return table
