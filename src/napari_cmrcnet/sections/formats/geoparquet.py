"""Geometries of a GeoParquet file (https://geoparquet.org, WKB): where each lies, and how large it is."""

from pathlib import Path

import numpy as np
import pandas as pd

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.parquet import check_claims, noted_index

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

    present = check_claims(path)
    index, start, step = noted_index(parquet.read_schema(path).metadata or {})
    wanted = [name for name in {"geometry", "radius", index} if name in present]
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
    if "radius" in wanted:
        area = np.pi * np.maximum(table.column("radius").to_numpy(), 0) ** 2
    names = table.column(index).to_pandas() if index in wanted else [start + step * row for row in range(len(at))]
    values = {"x": shapely.get_x(centres)[at], "y": shapely.get_y(centres)[at], "area": area}
    return pd.DataFrame(values, index=pd.Index(names).astype(str))
