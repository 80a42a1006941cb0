"""Whether the content of a file is whole, by what its kind says of its end and its parts."""

import gzip
import io
import json
import struct
from collections.abc import Callable

import h5py
import numpy as np
import tifffile
from PIL import Image


def whole(name: str, content: bytes) -> str | None:
    """Say what is wrong with a file; None if it can be read to its end."""
    if name.endswith(".gz"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError) as error:
            return f"cannot be unpacked ({error})"
        return whole(name.removesuffix(".gz"), content)
    check = CHECKS.get(name.rpartition(".")[2])
    if check is None:
        return None if content or "/c/" in name else "is empty"
    try:
        return None if check(content) else "is not whole"
    except Exception as error:  # noqa: BLE001  each reader has its own
        return f"cannot be read ({error})"


def _hdf5(content: bytes) -> bool:
    with h5py.File(io.BytesIO(content), "r") as file:
        file.visititems(lambda _, item: item[()] is None if isinstance(item, h5py.Dataset) else None)
    return True


def _table(content: bytes) -> bool:
    lines = content.decode("utf-8").splitlines()
    return content.endswith(b"\n") and len({line.count(",") for line in lines}) <= 1


def _picture(content: bytes) -> bool:
    with Image.open(io.BytesIO(content)) as image:
        image.load()
    return True


def _tiff(content: bytes) -> bool:
    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        return all(np.asarray(page.asarray()).size for page in tiff.pages)


def _safetensors(content: bytes) -> bool:
    (length,) = struct.unpack("<Q", content[:8])
    entries = json.loads(content[8 : 8 + length])
    ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
    return 8 + length + max(ends, default=0) == len(content)


def _json(content: bytes) -> bool:
    json.loads(content)
    return True


CHECKS: dict[str, Callable[[bytes], bool]] = {
    "h5ad": _hdf5,
    "h5": _hdf5,
    "csv": _table,
    "json": _json,
    "geojson": _json,
    "png": _picture,
    "tif": _tiff,
    "safetensors": _safetensors,
    "html": lambda content: content.rstrip().endswith(b"</html>"),
    "svg": lambda content: content.rstrip().endswith(b"</svg>"),
    "md": lambda content: content.endswith(b"\n"),
    "txt": lambda content: content.endswith(b"\n"),
    "parquet": lambda content: content[:4] == content[-4:] == b"PAR1",
}
