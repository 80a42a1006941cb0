"""Texts of varying length in an HDF5 file: whether what the file says of them can be true.

HDF5 stores such texts in collections, and at each place of a dataset or attribute only where its text lies and how long
it is. The library believes both: where the parts of a collection take no room it never ends, and for a damaged length
it takes up to 4 GB before it looks for the text. Sources: HDF5 File Format Specification 3.0, sections III.E (global
heap), IV.A.1 (object headers) and IV.A.2.m (attributes).
"""

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

HEAP = b"GCOL\x01\0\0\0"  # how a collection begins
BLOCK = 2**24  # bytes searched at a time
REFERENCE = np.dtype([("length", "<u4"), ("collection", "<u8"), ("number", "<u4")])
CONTINUED, ATTRIBUTE, TEXT = 0x10, 0x0C, 9  # kinds of messages, and the class of types of varying length
DEFLATE, SHUFFLE = 1, 2


def longest_text(path: Path) -> int:
    """Check that the parts of each collection of texts fill it, and return the length of the longest in bytes.

    A collection is a head of 16 bytes with the size of all, then parts with a head of 16 bytes each, with number (0 for
    the free rest) and size, filled up to 8 bytes.

    Raises
    ------
    ValueError
        If the parts of one do not.
    """
    longest = 0
    with open(path, "rb") as stream:
        for start in range(0, path.stat().st_size, BLOCK):
            stream.seek(start)
            block = stream.read(BLOCK + len(HEAP) - 1)
            place = block.find(HEAP)
            while place >= 0:
                stream.seek(start + place)
                found = _longest_of(stream)
                if found is None:
                    raise ValueError(f"the texts at byte {start + place:,} do not follow each other")
                longest = max(longest, found)
                place = block.find(HEAP, place + 1)
    return longest


def _longest_of(stream: BinaryIO) -> int | None:
    size = int.from_bytes(stream.read(16)[8:], "little")
    content = stream.read(max(0, size - 16)) if size <= os.fstat(stream.fileno()).st_size else b""
    if len(content) != size - 16:
        return None
    place, longest = 0, 0
    while place + 16 <= len(content):
        number, length = int.from_bytes(content[place : place + 2], "little"), content[place + 8 : place + 16]
        taken = int.from_bytes(length, "little")
        if number == 0:
            return longest if place + taken == len(content) else None
        longest = max(longest, taken)
        place += 16 + -(-taken // 8) * 8
    return longest if place <= len(content) else None


def check_texts(stream: BinaryIO, item: Any, longest: int, base: int) -> None:
    """Refuse a dataset or group of which a value or attribute claims to be a longer text than the file holds.

    Not looked at, as nothing here reads them: texts within records, and attributes beyond the eighth of an object.

    Parameters
    ----------
    stream : binary file
        The file itself.
    item : h5py.Dataset or h5py.Group
        One of its objects.
    longest : int
        What `longest_text` found, in bytes.
    base : int
        Where addresses are counted from: the bytes before the file begins, its user block.

    Raises
    ------
    ValueError
        If it does.
    """
    parts = _attribute_texts(stream, base, h5py.h5o.get_info(item.id).addr)
    for part in (*parts, *(_dataset_texts(stream, item) if isinstance(item, h5py.Dataset) else ())):
        references = np.frombuffer(part[: len(part) // REFERENCE.itemsize * REFERENCE.itemsize], REFERENCE)
        if references.size and references["length"].max() > longest:
            raise ValueError(f"{item.name} claims a text of {references['length'].max():,} bytes")


def _dataset_texts(stream: BinaryIO, item: h5py.Dataset) -> Iterator[bytes]:
    """Yield the values of a dataset of texts as they are stored."""
    kind = item.id.get_type()
    if not (isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str()):
        return
    if item.chunks is None:
        start = item.id.get_offset()
        if start is not None:
            stream.seek(start)
            yield _read(stream, item.size * REFERENCE.itemsize)
        return
    plist = item.id.get_create_plist()
    filters = [plist.get_filter(index)[0] for index in range(plist.get_nfilters())]
    size = int(np.prod(item.chunks)) * REFERENCE.itemsize
    places: list[tuple[int, ...]] = []
    item.id.chunk_iter(lambda chunk: places.append(chunk.chunk_offset))
    for place in places:
        left_out, content = item.id.read_direct_chunk(place)
        used = [code for index, code in enumerate(filters) if not left_out >> index & 1]
        if set(used) <= {DEFLATE, SHUFFLE}:  # what else there is, nobody writes texts with
            yield _unpacked(content, used, size)


def _read(stream: BinaryIO, size: int) -> bytes:
    """Read so many bytes, or what the file has: Python takes the memory before it looks."""
    return stream.read(min(size, os.fstat(stream.fileno()).st_size))


def _unpacked(content: bytes, filters: list[int], size: int) -> bytes:
    for code in reversed(filters):
        if code == DEFLATE:
            try:
                content = zlib.decompressobj().decompress(content, size)
            except zlib.error as error:
                raise ValueError(f"a part cannot be unpacked: {error}") from error
        elif len(content) % REFERENCE.itemsize == 0:
            content = np.frombuffer(content, np.uint8).reshape(REFERENCE.itemsize, -1).T.tobytes()
    return content


def _attribute_texts(stream: BinaryIO, base: int, address: int) -> Iterator[bytes]:
    """Yield the values of the attributes of text that stand in the header of an object."""
    for kind, shared, content in _messages(stream, base, address):
        if kind != ATTRIBUTE or shared or len(content) < 9:
            continue
        version, flags, *sizes = struct.unpack_from("<BBHHH", content)
        filled: Callable[[int], int] = (lambda size: -(-size // 8) * 8) if version == 1 else int
        name, described, space = map(filled, sizes)
        start = 8 + (version == 3) + name
        if start < len(content) and content[start] & 15 == TEXT and not (version > 1 and flags & 1):
            yield content[start + described + space :]


def _messages(stream: BinaryIO, base: int, address: int) -> Iterator[tuple[int, bool, bytes]]:
    """Yield kind, whether it stands elsewhere, and content of what the header of an object says."""
    stream.seek(base + address)
    head = stream.read(48)
    old = head[:4] != b"OHDR"
    if old:
        form, (size,), start = "<HHB3x", struct.unpack_from("<I", head, 8), address + 16
    else:
        flags = head[5]
        place, width = 6 + 16 * (flags >> 5 & 1) + 4 * (flags >> 4 & 1), 1 << (flags & 3)
        form = "<BHB2x" if flags & 4 else "<BHB"
        size, start = int.from_bytes(head[place : place + width], "little"), address + place + width
    waiting, seen = [(start, size)], set()
    while waiting:
        start, size = waiting.pop()
        if start in seen:
            continue
        seen.add(start)
        stream.seek(base + start)
        block, place, width = _read(stream, size), 0, struct.calcsize(form)
        while place + width <= len(block):
            kind, length, flags = struct.unpack_from(form, block, place)
            content = block[place + width : place + width + length]
            if kind == CONTINUED and len(content) >= 16:
                start, size = struct.unpack_from("<QQ", content)
                waiting.append((start, size) if old else (start + 4, max(0, size - 8)))  # name and checksum around it
            yield kind, bool(flags & 2), content
            place += width + length
