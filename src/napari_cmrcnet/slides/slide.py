"""A Slide: a lazily read pyramid with its pixel size, whatever file it comes from."""

import os
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from napari_cmrcnet.common.errors import UserError, first_sentence, readable
from napari_cmrcnet.common.files import check_name
from napari_cmrcnet.common.progress import Progress
from napari_cmrcnet.common.suffixes import NAPARI_READS, ends_in
from napari_cmrcnet.slides import orientation
from napari_cmrcnet.slides.choose_reader import open_source
from napari_cmrcnet.slides.flat_source import with_overview
from napari_cmrcnet.slides.resample import axis_weights, resample
from napari_cmrcnet.slides.source import Bounds, Facts, Level, Pixels, Source, TileError, facts_of, slide_files
from napari_cmrcnet.slides.tile_reader import TileReader

__all__ = ["Bounds", "Level", "Slide", "TileError", "open_slide"]

BAND_PIXELS = 2**20  # read at once for a thumbnail


class Slide:
    """An open slide. Made by `open_slide`; a context manager; read from any thread; not picklable (reopen by path).

    Parameters
    ----------
    path : Path
        The file, or the folder of a DICOM slide.
    source : Source
        The same, open.
    files : mapping of Path to (int, int)
        The files that it is made of, each with its size and the time of its last change before it was opened.

    Attributes
    ----------
    levels : tuple of Level
        The pyramid, full resolution first.
    shape : (int, int)
        Height and width of the full resolution.
    mpp : float or None
        µm per pixel by the slide's own tag; None where there is none, or none that is plausible (0.1–2.0).
    mpp_source, mpp_note : str
        Which tag, ``"none"`` without; what other tags said and why they are not believed.
    bounds : Bounds or None
        The scanned part, where the image is larger than that; None where it is all of it.
    orientation : int
        How it asks to be shown, of TIFF's tag Orientation: 1 to 8; it is not turned, see `orientation`.
    notes : tuple of str
        What should be known of how it is read: which focal plane, that it is grey; a sentence each.
    format : str
        ``"Aperio SVS"``, ``"tiled TIFF"``, ``"DICOM"``, ``"JPEG"`` …
    tile_sizes : tuple of (int, int)
        Height and width of the tiles of each level.
    source : Source
        As given.
    reader : TileReader
        Of its tiles, of which it keeps those used last.
    scale : float
        Pixels of the slide that positions count in, per pixel of this one: 1, but for a small picture of a slide that
        is not at hand. Set by who opens such a picture, to be looked at and not to be predicted.
    """

    def __init__(self, path: Path, source: Source, files: Mapping[Path, Facts]) -> None:
        self.path, self._files = path, files
        self.levels = source.levels
        self.tile_sizes = source.tile_sizes
        self.shape = (source.levels[0].height, source.levels[0].width)
        self.format, self.bounds, self.orientation = source.format, source.bounds, source.orientation
        self.notes = (*source.notes, *filter(None, [orientation.said_of(source.orientation)]))
        self.mpp, self.mpp_source, self.mpp_note = source.tag.mpp, source.tag.source, source.tag.note
        self.scale = 1.0
        self.source = source
        self.reader = TileReader(source)
        # Closed with the last who holds it, too: that may be a layer, and nothing tells us when it is removed.
        self._close = weakref.finalize(self, source.close)

    def read_region(self, x: int, y: int, width: int, height: int, level: int = 0) -> Pixels:
        """Return a rectangle, uint8 (height, width, 3), white outside the slide.

        Parameters
        ----------
        x, y : int
            Top-left corner in full-resolution pixels.
        width, height, level : int
            Size in pixels of that level.

        Raises
        ------
        TileError
            If a tile in it is damaged.
        """
        downsample = self.levels[level].downsample
        return self.reader.read(level, round(x / downsample), round(y / downsample), width, height)

    def level_for(self, scale: float) -> int:
        """Return the smallest level that still has as much detail as one pixel for ``scale`` full-resolution ones."""
        detailed = [i for i, level in enumerate(self.levels) if level.downsample <= scale * (1 + 1e-6)]
        return max(detailed, key=lambda i: self.levels[i].downsample, default=0)

    def thumbnail(self, max_px: int) -> Pixels:
        """Return the whole slide, at most ``max_px`` on its longer side, uint8 (h, w, 3).

        Area averaged from the nearest level above; damaged tiles are white.
        """
        height, width = self.shape
        scale = max(1.0, max(height, width) / max_px)
        index = self.level_for(scale)
        level = self.levels[index]
        out = np.empty((max(1, round(height / scale)), max(1, round(width / scale)), 3), np.uint8)
        vertical = axis_weights(level.height, out.shape[0], level.height / out.shape[0])
        horizontal = axis_weights(level.width, out.shape[1], level.width / out.shape[1])
        band = max(1, int(BAND_PIXELS / level.width * out.shape[0] / level.height))
        for first in range(0, out.shape[0], band):
            rows = vertical[first : first + band]
            top, bottom = int(rows.indices.min()), int(rows.indices.max()) + 1
            pixels = self.reader.read(index, 0, top, level.width, bottom - top, skip_damaged=True)
            out[first : first + band] = resample(pixels, rows[:, top:bottom], horizontal)
        return out

    def check_unchanged(self) -> None:
        """Refuse a slide whose files were changed, cut short, replaced or removed since it was opened.

        What was read of it may be of both, and a result would name a file that it is not of. Asked at the end of
        reading.

        Raises
        ------
        UserError
            With the slide's path.
        """
        try:
            files = {**self._files, **self.source.files_read}
            if files == _facts(files):
                return
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be read any more ({first_sentence(error)}); bring it back, then start again."
            ) from error
        raise UserError(f"{self.path} was changed while it was in use; wait until it is complete, then start again.")

    def is_same(self, other: "Slide | None") -> bool:
        """Whether another open slide shows the same: the same files, not changed between, at the same scale."""
        if other is None or not (self._close.alive and other._close.alive):
            return False
        mine, others = ((one.path.absolute(), one.scale, [*one._files.values()]) for one in (self, other))
        return mine == others

    def close(self) -> None:
        """Close the file and forget its tiles."""
        self.reader.cache.clear()
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Slide({str(self.path)!r}, {self.format}, {self.shape[1]} × {self.shape[0]})"


