"""Changes to the structure of binary files: TIFF tags, DICOM elements, JPEG segments, PNG chunks, HDF5 objects."""

import contextlib
import io
import random
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from benchmarks.faults.mutations import change_bytes, integer, text

TIFF_TAGS = (254, 256, 257, 258, 259, 262, 270, 273, 274, 277, 278, 279, 282, 283, 284, 296, 317, 320, 322, 323, 324,
             325, 330, 338, 339, 347, 530, 532, 33550, 34665, 34675, 50838, 65420)  # fmt: skip
TIFF_KINDS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
LONG_VR = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT")
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def change_tiff(rng: random.Random, data: bytes) -> bytes:
    """Change tags of a little-endian TIFF or BigTIFF: number, type, count, value; or what they point to."""
    if rng.random() < 0.15:
        return change_bytes(rng, data)
    out = bytearray(data)
    big = data[2] == 43
    count_at, value_at, word = (4, 12, "<Q") if big else (4, 8, "<I")
    size = struct.calcsize(word)
    entries = list(_tiff_entries(data))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        kind, place = rng.choice(entries)
        if kind == "next":
            struct.pack_into(
                word, out, place, rng.choice((0, 8, rng.randrange(len(data)), integer(rng))) % 2 ** (8 * size)
            )
            continue
        match rng.randrange(6):
            case 0:
                struct.pack_into("<H", out, place, rng.choice(TIFF_TAGS))
            case 1:
                struct.pack_into("<H", out, place + 2, rng.choice((*TIFF_KINDS, 0, 14, 999)))
            case 2:
                struct.pack_into(word, out, place + count_at, integer(rng) % 2 ** (8 * size))
            case 3 | 4:
                struct.pack_into(word, out, place + value_at, integer(rng) % 2 ** (8 * size))
            case 5:
                _change_pointed(rng, out, place, value_at, count_at, word)
    return bytes(out)


def _change_pointed(rng: random.Random, out: bytearray, place: int, value_at: int, count_at: int, word: str) -> None:
    """Change numbers or letters of a value that lies elsewhere in the file."""
    (kind,) = struct.unpack_from("<H", out, place + 2)
    (count,) = struct.unpack_from(word, out, place + count_at)
    (start,) = struct.unpack_from(word, out, place + value_at)
    width = TIFF_KINDS.get(kind, 1)
    if count * width <= struct.calcsize(word) or not 0 < start < len(out):
        return
    if kind == 2:
        letters = text(rng).encode("utf-8", "replace")[: min(count, 200)]
        at = start + rng.randrange(count)
        out[at : at + len(letters)] = letters[: max(0, len(out) - at)]
        return
    for _ in range(rng.choice((1, 1, 4))):
        at = start + width * rng.randrange(min(count, 10_000))
        if at + width <= len(out):
            out[at : at + width] = (integer(rng) % 2 ** (8 * width)).to_bytes(width, "little")


def _tiff_entries(data: bytes) -> Iterator[tuple[str, int]]:
    """Yield where the entries of all directories lie, and where each directory names the next."""
    big = data[2] == 43
    head, number, length, word = (8, "<Q", 20, "<Q") if big else (4, "<H", 12, "<I")
    yield "next", head
    (place,) = struct.unpack_from(word, data, head)
    seen: set[int] = set()
    while 0 < place < len(data) and place not in seen:
        seen.add(place)
        (count,) = struct.unpack_from(number, data, place)
        start = place + struct.calcsize(number)
        yield from (("entry", start + length * index) for index in range(count))
        yield "next", start + length * count
        (place,) = struct.unpack_from(word, data, start + length * count)


def change_dicom(rng: random.Random, data: bytes) -> bytes:
    """Change elements of a DICOM file: tag, kind, length, value; leave out, repeat or move them."""
    if rng.random() < 0.15:
        return data[:132] + change_bytes(rng, data[132:])
    elements = [bytearray(element) for element in _dicom_elements(data)]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        index = rng.randrange(len(elements))
        element = elements[index]
        head = 12 if bytes(element[4:6]) in LONG_VR else 8
        match rng.randrange(8):
            case 0 | 1 | 2:
                elements[index] = _with_value(rng, element, head)
            case 3:
                at, length = (8, 4) if head == 12 else (6, 2)
                element[at : at + length] = (integer(rng) % 2 ** (8 * length)).to_bytes(length, "little")
            case 4:
                element[4:6] = rng.choice((b"US", b"UL", b"CS", b"DS", b"IS", b"SQ", b"OB", b"UN", b"FD", b"zz"))
            case 5:
                element[:4] = struct.pack(
                    "<HH", rng.choice((0x0002, 0x0008, 0x0028, 0x0048, 0x7FE0)), integer(rng) % 65536
                )
            case 6 if len(elements) > 1:
                del elements[index]
            case _:
                elements.insert(rng.randrange(len(elements)), bytearray(element))
    return data[:132] + b"".join(elements)


