"""Geometries of a GeoParquet file (https://geoparquet.org, WKB): where each lies, and how large it is."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.parquet import check_claims

MOST_BYTES = 2**32  # of all geometries


def read_shapes(path: Path) -> pd.DataFrame:
    """Read centre and area of each geometry: ``x``, ``y``, ``area`` in the file's own units, by the names of its rows.

    Points are circles where there is a column ``radius``. The centre of an outline is that of its area.

    Raises
    ------
    UserError
        If the file claims more than it can hold.
    Exception
        Whatever pyarrow and shapely raise at a damaged file.
    """
    import pyarrow.parquet as parquet
    import shapely
    from pyarrow import compute

    check_claims(path)
    schema = parquet.read_schema(path)
    named = _index(schema.pandas_metadata)
    wanted = ["geometry", *(name for name in ("radius", named) if name in schema.names)]
    table = parquet.read_table(path, columns=wanted, read_dictionary=["geometry"]).combine_chunks()
    column = table.column("geometry")
    encoded = (column.chunk(0) if column.num_chunks else column).dictionary_encode()
    if column.num_chunks == 0:
        return pd.DataFrame({"x": [], "y": [], "area": []})
    sizes = compute.binary_length(encoded.dictionary).to_numpy(zero_copy_only=False)
    at = encoded.indices.to_numpy(zero_copy_only=False)
    if sizes[at].sum() > MOST_BYTES:
        raise UserError(f"{path} claims more geometries than it can hold; copy it again.")
    shapes = shapely.from_wkb(encoded.dictionary.to_numpy(zero_copy_only=False))
    centres = shapely.centroid(shapes)
    area = shapely.area(shapes)[at]
    if "radius" in schema.names:
        area = np.pi * np.maximum(table.column("radius").to_numpy(), 0) ** 2
    index = table.column(named).to_pandas() if isinstance(named, str) else named or range(len(at))
    values = {"x": shapely.get_x(centres)[at], "y": shapely.get_y(centres)[at], "area": area}
    return pd.DataFrame(values, index=pd.Index(index).astype(str))


def _index(about: Any) -> str | range | None:
    """Return the column that names the rows, or the numbers that do, as pandas notes it."""
    first = next(iter((about or {}).get("index_columns", [])), None)
    if isinstance(first, dict) and first.get("kind") == "range":
        return range(int(first["start"]), int(first["stop"]), int(first["step"]))
    return first if isinstance(first, str) else None
