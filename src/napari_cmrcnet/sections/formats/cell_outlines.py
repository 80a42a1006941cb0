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
from napari_cmrcnet.common.text import size_text
from napari_cmrcnet.sections.formats.origin import refuse_repeated
from napari_cmrcnet.sections.formats.tenx_matrix import open_text

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
        raise UserError(f"{path} has more than {size_text(MAX_BYTES)}, which no list of cells does; copy it again.")
    names, rings, cells = [], [], []
    with readable(path, "is not a list of cell outlines", "copy it again"):
        with open_text(path) as stream:
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
    """Return area and centre of area (Gauss's formula) of each cell's rings."""
    sizes = np.array([len(ring) for ring in rings], np.int64)
    of_ring, starts = np.repeat(np.arange(len(rings)), sizes), np.cumsum(sizes) - sizes
    points = np.concatenate([*rings, np.empty((0, 2))])
    following = np.arange(1, len(points) + 1)
    following[starts + sizes - 1] = starts  # of the last point the first, whether the ring repeats it or not
    corner = points[starts]
    here, there = points - corner[of_ring], points[following] - corner[of_ring]  # near zero no digits are lost
    cross = here[:, 0] * there[:, 1] - there[:, 0] * here[:, 1]
    twice = np.bincount(of_ring, cross, len(rings))  # the area of a ring, with the sign of its direction
    areas = 0.5 * np.abs(twice)
    total = np.bincount(cells, areas, len(names))
    table = pd.DataFrame({"area": total}, index=pd.Index(names))
    with np.errstate(invalid="ignore", divide="ignore"):  # of a line, which is refused
        for axis, name in enumerate("xy"):
            middle = np.bincount(of_ring, (here + there)[:, axis] * cross, len(rings)) / (3 * twice) + corner[:, axis]
            table[name] = np.bincount(cells, areas * middle, len(names)) / total
    return table
