"""A Slide: a lazily read pyramid with its pixel size, whatever file it comes from."""

import os
import weakref
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from napari_cmrcnet.common.errors import UserError, cannot_read, first_line
from napari_cmrcnet.common.files import check_name
from napari_cmrcnet.common.progress import Progress
from napari_cmrcnet.sections import orientation, slide_openslide
from napari_cmrcnet.sections.resample import Resampler, axis_parts
from napari_cmrcnet.sections.slide_checks import check_expansion, open_tiff
from napari_cmrcnet.sections.slide_dicom import dicom_instance
from napari_cmrcnet.sections.slide_flat import PictureSource, with_overview
from napari_cmrcnet.sections.slide_openslide import OpenSlideSource
from napari_cmrcnet.sections.slide_planes import UnsupportedError
from napari_cmrcnet.sections.slide_probe import files_of, probe
from napari_cmrcnet.sections.slide_reader import CACHE_BYTES, TileReader
from napari_cmrcnet.sections.slide_source import Bounds, Level, Pixels, Source, TileError
from napari_cmrcnet.sections.slide_tiff import TiffSource

__all__ = ["Bounds", "Level", "Slide", "TileError", "open_slide"]

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PICTURE_STARTS = (b"\x89PNG", b"\xff\xd8\xff")
BAND_PIXELS = 2**22  # read at once for a thumbnail
THUMBNAIL_COLUMNS = 256  # resampled at once


class Slide:
    """An open slide. Made by `open_slide`; a context manager; read from any thread; not picklable (reopen by path).

    Parameters
    ----------
    path : Path
        The file, or the folder of a DICOM slide.
    source : Source
        The same, open.

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
    """

    def __init__(self, path: Path, source: Source) -> None:
        self.path = path
        self.levels = source.levels
        self.tile_sizes = source.tile_sizes
        self.shape = (source.levels[0].height, source.levels[0].width)
        self.format, self.bounds, self.orientation = source.format, source.bounds, source.orientation
        self.notes = (*source.notes, *filter(None, [orientation.said_of(source.orientation)]))
        self.mpp, self.mpp_source, self.mpp_note = source.tag.mpp, source.tag.source, source.tag.note
        self._source = source
        self._reader = TileReader(source)
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
        return self.read_level(round(x / downsample), round(y / downsample), width, height, level)

    def read_level(self, x: int, y: int, width: int, height: int, level: int, *, skip_damaged: bool = False) -> Pixels:
        """Return a rectangle as `read_region` does, its corner too in pixels of the level.

        With ``skip_damaged``, tiles that cannot be decoded are white, as where a slide is only looked at.
        """
        return self._reader.read(level, x, y, width, height, skip_damaged=skip_damaged)

    def tile_reader(self, capacity: int = CACHE_BYTES, through: Callable[[Pixels], Pixels] | None = None) -> TileReader:
        """Return a reader with tiles of its own, for who reads in an order of their own, or in other colours.

        Parameters
        ----------
        capacity : int
            Bytes of tiles to keep.
        through : callable, optional
            What each tile is passed through when it is decoded.
        """
        return TileReader(self._source, capacity, through)

    def icc_profile(self) -> bytes:
        """Return the ICC profile of the colours as the file has it, empty without one; no reader here applies it."""
        return self._source.icc_profile()

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
        columns = list(axis_parts(level.width, out.shape[1], THUMBNAIL_COLUMNS))
        band = max(1, int(BAND_PIXELS / level.width * out.shape[0] / level.height))
        for rows in axis_parts(level.height, out.shape[0], band):
            top, bottom = rows.input.start, rows.input.stop
            pixels = self._reader.read(index, 0, top, level.width, bottom - top, skip_damaged=True)
            for part in columns:
                out[rows.output, part.output] = Resampler(rows.weights, part.weights)(pixels[:, part.input])
        return out

    def close(self) -> None:
        """Close the file and forget its tiles."""
        self._reader.cache.clear()
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Slide({str(self.path)!r}, {self.format}, {self.shape[1]} × {self.shape[0]})"