def open_slide(
    path: str | os.PathLike[str], report: Callable[[Progress], None] | None = None, sized: bool = False
) -> Slide:
    """Open a slide, whatever its format: the content counts, not the file's name.

    Scanner formats are read through OpenSlide (SVS, NDPI, MRXS, SCN, BIF, DICOM …), TIFF and SVS with JPEG tiles
    directly, and PNG and JPEG pictures. Where both can read a TIFF, the one that sees more pyramid levels does. What of
    CZI OpenSlide cannot read, VSI and iSyntax are read through fastslide where it is installed; OME-Zarr through zarr.

    Parameters
    ----------
    path : path
        The file; for DICOM any instance of the slide, or the folder with all of them.
    report : callable, optional
        Called with the progress where a large picture without a pyramid gets one, once, in the cache folder.
    sized : bool
        Refuse one that does not say the size of its pixels, before it gets a pyramid.

    Returns
    -------
    Slide
        To be closed, or used in a ``with`` block.

    Raises
    ------
    UserError
        If the file is missing, empty, cut short, damaged, unsafe to decode, or no slide.
    """
    path = Path(path)
    check_name(path)
    with readable(path, "cannot be opened", errors=(OSError,)):
        files = _facts(_files_of(path))
        source = open_source(path)
    try:
        if sized and source.tag.mpp is None:
            raise size_unknown(path, source.tag.note)
        return Slide(path, with_overview(path, source, report), files)
    except BaseException:  # a full disk, or cancelled
        source.close()
        raise


def size_unknown(slide: Path | str, why: str) -> UserError:
    """Return the error where nothing says the size of a slide's pixels."""
    said = f" ({why})" if why else ""
    other = "use the scanner's own file instead of a screenshot, or " if ends_in(str(slide), NAPARI_READS) else ""
    return UserError(
        f"The pixel size of {slide} is not known{said}; {other}give it in µm per pixel, such as 0.5.",
        setting="pixel size",
    )


def _files_of(path: Path) -> Iterable[Path]:
    """Return the files by which a change is noticed: of a folder those at its top, as a Zarr store has thousands."""
    return filter(Path.is_file, path.iterdir()) if path.is_dir() else slide_files(path)


def _facts(files: Iterable[Path]) -> dict[Path, Facts]:
    return {file: facts_of(file) for file in files}
