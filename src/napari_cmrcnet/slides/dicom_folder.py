"""Which file of a folder of DICOM instances is opened: OpenSlide finds those of its series from it, and no others.

Only what identifies an instance is read, from the start of each file (DICOM PS3.5, section 7; PS3.10, section 7.1).
"""

import struct
from contextlib import suppress
from pathlib import Path

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.folders import known_folder, unknown_folder

PREAMBLE = 132  # bytes: 128 of anything, then "DICM"
HEADER = 2**18  # bytes in which the wanted elements lie: they come before the list of tiles
SERIES, COLUMNS, ROWS = (0x0020, 0x000E), (0x0048, 0x0006), (0x0048, 0x0007)
ITEM, ITEM_END, SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
UNDEFINED = 0xFFFFFFFF


def dicom_instance(folder: Path) -> tuple[Path, str]:
    """Return the DICOM file of a folder to open, that with the most pixels, and a sentence if there are other slides.

    Raises
    ------
    UserError
        If the folder has none.
    """
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]  # others among them are passed over
    found = {path: read for path in files if (read := _read(path)) is not None}
    if not found:
        verdict = "neither a DICOM slide nor an output of Space Ranger"
        raise UserError(known_folder(folder) or unknown_folder(folder, verdict, "one of them"))
    slides: dict[str, Path] = {}
    for path, (series, pixels) in sorted(found.items(), key=lambda one: -one[1][1]):  # stable: the first of those alike
        if pixels or not slides:
            slides.setdefault(series, path)
    largest, *others = slides.values()
    if not others:
        return largest, ""
    names = ", ".join(other.name for other in others[:4]) + (" …" if others[4:] else "")
    return largest, (
        f"The folder holds {len(slides)} slides (DICOM series), and the largest is read, with {largest.name}; to "
        f"read another, give a file of it, such as {names}."
    )


def _read(path: Path) -> tuple[str, int] | None:
    """Return the UID of a file's series, ``""`` where it could not be read, and how many pixels the whole image has.

    The file holds a level of that image; the number is 0 where it is no slide. None where the file is not DICOM.
    """
    with open(path, "rb") as stream:
        data = stream.read(HEADER)
    if data[PREAMBLE - 4 : PREAMBLE] != b"DICM":
        return None
    found: dict[tuple[int, int], bytes] = {}
    with suppress(struct.error, IndexError, RecursionError):  # it ends, or it is damaged: OpenSlide will say so
        _walk(data, PREAMBLE, found)
    rows, columns = (int.from_bytes(found.get(tag, b""), "little") for tag in (ROWS, COLUMNS))
    return found.get(SERIES, b"").rstrip(b"\0 ").decode("ascii", "replace"), rows * columns


def _walk(data: bytes, at: int, found: dict[tuple[int, int], bytes] | None) -> int:
    """Read elements, in explicit little endian, up to the end of an item or to the last that is wanted."""
    while at < len(data):
        tag = struct.unpack_from("<HH", data, at)
        if tag == ITEM_END:
            return at + 8
        if found is not None and tag > ROWS:
            return at
        kind = data[at + 4 : at + 6]
        if kind in LONG:
            (length,) = struct.unpack_from("<I", data, at + 8)
            at += 12
        else:
            (length,) = struct.unpack_from("<H", data, at + 6)
            at += 8
        if length == UNDEFINED:
            at = _skip_sequence(data, at)
            continue
        if found is not None and tag in (SERIES, COLUMNS, ROWS):
            found[tag] = data[at : at + length]
        at += length
    return at


def _skip_sequence(data: bytes, at: int) -> int:
    """Return where a sequence ends whose length is not told."""
    while True:
        tag = struct.unpack_from("<HH", data, at)
        (length,) = struct.unpack_from("<I", data, at + 4)
        at += 8
        if tag == SEQUENCE_END:
            return at
        if tag != ITEM:
            raise IndexError
        at = _walk(data, at, None) if length == UNDEFINED else at + length