def open_slide(path: str | os.PathLike[str], report: Callable[[Progress], None] | None = None) -> Slide:
    """Open a slide, whatever its format: the content counts, not the file's name.

    Scanner formats are read through OpenSlide (SVS, NDPI, MRXS, SCN, BIF, DICOM …), TIFF and SVS with JPEG tiles
    directly, and PNG and JPEG pictures. Where both can read a TIFF, the one that sees more pyramid levels does.

    Parameters
    ----------
    path : path
        The file; for DICOM any instance of the slide, or the folder with all of them.
    report : callable, optional
        Called with the progress where a large picture without a pyramid gets one, once, in the cache folder.

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
    try:
        source = _open_source(path)
    except OSError as error:
        raise cannot_read(path, error, f"{path} cannot be opened ({first_line(error)}).") from error
    try:
        return Slide(path, with_overview(path, source, report))
    except BaseException:  # a full disk, or cancelled
        source.close()
        raise


def _open_source(path: Path) -> Source:
    if path.is_dir():
        return _openslide(*dicom_instance(path))
    if not path.is_file():
        raise UserError(f"{path} does not exist; check the path.")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty; copy or download it again.")
    with open(path, "rb") as stream:
        start = stream.read(4)
    if start in TIFF_STARTS:
        return _open_tiff(path)
    if start.startswith(PICTURE_STARTS):
        return PictureSource(path, path.read_bytes())
    if path.suffix.lower() == ".mrxs" and not path.with_suffix("").is_dir():
        raise UserError(f"{path} needs the folder {path.with_suffix('').name} with its tiles beside it; copy both.")
    if slide_openslide.vendor(path) is None:
        raise UserError(
            f"{path} is not a slide that can be read (SVS, NDPI, MRXS, SCN, BIF, DICOM, TIFF, OME-TIFF, PNG, JPEG); "
            "check that it is the right file, and whole."
        )
    return _openslide(path)


def _openslide(path: Path, note: str = "") -> Source:
    """Open a slide through OpenSlide, once another process has read it."""
    probe(path)
    source = OpenSlideSource(path, note)
    try:
        check_expansion(path, source.levels, sum(file.stat().st_size for file in files_of(path)))
    except BaseException:
        source.close()
        raise
    return source


def _open_tiff(path: Path) -> Source:
    """Open a TIFF file, once its sizes are checked, with whichever reader serves it best."""
    tiff = open_tiff(path)
    keep = False
    try:
        vendor = slide_openslide.vendor(path)
        if vendor not in (None, "generic-tiff", "aperio"):
            return _openslide(path)
        try:
            source = TiffSource(path, tiff)
        except UnsupportedError as reason:
            return _openslide_after(path, vendor, reason)
        if vendor is not None and (better := _openslide_instead(path, vendor, source)) is not None:
            return better
        keep = True
        return source
    finally:
        if not keep:
            tiff.close()


def _openslide_after(path: Path, vendor: str | None, reason: UnsupportedError) -> Source:
    """Open with OpenSlide what is not read here; where that cannot either, say why it is not read here."""
    refusal = UserError(f"{path} cannot be read: {reason}; {reason.advice}.")
    if vendor is None or not reason.elsewhere:
        raise refusal from reason
    try:
        other = _openslide(path)
    except UserError as error:
        raise refusal from error
    try:
        other.read_tile(len(other.levels) - 1, 0, 0)  # it opens what it cannot decode
    except TileError as error:
        other.close()
        raise refusal from error
    return other


def _openslide_instead(path: Path, vendor: str, source: TiffSource) -> Source | None:
    """Return OpenSlide's view of a TIFF file where it is the fuller one."""
    try:
        other = OpenSlideSource(path)
    except UserError:  # it lacks some of the codecs, and we have opened the file already
        return None
    if len(other.levels) > len(source.levels) or (vendor == "aperio" and not source.complete):
        probe(path)
        return other
    other.close()
    return None