def _with_value(rng: random.Random, element: bytearray, head: int) -> bytearray:
    old = bytes(element[head:])
    numbers = {b"US": 2, b"UL": 4, b"SS": 2, b"SL": 4, b"FD": 8}
    if width := numbers.get(bytes(element[4:6])):
        new = (integer(rng) % 2 ** (8 * width)).to_bytes(width, "little")
    elif head == 12:
        new = change_bytes(rng, old)
    else:
        new = rng.choice(
            (text(rng).encode("utf-8", "replace")[:60_000], change_bytes(rng, old), str(integer(rng)).encode())
        )
        new += b" " * (len(new) % 2)
    length = len(new).to_bytes(4, "little") if head == 12 else (len(new) % 65536).to_bytes(2, "little")
    return element[:6] + (b"\0\0" + length if head == 12 else length) + new


def _dicom_elements(data: bytes) -> Iterator[bytes]:
    """Yield the elements of an explicit little-endian file, at its top."""
    place = 132
    while place + 8 <= len(data):
        long = data[place + 4 : place + 6] in LONG_VR
        head = 12 if long else 8
        length = int.from_bytes(data[place + 8 : place + 12] if long else data[place + 6 : place + 8], "little")
        end = min(len(data), place + head + length)
        yield data[place:end]
        place = end


def change_jpeg(rng: random.Random, data: bytes) -> bytes:
    """Change segments of a JPEG file: marker, length, content; leave out, repeat or move them."""
    if rng.random() < 0.2:
        return change_bytes(rng, data)
    segments, place = [], 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != 0xDA:
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        segments.append(bytearray(data[place : place + 2 + length]))
        place += 2 + length
    for _ in range(rng.choice((1, 1, 2, 3))):
        index = rng.randrange(len(segments))
        segment = segments[index]
        match rng.randrange(6):
            case 0:
                segment[1] = rng.choice((0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0xDB, 0xDD, 0xE0, 0xE1, 0xEE, 0xFE, 0xD9))
            case 1:
                segment[2:4] = (integer(rng) % 65536).to_bytes(2, "big")
            case 2:
                del segments[index : index + (len(segments) > 1)]
            case 3:
                segments.insert(rng.randrange(len(segments)), bytearray(segment))
            case _ if len(segment) > 5:
                at = rng.randrange(4, len(segment) - 1)
                segment[at : at + 2] = (integer(rng) % 65536).to_bytes(2, "big")
    scan = data[place:]
    return data[:2] + b"".join(segments) + (change_bytes(rng, scan) if rng.random() < 0.2 else scan)


def change_png(rng: random.Random, data: bytes) -> bytes:
    """Change chunks of a PNG file, their checksums made right again in most."""
    if rng.random() < 0.2:
        return change_bytes(rng, data)
    chunks, place = [], 8
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    for _ in range(rng.choice((1, 1, 2))):
        index = rng.randrange(len(chunks))
        name, content = chunks[index]
        match rng.randrange(5):
            case 3 if name == b"IDAT" and content[:1] == b"x":
                with contextlib.suppress(zlib.error):  # one changed before
                    pixels = zlib.decompressobj().decompress(content)
                    chunks[index] = (name, zlib.compress(change_bytes(rng, pixels), 1))
            case 0:
                chunks[index] = (
                    rng.choice((b"IHDR", b"PLTE", b"IDAT", b"tRNS", b"gAMA", b"iCCP", b"acTL", b"IEND")),
                    content,
                )
            case 1:
                chunks.insert(rng.randrange(len(chunks)), (name, content))
            case 2 if name == b"IHDR":
                width, height = (integer(rng) % 2**32 for _ in range(2))
                chunks[index] = (name, struct.pack(">II", width, height) + content[8:])
            case _:
                chunks[index] = (name, change_bytes(rng, content))
    out = SIGNATURE
    for name, content in chunks:
        checksum = zlib.crc32(name + content) if rng.random() < 0.95 else 0
        out += struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)
    return out


