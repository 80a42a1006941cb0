"""Regions of a slide from its tiles, with the tiles used last kept decoded."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

import numpy as np

from napari_cmrcnet.common.errors import UserError, first_sentence, is_out_of_memory
from napari_cmrcnet.slides.source import Pixels, Source, TileError

TileKey = tuple[int, int, int]
"""Level, tile row, tile column."""

CACHE_BYTES = 192 * 2**20
WHITE = 255


class TileReader:
    """Reads any rectangle of a source; every tile it needs is decoded once while it is kept.

    A slide has one; who reads in an order of their own, or in other colours, makes another with tiles of its own.

    Parameters
    ----------
    source : Source
        The open slide file.
    capacity : int
        Bytes of decoded tiles to keep.
    through : callable, optional
        What each tile is passed through when it is decoded.
    """

    def __init__(
        self, source: Source, capacity: int = CACHE_BYTES, through: Callable[[Pixels], Pixels] | None = None
    ) -> None:
        self.source, self.through = source, through
        self.cache = TileCache(capacity)

    def read(
        self,
        level: int,
        x: int,
        y: int,
        width: int,
        height: int,
        *,
        skip_damaged: bool = False,
        out: Pixels | None = None,
    ) -> Pixels:
        """Return a rectangle of a level, uint8 (height, width, 3), white outside the slide.

        Parameters
        ----------
        level, x, y, width, height : int
            The rectangle, all in pixels of that level.
        skip_damaged : bool
            Leave tiles white that cannot be decoded, instead of raising TileError.
        out : ndarray of uint8 (height, width, 3), optional
            Where to write it, in place of a new array.
        """
        out = np.empty((height, width, 3), np.uint8) if out is None else out
        size = self.source.levels[level]
        left, right = max(x, 0), min(x + width, size.width)
        top, bottom = max(y, 0), min(y + height, size.height)
        inside = left == x and top == y and right == x + width and bottom == y + height and not skip_damaged
        if not inside:
            out.fill(WHITE)
        if left >= right or top >= bottom:
            return out
        tile_height, tile_width = self.source.tile_sizes[level]
        for row in range(top // tile_height, -(-bottom // tile_height)):
            for column in range(left // tile_width, -(-right // tile_width)):
                try:
                    tile = self.cache.get((level, row, column), self._decode)
                except TileError:
                    if not skip_damaged:
                        raise
                    continue
                tile_y, tile_x = row * tile_height, column * tile_width
                y0, y1 = max(top, tile_y), min(bottom, tile_y + tile_height)
                x0, x1 = max(left, tile_x), min(right, tile_x + tile_width)
                out[y0 - y : y1 - y, x0 - x : x1 - x] = tile[y0 - tile_y : y1 - tile_y, x0 - tile_x : x1 - tile_x]
        return out

    def _decode(self, level: int, row: int, column: int) -> Pixels:
        """Decode a tile, and refuse one that is of another size than its place."""
        size, (height, width) = self.source.levels[level], self.source.tile_sizes[level]
        height, width = min(height, size.height - row * height), min(width, size.width - column * width)
        try:
            tile = self.source.read_tile(level, row, column)
            if tile.shape != (height, width, 3):
                rows, columns, _ = tile.shape
                raise ValueError(f"it holds {columns} × {rows} pixels, and {width} × {height} belong there")
        except UserError as error:  # the file was cut short or removed since it was opened
            raise TileError(str(error)) from error
        except Exception as error:  # decoders raise whatever the damaged bytes meet
            if is_out_of_memory(error):
                raise  # a tile that is called damaged is shown white
            where = f"level {level}, row {row}, column {column}: {first_sentence(error)}"
            raise TileError(f"{self.source.path} has a damaged tile ({where}); copy or download it again.") from error
        return tile if self.through is None else self.through(tile)


class TileCache:
    """The tiles used last, within a number of bytes; any thread may ask, and each tile is decoded by one.

    Parameters
    ----------
    capacity : int
        Bytes to keep.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._tiles: OrderedDict[TileKey, Future[Pixels]] = OrderedDict()  # decoded, damaged, or being decoded
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: TileKey, decode: Callable[[int, int, int], Pixels]) -> Pixels:
        """Return a tile, decoding it unless it is kept or another thread is decoding it already.

        Raises
        ------
        TileError
            If it cannot be decoded; that is remembered like a tile.
        """
        with self._lock:
            known = self._tiles.get(key)
            tile = self._tiles.setdefault(key, known or Future())
            self._tiles.move_to_end(key)
        if known is None:
            self._decode(key, decode, tile)
        if isinstance(error := tile.exception(), TileError):
            raise TileError(*error.args)  # a new one: raised again, the old one would keep every caller's frame
        return tile.result()

    def clear(self) -> None:
        """Forget all tiles."""
        with self._lock:
            self._tiles.clear()
            self._bytes = 0

    def _decode(self, key: TileKey, decode: Callable[[int, int, int], Pixels], tile: Future[Pixels]) -> None:
        try:
            done = partial(tile.set_result, decode(*key))
        except BaseException as error:  # noqa: BLE001  `get` raises it
            done = partial(tile.set_exception, error)  # else a thread that waits for this tile would wait for ever
        with self._lock:  # so that no other thread puts out a tile that is done and not yet counted
            done()
            if self._tiles.get(key) is not tile:  # forgotten meanwhile
                return
            if not isinstance(tile.exception(), TileError | None):
                del self._tiles[key]  # memory ran out: it may be read the next time
            self._bytes += _size(tile)
            while self._bytes > self.capacity and len(self._tiles) > 1:
                self._bytes -= _size(self._tiles.popitem(last=False)[1])


def _size(tile: Future[Pixels]) -> int:
    """Return the bytes of a tile that is decoded, 0 of any other."""
    return 0 if not tile.done() or tile.exception() else tile.result().nbytes
