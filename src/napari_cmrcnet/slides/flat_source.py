"""Pictures without a pyramid: PNG and JPEG in memory, and lower levels for what is too large to show at once.

The lower levels are built once, in the cache folder, one tiled TIFF file a level, without loss. They are keyed by the
slide's path, size and time of change, not by its content: hashing 10 GB at every opening would cost more than reading
what is asked for.
"""

import hashlib
import io
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from functools import cached_property, partial
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from napari_cmrcnet.common.cache import cache_folder, mark_used, trim_cache
from napari_cmrcnet.common.errors import UserError, is_out_of_memory, undamaged
from napari_cmrcnet.common.files import atomic_folder
from napari_cmrcnet.common.locks import when_free
from napari_cmrcnet.common.progress import Progress, finish, in_thread
from napari_cmrcnet.slides.checks import check_expansion, jpeg_size, open_tiff, png_size
from napari_cmrcnet.slides.colours import to_rgb
from napari_cmrcnet.slides.orientation import exif_orientation
from napari_cmrcnet.slides.source import Facts, Level, Pixels, PixelTag, Source, levels_of
from napari_cmrcnet.slides.tiff_source import TiffSource
from napari_cmrcnet.slides.tile_reader import TileReader

SHOWN_PIXELS = 2**24  # 4096 × 4096: what is shown, and kept in memory, without a pyramid
MAX_PICTURE_PIXELS = 2**30  # 3 GB decoded, which a JPEG or PNG needs once
MAX_TILE_PIXELS = 2**22  # of larger ones, such as a picture in a single strip, the full resolution is kept too
TILE = 256
LAST_LEVEL = 1024  # a level is halved until neither side is longer

Report = Callable[[Progress], None]


class PictureSource(Source):
    """A PNG or JPEG picture, decoded into memory. Its resolution tag is not used: it is the printer's.

    Parameters
    ----------
    path : Path
        The file.
    data : bytes
        Its content.

    Raises
    ------
    UserError
        If it is damaged, cut short, larger than 2^30 pixels, or in the colours of a printer (CMYK).
    """

    def __init__(self, path: Path, data: bytes) -> None:
        self.path, self._data = path, data
        with undamaged(path, ValueError):
            self.format, width, height = _header(path, data)
        if width * height > MAX_PICTURE_PIXELS:
            raise UserError(
                f"{path} has {width} × {height} pixels, too many for a {self.format} file; save it as a tiled TIFF "
                "pyramid."
            )
        self.levels: tuple[Level, ...] = (Level(width, height, 1.0),)
        check_expansion(path, self.levels, [path])
        self._shape = (height, width, 3)
        self.orientation = exif_orientation(data)
        if width * height <= SHOWN_PIXELS:
            _ = self._pixels  # damage is told at once; a larger one is decoded only to build its pyramid
        self.tile_sizes: tuple[tuple[int, int], ...] = ((TILE, TILE),)
        self.tag = PixelTag(note=f"a {self.format} file's resolution tag is the printer's and is not used")

    @cached_property
    def _pixels(self) -> Pixels:
        with undamaged(self.path):  # codecs raise whatever the damaged bytes meet
            decode = imagecodecs.png_decode if self.format == "PNG" else imagecodecs.jpeg_decode
            pixels = to_rgb(decode(self._data))
            if pixels.shape != self._shape:
                (height, width, _), (rows, columns, _) = self._shape, pixels.shape
                raise ValueError(f"its header claims {width} × {height} pixels, but it holds {columns} × {rows}")
        return pixels

    def read_tile(self, level: int, row: int, column: int) -> Pixels:  # noqa: ARG002  it has one level
        """Return a view of one tile."""
        return self._pixels[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]

    def icc_profile(self) -> bytes:
        """Return the ICC profile as the file has it."""
        if self._shape[0] * self._shape[1] > (Image.MAX_IMAGE_PIXELS or 0):  # Pillow warns of larger ones
            return b""
        try:
            with Image.open(io.BytesIO(self._data)) as image:
                return image.info.get("icc_profile") or b""
        except (OSError, ValueError, SyntaxError):
            return b""

    def close(self) -> None:
        """Let go of the pixels."""
        self.__dict__.pop("_pixels", None)


