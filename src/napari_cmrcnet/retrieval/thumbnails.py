"""Thumbnails: small pictures of the bank spots' patches, so that what a value was retrieved from can be looked at."""

import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.common.files import write_content
from napari_cmrcnet.common.hdf5_checks import check_hdf5
from napari_cmrcnet.common.progress import Job, Progress

Pixels = NDArray[np.uint8]

SIDE = 64
QUALITY = 80
JPEG, OFFSETS = "jpeg", "offsets"
LARGEST_SIDE = 256
LARGEST_JPEG = 2**18  # bytes; noise of 256 px is 100 KB


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """An opened file of thumbnails. Between reads the file is closed.

    Parameters
    ----------
    path : Path
        The file.
    side : int
        Pixels on a side of a thumbnail.
    offsets : int64 array, (M + 1,)
        Where the JPEG of each bank row begins and ends among the bytes of all.
    """

    path: Path
    side: int
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Thumbnails":
        """Open a file of thumbnails, once its sizes are checked; no picture is decoded.

        Raises
        ------
        UserError
            If the file is missing, damaged, unsafe, or no file of thumbnails.
        """
        path = Path(path)
        check_hdf5(path)
        with readable(path, "is damaged", "get the checkpoint again"), h5py.File(path, "r") as file:
            jpeg, offsets, side = file.get(JPEG), file.get(OFFSETS), file.attrs.get("side")
            size = path.stat().st_size
            if not (_is_plain(jpeg, np.uint8, size) and _is_plain(offsets, np.int64, size) and len(offsets) > 1):
                raise _no_thumbnails(path)
            bounds: NDArray[np.int64] = offsets[:]
            end = len(jpeg)
        if not isinstance(side, np.integer) or not 1 <= side <= LARGEST_SIDE:
            raise _no_thumbnails(path)
        lengths = np.diff(bounds)
        if (bounds[0], bounds[-1]) != (0, end) or lengths.min() < 1 or lengths.max() > LARGEST_JPEG:
            raise _no_thumbnails(path)
        return cls(path, int(side), bounds)

    def read(self, rows: ArrayLike) -> Pixels:
        """Decode the thumbnails of bank rows.

        Parameters
        ----------
        rows : array of int, (r,)
            Which, in any order.

        Returns
        -------
        uint8 array, (r, side, side, 3)
            RGB.

        Raises
        ------
        UserError
            If the file has no such row, was changed since it was opened, or a picture in it is damaged.
        """
        asked = np.asarray(rows, np.int64).reshape(-1)
        if len(asked) and (asked.min() < 0 or asked.max() >= len(self)):
            raise UserError(f"{self.path} has pictures of {len(self)} spots only; get the checkpoint again.")
        pixels = np.empty((len(asked), self.side, self.side, 3), np.uint8)
        with readable(self.path, "is damaged", "get the checkpoint again"), h5py.File(self.path, "r") as file:
            jpeg = file[JPEG]
            for place, row in enumerate(asked.tolist()):
                pixels[place] = _decode(jpeg[self.offsets[row] : self.offsets[row + 1]].tobytes(), self.side)
        return pixels


def _is_plain(item: Any, kind: type, file_bytes: int) -> bool:
    """Whether an item of the file is a list of numbers as they lie there, neither packed nor longer than the file."""
    return (
        isinstance(item, h5py.Dataset)
        and item.ndim == 1
        and item.dtype == kind
        and item.chunks is None
        and item.nbytes <= file_bytes
    )


def _no_thumbnails(path: Path) -> UserError:
    return UserError(f"{path} is not a file of thumbnails, or is damaged; get the checkpoint again.")


def _decode(content: bytes, side: int) -> Pixels:
    # The size stands in the header, and is checked before memory is asked for.
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        if image.size != (side, side) or image.mode != "RGB":
            raise ValueError(f"a picture of {image.size[0]} × {image.size[1]} px in {image.mode}")
        return np.asarray(image)


def write_thumbnails(path: str | os.PathLike[str], blocks: Iterable[Pixels], n: int) -> Job[None]:
    """Shrink patches to thumbnails and write them, whole or not at all.

    The file is put together in memory, for the reason that `write_h5ad` gives: some 5 KB a spot, less than the bank.

    Parameters
    ----------
    path : path
        The file.
    blocks : iterable of uint8 arrays, (b, side, side, 3)
        The patches of all bank spots, some at a time, in the order of the bank. Those smaller than a thumbnail stay
        as small as they are.
    n : int
        Number of patches.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    step = "Making thumbnails"
    yield Progress(step, 0, n, "patches")
    content, offsets, side = bytearray(), [0], SIDE
    for block in blocks:
        side = min(SIDE, block.shape[1])
        for patch in block:
            content += _encode(patch, side)
            offsets.append(len(content))
        yield Progress(step, len(offsets) - 1, n, "patches")
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        file.attrs["side"] = side
        file[JPEG] = np.frombuffer(content, np.uint8)
        file[OFFSETS] = np.array(offsets, np.int64)
    write_content(path, image.getbuffer())


def _encode(patch: Pixels, side: int) -> bytes:
    image = io.BytesIO()
    # BOX averages over areas, as everything that is shrunk here.
    Image.fromarray(patch).resize((side, side), Image.Resampling.BOX).save(image, "JPEG", quality=QUALITY)
    return image.getvalue()
