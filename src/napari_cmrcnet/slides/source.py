"""What every kind of slide file gives: levels of tiles, and what the file says of itself."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.slides.orientation import STORED

Pixels = NDArray[np.uint8]
Facts = tuple[int, int]  # bytes, and ns of the last change

PLAUSIBLE_MPP = (0.1, 2.0)


class TileError(UserError):
    """A tile of a slide is damaged and cannot be decoded."""


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a slide.

    Parameters
    ----------
    width, height : int
        Size in pixels of this level.
    downsample : float
        Full-resolution pixels on one side of a pixel of this level.
    """

    width: int
    height: int
    downsample: float


@dataclass(frozen=True, slots=True)
class PixelTag:
    """What a slide's own tags say of its pixel size.

    Parameters
    ----------
    mpp : float or None
        µm per full-resolution pixel, None where no tag has a plausible one.
    source : str
        The tag that said so, ``"none"`` without one.
    note : str
        What other tags said and why they are not believed; empty without any.
    """

    mpp: float | None = None
    source: str = "none"
    note: str = ""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The scanned part of a slide whose image is larger: a rectangle in full-resolution pixels.

    Parameters
    ----------
    x, y : int
        Its top left corner.
    width, height : int
        Its size.
    """

    x: int
    y: int
    width: int
    height: int


def number_in(text: object) -> float | None:
    """Return the one number that a text of a file's metadata holds, also with a decimal comma; None for any other."""
    try:
        found = float(str(text).strip().replace(",", "."))
    except ValueError:
        return None
    return found if isfinite(found) else None


def judge_mpp(claims: list[tuple[str, float, float]]) -> PixelTag:
    """Choose the first tag with a plausible pixel size.

    Parameters
    ----------
    claims : list of (source, mpp along x, mpp along y)
        What the tags say, the most trusted first.

    Returns
    -------
    PixelTag
        The mean of both axes of the first claim within 0.1–2.0 µm whose axes agree within 5 %. Exported images often
        carry the printer's 72 dpi (353 µm) instead of the scanner's pixel size.
    """
    low, high = PLAUSIBLE_MPP
    notes = []
    for source, x, y in claims:
        if not (low <= x <= high and low <= y <= high):
            notes.append(f"the {source} says {x:.6g} µm per pixel, not believed: outside {low}–{high}")
        elif abs(x - y) > 0.05 * min(x, y):
            notes.append(f"the {source} says {x:.4g} × {y:.4g} µm, not believed: pixels are square")
        else:
            return PixelTag((x + y) / 2, source, "; ".join(notes))
    return PixelTag(note="; ".join(notes))


class Source(Protocol):
    """A slide file that is open: a pyramid of tiles, the full resolution first.

    ``read_tile`` may be called from several threads. Tiles at the right and bottom edge are cut to the image.
    """

    path: Path
    format: str
    levels: tuple[Level, ...]
    tile_sizes: tuple[tuple[int, int], ...]  # (height, width) of a tile, one a level
    tag: PixelTag
    bounds: Bounds | None = None  # the scanned part, where it is not the whole image
    orientation: int = STORED  # how it asks to be shown
    notes: tuple[str, ...] = ()  # what the user should know of how it is read, a sentence each

    @property
    def files_read(self) -> Mapping[Path, Facts]:
        """Files that were read since it was opened, beside `slide_files`, as they were before."""
        return {}

    def read_tile(self, level: int, row: int, column: int) -> Pixels:
        """Decode one tile, uint8 (height, width, 3); where it is damaged, any error, which `TileReader` tells."""
        ...

    def icc_profile(self) -> bytes:
        """Return the ICC profile of its colours as the file has it, empty without one; no source applies it."""
        return b""

    def close(self) -> None:
        """Let go of the file."""
        ...


def tiles_folder(path: Path) -> Path | None:
    """Return the folder beside a file in which its format keeps the tiles, None for formats that do not."""
    match path.suffix.lower():
        case ".mrxs":
            return path.with_suffix("")
        case ".vsi":
            return path.with_name(f"_{path.stem}_")
    return None


def slide_files(path: Path) -> Iterable[Path]:
    """Return all files that make up a slide: of a folder, of the tiles beside a file, the instances beside another."""
    if path.is_dir():
        return (file for file in path.rglob("*") if file.is_file())
    if (tiles := tiles_folder(path)) is not None:
        return [path, *(file for file in tiles.rglob("*") if file.is_file())]
    if path.suffix.lower() == ".dcm":
        return path.parent.glob("*.dcm")
    return [path]


def facts_of(file: Path) -> Facts:
    """Return what would be another if a file or folder were changed."""
    about = file.stat()
    return about.st_size, about.st_mtime_ns


def levels_of(sizes: Sequence[tuple[int, int]]) -> tuple[Level, ...]:
    """Return the levels of a pyramid from their sizes, (width, height), the full resolution first.

    Levels are made by halving and rounding, so 9911 → 4956 rows is a downsample of 2, not 1.9998: the integer is
    taken wherever it explains the size.
    """
    full, levels = sizes[0], []
    for size in sizes:
        ratio = (full[0] / size[0] + full[1] / size[1]) / 2
        whole = round(ratio)
        explained = all(abs(f / whole - s) <= 1 for f, s in zip(full, size, strict=True))
        levels.append(Level(*size, float(whole) if explained and abs(ratio - whole) < 0.25 else ratio))
    return tuple(levels)