def _header(path: Path, data: bytes) -> tuple[str, int, int]:
    """Return format, width and height of a picture, from its header."""
    if data[:4] == b"\x89PNG":
        return "PNG", *png_size(data)
    width, height, components, scan = jpeg_size(data)
    if components not in (1, 3):
        raise UserError(f"{path} has {components} colours as for a printer (CMYK); save it again in RGB.")
    if data.find(b"\xff\xd9", scan) < 0:
        raise ValueError("its end is missing")
    return "JPEG", width, height


class StackedSource(Source):
    """Sources of one level each, as the levels of one slide.

    Parameters
    ----------
    sources : list of Source
        The full resolution first; format and pixel size are the ones of ``first``. All others are of the cache.
    first : Source
        The slide as the user gave it.
    """

    def __init__(self, sources: list[Source], first: Source) -> None:
        self._sources, self._first, self._closed = sources, first, False
        self.levels = levels_of([(source.levels[0].width, source.levels[0].height) for source in sources])
        self.tile_sizes = tuple(source.tile_sizes[0] for source in sources)
        self.path, self.format, self.tag, self.bounds = first.path, first.format, first.tag, first.bounds
        self.orientation, self.notes = first.orientation, first.notes

    def read_tile(self, level: int, row: int, column: int) -> Pixels:
        """Decode one tile, uint8 (height, width, 3); one that is damaged in the cache is made again."""
        source, size = self._sources[level], self.levels[level]
        try:
            return source.read_tile(0, row, column)
        except Exception as error:
            if source is self._first or self._closed or is_out_of_memory(error):
                raise
        with suppress(OSError):  # without it, the levels are built again when the slide is opened next
            source.path.unlink()
        above, shrink = (self, 2) if level else (self._first, 1)
        tile = _tile(TileReader(above), max(level - 1, 0), column * TILE, row * TILE, shrink)
        return tile[: size.height - row * TILE, : size.width - column * TILE]

    @property
    def files_read(self) -> Mapping[Path, Facts]:
        """What was read of the slide as the user gave it."""
        return self._first.files_read

    def icc_profile(self) -> bytes:
        """Return the profile of the slide as the user gave it."""
        return self._first.icc_profile()

    def close(self) -> None:
        """Close all files, each once; a thread that reads one meanwhile finds no damage."""
        self._closed = True
        for source in {self._first, *self._sources}:
            source.close()


def with_overview(path: Path, source: Source, report: Report | None = None) -> Source:
    """Give a slide of one level the lower levels that it lacks, from the cache or built now.

    Parameters
    ----------
    path : Path
        The slide.
    source : Source
        The same, open. A picture's pixels are freed: the cache holds the full resolution, too.
    report : callable, optional
        Called with the progress of building; an error it raises ends the building, and nothing is left.

    Returns
    -------
    Source
        The slide as given where it is small or has levels already.

    Raises
    ------
    UserError
        If a TIFF file holds so little for its size in pixels that its tiles cannot be a slide's.
    """
    size = source.levels[0]
    if len(source.levels) > 1 or size.width * size.height <= SHOWN_PIXELS:
        return source
    if isinstance(source, TiffSource):
        check_expansion(path, source.levels, [path])
    tile_height, tile_width = source.tile_sizes[0]
    whole = isinstance(source, PictureSource) or tile_height * tile_width > MAX_TILE_PIXELS
    folder = cache_folder("overviews") / _key(path)
    try:
        levels = _open_levels(folder, size, whole)
    except (UserError, OSError):  # none yet, or damaged since
        levels = _built_levels(folder, source, whole, report)
    mark_used(folder)
    if isinstance(source, PictureSource):
        source.close()
    return StackedSource(levels if whole else [source, *levels], source)


