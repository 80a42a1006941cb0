"""OME-Zarr pictures (https://ngff.openmicroscopy.org, 0.4 and 0.5), read by chunks through the zarr that is there."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from napari_cmrcnet.common.errors import UserError, undamaged
from napari_cmrcnet.common.spatialdata_store import attributes
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.slides.checks import MAX_PIXELS, MAX_TILE_PIXELS, check_expansion
from napari_cmrcnet.slides.planes import (
    BRIGHTFIELD,
    UnsupportedError,
    check_bright,
    check_names,
    focal_plane,
)
from napari_cmrcnet.slides.source import Facts, Pixels, Source, facts_of, judge_mpp, levels_of

BLOCK = 256  # smallest side that is read at once, in whole chunks
MICROMETRES = {
    "meter": 1e6,
    "millimeter": 1e3,
    "micrometer": 1.0,
    "nanometer": 1e-3,
    "angstrom": 1e-4,
    "inch": 25_400.0,
}


def is_ome_zarr(folder: Path) -> bool:
    """Tell whether a folder is an OME-Zarr picture, from its attributes alone."""
    about = attributes(folder)
    return "multiscales" in about or "bioformats2raw.layout" in about


class ZarrSource(Source):
    """An OME-Zarr picture: arrays of one picture at several sizes, in colour.

    Parameters
    ----------
    path : Path
        The folder; of one that bioformats2raw has written, its first picture is read.

    Raises
    ------
    UserError
        If zarr is not installed, the folder is damaged, or the picture is not in colour with 8 or 16 bits.
    """

    format = "OME-Zarr"

    def __init__(self, path: Path) -> None:
        self.path, self._read = path, dict[Path, Facts]()
        folder = path if "multiscales" in attributes(path) else path / "0"
        about = attributes(folder)
        with undamaged(path):  # whatever the damaged part makes zarr raise, and metadata of odd kinds
            picture = about["multiscales"][0]
            group = _open_noting(folder, self._read)
            self._arrays: list[Any] = [group[each["path"]] for each in picture["datasets"]]
            for each in picture["datasets"]:  # a chunk that is removed would be taken for one that was never written
                self._read |= {Path(place): facts_of(Path(place)) for place, _, _ in os.walk(folder / each["path"])}
            self._axes = [axis["name"] if isinstance(axis, dict) else str(axis) for axis in picture["axes"]]
            try:
                self._take(picture, about)
            except UnsupportedError as error:
                raise error.of(path) from error

    def _take(self, picture: dict[str, Any], about: dict[str, Any]) -> None:
        first, at = self._arrays[0], {name: self._axes.index(name) for name in self._axes}
        sizes = [(each.shape[at["x"]], each.shape[at["y"]]) for each in self._arrays]
        colours = first.shape[at["c"]] if "c" in at else 1
        if colours != 3 or first.dtype not in (np.uint8, np.uint16):
            raise UnsupportedError(
                f"it has {count_text(colours, 'channel')} of {first.dtype}, not one image in colour", BRIGHTFIELD
            )
        check_names([str(each.get("label") or "") for each in about.get("omero", {}).get("channels", [])])
        if any((each.dtype, each.shape[at["c"]]) != (first.dtype, colours) for each in self._arrays if "c" in at):
            raise ValueError("its levels have different channels")
        for each, size in zip(self._arrays, sizes, strict=True):
            if np.prod(each.chunks) > MAX_TILE_PIXELS or not 0 < size[0] * size[1] <= MAX_PIXELS:
                raise UnsupportedError(
                    f"it has chunks of {each.chunks} in {each.shape} pixels", "save it in smaller ones"
                )
        self._plane, note = focal_plane(first.shape[at["z"]] if "z" in at else 1)
        self.notes = (note,) if note else ()
        self.levels = levels_of(sizes)
        check_expansion(self.path, self.levels, (file for file in self.path.rglob("*") if file.is_file()))
        self.tile_sizes = tuple(tuple(_side(each.chunks[at[axis]]) for axis in "yx") for each in self._arrays)  # type: ignore[misc]
        self.tag = judge_mpp(_claims(picture, at))
        check_bright(self)

    def read_tile(self, level: int, row: int, column: int) -> Pixels:
        """Decode the chunks of one tile, uint8 (height, width, 3)."""
        height, width = self.tile_sizes[level]
        part = {"y": slice(row * height, (row + 1) * height), "x": slice(column * width, (column + 1) * width)}
        part |= {"c": slice(None), "z": self._plane}  # type: ignore[dict-item]
        pixels = np.asarray(self._arrays[level][tuple(part.get(axis, 0) for axis in self._axes)])
        pixels = pixels.transpose([[axis for axis in self._axes if axis in "cyx"].index(axis) for axis in "yxc"])
        return np.ascontiguousarray(pixels >> 8 if pixels.dtype == np.uint16 else pixels, np.uint8)

    @property
    def files_read(self) -> Mapping[Path, Facts]:
        """The chunks that were read, and the folders that chunks are in."""
        return self._read.copy()  # other threads may read

    def close(self) -> None:
        """Do nothing: no file stays open."""


def _open_noting(folder: Path, read: dict[Path, Facts]) -> Any:
    """Open a group; of each file it is noted what it was before it was read first."""
    try:
        import zarr
        from zarr.storage import LocalStore
    except ImportError as error:
        raise UserError(f"{folder} needs one more package to be read: pip install 'zarr>=3'") from error

    class Noting(LocalStore):
        async def get(self, key: str, *given: Any, **more: Any) -> Any:
            if (file := self.root / key) not in read:
                with suppress(OSError):  # most often it is not there: a chunk that was never written
                    read[file] = facts_of(file)
            return await super().get(key, *given, **more)

    return zarr.open_group(Noting(folder, read_only=True), mode="r")


def _side(chunk: int) -> int:
    """Return the side of a tile: of whole chunks."""
    return chunk * max(1, -(-BLOCK // chunk))


def _claims(picture: dict[str, Any], at: dict[str, int]) -> list[tuple[str, float, float]]:
    """Return the pixel size that the scales of picture and full resolution make, where both axes have a unit."""
    sizes = []
    for axis in "xy":
        about = picture["axes"][at[axis]]
        unit = MICROMETRES.get(str(about.get("unit"))) if isinstance(about, dict) else None
        if unit is None:
            return []
        for each in (picture["datasets"][0], picture):
            for step in each.get("coordinateTransformations", []):
                unit *= float(step["scale"][at[axis]]) if step.get("type") == "scale" else 1.0
        sizes.append(unit)
    return [("OME-Zarr scale", sizes[0], sizes[1])]
