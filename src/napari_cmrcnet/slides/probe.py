"""A first look at a slide in a process of its own: what ends OpenSlide or fastslide must not end napari.

These decode in compiled code, which a damaged file can make crash; no exception is raised then. So before a slide
is read through one of them for the first time, another process opens it and reads tiles all over each level. That it
went well is kept in the cache folder by the identity of the files, so that a sound slide is looked at once.
"""

import hashlib
import random
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from napari_cmrcnet.common.cache import cache_folder, mark_used
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.files import write_content
from napari_cmrcnet.slides.source import Level, tiles_folder

Reader = Literal["openslide", "fastslide"]

BUDGET_S = 2.0  # of reading; a slide of a few hundred tiles is read whole
MOST_TILES = 1000  # of a level
TIMEOUT_S = 120
FAILED = 1  # exit code where it cannot be opened: who opens it then gets the same error, with its words
STOPPED = (-1, -2, -9, -15)  # exit codes of a process that was ended from outside: the slide may be sound


def probe(path: Path, reader: Reader = "openslide") -> None:
    """Refuse a slide that a reader cannot read without ending the process.

    Parameters
    ----------
    path : Path
        The file that is opened; for DICOM an instance of the slide.
    reader : "openslide" or "fastslide"
        What opens it.

    Raises
    ------
    UserError
        If another process that read it was ended by the system, or did not end within two minutes.
    """
    kept = cache_folder("probes") / _identity(path, reader)
    if not kept.exists():
        _look(path, reader)
        write_content(kept, "sound")
    mark_used(kept)


def _look(path: Path, reader: Reader) -> None:
    command = [sys.executable, "-m", __name__, reader, str(path)]
    try:
        code = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False).returncode
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{path} cannot be read within {TIMEOUT_S} s; it is damaged: copy or download it again."
        ) from None
    if code in STOPPED:
        raise UserError(
            f"Reading {path} was stopped by the system, often because memory ran out; close other programs and open "
            "it again."
        )
    if code not in (0, FAILED):
        raise UserError(f"{path} is damaged so badly that reading it ends the program; copy or download it again.")


def _identity(path: Path, reader: Reader) -> str:
    """Return a name that another content of the slide's files would not have."""
    text = [f"probe 3 {reader} {path.resolve()}"]
    for file in files_of(path):
        facts = file.stat()
        text.append(f"{file.name} {facts.st_size} {facts.st_mtime_ns}")
    return hashlib.sha256("\n".join(text).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def files_of(path: Path) -> Iterable[Path]:
    """Return the files that are read with this one: the instances beside it, the tiles in its folder."""
    if (tiles := tiles_folder(path)) is not None:
        return [path, *sorted(file for file in tiles.rglob("*") if file.is_file())]
    beside = path.suffix.lower() in (".vms", ".vmu", ".dcm", "")
    return sorted(file for file in path.parent.iterdir() if file.is_file()) if beside else [path]


def main(reader: str, path: str) -> int:
    """Read tiles all over each level, as the reader's source would; the exit code says whether it could be opened."""
    from napari_cmrcnet.slides.fastslide_source import FastSlideSource
    from napari_cmrcnet.slides.openslide_source import OpenSlideSource

    try:
        source = FastSlideSource(Path(path)) if reader == "fastslide" else OpenSlideSource(Path(path))
    except UserError:
        return FAILED
    until = time.monotonic() + BUDGET_S
    for level, row, column in _all_over(source.levels, source.tile_sizes):
        with suppress(Exception):  # a tile that cannot be decoded harms nobody
            source.read_tile(level, row, column)
        if time.monotonic() > until:
            break
    source.close()
    return 0


def _all_over(levels: Sequence[Level], tile_sizes: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield level, row and column of tiles in a random order, the levels by turns."""
    rng = random.Random(0)
    orders = []
    for level, (height, width) in zip(levels, tile_sizes, strict=True):
        rows, columns = -(-level.height // height), -(-level.width // width)
        chosen = rng.sample(range(rows * columns), min(MOST_TILES, rows * columns))
        orders.append([divmod(index, columns) for index in chosen])
    for turn in range(max(map(len, orders))):
        yield from ((level, *order[turn]) for level, order in enumerate(orders) if turn < len(order))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
