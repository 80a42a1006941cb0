"""Changes to bytes, texts and JSON, each drawn from a random generator: the same seed gives the same change."""

import gzip
import json
import random
import re
import struct
from collections.abc import Callable
from typing import Any

Mutator = Callable[[random.Random, bytes], bytes]
"""Changes the content of a file."""

INTEGERS = (
    0,
    1,
    2,
    3,
    7,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    65536,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
)
TEXTS = (
    "", " ", "0", "-1", "1", "nan", "inf", "-inf", "1e308", "1e400", "9" * 25, "1,5", "0.5", "true", "None", "=1+1",
    "\u202egnp", "\ud83e\uddec", "a\x1b]0;x\x07", "a\x00b", "µm", "ü" * 300, "A" * 140_000, "\n", "\t", '"', "'", "<b>",
    "|", "$x^$", "../../etc/passwd", "/etc/passwd", "CON", "hf-hub:no/model", "\ufeff",
)  # fmt: skip
MOST = 2**21  # bytes of a table: what takes long may be large, but not larger
DEPTHS = (3, 50, 2000, 100_000)


def integer(rng: random.Random) -> int:
    """Return a whole number at which programs go wrong, or any."""
    return rng.choice(INTEGERS) if rng.random() < 0.7 else rng.getrandbits(32)


def text(rng: random.Random) -> str:
    """Return a text at which programs go wrong, or any."""
    if rng.random() < 0.8:
        return rng.choice(TEXTS)
    return "".join(chr(rng.randint(32, 0x24FF)) for _ in range(rng.randint(1, 20)))