def _key(path: Path) -> str:
    facts = path.stat()
    text = f"overview 1\n{path.resolve()}\n{facts.st_size}\n{facts.st_mtime_ns}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _built_levels(folder: Path, source: Source, whole: bool, report: Report | None) -> list[Source]:
    with finish(when_free(folder), report):
        with suppress(UserError, OSError):
            return _open_levels(folder, source.levels[0], whole)  # another process has built them meanwhile
        shutil.rmtree(folder, ignore_errors=True)
        with atomic_folder(folder) as temporary:
            _build(temporary, source, whole, report)
        trim_cache("overviews")
        return _open_levels(folder, source.levels[0], whole)


def _open_levels(folder: Path, size: Level, whole: bool) -> list[Source]:
    width, height, sizes = size.width, size.height, [(size.width, size.height)] * whole
    while max(width, height) > LAST_LEVEL:
        width, height = -(-width // 2), -(-height // 2)
        sizes.append((width, height))
    with ExitStack() as opened:
        files = sorted(folder.iterdir())
        levels: list[Source] = [TiffSource(file, opened.enter_context(open_tiff(file))) for file in files]
        if [(level.levels[0].width, level.levels[0].height) for level in levels] != sizes:
            raise UserError(f"{folder} is incomplete.")
        opened.pop_all()
        return levels


def _build(folder: Path, source: Source, whole: bool, report: Report | None) -> None:
    """Write the levels, each from the one before: ``00.tif``, a copy, where asked; ``01.tif`` and so on."""
    with ExitStack() as opened:
        if isinstance(source, PictureSource):  # its first tile takes all of it, for which a window would stand still
            finish(in_thread(partial(source.read_tile, 0, 0, 0), Progress("Building the overview", 0, 0)), report)
        if whole:
            source = _write_level(folder / "00.tif", source, 1, report)
            opened.callback(source.close)
        number = 0
        while max(source.levels[0].width, source.levels[0].height) > LAST_LEVEL:
            number += 1
            source = _write_level(folder / f"{number:02}.tif", source, 2, report)
            opened.callback(source.close)


def _write_level(file: Path, source: Source, shrink: int, report: Report | None) -> Source:
    """Write one level of a source, made ``shrink`` times smaller, and open it."""
    size = source.levels[0]
    shape = (-(-size.height // shrink), -(-size.width // shrink), 3)
    tifffile.imwrite(
        file,
        _shrunken_tiles(source, shape, shrink, report),
        shape=shape,
        dtype=np.uint8,
        photometric="rgb",
        tile=(TILE, TILE),
        compression="zstd",
        compressionargs={"level": 1},
        predictor=True,
        bigtiff=True,
        metadata=None,
        maxworkers=1,
    )
    return TiffSource(file, open_tiff(file))


def _shrunken_tiles(
    source: Source, shape: tuple[int, int, int], shrink: int, report: Report | None
) -> Iterator[Pixels]:
    """Yield the tiles of the next level in file order; a damaged tile is white in the copies made from it."""
    reader = TileReader(source)
    for y in range(0, shape[0], TILE):
        for x in range(0, shape[1], TILE):
            if report is not None:  # with each tile, as a window that waits lives by it
                report(Progress("Building the overview", y, shape[0], "rows"))
            yield _tile(reader, 0, x, y, shrink)


def _tile(reader: TileReader, level: int, x: int, y: int, shrink: int) -> Pixels:
    """Return the tile at (x, y) of a level that is made ``shrink`` times smaller from this one."""
    size = reader.source.levels[level]
    x, y, side = x * shrink, y * shrink, TILE * shrink
    region = reader.read(level, x, y, side, side, skip_damaged=shrink > 1)
    return region if shrink == 1 else _halved(region, size.width - x, size.height - y)


def _halved(pixels: Pixels, width: int, height: int) -> Pixels:
    """Average 2 × 2 pixels; of an odd image, the last column and row (at ``width``, ``height``) count twice."""
    if 0 < width < pixels.shape[1]:
        pixels[:, width] = pixels[:, width - 1]
    if 0 < height < pixels.shape[0]:
        pixels[height] = pixels[height - 1]
    quads = pixels.reshape(pixels.shape[0] // 2, 2, pixels.shape[1] // 2, 2, 3)
    return np.asarray((quads.sum(axis=(1, 3), dtype=np.uint16) + 2) >> 2, dtype=np.uint8)
