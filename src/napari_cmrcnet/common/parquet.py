"""Parquet tables from outside: what they claim is compared with the file, and only the columns asked for are read."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.text import parse_json, size_text

MAX_EXPANSION = 2000  # bytes of all columns for one in the file, as of HDF5
SMALL = 2**24  # bytes that need no such check
SMALL_ROWS = 2**20
LONGEST_NAME = 2**12  # letters of a name; a dictionary repeats one for each of its rows


def read_columns(path: Path, wanted: Mapping[str, type], optional: Mapping[str, type] | None = None) -> pd.DataFrame:
    """Read columns of a table.

    Parameters
    ----------
    path : Path
        The parquet file.
    wanted : mapping of str to type
        The columns that are needed, and what they are read as: str, int or float.
    optional : mapping of str to type, optional
        Those that are read where they are there.

    Raises
    ------
    UserError
        If the file claims more than it can hold.
    Exception
        Whatever pyarrow raises at a damaged file, KeyError where a column is missing: the caller says what the file is.
    """
    import pyarrow.parquet as parquet

    present = check_claims(path)
    if missing := [name for name in wanted if name not in present]:
        raise KeyError(missing[0])
    kinds = {**wanted, **{name: kind for name, kind in (optional or {}).items() if name in present}}
    texts = [name for name, kind in kinds.items() if kind is str]
    table = parquet.read_table(path, columns=list(kinds), read_dictionary=texts)
    return pd.DataFrame({name: _values(path, table.column(name), kind) for name, kind in kinds.items()})


def check_claims(path: Path) -> set[str]:
    """Return the names of a table's columns, once what it claims is compared with the file.

    Raises
    ------
    UserError
        If it claims more than the file can hold.
    """
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        about = file.metadata
        size = path.stat().st_size
        claimed = sum(about.row_group(index).total_byte_size for index in range(about.num_row_groups))
        if claimed > max(SMALL, MAX_EXPANSION * size) or about.num_rows > max(SMALL_ROWS, size):
            raise UserError(
                f"{path} claims {about.num_rows:,} rows of {size_text(claimed)}, more than it can hold; copy it again."
            )
        return set(file.schema_arrow.names)


def read_matrix(path: Path) -> pd.DataFrame:
    """Read a table of numbers whose rows have names: its index, as pandas writes it, or its only column of texts.

    Raises
    ------
    UserError
        If the file claims more than it can hold.
    Exception
        Whatever pyarrow raises at a damaged file: the caller says what the file is.
    """
    import pyarrow.parquet as parquet

    check_claims(path)
    stored = parquet.read_table(path)
    table: pd.DataFrame = stored.to_pandas(ignore_metadata=True)  # notes of pandas may be wrong: only one is needed
    index, start, step = noted_index(stored.schema.metadata or {})
    table = table.set_index(index) if index in table else table.set_axis(table.index * step + start)
    texts = [name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name].dtype)]
    return table.set_index(texts[0]) if len(texts) == 1 else table


def noted_index(metadata: Mapping[bytes, bytes]) -> tuple[str, int, int]:
    """Return the column of the rows' names, and where else their numbers start, and their step, as pandas notes it."""
    column, start, step = "__index_level_0__", 0, 1
    with suppress(LookupError, TypeError, ValueError, OverflowError):  # without notes, or with what is none
        (noted,) = parse_json(metadata[b"pandas"])["index_columns"]
        if isinstance(noted, str):
            column = noted
        else:
            start, step = int(noted["start"]), int(noted["step"])
    return column, start, step


def _values(path: Path, column: Any, kind: type) -> Any:
    """Return a column as texts or numbers; identifiers of older writers are bytes, or whole numbers."""
    import pyarrow
    from pyarrow import compute

    if kind is not str:
        return column.to_numpy().astype(kind)
    if pyarrow.types.is_dictionary(column.type):
        for chunk in column.chunks:
            longest = compute.max(compute.binary_length(chunk.dictionary)).as_py() or 0
            if longest > LONGEST_NAME:
                raise UserError(f"{path} holds a name of {longest:,} letters; copy it again.")
        column = column.cast(column.type.value_type)
    return pd.Series(column.cast(pyarrow.string()).to_pylist(), dtype=object)