def change_bytes(rng: random.Random, data: bytes) -> bytes:
    """Change a few places of a file, whatever it holds."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        place = rng.randrange(len(out) + 1)
        length = min(len(out) - place, rng.choice((1, 2, 4, 8, 16, 64, 512)))
        match rng.randrange(9):
            case 0 if place < len(out):
                out[place] ^= 1 << rng.randrange(8)
            case 1 if place < len(out):
                out[place] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
            case 2 | 3:
                kind = rng.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
                value = struct.pack(kind, integer(rng) % 2 ** (8 * struct.calcsize(kind)))
                out[place : place + len(value)] = value
            case 4:
                del out[place : place + length]
            case 5:
                out[place:place] = out[place : place + length]
            case 6:
                out[place:place] = rng.randbytes(length)
            case 7:
                out[place : place + length] = bytes(length)
            case 8:
                del out[max(place, rng.randrange(len(out) + 1)) :]
    return bytes(out)


def change_table(rng: random.Random, data: bytes) -> bytes:
    """Change cells, lines, separators or the encoding of a text table."""
    lines = data.decode("utf-8").split("\n")
    for _ in range(rng.choice((1, 1, 2, 4))):
        row = rng.choice((0, rng.randrange(len(lines))))
        separator = max(",\t ;", key=lines[row].count)
        cells = lines[row].split(separator)
        column = rng.randrange(len(cells))
        match rng.randrange(9):
            case 0 | 1 | 2:
                cells[column] = text(rng)
            case 3:
                del cells[column]
            case 4:
                cells.insert(column, cells[rng.randrange(len(cells))])
            case 5:
                rng.shuffle(cells)
            case 6:
                cells = [text(rng)[:1000]] * rng.choice((1, 2, 2000))
            case 7:
                other = rng.randrange(len(lines))
                lines[other], cells = lines[row], lines[other].split(separator)
            case 8:
                cells = cells * 2
        lines[row] = separator.join(cells)
    content = "\n".join(lines)
    for old, new in ((",", rng.choice((";", "\t", "|"))), ("\n", rng.choice(("\r\n", "\r", "\n\n")))):
        if rng.random() < 0.06:
            content = content.replace(old, new)
    coding = rng.choices(("utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"), (90, 3, 3, 2, 2))[0]
    changed = content.encode(coding, "replace")[:MOST]
    return change_bytes(rng, changed) if rng.random() < 0.15 else changed


def packed(change: Mutator) -> Mutator:
    """Change what is in a gzip file, or the file itself."""

    def mutate(rng: random.Random, data: bytes) -> bytes:
        if rng.random() < 0.3:
            return change_bytes(rng, data)
        return gzip.compress(change(rng, gzip.decompress(data)), 1, mtime=0)

    return mutate


def change_json(rng: random.Random, data: bytes) -> bytes:
    """Change entries of a JSON file: their values, kinds, names and nesting."""
    tree = [json.loads(data)]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        holder, key = _place(rng, tree)
        match rng.randrange(8):
            case 0 | 1 | 2 | 3:
                holder[key] = value(rng)
            case 4:
                del holder[key]
                if not tree:
                    tree.append(value(rng))
            case 5 if isinstance(holder, dict):
                holder[text(rng)] = holder.pop(key)
            case 6:
                holder[key] = [holder[key]] * rng.choice((1, 2, 30))
            case _:
                other, name = _place(rng, tree)
                holder[key] = json.loads(json.dumps(other[name]))
    content = json.dumps(tree[0], ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.03:
        depth = rng.choice(DEPTHS)
        content = content.replace(":", f': {"[" * depth}1{"]" * depth}, "x":', 1)
    content = re.sub(r"-?987654321\d*", lambda _: "1" + "0" * 400, content)  # what json.dumps cannot say itself
    changed = content.encode("utf-8", "surrogatepass")
    return change_bytes(rng, changed) if rng.random() < 0.1 else changed


def value(rng: random.Random) -> Any:
    """Return any value that JSON may hold."""
    match rng.randrange(9):
        case 0:
            return None
        case 1:
            return rng.random() < 0.5
        case 2 | 3:
            return rng.choice((-1, 1)) * integer(rng)
        case 4:
            return rng.choice((0.5, -0.0, 1e-300, 1e308, float("nan"), float("inf"), -float("inf"), 987654321))
        case 5 | 6:
            return text(rng)
        case 7:
            return rng.choice(([], {}, [[]], [None], [0.1, 0.2], {"type": "x"}, [1, "a"], {"": 0}))
        case _:
            nested: Any = 1
            for _ in range(rng.choice((2, 20, 900))):
                nested = [nested]
            return nested


def _place(rng: random.Random, tree: list[Any]) -> tuple[Any, Any]:
    """Return a container somewhere in a tree and the key of one of its entries."""
    holder: Any = tree
    key: Any = 0
    while isinstance(holder[key], list | dict) and holder[key] and rng.random() < 0.85:
        holder = holder[key]
        key = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
    return holder, key


def change_geojson(rng: random.Random, data: bytes) -> bytes:
    """Change a GeoJSON file as JSON, or give it outlines that cross themselves, are huge, empty or many."""
    if rng.random() < 0.7:
        return change_json(rng, data)
    corners = rng.choices((0, 1, 2, 3, 4, 30, 300, 2000), (30, 30, 30, 30, 30, 30, 10, 1))[0]
    size = rng.choice((1.0, 1e3, 1e7, 1e12, 1e308))
    ring = [[rng.uniform(-size, size), rng.uniform(0, size)] for _ in range(corners)]
    if rng.random() < 0.3:
        ring = [[x, x] for x, _ in ring]  # without an area
    geometry = rng.choice(
        (
            {"type": "Polygon", "coordinates": [[*ring, *ring[:1]]]},
            {"type": "Polygon", "coordinates": [ring] * rng.choice((1, 2, 40))},
            {"type": "MultiPolygon", "coordinates": [[ring], [ring[::-1]], [ring[::2]]]},
            {"type": "GeometryCollection", "geometries": [{"type": "Polygon", "coordinates": [ring]}] * 5},
        )
    )
    feature = {"type": "Feature", "geometry": geometry, "properties": {"name": text(rng)}}
    content = {
        "type": "FeatureCollection",
        "features": [feature] * rng.choices((1, 3, 2500 if corners < 9 else 2), (80, 20, 1))[0],
    }
    return json.dumps(content).encode("utf-8", "surrogatepass")


def change_safetensors(rng: random.Random, data: bytes) -> bytes:
    """Change the header of a safetensors file, its length, or any bytes."""
    length = int.from_bytes(data[:8], "little")
    header, rest = data[8 : 8 + length], data[8 + length :]
    match rng.randrange(4):
        case 0:
            return change_bytes(rng, data)
        case 1:
            return struct.pack("<Q", integer(rng)) + header + rest
        case 2:
            numbers = struct.pack("<f", rng.choice((float("nan"), float("inf"), 1e38))) * rng.choice((1, 100))
            place = rng.randrange(len(rest))
            return data[:8] + header + rest[:place] + numbers + rest[place + len(numbers) :]
        case _:
            header = change_json(rng, header)
            return struct.pack("<Q", len(header)) + header + rest