def change_hdf5(rng: random.Random, data: bytes) -> bytes:
    """Change objects of an HDF5 file: kinds, shapes, values, attributes, links; or its bytes."""
    if rng.random() < 0.2:
        return change_bytes(rng, data)
    stream = io.BytesIO(data)
    with h5py.File(stream, "r+") as file:
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            names: list[str] = []
            file.visit(names.append)
            try:
                _change_object(rng, file, rng.choice(names)) if names else None
            except (OSError, RuntimeError, TypeError, ValueError, KeyError, OverflowError):
                continue  # not every change fits every object
    changed = stream.getvalue()
    return change_bytes(rng, changed) if rng.random() < 0.05 else changed


def _change_object(rng: random.Random, file: Any, name: str) -> None:
    item = file.get(name)
    match rng.randrange(10):
        case 0:
            del file[name]
        case 1:
            file.move(name, rng.choice(("x", f"{name}_", "uns/x", "raw", "layers/counts", "obsm/spatial")))
        case 2:
            del file[name]
            file[name] = rng.choice(
                (h5py.SoftLink("/"), h5py.SoftLink("/nowhere"), h5py.ExternalLink("/etc/hostname", "/"), file["/"])
            )
        case 3 | 4:
            attributes = list((file if rng.random() < 0.1 else item).attrs)
            if attributes:
                _change_attribute(rng, item, rng.choice(attributes))
        case _ if isinstance(item, h5py.Dataset):
            _change_dataset(rng, file, name, item)
        case _:
            other: list[str] = []
            file.visit(other.append)
            copied = rng.choice(other)
            del file[name]
            file.copy(copied, name) if copied in file else None


def _change_attribute(rng: random.Random, item: Any, name: str) -> None:
    if rng.random() < 0.25:
        del item.attrs[name]
        return
    kinds = ("array", "csr_matrix", "csc_matrix", "dataframe", "categorical", "dict", "raw", "string-array", "null",
             "nullable-integer", "awkward-array", "anndata")  # fmt: skip
    item.attrs[name] = rng.choice(
        (
            rng.choice(kinds),
            text(rng)[:60_000].replace("\0", ""),
            integer(rng) % 2**63,
            [integer(rng) % 2**63] * 2,
            np.nan,
            [],
        )
    )


def _change_dataset(rng: random.Random, file: Any, name: str, item: Any) -> None:
    shape, attributes = item.shape or (), dict(item.attrs)
    if rng.random() < 0.45 and 0 < (item.size or 0) < 2**20 and item.dtype.kind in "iuf":  # only its values
        values = np.array(item[()]).reshape(-1)
        limits = np.iinfo(item.dtype) if item.dtype.kind in "iu" else np.finfo(item.dtype)
        odd = (
            (limits.min, limits.max, 0, 1)
            if item.dtype.kind in "iu"
            else (np.nan, np.inf, -np.inf, -1, 0.5, limits.max)
        )
        for _ in range(rng.choice((1, 1, 5, values.size))):
            values[rng.randrange(values.size)] = rng.choice(odd)
        item[()] = values.reshape(shape)
        return
    kind = rng.choice(
        ("i1", "i4", "i8", "u8", "f2", "f4", "f8", "c8", "?", "S3", "V5", h5py.string_dtype(), "f8", "i8")
    )
    longer = tuple(side + rng.choice((-1, 1)) for side in shape)
    wanted = rng.choice((shape, (), (0,), longer, shape[::-1], (*shape, 2), shape[:1], (2**20, 2**12), (2**40,)))
    del file[name]
    if np.prod(wanted, dtype=float) > 2**22:
        file.create_dataset(name, wanted, kind, chunks=(64,) * len(wanted))  # HDF5 makes it up from nothing
    elif rng.random() < 0.1:
        file.create_dataset(name, (4,), "i8", external=[("/etc/hostname", 0, 32)])
    else:
        made = file.create_dataset(name, wanted, kind)
        if isinstance(kind, str) and kind[0] in "iuf" and wanted:
            made[...] = rng.choice((0, 1, -1 if kind[0] != "u" else 3, 2))
    for attribute, kept in attributes.items():
        file[name].attrs[attribute] = kept
